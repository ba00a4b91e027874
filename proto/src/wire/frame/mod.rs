//! Frames: the typed parts of a packet (SPEC.md, `frames`). One file a frame.

mod ack;
mod block;
mod close;
mod hello;
mod ping;
mod report;
mod retry;

pub use ack::{Ack, BlockAck};
pub use block::Block;
pub use close::Close;
pub use hello::Hello;
pub use ping::Ping;
pub use report::Report;
pub use retry::Retry;

use super::{DecodeError, tlv};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A gap of numbers that are not meant, then a run of numbers that are.
///
/// A list of them, read from a known start, says which numbers of a space are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapRun {
    /// Numbers skipped since the start of the list or the end of the last run.
    pub gap: u64,
    /// Numbers meant, at least 1.
    pub run: u64,
}

/// The ranges that `list` describes from `start` on, or `None` if it is malformed: an empty run,
/// runs that touch, or an end beyond `end`.
pub fn ranges(list: &[GapRun], start: u64, end: u64) -> Option<Vec<core::ops::Range<u64>>> {
    let mut at = start;
    let mut ranges = Vec::with_capacity(list.len());
    for (index, GapRun { gap, run }) in list.iter().enumerate() {
        if *run == 0 || (*gap == 0 && index > 0) {
            return None;
        }
        let from = at.checked_add(*gap)?;
        at = from.checked_add(*run)?;
        ranges.push(from..at);
    }
    (at <= end).then_some(ranges)
}

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame<'a> {
    /// Opens a session.
    Hello(Hello<'a>),
    /// Gives a token.
    Retry(Retry<'a>),
    /// A piece of the control stream.
    Block(Block<'a>),
    /// What the receiver has and lacks.
    Report(Report),
    /// What the sender has of the receiver's control stream.
    Ack(Ack),
    /// Asks for a report.
    Ping(Ping),
    /// The session is over.
    Close(Close),
}

impl<'a> Frame<'a> {
    /// Type of padding: zeros, which mean nothing.
    pub const PADDING: u8 = 0x00;
    const HELLO: u8 = 0x01;
    const RETRY: u8 = 0x02;
    const BLOCK: u8 = 0x03;
    const REPORT: u8 = 0x04;
    const ACK: u8 = 0x05;
    const PING: u8 = 0x06;
    const CLOSE: u8 = 0x07;

    /// Appends the frame: type, length, content.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(frame) => tlv::encode(out, Self::HELLO, frame),
            Self::Retry(frame) => tlv::encode(out, Self::RETRY, frame),
            Self::Block(frame) => tlv::encode(out, Self::BLOCK, frame),
            Self::Report(frame) => tlv::encode(out, Self::REPORT, frame),
            Self::Ack(frame) => tlv::encode(out, Self::ACK, frame),
            Self::Ping(frame) => tlv::encode(out, Self::PING, frame),
            Self::Close(frame) => tlv::encode(out, Self::CLOSE, frame),
        }
    }

    /// Reads the content of a frame of type `kind`; `None` for padding and for unknown ignorable
    /// types.
    pub fn decode(kind: u8, body: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            Self::PADDING if body.iter().all(|&byte| byte == 0) => return Ok(None),
            Self::PADDING => return Err(DecodeError::Malformed(kind)),
            Self::HELLO => Self::Hello(tlv::decode(kind, body)?),
            Self::RETRY => Self::Retry(tlv::decode(kind, body)?),
            Self::BLOCK => Self::Block(tlv::decode(kind, body)?),
            Self::REPORT => Self::Report(tlv::decode(kind, body)?),
            Self::ACK => Self::Ack(tlv::decode(kind, body)?),
            Self::PING => Self::Ping(tlv::decode(kind, body)?),
            Self::CLOSE => Self::Close(tlv::decode(kind, body)?),
            _ if kind & tlv::IGNORABLE != 0 => return Ok(None),
            _ => return Err(DecodeError::Unknown(kind)),
        }))
    }
}
