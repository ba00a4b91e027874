//! The `xfer` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == xfer::WORKER_ARGUMENT)
    {
        return xfer::worker_main();
    }
    ExitCode::SUCCESS
}
