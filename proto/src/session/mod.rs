//! The association with one peer: an [`OutgoingSession`] sends a manifest, an [`IncomingSession`]
//! receives.

mod incoming;
mod outgoing;

pub use incoming::IncomingSession;
pub(crate) use incoming::{CLOSE_INTERVAL, Epitaph};
pub use outgoing::OutgoingSession;

use crate::time::Duration;

/// Counters of a sending session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// UDP payload bytes sent, everything counted.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Payload bytes of files sent, repairs included.
    pub data_bytes: u64,
    /// Payload bytes of files sent more than once.
    pub retransmitted_bytes: u64,
    /// Payload bytes that the receiver is known to hold.
    pub delivered_bytes: u64,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Pacing rate, in bytes a second.
    pub rate: u64,
    /// Bytes of a full packet of file content: less than at first where the path came to carry
    /// less.
    pub packet_size: u64,
    /// The most work that one report made: files, runs and repairs that it was compared with.
    pub report_steps: u64,
}

/// Counters of a receiving session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// UDP payload bytes sent: feedback and control.
    pub sent_bytes: u64,
    /// UDP payload bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Chunks that were recovered from parity.
    pub recovered_chunks: u64,
    /// Chunks that came more than once.
    pub duplicate_chunks: u64,
    /// Packets whose number came before.
    pub duplicate_packets: u64,
    /// Packets that were dropped because they were not valid.
    pub invalid_packets: u64,
}

impl ReceiverStats {
    /// The counters of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received_bytes: self.received_bytes + other.received_bytes,
            received_packets: self.received_packets + other.received_packets,
            recovered_chunks: self.recovered_chunks + other.recovered_chunks,
            duplicate_chunks: self.duplicate_chunks + other.duplicate_chunks,
            duplicate_packets: self.duplicate_packets + other.duplicate_packets,
            invalid_packets: self.invalid_packets + other.invalid_packets,
        }
    }
}
