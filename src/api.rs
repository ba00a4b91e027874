//! The words of the library's face: what a caller asks for and what it is told.

use crate::Stop;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
pub use xfer_proto::config::{Congestion, MAX_SESSIONS};
use xfer_proto::error::Failure;
use xfer_proto::id::Digest;
use xfer_proto::manifest::{Entry, Name};

/// The UDP port where none is named.
pub const DEFAULT_PORT: u16 = 10_000;
/// Least rate of a session, in bits a second: its control packets, of up to 1,200 bytes, take most
/// of less.
pub const MIN_RATE: u64 = 64_000;

/// How the workers of a transfer run: where they live, and how they wait.
///
/// The protocol, the files and the summary are the same in all four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Worker processes, started and joined in order, with blocking I/O. One crash harms one
    /// worker.
    Process,
    /// The same with threads: the least overhead.
    Thread,
    /// A pool of worker processes; jobs are futures, results are gathered as they finish.
    ProcessAsync,
    /// A pool of tasks on an asynchronous runtime: the cheapest way to many destinations. The
    /// default.
    ThreadAsync,
}

/// Where the files go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// What the caller wrote, for messages: `host` or `host:port`.
    pub label: String,
    /// The resolved address.
    pub address: SocketAddr,
}

/// What to send and how.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// Each gets every file. Not empty.
    pub to: Vec<Destination>,
    /// How the workers run.
    pub mode: Mode,
    /// Workers at a time; `None` leaves it to the mode.
    pub jobs: Option<NonZeroUsize>,
    /// Upper bound of the rate of the whole transfer, in bits a second; below [`MIN_RATE`] it may
    /// not get on. No more sessions run at once than have as much each.
    pub rate: Option<u64>,
    /// How the rate is found. [`Congestion::Fixed`] sends at `rate` and at nothing else.
    pub congestion: Congestion,
    /// A peer silent for so long is given up. One that answers but gets nowhere is given up after 6
    /// to 12 times that and at least 60 to 120 s, and after ten times that (a second for
    /// each 16 MiB if more) while everything has come and only its storage is waited for.
    pub timeout: Duration,
    /// Ends the call early.
    pub stop: Stop,
}

/// A warning or a line of news while a transfer runs, in the order of things happening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SendEvent {
    /// A source was left out, for example a symbolic link; the transfer goes on.
    Warning(String),
    /// The sources are known; comes once, before any `Progress`.
    Planned {
        /// Files that each destination is to get.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Payload bytes of a destination that its receiver holds by now; comes a few times a second.
    Progress {
        /// Position of the destination in [`SendOptions::to`].
        destination: usize,
        /// Which worker tells, from 0; each counts its own files.
        worker: usize,
        /// Bytes at the receiver, of this worker's files.
        bytes: u64,
    },
    /// One file at one destination has its final status.
    File(SentFile),
}

/// How one file fared at one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentFile {
    /// Its name at the receiver.
    pub name: Name,
    /// Position of the destination in [`SendOptions::to`].
    pub destination: usize,
    /// Size of the file.
    pub bytes: u64,
    /// From its first byte sent to its status.
    pub seconds: f64,
    /// Payload bytes that were sent more than once.
    pub retransmitted_bytes: u64,
    /// How it ended.
    pub status: SentStatus,
}

/// The final status of one file at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SentStatus {
    /// Verified, durable, under its own name.
    Committed(Digest),
    /// An identical file was there.
    Skipped(Digest),
    /// It did not arrive.
    Failed(Failure),
}

/// Totals of a transfer, over all destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SendSummary {
    /// Files that each destination was to get.
    pub files: u64,
    /// Destinations.
    pub destinations: usize,
    /// Bytes of all committed files.
    pub bytes: u64,
    /// From the first packet to the last status.
    pub seconds: f64,
    /// Files committed.
    pub committed: u64,
    /// Files that were there already.
    pub skipped: u64,
    /// Files that did not arrive.
    pub failed: u64,
    /// Bytes of UDP payload sent, everything counted.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
}

/// What a different file of the same name gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It stays; the new one is refused.
    #[default]
    Refuse,
    /// It stays; the new one gets a number: `name (1).ext`.
    Rename,
    /// It is replaced in one step when the new one is whole.
    Overwrite,
}

/// Where to receive and what to accept.
#[derive(Clone, Debug)]
pub struct RecvOptions {
    /// The directory that holds everything received; made if it is missing.
    pub out: PathBuf,
    /// Addresses to listen on. Not empty.
    pub listen: Vec<SocketAddr>,
    /// Stop once so many files are committed (or found identical).
    pub exit_after: Option<u64>,
    /// What a different file of the same name gets.
    pub on_conflict: OnConflict,
    /// Largest file to accept, in bytes.
    pub max_size: Option<u64>,
    /// Most bytes to accept in all, from everyone, until the call ends. Files that were there
    /// already do not count, files that fail as far as something of them is kept for a resume.
    pub max_total: Option<u64>,
    /// Most sessions at once on each address, at most [`MAX_SESSIONS`]; a sender beyond is told
    /// that the receiver is busy. `None` for [`MAX_SESSIONS`].
    pub max_sessions: Option<NonZeroUsize>,
    /// Have the system keep the calling thread, and every thread that it starts from then on, from
    /// opening files outside `out`, where it can (Linux: Landlock). It cannot be undone: for
    /// programs that do nothing else afterwards.
    pub confine: bool,
    /// Ends the call.
    pub stop: Stop,
}

/// News of a receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum RecvEvent {
    /// Ready on this address (with the port that the system chose, where 0 was asked).
    Listening(SocketAddr),
    /// One file has its final status.
    File {
        /// Who sent it.
        from: SocketAddr,
        /// Its line of the manifest.
        entry: Entry,
        /// How it ended.
        status: SentStatus,
    },
    /// Something that a person wants to know; already fit to print.
    Warning(String),
}

/// Why a call as a whole could not be carried out. Failures of single files are not here but in
/// their events.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of ours.
    #[error("cannot {action} `{path}`: {source}")]
    Path {
        /// What was tried, as a verb.
        action: &'static str,
        /// The path, escaped for printing.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A socket of ours.
    #[error("cannot {action} {address}: {source}")]
    Socket {
        /// What was tried, as a verb.
        action: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A name that does not resolve.
    #[error("cannot resolve `{host}`: {source}")]
    Resolve {
        /// The host as it was written.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// A worker that could not be started or that died.
    #[error("{0}")]
    Worker(String),
    /// A person or the system asked to stop; the number of the signal, 0 for [`Stop::stop`].
    #[error("interrupted")]
    Interrupted(i32),
}
