//! Datagrams on their way out: one batch for one destination, in memory that the caller owns.

use alloc::vec::Vec;
use core::net::SocketAddr;

/// Most datagrams in one batch: what every kernel with segmentation offload takes.
pub const MAX_SEGMENTS: usize = 64;
/// Most bytes in one batch: the largest UDP payload over IPv4, which bounds an offloaded send too.
pub const MAX_BATCH: usize = 65_507;

/// The ECN field of the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Not ECN-capable.
    #[default]
    NotEct,
    /// ECN-capable, ECT(1).
    Ect1,
    /// ECN-capable, ECT(0).
    Ect0,
    /// Congestion experienced.
    Ce,
}

/// One batch: `len` bytes from the start of the buffer, cut into datagrams of `segment_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where all of them go.
    pub destination: SocketAddr,
    /// The ECN field of all of them.
    pub ecn: Ecn,
    /// Bytes in each datagram but the last, which may be shorter. Never 0.
    pub segment_size: usize,
    /// Bytes in all.
    pub len: usize,
}

impl Transmit {
    /// How many datagrams the batch has.
    pub fn segments(&self) -> usize {
        self.len.div_ceil(self.segment_size.max(1))
    }
}

/// The caller's memory for one batch, and the rule that every datagram but the last has the same
/// length.
#[derive(Debug)]
pub struct TransmitBuf<'a> {
    bytes: &'a mut Vec<u8>,
    segment_size: usize,
    max_segments: usize,
    closed: bool,
}

impl<'a> TransmitBuf<'a> {
    /// Empties `bytes` and starts a batch of at most `max_segments` datagrams (1 without offload).
    pub fn new(bytes: &'a mut Vec<u8>, max_segments: usize) -> Self {
        bytes.clear();
        let max_segments = max_segments.clamp(1, MAX_SEGMENTS);
        Self {
            bytes,
            segment_size: 0,
            max_segments,
            closed: false,
        }
    }

    /// Bytes in all datagrams so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True while no datagram was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a datagram of `len` bytes may be added.
    pub fn has_room(&self, len: usize) -> bool {
        if self.is_empty() {
            return true;
        }
        let segments = self.bytes.len().checked_div(self.segment_size.max(1));
        !self.closed
            && len <= self.segment_size
            && segments.is_some_and(|segments| segments < self.max_segments)
            && self.bytes.len().saturating_add(len) <= MAX_BATCH
    }

    /// Adds one datagram that `write` appends to the buffer. The caller has asked
    /// [`Self::has_room`] for at least what `write` appends.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(self.bytes);
        let written = self.bytes.len().saturating_sub(start);
        if self.segment_size == 0 {
            self.segment_size = written;
        }
        debug_assert!(
            written > 0 && written <= self.segment_size,
            "a datagram breaks the batch"
        );
        self.closed |= written < self.segment_size;
    }

    /// The batch, to be sent from the first byte of the buffer.
    pub fn finish(&self, destination: SocketAddr, ecn: Ecn) -> Transmit {
        Transmit {
            destination,
            ecn,
            segment_size: self.segment_size,
            len: self.bytes.len(),
        }
    }
}
