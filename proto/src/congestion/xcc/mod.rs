//! The default controller: it models the path by its rate and its round trip, and tells random loss
//! from congestion (SPEC.md, `xcc`).
//!
//! It paces at the largest rate that the path has shown lately, where packets that random loss took
//! count as having passed: sending at that rate fills the path, whatever the path loses. What is
//! random is learned only while nothing queues. A short probe asks from time to time for more.
//!
//! Arithmetic is that of `f64` with the four basic operations and a root made of whole numbers, all
//! of which give the same bits on every machine.

mod batch;
mod bursts;
mod filter;
mod loss;
mod probe;
mod round;
mod startup;
#[cfg(test)]
mod tests;
mod window;

use super::pacing::Pacer;
use super::{Controller, Feedback, RateSample};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use batch::BatchTime;
use filter::{Aggregation, Bandwidth, Delays, History};
use loss::{Baseline, RoundLoss};
use probe::{Cycle, Look};
use round::{Ack, Round, Tally};
use startup::StartUp;

/// Packets of the first flight, where they are no larger than those of an Ethernet path, and bytes
/// of it where they are: a queue counts bytes.
const FIRST_FLIGHT: f64 = 96.0;
const FIRST_FLIGHT_BYTES: f64 = super::FIRST_FLIGHT_BYTES as f64;
const MIN_FIRST_FLIGHT: f64 = 8.0;
/// Packets that are always allowed in flight.
const MIN_WINDOW: f64 = 4.0;
/// Below the measured rate by so much while there is a queue, so that it shrinks; further below by
/// this share of the queue in round trips, taken to be at least so many seconds, but never less
/// than this. The more a sender knows of the queue the more it gives way, as those must do that
/// came first, before there was one.
const MARGIN: f64 = 0.98;
const QUEUE_MARGIN: f64 = 0.2;
const MARGIN_TIME: f64 = 0.02;
const MIN_MARGIN: f64 = 0.8;
/// Round trips are taken to be at least this long, in seconds.
const MIN_ROUND_TRIP: f64 = 0.000_05;
/// Packets that a receiver waits for before it reports, unless four intervals pass.
const REPORT_PACKETS: f64 = 16.0;

/// Packets that say something about loss: rounds with fewer are judged together.
const MIN_TALLY: f64 = 40.0;

/// What the controller is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Looking for the rate, faster every round.
    StartUp,
    /// Letting the queue of start-up go, since the round of this number.
    Drain(u64),
    /// Letting the queue of a probe go.
    Down,
    /// At the known rate.
    Cruise,
    /// One round at the known rate without short-term caps, before a probe.
    Refill,
    /// Asking for more than the known rate.
    Up,
    /// At half the rate, to see the path's own loss and its smallest delay.
    Look,
}

/// The controller.
#[derive(Debug)]
pub struct Xcc {
    rng: Rng,
    /// Bytes of a full packet.
    packet: f64,
    phase: Phase,
    round: Round,
    tally: Tally,
    delays: Delays,
    bandwidth: Bandwidth,
    aggregation: Aggregation,
    history: History,
    baseline: Baseline,
    start_up: StartUp,
    /// What the first flight left at.
    first_rate: f64,
    cycle: Cycle,
    look: Look,
    /// Caps after unexplained loss, until the next probe.
    rate_cap: f64,
    flight_cap: f64,
    /// Bytes in flight beyond which a probe met loss.
    long_cap: f64,
    batch_time: BatchTime,
    pacing_gain: f64,
    window_gain: f64,
    window: f64,
    rate: f64,
    report_interval: f64,
    /// Shortest time in queues in the last round, in seconds.
    queue: f64,
    is_silent: bool,
    /// Packets below this number were sent into silence: their loss says nothing.
    blind_below: u64,
}

impl Xcc {
    /// For a path whose round-trip time was measured as `rtt`, with packets of at most `packet`
    /// bytes. `seed` spreads the times of probes.
    pub fn new(rtt: Duration, packet: usize, seed: u64) -> Self {
        let packet = packet as f64;
        let round_trip = rtt.as_secs_f64().max(MIN_ROUND_TRIP);
        let flight = (FIRST_FLIGHT_BYTES / packet).clamp(MIN_FIRST_FLIGHT, FIRST_FLIGHT);
        let window = flight * packet;
        let spread = (round_trip * startup::FIRST_SPREAD).max(startup::MIN_SPREAD);
        let first_rate = window / spread;
        Self {
            rng: Rng::new(seed),
            packet,
            phase: Phase::StartUp,
            round: Round::default(),
            tally: Tally::default(),
            delays: Delays::new(round_trip),
            bandwidth: Bandwidth::default(),
            aggregation: Aggregation::default(),
            history: History::default(),
            baseline: Baseline::default(),
            start_up: StartUp::new(flight),
            cycle: Cycle::default(),
            look: Look::default(),
            rate_cap: f64::INFINITY,
            flight_cap: f64::INFINITY,
            long_cap: f64::INFINITY,
            batch_time: BatchTime::default(),
            pacing_gain: startup::PACING_GAIN,
            window_gain: startup::WINDOW_GAIN,
            window,
            first_rate,
            rate: first_rate,
            report_interval: 0.0,
            queue: 0.0,
            is_silent: false,
            blind_below: 0,
        }
    }

    fn is_starting(&self) -> bool {
        self.phase == Phase::StartUp
    }

    /// The smallest round trip, in seconds.
    fn min_rtt(&self) -> f64 {
        self.delays.min().max(MIN_ROUND_TRIP)
    }

    /// What counts as no queue, in seconds.
    fn epsilon(&self) -> f64 {
        self.delays
            .epsilon(self.packet / self.bandwidth.max().max(1.0))
    }

    /// What counts as nothing at all that waits, in seconds.
    fn still(&self) -> f64 {
        (0.000_3 + 0.01 * self.min_rtt()).min(probe::STILL)
            + self.packet / self.bandwidth.max().max(1.0)
    }

    /// The rate that is believed in.
    fn believed_rate(&self) -> f64 {
        self.bandwidth.max().min(self.rate_cap)
    }

    /// The rate that is believed in, or a guess while nothing is known.
    fn likely_rate(&self) -> f64 {
        let rate = self.believed_rate();
        if self.is_starting() {
            rate.max(self.start_up.guess())
        } else {
            rate
        }
    }

    /// Bytes in flight at the believed rate without a queue.
    fn product(&self) -> f64 {
        self.likely_rate() * self.min_rtt()
    }

    /// Time between two reports at the rate that packets come.
    fn report_gap(&self) -> f64 {
        let packets = self.bandwidth.max() * self.report_interval / self.packet;
        if packets >= REPORT_PACKETS {
            return self.report_interval;
        }
        let enough = self.report_interval * REPORT_PACKETS / packets.max(1.0);
        enough.min(self.report_interval * 4.0)
    }

    /// Bytes that arrive between two reports.
    fn report_bytes(&self) -> f64 {
        self.bandwidth.max() * self.report_gap()
    }

    /// Bytes that leave at once.
    fn quantum(&self) -> f64 {
        Pacer::quantum(self.rate as u64, self.batch_time.get()) as f64
    }

    /// Most bytes in flight that count as an empty queue.
    fn drained(&self) -> f64 {
        let rate = self.bandwidth.max();
        let floor = self.quantum() + self.report_bytes();
        (rate * self.min_rtt())
            .max(floor)
            .max(MIN_WINDOW * self.packet)
    }

    /// A round starts with the next packet.
    fn start_round(&mut self, feedback: &Feedback) {
        self.round.ends_at = feedback.next_number;
    }

    /// Turns a report into what the rest works with.
    fn take(&mut self, now: Instant, feedback: &Feedback) -> Ack {
        let is_round_over = feedback.seen_end > self.round.ends_at;
        if is_round_over {
            self.round.number += 1;
            self.cycle.rounds += 1;
            self.aggregation.on_round(self.round.number);
            self.start_round(feedback);
        }
        let rtt = feedback.rtt.map(|rtt| rtt.as_secs_f64());
        let one_way = feedback.one_way_us.map(|micros| micros as f64 / 1e6);
        let queue = self.delays.on_report(now, rtt, one_way);
        if let Some(queue) = queue {
            self.round.max_queue = self.round.max_queue.max(queue);
            self.round.min_queue = self.round.min_queue.min(queue);
            self.cycle.min_queue = self.cycle.min_queue.min(queue);
        }
        self.round.is_window_limited |= feedback.is_window_limited;
        let has_queue = queue.is_none_or(|queue| queue > self.still());
        let (received, lost) = (feedback.received as f64, feedback.lost as f64);
        self.baseline.on_report(received, lost, has_queue);
        let loss = is_round_over.then(|| self.tally.since(feedback));
        let loss = loss.filter(|loss| loss.packets >= MIN_TALLY);
        if loss.is_some() {
            self.tally = Tally::new(feedback);
        }
        let mut ack = Ack {
            now,
            is_round_over,
            loss,
            is_excess: loss.is_some_and(|loss| self.baseline.is_excess(loss)),
            rate: 0.0,
            flight: 0.0,
            sent_flight: 0.0,
            sent_lost: 0.0,
            has_sample: false,
            arrived: feedback.received as f64,
            has_loss: feedback.lost > 0,
            in_flight: feedback.in_flight as f64,
            queue,
        };
        if let Some(sample) = &feedback.rate {
            self.take_sample(sample, feedback, &mut ack);
            self.history.on_report(sample, feedback);
        }
        ack
    }

    fn take_sample(&mut self, sample: &RateSample, feedback: &Feedback, ack: &mut Ack) {
        ack.has_sample = true;
        ack.sent_flight = sample.then.in_flight as f64 / self.packet;
        ack.sent_lost = feedback.lost_total.saturating_sub(sample.then.lost) as f64;
        self.round.is_app_limited |= sample.then.is_app_limited;
        let packets = sample.packets as f64;
        let has_queue = ack.queue.is_some_and(|queue| queue > self.epsilon());
        let entered = self
            .baseline
            .entered(packets, sample.arrived as f64, !has_queue);
        let bytes = sample.bytes as f64 * entered / packets.max(1.0);
        ack.flight = bytes;
        self.round.best_flight = self.round.best_flight.max(bytes);
        let interval = sample.interval.as_secs_f64();
        if interval <= 0.0 {
            return;
        }
        let rate = bytes / interval;
        if sample.is_first_flight {
            let share = sample.arrived as f64 / packets.max(1.0);
            if share >= startup::MIN_ARRIVED {
                let rate = rate / share.max(startup::MIN_PASSED);
                self.start_up
                    .on_first_flight(packets, rate, self.first_rate);
            }
        }
        // Where the queue may be dropping, few packets cannot tell its loss from the path's own.
        let rate = if has_queue && self.baseline.share() > 0.0 {
            match self.history.sample(sample, feedback) {
                Some(long) => {
                    let entered = self.baseline.entered(long.packets, long.arrived, false);
                    long.bytes * entered / long.packets / long.seconds
                }
                None => rate,
            }
        } else {
            rate
        };
        // Less than a round trip's arrivals may be a burst that queued elsewhere.
        if interval < self.min_rtt() * 0.999 {
            return;
        }
        // A sender that had nothing to send learns nothing from it, unless it is better than all
        // before.
        if sample.then.is_app_limited && rate <= self.bandwidth.max() {
            return;
        }
        ack.rate = rate;
        self.round.best_rate = self.round.best_rate.max(rate);
        self.bandwidth.on_sample(rate);
    }

    /// Loss beyond what chance explains, while nothing was asked of the path: give way at once.
    fn on_unexplained_loss(&mut self) {
        if !matches!(self.phase, Phase::Drain(_) | Phase::Down | Phase::Cruise) {
            return;
        }
        let rate = self.rate_cap.min(self.bandwidth.max());
        let flight = self.flight_cap.min(self.window);
        self.rate_cap = self.round.best_rate.max(0.7 * rate);
        self.flight_cap = self.round.best_flight.max(0.7 * flight);
        if matches!(self.phase, Phase::Cruise | Phase::Down) && self.cycle.rounds >= 2 {
            self.cycle.has_excess = true;
            self.cycle.is_contended = true;
        }
    }

    fn learn_loss(&mut self, loss: RoundLoss) {
        match self.phase {
            Phase::StartUp => {
                let is_growing = self.start_up.is_growing();
                if is_growing && self.round.max_queue <= self.epsilon() {
                    let is_still = self.round.max_queue <= probe::STILL;
                    self.baseline.on_start_up(loss, is_still);
                }
            }
            Phase::Look => {}
            phase => {
                let is_cruising = matches!(phase, Phase::Cruise | Phase::Down);
                self.baseline.on_round(loss, is_cruising);
            }
        }
    }

    fn finish_round(&mut self, ack: &Ack) {
        if self.round.min_queue.is_finite() {
            self.queue = self.round.min_queue;
        }
        self.round = Round {
            number: self.round.number,
            ends_at: self.round.ends_at,
            max_queue: 0.0,
            min_queue: f64::INFINITY,
            best_rate: ack.rate,
            best_flight: ack.flight,
            is_app_limited: false,
            is_window_limited: false,
        };
    }

    /// What was sent into silence is reported: nothing is learned from it.
    fn is_blind(&mut self, feedback: &Feedback) -> bool {
        if self.is_silent {
            self.is_silent = false;
            self.blind_below = feedback.next_number;
        }
        if feedback.seen_end > self.blind_below {
            return false;
        }
        self.tally = Tally::new(feedback);
        self.start_round(feedback);
        self.cycle.probe_soon();
        true
    }

    /// While nothing queues the whole rate is used; a queue that was there for a round goes.
    fn margin(&self) -> f64 {
        if self.queue <= 0.001 + 0.01 * self.min_rtt() + self.delays.jitter() {
            1.0
        } else {
            let trips = self.queue / self.min_rtt().max(MARGIN_TIME);
            (MARGIN - QUEUE_MARGIN * trips).max(MIN_MARGIN)
        }
    }

    fn update_rate(&mut self) {
        if self.likely_rate() <= 0.0 {
            return;
        }
        self.rate = self.margin() * self.pacing_gain * self.believed_rate();
        if self.is_starting() {
            let slowest = self.start_up.min_window() * self.packet / self.min_rtt();
            self.rate = self.rate.max(self.start_up.guess()).max(slowest);
        }
    }
}

impl Controller for Xcc {
    fn on_report(&mut self, now: Instant, feedback: &Feedback) {
        self.start_up.on_report();
        self.report_interval = feedback.report_interval.as_secs_f64();
        if self.is_blind(feedback) {
            return;
        }
        let ack = self.take(now, feedback);
        if let Some(loss) = ack.loss {
            self.batch_time.on_round(ack.is_excess);
            self.learn_loss(loss);
            if ack.is_excess {
                self.on_unexplained_loss();
            }
        }
        match self.phase {
            Phase::StartUp => self.on_start_up(&ack, feedback),
            Phase::Drain(since) => self.on_drain(since, &ack, feedback),
            _ => self.on_cycle(&ack, feedback),
        }
        self.on_look(&ack, feedback);
        if ack.is_round_over {
            self.finish_round(&ack);
        }
        self.update_rate();
        self.update_window(&ack);
    }

    fn on_train(&mut self, rate: u64) {
        self.start_behind_train(rate as f64);
    }

    fn on_sent(&mut self, in_flight: u64) {
        if in_flight as f64 >= self.start_up.first_bytes(self.packet) {
            self.rate = self.start_up.behind().unwrap_or(self.rate);
        }
    }

    fn on_silence(&mut self, _now: Instant) {
        // Once for each silence: while it lasts the window lets nothing out, however low the rate.
        if !self.is_silent {
            self.is_silent = true;
            self.rate_cap = self.believed_rate() / 2.0;
            self.update_rate();
        }
    }

    fn window(&self) -> u64 {
        self.window as u64
    }

    fn batch_time(&self) -> Duration {
        self.batch_time.get()
    }

    fn rate(&self) -> u64 {
        let slowest = MIN_WINDOW * self.packet / self.min_rtt().max(0.1);
        self.rate.max(slowest) as u64
    }
}
