//! The cycle after start-up: cruise, ask for more, judge the answer; and looks at loss in between.

use super::loss::{LookQueue, RoundLoss};
use super::{Ack, Feedback, Phase, Tally, Xcc};
use crate::time::{Duration, Instant};

/// Rounds between two probes, alone: doubles with every probe that found nothing.
const MIN_ROUNDS: f64 = 8.0;
const MAX_ROUNDS: f64 = 63.0;
/// The same where others share the path.
const CONTENDED_ROUNDS: f64 = 8.0;
/// Probes are never further apart than this and up to half as much again.
const MAX_CYCLE: Duration = Duration::from_millis(1_250);
const DOWN_GAIN: f64 = 0.90;
const UP_GAIN: f64 = 1.25;
const MIN_UP_GAIN: f64 = 1.0 / 16.0;
/// A probe alone may make a queue of so many seconds.
const UP_QUEUE: f64 = 0.02;
/// The share of what was asked that must have come for a probe to have found more.
const SUCCESS: f64 = 0.4;
const WINDOW_GAIN: f64 = 2.0;
/// Rounds of a probe among others without growth.
const MAX_FLAT: u32 = 3;
/// No delay near the smallest for so long: it is time to look.
const MAX_HIGH: Duration = Duration::from_secs(5);
const MIN_LOOK: Duration = Duration::from_millis(100);
const MAX_LOOK: Duration = Duration::from_millis(500);
const LOOK_PACKETS: f64 = 200.0;
const MAX_LOOK_ROUNDS: u32 = 4;
/// The share of the queue that a probe makes on a path of its own, which must be seen.
const ANSWER: f64 = 0.4;
/// Delays that lie no further apart, in seconds, are those of a path on which nothing queues.
pub(super) const STILL: f64 = 0.001;

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The path has no more.
    Failed,
    /// The next round will tell.
    Pending,
}

/// One cycle of probing.
#[derive(Clone, Debug, Default)]
pub(super) struct Cycle {
    /// Rounds since the last probe.
    pub rounds: u64,
    /// Shortest time in queues since then, in seconds.
    pub min_queue: f64,
    /// Others share the path.
    pub is_contended: bool,
    /// Unexplained loss was seen.
    pub has_excess: bool,
    /// Gain of the probe.
    pub gain: f64,
    started: Instant,
    max_time: Duration,
    max_rounds: f64,
    /// Rounds to wait, alone, before chance spreads them.
    interval: f64,
    /// The rate that a probe has to beat.
    rate_before: f64,
    successes: u32,
    /// The shortest time in queues in the round before a probe, in seconds, and the longest since;
    /// and the longest since the last probe was judged by it.
    queue_before: f64,
    queue_since: f64,
    max_queue: f64,
    is_answer_due: bool,
    is_judging: bool,
    has_met_loss: bool,
    /// Loss counts as that of the probe.
    is_probing: bool,
    /// The next round belongs to a new cycle of the rate filter.
    is_rotation_due: bool,
    is_app_limited: bool,
    /// A probe among others: its best rate, and rounds without growth.
    best: f64,
    flat_rounds: u32,
    /// It stopped out of caution: ask again after one round.
    is_cautious: bool,
    /// Growth of the long-term cap.
    growth: f64,
    growth_step: f64,
    growth_rounds: u32,
}

impl Cycle {
    pub fn begin_anew(&mut self) {
        self.interval = MIN_ROUNDS / 2.0;
    }

    /// The next round probes.
    pub fn probe_soon(&mut self) {
        self.rounds = 0;
        self.max_rounds = 1.0;
        self.is_judging = false;
    }
}

/// A look at the path at half the rate.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Ends no sooner; unset until the flight is small.
    until: Option<Instant>,
    rounds: u32,
    tally: Tally,
    max_queue: f64,
    /// The smallest time in queues.
    min_queue: f64,
    /// The smallest delay when the flight had become small.
    floor: f64,
    window_before: f64,
    /// It goes on at a rate at which packets seldom wait for each other.
    is_deep: bool,
}

impl Xcc {
    /// A number between 0.75 and 1.25.
    fn spread(&mut self) -> f64 {
        0.75 + self.rng.below(1 << 20) as f64 / f64::from(1 << 21)
    }

    pub(super) fn go_down(&mut self, now: Instant, verdict: Verdict, feedback: &Feedback) {
        self.phase = Phase::Down;
        self.pacing_gain = DOWN_GAIN;
        self.window_gain = WINDOW_GAIN;
        self.start_round(feedback);
        self.round.best_rate = 0.0;
        self.round.best_flight = 0.0;
        let spread = self.spread();
        let cycle = &mut self.cycle;
        cycle.min_queue = f64::INFINITY;
        cycle.rounds = 0;
        cycle.started = now;
        cycle.is_rotation_due = true;
        cycle.is_judging = verdict == Verdict::Pending;
        if verdict == Verdict::Failed {
            cycle.on_failure();
        }
        cycle.max_time = MAX_CYCLE.mul_f64(spread + 0.25);
        cycle.max_rounds = cycle.interval * spread;
    }

    fn refill(&mut self, feedback: &Feedback) {
        let limit = (0.1 * self.min_rtt()).max(0.002) + self.delays.jitter();
        let cycle = &mut self.cycle;
        let is_queue_standing = cycle.min_queue.is_finite() && cycle.min_queue > limit;
        cycle.is_contended = is_queue_standing || cycle.has_excess;
        cycle.has_excess = false;
        cycle.growth_rounds = 0;
        cycle.growth = 0.0;
        self.rate_cap = f64::INFINITY;
        self.flight_cap = f64::INFINITY;
        self.phase = Phase::Refill;
        self.pacing_gain = 1.0;
        self.window_gain = WINDOW_GAIN;
        self.start_round(feedback);
    }

    fn go_up(&mut self, rate: f64, feedback: &Feedback) {
        let alone = 1.0 + (UP_QUEUE / self.min_rtt()).clamp(MIN_UP_GAIN, UP_GAIN - 1.0);
        let cycle = &mut self.cycle;
        cycle.gain = if cycle.is_contended || cycle.successes > 0 {
            UP_GAIN
        } else {
            alone
        };
        cycle.is_probing = true;
        cycle.is_answer_due = true;
        cycle.queue_before = self.round.min_queue;
        cycle.queue_since = 0.0;
        cycle.rate_before = rate;
        cycle.best = rate;
        cycle.flat_rounds = 0;
        self.phase = Phase::Up;
        self.pacing_gain = self.cycle.gain;
        self.window_gain = 2.25;
        self.start_round(feedback);
        self.raise_growth();
    }

    fn raise_growth(&mut self) {
        let step = (1_u64 << self.cycle.growth_rounds.min(30)) as f64;
        self.cycle.growth_rounds += 1;
        self.cycle.growth_step = (self.window / step).max(self.packet);
    }

    /// A report outside of start-up and drain.
    pub(super) fn on_cycle(&mut self, ack: &Ack, feedback: &Feedback) {
        self.cycle.is_app_limited |= self.round.is_app_limited;
        if self.cycle.is_rotation_due && ack.is_round_over && self.cycle.rounds >= 1 {
            self.cycle.is_rotation_due = false;
            self.cycle.is_probing = false;
            // A cycle in which there was not enough to send must not make better samples forgotten.
            if !core::mem::take(&mut self.cycle.is_app_limited) {
                self.bandwidth.rotate(ack.rate);
            }
        }
        self.watch_answer(ack);
        self.watch_probe(ack, feedback);
        match self.phase {
            Phase::Down | Phase::Cruise => self.on_cruise(ack, feedback),
            Phase::Refill if ack.is_round_over => {
                let rate = self.round.best_rate.max(1.0);
                self.go_up(rate, feedback);
            }
            Phase::Up => self.on_up(ack, feedback),
            _ => {}
        }
    }

    /// On a path of one's own a probe makes a queue; where nothing ever waits there is nobody else
    /// either. Among others, in a queue that is full or short, neither is so.
    fn watch_answer(&mut self, ack: &Ack) {
        let is_over = self.phase != Phase::Up && ack.is_round_over && self.cycle.rounds >= 1;
        let asked = (self.cycle.gain - 1.0) * self.min_rtt() * ANSWER + self.delays.jitter();
        let cycle = &mut self.cycle;
        let queue = ack.queue.unwrap_or(0.0);
        cycle.max_queue = cycle.max_queue.max(queue);
        if !cycle.is_answer_due {
            return;
        }
        cycle.queue_since = cycle.queue_since.max(queue);
        if is_over {
            cycle.is_answer_due = false;
            let has_made_queue = cycle.queue_since - cycle.queue_before > asked;
            let is_still = core::mem::take(&mut cycle.max_queue) <= STILL;
            self.baseline.set_own(has_made_queue, is_still);
        }
    }

    /// Loss that a probe met caps what is in flight; a flight that came through raises the cap.
    fn watch_probe(&mut self, ack: &Ack, feedback: &Feedback) {
        if !ack.has_sample {
            return;
        }
        let flight = ack.sent_flight * self.packet;
        let is_too_high = self.baseline.is_too_high(ack.sent_lost, ack.sent_flight);
        let is_probe = matches!(self.phase, Phase::Up | Phase::Refill | Phase::Down);
        if self.cycle.is_probing && ack.has_loss && is_too_high && is_probe {
            self.cycle.has_met_loss = true;
            self.cycle.is_probing = false;
            self.long_cap = flight.max(0.7 * self.product().min(self.window));
            if self.phase != Phase::Down {
                self.go_down(ack.now, Verdict::Failed, feedback);
            }
            return;
        }
        if is_too_high || self.long_cap.is_infinite() {
            return;
        }
        self.long_cap = self.long_cap.max(flight);
        if self.phase == Phase::Up {
            let is_at_cap = self.round.is_window_limited && self.window >= self.long_cap;
            if is_at_cap {
                self.cycle.growth += ack.arrived * self.packet;
                if self.cycle.growth >= self.cycle.growth_step {
                    let steps = (self.cycle.growth / self.cycle.growth_step) as u64 as f64;
                    self.cycle.growth -= steps * self.cycle.growth_step;
                    self.long_cap += steps * self.packet;
                }
            }
            if ack.is_round_over {
                self.raise_growth();
            }
        }
    }

    fn on_cruise(&mut self, ack: &Ack, feedback: &Feedback) {
        let has_round = ack.is_round_over && self.cycle.rounds >= 1;
        if has_round && core::mem::take(&mut self.cycle.is_cautious) && !self.cycle.has_met_loss {
            return self.refill(feedback);
        }
        if has_round && core::mem::take(&mut self.cycle.is_judging) {
            let wanted = self.cycle.rate_before * (1.0 + (self.cycle.gain - 1.0) * SUCCESS);
            if self.round.best_rate > wanted && !self.cycle.has_met_loss {
                self.cycle.successes += 1;
                self.cycle.interval = MIN_ROUNDS;
                let rate = self.round.best_rate;
                return self.go_up(rate, feedback);
            }
            let spread = self.spread();
            self.cycle.on_failure();
            self.cycle.max_rounds = self.cycle.interval * spread;
        }
        let cycle = &self.cycle;
        let is_time = ack.now.since(cycle.started) > cycle.max_time;
        if is_time || cycle.rounds as f64 >= cycle.max_rounds {
            return self.refill(feedback);
        }
        if self.phase == Phase::Down {
            let is_over = if cycle.is_contended {
                cycle.rounds >= 1
            } else {
                ack.in_flight <= self.drained()
            };
            if is_over {
                self.phase = Phase::Cruise;
                self.pacing_gain = 1.0;
            }
        }
    }

    fn on_up(&mut self, ack: &Ack, feedback: &Feedback) {
        let has_overshot = self.cycle.has_met_loss && ack.in_flight >= self.long_cap;
        if !self.cycle.is_contended {
            if has_overshot || ack.is_round_over {
                self.cycle.has_met_loss = false;
                self.go_down(ack.now, Verdict::Pending, feedback);
            }
            return;
        }
        let mut is_over = has_overshot;
        if self.round.is_window_limited && self.window >= self.long_cap {
            self.cycle.flat_rounds = 0;
            self.cycle.best = ack.rate;
        } else if ack.is_round_over {
            if ack.rate >= self.cycle.best * 1.25 {
                self.cycle.best = ack.rate;
                self.cycle.flat_rounds = 0;
            } else {
                self.cycle.flat_rounds += 1;
                is_over |= self.cycle.flat_rounds >= MAX_FLAT;
            }
        }
        if is_over {
            let was_cautious = core::mem::take(&mut self.cycle.has_met_loss);
            self.go_down(ack.now, Verdict::Failed, feedback);
            let product = self.product().min(self.window) / self.packet;
            self.cycle.max_rounds = product.min(CONTENDED_ROUNDS);
            self.cycle.is_cautious = was_cautious;
        }
    }

    /// Begins a look where one is due, and ends it.
    pub(super) fn on_look(&mut self, ack: &Ack, feedback: &Feedback) {
        let is_started = !matches!(self.phase, Phase::StartUp | Phase::Drain(_));
        if self.phase != Phase::Look && is_started {
            let is_high = self.delays.high_for(ack.now) > MAX_HIGH;
            let is_unexplained = self.phase == Phase::Cruise && self.baseline.wants_look(ack.now);
            if is_high || is_unexplained {
                self.begin_look(feedback);
            }
        }
        if self.phase != Phase::Look {
            return;
        }
        let Some(until) = self.look.until else {
            let share = if self.look.is_deep {
                DEEP_FLIGHT
            } else {
                LOOK_GAIN
            };
            let small = share * self.product() + self.report_bytes();
            if ack.in_flight <= small.max(MIN_LOOK_FLIGHT * self.packet) {
                self.look.until = Some(ack.now + MIN_LOOK);
                self.look.floor = self.delays.floor();
                self.start_round(feedback);
            }
            return;
        };
        if ack.is_round_over {
            self.look.rounds += 1;
            if self.look.rounds == 1 {
                self.look.tally = Tally::new(feedback);
                (self.look.max_queue, self.look.min_queue) = (0.0, f64::INFINITY);
            }
        }
        self.look.max_queue = self.look.max_queue.max(ack.queue.unwrap_or(0.0));
        self.look.min_queue = self.look.min_queue.min(ack.queue.unwrap_or(f64::INFINITY));
        let seen = self.look.tally.since(feedback);
        let is_long = self.look.rounds >= MAX_LOOK_ROUNDS && ack.now > until + MAX_LOOK;
        let wanted = LOOK_PACKETS * self.baseline.look_factor();
        let is_enough = seen.packets >= wanted || is_long;
        if self.look.rounds >= 2 && ack.now > until && is_enough {
            let is_sure = self.look.is_deep || self.look_queue() != LookQueue::Some;
            if is_sure || seen.share() < DEEP_LOSS {
                return self.end_look(ack.now, seen);
            }
            self.look_deeper(feedback);
        }
    }

    pub(super) fn begin_look(&mut self, feedback: &Feedback) {
        self.phase = Phase::Look;
        self.pacing_gain = LOOK_GAIN;
        self.window_gain = 1.0;
        self.cycle.is_probing = false;
        self.cycle.is_rotation_due = false;
        self.look = Look {
            window_before: self.window,
            ..Look::default()
        };
        self.start_round(feedback);
    }

    /// Goes on with the look at a rate at which jitter can be told from a queue.
    fn look_deeper(&mut self, feedback: &Feedback) {
        let window_before = self.look.window_before;
        self.begin_look(feedback);
        self.look.window_before = window_before;
        self.look.is_deep = true;
        self.pacing_gain = DEEP_GAIN;
    }

    /// What the look has seen of the queue.
    fn look_queue(&self) -> LookQueue {
        let look = &self.look;
        // A queue that others keep full looks empty until it shrinks because one of them asks less.
        let fallen = look.floor - self.delays.floor();
        let waited = look.max_queue.max(fallen);
        // Where packets may not overtake each other all wait for the slowest of many, like in a
        // queue that others keep full; of a few some wait for nobody.
        let is_jitter = look.is_deep && look.min_queue <= JITTER * look.max_queue;
        if waited <= self.still() {
            LookQueue::Still
        } else if waited <= self.epsilon() || is_jitter && fallen <= self.epsilon() {
            LookQueue::Empty
        } else {
            LookQueue::Some
        }
    }

    fn end_look(&mut self, now: Instant, seen: RoundLoss) {
        let spread = self.spread();
        let queue = self.look_queue();
        let is_random = self.baseline.on_look(now, seen, queue, spread);
        if is_random && queue == LookQueue::Still {
            // What the path loses by itself had been taken for a limit, and for others.
            self.long_cap = f64::INFINITY;
            self.cycle.has_excess = false;
            self.cycle.is_contended = false;
        }
        self.delays.restart(now);
        self.window = self.window.max(self.look.window_before);
        self.rate_cap = f64::INFINITY;
        self.flight_cap = f64::INFINITY;
        self.phase = Phase::Cruise;
        self.pacing_gain = 1.0;
        self.window_gain = WINDOW_GAIN;
        // The time of the cycle runs on: where looks come often, probes must come, too.
        self.cycle.rounds = 0;
    }
}

impl Cycle {
    fn on_failure(&mut self) {
        self.interval = (self.interval * 2.0).min(MAX_ROUNDS);
        self.successes = 0;
    }
}

/// Pacing in a look, and the part of a product in flight that it begins with.
const LOOK_GAIN: f64 = 0.5;
/// The same when it goes on: as it does where packets still wait and at least [`DEEP_LOSS`] of them
/// is lost.
const DEEP_GAIN: f64 = 0.125;
const DEEP_FLIGHT: f64 = 0.2;
const DEEP_LOSS: f64 = 0.04;
/// Delays of which the smallest is at most this part of the largest are no standing queue's.
const JITTER: f64 = 0.5;
/// Packets in flight that are few enough for any look.
const MIN_LOOK_FLIGHT: f64 = 4.0;
