//! A model of CUBIC (RFC 9438) with the slow start of RFC 9406, as Linux has it.

use super::{Feedback, Model};

const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Enough for the root of any window: each step takes a third off, and the last few are quick.
const MAX_STEPS: u32 = 64;

/// The controller. Windows are in packets.
#[derive(Debug)]
pub(super) struct Cubic {
    window: f64,
    threshold: f64,
    max: f64,
    epoch: Option<f64>,
    k: f64,
    round_min_rtt: f64,
    srtt: f64,
}

impl Default for Cubic {
    fn default() -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            max: 0.0,
            epoch: None,
            k: 0.0,
            round_min_rtt: f64::INFINITY,
            srtt: 0.0,
        }
    }
}

impl Cubic {
    fn on_loss(&mut self) {
        self.max = if self.window < self.max {
            self.window * (1.0 + BETA) / 2.0
        } else {
            self.window
        };
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
    }

    fn slow_start(&mut self, feedback: &Feedback) {
        self.window += feedback.acked;
        self.round_min_rtt = self.round_min_rtt.min(feedback.rtt);
        if feedback.is_round {
            let grace = (feedback.min_rtt / 8.0).clamp(0.004, 0.016);
            if self.round_min_rtt > feedback.min_rtt + grace && self.window > 16.0 {
                self.threshold = self.window;
            }
            self.round_min_rtt = f64::INFINITY;
        }
    }

    fn avoid(&mut self, feedback: &Feedback) {
        let epoch = *self.epoch.get_or_insert_with(|| {
            if self.window < self.max {
                self.k = cube_root((self.max - self.window) / C);
            } else {
                self.k = 0.0;
                self.max = self.window;
            }
            feedback.now
        });
        let since = feedback.now - epoch;
        let at = since + self.srtt - self.k;
        let reno = self.threshold + 0.53 * since / self.srtt.max(1e-6);
        let target = (C * at * at * at + self.max)
            .max(reno)
            .min(1.5 * self.window);
        self.window += if target > self.window {
            feedback.acked * (target - self.window) / self.window
        } else {
            feedback.acked * 0.01 / self.window
        };
    }
}

/// The cube root of a number that is not negative, after Newton: the same bits on every machine.
fn cube_root(value: f64) -> f64 {
    let mut root = value.max(1.0);
    for _ in 0..MAX_STEPS {
        let next = (2.0 * root + value / (root * root)) / 3.0;
        if (next - root).abs() <= 1e-9 * root {
            return next;
        }
        root = next;
    }
    root
}

impl Model for Cubic {
    fn on_feedback(&mut self, feedback: &Feedback) {
        self.srtt = if self.srtt == 0.0 {
            feedback.rtt
        } else {
            0.875 * self.srtt + 0.125 * feedback.rtt
        };
        if feedback.is_new_loss {
            self.on_loss();
        } else if self.window < self.threshold {
            self.slow_start(feedback);
        } else if feedback.lost == 0.0 {
            self.avoid(feedback);
        }
    }

    fn on_timeout(&mut self) {
        self.threshold = (self.window / 2.0).max(2.0);
        self.max = self.window;
        self.window = 2.0;
        self.epoch = None;
    }

    fn window(&self) -> f64 {
        self.window
    }

    fn pacing(&self) -> Option<f64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::cube_root;

    #[test]
    fn roots_are_exact_enough() {
        for root in [0.01, 0.5, 1.0, 3.0, 77.7, 1e4] {
            let found = cube_root(root * root * root);
            assert!((found - root).abs() < 1e-6 * root, "{found} for {root}");
        }
        assert!(cube_root(0.0) < 1e-6);
    }
}
