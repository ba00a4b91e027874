//! What a sender may make up.

use super::Traitor;
use std::net::SocketAddr;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::manifest::{EntryKind, Timestamp};
use xfer_proto::wire::frame::{Ack, BlockAck, Frame, Ping};
use xfer_proto::wire::header::{Header, Kind};
use xfer_proto::wire::message::{Message, WireEntry};
use xfer_proto::wire::packet::{Packet, ParityOf, encode_data, encode_parity};

/// Names that a receiver must not follow, and one that it may.
const NAMES: [&[u8]; 8] = [
    b"../../etc/passwd",
    b"/etc/passwd",
    b"",
    b"a//b",
    b"\x1b[2J",
    b".xfer-part/x",
    b"s0/file-0",
    b"evil",
];
/// Kinds of lies.
pub(crate) const SENDER_LIES: u64 = 11;

impl Traitor {
    pub(super) fn lie_as_sender(
        &mut self,
        packet: &Packet<'_>,
        data: &[u8],
        only: Option<u32>,
    ) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        let (header, place) = match packet {
            Packet::Data { header, chunk, .. } | Packet::Part { header, chunk, .. } => {
                (*header, *chunk)
            }
            Packet::Parity { header, of, .. } => (*header, of.first),
            Packet::Frames { header, .. } => (*header, 0),
            Packet::Versions { .. } => return Vec::new(),
        };
        let control = Header {
            kind: Kind::Control,
            ..header
        };
        let kind = only.map_or_else(|| self.rng.below(SENDER_LIES), u64::from);
        let lie = match kind {
            0 => self.false_chunk(header, packet),
            1 => {
                let (number, len) = (self.number(place), self.rng.below(9_000));
                let payload = vec![0; len as usize];
                let mut lie = Vec::new();
                encode_data(&mut lie, self.session, header.number, number, &payload);
                lie
            }
            2 => {
                let ack = Frame::Ack(Ack {
                    largest: self.number(place),
                    delay_us: self.rng.next_u64() as u32,
                    blocks: BlockAck {
                        next: self.number(1),
                        end: self.number(3),
                        missing: self.runs(60),
                    },
                });
                self.frames(Kind::Control, header.number, &[ack])
            }
            3 => {
                let ping = Frame::Ping(Ping {
                    sent_end: self.number(place),
                    interval_us: self.number(1_000) as u32,
                });
                // A report for each would be a report too many.
                let many = vec![ping; 1 + self.rng.below(30) as usize];
                self.frames(Kind::Control, header.number, &many)
            }
            4 | 5 => return self.false_message(control, packet, data),
            6 => self.goodbye(control),
            7 => self.greeting(header),
            8 => return self.copies(data).into_iter().map(|it| (None, it)).collect(),
            9 => self.false_parity(header, packet, place),
            _ => {
                // Under another address, also one that somebody else has.
                let host = self.rng.below(4) as u8;
                let stranger = SocketAddr::from(([10, 66, 0, host], 666));
                return vec![(Some(stranger), data.to_vec()), (None, data.to_vec())];
            }
        };
        vec![(None, lie)]
    }

    /// The same chunk with another content.
    fn false_chunk(&mut self, header: Header, packet: &Packet<'_>) -> Vec<u8> {
        let (chunk, mut payload) = match packet {
            Packet::Data { chunk, payload, .. } => (*chunk, payload.to_vec()),
            _ => (self.rng.below(10), self.bytes(2_000)),
        };
        let at = self.rng.below(payload.len().max(1) as u64) as usize;
        if let Some(byte) = payload.get_mut(at) {
            *byte ^= 0x55;
        }
        let mut lie = Vec::new();
        encode_data(&mut lie, self.session, header.number, chunk, &payload);
        lie
    }

    /// Parity of chunks near the one of the packet, which it is not.
    fn false_parity(&mut self, header: Header, packet: &Packet<'_>, place: u64) -> Vec<u8> {
        let len = match packet {
            Packet::Data { payload, .. } => payload.len(),
            _ => self.rng.below(2_000) as usize,
        };
        let first = place.saturating_sub(self.rng.below(40));
        let (count, index) = (1 + self.rng.below(80) as u8, self.rng.below(4) as u8);
        let symbol: Vec<u8> = (0..len).map(|_| self.rng.next_u64() as u8).collect();
        match ParityOf::new(first, count, index) {
            Some(of) => {
                let mut lie = Vec::new();
                encode_parity(&mut lie, header.session, header.number, of, &symbol);
                lie
            }
            None => self.false_chunk(header, packet),
        }
    }

    /// In place of a block of the stream: another message.
    fn false_message(
        &mut self,
        header: Header,
        packet: &Packet<'_>,
        data: &[u8],
    ) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        let Packet::Frames { frames, .. } = packet else {
            return vec![(None, data.to_vec())];
        };
        let blocks: Vec<u64> = frames
            .iter()
            .filter_map(|frame| match frame {
                Frame::Block(block) => Some(block.sequence),
                _ => None,
            })
            .collect();
        let Some(&sequence) = blocks.first() else {
            // Blocks that nobody asked for, far ahead of their turn.
            let sequence = self.number(100);
            return vec![(None, self.false_block(header, sequence, None))];
        };
        let message = self.sender_message();
        vec![(None, self.false_block(header, sequence, message))]
    }

    fn sender_message(&mut self) -> Option<Message> {
        let file = FileIndex(self.rng.below(3) as u32);
        let digest = Digest([self.rng.next_u64() as u8; 32]);
        Some(match self.rng.below(9) {
            0 | 1 => Message::Offer {
                first: FileIndex(self.rng.below(3) as u32),
                entries: (0..self.rng.below(20)).map(|_| self.entry()).collect(),
            },
            2 => Message::OfferEnd {
                files: self.number(3) as u32,
            },
            3 => Message::Leaves {
                file,
                first: self.number(2),
                values: vec![digest; self.rng.below(28) as usize],
            },
            4 => Message::Eof {
                file,
                size: self.number(1_000),
                chunks: self.number(2),
                digest,
            },
            5 => Message::Abandon {
                file,
                failure: Failure::new(ErrorCode::SOURCE_CHANGED, "\u{202e}evil\n".repeat(60)),
            },
            6 => Message::Status { files: Vec::new() },
            7 => Message::Hold { file },
            _ => return None,
        })
    }

    fn entry(&mut self) -> WireEntry {
        let modified = Timestamp {
            seconds: self.rng.next_u64() as i64,
            nanos: self.rng.next_u64() as u32 >> self.rng.below(3),
        };
        WireEntry {
            name: NAMES[self.rng.below(NAMES.len() as u64) as usize].to_vec(),
            kind: match self.rng.below(4) {
                0 => EntryKind::Directory,
                _ => EntryKind::File,
            },
            size: self.number(100_000),
            modified: (self.rng.below(2) == 0).then_some(modified),
            mode: Some(self.rng.next_u64() as u32),
            identity: None,
        }
    }
}
