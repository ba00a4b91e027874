//! The receiving end, alone with a hostile sender.

use super::end::End;
use super::storage::{Answer, digest, value};
use super::{ID, TAG, entry, failure, sender_address};
use crate::packets::{frames_packet, with_checksum};
use arbitrary::{Arbitrary, Result, Unstructured};
use xfer_proto::config::{MIN_DATAGRAM, ReceiverConfig};
use xfer_proto::file::layout::Layout;
use xfer_proto::id::{Digest, FileIndex, PacketNumber};
use xfer_proto::machine::{Input, Received};
use xfer_proto::recovery::control::{ControlReceiver, MAX_BLOCK};
use xfer_proto::router::{Route, Router, RouterConfig};
use xfer_proto::session::IncomingSession;
use xfer_proto::time::{Duration, Instant};
use xfer_proto::transmit::{Ecn, TransmitBuf};
use xfer_proto::wire::frame::{Ack, Block, Close, Frame, Hello, Ping};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::{Message, WireEntry};
use xfer_proto::wire::packet::{DATA_OVERHEAD, FrameWriter, Packet, encode_data};

const CHUNK: usize = MIN_DATAGRAM - DATA_OVERHEAD;
const SIZES: [u64; 10] = [
    0,
    1,
    CHUNK as u64,
    3 * CHUNK as u64 + 1,
    70_000,
    (1 << 20) + 1,
    3 << 20,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw(&'a [u8]),
    /// Chunks one after another from `first`, which counts from the end where `is_back`.
    Data {
        first: u16,
        count: u8,
        is_back: bool,
        skip: u8,
        len: Option<u16>,
    },
    Say(Word),
    Stream(&'a [u8]),
    Ack,
    WildAck(u64, u64, u64),
    Ping(u64, u32),
    Close(Option<u8>),
    Answer(u8, Answer),
    AnswerAll,
    Wait(u16),
    Deadline,
    KernelDrops(u64),
    Abort(u8),
}

/// What a sender may say, and what it may not.
#[derive(Arbitrary, Debug)]
enum Word {
    Offer {
        sizes: [u8; 3],
        count: u8,
        kind: u8,
    },
    OfferName {
        name: Vec<u8>,
        size: u64,
    },
    OfferEnd {
        extra: u8,
    },
    Leaves {
        file: u8,
        first: u16,
        count: u8,
        is_true: bool,
    },
    Eof {
        file: u8,
        is_true: bool,
    },
    Abandon {
        file: u8,
        message: u16,
    },
    Foreign {
        file: u8,
    },
}

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let mut peer = Peer::new();
    let mut steps = 0;
    while !u.is_empty() && !peer.end.is_done && steps < 400 {
        let step = u.arbitrary()?;
        peer.step(step);
        steps += 1;
    }
    let now = peer.now;
    peer.end.check_silence(now);
    Ok(())
}

/// A session as the router makes it, from a proven address.
pub(super) fn open(now: Instant, config: ReceiverConfig) -> IncomingSession {
    let mut router = RouterConfig::new([1; 32]);
    router.session = config;
    let mut router = Router::new(router);
    let mut token = Vec::new();
    for _ in 0..2 {
        let hello = Frame::Hello(Hello {
            token: &token,
            datagram_size: MIN_DATAGRAM as u16,
            interval_us: 1_000,
        });
        let mut packet = FrameWriter::new(Kind::Hello, ID, PacketNumber(0), TAG, MIN_DATAGRAM);
        packet.push(&hello);
        packet.pad();
        let mut data = Vec::new();
        packet.finish(&mut data);
        let received = Received {
            source: sender_address(),
            ecn: Ecn::NotEct,
            data: &data,
        };
        let mut reply = Vec::new();
        let mut out = TransmitBuf::new(&mut reply, 1);
        match router.route(now, &received, |_| None, &mut out) {
            Route::Incoming(session) => return *session,
            Route::Reply(_) => token = token_of(&reply),
            other => panic!("a good handshake ends with {other:?}"),
        }
    }
    panic!("a token of our own is not taken");
}

fn token_of(reply: &[u8]) -> Vec<u8> {
    match Packet::decode(reply) {
        Ok(Packet::Frames { frames, .. }) => match frames.as_slice() {
            [Frame::Retry(retry)] => retry.token.to_vec(),
            other => panic!("not a token: {other:?}"),
        },
        other => panic!("not a token: {other:?}"),
    }
}

/// The hostile sender, with what it needs to be credible.
struct Peer {
    now: Instant,
    end: End<IncomingSession>,
    layout: Layout,
    offered: u32,
    number: u64,
    sequence: u64,
    heard: ControlReceiver,
    heard_largest: u64,
}

impl Peer {
    fn new() -> Self {
        let now = Instant::from_millis(1);
        let config = ReceiverConfig {
            write_buffer: 256 << 10,
            max_files: 3_000,
            ..ReceiverConfig::default()
        };
        Self {
            now,
            end: End::new(open(now, config), sender_address(), Vec::new()),
            layout: Layout::new(CHUNK),
            offered: 0,
            number: 1,
            sequence: 0,
            heard: ControlReceiver::default(),
            heard_largest: 0,
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Raw(data) => self.end.receive(self.now, &with_checksum(data)),
            Step::Data {
                first,
                count,
                is_back,
                skip,
                len,
            } => {
                let first = u64::from(first);
                let first = if is_back {
                    self.layout.end().saturating_sub(first)
                } else {
                    first
                };
                for at in 0..u64::from(count) {
                    self.number += u64::from(skip);
                    self.data(first.saturating_add(at), len);
                }
            }
            Step::Say(word) => self.say(word),
            Step::Stream(bytes) => self.stream(bytes),
            Step::Ack => self.ack(),
            Step::WildAck(largest, next, end) => self.wild_ack(largest, next, end),
            Step::Ping(sent_end, interval_us) => self.frame(Frame::Ping(Ping {
                sent_end,
                interval_us,
            })),
            Step::Close(code) => self.frame(Frame::Close(Close {
                failure: code.map(failure),
            })),
            Step::Answer(pick, answer) => self.end.answer(self.now, pick.into(), answer),
            Step::AnswerAll => self.end.answer_all(self.now),
            Step::Wait(millis) => {
                self.now = self.now + Duration::from_millis(u64::from(millis));
                self.end.handle(self.now, Input::Timeout);
            }
            Step::Deadline => {
                self.now = self.end.deadline.unwrap_or(self.now).max(self.now);
                self.end.handle(self.now, Input::Timeout);
            }
            Step::KernelDrops(count) => self.end.handle(self.now, Input::KernelDrops(count)),
            Step::Abort(code) => self.end.handle(self.now, Input::Abort(failure(code))),
        }
    }

    fn data(&mut self, chunk: u64, len: Option<u16>) {
        let right = self.layout.place(chunk).map_or(CHUNK, |place| place.len);
        let len = len.map_or(right, |len| usize::from(len) % (CHUNK + 2));
        let mut packet = Vec::new();
        let number = PacketNumber(self.number);
        encode_data(&mut packet, ID, number, chunk, &vec![0; len]);
        self.number += 1;
        self.end.receive(self.now, &packet);
    }

    fn frame(&mut self, frame: Frame<'_>) {
        let packet = frames_packet(Kind::Control, ID, self.number, TAG, &[frame]);
        self.number += 1;
        self.end.receive(self.now, &packet);
    }

    fn stream(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(MAX_BLOCK) {
            let sequence = self.sequence;
            self.sequence += 1;
            self.frame(Frame::Block(Block { sequence, bytes }));
        }
    }

    /// Acknowledges everything that came, as a good sender would.
    fn ack(&mut self) {
        while let Some(datagram) = self.end.datagrams.pop_front() {
            if let Ok(Packet::Frames { header, frames, .. }) = Packet::decode(&datagram) {
                self.heard_largest = self.heard_largest.max(header.number.0);
                for frame in frames {
                    if let Frame::Block(block) = frame {
                        self.heard.on_block(block.sequence, block.bytes);
                        while let Ok(Some(_)) = self.heard.next_message() {}
                    }
                }
            }
        }
        let (largest, blocks) = (self.heard_largest, self.heard.ack());
        self.frame(Frame::Ack(Ack {
            largest,
            delay_us: 0,
            blocks,
        }));
    }

    fn wild_ack(&mut self, largest: u64, next: u64, end: u64) {
        let mut blocks = self.heard.ack();
        (blocks.next, blocks.end) = (next, end);
        self.frame(Frame::Ack(Ack {
            largest,
            delay_us: u32::MAX,
            blocks,
        }));
    }

    fn say(&mut self, word: Word) {
        let mut bytes = Vec::new();
        self.message(word).encode(&mut bytes);
        self.stream(&bytes);
    }

    fn message(&mut self, word: Word) -> Message {
        match word {
            Word::Offer { sizes, count, kind } => {
                let entries = (0..usize::from(count)).map(|at| {
                    let size = SIZES[usize::from(sizes[at % 3]) % SIZES.len()];
                    let index = self.offered as usize + at;
                    WireEntry::from(&entry(index, size, kind & 7 == 7))
                });
                let entries = entries.collect();
                self.offer(entries)
            }
            Word::OfferName { name, size } => {
                let mut line = WireEntry::from(&entry(0, size, false));
                line.name = name;
                line.name.truncate(30_000);
                self.offer(vec![line])
            }
            Word::OfferEnd { extra } => Message::OfferEnd {
                files: self.offered.wrapping_add(u32::from(extra >> 6)),
            },
            Word::Leaves {
                file,
                first,
                count,
                is_true,
            } => {
                let (file, first) = (self.file(file), u64::from(first));
                let made = |leaf| {
                    if is_true {
                        value(file, leaf)
                    } else {
                        Digest([3; 32])
                    }
                };
                let values = (first..first + u64::from(count)).map(made).collect();
                Message::Leaves {
                    file,
                    first,
                    values,
                }
            }
            Word::Eof { file, is_true } => self.eof(self.file(file), is_true),
            Word::Abandon { file, message } => {
                let mut failure = failure(1);
                failure.message = "m".repeat(usize::from(message) % 60_000);
                let file = self.file(file);
                Message::Abandon { file, failure }
            }
            Word::Foreign { file } => Message::Want {
                file: self.file(file),
            },
        }
    }

    /// Mostly a file that was offered.
    fn file(&self, file: u8) -> FileIndex {
        FileIndex(u32::from(file) % (self.offered + 1).min(256))
    }

    fn offer(&mut self, entries: Vec<WireEntry>) -> Message {
        let first = FileIndex(self.offered);
        for entry in &entries {
            self.offered += 1;
            self.end.sizes.push(entry.size);
            // A size that no file can have ends the session, and the layout does not matter then.
            let _ = self.layout.push(entry.size);
        }
        Message::Offer { first, entries }
    }

    fn eof(&self, file: FileIndex, is_true: bool) -> Message {
        let size = self.layout.size(file);
        let chunks = self.layout.chunks(file);
        let digest = if is_true {
            digest(file, size)
        } else {
            Digest([4; 32])
        };
        Message::Eof {
            file,
            size,
            chunks: chunks.end - chunks.start,
            digest,
        }
    }
}
