//! One worker's share of a transfer, and what the worker tells about it.

use crate::api::{Congestion, SentStatus};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use xfer_proto::manifest::Entry;

/// A file or an empty directory to send.
///
/// The path is an `OsString` because not every path is UTF-8, and a `PathBuf` travels only if it
/// is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceFile {
    /// Where it is.
    pub(crate) path: OsString,
    /// What is offered.
    pub(crate) entry: Entry,
}

/// One destination and a part of the files: one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Which job of the transfer, from 0.
    pub(crate) id: usize,
    /// Position of the destination in `SendOptions::to`.
    pub(crate) destination: usize,
    /// Where to.
    pub(crate) peer: SocketAddr,
    /// What; the position is the file's index in the session.
    pub(crate) files: Arc<[SourceFile]>,
    /// Upper bound of the rate, in bytes a second of UDP payload.
    pub(crate) max_rate: Option<u64>,
    /// How the rate is found.
    pub(crate) congestion: Congestion,
    /// Bytes of source blocks that the session holds at once.
    pub(crate) read_buffer: usize,
    /// A peer silent for so long is given up.
    pub(crate) timeout: Duration,
    /// Whether the worker's loop blocks or is asynchronous.
    pub(crate) readiness: Readiness,
}

/// How a worker waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Readiness {
    /// In system calls.
    Blocking,
    /// In futures.
    Async,
}

/// What a worker tells about its job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// Bytes that the receiver holds by now.
    Progress(u64),
    /// One file has its status.
    File {
        /// Position in [`Job::files`].
        file: u32,
        /// From its first byte sent to its status.
        seconds: f64,
        /// Payload bytes that were sent more than once.
        retransmitted_bytes: u64,
        /// How it ended.
        status: SentStatus,
    },
    /// The job is over; every file has had its note.
    Finished(Traffic),
    /// The worker is gone; in words.
    Lost(String),
}

/// What a job cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Bytes of UDP payload sent, everything counted.
    pub(crate) sent_bytes: u64,
    /// Packets sent.
    pub(crate) sent_packets: u64,
}

/// A note with the job it is about.
pub(crate) type JobNote = (usize, Note);

/// Where the notes of one job go.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    job: usize,
    sender: Sender<JobNote>,
}

impl Notes {
    /// Notes of the job `job`.
    pub(crate) fn new(job: usize, sender: Sender<JobNote>) -> Self {
        Self { job, sender }
    }

    /// Tells `note`. Never blocks; there are only so many notes as files, and a few more.
    pub(crate) fn send(&self, note: Note) {
        // Whoever listened has ended: nobody wants to know any more.
        let _ = self.sender.send((self.job, note));
    }
}
