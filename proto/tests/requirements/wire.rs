//! Packets by hand, and packets read back.

use xfer_proto::error::ErrorCode;
use xfer_proto::id::{PacketNumber, SessionId};
use xfer_proto::recovery::control::ControlReceiver;
use xfer_proto::wire::frame::{Ack, BlockAck, Frame, Report};
use xfer_proto::wire::header::{Header, Kind};
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::{FrameWriter, Packet, ParityOf};

pub(crate) const ID: SessionId = SessionId(0xfeed_beef);
pub(crate) const TAG: u64 = 0x7a67;

/// A packet of frames, filled up to `size` bytes where that is not 0.
pub(crate) fn framed(
    kind: Kind,
    number: u64,
    tag: u64,
    frames: &[Frame<'_>],
    size: usize,
) -> Vec<u8> {
    let limit = if size == 0 { 60_000 } else { size };
    let mut writer = FrameWriter::new(kind, ID, PacketNumber(number), tag, limit);
    assert!(frames.iter().all(|frame| writer.push(frame)));
    if size > 0 {
        writer.pad();
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    bytes
}

pub(crate) fn blocks(next: u64) -> BlockAck {
    BlockAck {
        next,
        end: next,
        missing: Vec::new(),
    }
}

pub(crate) fn ack(largest: u64, next_block: u64) -> Frame<'static> {
    Frame::Ack(Ack {
        largest,
        delay_us: 0,
        blocks: blocks(next_block),
    })
}

/// One end's packets as they came, taken apart.
#[derive(Default)]
pub(crate) struct Seen {
    pub headers: Vec<Header>,
    pub reports: Vec<Report>,
    pub pings: Vec<u64>,
    pub acks: Vec<Ack>,
    pub messages: Vec<Message>,
    /// Sequence numbers and bytes of blocks, also of those that came before.
    pub blocks: Vec<(u64, Vec<u8>)>,
    /// Chunk numbers and lengths.
    pub chunks: Vec<(u64, usize)>,
    /// Chunk numbers, offsets and contents of parts.
    pub parts: Vec<(u64, usize, Vec<u8>)>,
    /// Parity symbols.
    pub parities: Vec<(ParityOf, Vec<u8>)>,
    /// Codes of closing frames; `None` for a good end.
    pub closes: Vec<Option<ErrorCode>>,
    /// What each `Hello` had.
    pub tokens: Vec<Vec<u8>>,
    control: ControlReceiver,
}

impl Seen {
    pub(crate) fn take(&mut self, datagram: &[u8]) {
        match Packet::decode(datagram).unwrap() {
            Packet::Data {
                header,
                chunk,
                payload,
            } => {
                assert_eq!(header.session, ID);
                self.headers.push(header);
                self.chunks.push((chunk, payload.len()));
            }
            Packet::Part {
                header,
                chunk,
                offset,
                payload,
            } => {
                assert_eq!(header.session, ID);
                self.headers.push(header);
                self.parts
                    .push((chunk, usize::from(offset), payload.to_vec()));
            }
            Packet::Parity {
                header,
                of,
                payload,
            } => {
                assert_eq!(header.session, ID);
                self.headers.push(header);
                self.parities.push((of, payload.to_vec()));
            }
            Packet::Frames {
                header,
                tag,
                frames,
            } => {
                // SPEC: R-tag-1, R-tag-3
                assert_eq!((header.session, tag), (ID, TAG));
                let is_probe = header.kind == Kind::Hello;
                // SPEC: R-frames-1
                assert!(is_probe || datagram.len() <= 1_200);
                self.headers.push(header);
                frames.into_iter().for_each(|frame| self.frame(frame));
            }
            Packet::Versions { .. } => panic!("no version was asked for"),
        }
    }

    fn frame(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Report(report) => self.reports.push(report),
            Frame::Ping(ping) => self.pings.push(ping.sent_end),
            Frame::Ack(ack) => self.acks.push(ack),
            Frame::Close(close) => self.closes.push(close.failure.map(|failure| failure.code)),
            Frame::Block(block) => {
                // SPEC: R-control-stream-1
                assert!((1..=900).contains(&block.bytes.len()));
                let again = self.blocks.iter().find(|old| old.0 == block.sequence);
                // SPEC: R-control-stream-2
                assert!(again.is_none_or(|old| old.1 == block.bytes));
                self.blocks.push((block.sequence, block.bytes.to_vec()));
                self.control.on_block(block.sequence, block.bytes);
                while let Some(message) = self.control.next_message().unwrap() {
                    self.messages.push(message);
                }
            }
            Frame::Hello(hello) => self.tokens.push(hello.token.to_vec()),
            Frame::Retry(_) => {}
        }
    }

    /// Numbers are given one after another, each once.
    pub(crate) fn check_numbers(&self) {
        // SPEC: R-packet-numbers-1, R-header-4
        let numbers = self.headers.iter().map(|header| header.number.0);
        assert!(numbers.eq(0..self.headers.len() as u64));
    }

    pub(crate) fn last_report(&self) -> &Report {
        self.reports.last().unwrap()
    }
}

/// The ranges that a report lists as missing.
pub(crate) fn missing(report: &Report) -> Vec<std::ops::Range<u64>> {
    xfer_proto::wire::frame::ranges(&report.missing, report.page_start, report.page_end).unwrap()
}
