//! What the probes of the handshake say about the path's rate (SPEC.md, `train`).
//!
//! They leave back to back, so that the narrowest link spreads them, and the receiver says of each
//! when it came. That is known a round trip before any report: the first flight need not be the
//! same on a slow path and on a fast one.

use crate::config::MIN_DATAGRAM;
use crate::time::Duration;
use alloc::vec::Vec;

/// Probes that are sent for this, behind those that look for the path's size. With the last of
/// those they make one more.
pub(super) const LEN: usize = 8;
/// Fewer say nothing: chance has too large a part in it.
const MIN_ARRIVALS: usize = 6;
/// What came within less may have waited together for a receiver that looked late.
const MIN_SPAN: Duration = Duration::from_micros(500);

/// When the smallest probes came, by the receiver's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Train {
    /// In microseconds, ascending.
    arrivals: Vec<u64>,
}

impl Train {
    /// A probe of [`MIN_DATAGRAM`] bytes came at `arrived_at_us`.
    pub fn on_arrival(&mut self, arrived_at_us: u64) {
        if self.arrivals.len() <= LEN {
            let at = self.arrivals.partition_point(|at| *at <= arrived_at_us);
            self.arrivals.insert(at, arrived_at_us);
        }
    }

    /// Bytes of UDP payload a second that the path carries, as far as that can be told: the lesser
    /// of what the two halves say, because a receiver that looked late, or a wireless link that
    /// gathers packets, makes one of them look short.
    pub fn rate(&self) -> Option<u64> {
        let last = self.arrivals.len().checked_sub(1)?;
        let middle = last / 2;
        let span = |from: usize, to: usize| {
            let (from, to) = (self.arrivals.get(from)?, self.arrivals.get(to)?);
            Some(Duration::from_micros(to - from))
        };
        if self.arrivals.len() < MIN_ARRIVALS || span(0, last)? < MIN_SPAN {
            return None;
        }
        let rate = |packets: usize, span: Duration| {
            crate::congestion::rate_of((packets * MIN_DATAGRAM) as u64, span)
        };
        let (first, second) = (span(0, middle)?, span(middle, last)?);
        Some(rate(middle, first).min(rate(last - middle, second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(arrivals: &[u64]) -> Option<u64> {
        let mut train = Train::default();
        for at in arrivals {
            train.on_arrival(*at);
        }
        train.rate()
    }

    #[test]
    fn evenly_spread_probes_give_the_rate() {
        // SPEC: R-train-2
        let arrivals: Vec<u64> = (0..9).map(|at| 7_000 + at * 100).collect();
        assert_eq!(rate(&arrivals), Some(12_000_000));
        let shuffled = [
            7_300, 7_000, 7_100, 7_800, 7_200, 7_700, 7_500, 7_400, 7_600,
        ];
        assert_eq!(rate(&shuffled), Some(12_000_000), "the network may reorder");
    }

    #[test]
    fn a_receiver_that_looked_late_makes_no_path_fast() {
        // SPEC: R-train-2
        let late = [
            6_000, 6_000, 6_000, 6_000, 6_000, 6_000, 6_000, 7_000, 8_000,
        ];
        assert_eq!(rate(&late), Some(2_400_000));
        assert_eq!(rate(&[9_000; 9]), None);
        assert_eq!(rate(&[0, 10, 20, 30, 40, 50, 60, 70, 80]), None);
    }

    #[test]
    fn few_say_nothing_and_more_than_were_sent_are_not_kept() {
        // SPEC: R-train-2
        assert_eq!(rate(&[0, 1_000, 2_000, 3_000, 4_000]), None);
        assert_eq!(rate(&[]), None);
        let many: Vec<u64> = (0..1_000).map(|at| at * 1_000).collect();
        assert_eq!(rate(&many), Some(1_200_000));
        let extremes = [0, 0, 0, 0, u64::MAX, u64::MAX, u64::MAX];
        assert_eq!(rate(&extremes), Some(0));
    }
}
