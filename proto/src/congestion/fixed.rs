//! A rate that the user gave, whatever the path says: for links that are the user's alone.

use super::pacing::Pacer;
use super::{Controller, Feedback, bytes_in};
use crate::time::{Duration, Instant};

/// Packets that may always be in flight.
const MIN_PACKETS: u64 = 32;

/// The controller. It does not react to loss at all.
#[derive(Debug)]
pub struct Fixed {
    rate: u64,
    packet: u64,
    rtt: Duration,
    report_interval: Duration,
}

impl Fixed {
    /// Always `rate` bytes a second, in packets of at most `packet` bytes.
    pub fn new(rate: u64, rtt: Duration, packet: usize) -> Self {
        Self {
            rate: rate.max(1),
            packet: packet as u64,
            rtt,
            report_interval: Duration::from_millis(25),
        }
    }
}

impl Controller for Fixed {
    fn on_report(&mut self, _now: Instant, feedback: &Feedback) {
        self.rtt = feedback.smoothed_rtt.max(feedback.min_rtt);
        self.report_interval = feedback.report_interval;
    }

    fn on_silence(&mut self, _now: Instant) {}

    /// Two round trips and what is sent between reports: enough that only silence stops the sender.
    fn window(&self) -> u64 {
        let time = self.rtt * 2 + self.report_interval * 4;
        (bytes_in(self.rate, time) + Pacer::quantum(self.rate, self.batch_time()))
            .max(MIN_PACKETS * self.packet)
    }

    fn rate(&self) -> u64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_the_rate() {
        let mut fixed = Fixed::new(1_000_000, Duration::from_millis(100), 1_472);
        fixed.on_silence(Instant::ZERO);
        assert_eq!(fixed.rate(), 1_000_000);
        assert!((200_000..400_000).contains(&fixed.window()));
        let slow = Fixed::new(1, Duration::from_millis(1), 1_472);
        assert_eq!(slow.window(), 32 * 1_472);
    }
}
