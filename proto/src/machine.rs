//! The door of the engine: what goes in, what comes out.

use crate::error::Failure;
use crate::id::{Digest, FileIndex};
use crate::manifest::Entry;
use crate::storage::{Completion, StorageOp};
use crate::time::Instant;
use crate::transmit::{Ecn, Transmit, TransmitBuf};
use alloc::vec::Vec;
use core::net::SocketAddr;

pub use crate::timer::Deadline;

/// One datagram as it came from the network.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Who sent it, as far as the IP header says.
    pub source: SocketAddr,
    /// The ECN field of its IP header.
    pub ecn: Ecn,
    /// The UDP payload.
    pub data: &'a [u8],
}

/// What a driver tells a machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram for this machine.
    Datagram(Received<'a>),
    /// A storage operation ended.
    Storage(Completion),
    /// The deadline of the last [`Output::Wait`] has come. Harmless when it has not.
    Timeout,
    /// The kernel dropped so many datagrams at our socket since the last report of this kind.
    KernelDrops(u64),
    /// The system refused a datagram of ours because it is larger than the first hop takes.
    TooLarge,
    /// Stop in order: tell the peer why, keep what can be resumed.
    Abort(Failure),
}

/// What a machine tells its driver.
#[derive(Debug)]
pub enum Output {
    /// Send the batch in the transmit buffer.
    Transmit(Transmit),
    /// Carry out a storage operation.
    Storage(StorageOp),
    /// Something that a person or a caller wants to know.
    Event(Event),
    /// Nothing to do before the deadline, if there is one, unless input comes.
    Wait(Option<Deadline>),
    /// The machine is finished and may be dropped.
    Done,
}

/// How one file ended at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileStatus {
    /// Verified, durable, under its own name.
    Committed(Digest),
    /// An identical file was there.
    Skipped(Digest),
    /// It did not arrive.
    Failed(Failure),
}

/// What a machine reports upwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer answered the handshake.
    Established,
    /// A file reached its final status.
    File {
        /// Which file of the manifest.
        file: FileIndex,
        /// Its line of the manifest (the receiver learns it only from here).
        entry: Entry,
        /// How it ended.
        status: FileStatus,
        /// When its first byte was sent or received, or its status was decided without a byte.
        started: Instant,
        /// Sender: payload bytes of the file that were sent more than once.
        retransmitted_bytes: u64,
    },
    /// Receiver: an offered line was refused before it could become an [`Entry`].
    Refused {
        /// Which line of the manifest.
        file: FileIndex,
        /// The name as it came: print it escaped.
        name: Vec<u8>,
        /// Why.
        failure: Failure,
    },
    /// The session is over; `Err` names what ended it before every file had its status.
    Closed(Result<(), Failure>),
}

/// All that a driver knows of a session.
///
/// Call `handle` any number of times, then `poll` until it answers [`Output::Wait`] or
/// [`Output::Done`]. `now` never goes back. After `Done` nothing else comes.
pub trait Machine {
    /// Takes one input.
    fn handle(&mut self, now: Instant, input: Input<'_>);

    /// The next thing to do. Datagrams are written to `out`, whose content counts only with the
    /// [`Output::Transmit`] that the same call returns.
    fn poll(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> Output;
}
