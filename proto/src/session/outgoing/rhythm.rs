//! Whether the receiver reports as often as it is wished to (SPEC.md, `reports`).
//!
//! The wish for the rhythm of a whole session stands in one Ping, and where that is lost the rhythm
//! of the first flight, four times as close, would stay for ever.

use crate::time::{Duration, Instant};

/// Some reports are due at once: so many, and a quarter of the others, are not too many.
const FREE: u128 = 2;
/// Counted over so many intervals at the least.
const INTERVALS: u32 = 16;
/// A report is due after so many bytes, or else after so many intervals.
const BYTES: u64 = 20_000;
const LONG: u32 = 4;

/// What one report says of this.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    /// The receiver's clock when the newest packet came, in microseconds.
    pub largest_at_us: u64,
    /// Bytes of datagrams that came since the last report, about.
    pub bytes: u64,
    /// How often the sender wishes for a report.
    pub interval: Duration,
    pub rtt: Duration,
}

/// Reports since a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rhythm {
    since: Instant,
    reports: u32,
    bytes: u64,
    newest_at_us: u64,
}

impl Rhythm {
    /// A report came. Answers, once a round trip at most, whether to tell the receiver the wish
    /// again.
    pub fn on_report(&mut self, now: Instant, beat: Beat) -> bool {
        // The pages of a long list come at once.
        if beat.largest_at_us > self.newest_at_us {
            self.newest_at_us = beat.largest_at_us;
            self.reports = self.reports.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(beat.bytes);
        let time = now.since(self.since);
        if time < beat.rtt.max(beat.interval * INTERVALS) {
            return false;
        }
        let intervals = time.as_nanos() / beat.interval.as_nanos().max(1);
        let due = u128::from(self.bytes / BYTES).max(intervals / u128::from(LONG));
        let due = due.min(intervals);
        let is_too_often = u128::from(self.reports) > due + due / 4 + FREE;
        (self.since, self.reports, self.bytes) = (now, 0, 0);
        is_too_often
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How often a sender that wishes for 10 ms, 50 ms away, repeats that in a second, where
    /// `bytes` come from one report to the next.
    fn repeats(every: Duration, bytes: u64, pages: u32) -> u32 {
        let (mut rhythm, mut now, mut repeats) = (Rhythm::default(), Instant::ZERO, 0);
        while now < Instant::ZERO + MS * 1_000 {
            now = now + every;
            for _ in 0..pages {
                let beat = Beat {
                    largest_at_us: now.as_micros(),
                    bytes,
                    interval: MS * 10,
                    rtt: MS * 50,
                };
                repeats += u32::from(rhythm.on_report(now, beat));
            }
        }
        repeats
    }

    #[test]
    fn a_wish_is_repeated_while_it_is_not_heard() {
        // SPEC: R-reports-5
        assert!(
            (5..=7).contains(&repeats(MS * 2, 50_000, 1)),
            "every 160 ms"
        );
        assert_eq!(repeats(MS * 10, 50_000, 1), 0);
        assert_eq!(repeats(MS * 10, 50_000, 4), 0, "pages of one list");
        assert_eq!(repeats(MS * 40, 1_000, 1), 0);
        assert_eq!(
            repeats(MS * 10, 1_000, 1),
            6,
            "little comes: every 40 ms will do"
        );
    }
}
