//! How much may be in flight.

use super::{Ack, MIN_WINDOW, Phase, Xcc};

impl Xcc {
    pub(super) fn update_window(&mut self, ack: &Ack) {
        let packet = self.packet;
        let entered = ack.arrived * packet / (1.0 - self.baseline.share());
        let rate = self.likely_rate();
        let round = self.round.number;
        self.aggregation
            .on_report(ack.now, round, entered, rate, self.window);
        let mut target = self.product() * self.window_gain;
        if self.window_gain >= 1.0 {
            target += self.report_bytes() + self.aggregation.excess();
        }
        let floor = (self.quantum() + self.report_bytes()).max(MIN_WINDOW * packet);
        target = target.max(floor);
        if !self.is_starting() {
            self.window = (self.window + entered + packet).min(target);
        } else if self.window < target {
            // What one round trip has shown to come through may be sent in the next at once.
            self.window = (self.window + entered).max(self.product());
        } else if rate > 0.0 {
            // The path is slower than the first flight took it for.
            self.window = target.max(self.start_up.min_window() * packet);
        }
        // Below what comes between two reports there would be nothing in flight when one comes.
        self.window = self.window.min(self.window_cap().max(floor));
    }

    fn window_cap(&self) -> f64 {
        let is_contended = self.cycle.is_contended;
        let long = match self.phase {
            Phase::Down | Phase::Refill | Phase::Up if is_contended => self.long_cap,
            Phase::Cruise | Phase::Look if is_contended => 0.85 * self.long_cap,
            // Alone, the cap of an earlier probe does not keep this one from asking.
            Phase::Up => {
                let asked = self.cycle.gain * self.product() + 2.0 * self.packet;
                self.long_cap.max(asked)
            }
            _ => f64::INFINITY,
        };
        match self.phase {
            Phase::Drain(_) | Phase::Down | Phase::Cruise | Phase::Look => {
                long.min(self.flight_cap)
            }
            _ => long,
        }
    }
}
