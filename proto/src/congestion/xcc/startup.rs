//! Start-up: looking for the rate of a path that nothing is known of, and letting go of the queue
//! that this made.

use super::probe::Verdict;
use super::{Ack, Feedback, Phase, Xcc};

/// Faster than the measured rate by so much.
pub(super) const PACING_GAIN: f64 = 2.77;
pub(super) const WINDOW_GAIN: f64 = 2.0;
const DRAIN_GAIN: f64 = 0.5;
/// The first flight is spread over this share of a round trip: fast enough that a path which is
/// slower shows its rate in how the flight arrives.
pub(super) const FIRST_SPREAD: f64 = 0.25;
/// Packets that are always allowed in flight while nothing is sure.
pub(super) const MIN_WINDOW: f64 = 32.0;
/// It is spread over at least this time, in seconds.
pub(super) const MIN_SPREAD: f64 = 0.005;
/// A part of the first flight that took this share of a round trip to arrive is a sample.
pub(super) const MIN_SAMPLE: f64 = 0.1;
/// A round whose rate is better by so much has grown.
const GROWTH: f64 = 1.25;
/// Rounds without growth that end start-up.
const MAX_FLAT: u32 = 3;
const MAX_DRAIN_ROUNDS: u64 = 3;

/// How far start-up has come.
#[derive(Clone, Debug, Default)]
pub(super) struct StartUp {
    best: f64,
    flat_rounds: u32,
}

impl StartUp {
    pub fn is_growing(&self) -> bool {
        self.flat_rounds == 0
    }
}

impl Xcc {
    pub(super) fn on_start_up(&mut self, ack: &Ack, feedback: &Feedback) {
        if !ack.is_round_over {
            return;
        }
        let rate = self.round.best_rate;
        if rate >= self.start_up.best * GROWTH {
            self.start_up.best = rate;
            self.start_up.flat_rounds = 0;
        } else if !self.round.is_app_limited {
            self.start_up.flat_rounds += 1;
        }
        let flat = self.start_up.flat_rounds;
        let has_queue = self.round.min_queue > 0.25 * self.min_rtt() + 0.002;
        let is_lossy = flat >= 1 && ack.is_excess;
        if is_lossy {
            self.long_cap = self.product().max(self.round.best_flight);
        }
        if flat >= MAX_FLAT || (flat >= 2 && has_queue) || is_lossy {
            self.baseline.on_start_up_over(ack.now);
            if is_lossy {
                // Whose loss that was shows at half the rate, which lets the queue go as well.
                self.cycle.begin_anew();
                self.begin_look(feedback);
                return;
            }
            self.phase = Phase::Drain(self.round.number);
            self.pacing_gain = DRAIN_GAIN;
            self.window_gain = WINDOW_GAIN;
            self.start_round(feedback);
        }
    }

    pub(super) fn on_drain(&mut self, since: u64, ack: &Ack, feedback: &Feedback) {
        let is_long = self.round.number > since + MAX_DRAIN_ROUNDS;
        if ack.in_flight <= self.drained() || is_long {
            self.cycle.begin_anew();
            self.go_down(ack.now, Verdict::Failed, feedback);
        }
    }
}
