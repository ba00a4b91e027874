//! A transfer from memory to memory: both ends of a session in one thread, with a path that takes
//! no time and storage that does nothing. What is left is the work of the engine.

use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::config::SenderConfig;
use xfer_proto::digest::LEAF_SIZE;
use xfer_proto::id::{Digest, SessionId};
use xfer_proto::machine::{Input, Machine, Output, Received};
use xfer_proto::manifest::{Entry, EntryKind, Name};
use xfer_proto::router::{Route, Router, RouterConfig};
use xfer_proto::session::{IncomingSession, OutgoingSession};
use xfer_proto::storage::{Completion, Done, Prepared, ReadBlock, StorageOp};
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Ecn, MAX_SEGMENTS, Transmit, TransmitBuf};

/// The value of every leaf: nobody hashes here, and both ends say the same.
const LEAF: Digest = Digest([7; 32]);
/// Virtual time of one turn, which is the round-trip time too.
const TURN: Duration = Duration::from_micros(50);
/// A transfer that takes more turns than this hangs: 100 virtual seconds.
const MAX_TURNS: u32 = 2_000_000;

/// What a transfer took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Packets of the sender.
    pub packets: u64,
    /// Bytes forward, and bytes back.
    pub forward: u64,
    pub back: u64,
}

/// Sends one file of `size` bytes in packets of `datagram` bytes; each `lose`th packet is lost.
pub fn transfer(size: u64, datagram: usize, lose: Option<u64>) -> Counts {
    let mut path = Path::new(size, datagram, lose);
    for _ in 0..MAX_TURNS {
        path.now = path.now + TURN;
        let is_over = path.run_sender();
        path.run_receiver();
        if is_over {
            return path.counts;
        }
    }
    panic!("the transfer hangs: {:?}", path.sender.stats());
}

struct Path {
    now: Instant,
    sender: OutgoingSession,
    receiver: Option<Box<IncomingSession>>,
    router: Router,
    leaf: Bytes,
    lose: Option<u64>,
    counts: Counts,
    buffer: Vec<u8>,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Path {
    fn new(size: u64, datagram: usize, lose: Option<u64>) -> Self {
        let entry = Entry {
            name: Name::new("file").expect("a good name"),
            kind: EntryKind::File,
            size,
            modified: None,
            mode: None,
            identity: None,
        };
        let config = SenderConfig {
            max_datagram: datagram,
            ..SenderConfig::default()
        };
        let now = Instant::from_millis(1);
        let sender = OutgoingSession::new(now, config, address(2), SessionId(1), 2, vec![entry]);
        Self {
            now,
            sender,
            receiver: None,
            router: Router::new(RouterConfig::new([3; 32])),
            leaf: vec![5; LEAF_SIZE as usize].into(),
            lose,
            counts: Counts::default(),
            buffer: Vec::new(),
        }
    }

    /// Answers whether the sender is finished.
    fn run_sender(&mut self) -> bool {
        let mut buffer = Vec::new();
        loop {
            let mut out = TransmitBuf::new(&mut buffer, MAX_SEGMENTS);
            match self.sender.poll(self.now, &mut out) {
                Output::Transmit(transmit) => self.carry(&transmit, &buffer),
                Output::Storage(op) => {
                    if let Some(completion) = answer(op, &self.leaf) {
                        self.sender.handle(self.now, Input::Storage(completion));
                    }
                }
                Output::Event(_) => {}
                Output::Wait(_) => return false,
                Output::Done => return true,
            }
        }
    }

    fn carry(&mut self, transmit: &Transmit, bytes: &[u8]) {
        for data in bytes.chunks(transmit.segment_size) {
            self.counts.packets += 1;
            self.counts.forward += data.len() as u64;
            let is_lost = |every: u64| self.counts.packets.is_multiple_of(every);
            if !self.lose.is_some_and(is_lost) {
                self.arrive(data);
            }
        }
    }

    fn arrive(&mut self, data: &[u8]) {
        let received = Received {
            source: address(1),
            ecn: Ecn::NotEct,
            data,
        };
        let peer = self.receiver.as_ref().map(|session| session.peer());
        let mut out = TransmitBuf::new(&mut self.buffer, 1);
        match self.router.route(self.now, &received, |_| peer, &mut out) {
            Route::Incoming(session) => self.receiver = Some(session),
            Route::Session(_) => {}
            Route::Reply(transmit) => return self.carry_back(&transmit),
            Route::Drop(_) | Route::Full(..) => return,
        }
        if let Some(session) = &mut self.receiver {
            session.handle(self.now, Input::Datagram(received));
        }
    }

    fn run_receiver(&mut self) {
        while let Some(session) = &mut self.receiver {
            let mut out = TransmitBuf::new(&mut self.buffer, 1);
            match session.poll(self.now, &mut out) {
                Output::Transmit(transmit) => self.carry_back(&transmit),
                Output::Storage(op) => {
                    if let Some(completion) = answer(op, &self.leaf) {
                        session.handle(self.now, Input::Storage(completion));
                    }
                }
                Output::Event(_) => {}
                Output::Wait(_) => return,
                Output::Done => self.receiver = None,
            }
        }
    }

    fn carry_back(&mut self, transmit: &Transmit) {
        self.counts.back += transmit.len as u64;
        let received = Received {
            source: address(2),
            ecn: Ecn::NotEct,
            data: &self.buffer,
        };
        self.sender.handle(self.now, Input::Datagram(received));
    }
}

/// What storage says at once. Content that is written is dropped.
fn answer(op: StorageOp, leaf: &Bytes) -> Option<Completion> {
    let (op, done) = match op {
        StorageOp::Read {
            op, len, digest, ..
        } => {
            let data = leaf.slice(..len as usize);
            let leaf = digest.then_some(LEAF);
            (op, Done::Read(ReadBlock { data, leaf }))
        }
        StorageOp::Finish { op, .. } => (op, Done::Finished),
        StorageOp::Prepare { op, .. } => (op, Done::Prepared(Prepared::Fresh)),
        StorageOp::DigestExisting { op, .. } | StorageOp::Hash { op, .. } => {
            (op, Done::Digest(LEAF))
        }
        StorageOp::ConfirmExisting { op, .. } => (op, Done::Confirmed(true)),
        StorageOp::Write { op, .. } => (op, Done::Written),
        StorageOp::Checkpoint { op, .. } => (op, Done::Recorded),
        StorageOp::Commit { op, .. } => (op, Done::Committed),
        StorageOp::Discard { .. } => return None,
    };
    Some(Completion {
        op,
        result: Ok(done),
    })
}
