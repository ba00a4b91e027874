//! One end of a session with a driver that watches it.

use super::oracle::Oracle;
use super::storage::{self, Answer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use xfer_proto::config::MAX_DATAGRAM;
use xfer_proto::machine::{Input, Machine, Output, Received};
use xfer_proto::storage::StorageOp;
use xfer_proto::time::{Duration, Instant};
use xfer_proto::transmit::{Ecn, MAX_BATCH, Transmit, TransmitBuf};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::packet::Packet;

/// One input may cause so many outputs: an offer of thousands of names that are refused is the
/// worst.
const MAX_POLLS: usize = 50_000;
/// Deadlines that have come already when they are told.
const MAX_WAKES: usize = 8;
/// Datagrams kept until someone takes them; the oldest is lost first.
const MAX_DATAGRAMS: usize = 512;
/// Bytes of reads and writes asked for and not answered: the larger buffer, that of the sender.
const MAX_STORAGE_BYTES: u64 = 4 << 20;

/// The end, what it asked for, and what it sent.
pub(super) struct End<M> {
    pub machine: M,
    pub oracle: Oracle,
    pub pending: Vec<StorageOp>,
    pub datagrams: VecDeque<Vec<u8>>,
    pub deadline: Option<Instant>,
    pub is_done: bool,
    /// Sizes of the files, as far as they are known.
    pub sizes: Vec<u64>,
    peer: SocketAddr,
    buffer: Vec<u8>,
    next_number: u64,
}

impl<M: Machine> End<M> {
    pub fn new(machine: M, peer: SocketAddr, sizes: Vec<u64>) -> Self {
        Self {
            machine,
            oracle: Oracle::default(),
            pending: Vec::new(),
            datagrams: VecDeque::new(),
            deadline: None,
            is_done: false,
            sizes,
            peer,
            buffer: Vec::new(),
            next_number: 0,
        }
    }

    /// A datagram comes from the peer.
    pub fn receive(&mut self, now: Instant, data: &[u8]) {
        let received = Received {
            source: self.peer,
            ecn: Ecn::Ect0,
            data,
        };
        self.handle(now, Input::Datagram(received));
    }

    /// Answers the operation at `pick`, whichever that is.
    pub fn answer(&mut self, now: Instant, pick: usize, answer: Answer) {
        if self.pending.is_empty() {
            return;
        }
        let op = self.pending.remove(pick % self.pending.len());
        if let Some(completion) = storage::complete(&op, answer, &self.sizes) {
            self.oracle.on_completion(&op, &completion);
            self.handle(now, Input::Storage(completion));
        }
    }

    /// Answers everything, in order and rightly.
    pub fn answer_all(&mut self, now: Instant) {
        while !self.pending.is_empty() {
            self.answer(now, 0, Answer::Right);
        }
    }

    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.machine.handle(now, input);
        self.poll(now);
    }

    pub fn poll(&mut self, now: Instant) {
        let mut wakes = 0;
        for _ in 0..MAX_POLLS {
            let mut out = TransmitBuf::new(&mut self.buffer, 64);
            let output = self.machine.poll(now, &mut out);
            assert!(
                !self.is_done || matches!(output, Output::Done),
                "{output:?} after the end"
            );
            match output {
                Output::Transmit(transmit) => self.on_transmit(&transmit),
                Output::Storage(op) => self.on_op(op),
                Output::Event(event) => self.oracle.on_event(&event),
                Output::Wait(deadline) => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    if self.deadline.is_none_or(|at| at > now) {
                        return;
                    }
                    wakes += 1;
                    assert!(wakes <= MAX_WAKES, "it is never done with {deadline:?}");
                    self.machine.handle(now, Input::Timeout);
                }
                Output::Done => {
                    assert!(self.oracle.closed.is_some(), "done without a word");
                    self.is_done = true;
                    return;
                }
            }
        }
        panic!("outputs without end");
    }

    fn on_op(&mut self, op: StorageOp) {
        self.oracle.on_op(&op);
        if storage::id(&op).is_some() {
            self.pending.push(op);
        }
        let bytes = |op: &StorageOp| match op {
            StorageOp::Read { len, .. } => u64::from(*len),
            StorageOp::Write { data, .. } => data.len() as u64,
            _ => 0,
        };
        let held: u64 = self.pending.iter().map(bytes).sum();
        assert!(held <= MAX_STORAGE_BYTES, "{held} bytes wait for storage");
    }

    fn on_transmit(&mut self, transmit: &Transmit) {
        assert_eq!(transmit.destination, self.peer);
        assert_eq!(transmit.len, self.buffer.len());
        assert!(transmit.len > 0 && transmit.len <= MAX_BATCH);
        assert!((1..=MAX_DATAGRAM).contains(&transmit.segment_size));
        for datagram in self.buffer.chunks(transmit.segment_size) {
            let header = match Packet::decode(datagram) {
                Ok(
                    Packet::Data { header, .. }
                    | Packet::Part { header, .. }
                    | Packet::Parity { header, .. }
                    | Packet::Frames { header, .. },
                ) => header,
                other => panic!("sent what cannot be read: {other:?}"),
            };
            assert_eq!(header.session, super::ID);
            if header.kind != Kind::Hello || header.number.0 > 0 {
                assert!(header.number.0 >= self.next_number, "a number comes twice");
                self.next_number = header.number.0 + 1;
            }
            if self.datagrams.len() == MAX_DATAGRAMS {
                self.datagrams.pop_front();
            }
            self.datagrams.push_back(datagram.to_vec());
        }
    }

    /// The machine is over: whatever comes, it stays silent.
    pub fn check_silence(&mut self, now: Instant) {
        if self.is_done {
            self.receive(now, &[]);
            self.answer_all(now);
            self.handle(now + Duration::from_secs(60), Input::Timeout);
        }
    }
}
