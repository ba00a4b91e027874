//! The `xfer` command.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker process of the modes `process` and `process-async` is this same program; it speaks to its
    // parent over pipes and never sees the command line.
    if xfer::is_worker() {
        return xfer::run_worker();
    }
    cli::run().into()
}
