//! A sender whose receiver is the test.

use crate::wire::{ID, Seen, TAG, blocks, framed};
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::config::SenderConfig;
use xfer_proto::digest::leaf_value;
use xfer_proto::error::ErrorCode;
use xfer_proto::machine::{Event, Input, Machine, Output, Received};
use xfer_proto::manifest::{Entry, EntryKind, Name};
use xfer_proto::session::OutgoingSession;
use xfer_proto::storage::{Completion, Done, OpId, ReadBlock, StorageOp};
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Ecn, TransmitBuf};
use xfer_proto::wire::frame::{Block, Close, Frame, Report, Retry};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::Message;

pub(crate) const TOKEN: &[u8] = b"token";
/// Bytes of a full chunk.
pub(crate) const CHUNK: u64 = 1_170;

pub(crate) struct Bench {
    pub session: OutgoingSession,
    pub now: Instant,
    pub source: SocketAddr,
    pub number: u64,
    block: u64,
    pub seen: Seen,
    /// Bytes of every datagram, in order.
    pub sizes: Vec<usize>,
    /// Largest batch.
    pub batch: usize,
    pub reads: Vec<(u32, u64)>,
    /// Reads wait here for [`Self::answer`] instead of an answer at once.
    pub is_slow: bool,
    pub pending: Vec<StorageOp>,
    pub closed: Option<Result<(), ErrorCode>>,
    sizes_of_files: Vec<u64>,
}

pub(crate) fn content(file: usize, offset: u64, len: usize) -> Vec<u8> {
    (offset..)
        .take(len)
        .map(|at| (at % 251) as u8 ^ file as u8)
        .collect()
}

impl Bench {
    /// A sender that has sent its probes.
    pub(crate) fn start(files: &[u64]) -> Self {
        Self::start_named(files, "")
    }

    /// The same, with names that begin with `prefix`.
    pub(crate) fn start_named(files: &[u64], prefix: &str) -> Self {
        Self::start_with(SenderConfig::default(), files, prefix)
    }

    /// The same, set so.
    pub(crate) fn start_with(config: SenderConfig, files: &[u64], prefix: &str) -> Self {
        let manifest = (0..)
            .zip(files)
            .map(|(index, size)| Entry {
                name: Name::new(format!("{prefix}file{index}")).unwrap(),
                kind: EntryKind::File,
                size: *size,
                modified: None,
                mode: None,
                identity: None,
            })
            .collect();
        let source = SocketAddr::from(([10, 0, 0, 9], 10_000));
        let now = Instant::from_millis(1);
        let mut bench = Self {
            session: OutgoingSession::new(now, config, source, ID, TAG, manifest),
            now,
            source,
            number: 0,
            block: 0,
            seen: Seen::default(),
            sizes: Vec::new(),
            batch: 0,
            reads: Vec::new(),
            is_slow: false,
            pending: Vec::new(),
            closed: None,
            sizes_of_files: files.to_vec(),
        };
        bench.run();
        bench
    }

    /// A sender that has a token for chunks of [`CHUNK`] bytes, and sent what it may without a
    /// report.
    pub(crate) fn with_token(files: &[u64]) -> Self {
        let mut bench = Self::start(files);
        bench.wait(Duration::from_millis(20));
        bench.retry(TOKEN, 1_200);
        bench.wait(Duration::from_millis(20));
        bench
    }

    /// A sender that had a report for all that it sent, and an answer for all files.
    pub(crate) fn open(files: &[u64]) -> Self {
        let mut bench = Self::with_token(files);
        let through = files.len() as u32;
        bench.say(&Message::Answer { through });
        bench.report(|_| {});
        bench.wait(Duration::from_millis(20));
        bench
    }

    pub(crate) fn retry(&mut self, token: &[u8], received_size: u16) {
        self.retry_at(self.now.as_micros(), token, received_size);
    }

    /// A `Retry` for a probe that came at `arrived_at_us` by the receiver's clock.
    pub(crate) fn retry_at(&mut self, arrived_at_us: u64, token: &[u8], received_size: u16) {
        let retry = Frame::Retry(Retry {
            token,
            received_size,
            arrived_at_us,
        });
        self.deliver(&framed(Kind::Retry, 0, TAG, &[retry], 0));
    }

    pub(crate) fn deliver(&mut self, data: &[u8]) {
        let received = Received {
            source: self.source,
            ecn: Ecn::NotEct,
            data,
        };
        self.session.handle(self.now, Input::Datagram(received));
        self.run();
    }

    pub(crate) fn control(&mut self, frames: &[Frame<'_>]) {
        let number = self.number;
        self.number += 1;
        self.deliver(&framed(Kind::Control, number, TAG, frames, 0));
    }

    pub(crate) fn say(&mut self, message: &Message) {
        self.say_with(message, None);
    }

    /// A message and a report in one packet.
    pub(crate) fn say_with(&mut self, message: &Message, report: Option<Report>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let sequence = self.block;
        self.block += 1;
        let bytes = &bytes;
        let mut frames = vec![Frame::Block(Block { sequence, bytes })];
        frames.extend(report.map(Frame::Report));
        self.control(&frames);
    }

    /// A report that every packet and every chunk sent has come, but for what `change` makes of it.
    pub(crate) fn a_report(&self, change: impl FnOnce(&mut Report)) -> Report {
        let largest = self.seen.headers.iter().map(|header| header.number.0);
        let largest = largest.max().unwrap();
        let end = self.seen.chunks.iter().map(|chunk| chunk.0 + 1).max();
        let end = end.unwrap_or(0);
        let next_block = self.seen.blocks.iter().map(|block| block.0 + 1).max();
        let mut report = Report {
            largest,
            received: largest + 1,
            largest_at_us: self.now.as_micros(),
            window: 1 << 24,
            first_missing: end,
            end,
            page_start: end,
            page_end: end,
            blocks: blocks(next_block.unwrap_or(0)),
            ..Report::default()
        };
        change(&mut report);
        report
    }

    pub(crate) fn report(&mut self, change: impl FnOnce(&mut Report)) {
        let report = self.a_report(change);
        self.control(&[Frame::Report(report)]);
    }

    pub(crate) fn reset(&mut self, failure: Option<ErrorCode>) {
        let failure = failure.map(Into::into);
        let close = Frame::Close(Close { failure });
        self.deliver(&framed(Kind::Reset, 0, TAG, &[close], 0));
    }

    /// Lets time pass a millisecond at a time, so that the pacer has its turns.
    pub(crate) fn wait(&mut self, time: Duration) {
        for _ in 0..time.as_millis() {
            self.skip(Duration::from_millis(1));
        }
    }

    /// Lets time pass in which nobody looks.
    pub(crate) fn skip(&mut self, time: Duration) {
        self.now = self.now + time;
        self.session.handle(self.now, Input::Timeout);
        self.run();
    }

    /// Answers what waits for storage at `at`.
    pub(crate) fn answer(&mut self, at: usize) {
        let op = self.pending.remove(at);
        self.perform(op);
        self.run();
    }

    /// Bytes of reads that wait for an answer.
    pub(crate) fn pending_bytes(&self) -> u64 {
        let bytes = self.pending.iter().map(|op| match op {
            StorageOp::Read { len, .. } => u64::from(*len),
            _ => 0,
        });
        bytes.sum()
    }

    fn perform(&mut self, op: StorageOp) {
        match op {
            StorageOp::Read {
                op,
                file,
                offset,
                len,
                digest,
            } => {
                let data = content(file.as_usize(), offset, len as usize);
                let size = self.sizes_of_files[file.as_usize()];
                let leaf = digest.then(|| leaf_value(size, offset >> 20, &data));
                let data = data.into();
                self.complete(op, Done::Read(ReadBlock { data, leaf }));
            }
            StorageOp::Finish { op, .. } => self.complete(op, Done::Finished),
            other => panic!("{other:?}"),
        }
    }

    fn complete(&mut self, op: OpId, done: Done) {
        let result = Ok(done);
        let completion = Completion { op, result };
        self.session.handle(self.now, Input::Storage(completion));
    }

    fn run(&mut self) {
        let mut bytes = Vec::new();
        loop {
            let mut out = TransmitBuf::new(&mut bytes, 64);
            match self.session.poll(self.now, &mut out) {
                Output::Transmit(transmit) => {
                    self.batch = self.batch.max(transmit.len);
                    for datagram in bytes[..transmit.len].chunks(transmit.segment_size) {
                        self.sizes.push(datagram.len());
                        self.seen.take(datagram);
                    }
                }
                Output::Event(Event::Closed(result)) => {
                    self.closed = Some(result.map_err(|failure| failure.code));
                }
                Output::Event(_) => {}
                Output::Wait(_) | Output::Done => return,
                Output::Storage(op) => {
                    if let StorageOp::Read { file, offset, .. } = op {
                        self.reads.push((file.0, offset >> 20));
                        assert!(self.reads.len() < 10_000, "it reads without end");
                    }
                    if self.is_slow {
                        self.pending.push(op);
                    } else {
                        self.perform(op);
                    }
                }
            }
        }
    }
}
