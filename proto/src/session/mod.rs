//! The association with one peer: an [`OutgoingSession`] sends a manifest, an [`IncomingSession`] receives.

use crate::config::SenderConfig;
use crate::id::SessionId;
use crate::machine::{Input, Machine, Output};
use crate::manifest::Entry;
use crate::time::{Duration, Instant};
use crate::transmit::TransmitBuf;
use alloc::vec::Vec;
use core::net::SocketAddr;

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
    /// Chunks that came more than once.
    pub duplicate_chunks: u64,
    /// Packets that were dropped because they were not valid.
    pub invalid_packets: u64,
}

/// Sends the files of one manifest to one peer. A [`Machine`].
#[derive(Debug)]
pub struct OutgoingSession {}

impl OutgoingSession {
    /// A session to `peer`. `id` and `tag` are random and secret from everyone but the peer.
    pub fn new(
        _now: Instant,
        _config: SenderConfig,
        _peer: SocketAddr,
        _id: SessionId,
        _tag: u64,
        _manifest: Vec<Entry>,
    ) -> Self {
        Self {}
    }

    /// Counters so far.
    pub fn stats(&self) -> SenderStats {
        SenderStats::default()
    }
}

impl Machine for OutgoingSession {
    fn handle(&mut self, _now: Instant, _input: Input<'_>) {}

    fn poll(&mut self, _now: Instant, _out: &mut TransmitBuf<'_>) -> Output {
        Output::Done
    }
}

/// Receives the files that one peer offers. A [`Machine`]; [`crate::router::Router`] makes it.
#[derive(Debug)]
pub struct IncomingSession {}

impl IncomingSession {
    /// The session's name on the wire.
    pub fn id(&self) -> SessionId {
        SessionId(0)
    }

    /// The sender's address.
    pub fn peer(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Counters so far.
    pub fn stats(&self) -> ReceiverStats {
        ReceiverStats::default()
    }

    /// Changes how many bytes the session may hold until storage has taken them.
    pub fn set_write_buffer(&mut self, _bytes: usize) {}
}

impl Machine for IncomingSession {
    fn handle(&mut self, _now: Instant, _input: Input<'_>) {}

    fn poll(&mut self, _now: Instant, _out: &mut TransmitBuf<'_>) -> Output {
        Output::Done
    }
}
