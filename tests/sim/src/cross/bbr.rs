//! A model of BBR version 1 (draft-cardwell-iccrg-bbr-congestion-control-00), as Linux has it.

use super::{Feedback, Model};

const HIGH_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const ROUNDS: usize = 10;
const PROBE_RTT_EVERY: f64 = 10.0;
const PROBE_RTT_TIME: f64 = 0.2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Startup,
    Drain,
    ProbeBandwidth { step: usize, since: f64 },
    ProbeRtt { until: Option<f64> },
}

/// The controller. Windows are in packets, rates in packets a second.
#[derive(Debug)]
pub(super) struct Bbr {
    phase: Phase,
    window: f64,
    rates: [f64; ROUNDS],
    round: usize,
    full_rate: f64,
    full_rounds: u32,
    min_rtt: f64,
    min_rtt_at: f64,
    window_before: f64,
    heard: f64,
}

impl Default for Bbr {
    fn default() -> Self {
        Self {
            phase: Phase::Startup,
            window: 10.0,
            rates: [0.0; ROUNDS],
            round: 0,
            full_rate: 0.0,
            full_rounds: 0,
            min_rtt: f64::INFINITY,
            min_rtt_at: 0.0,
            window_before: 10.0,
            heard: 0.0,
        }
    }
}

impl Bbr {
    fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    fn bdp(&self) -> f64 {
        self.rate() * self.min_rtt
    }

    fn is_full(&self) -> bool {
        self.full_rounds >= 3
    }

    fn gains(&self) -> (f64, f64) {
        match self.phase {
            Phase::Startup => (HIGH_GAIN, HIGH_GAIN),
            Phase::Drain => (1.0 / HIGH_GAIN, HIGH_GAIN),
            Phase::ProbeBandwidth { step, .. } => (CYCLE[step], 2.0),
            Phase::ProbeRtt { .. } => (1.0, 1.0),
        }
    }

    fn on_round(&mut self) {
        self.round = (self.round + 1) % ROUNDS;
        self.rates[self.round] = 0.0;
    }

    fn check_full(&mut self) {
        if self.is_full() {
            return;
        }
        if self.rate() >= self.full_rate * 1.25 {
            self.full_rate = self.rate();
            self.full_rounds = 0;
        } else {
            self.full_rounds += 1;
        }
    }

    fn step(&mut self, feedback: &Feedback) {
        let now = feedback.now;
        match self.phase {
            Phase::Startup if self.is_full() => self.phase = Phase::Drain,
            Phase::Drain if feedback.inflight <= self.bdp() => {
                // The random start of the cycle in the draft only keeps flows apart; flows start
                // apart here.
                self.phase = Phase::ProbeBandwidth {
                    step: 2,
                    since: now,
                };
            }
            Phase::ProbeBandwidth { step, since } => {
                let is_time = now - since > self.min_rtt;
                let go = match step {
                    0 => {
                        let is_enough = feedback.inflight >= 1.25 * self.bdp();
                        is_time && (is_enough || feedback.lost > 0.0)
                    }
                    1 => is_time || feedback.inflight <= self.bdp(),
                    _ => is_time,
                };
                if go {
                    let step = (step + 1) % CYCLE.len();
                    self.phase = Phase::ProbeBandwidth { step, since: now };
                }
            }
            Phase::Startup | Phase::Drain | Phase::ProbeRtt { .. } => {}
        }
    }

    fn probe_rtt(&mut self, feedback: &Feedback) {
        let now = feedback.now;
        let is_old = now > self.min_rtt_at + PROBE_RTT_EVERY;
        if feedback.rtt <= self.min_rtt || is_old {
            self.min_rtt = feedback.rtt;
            self.min_rtt_at = now;
        }
        match self.phase {
            Phase::ProbeRtt { until: None } if feedback.inflight <= 4.0 => {
                let until = Some(now + PROBE_RTT_TIME.max(self.min_rtt));
                self.phase = Phase::ProbeRtt { until };
            }
            Phase::ProbeRtt { until: Some(until) } if now > until => {
                self.min_rtt_at = now;
                self.window = self.window.max(self.window_before);
                self.phase = if self.is_full() {
                    Phase::ProbeBandwidth {
                        step: 2,
                        since: now,
                    }
                } else {
                    Phase::Startup
                };
            }
            Phase::ProbeRtt { .. } => {}
            _ if is_old => {
                self.window_before = self.window;
                self.phase = Phase::ProbeRtt { until: None };
            }
            _ => {}
        }
    }
}

impl Model for Bbr {
    fn on_feedback(&mut self, feedback: &Feedback) {
        self.heard += feedback.acked;
        if feedback.is_round {
            self.on_round();
        }
        self.rates[self.round] = self.rates[self.round].max(feedback.rate);
        if feedback.is_round {
            self.check_full();
        }
        self.step(feedback);
        self.probe_rtt(feedback);
        let target = self.gains().1 * self.bdp() + 3.0;
        if self.is_full() {
            self.window = (self.window + feedback.acked).min(target);
        } else if self.window < target || self.heard < 20.0 {
            self.window += feedback.acked;
        }
        self.window = self.window.max(4.0);
        if matches!(self.phase, Phase::ProbeRtt { .. }) {
            self.window = 4.0;
        }
    }

    fn on_timeout(&mut self) {
        self.window_before = self.window;
        self.window = 4.0;
    }

    fn window(&self) -> f64 {
        self.window
    }

    fn pacing(&self) -> Option<f64> {
        let rate = if self.rate() > 0.0 {
            self.rate()
        } else {
            1_000.0
        };
        Some(self.gains().0 * rate)
    }
}
