//! The packet format (SPEC.md, `packets`): header, data, frames, control messages, checksum.
//!
//! Decoding accepts exactly what encoding makes: no trailing bytes, no overlong numbers, no set
//! reserved bits.

pub mod checksum;
pub mod frame;
pub mod header;
pub mod message;
pub mod packet;
mod tlv;

use core::fmt;

/// Why bytes from the network are not a packet of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// Fewer bytes than the format needs.
    Truncated,
    /// The version is another one.
    Version(u8),
    /// The kind of packet is unknown.
    Kind(u8),
    /// A reserved bit is set.
    Reserved,
    /// A packet of frames is larger than they may be.
    Oversized,
    /// The checksum does not match.
    Checksum,
    /// A frame or message of a type that may not be ignored is unknown.
    Unknown(u8),
    /// A frame or message has a content that its type does not allow.
    Malformed(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated"),
            Self::Version(version) => write!(f, "version {version}"),
            Self::Kind(kind) => write!(f, "unknown kind {kind}"),
            Self::Reserved => f.write_str("reserved bits set"),
            Self::Oversized => f.write_str("too large for its kind"),
            Self::Checksum => f.write_str("wrong checksum"),
            Self::Unknown(kind) => write!(f, "unknown type {kind:#04x}"),
            Self::Malformed(kind) => write!(f, "malformed content of type {kind:#04x}"),
        }
    }
}

impl core::error::Error for DecodeError {}

#[cfg(test)]
mod tests;
