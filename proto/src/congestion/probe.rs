//! A simple controller that tolerates loss: it paces at the largest delivery rate seen lately, and
//! looks for more from time to time.

use super::{Controller, Feedback, bytes_in, rate_of};
use crate::time::{Duration, Instant};

/// Bytes in flight before anything is known of the path.
pub const INITIAL_WINDOW: u64 = 64 * 1_472;
const MIN_WINDOW: u64 = 8 * 1_472;
/// Gains in thousandths.
const STARTUP_GAIN: u64 = 2_770;
const CYCLE: [u64; 8] = [1_250, 750, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000];
/// Loss up to this share, in thousandths, is taken for the path's own and does not slow the sender
/// down.
const TOLERATED_LOSS: u64 = 200;
/// The rate never falls below the smallest window in this time, or in a round trip if that is
/// longer.
const MIN_RATE_TIME: Duration = Duration::from_millis(100);
const FILTER_ROUNDS: u64 = 10;

/// The controller.
#[derive(Debug)]
pub struct ProbeController {
    round: u64,
    round_ends_at: u64,
    /// Largest rate of each of the last rounds, newest first.
    rates: [u64; FILTER_ROUNDS as usize],
    is_starting: bool,
    rounds_without_growth: u32,
    best_in_startup: u64,
    min_rtt: Duration,
    backlog: u64,
}

impl ProbeController {
    /// For a path whose round-trip time was measured as `rtt`.
    pub fn new(rtt: Duration) -> Self {
        Self {
            round: 0,
            round_ends_at: 0,
            rates: [0; FILTER_ROUNDS as usize],
            is_starting: true,
            rounds_without_growth: 0,
            best_in_startup: 0,
            min_rtt: rtt.max(Duration::from_micros(50)),
            backlog: 0,
        }
    }

    fn bottleneck(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    fn product(&self) -> u64 {
        bytes_in(self.bottleneck(), self.min_rtt)
    }

    fn on_round(&mut self) {
        self.round += 1;
        if self.is_starting {
            if self.bottleneck() > self.best_in_startup + self.best_in_startup / 4 {
                self.best_in_startup = self.bottleneck();
                self.rounds_without_growth = 0;
            } else {
                self.rounds_without_growth += 1;
                self.is_starting = self.rounds_without_growth < 3;
            }
        }
        self.rates.rotate_right(1);
        if let Some(newest) = self.rates.first_mut() {
            *newest = 0;
        }
    }

    fn gain(&self) -> u64 {
        if self.is_starting {
            return STARTUP_GAIN;
        }
        // What start-up left in the queue goes out before the cycle begins.
        if self.backlog > self.product() + self.product() / 2 {
            return 500;
        }
        CYCLE
            .get((self.round % CYCLE.len() as u64) as usize)
            .copied()
            .unwrap_or(1_000)
    }
}

impl Controller for ProbeController {
    fn on_report(&mut self, _now: Instant, feedback: &Feedback) {
        self.min_rtt = feedback.min_rtt.max(Duration::from_micros(50));
        self.backlog = feedback.in_flight;
        if feedback.seen_end > self.round_ends_at {
            self.round_ends_at = feedback.next_number;
            self.on_round();
        }
        let Some(sample) = feedback
            .rate
            .filter(|sample| sample.interval >= self.min_rtt / 2)
        else {
            return;
        };
        // Packets that were lost beyond the tolerated share did not get through the bottleneck.
        let through = sample.arrived * 1_000 / (1_000 - TOLERATED_LOSS);
        let bytes = sample.bytes * through.min(sample.packets) / sample.packets.max(1);
        let rate = rate_of(bytes, sample.interval);
        if (!sample.then.is_app_limited || rate > self.bottleneck())
            && let Some(newest) = self.rates.first_mut()
        {
            *newest = rate.max(*newest);
        }
    }

    fn on_silence(&mut self, _now: Instant) {
        self.rates.iter_mut().for_each(|rate| *rate /= 2);
        self.is_starting = false;
    }

    fn window(&self) -> u64 {
        if self.bottleneck() == 0 {
            return INITIAL_WINDOW;
        }
        // Two round trips' worth, and what arrives between two reports.
        let floor = if self.is_starting {
            INITIAL_WINDOW
        } else {
            MIN_WINDOW
        };
        let between_reports = bytes_in(self.bottleneck(), Duration::from_millis(2));
        (self.product() * 2 + between_reports).max(floor)
    }

    fn rate(&self) -> u64 {
        if self.bottleneck() == 0 {
            return rate_of(INITIAL_WINDOW * 2, self.min_rtt);
        }
        let rate = (u128::from(self.bottleneck()) * u128::from(self.gain()) / 1_000) as u64;
        rate.max(rate_of(MIN_WINDOW, self.min_rtt.max(MIN_RATE_TIME)))
    }
}
