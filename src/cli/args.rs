//! The command line as it was typed. What it means is decided in [`super::settings`].

use super::units::{parse_bytes, parse_rate, parse_seconds};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Where `send` goes and `recv` listens when nothing else is said.
const DEFAULT_ADDRESS: &str = "127.0.0.1:10000";

/// Moves files over UDP, whole and fast, to one host or to many.
#[derive(Debug, Parser)]
#[command(name = "xfer", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send files, and directories recursively, to every destination
    Send(SendArguments),
    /// Receive into a directory until interrupted
    Recv(RecvArguments),
    /// Show the whole thing on this machine: two receivers, two pictures, all modes, a lossy path
    Demo(LogArguments),
    /// Print or check BLAKE3 sums in the format of b3sum
    Sum(SumArguments),
}

#[derive(Debug, Args)]
pub(super) struct SendArguments {
    /// Files and directories
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// How the workers run
    #[arg(short, long, value_enum, default_value = "thread-async")]
    pub(super) mode: ModeArgument,
    /// A destination, repeatable; each gets every file
    #[arg(short, long, value_name = "HOST[:PORT]", default_value = DEFAULT_ADDRESS)]
    pub(super) to: Vec<String>,
    /// Workers at a time [default: sensible for the mode]
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Upper bound on what is sent, for example 100M
    #[arg(long, value_name = "BITS/S", value_parser = parse_rate,
        required_if_eq("cc", "fixed"))]
    pub(super) rate: Option<u64>,
    /// How the rate is found
    #[arg(long, value_enum, value_name = "CONTROLLER", default_value = "xcc")]
    pub(super) cc: CongestionArgument,
    /// A peer silent for so long is given up; one that answers but gets nowhere, after 60 to 120 s
    /// (6 to 12 times this if more), or 600 to 660 s (a second for each 16 MiB if more) while only
    /// its storage is waited for
    #[arg(long, value_name = "SECS", value_parser = parse_seconds, default_value = "10")]
    pub(super) timeout: Duration,
    /// Allow plain text to a host that is not loopback
    #[arg(long)]
    pub(super) insecure: bool,
    /// One JSON event a line on stdout, nothing else there
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) log: LogArguments,
}

#[derive(Debug, Args)]
pub(super) struct RecvArguments {
    /// Where the files go; made if it is missing
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Where to listen, repeatable; `[::]` takes IPv6 only
    #[arg(short, long, value_name = "ADDR[:PORT]", default_value = DEFAULT_ADDRESS)]
    pub(super) listen: Vec<String>,
    /// Exit 0 once N files are committed, or were there already
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) exit_after: Option<u64>,
    /// What a different file of the same name gets
    #[arg(long, value_enum, value_name = "POLICY", default_value = "refuse")]
    pub(super) on_conflict: ConflictArgument,
    /// Largest file to accept, for example 500M or 2GiB
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(super) max_size: Option<u64>,
    /// Most bytes to accept in all, from every sender, until this receiver ends; files that were
    /// not completed count as far as they are kept
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(super) max_total: Option<u64>,
    /// Most sessions at once on each address; a sender has one for each worker [default: 4096]
    #[arg(long, value_name = "N")]
    pub(super) max_sessions: Option<NonZeroUsize>,
    /// Listen for plain text on an address that is not loopback
    #[arg(long)]
    pub(super) insecure: bool,
    /// One JSON event a line on stdout, nothing else there
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) log: LogArguments,
}

#[derive(Debug, Args)]
pub(super) struct SumArguments {
    /// Read sums from FILE and check them
    #[arg(short, long, value_name = "FILE", conflicts_with = "paths")]
    pub(super) check: Option<PathBuf>,
    /// Files; standard input where there is none, or for `-`
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
}

/// How much is told on stderr.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct LogArguments {
    /// No progress, and no warnings but those of plain text; only errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// More detail on stderr; twice for all of it
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ModeArgument {
    /// Worker processes, started and joined in order, blocking I/O
    Process,
    /// Threads, started and joined in order, blocking I/O
    Thread,
    /// A pool of worker processes, results gathered as they finish
    ProcessAsync,
    /// A pool of asynchronous tasks
    ThreadAsync,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CongestionArgument {
    /// By a model of the path; random loss does not slow it down
    Xcc,
    /// As TCP does by default: every loss means congestion
    Cubic,
    /// What `--rate` says, whatever the path says: for links that are yours alone
    Fixed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ConflictArgument {
    /// It stays; the new file is refused
    Refuse,
    /// It stays; the new file gets a number
    Rename,
    /// It is replaced once the new file is whole
    Overwrite,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn destinations_repeat() {
        let arguments = Arguments::parse_from(["xfer", "send", "a", "-t", "x", "--to", "y:1"]);
        let Command::Send(send) = arguments.command else {
            panic!("not send");
        };
        assert_eq!(send.to, ["x", "y:1"]);
        assert_eq!(send.timeout, Duration::from_secs(10));
    }

    #[test]
    fn bad_lines_are_refused() {
        for line in [
            &["xfer", "send"][..],
            &["xfer", "recv"],
            &["xfer", "send", "--mode", "fork", "a"],
            &["xfer", "send", "--rate", "0", "a"],
            &["xfer", "send", "--cc", "fixed", "a"],
            &["xfer", "send", "--jobs", "0", "a"],
            &["xfer", "send", "--timeout", "never", "a"],
            &["xfer", "recv", "--out", "d", "--exit-after", "0"],
            &["xfer", "send", "-q", "-v", "a"],
        ] {
            assert!(Arguments::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
