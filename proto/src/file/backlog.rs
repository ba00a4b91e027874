//! What waits for the receiver's storage, and how much of it is of no use.
//!
//! A backlog keeps storage at work while the network pauses. The part of it that is there all the
//! time does not: it costs memory, and every byte has left the processor's caches when its turn
//! comes. So the window promises that much less, and soon more again where storage comes near to
//! running dry.

use crate::time::{Duration, Instant};

/// Bytes that may wait all the time: a few milliseconds of a fast disk, which is what a near sender
/// takes to hear of room.
const ENOUGH: u64 = 4 << 20;
/// Shortest time over which the backlog is looked at; twice the round trip where that is longer.
const MIN_PERIOD: Duration = Duration::from_millis(50);
/// Longest.
const MAX_PERIOD: Duration = Duration::from_secs(1);

/// The backlog of one session.
#[derive(Debug, Default)]
pub struct Backlog {
    /// When the present period began, and the least that waited in it.
    since: Option<Instant>,
    least: u64,
    surplus: u64,
}

impl Backlog {
    /// `waiting` bytes wait for storage, of `limit` that the session may hold. `round_trip` is the
    /// shortest that was seen, zero where none was.
    pub fn on_change(&mut self, now: Instant, waiting: u64, limit: u64, round_trip: Duration) {
        self.least = self.least.min(waiting);
        let since = *self.since.get_or_insert(now);
        let period = (round_trip * 2).clamp(MIN_PERIOD, MAX_PERIOD);
        if now.since(since) < period {
            return;
        }
        let enough = ENOUGH.min(limit / 2);
        self.surplus = if self.least < enough / 2 {
            self.surplus / 2
        } else {
            let surplus = self.surplus.saturating_add(self.least);
            surplus.saturating_sub(enough).min(limit - enough)
        };
        (self.since, self.least) = (Some(now), waiting);
    }

    /// Bytes by which the window is smaller than the room that there is.
    pub fn surplus(&self) -> u64 {
        self.surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMIT: u64 = 44 * MIB;

    /// Storage takes `drain` MiB a millisecond for `ms` from a sender that fills every window as
    /// soon as it hears of it, and is never slower than `network` MiB a millisecond. Answers the
    /// bytes that waited at the end, and the milliseconds in which storage had nothing to do.
    fn run(ms: u64, drain: u64, network: u64, round_trip_ms: u64) -> (u64, u64) {
        let mut backlog = Backlog::default();
        let (mut waiting, mut idle) = (0_u64, 0);
        let mut flight: alloc::collections::VecDeque<u64> = (0..round_trip_ms).map(|_| 0).collect();
        let round_trip = Duration::from_millis(round_trip_ms);
        for at in 0..ms {
            let now = Instant::ZERO + Duration::from_millis(at);
            waiting += flight.pop_front().unwrap_or_default();
            idle += u64::from(waiting < drain * MIB && at > 4 * round_trip_ms);
            waiting = waiting.saturating_sub(drain * MIB);
            backlog.on_change(now, waiting, LIMIT, round_trip);
            let window = (LIMIT - backlog.surplus()).saturating_sub(waiting);
            let in_flight: u64 = flight.iter().sum();
            flight.push_back(window.saturating_sub(in_flight).min(network * MIB));
        }
        (waiting, idle)
    }

    #[test]
    fn a_standing_backlog_shrinks_to_what_is_enough_and_storage_never_waits() {
        for round_trip_ms in [1, 2, 10, 20] {
            let (waiting, idle) = run(3_000, 1, 2, round_trip_ms);
            assert!(waiting <= 6 * MIB, "{round_trip_ms} ms: {waiting}");
            assert_eq!(idle, 0, "{round_trip_ms} ms");
        }
    }

    #[test]
    fn a_backlog_that_comes_and_goes_costs_little() {
        let mut backlog = Backlog::default();
        for at in 0..1_000 {
            let now = Instant::ZERO + Duration::from_millis(at * 10);
            // A disk that stalls for a tenth of a second, and is quick in between.
            let waiting = (at % 15).saturating_sub(5) * 3 * MIB;
            backlog.on_change(now, waiting, LIMIT, Duration::from_millis(20));
            assert!(backlog.surplus() <= 12 * MIB, "{}", backlog.surplus());
        }
        let storage_is_quick = run(1_000, 2, 1, 10);
        assert_eq!(storage_is_quick.0, 0);
    }

    #[test]
    fn a_small_limit_leaves_half_of_it() {
        let mut backlog = Backlog::default();
        for at in 0..100 {
            let now = Instant::ZERO + Duration::from_millis(at * 50);
            backlog.on_change(now, MIB, MIB, Duration::from_millis(1));
        }
        assert_eq!(backlog.surplus(), MIB / 2);
    }
}
