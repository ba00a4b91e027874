//! The log of packets sent: round-trip samples, delivery rates, bytes in flight, and which packets
//! were overtaken (SPEC.md, `loss` and `rate-samples`).

use crate::congestion::{RateSample, Snapshot};
use crate::time::{Duration, Instant};
use crate::wire::frame::Report;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A packet counts as overtaken when one that was sent at least this much later has arrived.
pub const MIN_REORDER_WINDOW: Duration = Duration::from_millis(1);

/// Packets that open a session are remembered, at most so many.
const MAX_OPENINGS: usize = 32;

/// Round trips without a needless repair after which the reordering window halves.
const QUIET_ROUNDS: u32 = 16;

/// Packets that left in one batch.
#[derive(Clone, Copy, Debug)]
struct Batch {
    /// Number of the first.
    first: u64,
    packets: u64,
    bytes: u64,
    at: Instant,
    /// What was known when they left.
    snapshot: Snapshot,
}

/// What one report told.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Round-trip time, where the report speaks of a packet that no report spoke of before.
    pub rtt: Option<Duration>,
    /// The receiver's clock less ours for that packet's way, in microseconds.
    pub one_way_us: Option<i64>,
    /// Packets that arrived since the last report.
    pub received: u64,
    /// Packets that were lost since the last report; a late one may turn out not to be.
    pub lost: u64,
    /// Bytes that left the network with them.
    pub left_network: u64,
    /// How fast packets arrived.
    pub rate: Option<RateSample>,
}

/// The log. Grows with what is in flight, shrinks with every report.
#[derive(Debug, Default)]
pub struct SentLog {
    batches: VecDeque<Batch>,
    in_flight: u64,
    left_network: u64,
    /// Largest number that the receiver has seen, plus one.
    seen_end: u64,
    received: u64,
    /// Packets that came as far as the receiving host, which dropped them.
    host_lost: u64,
    host_drops: u64,
    lost: u64,
    largest_sent_at: Instant,
    largest_at_us: u64,
    lost_below: u64,
    duplicates: u64,
    spurious_windows: u32,
    spurious_at: Instant,
    /// When the flight that the next packets belong to began to leave.
    flight_started: Option<Instant>,
    /// What the first report told: rates of packets that left before it are measured from here.
    origin: Option<Snapshot>,
    /// Until this packet is reported, the flight has gaps in which there was nothing to send.
    app_limited_until: u64,
    /// Numbers of the packets that may have opened the session.
    openings: Vec<u64>,
    /// Packets before the one that did: the receiver had no session to count them in.
    uncounted: u64,
    /// One past the last that may have opened it.
    opened_below: u64,
}

impl SentLog {
    /// `packets` packets from number `first` on left together.
    pub fn on_sent(&mut self, now: Instant, first: u64, packets: u64, bytes: u64) {
        if self.in_flight == 0 || self.flight_started.is_none() {
            self.flight_started = Some(now);
        }
        self.in_flight += bytes;
        let snapshot = Snapshot {
            sent_at: now,
            flight_started: self.flight_started.unwrap_or(now),
            seen_end: self.seen_end,
            received: self.received + self.host_lost,
            lost: self.lost - self.host_lost,
            left_network: self.left_network,
            largest_at_us: self.largest_at_us,
            in_flight: self.in_flight,
            is_app_limited: self.seen_end < self.app_limited_until,
        };
        match self.batches.back_mut() {
            Some(last) if last.at == now && last.first + last.packets == first => {
                last.packets += packets;
                last.bytes += bytes;
            }
            _ => self.batches.push_back(Batch {
                first,
                packets,
                bytes,
                at: now,
                snapshot,
            }),
        }
    }

    /// The sender has nothing to send, or the receiver has no room, and the next packet will have
    /// `number`. Rates of what is in flight are no measure of the path.
    pub fn on_app_limited(&mut self, number: u64) {
        self.app_limited_until = number;
    }

    /// The packet of this number opens the session, if none before has.
    pub fn on_opening(&mut self, number: u64) {
        if self.openings.len() < MAX_OPENINGS {
            self.openings.push(number);
        }
    }

    /// The first report tells which packet opened the session: the last that may have.
    fn on_opened(&mut self, report: &Report) {
        let counted = |number: u64| report.largest.saturating_sub(number).saturating_add(1);
        let openings = core::mem::take(&mut self.openings);
        let last = openings.last().copied();
        self.uncounted = openings
            .into_iter()
            .rev()
            .find(|number| *number <= report.largest && report.received <= counted(*number))
            .unwrap_or(0);
        self.opened_below = last.map_or(0, |number| number + 1);
    }

    /// The session was opened late and has no flight behind its opening: what follows the first
    /// report is the first flight, and nothing of it is reported yet.
    pub fn is_opened_late(&self) -> bool {
        self.uncounted > 0 && self.seen_end <= self.opened_below
    }

    /// Packets that have come through the path.
    pub fn received_total(&self) -> u64 {
        self.received + self.host_lost
    }

    /// The share of packets that the path has lost so far.
    pub fn loss(&self) -> f64 {
        self.lost_total() as f64 / self.seen_end.max(1) as f64
    }

    /// Packets that the path has lost.
    pub fn lost_total(&self) -> u64 {
        self.lost - self.host_lost
    }

    /// Bytes of packets that no report has spoken of.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// One past the largest packet number that the receiver has seen.
    pub fn seen_end(&self) -> u64 {
        self.seen_end
    }

    /// When the oldest packet left that no report has spoken of.
    pub fn oldest_in_flight(&self) -> Option<Instant> {
        let mut batches = self.batches.iter();
        batches
            .find(|batch| batch.first + batch.packets > self.seen_end)
            .map(|batch| batch.at)
    }

    /// Packets below this number that have not arrived are lost.
    pub fn lost_below(&self) -> u64 {
        self.lost_below
    }

    /// How much later a packet must have been sent to overtake another, for a path of this
    /// round-trip time.
    pub fn reorder_window(&self, rtt: Duration) -> Duration {
        let window = (rtt / 16).max(MIN_REORDER_WINDOW);
        (window * (1 << self.spurious_windows.min(4))).min(rtt.max(MIN_REORDER_WINDOW))
    }

    /// Takes the counters of a report that is newer than all before. `copies` chunks
    /// have been sent again without need, and `has_repairs` says whether any was sent again for
    /// loss: only then, and beyond that number, do duplicates at the receiver speak against the
    /// reordering window.
    pub fn on_report(
        &mut self,
        now: Instant,
        report: &Report,
        rtt: Duration,
        copies: u64,
        has_repairs: bool,
    ) -> Outcome {
        let seen_end = report.largest.saturating_add(1);
        let mut outcome = Outcome {
            rtt: None,
            one_way_us: None,
            received: 0,
            lost: 0,
            left_network: 0,
            rate: None,
        };
        let before = (self.received, self.lost);
        if self.seen_end == 0 {
            self.on_opened(report);
        }
        if seen_end > self.seen_end {
            self.largest_at_us = report.largest_at_us.max(self.largest_at_us);
            outcome.left_network = self.leave_network(seen_end);
            self.seen_end = seen_end;
            if let Some(batch) = self.batch_of(report.largest).copied() {
                let delay = Duration::from_micros(u64::from(report.delay_us));
                outcome.rtt = Some(now.since(batch.at).saturating_sub(delay));
                let arrived_at = report.largest_at_us.cast_signed();
                let sent_at = batch.at.as_micros().cast_signed();
                outcome.one_way_us = Some(arrived_at.saturating_sub(sent_at));
                self.largest_sent_at = batch.at;
                self.count(report);
                if !self.is_opened_late() {
                    outcome.rate = self.rate_sample(&batch, report);
                    self.start_measuring(&batch);
                }
                self.flight_started = Some(batch.at);
            }
        }
        self.count(report);
        outcome.received = self.received - before.0;
        outcome.lost = self.lost.saturating_sub(before.1);
        let is_needless =
            has_repairs && report.duplicates > self.duplicates && report.duplicates > copies;
        self.duplicates = self.duplicates.max(report.duplicates);
        self.adapt_reorder_window(now, rtt, is_needless);
        self.advance_lost_below(self.reorder_window(rtt));
        outcome
    }

    /// Takes the counters of a report. What the receiving host dropped explains new losses, and no
    /// more.
    fn count(&mut self, report: &Report) {
        self.received = self.received.max(report.received);
        let arrived = self.received.saturating_add(report.overtaken);
        let counted = self.seen_end.saturating_sub(self.uncounted);
        let lost = counted.saturating_sub(arrived);
        let host_drops = report.host_drops.saturating_sub(self.host_drops);
        self.host_drops = self.host_drops.max(report.host_drops);
        let explained = host_drops.min(lost.saturating_sub(self.lost));
        self.host_lost = (self.host_lost + explained).min(lost);
        self.lost = lost;
    }

    fn batch_of(&self, number: u64) -> Option<&Batch> {
        let at = self
            .batches
            .partition_point(|batch| batch.first + batch.packets <= number);
        self.batches.get(at).filter(|batch| batch.first <= number)
    }

    /// Takes packets below `seen_end` out of the bytes in flight.
    fn leave_network(&mut self, seen_end: u64) -> u64 {
        let mut left = 0;
        for batch in &self.batches {
            if batch.first >= seen_end {
                break;
            }
            let until = |end: u64| {
                let packets = end.saturating_sub(batch.first).min(batch.packets);
                // Packets of one batch have one size, but for the last.
                if packets == batch.packets {
                    batch.bytes
                } else {
                    batch.bytes / batch.packets.max(1) * packets
                }
            };
            left += until(seen_end) - until(self.seen_end);
        }
        self.in_flight = self.in_flight.saturating_sub(left);
        self.left_network += left;
        left
    }

    /// The first report of the first flight.
    fn start_measuring(&mut self, batch: &Batch) {
        self.origin.get_or_insert(Snapshot {
            sent_at: batch.at,
            flight_started: batch.at,
            seen_end: self.seen_end,
            received: self.received + self.host_lost,
            lost: self.lost - self.host_lost,
            left_network: self.left_network,
            largest_at_us: self.largest_at_us,
            ..batch.snapshot
        });
    }

    fn rate_sample(&self, batch: &Batch, report: &Report) -> Option<RateSample> {
        let is_first_flight = batch.snapshot.largest_at_us == 0
            || (self.uncounted > 0 && batch.snapshot.seen_end <= self.opened_below);
        if self.uncounted > 0 && self.origin.is_none() {
            return None;
        }
        let then = match self.origin {
            Some(origin) if is_first_flight => Snapshot {
                sent_at: batch.at,
                in_flight: batch.snapshot.in_flight,
                is_app_limited: batch.snapshot.is_app_limited,
                ..origin
            },
            _ => batch.snapshot,
        };
        let packets = self.seen_end.saturating_sub(then.seen_end);
        let arrived = (self.received + self.host_lost).saturating_sub(then.received);
        let sending = then.sent_at.since(then.flight_started);
        // Before the first report there is no arrival to measure from, only the time that sending
        // took.
        let receiving = if then.largest_at_us == 0 {
            Duration::ZERO
        } else {
            Duration::from_micros(report.largest_at_us.saturating_sub(then.largest_at_us))
        };
        let interval = sending.max(receiving);
        let is_sample = packets > 0 && !interval.is_zero();
        is_sample.then_some(RateSample {
            packets,
            arrived,
            interval,
            bytes: self.left_network.saturating_sub(then.left_network),
            arrived_at_us: report.largest_at_us,
            is_first_flight,
            then,
        })
    }

    /// Each time that repairs turn out to have been needless, the window doubles; every
    /// [`QUIET_ROUNDS`] round trips without that halve it.
    fn adapt_reorder_window(&mut self, now: Instant, rtt: Duration, is_needless: bool) {
        if is_needless {
            self.spurious_windows = (self.spurious_windows + 1).min(4);
            self.spurious_at = now;
        } else if now.since(self.spurious_at) > rtt * QUIET_ROUNDS {
            self.spurious_windows = self.spurious_windows.saturating_sub(1);
            self.spurious_at = now;
        }
    }

    fn advance_lost_below(&mut self, window: Duration) {
        while let Some(batch) = self.batches.front() {
            let end = batch.first + batch.packets;
            if end > self.seen_end || self.largest_sent_at < batch.at + window {
                break;
            }
            self.lost_below = end;
            self.batches.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
