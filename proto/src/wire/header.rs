//! The header that every packet starts with (SPEC.md, `header`).

use super::DecodeError;
use crate::id::{PacketNumber, SessionId};
use alloc::vec::Vec;

/// The version of this crate.
pub const VERSION: u8 = 1;
/// Version field of a packet that lists versions; no version has this number.
pub const VERSION_LIST: u8 = 0;
/// Bytes of the header.
pub const HEADER_LEN: usize = 18;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Opens a session, or renews the sender's address.
    Hello = 1,
    /// Stateless answer to a `Hello` without a valid token.
    Retry = 2,
    /// One chunk of a file.
    Data = 3,
    /// Frames of an established session.
    Control = 4,
    /// Stateless answer to a packet of no known session.
    Reset = 5,
    /// A part of a chunk that the path does not carry whole any more.
    Part = 6,
    /// Parity over a block of chunks.
    Parity = 7,
}

impl Kind {
    const fn from_bits(bits: u8) -> Result<Self, DecodeError> {
        Ok(match bits {
            1 => Self::Hello,
            2 => Self::Retry,
            3 => Self::Data,
            4 => Self::Control,
            5 => Self::Reset,
            6 => Self::Part,
            7 => Self::Parity,
            _ => return Err(DecodeError::Kind(bits)),
        })
    }
}

/// The header of a packet of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the packet is for.
    pub kind: Kind,
    /// The session it belongs to.
    pub session: SessionId,
    /// Its number among all packets that this end sent in the session; 0 in stateless answers.
    pub number: PacketNumber,
}

/// The fields that no version will ever move: enough to answer a version that we do not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Protocol version.
    pub version: u8,
    /// Kind of packet, by the rules of that version.
    pub kind_bits: u8,
    /// The session.
    pub session: SessionId,
}

impl Invariant {
    /// Reads the fields without looking at anything else of the packet.
    pub fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let [first, _, session @ ..] = packet.first_chunk::<10>().ok_or(DecodeError::Truncated)?;
        Ok(Self {
            version: first >> 4,
            kind_bits: first & 0x0f,
            session: SessionId(u64::from_be_bytes(*session)),
        })
    }
}

impl Header {
    /// Appends the header to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // One reservation of known length: this runs for every packet.
        let mut bytes = [0; HEADER_LEN];
        let [first, _flags, rest @ ..] = &mut bytes;
        *first = VERSION << 4 | self.kind as u8;
        let (session, number) = rest.split_at_mut(8);
        session.copy_from_slice(&self.session.0.to_be_bytes());
        number.copy_from_slice(&self.number.0.to_be_bytes());
        out.extend_from_slice(&bytes);
    }

    /// Reads a header; answers it and the bytes behind it.
    pub fn decode(packet: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let invariant = Invariant::decode(packet)?;
        if invariant.version != VERSION {
            return Err(DecodeError::Version(invariant.version));
        }
        let kind = Kind::from_bits(invariant.kind_bits)?;
        let (header, rest) = packet
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(DecodeError::Truncated)?;
        let [_, flags, _session @ ..] = header;
        if *flags != 0 {
            return Err(DecodeError::Reserved);
        }
        let number = header.last_chunk::<8>().ok_or(DecodeError::Truncated)?;
        let number = PacketNumber(u64::from_be_bytes(*number));
        Ok((
            Self {
                kind,
                session: invariant.session,
                number,
            },
            rest,
        ))
    }
}
