//! Whole packets: what stands between the header and the checksum (SPEC.md, `packets`).

use super::frame::Frame;
use super::header::{HEADER_LEN, Header, Kind, VERSION, VERSION_LIST};
use super::tlv::TLV_HEADER_LEN;
use super::{DecodeError, checksum, tlv};
use crate::config::MIN_DATAGRAM;
use crate::id::{PacketNumber, SessionId};
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes that a data packet has beside its payload: header, chunk number, checksum.
pub const DATA_OVERHEAD: usize = HEADER_LEN + 8 + checksum::CHECKSUM_LEN;
/// Bytes that a packet with a part of a chunk has beside its payload: as a data packet, and the
/// offset in the chunk.
pub const PART_OVERHEAD: usize = DATA_OVERHEAD + 2;
/// Bytes that a packet with parity has beside its payload: as many as a data packet, so that the
/// parity of full chunks fits where they do.
pub const PARITY_OVERHEAD: usize = DATA_OVERHEAD;
/// The first chunk of a block with parity is below this.
pub const MAX_PARITY_CHUNK: u64 = 1 << 48;
/// Bytes that a packet of frames has beside them: header, tag, checksum.
pub const FRAMES_OVERHEAD: usize = HEADER_LEN + 8 + checksum::CHECKSUM_LEN;
/// Most versions that a version list may hold.
pub const MAX_VERSIONS: usize = 15;

/// A packet whose checksum is right and whose content is well-formed.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    /// One chunk of a file.
    Data {
        /// The header.
        header: Header,
        /// Number of the chunk in the session.
        chunk: u64,
        /// Its content.
        payload: &'a [u8],
    },
    /// Some bytes of one chunk.
    Part {
        /// The header.
        header: Header,
        /// Number of the chunk in the session.
        chunk: u64,
        /// Bytes of the chunk before these.
        offset: u16,
        /// Its content.
        payload: &'a [u8],
    },
    /// One parity symbol of a block of chunks.
    Parity {
        /// The header.
        header: Header,
        /// What it is the parity of, and which one.
        of: ParityOf,
        /// The symbol.
        payload: &'a [u8],
    },
    /// Frames: every kind but data, parts and parity.
    Frames {
        /// The header.
        header: Header,
        /// The secret that both ends share since the first `Hello`.
        tag: u64,
        /// In the order of the packet; unknown ignorable ones are left out, and so is padding.
        frames: Vec<Frame<'a>>,
    },
    /// The versions that a peer speaks; the answer to one that it does not.
    Versions {
        /// The session of the packet that it answers.
        session: SessionId,
        /// Version numbers.
        versions: &'a [u8],
    },
}

/// Chunks of a block and parity symbols of it, together, at most.
pub const MAX_SYMBOLS: usize = 255;

/// Names a parity symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParityOf {
    /// The first chunk of the block, less than [`MAX_PARITY_CHUNK`].
    pub first: u64,
    /// Chunks of the block, at least one.
    pub count: u8,
    /// Which symbol; together with `count` at most [`MAX_SYMBOLS`].
    pub index: u8,
}

impl ParityOf {
    /// `None` where no block has such a symbol.
    pub const fn new(first: u64, count: u8, index: u8) -> Option<Self> {
        let symbols = (count as usize).saturating_add(index as usize);
        if first >= MAX_PARITY_CHUNK || count == 0 || symbols > MAX_SYMBOLS {
            return None;
        }
        Some(Self {
            first,
            count,
            index,
        })
    }

    /// The chunks of the block.
    pub fn chunks(&self) -> Range<u64> {
        self.first..self.first.saturating_add(u64::from(self.count))
    }

    const fn from_bits(bits: u64) -> Option<Self> {
        let [.., count, index] = bits.to_be_bytes();
        Self::new(bits >> 16, count, index)
    }

    const fn bits(self) -> u64 {
        self.first << 16 | (self.count as u64) << 8 | self.index as u64
    }
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let decoded = Header::decode(datagram);
        if decoded == Err(DecodeError::Version(VERSION_LIST)) {
            return Self::decode_versions(datagram);
        }
        decoded?;
        let packet = checksum::verify(datagram).ok_or(DecodeError::Checksum)?;
        let (header, body) = Header::decode(packet)?;
        let (fixed, rest) = body
            .split_first_chunk::<8>()
            .ok_or(DecodeError::Truncated)?;
        let fixed = u64::from_be_bytes(*fixed);
        // Hello packets probe the path, all others of frames fit every path.
        if !matches!(
            header.kind,
            Kind::Hello | Kind::Data | Kind::Part | Kind::Parity
        ) && datagram.len() > MIN_DATAGRAM
        {
            return Err(DecodeError::Oversized);
        }
        if header.kind == Kind::Data {
            return Ok(Self::Data {
                header,
                chunk: fixed,
                payload: rest,
            });
        }
        if header.kind == Kind::Part {
            let (offset, payload) = rest
                .split_first_chunk::<2>()
                .ok_or(DecodeError::Truncated)?;
            return Ok(Self::Part {
                header,
                chunk: fixed,
                offset: u16::from_be_bytes(*offset),
                payload,
            });
        }
        if header.kind == Kind::Parity {
            let of = ParityOf::from_bits(fixed);
            return Ok(Self::Parity {
                header,
                of: of.ok_or(DecodeError::Malformed(Kind::Parity as u8))?,
                payload: rest,
            });
        }
        let mut rest = rest;
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (kind, body) = tlv::split(&mut rest)?;
            frames.extend(Frame::decode(kind, body)?);
        }
        Ok(Self::Frames {
            header,
            tag: fixed,
            frames,
        })
    }

    fn decode_versions(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let packet = checksum::verify(datagram).ok_or(DecodeError::Checksum)?;
        let (fixed, versions) = packet
            .split_first_chunk::<10>()
            .ok_or(DecodeError::Truncated)?;
        let [first, flags, session @ ..] = fixed;
        if *first != VERSION_LIST << 4 || *flags != 0 {
            return Err(DecodeError::Reserved);
        }
        if versions.is_empty() || versions.len() > MAX_VERSIONS {
            return Err(DecodeError::Truncated);
        }
        Ok(Self::Versions {
            session: SessionId(u64::from_be_bytes(*session)),
            versions,
        })
    }
}

/// Appends a data packet.
pub fn encode_data(
    out: &mut Vec<u8>,
    session: SessionId,
    number: PacketNumber,
    chunk: u64,
    payload: &[u8],
) {
    encode_data_parts(out, session, number, chunk, payload, &[]);
}

/// Appends a data packet whose payload lies in two pieces.
pub fn encode_data_parts(
    out: &mut Vec<u8>,
    session: SessionId,
    number: PacketNumber,
    chunk: u64,
    head: &[u8],
    tail: &[u8],
) {
    let start = out.len();
    let payload = head.len().saturating_add(tail.len());
    out.reserve(payload.saturating_add(DATA_OVERHEAD));
    Header {
        kind: Kind::Data,
        session,
        number,
    }
    .encode(out);
    out.extend_from_slice(&chunk.to_be_bytes());
    out.extend_from_slice(head);
    out.extend_from_slice(tail);
    checksum::append(out, start);
}

/// Appends a packet with the bytes of a chunk from `offset` on, which lie in two pieces.
pub fn encode_part(
    out: &mut Vec<u8>,
    session: SessionId,
    number: PacketNumber,
    (chunk, offset): (u64, u16),
    head: &[u8],
    tail: &[u8],
) {
    let start = out.len();
    let payload = head.len().saturating_add(tail.len());
    out.reserve(payload.saturating_add(PART_OVERHEAD));
    Header {
        kind: Kind::Part,
        session,
        number,
    }
    .encode(out);
    out.extend_from_slice(&chunk.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(head);
    out.extend_from_slice(tail);
    checksum::append(out, start);
}

/// Appends a packet with one parity symbol.
pub fn encode_parity(
    out: &mut Vec<u8>,
    session: SessionId,
    number: PacketNumber,
    of: ParityOf,
    payload: &[u8],
) {
    let start = out.len();
    out.reserve(payload.len().saturating_add(PARITY_OVERHEAD));
    Header {
        kind: Kind::Parity,
        session,
        number,
    }
    .encode(out);
    out.extend_from_slice(&of.bits().to_be_bytes());
    out.extend_from_slice(payload);
    checksum::append(out, start);
}

/// Appends the list of the versions that this crate speaks.
pub fn encode_versions(out: &mut Vec<u8>, session: SessionId) {
    let start = out.len();
    out.extend_from_slice(&[VERSION_LIST << 4, 0]);
    out.extend_from_slice(&session.0.to_be_bytes());
    out.push(VERSION);
    checksum::append(out, start);
}

/// Puts frames together into one packet of at most `limit` bytes.
#[derive(Debug)]
pub struct FrameWriter {
    bytes: Vec<u8>,
    limit: usize,
}

impl FrameWriter {
    /// An empty packet of this kind.
    pub fn new(
        kind: Kind,
        session: SessionId,
        number: PacketNumber,
        tag: u64,
        limit: usize,
    ) -> Self {
        let mut bytes = Vec::with_capacity(128);
        Header {
            kind,
            session,
            number,
        }
        .encode(&mut bytes);
        bytes.extend_from_slice(&tag.to_be_bytes());
        Self { bytes, limit }
    }

    /// Bytes that frames may still take, their types and lengths included.
    pub fn room(&self) -> usize {
        self.limit
            .saturating_sub(self.bytes.len())
            .saturating_sub(checksum::CHECKSUM_LEN)
    }

    /// Whether no frame was added.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_LEN + 8
    }

    /// Adds `frame` if it fits; answers whether it did.
    pub fn push(&mut self, frame: &Frame<'_>) -> bool {
        let (start, room) = (self.bytes.len(), self.room());
        frame.encode(&mut self.bytes);
        let fits = self.bytes.len().saturating_sub(start) <= room;
        if !fits {
            self.bytes.truncate(start);
        }
        fits
    }

    /// Fills the packet with padding up to its limit.
    pub fn pad(&mut self) {
        let room = self.room();
        if let Some(len) = room.checked_sub(TLV_HEADER_LEN) {
            let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
            self.bytes.extend_from_slice(&[Frame::PADDING, high, low]);
            self.bytes.resize(self.bytes.len().saturating_add(len), 0);
        }
    }

    /// Appends the packet with its checksum to `out`.
    pub fn finish(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        checksum::append(out, start);
    }
}
