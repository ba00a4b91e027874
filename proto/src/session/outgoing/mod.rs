//! The sending end of a session (SPEC.md, `sender`).

mod closing;
mod feedback;
mod files;
mod handshake;
mod holds;
mod parity;
mod path;
mod reads;
mod renewal;
mod rhythm;
mod stall;
mod tail;
mod train;
mod transmit;
mod zero_window;

use crate::config::SenderConfig;
use crate::congestion::Controller;
use crate::congestion::pacing::Pacer;
use crate::error::{ErrorCode, Failure};
use crate::id::{FileIndex, PacketNumber, SessionId};
use crate::machine::{Event, FileStatus, Input, Machine, Output, Received};
use crate::manifest::Entry;
use crate::recovery::control::{ControlReceiver, ControlSender};
use crate::recovery::flights::Flights;
use crate::recovery::receipt::Receipt;
use crate::recovery::sent::SentLog;
use crate::rtt::RttEstimator;
use crate::session::SenderStats;
use crate::storage::{Completion, Done, OpId, StorageOp};
use crate::time::Instant;
use crate::timer::{Timer, TimerTable};
use crate::transmit::TransmitBuf;
use crate::wire::message::Message;
use crate::wire::packet::Packet;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;
use files::{Files, Phase as FilePhase, Progress};
use handshake::Opening;

/// Where the session stands.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Getting a token, then the first report.
    Opening,
    /// Files are on their way.
    Open,
    /// Every file has its status; the peer is told.
    Closing,
    Closed,
}

/// Sends the files of one manifest to one peer. A [`Machine`].
#[derive(Debug)]
pub struct OutgoingSession {
    config: SenderConfig,
    peer: SocketAddr,
    id: SessionId,
    tag: u64,
    phase: Phase,
    opening: Opening,
    path: path::Path,
    renewal: renewal::Renewal,
    timers: TimerTable,
    rtt: RttEstimator,
    next_number: u64,
    sent: SentLog,
    flights: Flights,
    /// Where the sweep of repairs has come to.
    repair_from: u64,
    control: ControlSender,
    peer_control: ControlReceiver,
    receipt: Receipt,
    /// When the peer first said that it does not know the session, if nothing was heard since.
    reset_at: Option<Instant>,
    /// Number of the newest packet whose report was taken.
    newest_report: Option<u64>,
    congestion: Option<Box<dyn Controller>>,
    pacer: Pacer,
    /// The congestion window has held data back since the last report.
    is_window_limited: bool,
    /// Bytes that may be in flight for the receiver's sake.
    peer_window: u64,
    zero_window: zero_window::ZeroWindow,
    report_counts: feedback::Counts,
    probe: transmit::Probe,
    rhythm: rhythm::Rhythm,
    tail: tail::Tail,
    parity: parity::Parity,
    stall: stall::Stall,
    closing: closing::Closing,
    files: Files,
    storage: VecDeque<StorageOp>,
    events: VecDeque<Event>,
    stats: SenderStats,
}

impl OutgoingSession {
    /// A session to `peer`. `id` and `tag` are random and secret from everyone but the peer.
    pub fn new(
        now: Instant,
        config: SenderConfig,
        peer: SocketAddr,
        id: SessionId,
        tag: u64,
        manifest: Vec<Entry>,
    ) -> Self {
        let mut timers = TimerTable::default();
        timers.set(Timer::Idle, now + config.idle_timeout);
        timers.set(Timer::Handshake, now);
        Self {
            opening: Opening::new(config.max_datagram, config.seed),
            path: path::Path::default(),
            renewal: renewal::Renewal::default(),
            // The size of chunks is known, and used, only when the handshake has found it.
            files: Files::new(manifest, 1, config.read_buffer),
            peer,
            id,
            tag,
            phase: Phase::Opening,
            timers,
            rtt: RttEstimator::default(),
            next_number: 0,
            sent: SentLog::default(),
            flights: Flights::default(),
            repair_from: 0,
            control: ControlSender::default(),
            peer_control: ControlReceiver::default(),
            receipt: Receipt::default(),
            reset_at: None,
            newest_report: None,
            congestion: None,
            pacer: Pacer::default(),
            is_window_limited: false,
            peer_window: 0,
            zero_window: zero_window::ZeroWindow::default(),
            report_counts: feedback::Counts::default(),
            rhythm: rhythm::Rhythm::default(),
            probe: transmit::Probe::default(),
            tail: tail::Tail::default(),
            parity: parity::Parity::default(),
            stall: stall::Stall::default(),
            closing: closing::Closing::default(),
            storage: VecDeque::new(),
            events: VecDeque::new(),
            stats: SenderStats::default(),
            config,
        }
    }

    /// Counters so far.
    pub fn stats(&self) -> SenderStats {
        SenderStats {
            rtt: self.rtt.smoothed(),
            rate: self.rate(),
            packet_size: self.path.packet_size() as u64,
            ..self.stats
        }
    }

    fn take_number(&mut self) -> PacketNumber {
        let number = PacketNumber(self.next_number);
        self.next_number += 1;
        number
    }

    fn on_datagram(&mut self, now: Instant, received: Received<'_>) {
        if received.source != self.peer {
            return;
        }
        match Packet::decode(received.data) {
            Ok(Packet::Versions { session, versions }) if session == self.id => {
                self.on_versions(now, versions);
            }
            Ok(Packet::Frames {
                header,
                tag,
                frames,
            }) if header.session == self.id && tag == self.tag => {
                self.on_frames(now, header, frames);
            }
            // Not ours, damaged or forged: as if it had never come.
            _ => {}
        }
    }

    fn on_completion(&mut self, now: Instant, completion: Completion) {
        let op = completion.op;
        match completion.result {
            Ok(Done::Read(block)) => {
                let (_, progress) = self.files.on_read(op, Some(block));
                self.on_progress(progress);
            }
            Ok(Done::Finished) => self.on_finished(op),
            Ok(_) => {
                let failure = Failure::new(ErrorCode::INTERNAL, "storage gave a wrong answer");
                self.on_unread(now, op, failure);
            }
            Err(failure) => self.on_unread(now, op, failure),
        }
    }

    fn on_unread(&mut self, now: Instant, op: OpId, failure: Failure) {
        let (file, _) = self.files.on_read(op, None);
        if let Some(file) = file.or_else(|| self.files.take_finish(op)) {
            self.abandon(now, file, failure);
        }
    }

    fn on_progress(&mut self, progress: Vec<Progress>) {
        for step in progress {
            match step {
                Progress::Leaves {
                    file,
                    first,
                    values,
                } => {
                    for (at, values) in values.chunks(crate::wire::message::MAX_LEAVES).enumerate()
                    {
                        let first = first + (at * crate::wire::message::MAX_LEAVES) as u64;
                        self.control.push(&Message::Leaves {
                            file,
                            first,
                            values: values.to_vec(),
                        });
                    }
                }
                Progress::Finish(file) => self.storage.extend(self.files.finish(file)),
            }
        }
    }

    /// The source of a file failed: the receiver is told, and the file has its status.
    fn abandon(&mut self, now: Instant, file: FileIndex, failure: Failure) {
        if self
            .files
            .get(file)
            .is_none_or(|state| state.phase == FilePhase::Final)
        {
            return;
        }
        self.control.push(&Message::Abandon {
            file,
            failure: failure.clone(),
        });
        self.finish_file(now, file, FileStatus::Failed(failure));
    }

    fn finish_file(&mut self, now: Instant, file: FileIndex, status: FileStatus) {
        if !self.files.on_final(file) {
            return;
        }
        if let Some(state) = self.files.get(file) {
            self.events.push_back(Event::File {
                file,
                entry: state.entry.clone(),
                status,
                started: state.started.unwrap_or(now),
                retransmitted_bytes: state.retransmitted,
            });
        }
    }

    /// The session cannot go on: every file without a status gets this one.
    fn fail(&mut self, now: Instant, failure: Failure) {
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        for index in 0..self.files.files.len() {
            let file = FileIndex(index as u32);
            self.finish_file(now, file, FileStatus::Failed(failure.clone()));
        }
        self.events.push_back(Event::Closed(Err(failure.clone())));
        self.start_closing(now, Some(failure));
    }

    fn on_timers(&mut self, now: Instant) {
        if self.timers.take_due(Timer::Idle, now) {
            if self.phase == Phase::Closing {
                self.end();
            } else {
                let seconds = self.config.idle_timeout.as_secs_f32();
                let failure = self.opening.refusal.take().unwrap_or_else(|| {
                    Failure::new(ErrorCode::TIMEOUT, format!("no answer for {seconds} s"))
                });
                self.fail(now, failure);
            }
        }
        if self.timers.take_due(Timer::Probe, now) {
            self.on_probe(now);
        }
        self.on_stall_timer(now);
        self.timers.take_due(Timer::Pacing, now);
    }

    /// Every file has its status and the receiver knows all that we had to say.
    fn close_if_through(&mut self, now: Instant) {
        if self.phase == Phase::Open && self.files.open == 0 && self.control.is_idle() {
            self.events.push_back(Event::Closed(Ok(())));
            self.start_closing(now, None);
        }
    }
}

impl Machine for OutgoingSession {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram(received) => self.on_datagram(now, received),
            Input::Storage(completion) => self.on_completion(now, completion),
            Input::Abort(failure) => self.fail(now, failure),
            Input::TooLarge => self.path.on_too_large(),
            Input::Timeout | Input::KernelDrops(_) => {}
        }
    }

    fn poll(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> Output {
        self.on_timers(now);
        self.close_if_through(now);
        if self.phase == Phase::Open || self.opening.is_sending() {
            self.offer_files();
            while let Some(op) = self.files.scan() {
                self.storage.push_back(op);
            }
        }
        if let Some(op) = self.storage.pop_front() {
            return Output::Storage(op);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if let Some(transmit) = self.transmit(now, out) {
            self.stats.sent_bytes += transmit.len as u64;
            self.stats.sent_packets += transmit.segments() as u64;
            return Output::Transmit(transmit);
        }
        // Looking for a chunk to send may have asked for a block.
        if let Some(op) = self.storage.pop_front() {
            return Output::Storage(op);
        }
        if self.phase == Phase::Closed {
            return Output::Done;
        }
        Output::Wait(self.timers.next())
    }
}
