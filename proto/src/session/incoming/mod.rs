//! The receiving end of a session (SPEC.md, `receiver`).

mod books;
mod content;
mod ending;
mod feedback;
mod files;
mod leaves;
mod offers;
mod parity;
mod prepared;
mod progress;
mod recheck;

use crate::config::{MAX_DATAGRAM, MIN_DATAGRAM, PROGRESS_WINDOW, ReceiverConfig};
use crate::error::{ErrorCode, Failure};
use crate::file::assembly::Assembly;
use crate::file::backlog::Backlog;
use crate::file::parts::Parts;
use crate::id::{FileIndex, SessionId};
use crate::machine::{Event, Input, Machine, Output, Received};
use crate::range_set::RangeSet;
use crate::recovery::control::{ControlReceiver, ControlSender};
use crate::recovery::receipt::Receipt;
use crate::rtt::RttEstimator;
use crate::session::ReceiverStats;
use crate::storage::{OpId, StorageOp};
use crate::time::{Duration, Instant};
use crate::timer::{Timer, TimerTable};
use crate::transmit::{Ecn, TransmitBuf};
use crate::wire::frame::{Ack, Close, Frame, Hello, Ping};
use crate::wire::header::{Header, Kind};
use crate::wire::message::{Message, Verdict};
use crate::wire::packet::{DATA_OVERHEAD, Packet};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use files::Files;

/// A session in which everything is said and done waits so long for the sender's goodbye.
const LINGER: Duration = Duration::from_secs(3);

/// The sender of a session that is over is told so at most this often.
pub(crate) const CLOSE_INTERVAL: Duration = Duration::from_millis(10);

/// Packets with blocks whose time of leaving is remembered; an older one says nothing of the path.
const MAX_SENT_AT: usize = 512;

/// Where the session stands.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The last packet is to be sent.
    Closing,
    Closed,
}

/// What has to be known of a session that is over, to tell its sender so again.
#[derive(Clone, Debug)]
pub(crate) struct Epitaph {
    /// Random number that is in every packet of frames.
    pub tag: u64,
    /// The sender's address at the end.
    pub peer: SocketAddr,
    /// The sender's address at first.
    pub first_peer: SocketAddr,
    /// Number of our next packet.
    pub next_number: u64,
    /// Why it ended, where that was our doing.
    pub failure: Option<Failure>,
}

/// Receives the files that one peer offers. A [`Machine`]; [`crate::router::Router`] makes it.
#[derive(Debug)]
pub struct IncomingSession {
    config: ReceiverConfig,
    id: SessionId,
    tag: u64,
    peer: SocketAddr,
    first_peer: SocketAddr,
    phase: Phase,
    timers: TimerTable,
    rtt: RttEstimator,
    next_number: u64,
    receipt: Receipt,
    control: ControlSender,
    peer_control: ControlReceiver,
    /// When each of the newest packets with a block left, for the round-trip time.
    sent_at: VecDeque<(u64, Instant)>,
    /// Chunks that have arrived or are not wanted.
    received: RangeSet,
    files: Files,
    assembly: Assembly,
    backlog: Backlog,
    /// Chunks of which some parts have come.
    parts: Parts,
    parity: parity::Parity,
    books: books::Books,
    progress: progress::Progress,
    reporting: feedback::Reporting,
    ops: BTreeMap<OpId, (FileIndex, content::OpKind)>,
    next_op: u64,
    storage: VecDeque<StorageOp>,
    events: VecDeque<Event>,
    statuses: Vec<(FileIndex, Verdict)>,
    farewell: Option<Failure>,
    /// How the session ended, and the next file that may not have its status yet.
    ending: Option<(Result<(), Failure>, u32)>,
    /// When the last goodbye left.
    closed_at: Option<Instant>,
    stats: ReceiverStats,
    host_drops: u64,
    ce: u64,
}

impl IncomingSession {
    /// A session with `peer`, whose address is proven. `None` if the size of its packets is not
    /// allowed.
    pub(crate) fn new(
        now: Instant,
        config: ReceiverConfig,
        id: SessionId,
        tag: u64,
        peer: SocketAddr,
        datagram_size: usize,
    ) -> Option<Self> {
        if !(MIN_DATAGRAM..=MAX_DATAGRAM).contains(&datagram_size) {
            return None;
        }
        let mut timers = TimerTable::default();
        timers.set(Timer::Idle, now + config.idle_timeout);
        timers.set(Timer::Progress, now + PROGRESS_WINDOW);
        Some(Self {
            id,
            tag,
            peer,
            first_peer: peer,
            phase: Phase::Open,
            timers,
            rtt: RttEstimator::default(),
            next_number: 0,
            receipt: Receipt::default(),
            control: ControlSender::default(),
            peer_control: ControlReceiver::default(),
            sent_at: VecDeque::new(),
            received: RangeSet::new(),
            files: Files::new(
                datagram_size - DATA_OVERHEAD,
                &config.manifests,
                &config.begun,
            ),
            assembly: Assembly::new(config.write_buffer, &config.memory),
            backlog: Backlog::default(),
            parts: Parts::default(),
            parity: parity::Parity::new(&config.memory),
            books: books::Books::new(&config.memory),
            progress: progress::Progress::default(),
            reporting: feedback::Reporting::default(),
            ops: BTreeMap::new(),
            next_op: 0,
            storage: VecDeque::new(),
            events: VecDeque::new(),
            statuses: Vec::new(),
            farewell: None,
            ending: None,
            closed_at: None,
            stats: ReceiverStats::default(),
            host_drops: 0,
            ce: 0,
            config,
        })
    }

    /// The session's name on the wire.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The sender's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Counters so far.
    pub fn stats(&self) -> ReceiverStats {
        self.stats
    }

    pub(crate) fn epitaph(&self) -> Epitaph {
        Epitaph {
            tag: self.tag,
            peer: self.peer,
            first_peer: self.first_peer,
            next_number: self.next_number,
            failure: self.farewell.clone(),
        }
    }

    fn on_datagram(&mut self, now: Instant, received: Received<'_>) {
        let packet = match Packet::decode(received.data) {
            Ok(packet) => packet,
            Err(_) => {
                self.stats.invalid_packets += 1;
                return;
            }
        };
        self.stats.received_bytes += received.data.len() as u64;
        match packet {
            Packet::Data {
                header,
                chunk,
                payload,
            } if header.session == self.id && received.source == self.peer => {
                if self.on_packet(now, header, &received) {
                    let before = self.received.count();
                    self.on_chunk(now, chunk, payload);
                    self.recover_with_news(now, before);
                }
            }
            Packet::Part {
                header,
                chunk,
                offset,
                payload,
            } if header.session == self.id && received.source == self.peer => {
                if self.on_packet(now, header, &received) {
                    let before = self.received.count();
                    self.on_part(now, chunk, usize::from(offset), payload);
                    self.recover_with_news(now, before);
                }
            }
            Packet::Parity {
                header,
                of,
                payload,
            } if header.session == self.id && received.source == self.peer => {
                if self.on_packet(now, header, &received) {
                    self.on_parity(now, of, payload);
                }
            }
            Packet::Frames {
                header,
                tag,
                frames,
            } if header.session == self.id && tag == self.tag => {
                self.on_frames(now, header, frames, &received);
            }
            _ => self.stats.invalid_packets += 1,
        }
    }

    /// Counts a packet of the sender; answers whether its content is to be looked at.
    fn on_packet(&mut self, now: Instant, header: Header, received: &Received<'_>) -> bool {
        if !self.receipt.on_packet(now, header.number.0) {
            self.stats.duplicate_packets += 1;
            return false;
        }
        self.stats.received_packets += 1;
        self.ce += u64::from(received.ecn == Ecn::Ce);
        if self.phase == Phase::Open {
            let wait = if self.is_finished() {
                LINGER
            } else {
                self.config.idle_timeout
            };
            self.timers.set(Timer::Idle, now + wait);
        }
        self.reporting
            .on_packet(now, received.data.len(), &mut self.timers);
        self.phase == Phase::Open
    }

    fn on_frames(
        &mut self,
        now: Instant,
        header: Header,
        frames: Vec<Frame<'_>>,
        received: &Received<'_>,
    ) {
        let is_hello = header.kind == Kind::Hello;
        let is_from_peer = is_hello || received.source == self.peer;
        if !is_from_peer || !self.on_packet(now, header, received) {
            if is_from_peer && self.phase == Phase::Closing {
                let at = self.closed_at.map_or(now, |last| last + CLOSE_INTERVAL);
                self.timers.set(Timer::Close, at.max(now));
            }
            return;
        }
        if is_hello {
            // The router has checked the token, and the packet is no replay: from here on this is
            // the sender's address.
            self.peer = received.source;
        }
        for frame in frames {
            // A frame may have ended the session: what stands behind it is not looked at.
            if self.phase != Phase::Open {
                return;
            }
            match frame {
                Frame::Hello(Hello { interval_us, .. }) => {
                    self.reporting.set_interval(interval_us);
                    self.reporting.ask();
                }
                Frame::Ping(Ping {
                    sent_end,
                    interval_us,
                }) => {
                    self.reporting.set_interval(interval_us);
                    self.reporting.on_ping(sent_end);
                }
                Frame::Block(block) if self.may_book_block(&block) => {
                    self.peer_control.on_block(block.sequence, block.bytes);
                    self.on_messages(now);
                }
                Frame::Ack(ack) => self.on_ack(now, &ack),
                Frame::Close(close) => self.on_close(now, close),
                _ => {}
            }
        }
    }

    fn on_ack(&mut self, now: Instant, ack: &Ack) {
        if ack.largest >= self.next_number {
            return self.violation(now, "it acknowledged packets that were never sent");
        }
        while self
            .sent_at
            .front()
            .is_some_and(|sent| sent.0 < ack.largest)
        {
            self.sent_at.pop_front();
        }
        if let Some(&(_, at)) = self.sent_at.front().filter(|sent| sent.0 == ack.largest) {
            self.sent_at.pop_front();
            let delay = Duration::from_micros(u64::from(ack.delay_us));
            self.rtt.on_sample(now, now.since(at).saturating_sub(delay));
        }
        // Blocks are few and small: a packet that was overtaken by one other counts as lost.
        if self.control.on_ack(&ack.blocks, ack.largest).is_none() {
            self.violation(now, "it acknowledged messages that were never sent");
        }
        if self.is_finished() {
            self.timers.set(Timer::Idle, now + LINGER);
        }
    }

    fn on_close(&mut self, now: Instant, close: Close) {
        match close.failure {
            Some(failure) => self.end(now, Err(failure)),
            None if self.files.is_through() => self.end(now, Ok(())),
            None => self.violation(now, "it closed before all was done"),
        }
    }

    fn violation(&mut self, now: Instant, what: &str) {
        self.fail(now, Failure::new(ErrorCode::PROTOCOL, what));
    }

    /// Every file has its status and the sender knows: only its goodbye is missing.
    fn is_finished(&self) -> bool {
        self.files.is_through() && self.statuses.is_empty() && self.control.is_idle()
    }

    fn on_timers(&mut self, now: Instant) {
        if self.timers.take_due(Timer::Idle, now) {
            if self.is_finished() {
                self.end(now, Ok(()));
            } else {
                let text = "the sender was silent for too long";
                self.fail(now, Failure::new(ErrorCode::TIMEOUT, text));
            }
        }
        if self.timers.take_due(Timer::Probe, now) {
            self.control.repeat_oldest();
            self.reporting.on_probe();
        }
        self.on_progress_timer(now);
        self.reporting.on_timer(now, &mut self.timers);
    }

    fn push_statuses(&mut self) {
        // A message holds as many as surely fit; the longest failure text bounds one of them.
        let long = crate::error::MAX_MESSAGE + 16;
        for files in
            core::mem::take(&mut self.statuses).chunks(crate::wire::message::MAX_MESSAGE_LEN / long)
        {
            self.control.push(&Message::Status {
                files: files.to_vec(),
            });
        }
    }
}

impl Machine for IncomingSession {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram(received) => self.on_datagram(now, received),
            Input::Storage(completion) => self.on_completion(now, completion),
            Input::KernelDrops(count) => {
                self.host_drops = self.host_drops.saturating_add(count);
            }
            Input::Abort(failure) => self.fail(now, failure),
            Input::Timeout | Input::TooLarge => {}
        }
    }

    fn poll(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> Output {
        self.on_timers(now);
        if self.phase == Phase::Open {
            self.prepare_files();
            if !self.statuses.is_empty() {
                self.push_statuses();
            }
        }
        self.end_files(now);
        if let Some(op) = self.storage.pop_front() {
            return Output::Storage(op);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if self.write_packet(now, out) {
            let transmit = out.finish(self.peer, Ecn::NotEct);
            self.stats.sent_bytes += transmit.len as u64;
            return Output::Transmit(transmit);
        }
        if self.phase == Phase::Closed {
            return Output::Done;
        }
        Output::Wait(self.timers.next())
    }
}
