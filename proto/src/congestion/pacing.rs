//! Spreads packets in time, with credit for a wake-up that came late (SPEC.md, `pacing`).

use super::{bytes_in, rate_of};
use crate::time::{Duration, Instant};

/// How much lateness is made up for: a driver that wakes later sends slower than the rate for a
/// moment rather than in a burst.
pub const MAX_CATCH_UP: Duration = Duration::from_millis(2);
/// Bytes that may leave at once are what the rate makes in this time, within the bounds below,
/// unless the controller wants shorter batches.
pub const BATCH_TIME: Duration = Duration::from_millis(1);
const MIN_QUANTUM: u64 = 3_000;
const MAX_QUANTUM: u64 = 65_536;

/// The schedule: the time at which everything sent so far would be through at the rate.
#[derive(Clone, Debug, Default)]
pub struct Pacer {
    next: Instant,
}

impl Pacer {
    /// Bytes that may leave in one batch at `rate` bytes a second, in batches of this `time`.
    pub fn quantum(rate: u64, time: Duration) -> u64 {
        bytes_in(rate, time).clamp(MIN_QUANTUM, MAX_QUANTUM)
    }

    /// When the next batch may leave; a time that is not in the future means at once.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Something else than the rate holds packets back at `now`: that time is not made up for.
    pub fn on_blocked(&mut self, now: Instant) {
        self.next = self.next.max(now);
    }

    /// `bytes` left at `now`.
    pub fn on_sent(&mut self, now: Instant, bytes: u64, rate: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.next = self.next.max(now - MAX_CATCH_UP) + time;
    }

    /// The rate at which a flight of `bytes` is spread over `time`.
    pub fn spread(bytes: u64, time: Duration) -> u64 {
        rate_of(bytes, time.max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_spread_over_time() {
        let rate = 1_000_000;
        let mut pacer = Pacer::default();
        let now = Instant::from_millis(100);
        assert!(pacer.next() <= now, "the first batch leaves at once");
        // What was saved up before the first batch is bounded.
        let mut batches = 0;
        while pacer.next() <= now {
            pacer.on_sent(now, 1_000, rate);
            batches += 1;
        }
        assert_eq!(batches, 3, "2 ms of credit and the batch itself");
        let first = pacer.next();
        pacer.on_sent(first, 1_000, rate);
        assert_eq!(pacer.next().since(first), Duration::from_millis(1));
    }

    #[test]
    fn a_full_window_earns_no_credit() {
        let mut pacer = Pacer::default();
        let now = Instant::from_millis(100);
        pacer.on_blocked(now);
        pacer.on_sent(now, 1_000, 1_000_000);
        assert_eq!(pacer.next(), now + Duration::from_millis(1));
    }

    #[test]
    fn the_rate_holds_also_for_a_late_driver() {
        // SPEC: R-pacing-1, R-pacing-3
        let (rate, batch) = (10_000_000_u64, 10_000_u64);
        let mut pacer = Pacer::default();
        let mut now = Instant::from_millis(100);
        let start = now;
        let mut sent = 0;
        while now.since(start) < Duration::from_secs(1) {
            while pacer.next() <= now {
                pacer.on_sent(now, batch, rate);
                sent += batch;
            }
            // Wakes up to 0.7 ms later than asked.
            now = pacer.next() + Duration::from_micros(sent % 700);
        }
        let share = sent * 100 / rate;
        assert!((99..=101).contains(&share), "{share} % of the rate");
    }
}
