//! What is measured of the path: smallest delays, the largest rate, how bursty reports are.

use crate::congestion::{Feedback, RateSample};
use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;

/// A minimum is forgotten after one to two of these.
const BUCKET: Duration = Duration::from_secs(5);

/// Reports that show how far delays lie apart, at the least.
const SPREAD_REPORTS: u32 = 8;
/// Round trips whose spread is remembered.
const MAX_RANGES: usize = 16;

/// The square root, by whole numbers: the same on every machine.
pub(super) fn sqrt(value: f64) -> f64 {
    const SCALE: f64 = (1_u64 << 40) as f64;
    const ROOT: f64 = (1_u64 << 20) as f64;
    ((value.max(0.0) * SCALE) as u64).isqrt() as f64 / ROOT
}

/// Standard deviation of how many of `packets` are lost at random with chance `share`.
pub(super) fn deviation(packets: f64, share: f64) -> f64 {
    sqrt(packets * share * (1.0 - share))
}

/// The smallest of the samples of the last five to ten seconds, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowedMin {
    previous: f64,
    current: f64,
    rotated_at: Instant,
}

impl Default for WindowedMin {
    fn default() -> Self {
        Self {
            previous: f64::INFINITY,
            current: f64::INFINITY,
            rotated_at: Instant::ZERO,
        }
    }
}

impl WindowedMin {
    pub fn value(&self) -> Option<f64> {
        let value = self.previous.min(self.current);
        value.is_finite().then_some(value)
    }

    pub fn on_sample(&mut self, now: Instant, sample: f64) {
        if now.since(self.rotated_at) >= BUCKET {
            self.previous = self.current;
            self.current = sample;
            self.rotated_at = now;
        }
        self.current = self.current.min(sample);
    }
}

/// Delays of the path.
///
/// The queue is seen in the one-way delay, which knows nothing of what happens on the way back; the
/// two clocks only have to run equally fast for some seconds.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    round_trip: WindowedMin,
    one_way: WindowedMin,
    /// When a delay near the smallest was last seen.
    low_at: Instant,
    initial: f64,
    spread: Spread,
}

/// How far delays lie apart for a reason other than queues, in seconds.
///
/// A queue grows and goes over several round trips; where delays differ within nearly every round
/// trip that is the path's jitter, or the hosts'. So the calm ones of the last round trips tell.
#[derive(Clone, Debug, Default)]
struct Spread {
    ranges: VecDeque<f64>,
    since: Instant,
    reports: u32,
    smallest: f64,
    largest: f64,
}

impl Spread {
    fn on_delay(&mut self, now: Instant, delay: f64, round_trip: f64) {
        if self.reports == 0 {
            (self.since, self.smallest, self.largest) = (now, delay, delay);
        }
        self.reports += 1;
        self.smallest = self.smallest.min(delay);
        self.largest = self.largest.max(delay);
        let is_round = now.since(self.since).as_secs_f64() >= round_trip;
        if is_round && self.reports >= SPREAD_REPORTS {
            if self.ranges.len() >= MAX_RANGES {
                self.ranges.pop_front();
            }
            self.ranges.push_back(self.largest - self.smallest);
            self.reports = 0;
        }
    }

    fn value(&self) -> f64 {
        let is_lower = |range: &f64| self.ranges.iter().filter(|other| *other < range).count();
        let quarter = self.ranges.len() / 4;
        let calm = self
            .ranges
            .iter()
            .filter(|range| is_lower(range) <= quarter);
        calm.copied().fold(0.0, f64::max)
    }
}

impl Delays {
    pub fn new(round_trip: f64) -> Self {
        Self {
            round_trip: WindowedMin::default(),
            one_way: WindowedMin::default(),
            low_at: Instant::ZERO,
            initial: round_trip,
            spread: Spread::default(),
        }
    }

    /// The smallest round-trip time, in seconds.
    pub fn min(&self) -> f64 {
        self.round_trip.value().unwrap_or(self.initial)
    }

    /// What counts as no queue, in seconds, where a packet takes `packet_time`.
    pub fn epsilon(&self, packet_time: f64) -> f64 {
        0.001 + 0.03 * self.min() + 3.0 * packet_time + 2.0 * self.jitter()
    }

    /// By how much delays differ without a queue, in seconds.
    pub fn jitter(&self) -> f64 {
        self.spread.value()
    }

    /// Takes what a report says of delays; answers how long its packet waited in queues.
    pub fn on_report(
        &mut self,
        now: Instant,
        rtt: Option<f64>,
        one_way: Option<f64>,
    ) -> Option<f64> {
        if let Some(rtt) = rtt {
            self.round_trip.on_sample(now, rtt);
        }
        let one_way = one_way?;
        self.one_way.on_sample(now, one_way);
        self.spread.on_delay(now, one_way, self.min());
        let queue = one_way - self.one_way.value().unwrap_or(one_way);
        let tolerance = (0.01 * self.min()).max(0.000_3) + self.jitter();
        if queue <= tolerance || rtt.is_some_and(|rtt| rtt <= self.min() + tolerance) {
            self.low_at = now;
        }
        Some(queue)
    }

    /// The smallest one-way delay, in seconds of two clocks that differ: how far it falls tells of
    /// a queue that had always been there.
    pub fn floor(&self) -> f64 {
        self.one_way.value().unwrap_or(f64::INFINITY)
    }

    /// How long no delay near the smallest was seen.
    pub fn high_for(&self, now: Instant) -> Duration {
        now.since(self.low_at)
    }

    /// Waits anew for a low delay.
    pub fn restart(&mut self, now: Instant) {
        self.low_at = now;
    }
}

/// The largest rate of this cycle of probing and of the one before, in bytes a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bandwidth {
    previous: f64,
    current: f64,
}

impl Bandwidth {
    pub fn max(&self) -> f64 {
        self.previous.max(self.current)
    }

    pub fn on_sample(&mut self, rate: f64) {
        self.current = self.current.max(rate);
    }

    /// A new cycle begins, whose first sample is `rate`.
    pub fn rotate(&mut self, rate: f64) {
        self.previous = self.current;
        self.current = rate;
    }
}

/// How much more than the rate explains arrives at once: what reports in bunches, and the hosts'
/// batches, need in flight on top of the path's own product.
#[derive(Clone, Debug, Default)]
pub(super) struct Aggregation {
    since: Instant,
    arrived: f64,
    /// Largest excess of each of the last rounds.
    rounds: [f64; 10],
}

impl Aggregation {
    pub fn on_report(&mut self, now: Instant, round: u64, arrived: f64, rate: f64, most: f64) {
        let expected = rate * now.since(self.since).as_secs_f64();
        if self.arrived <= expected {
            self.since = now;
            self.arrived = 0.0;
        }
        let expected = rate * now.since(self.since).as_secs_f64();
        self.arrived += arrived;
        let excess = (self.arrived - expected).min(most);
        if let Some(slot) = self.rounds.get_mut((round % 10) as usize) {
            *slot = slot.max(excess);
        }
    }

    pub fn on_round(&mut self, round: u64) {
        if let Some(slot) = self.rounds.get_mut((round % 10) as usize) {
            *slot = 0.0;
        }
    }

    pub fn excess(&self) -> f64 {
        self.rounds.iter().copied().fold(0.0, f64::max)
    }
}

/// Reports that are remembered, and the packets that a long sample takes at least.
const MAX_POINTS: usize = 64;
const LONG: u64 = 100;

/// Counters of one report.
#[derive(Clone, Copy, Debug)]
struct Point {
    seen_end: u64,
    arrived: u64,
    left_network: u64,
    at_us: u64,
}

impl Point {
    fn new(sample: &RateSample, feedback: &Feedback) -> Self {
        Self {
            seen_end: feedback.seen_end,
            arrived: feedback.received_total,
            left_network: sample.then.left_network + sample.bytes,
            at_us: sample.arrived_at_us,
        }
    }
}

/// A sample over several reports, by the receiver's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongSample {
    pub packets: f64,
    pub arrived: f64,
    pub bytes: f64,
    pub seconds: f64,
}

/// The last reports: on a small path a round trip has too few packets to tell loss from loss.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
}

impl History {
    pub fn on_report(&mut self, sample: &RateSample, feedback: &Feedback) {
        if self.points.len() >= MAX_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Point::new(sample, feedback));
    }

    /// The newest sample of at least [`LONG`] packets, where a round trip's own has fewer.
    pub fn sample(&self, sample: &RateSample, feedback: &Feedback) -> Option<LongSample> {
        if sample.packets >= LONG {
            return None;
        }
        let now = Point::new(sample, feedback);
        let mut points = self.points.iter().rev();
        let then = points.find(|point| point.seen_end + LONG <= now.seen_end)?;
        let micros = now.at_us.saturating_sub(then.at_us).max(1);
        Some(LongSample {
            packets: now.seen_end.saturating_sub(then.seen_end) as f64,
            arrived: now.arrived.saturating_sub(then.arrived) as f64,
            bytes: now.left_network.saturating_sub(then.left_network) as f64,
            seconds: micros as f64 / 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_exact_enough() {
        for value in [0.0, 0.000_1, 0.5, 2.0, 12_345.678, 4e6] {
            let root = sqrt(value);
            assert!(
                (root * root - value).abs() <= value * 1e-3 + 1e-6,
                "{value}"
            );
        }
        assert_eq!(sqrt(-1.0), 0.0);
    }

    #[test]
    fn a_minimum_is_forgotten_in_time() {
        let mut min = WindowedMin::default();
        assert_eq!(min.value(), None);
        min.on_sample(Instant::from_millis(5_000), 0.01);
        for at in 1..20 {
            min.on_sample(Instant::from_millis(5_000 + at * 500), 0.02);
        }
        assert_eq!(min.value(), Some(0.01));
        min.on_sample(Instant::from_millis(15_000), 0.02);
        assert_eq!(min.value(), Some(0.02));
    }

    #[test]
    fn jitter_is_no_queue() {
        let at = Instant::from_millis;
        let mut calm = Delays::new(0.02);
        let mut jittery = Delays::new(0.02);
        for report in 0..400 {
            // A queue that fills over a second and goes; and delays that differ all the time.
            let queue = 0.02 * (report % 200) as f64 / 200.0;
            calm.on_report(at(report * 5), Some(0.02 + queue), Some(7.0 + queue));
            let jitter = 0.002 * (report * 7 % 11) as f64;
            jittery.on_report(at(report * 5), Some(0.02 + jitter), Some(7.0 + jitter));
        }
        assert!(calm.jitter() < 0.002, "{}", calm.jitter());
        assert!(jittery.jitter() > 0.01, "{}", jittery.jitter());
        assert!(
            jittery.epsilon(0.0) > 0.02,
            "all of its delays are no queue"
        );
    }

    #[test]
    fn the_queue_is_seen_on_the_way_there_alone() {
        let mut delays = Delays::new(0.1);
        let at = Instant::from_millis;
        assert_eq!(delays.on_report(at(1), Some(0.1), Some(7.0)), Some(0.0));
        // The way back took long.
        let queue = delays.on_report(at(2), Some(0.3), Some(7.0));
        assert_eq!(queue, Some(0.0));
        let queue = delays.on_report(at(3), Some(0.15), Some(7.05)).unwrap();
        assert!((queue - 0.05).abs() < 1e-9);
        assert_eq!(delays.high_for(at(10)), Duration::from_millis(8));
    }
}
