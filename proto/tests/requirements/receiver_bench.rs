//! A receiver whose sender is the test.

use crate::wire::{ID, Seen, TAG, framed};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::config::ReceiverConfig;
use xfer_proto::digest::{leaf_range, leaf_value};
use xfer_proto::error::ErrorCode;
use xfer_proto::id::{Digest, FileIndex, PacketNumber};
use xfer_proto::machine::{Input, Machine, Output, Received};
use xfer_proto::manifest::{Entry, EntryKind};
use xfer_proto::router::{DropReason, Route, Router, RouterConfig};
use xfer_proto::session::IncomingSession;
use xfer_proto::storage::{Completion, Done, OpId, Prepared, ReadBlock, StorageOp};
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Ecn, TransmitBuf};
use xfer_proto::wire::frame::{Block, Frame, Hello, Ping};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::{Message, WireEntry};
use xfer_proto::wire::packet::{Packet, encode_data};

/// Bytes of a full chunk.
pub(crate) const CHUNK: usize = 1_170;

pub(crate) struct Bench {
    router: Router,
    pub session: Option<Box<IncomingSession>>,
    pub now: Instant,
    pub source: SocketAddr,
    pub number: u64,
    block: u64,
    pub seen: Seen,
    pub ecn: Ecn,
    /// Answers to the next `Prepare`s; fresh where there is none.
    pub prepared: VecDeque<Prepared>,
    /// Digest of the file that exists.
    pub existing: Option<Digest>,
    /// Completions are kept back.
    pub is_storage_stuck: bool,
    /// What exists is not what it was when it was digested.
    pub has_changed: bool,
    stuck: Vec<(OpId, Done)>,
    content: BTreeMap<FileIndex, (Entry, Vec<u8>)>,
    pub committed: Vec<(FileIndex, Digest)>,
}

impl Bench {
    /// A receiver that has no session yet.
    pub(crate) fn listening(config: ReceiverConfig) -> Self {
        let mut settings = RouterConfig::new([3; 32]);
        settings.session = config;
        Self {
            router: Router::new(settings),
            session: None,
            now: Instant::from_millis(10),
            source: SocketAddr::from(([10, 0, 0, 1], 4_000)),
            number: 0,
            block: 0,
            seen: Seen::default(),
            ecn: Ecn::NotEct,
            prepared: VecDeque::new(),
            existing: None,
            is_storage_stuck: false,
            has_changed: false,
            stuck: Vec::new(),
            content: BTreeMap::new(),
            committed: Vec::new(),
        }
    }

    /// A receiver with an open session.
    pub(crate) fn open_with(config: ReceiverConfig) -> Self {
        let mut bench = Self::listening(config);
        bench.hello(1_200);
        assert!(bench.session.is_some());
        bench
    }

    pub(crate) fn open() -> Self {
        Self::open_with(ReceiverConfig::default())
    }

    pub(crate) fn hello_packet(&mut self, token: &[u8], datagram_size: u16) -> Vec<u8> {
        let hello = Frame::Hello(Hello {
            token,
            datagram_size,
            interval_us: 10_000,
        });
        let number = if token.is_empty() {
            0
        } else {
            self.take_number()
        };
        framed(Kind::Hello, number, TAG, &[hello], 1_200)
    }

    /// A token for the address that the test has at the moment.
    pub(crate) fn token(&mut self) -> Vec<u8> {
        let probe = self.hello_packet(&[], 0);
        let reply = self.deliver(&probe).expect("a Retry");
        let Ok(Packet::Frames { frames, .. }) = Packet::decode(&reply) else {
            panic!("no frames")
        };
        match &frames[..] {
            [Frame::Retry(retry)] => {
                // SPEC: R-frame-retry-1
                assert!((1..=1_024).contains(&retry.token.len()));
                retry.token.to_vec()
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn hello(&mut self, datagram_size: u16) {
        let token = self.token();
        let hello = self.hello_packet(&token, datagram_size);
        self.deliver(&hello);
    }

    pub(crate) fn take_number(&mut self) -> u64 {
        self.number += 1;
        self.number - 1
    }

    /// Hands a datagram to the router; answers the stateless reply.
    pub(crate) fn deliver(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        self.route(data).unwrap_or_default()
    }

    pub(crate) fn route(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        let received = Received {
            source: self.source,
            ecn: self.ecn,
            data,
        };
        let peer = self.session.as_ref().map(|session| session.peer());
        let mut reply = Vec::new();
        let mut out = TransmitBuf::new(&mut reply, 1);
        match self.router.route(self.now, &received, |_| peer, &mut out) {
            Route::Reply(transmit) | Route::Full(transmit, _) => {
                // SPEC: R-stateless-answers-1
                assert!(transmit.len <= data.len());
                return Ok(Some(reply));
            }
            Route::Drop(reason) => return Err(reason),
            Route::Incoming(session) => self.session = Some(session),
            Route::Session(id) => assert_eq!(id, ID),
        }
        let session = self.session.as_mut().unwrap();
        session.handle(self.now, Input::Datagram(received));
        self.run();
        Ok(None)
    }

    pub(crate) fn control(&mut self, frames: &[Frame<'_>]) {
        let number = self.take_number();
        self.deliver(&framed(Kind::Control, number, TAG, frames, 0));
    }

    /// Sends bytes of the control stream as one block.
    pub(crate) fn stream(&mut self, bytes: &[u8]) {
        let sequence = self.block;
        self.block += 1;
        self.control(&[Frame::Block(Block { sequence, bytes })]);
    }

    pub(crate) fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        bytes.chunks(900).for_each(|part| self.stream(part));
    }

    /// Offers regular files of these names and sizes.
    pub(crate) fn offer(&mut self, first: u32, files: &[(&str, u64)]) {
        let entries = files
            .iter()
            .map(|(name, size)| WireEntry {
                name: name.as_bytes().to_vec(),
                kind: EntryKind::File,
                size: *size,
                modified: None,
                mode: None,
                identity: None,
            })
            .collect();
        let first = FileIndex(first);
        self.say(&Message::Offer { first, entries });
    }

    /// Offers all that there will be.
    pub(crate) fn offer_all(&mut self, files: &[(&str, u64)]) {
        self.offer(0, files);
        let files = files.len() as u32;
        self.say(&Message::OfferEnd { files });
    }

    pub(crate) fn data(&mut self, chunk: u64, payload: &[u8]) {
        let number = PacketNumber(self.take_number());
        let mut packet = Vec::new();
        encode_data(&mut packet, ID, number, chunk, payload);
        self.deliver(&packet);
    }

    /// Sends the chunks of `content`, whose first has the number `first`.
    pub(crate) fn send(&mut self, first: u64, content: &[u8]) {
        for (chunk, payload) in (first..).zip(content.chunks(CHUNK)) {
            self.data(chunk, payload);
        }
    }

    pub(crate) fn eof(&mut self, file: u32, content: &[u8], digest: Digest) {
        self.say(&Message::Eof {
            file: FileIndex(file),
            size: content.len() as u64,
            chunks: content.len().div_ceil(CHUNK) as u64,
            digest,
        });
    }

    pub(crate) fn ping(&mut self, sent_end: u64) {
        self.control(&[Frame::Ping(Ping {
            sent_end,
            interval_us: 10_000,
        })]);
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        if let Some(session) = &mut self.session {
            session.handle(self.now, Input::Timeout);
            self.run();
        }
    }

    /// Completes what storage has kept back, and lets it work from here on.
    pub(crate) fn unstick(&mut self) {
        self.is_storage_stuck = false;
        self.answer_stuck();
    }

    /// Storage carries out what it was asked for, and gets stuck on what is asked then.
    pub(crate) fn answer_stuck(&mut self) {
        for (op, done) in std::mem::take(&mut self.stuck) {
            self.complete(op, done);
        }
        self.run();
    }

    /// All that waits for storage fails.
    pub(crate) fn fail_stuck(&mut self, code: ErrorCode) {
        for (op, _) in std::mem::take(&mut self.stuck) {
            let result = Err(code.into());
            let session = self.session.as_mut().unwrap();
            session.handle(self.now, Input::Storage(Completion { op, result }));
        }
        self.run();
    }

    /// What storage holds of a file.
    pub(crate) fn written(&self, file: u32) -> &[u8] {
        &self.content[&FileIndex(file)].1
    }

    fn complete(&mut self, op: OpId, done: Done) {
        let completion = Completion {
            op,
            result: Ok(done),
        };
        let session = self.session.as_mut().unwrap();
        session.handle(self.now, Input::Storage(completion));
    }

    pub(crate) fn run(&mut self) {
        let mut bytes = Vec::new();
        loop {
            let mut out = TransmitBuf::new(&mut bytes, 1);
            match self.session.as_mut().unwrap().poll(self.now, &mut out) {
                Output::Transmit(transmit) => self.seen.take(&bytes[..transmit.len]),
                Output::Event(_) => {}
                Output::Wait(_) | Output::Done => return,
                Output::Storage(op) => {
                    if let Some((op, done)) = self.carry_out(op) {
                        if self.is_storage_stuck {
                            self.stuck.push((op, done));
                        } else {
                            self.complete(op, done);
                        }
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, op: StorageOp) -> Option<(OpId, Done)> {
        Some(match op {
            StorageOp::Prepare {
                op, file, entry, ..
            } => {
                let content = vec![0; usize::try_from(entry.size).unwrap_or(0).min(4 << 20)];
                self.content.insert(file, (entry, content));
                let prepared = self.prepared.pop_front().unwrap_or(Prepared::Fresh);
                (op, Done::Prepared(prepared))
            }
            StorageOp::DigestExisting { op, .. } => (op, Done::Digest(self.existing.unwrap())),
            StorageOp::ConfirmExisting { op, .. } => (op, Done::Confirmed(!self.has_changed)),
            StorageOp::Write {
                op,
                file,
                offset,
                data,
            } => {
                let (_, content) = self.content.get_mut(&file).unwrap();
                content[offset as usize..][..data.len()].copy_from_slice(&data);
                (op, Done::Written)
            }
            StorageOp::Hash { op, file, leaf, .. } => {
                let (entry, content) = &self.content[&file];
                let (start, end) = leaf_range(entry.size, leaf);
                let bytes = &content[start as usize..end as usize];
                (op, Done::Digest(leaf_value(entry.size, leaf, bytes)))
            }
            StorageOp::Checkpoint { op, .. } => (op, Done::Recorded),
            StorageOp::Commit { op, file, digest } => {
                self.committed.push((file, digest));
                (op, Done::Committed)
            }
            StorageOp::Discard { .. } => return None,
            StorageOp::Read {
                op,
                file,
                offset,
                len,
                ..
            } => {
                let bytes = &self.content[&file].1[offset as usize..][..len as usize];
                let data = bytes.to_vec().into();
                (op, Done::Read(ReadBlock { data, leaf: None }))
            }
            StorageOp::Finish { .. } => panic!("that is the sender's"),
        })
    }
}
