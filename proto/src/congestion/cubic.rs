//! CUBIC (RFC 9438), paced: a reference, and a polite choice where every loss means congestion.

use super::{Controller, Feedback};
use crate::time::{Duration, Instant};

/// The first window: so many packets, or fewer that are larger than those of an Ethernet path.
const INITIAL_PACKETS: f64 = 32.0;
const INITIAL_BYTES: f64 = 32.0 * 1_472.0;
const MIN_INITIAL_PACKETS: f64 = 8.0;
const MIN_PACKETS: f64 = 2.0;
/// `C` and beta of RFC 9438, in packets and seconds.
const SCALE: f64 = 0.4;
const BETA: f64 = 0.7;
/// Additive increase that is as fast as Reno's, given that beta.
const FRIENDLY: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// HyStart leaves slow start when the smallest delay of a round has grown by an eighth of the round
/// trip, within these bounds.
const MIN_GROWTH: Duration = Duration::from_millis(4);
const MAX_GROWTH: Duration = Duration::from_millis(16);
/// Pacing is faster than window over round trip by so much, and more so in slow start.
const PACING_GAIN: f64 = 1.25;
const SLOW_START_GAIN: f64 = 2.0;

/// The controller. Its window counts packets.
#[derive(Debug)]
pub struct Cubic {
    packet: f64,
    window: f64,
    threshold: f64,
    /// The window before the last reduction, and when it is reached again, in seconds after
    /// `epoch`.
    max: f64,
    k: f64,
    epoch: Option<Instant>,
    epoch_window: f64,
    /// Losses of packets below this number belong to the last reduction.
    recovery_until: u64,
    round_ends_at: u64,
    round_min: Option<Duration>,
    smoothed_rtt: Duration,
}

impl Cubic {
    /// For a path whose round-trip time was measured as `rtt`, with packets of at most `packet`
    /// bytes.
    pub fn new(rtt: Duration, packet: usize) -> Self {
        Self {
            packet: packet as f64,
            window: (INITIAL_BYTES / packet as f64).clamp(MIN_INITIAL_PACKETS, INITIAL_PACKETS),
            threshold: f64::INFINITY,
            max: 0.0,
            k: 0.0,
            epoch: None,
            epoch_window: 0.0,
            recovery_until: 0,
            round_ends_at: 0,
            round_min: None,
            smoothed_rtt: rtt,
        }
    }

    fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    fn on_loss(&mut self, feedback: &Feedback) {
        self.recovery_until = feedback.next_number;
        // Fast convergence: a flow that shrinks makes room for others.
        self.max = if self.window < self.max {
            self.window * (1.0 + BETA) / 2.0
        } else {
            self.window
        };
        self.window = (self.window * BETA).max(MIN_PACKETS);
        self.threshold = self.window;
        self.epoch = None;
    }

    fn grow_slowly(&mut self, feedback: &Feedback) {
        self.window += feedback.received as f64;
        if let Some(rtt) = feedback.rtt {
            self.round_min = Some(self.round_min.map_or(rtt, |min| min.min(rtt)));
        }
        if feedback.seen_end <= self.round_ends_at {
            return;
        }
        self.round_ends_at = feedback.next_number;
        let growth = (feedback.min_rtt / 8).clamp(MIN_GROWTH, MAX_GROWTH);
        if self
            .round_min
            .take()
            .is_some_and(|min| min > feedback.min_rtt + growth)
        {
            self.threshold = self.window;
        }
    }

    fn grow(&mut self, now: Instant, arrived: f64) {
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => {
                self.epoch_window = self.window;
                self.max = self.max.max(self.window);
                self.k = cube_root((self.max - self.window) / SCALE);
                *self.epoch.insert(now)
            }
        };
        let rtt = self.smoothed_rtt.as_secs_f64().max(1e-6);
        let time = now.since(epoch).as_secs_f64();
        let ahead = time + rtt - self.k;
        let cubic = SCALE * ahead * ahead * ahead + self.max;
        let friendly = self.epoch_window + FRIENDLY * time / rtt;
        let target = cubic.max(friendly).min(1.5 * self.window);
        if target > self.window {
            self.window += arrived * (target - self.window) / self.window;
        } else {
            self.window += arrived * 0.01 / self.window;
        }
    }
}

impl Controller for Cubic {
    fn on_report(&mut self, now: Instant, feedback: &Feedback) {
        self.smoothed_rtt = feedback.smoothed_rtt;
        let is_congested = feedback.lost > feedback.host_drops || feedback.ce > 0;
        if is_congested && feedback.seen_end > self.recovery_until {
            return self.on_loss(feedback);
        }
        if feedback.seen_end <= self.recovery_until || !feedback.is_window_limited {
            return;
        }
        if self.is_slow_start() {
            self.grow_slowly(feedback);
        } else {
            self.grow(now, feedback.received as f64);
        }
    }

    fn on_silence(&mut self, _now: Instant) {
        self.threshold = (self.window / 2.0).max(MIN_PACKETS);
        self.window = MIN_PACKETS;
        self.epoch = None;
    }

    fn window(&self) -> u64 {
        (self.window * self.packet) as u64
    }

    fn rate(&self) -> u64 {
        let gain = if self.is_slow_start() {
            SLOW_START_GAIN
        } else {
            PACING_GAIN
        };
        let rtt = self.smoothed_rtt.as_secs_f64().max(0.000_05);
        (gain * self.window * self.packet / rtt) as u64
    }
}

/// The cube root, by Newton's method in a fixed number of steps: the same on every machine.
fn cube_root(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let mut root = value.max(1.0);
    for _ in 0..64 {
        root = (2.0 * root + value / (root * root)) / 3.0;
    }
    root
}
