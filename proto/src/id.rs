//! Identifiers that travel on the wire, each its own type so that one is never taken for another.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Names one session; chosen at random by the sender (SPEC.md, `header`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Counts the packets that one end sent in one session, from 0. A retransmission gets a new one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PacketNumber(pub u64);

/// Position of a file in the manifest of a session, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FileIndex(pub u32);

impl FileIndex {
    /// The index as a position in a `Vec`.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A BLAKE3 hash: the digest of a whole file, or the chaining value of one leaf.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
