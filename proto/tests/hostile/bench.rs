//! One end of a session whose peer and driver are the test.

use std::net::SocketAddr;
use xfer_proto::config::{MEMORY_POOL, MIN_DATAGRAM, ReceiverConfig, SenderConfig};
use xfer_proto::digest::leaf_value;
use xfer_proto::id::{FileIndex, PacketNumber, SessionId};
use xfer_proto::machine::{Event, Input, Machine, Output, Received};
use xfer_proto::manifest::{Entry, EntryKind, Name};
use xfer_proto::memory::MemoryPool;
use xfer_proto::recovery::control::MAX_BLOCK;
use xfer_proto::router::{Route, Router, RouterConfig};
use xfer_proto::session::{IncomingSession, OutgoingSession};
use xfer_proto::storage::{Completion, Done, OpId, Prepared, StorageOp};
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Ecn, TransmitBuf};
use xfer_proto::wire::frame::{Block, Frame, Hello, Report, Retry};
use xfer_proto::wire::header::{Header, Kind};
use xfer_proto::wire::message::{Message, WireEntry};
use xfer_proto::wire::packet::{DATA_OVERHEAD, FrameWriter, Packet, encode_data};

pub(crate) const ID: SessionId = SessionId(1);
pub(crate) const TAG: u64 = 2;
pub(crate) const CHUNK: usize = MIN_DATAGRAM - DATA_OVERHEAD;
pub(crate) const NOW: Instant = Instant::from_millis(5);

pub(crate) fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1))
}

pub(crate) fn packet(kind: Kind, number: u64, frame: &Frame<'_>) -> Vec<u8> {
    let mut writer = FrameWriter::new(kind, ID, PacketNumber(number), TAG, MIN_DATAGRAM);
    assert!(writer.push(frame));
    writer.pad();
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    bytes
}

pub(crate) fn received(data: &[u8]) -> Received<'_> {
    Received {
        source: peer(),
        ecn: Ecn::NotEct,
        data,
    }
}

pub(crate) fn entry(name: Vec<u8>, size: u64) -> Entry {
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
pub(crate) struct Bench<M> {
    pub(crate) machine: M,
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) ops: Vec<StorageOp>,
    pub(crate) hashed: Vec<FileIndex>,
    pub(crate) events: Vec<Event>,
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) now: Instant,
}

impl<M: Machine> Bench<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self {
            machine,
            number: 0,
            sequence: 0,
            ops: Vec::new(),
            hashed: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            now: NOW,
        }
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
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

    pub(crate) fn datagram(&mut self, data: &[u8]) {
        self.input(Input::Datagram(received(data)));
    }

    pub(crate) fn frame(&mut self, frame: &Frame<'_>) {
        let packet = packet(Kind::Control, self.number, frame);
        self.number += 1;
        self.datagram(&packet);
    }

    pub(crate) fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        for bytes in bytes.chunks(MAX_BLOCK) {
            let sequence = self.sequence;
            self.sequence += 1;
            self.frame(&Frame::Block(Block { sequence, bytes }));
        }
    }

    pub(crate) fn chunk(&mut self, chunk: u64, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode_data(&mut bytes, ID, PacketNumber(self.number), chunk, payload);
        self.number += 1;
        self.datagram(&bytes);
    }

    pub(crate) fn offer(&mut self, size: u64) {
        let entries = vec![WireEntry::from(&entry(b"f".to_vec(), size))];
        let first = FileIndex(0);
        self.say(&Message::Offer { first, entries });
        self.say(&Message::OfferEnd { files: 1 });
    }

    pub(crate) fn complete(&mut self, op: OpId, done: Done) {
        let result = Ok(done);
        self.input(Input::Storage(Completion { op, result }));
    }

    /// Storage carries out every write, and finds nothing of any file.
    pub(crate) fn serve(&mut self) {
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

    /// Storage carries out everything, of files with the one byte 7.
    pub(crate) fn serve_all(&mut self) {
        while !self.ops.is_empty() {
            for op in std::mem::take(&mut self.ops) {
                match op {
                    StorageOp::Prepare { op, .. } => {
                        self.complete(op, Done::Prepared(Prepared::Fresh));
                    }
                    StorageOp::Write { op, .. } => self.complete(op, Done::Written),
                    StorageOp::Hash { op, file, .. } => {
                        self.hashed.push(file);
                        self.complete(op, Done::Digest(leaf_value(1, 0, &[7])));
                    }
                    StorageOp::Commit { op, .. } => self.complete(op, Done::Committed),
                    _ => {}
                }
            }
        }
    }

    /// The largest number among the packets that were sent since they were last looked at.
    pub(crate) fn sent_numbers(&self) -> u64 {
        let numbers = self.sent.iter().filter_map(|datagram| {
            let header = Header::decode(datagram).ok()?.0;
            Some(header.number.0)
        });
        numbers.max().unwrap_or(0)
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
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

pub(crate) fn incoming() -> Bench<IncomingSession> {
    incoming_with(MemoryPool::new(MEMORY_POOL))
}

pub(crate) fn incoming_with(memory: MemoryPool) -> Bench<IncomingSession> {
    incoming_as(ReceiverConfig {
        write_buffer: 1 << 20,
        memory,
        ..ReceiverConfig::default()
    })
}

pub(crate) fn incoming_as(session: ReceiverConfig) -> Bench<IncomingSession> {
    let mut config = RouterConfig::new([1; 32]);
    config.session = session;
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
pub(crate) fn outgoing(manifest: Vec<Entry>) -> Bench<OutgoingSession> {
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
