//! Long loops against the real program, for what no quick test can show.

mod crowd;
mod errors;
mod flood;
mod host;
mod kill;
mod order;
mod points;
#[allow(dead_code, reason = "the demo reports more of it")]
#[path = "../../../src/cli/demo/relay.rs"]
mod relay;
mod strace;
mod syscalls;

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Long loops against the real program.
#[derive(Debug, Parser)]
#[command(name = "xfer-crash")]
struct Arguments {
    /// The program [default: `xfer` beside this one]
    #[arg(long, global = true)]
    xfer: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill either end at a random moment of a transfer, run again, compare
    Kill(kill::Arguments),
    /// Kill either end at each system call of a small run, run again, compare
    Syscalls(points::Arguments),
    /// Have system calls of the receiver fail, one at a time
    Errors(points::Arguments),
    /// Read from the receiver's system calls that what it reports is durable by then
    Order(points::Arguments),
    /// Many sessions at once to one receiver, with its memory measured
    Crowd(crowd::Arguments),
    /// Random datagrams at a receiver while a transfer runs, with its rate and memory measured
    Flood(flood::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = host::Program::find(arguments.xfer).and_then(|program| match arguments.command {
        Command::Kill(arguments) => kill::run(&program, &arguments),
        Command::Syscalls(arguments) => syscalls::run(&program, &arguments),
        Command::Errors(arguments) => errors::run(&program, &arguments),
        Command::Order(arguments) => order::run(&program, &arguments),
        Command::Crowd(arguments) => crowd::run(&program, &arguments),
        Command::Flood(arguments) => flood::run(&program, &arguments),
    });
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(violations) => {
            say(&format!("{violations} violations"));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of the report.
fn say(text: &str) {
    // Nobody is left to tell when stdout is gone.
    let _ = writeln!(io::stdout(), "{text}");
}
