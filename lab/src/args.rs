//! The command line.

use crate::bench::BenchArgs;
use crate::link::{Change, Profile};
use crate::units::{self, RateChange};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// A network of three hosts and more on this machine, with links as bad as you like. Needs root.
#[derive(Debug, Parser)]
#[command(name = "xfer-lab", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Builds the network and holds it, until interrupted or `down`.
    Up(UpArgs),
    /// Ends the network, and removes what a killed one has left.
    Down,
    /// Runs a command on a host.
    Exec(ExecArgs),
    /// Changes the links while they are in use.
    Set(SetArgs),
    /// Prints the counters of every port as JSON.
    Stats,
    /// Sends the same file by xfer and by what else is installed, and writes a table.
    Bench(BenchArgs),
    /// Runs one end of a transfer and writes what it took; for `bench`.
    #[command(hide = true)]
    Measure(MeasureArgs),
}

/// `up`
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The links.
    #[command(flatten)]
    pub link: LinkArgs,
    /// Hosts on top of `client`, `server1` and `server2`: `server3`, `server4`, ...
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub hosts: usize,
    /// Where the random numbers start; the same seed loses the same frames.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only `client` and `server1`, joined by a bare veth pair without limits.
    #[arg(long, conflicts_with = "hosts")]
    pub veth: bool,
    /// Return once the network is up.
    #[arg(short = 'd', long)]
    pub background: bool,
    /// End when standard input ends: for programs that start a lab of their own.
    #[arg(long, hide = true)]
    pub until_eof: bool,
}

/// `exec`
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// `client`, `server1`, ...
    pub host: String,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// `set`
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The hosts whose links change; all when none is named.
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// The links.
    #[command(flatten)]
    pub link: LinkArgs,
    /// Nothing passes for so long.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub blackout: Option<Duration>,
}

/// `measure`
#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Where to write it.
    #[arg(long)]
    pub report: PathBuf,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// What a link does.
#[derive(Clone, Debug, Default, Args)]
pub struct LinkArgs {
    /// Bits a second each way, counting the bytes of Ethernet frames (14 + IP): 100M, or `none`.
    #[arg(long, value_parser = units::rate_or_none)]
    pub rate: Option<RateChange>,
    /// Round-trip time between two hosts: 50ms. A quarter lies in each pipe of a round trip.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub delay: Option<Duration>,
    /// Each frame is held for a random time below this; the order stays.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub jitter: Option<Duration>,
    /// Share of the frames lost on the way from a host: 1%. All receivers lose the same ones.
    #[arg(long, value_name = "SHARE", value_parser = units::share)]
    pub loss: Option<u32>,
    /// Share of the frames lost on the way to a host, independently at each.
    #[arg(long, value_name = "SHARE", value_parser = units::share)]
    pub down_loss: Option<u32>,
    /// Bytes that may wait at a port each way [default: rate x delay, at least 64 KiB].
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    pub queue: Option<u64>,
    /// Share of the frames that arrive twice.
    #[arg(long = "dup", value_name = "SHARE", value_parser = units::share)]
    pub duplicate: Option<u32>,
    /// Share of the frames that are held back, so that later ones overtake.
    #[arg(long, value_name = "SHARE", value_parser = units::share)]
    pub reorder: Option<u32>,
    /// For how long they are held back [default: 3ms].
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub reorder_by: Option<Duration>,
}

/// How long a reordered frame is held back when nothing is said.
const REORDER_BY: Duration = Duration::from_millis(3);

impl LinkArgs {
    /// As a change to a link that is there.
    pub fn change(&self) -> Change {
        Change {
            rate: self.rate.map(|rate| rate.0),
            queue: self.queue,
            delay: self.delay,
            jitter: self.jitter,
            loss: self.loss,
            down_loss: self.down_loss,
            duplicate: self.duplicate,
            reorder: self.reorder,
            reorder_by: self.reorder_by,
            blackout: None,
        }
    }

    /// As a new link.
    pub fn profile(&self) -> Profile {
        let mut profile = Profile {
            reorder_by: REORDER_BY,
            ..Profile::default()
        };
        self.change().apply(&mut profile);
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
