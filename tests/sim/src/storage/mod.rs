//! Storage that exists only in memory: what it costs, when it fails, and who answers.

mod disk;
mod partial;
mod source;

pub use disk::{Disk, DiskConfig, Policy};
pub use source::Source;

use crate::queue::Nanos;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::rng::Rng;
use xfer_proto::storage::StorageOp;

/// Kinds of operations, to fail the n-th of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// [`StorageOp::Read`]
    Read,
    /// [`StorageOp::Finish`]
    Finish,
    /// [`StorageOp::Prepare`]
    Prepare,
    /// [`StorageOp::DigestExisting`]
    DigestExisting,
    /// [`StorageOp::ConfirmExisting`]
    ConfirmExisting,
    /// [`StorageOp::Write`]
    Write,
    /// [`StorageOp::Hash`]
    Hash,
    /// [`StorageOp::Checkpoint`]
    Checkpoint,
    /// [`StorageOp::Commit`]
    Commit,
    /// [`StorageOp::Discard`]
    Discard,
}

/// How many kinds there are.
const KINDS: usize = OpKind::Discard as usize + 1;

impl OpKind {
    /// The kind of `op`.
    pub fn of(op: &StorageOp) -> Self {
        match op {
            StorageOp::Read { .. } => Self::Read,
            StorageOp::Finish { .. } => Self::Finish,
            StorageOp::Prepare { .. } => Self::Prepare,
            StorageOp::DigestExisting { .. } => Self::DigestExisting,
            StorageOp::ConfirmExisting { .. } => Self::ConfirmExisting,
            StorageOp::Write { .. } => Self::Write,
            StorageOp::Hash { .. } => Self::Hash,
            StorageOp::Checkpoint { .. } => Self::Checkpoint,
            StorageOp::Commit { .. } => Self::Commit,
            StorageOp::Discard { .. } => Self::Discard,
        }
    }
}

/// One operation that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpFailure {
    /// Its kind.
    pub kind: OpKind,
    /// Which of its kind at this node, from 0.
    pub nth: u32,
    /// With what.
    pub code: ErrorCode,
}

/// How long operations take: `base` plus a uniform part, and rarely a long stall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// At least this long.
    pub base: Nanos,
    /// Up to this much longer.
    pub spread: Nanos,
    /// Nanoseconds for every 1,024 bytes read or written, one operation at a time: the disk's
    /// speed.
    pub per_kib: Nanos,
    /// Parts per million of operations that stall.
    pub stall_ppm: u32,
    /// How long a stall is.
    pub stall: Nanos,
}

impl Latency {
    /// How long the next operation takes, its share of the disk's speed not counted.
    pub fn draw(&self, rng: &mut Rng) -> Nanos {
        let stall = if self.stall_ppm > 0 && rng.chance(self.stall_ppm) {
            self.stall
        } else {
            0
        };
        self.base + rng.below(self.spread.saturating_add(1)) + stall
    }

    /// True where everything is done at once.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// Counts operations by kind and finds the ones that fail.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    plan: Vec<OpFailure>,
    seen: [u32; KINDS],
}

impl Failures {
    /// Operations fail as `plan` says.
    pub fn new(plan: Vec<OpFailure>) -> Self {
        Self {
            plan,
            seen: [0; KINDS],
        }
    }

    /// Counts an operation; answers why it fails, if it does.
    pub fn check(&mut self, kind: OpKind) -> Option<Failure> {
        let seen = &mut self.seen[kind as usize];
        let nth = *seen;
        *seen += 1;
        self.plan
            .iter()
            .find(|failure| failure.kind == kind && failure.nth == nth)
            .map(|failure| Failure::new(failure.code, "injected"))
    }
}

/// Bytes that an operation moves.
pub fn cost_bytes(op: &StorageOp) -> u64 {
    match op {
        StorageOp::Read { len, .. } => u64::from(*len),
        StorageOp::Write { data, .. } => data.len() as u64,
        _ => 0,
    }
}
