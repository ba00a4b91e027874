//! The command line: raw arguments become settings, settings become calls of the library, and what
//! the library says becomes tables, JSON events, errors with hints, and an exit status.

mod args;
mod demo;
mod error;
mod exit;
mod output;
mod recv;
mod send;
mod settings;
mod sum;
mod units;

use args::{Arguments, Command, LogArguments};
use clap::Parser;
use exit::Exit;

/// Runs the command that the process was started with. Usage errors end it here, with status 2.
pub(crate) fn run() -> Exit {
    match Arguments::parse().command {
        Command::Send(arguments) => send::run(arguments),
        Command::Recv(arguments) => recv::run(arguments),
        Command::Demo(log) => demo::run(log),
        Command::Sum(arguments) => sum::run(arguments),
    }
}

/// Sends the logs of a worker process to the stderr that it shares with its parent, as `RUST_LOG`
/// says.
pub(crate) fn start_worker_logging() {
    output::start_logging(LogArguments::default());
}
