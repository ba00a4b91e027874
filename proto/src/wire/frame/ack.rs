use super::GapRun;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Which pieces of the peer's control stream have arrived (SPEC.md, `frame-ack`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockAck {
    /// All pieces below have arrived.
    pub next: u64,
    /// Pieces from `next` up to here have arrived too, but for those in `missing`.
    pub end: u64,
    /// Pieces that have not arrived, from `next` on. At most [`BlockAck::MAX_RUNS`] runs.
    pub missing: Vec<GapRun>,
}

impl BlockAck {
    /// Most runs in one frame.
    pub const MAX_RUNS: usize = 32;
}

/// What the sender has of the receiver's control stream (SPEC.md, `frame-ack`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Largest packet number received.
    pub largest: u64,
    /// Microseconds between its arrival and this frame.
    pub delay_us: u32,
    /// The control stream.
    pub blocks: BlockAck,
}
