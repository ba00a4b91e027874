//! Finds of fuzzers and reviewers: what a peer or a driver did that it should not, and what must
//! come of it.

use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::config::{MAX_RANGES, MEMORY_POOL, MIN_DATAGRAM, ReceiverConfig, SenderConfig};
use xfer_proto::digest::LEAF_SIZE;
use xfer_proto::error::ErrorCode;
use xfer_proto::file::layout::Layout;
use xfer_proto::id::{FileIndex, PacketNumber, SessionId};
use xfer_proto::machine::{Event, FileStatus, Input, Machine, Output, Received};
use xfer_proto::manifest::{Entry, EntryKind, MAX_FILE_SIZE, MAX_NAME, Name};
use xfer_proto::memory::MemoryPool;
use xfer_proto::recovery::control::{ControlReceiver, MAX_BLOCK};
use xfer_proto::router::{Route, Router, RouterConfig};
use xfer_proto::session::{IncomingSession, OutgoingSession};
use xfer_proto::storage::{Completion, Done, OpId, Prepared, ReadBlock, StorageOp};
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Ecn, TransmitBuf};
use xfer_proto::wire::frame::{Block, Frame, GapRun, Hello, Ping, Report, Retry};
use xfer_proto::wire::header::{Header, Kind};
use xfer_proto::wire::message::{Message, WireEntry};
use xfer_proto::wire::packet::{DATA_OVERHEAD, FrameWriter, Packet, encode_data};

const ID: SessionId = SessionId(1);
const TAG: u64 = 2;
const CHUNK: usize = MIN_DATAGRAM - DATA_OVERHEAD;
const NOW: Instant = Instant::from_millis(5);

fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1))
}

fn packet(kind: Kind, number: u64, frame: &Frame<'_>) -> Vec<u8> {
    let mut writer = FrameWriter::new(kind, ID, PacketNumber(number), TAG, MIN_DATAGRAM);
    assert!(writer.push(frame));
    writer.pad();
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    bytes
}

fn received(data: &[u8]) -> Received<'_> {
    Received {
        source: peer(),
        ecn: Ecn::NotEct,
        data,
    }
}

fn entry(name: Vec<u8>, size: u64) -> Entry {
    Entry {
        name: Name::new(name).unwrap(),
        kind: EntryKind::File,
        size,
        modified: None,
        mode: None,
        identity: None,
    }
}

/// A machine, and what it said so far.
struct Bench<M> {
    machine: M,
    number: u64,
    sequence: u64,
    ops: Vec<StorageOp>,
    events: Vec<Event>,
    sent: Vec<Vec<u8>>,
    now: Instant,
}

impl<M: Machine> Bench<M> {
    fn new(machine: M) -> Self {
        Self {
            machine,
            number: 0,
            sequence: 0,
            ops: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            now: NOW,
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.machine.handle(self.now, input);
        let mut buffer = Vec::new();
        loop {
            let mut out = TransmitBuf::new(&mut buffer, 1);
            match self.machine.poll(self.now, &mut out) {
                Output::Transmit(_) => self.sent.push(buffer.clone()),
                Output::Storage(op) => self.ops.push(op),
                Output::Event(event) => self.events.push(event),
                Output::Wait(_) | Output::Done => return,
            }
        }
    }

    fn datagram(&mut self, data: &[u8]) {
        self.input(Input::Datagram(received(data)));
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        let packet = packet(Kind::Control, self.number, frame);
        self.number += 1;
        self.datagram(&packet);
    }

    fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        for bytes in bytes.chunks(MAX_BLOCK) {
            let sequence = self.sequence;
            self.sequence += 1;
            self.frame(&Frame::Block(Block { sequence, bytes }));
        }
    }

    fn chunk(&mut self, chunk: u64, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode_data(&mut bytes, ID, PacketNumber(self.number), chunk, payload);
        self.number += 1;
        self.datagram(&bytes);
    }

    fn offer(&mut self, size: u64) {
        let entries = vec![WireEntry::from(&entry(b"f".to_vec(), size))];
        let first = FileIndex(0);
        self.say(&Message::Offer { first, entries });
        self.say(&Message::OfferEnd { files: 1 });
    }

    fn complete(&mut self, op: OpId, done: Done) {
        let result = Ok(done);
        self.input(Input::Storage(Completion { op, result }));
    }

    /// Storage carries out every write, and finds nothing of any file.
    fn serve(&mut self) {
        for op in std::mem::take(&mut self.ops) {
            match op {
                StorageOp::Prepare { op, .. } => {
                    self.complete(op, Done::Prepared(Prepared::Fresh));
                }
                StorageOp::Write { op, .. } => self.complete(op, Done::Written),
                _ => {}
            }
        }
    }

    /// The largest number among the packets that were sent since they were last looked at.
    fn sent_numbers(&self) -> u64 {
        let numbers = self.sent.iter().filter_map(|datagram| {
            let header = Header::decode(datagram).ok()?.0;
            Some(header.number.0)
        });
        numbers.max().unwrap_or(0)
    }

    fn reports(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        for datagram in &self.sent {
            if let Ok(Packet::Frames { frames, .. }) = Packet::decode(datagram) {
                reports.extend(frames.into_iter().filter_map(|frame| match frame {
                    Frame::Report(report) => Some(report),
                    _ => None,
                }));
            }
        }
        reports
    }
}

fn incoming() -> Bench<IncomingSession> {
    incoming_with(MemoryPool::new(MEMORY_POOL))
}

fn incoming_with(memory: MemoryPool) -> Bench<IncomingSession> {
    let mut config = RouterConfig::new([1; 32]);
    config.session = ReceiverConfig {
        write_buffer: 1 << 20,
        memory,
        ..ReceiverConfig::default()
    };
    let mut router = Router::new(config);
    let mut token = Vec::new();
    loop {
        let hello = packet(
            Kind::Hello,
            0,
            &Frame::Hello(Hello {
                token: &token,
                datagram_size: MIN_DATAGRAM as u16,
                interval_us: 0,
            }),
        );
        let mut reply = Vec::new();
        let mut out = TransmitBuf::new(&mut reply, 1);
        match router.route(NOW, &received(&hello), |_| None, &mut out) {
            Route::Incoming(session) => return Bench::new(*session),
            Route::Reply(_) => {}
            other => panic!("{other:?}"),
        }
        let Ok(Packet::Frames { frames, .. }) = Packet::decode(&reply) else {
            panic!("no token");
        };
        let [Frame::Retry(retry)] = frames.as_slice() else {
            panic!("no token");
        };
        token = retry.token.to_vec();
    }
}

/// A sender that has got its token.
fn outgoing(manifest: Vec<Entry>) -> Bench<OutgoingSession> {
    let config = SenderConfig::default();
    let session = OutgoingSession::new(NOW, config, peer(), ID, TAG, manifest);
    let mut bench = Bench::new(session);
    let retry = Frame::Retry(Retry {
        token: b"token",
        received_size: MIN_DATAGRAM as u16,
        arrived_at_us: 0,
    });
    bench.datagram(&packet(Kind::Retry, 0, &retry));
    bench
}

#[test]
fn a_file_of_absurd_size_costs_no_memory() {
    let mut bench = incoming();
    bench.offer(MAX_FILE_SIZE);
    // A table of its leaves would not fit any memory.
    bench.chunk(0, &[0; CHUNK]);
    let mut layout = Layout::new(CHUNK);
    layout.push(MAX_FILE_SIZE).unwrap();
    let last = layout.end() - 1;
    bench.chunk(last, &vec![0; layout.place(last).unwrap().len]);
    assert_eq!(bench.events, []);
    assert_eq!(bench.machine.stats().received_packets, bench.number);
}

#[test]
fn chunks_from_the_end_down_make_no_endless_list_of_holes() {
    let mut bench = incoming();
    let count = MAX_RANGES as u64 + 10;
    bench.offer(2 * count * CHUNK as u64);
    bench.serve();
    for at in 0..count {
        bench.chunk(2 * (count - at) - 1, &[0; CHUNK]);
        bench.serve();
    }
    assert_eq!(bench.machine.stats().duplicate_chunks, 0);
    bench.chunk(2 * count - 1, &[0; CHUNK]);
    assert_eq!(bench.machine.stats().duplicate_chunks, 1, "it was noted");
    bench.chunk(1, &[0; CHUNK]);
    assert_eq!(bench.machine.stats().duplicate_chunks, 1, "it was not");
    // What joins a range is taken however many there are.
    for repeat in 0..2 {
        bench.chunk(2 * count - 2, &[0; CHUNK]);
        bench.serve();
        assert_eq!(bench.machine.stats().duplicate_chunks, 1 + repeat);
    }
}

#[test]
fn a_file_that_is_refused_gives_its_memory_back() {
    let mut bench = incoming();
    bench.offer(3 * CHUNK as u64);
    (0..3).for_each(|chunk| bench.chunk(chunk, &[0; CHUNK]));
    let Some(StorageOp::Prepare { op, .. }) = bench.ops.pop() else {
        panic!("nothing is prepared");
    };
    let result = Err(ErrorCode::CONFLICT.into());
    bench.input(Input::Storage(Completion { op, result }));
    bench.frame(&Frame::Ping(Ping {
        sent_end: 0,
        interval_us: 0,
    }));
    assert_eq!(bench.reports().last().unwrap().window, 1 << 20);
}

#[test]
fn drops_beyond_all_counting_are_many() {
    let mut bench = incoming();
    bench.input(Input::KernelDrops(u64::MAX));
    bench.input(Input::KernelDrops(u64::MAX));
    bench.frame(&Frame::Ping(Ping {
        sent_end: 0,
        interval_us: 0,
    }));
    assert_eq!(bench.reports().last().unwrap().host_drops, u64::MAX);
}

#[test]
fn offers_of_the_longest_names_can_be_read() {
    let name = |at: usize| {
        let part = format!("{at:0254}/");
        let mut name = part.repeat(16).into_bytes();
        name.extend([b'x'; 16]);
        assert_eq!(name.len(), MAX_NAME);
        name
    };
    let mut bench = outgoing((0..40).map(|at| entry(name(at), 1)).collect());
    let (mut stream, mut offered) = (ControlReceiver::default(), 0);
    for datagram in &bench.sent {
        let Ok(Packet::Frames { frames, .. }) = Packet::decode(datagram) else {
            continue;
        };
        for frame in frames {
            if let Frame::Block(block) = frame {
                stream.on_block(block.sequence, block.bytes);
            }
        }
        while let Some(message) = stream.next_message().expect("a malformed offer") {
            if let Message::Offer { entries, .. } = message {
                offered += entries.len();
            }
        }
    }
    assert!(offered > 10, "{offered} files");
    bench.input(Input::Abort(ErrorCode::INTERRUPTED.into()));
}

#[test]
fn a_source_that_answers_something_else_fails_its_file() {
    let mut bench = outgoing(vec![entry(b"f".to_vec(), 10)]);
    let Some(StorageOp::Read { op, .. }) = bench.ops.pop() else {
        panic!("nothing is read");
    };
    bench.complete(op, Done::Written);
    let is_failed = |event: &Event| match event {
        Event::File {
            status: FileStatus::Failed(failure),
            ..
        } => failure.code == ErrorCode::INTERNAL,
        _ => false,
    };
    assert!(bench.events.iter().any(is_failed), "{:?}", bench.events);
}

#[test]
fn a_receiver_with_a_clock_from_another_age_is_borne() {
    let mut bench = outgoing(vec![entry(b"f".to_vec(), 10)]);
    for largest_at_us in [u64::MAX, 0, 1 << 63, u64::MAX >> 1] {
        let blocks = xfer_proto::wire::frame::BlockAck::default();
        bench.frame(&Frame::Report(Report {
            largest: bench.number.min(1),
            received: 1,
            largest_at_us,
            delay_us: u32::MAX,
            blocks,
            ..Report::default()
        }));
    }
    assert_eq!(bench.events, [Event::Established]);
}

#[test]
fn a_receiver_that_never_has_enough_is_left() {
    // SPEC: R-progress-3
    let size = 4 * CHUNK as u64;
    let mut bench = outgoing(vec![entry(b"f".to_vec(), size)]);
    let Some(StorageOp::Read { op, len, .. }) = bench.ops.pop() else {
        panic!("nothing is read");
    };
    let data = vec![1; len as usize].into();
    let leaf = Some(xfer_proto::digest::leaf_value(
        size,
        0,
        &vec![1; len as usize],
    ));
    bench.complete(op, Done::Read(ReadBlock { data, leaf }));
    let mut now = NOW;
    let mut sent = 0_usize;
    while !bench.events.iter().any(|it| matches!(it, Event::Closed(_))) {
        // Nothing has come but the numbers of the packets.
        let largest = bench.sent_numbers();
        sent += bench.sent.iter().map(Vec::len).sum::<usize>();
        assert!(sent < 200 << 20, "{sent} bytes");
        bench.sent.clear();
        // Faster than the sender gives up one that gets nowhere.
        now = now + Duration::from_millis(3);
        bench.now = now;
        bench.frame(&Frame::Report(Report {
            largest,
            received: largest + 1,
            largest_at_us: now.as_micros(),
            window: 1 << 30,
            end: 4,
            page_end: 4,
            missing: vec![GapRun { gap: 0, run: 4 }],
            ..Report::default()
        }));
    }
    assert!(sent > 64 << 20, "{sent} bytes");
    assert!(bench.machine.stats().report_steps < 100);
}

#[test]
fn leaf_values_without_content_are_forgotten_when_there_are_too_many() {
    // SPEC: R-leaves-4, R-receiver-6
    let memory = MemoryPool::new(1 << 20);
    let mut bench = incoming_with(memory.clone());
    let leaves = 1 << 20;
    bench.offer(leaves * LEAF_SIZE);
    for first in (0..leaves).step_by(256) {
        bench.say(&Message::Leaves {
            file: FileIndex(0),
            first,
            values: vec![xfer_proto::digest::empty(); 256],
        });
        assert!(memory.held() <= memory.size() / 2, "{}", memory.held());
    }
    assert!(memory.held() > 0, "they count");
    // Blocks far ahead of their turn are dropped before they use up what others need.
    for at in 1..256 {
        let sequence = bench.sequence + at;
        bench.frame(&Frame::Block(Block {
            sequence,
            bytes: &[0; MAX_BLOCK],
        }));
        assert!(memory.held() <= memory.size() / 2 + 48 * 1_024);
    }
    bench.input(Input::Abort(ErrorCode::INTERRUPTED.into()));
    drop(bench);
    assert_eq!(memory.held(), 0);
}
