//! What the receiver says: reports, answers, statuses (SPEC.md, `reports` and `messages`).

use super::files::Phase as FilePhase;
use super::rhythm::Beat;
use super::{OutgoingSession, Phase};
use crate::congestion::Feedback;
use crate::error::{ErrorCode, Failure};
use crate::id::FileIndex;
use crate::machine::FileStatus;
use crate::storage::OpId;
use crate::time::{Duration, Instant};
use crate::timer::Timer;
use crate::wire::frame::{Close, Frame, Report, ranges};
use crate::wire::header::{Header, Kind};
use crate::wire::message::{MAX_LEAVES, Message, Verdict};
use alloc::vec::Vec;

/// Files, runs and repairs that one report is compared with, at most by about this: an honest one
/// names what is in flight.
const MAX_STEPS: usize = 16_384;
/// What a receiver may have sent again: so many times all files, and so many bytes. Where nine of
/// ten packets are lost it needs less.
const MAX_REPEATS: u64 = 16;
/// The same for what is read again: a chunk costs a leaf where few of a leaf are asked for.
const MAX_REREADS: u64 = 100;
const FREE_REPEATS: u64 = 64 << 20;

/// Counters of the newest report, to tell what is new in the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    ce: u64,
    host_drops: u64,
}

impl OutgoingSession {
    /// The peer gave a sign of life.
    pub(super) fn on_heard(&mut self, now: Instant) {
        self.timers.set(Timer::Idle, now + self.config.idle_timeout);
        self.reset_at = None;
        self.renewal.on_heard();
    }

    pub(super) fn on_frames(&mut self, now: Instant, header: Header, frames: Vec<Frame<'_>>) {
        if matches!(header.kind, Kind::Retry | Kind::Reset) {
            return self.on_stateless(now, frames);
        }
        if header.kind != Kind::Control || !self.opening.is_sending() {
            return;
        }
        if !self.receipt.on_packet(now, header.number.0) {
            return;
        }
        if self.phase == Phase::Closing {
            if frames.iter().any(|frame| matches!(frame, Frame::Close(_))) {
                self.phase = Phase::Closed;
            }
            return;
        }
        self.on_heard(now);
        for frame in frames {
            // A frame may have ended the session: what stands behind it is not looked at.
            if !matches!(self.phase, Phase::Opening | Phase::Open) {
                return;
            }
            match frame {
                Frame::Report(report) => self.on_report(now, header.number.0, &report),
                Frame::Block(block) => {
                    self.peer_control.on_block(block.sequence, block.bytes);
                    self.timers.set_earliest(Timer::Ack, now);
                    self.on_messages(now);
                }
                Frame::Close(close) => self.on_close(now, close),
                _ => {}
            }
        }
    }

    fn on_stateless(&mut self, now: Instant, frames: Vec<Frame<'_>>) {
        for frame in frames {
            match frame {
                Frame::Retry(retry) => self.on_retry(now, retry),
                Frame::Close(close) => match self.phase {
                    Phase::Closing => self.phase = Phase::Closed,
                    Phase::Opening => self.on_refusal(now, close.failure),
                    Phase::Open => self.on_reset(now, close),
                    Phase::Closed => {}
                },
                _ => {}
            }
        }
    }

    /// The receiver would not open a session. "Busy" may pass: the handshake goes on until its time
    /// is up.
    fn on_refusal(&mut self, now: Instant, failure: Option<Failure>) {
        match failure {
            Some(failure) if failure.code == ErrorCode::PEER_LOST => self.on_hello_lost(now),
            failure => self.opening.refusal = failure,
        }
    }

    /// The peer says that it does not know the session. That may be an answer to a packet which
    /// overtook the `Hello`, so it is believed only if it is said again and nothing was heard
    /// in between.
    fn on_reset(&mut self, now: Instant, close: Close) {
        // Whoever lost the session has no use for our address.
        self.renewal.on_reset();
        match self.reset_at {
            None => self.reset_at = Some(now),
            Some(first) if now.since(first) >= self.rtt.pto() => self.on_close(now, close),
            Some(_) => {}
        }
    }

    /// The receiver ended the session before every file had its status, or it does not know it any
    /// more.
    fn on_close(&mut self, now: Instant, close: Close) {
        let failure = close
            .failure
            .unwrap_or_else(|| Failure::new(ErrorCode::PROTOCOL, "it closed before all was done"));
        self.fail(now, failure);
        self.end();
    }

    fn violation(&mut self, now: Instant, what: &str) {
        self.fail(now, Failure::new(ErrorCode::PROTOCOL, what));
    }

    fn on_report(&mut self, now: Instant, number: u64, report: &Report) {
        let end = self.files.layout.end();
        if report.largest >= self.next_number || report.received > report.largest.saturating_add(1)
        {
            return self.violation(now, "it acknowledged packets that were never sent");
        }
        if report.first_missing > end || report.end > end || report.page_end > end {
            return self.violation(now, "it reported chunks that do not exist");
        }
        let page = ranges(&report.missing, report.page_start, report.page_end);
        let (Some(page), true) = (page, report.page_start <= report.page_end) else {
            return self.violation(now, "it sent a malformed report");
        };
        if self.newest_report.is_some_and(|newest| number < newest) {
            return;
        }
        self.newest_report = Some(number);
        if self.phase == Phase::Opening {
            self.on_established(now);
        }
        let has_repairs = self.stats.retransmitted_bytes > 0;
        let (rtt, copies) = (self.rtt.smoothed(), self.tail.copies_sent());
        let outcome = self.sent.on_report(now, report, rtt, copies, has_repairs);
        if let Some(rtt) = outcome.rtt {
            self.rtt.on_sample(now, rtt);
        }
        let first_missing = report.first_missing;
        let seen = (self.sent.seen_end(), outcome.received);
        self.path.on_report(seen, first_missing, self.next_number);
        let lost_below = self.sent.lost_below();
        if self.control.on_ack(&report.blocks, lost_below).is_none() {
            return self.violation(now, "it acknowledged messages that were never sent");
        }
        self.on_page(report, page, lost_below);
        let sent = self.files.bytes().saturating_mul(MAX_REPEATS);
        let read = self.files.bytes().saturating_mul(MAX_REREADS);
        if self.stats.retransmitted_bytes > sent.saturating_add(FREE_REPEATS)
            || self.files.reread_bytes() > read.saturating_add(FREE_REPEATS)
        {
            return self.violation(now, "it asked for everything again and again");
        }
        let beat = Beat {
            largest_at_us: report.largest_at_us,
            bytes: outcome.received * self.path.packet_size() as u64,
            interval: Duration::from_micros(u64::from(self.report_interval_us())),
            rtt,
        };
        if self.rhythm.on_report(now, beat) {
            self.probe.ask();
        }
        self.peer_window = report.window;
        self.stats.delivered_bytes = self.bytes_below(report.first_missing);
        let has_all = self.files.is_all_sent() && report.first_missing >= end;
        self.stall.on_report(report, has_all);
        self.probe
            .on_report(outcome.received > 0, has_all && self.control.is_idle());
        if outcome.received > 0 {
            self.on_news(now);
        }
        if !self.sent.is_opened_late() {
            self.feed_controller(now, report, &outcome);
        }
    }

    fn feed_controller(
        &mut self,
        now: Instant,
        report: &Report,
        outcome: &crate::recovery::sent::Outcome,
    ) {
        let before = self.report_counts;
        self.report_counts = Counts {
            ce: before.ce.max(report.ce),
            host_drops: before.host_drops.max(report.host_drops),
        };
        let feedback = Feedback {
            rtt: outcome.rtt,
            one_way_us: outcome.one_way_us,
            smoothed_rtt: self.rtt.smoothed(),
            min_rtt: self.rtt.min(),
            next_number: self.next_number,
            seen_end: self.sent.seen_end(),
            received: outcome.received,
            lost: outcome.lost,
            received_total: self.sent.received_total(),
            lost_total: self.sent.lost_total(),
            report_interval: Duration::from_micros(u64::from(self.report_interval_us())),
            is_window_limited: core::mem::take(&mut self.is_window_limited),
            ce: self.report_counts.ce.saturating_sub(before.ce),
            host_drops: self
                .report_counts
                .host_drops
                .saturating_sub(before.host_drops),
            in_flight: self.sent.in_flight(),
            rate: outcome.rate,
        };
        if let Some(congestion) = &mut self.congestion {
            congestion.on_report(now, &feedback);
        }
    }

    /// What the receiver has, and what it lacks: of that, what is lost is queued again.
    fn on_page(&mut self, report: &Report, page: Vec<core::ops::Range<u64>>, lost_below: u64) {
        self.on_received(0..report.first_missing);
        let mut at = report.page_start;
        for missing in &page {
            self.on_received(at..missing.start);
            at = missing.end;
        }
        self.on_received(at..report.page_end);
        let mut steps = 0;
        for missing in page {
            let sent = missing.start..missing.end.min(self.files.cursor());
            steps = self.on_missing(sent, lost_below, steps);
        }
        self.flights.forget_below(lost_below);
    }

    fn on_received(&mut self, range: core::ops::Range<u64>) {
        self.tail.on_received(&range);
        self.flights.on_received(range);
    }

    /// Takes the part of `range` that belongs to files which are being sent. `steps` is what the
    /// report has cost so far: what would cost more than [`MAX_STEPS`] waits for the next one.
    fn on_missing(
        &mut self,
        range: core::ops::Range<u64>,
        lost_below: u64,
        mut steps: usize,
    ) -> usize {
        let mut at = range.start;
        while at < range.end && steps < MAX_STEPS {
            steps += 1;
            let Some(file) = self.files.layout.file_of(at) else {
                return steps;
            };
            let chunks = self.files.layout.chunks(file);
            let end = chunks.end.min(range.end);
            if self
                .files
                .get(file)
                .is_some_and(|state| state.phase == FilePhase::Sending)
            {
                for sent in self.files.late.gaps(at..end) {
                    steps += self.flights.on_missing(sent, lost_below);
                }
            }
            at = end;
        }
        self.stats.report_steps = self.stats.report_steps.max(steps as u64);
        steps
    }

    fn bytes_below(&self, chunk: u64) -> u64 {
        let layout = &self.files.layout;
        let full = chunk.saturating_mul(layout.chunk_size());
        // Each file's last chunk may be short; what that overstates is bounded by a chunk a file.
        full.min(self.stats.data_bytes)
    }

    fn on_messages(&mut self, now: Instant) {
        loop {
            match self.peer_control.next_message() {
                Ok(Some(message)) => self.on_message(now, message),
                Ok(None) => return,
                Err(_) => return self.violation(now, "it sent a malformed message"),
            }
            if self.phase != Phase::Open && self.phase != Phase::Opening {
                return;
            }
        }
    }

    fn on_message(&mut self, now: Instant, message: Message) {
        match message {
            Message::Answer { through } if through <= self.files.offered => {
                self.files.answered = self.files.answered.max(through);
            }
            Message::Hold { file } if file.0 < self.files.offered => {
                if !self.files.on_hold(file) {
                    self.violation(now, "it held a file twice or too late");
                }
            }
            Message::Want { file } if file.0 < self.files.offered => {
                self.files.on_want(file);
            }
            Message::Resume {
                file,
                is_same_source,
                leaves,
            } if file.0 < self.files.offered && leaves.len() <= MAX_LEAVES => {
                for (leaf, value) in leaves {
                    let progress = self.files.on_resume(file, leaf, value, is_same_source);
                    self.on_progress(progress);
                }
            }
            Message::Status { files } => {
                for (file, verdict) in files {
                    self.on_verdict(now, file, verdict);
                }
            }
            _ => self.violation(now, "it sent a message that is the sender's, or of no file"),
        }
    }

    fn on_verdict(&mut self, now: Instant, file: FileIndex, verdict: Verdict) {
        let Some(state) = self.files.get(file).filter(|_| file.0 < self.files.offered) else {
            return self.violation(now, "it gave a status to a file that was not offered");
        };
        if state.phase == FilePhase::Final {
            return;
        }
        let is_directory = state.entry.kind == crate::manifest::EntryKind::Directory;
        let digest = if is_directory {
            Some(crate::digest::empty())
        } else {
            self.files.digest(file).filter(|_| state.is_eof_sent)
        };
        let status = match (verdict, digest) {
            (Verdict::Failed(failure), _) => FileStatus::Failed(failure),
            (Verdict::Committed, Some(digest)) => FileStatus::Committed(digest),
            (Verdict::Skipped, Some(digest)) => FileStatus::Skipped(digest),
            (_, None) => return self.violation(now, "it finished a file before its end was sent"),
        };
        self.on_received(self.files.layout.chunks(file));
        self.finish_file(now, file, status);
    }

    /// The source turned out to be unchanged: the file has its end.
    pub(super) fn on_finished(&mut self, op: OpId) {
        let Some(file) = self.files.take_finish(op) else {
            return;
        };
        let Some(digest) = self.files.digest(file) else {
            return;
        };
        let size = self.files.layout.size(file);
        let chunks = self.files.layout.chunks(file);
        if let Some(state) = self.files.get_mut(file) {
            if state.phase == FilePhase::Final {
                return;
            }
            state.is_eof_sent = true;
        }
        let chunks = chunks.end - chunks.start;
        self.control.push(&Message::Eof {
            file,
            size,
            chunks,
            digest,
        });
    }
}
