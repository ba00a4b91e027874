//! The `xfer` command.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker process of the modes `process` and `process-async` is this same program; it speaks
    // to its parent over pipes, and there is no command line to read.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == xfer::WORKER_ARGUMENT)
    {
        cli::start_worker_logging();
        return xfer::worker_main();
    }
    cli::run().into()
}
