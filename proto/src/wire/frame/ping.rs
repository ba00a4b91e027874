use serde::{Deserialize, Serialize};

/// Asks for a report at once (SPEC.md, `frame-ping`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// One past the largest chunk number that was sent: what is missing below is lost or on its
    /// way.
    pub sent_end: u64,
    /// Microseconds between reports that the sender wishes for: a fraction of its round-trip time.
    pub interval_us: u32,
}
