//! What a receiving host is set to, and what it says in the end.

use super::Reports;
use crate::queue::Nanos;
use crate::storage::{DiskConfig, Latency};
use xfer_proto::config::ReceiverConfig;
use xfer_proto::id::SessionId;
use xfer_proto::session::ReceiverStats;

/// What a receiving host is like.
#[derive(Clone, Debug, Default)]
pub struct ReceiverSpec {
    /// Settings of every session.
    pub config: ReceiverConfig,
    /// The disk.
    pub disk: DiskConfig,
    /// What the disk costs.
    pub latency: Latency,
    /// Upper bound of how late the host wakes.
    pub timer_slack: Nanos,
    /// The link whose queue is the buffer of the socket: what it drops, the kernel would have
    /// dropped.
    pub ingress: Option<u32>,
}

/// How one session of the receiver went.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// Its name.
    pub session: SessionId,
    /// When it ended.
    pub ended: Nanos,
    /// What the machine reported.
    pub reports: Reports,
    /// Its counters at the end.
    pub stats: ReceiverStats,
}

/// What the receiving host did.
#[derive(Clone, Debug, Default)]
pub struct ReceiverReport {
    /// Sessions that are over, in the order of their end. Those that a crash took are not among
    /// them.
    pub sessions: Vec<SessionReport>,
    /// Replies without a session.
    pub stateless_replies: u64,
    /// Datagrams that went nowhere.
    pub dropped: u64,
    /// Most operations with the storage at once.
    pub peak_ops: usize,
    /// Most bytes with the storage at once.
    pub peak_bytes: u64,
}
