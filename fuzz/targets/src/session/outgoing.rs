//! The sending end, alone with a hostile receiver.

use super::end::End;
use super::storage::{Answer, value};
use super::{ID, TAG, entry, failure, receiver_address};
use crate::packets::{frames_packet, with_checksum};
use arbitrary::{Arbitrary, Result, Unstructured};
use xfer_proto::config::{MIN_DATAGRAM, SenderConfig};
use xfer_proto::error::ErrorCode;
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::machine::Input;
use xfer_proto::range_set::RangeSet;
use xfer_proto::recovery::control::{ControlReceiver, MAX_BLOCK};
use xfer_proto::recovery::receipt::Receipt;
use xfer_proto::session::OutgoingSession;
use xfer_proto::time::{Duration, Instant};
use xfer_proto::wire::frame::{Block, Close, Frame, GapRun, Ping, Report, Retry};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::{Message, Verdict};
use xfer_proto::wire::packet::Packet;

const SIZES: [u64; 8] = [0, 1, 1_170, 5_000, 70_000, 300_000, (1 << 20) + 1, 3 << 20];

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw(&'a [u8]),
    Retry {
        size: u16,
        token: u8,
    },
    /// Takes what was sent, but for one packet in so many.
    Listen {
        lose: u8,
    },
    Report(Option<Tweak>),
    Say(Word),
    Stream(&'a [u8]),
    Ping,
    Close {
        kind: u8,
        code: Option<u8>,
    },
    Answer(u8, Answer),
    AnswerAll,
    Wait(u16),
    Deadline,
    Abort(u8),
}

/// A field of a report that says something else.
#[derive(Arbitrary, Debug)]
enum Tweak {
    Largest(u64),
    Received(u64),
    Times(u64, u32),
    Counters(u64),
    Window(u64),
    FirstMissing(u64),
    Page(u64, u64),
    Missing(Vec<(u64, u64)>),
    Blocks(u64, u64, Vec<(u64, u64)>),
}

/// What a receiver may say, and what it may not.
#[derive(Arbitrary, Debug)]
enum Word {
    Answer {
        through: u8,
    },
    Hold {
        file: u8,
    },
    Want {
        file: u8,
    },
    Resume {
        file: u8,
        first: u8,
        count: u8,
        is_true: bool,
        is_same_source: bool,
    },
    Status {
        file: u8,
        verdict: u8,
    },
    Foreign,
}

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let files: [(u8, bool); 4] = u.arbitrary()?;
    let count = u.int_in_range(0..=files.len())?;
    let mut peer = Peer::new(&files[..count], u.arbitrary()?);
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

/// The sending end of a session with files of these sizes.
pub(super) fn open(now: Instant, config: SenderConfig, sizes: &[(u64, bool)]) -> OutgoingSession {
    let lines = sizes.iter().enumerate();
    let manifest = lines.map(|(at, &(size, is_directory))| entry(at, size, is_directory));
    OutgoingSession::new(now, config, receiver_address(), ID, TAG, manifest.collect())
}

/// The hostile receiver, with what it needs to be credible.
struct Peer {
    now: Instant,
    end: End<OutgoingSession>,
    number: u64,
    sequence: u64,
    receipt: Receipt,
    chunks: RangeSet,
    heard: ControlReceiver,
}

impl Peer {
    fn new(files: &[(u8, bool)], max_rate: Option<u32>) -> Self {
        let now = Instant::from_millis(1);
        let config = SenderConfig {
            max_datagram: 1_472,
            read_buffer: 0,
            max_rate: max_rate.map(u64::from),
            ..SenderConfig::default()
        };
        let size = |&(size, is_directory): &(u8, bool)| {
            let is_directory = is_directory && size & 1 == 0;
            let size = SIZES[usize::from(size) % SIZES.len()];
            (if is_directory { 0 } else { size }, is_directory)
        };
        let files: Vec<_> = files.iter().map(size).collect();
        let sizes = files.iter().map(|file| file.0).collect();
        let mut end = End::new(open(now, config, &files), receiver_address(), sizes);
        end.poll(now);
        Self {
            now,
            end,
            number: 0,
            sequence: 0,
            receipt: Receipt::default(),
            chunks: RangeSet::new(),
            heard: ControlReceiver::default(),
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Raw(data) => self.end.receive(self.now, &with_checksum(data)),
            Step::Retry { size, token } => self.retry(size, token),
            Step::Listen { lose } => self.listen(lose),
            Step::Report(tweak) => self.report(tweak),
            Step::Say(word) => self.say(word),
            Step::Stream(bytes) => self.stream(bytes),
            Step::Ping => self.frame(Frame::Ping(Ping {
                sent_end: u64::MAX,
                interval_us: 0,
            })),
            Step::Close { kind, code } => {
                let kind = if kind & 1 == 0 {
                    Kind::Control
                } else {
                    Kind::Reset
                };
                let close = Frame::Close(Close {
                    failure: code.map(failure),
                });
                let packet = frames_packet(kind, ID, self.number, TAG, &[close]);
                self.number += 1;
                self.end.receive(self.now, &packet);
            }
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
            Step::Abort(code) => self.end.handle(self.now, Input::Abort(failure(code))),
        }
    }

    fn retry(&mut self, size: u16, token: u8) {
        let sizes = [MIN_DATAGRAM as u16, 1_452, 1_472, size];
        let token = vec![token; usize::from(token) * 2];
        let retry = Frame::Retry(Retry {
            token: &token,
            received_size: sizes[usize::from(size) % sizes.len()],
            arrived_at_us: self.now.as_micros() * u64::from(size),
        });
        let packet = frames_packet(Kind::Retry, ID, 0, TAG, &[retry]);
        self.end.receive(self.now, &packet);
    }

    fn listen(&mut self, lose: u8) {
        let mut at = 0_u8;
        while let Some(datagram) = self.end.datagrams.pop_front() {
            at = at.wrapping_add(1);
            if lose > 1 && at.is_multiple_of(lose) {
                continue;
            }
            match Packet::decode(&datagram) {
                Ok(Packet::Data { header, chunk, .. }) => {
                    self.receipt.on_packet(self.now, header.number.0);
                    self.chunks.insert(chunk..chunk + 1);
                }
                // The chunk is never whole for this receiver: its parts come for ever.
                Ok(Packet::Part { header, .. }) => {
                    self.receipt.on_packet(self.now, header.number.0);
                }
                Ok(Packet::Frames { header, frames, .. }) => {
                    self.receipt.on_packet(self.now, header.number.0);
                    for frame in frames {
                        if let Frame::Block(block) = frame {
                            self.heard.on_block(block.sequence, block.bytes);
                            while let Ok(Some(_)) = self.heard.next_message() {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn report(&mut self, tweak: Option<Tweak>) {
        let (first, end) = (self.chunks.first_missing(), self.chunks.end());
        let mut report = Report {
            largest: self.receipt.largest().unwrap_or(0),
            received: self.receipt.received(),
            largest_at_us: self.receipt.largest_at().as_micros(),
            window: 1 << 20,
            first_missing: first,
            end,
            page_start: first,
            page_end: end,
            blocks: self.heard.ack(),
            ..Report::default()
        };
        let mut at = first;
        for gap in self.chunks.gaps(first..end).take(100) {
            report.missing.push(GapRun {
                gap: gap.start - at,
                run: gap.end - gap.start,
            });
            at = gap.end;
        }
        match tweak {
            None => {}
            Some(Tweak::Largest(largest)) => report.largest = largest,
            Some(Tweak::Received(received)) => report.received = received,
            Some(Tweak::Times(at, delay)) => {
                (report.largest_at_us, report.delay_us) = (at, delay);
            }
            Some(Tweak::Counters(count)) => {
                (report.ce, report.host_drops, report.duplicates) = (count, count, count);
            }
            Some(Tweak::Window(window)) => report.window = window,
            Some(Tweak::FirstMissing(first)) => report.first_missing = first,
            Some(Tweak::Page(start, end)) => (report.page_start, report.page_end) = (start, end),
            Some(Tweak::Missing(list)) => report.missing = runs(list),
            Some(Tweak::Blocks(next, end, list)) => {
                (report.blocks.next, report.blocks.end) = (next, end);
                report.blocks.missing = runs(list);
            }
        }
        self.frame(Frame::Report(report));
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

    fn say(&mut self, word: Word) {
        let file = |file: u8| FileIndex(u32::from(file) % 5);
        let message = match word {
            Word::Answer { through } => Message::Answer {
                through: u32::from(through) % 6,
            },
            Word::Hold { file: index } => Message::Hold { file: file(index) },
            Word::Want { file: index } => Message::Want { file: file(index) },
            Word::Resume {
                file: index,
                first,
                count,
                is_true,
                is_same_source,
            } => {
                let file = file(index);
                let made = |leaf| {
                    if is_true {
                        value(file, leaf)
                    } else {
                        Digest([5; 32])
                    }
                };
                let leaves = (u64::from(first)..).take(usize::from(count));
                Message::Resume {
                    file,
                    is_same_source,
                    leaves: leaves.map(|leaf| (leaf, made(leaf))).collect(),
                }
            }
            Word::Status {
                file: index,
                verdict,
            } => {
                let verdict = match verdict % 3 {
                    0 => Verdict::Committed,
                    1 => Verdict::Skipped,
                    _ => Verdict::Failed(ErrorCode::CONFLICT.into()),
                };
                Message::Status {
                    files: vec![(file(index), verdict)],
                }
            }
            Word::Foreign => Message::OfferEnd { files: 1 },
        };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream(&bytes);
    }
}

/// As many runs as a packet could hold.
fn runs(list: Vec<(u64, u64)>) -> Vec<GapRun> {
    let list = list.into_iter().take(400);
    list.map(|(gap, run)| GapRun { gap, run }).collect()
}
