use super::{BlockAck, GapRun};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A snapshot of what the receiver has and lacks (SPEC.md, `frame-report`). The newest one counts;
/// one that is lost or comes twice changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Largest packet number received.
    pub largest: u64,
    /// Packets received, each number once.
    pub received: u64,
    /// Packet numbers below `largest` that have not come, but still may: they were overtaken no
    /// longer ago than packets on this path have lately come late by.
    pub overtaken: u64,
    /// Receiver's clock when `largest` arrived, in microseconds from an origin of its own.
    pub largest_at_us: u64,
    /// Microseconds between that arrival and this frame.
    pub delay_us: u32,
    /// Packets received with the ECN field at "congestion experienced".
    pub ce: u64,
    /// Datagrams that the receiver's own system dropped for lack of room.
    pub host_drops: u64,
    /// Chunks received more than once.
    pub duplicates: u64,
    /// Bytes of data packets' payload that the receiver takes beyond what is in `received`: the
    /// sender keeps no more in flight.
    pub window: u64,
    /// All chunks below have arrived or are not wanted.
    pub first_missing: u64,
    /// One past the largest chunk number that has arrived or is not wanted.
    pub end: u64,
    /// Where the page of missing chunks starts.
    pub page_start: u64,
    /// Where it ends: every chunk of the page that is not in `missing` has arrived or is not
    /// wanted.
    pub page_end: u64,
    /// The missing chunks of the page.
    pub missing: Vec<GapRun>,
    /// The sender's control stream.
    pub blocks: BlockAck,
}
