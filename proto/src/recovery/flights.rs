//! Which chunks are on their way, and which must be sent again (SPEC.md, `loss`).
//!
//! A chunk that the receiver lacks is lost when its newest packet was overtaken: repeating a report
//! therefore never repeats a repair, and no chunk needs a timer.

use crate::config::MAX_RANGES;
use crate::range_set::RangeSet;
use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;

/// Chunks sent for the first time, one after another, in packets one after another.
#[derive(Clone, Copy, Debug)]
struct Run {
    chunk: u64,
    number: u64,
    len: u64,
}

/// The newest packet of every chunk that may be on its way, and the queue of repairs.
#[derive(Debug, Default)]
pub struct Flights {
    /// Ascending in chunk and in number.
    runs: VecDeque<Run>,
    /// Chunks out of that order, mostly repairs: chunk to number, and the same in order of number.
    others: BTreeMap<u64, u64>,
    others_by_number: VecDeque<(u64, u64)>,
    /// Chunks to be sent again, lowest first.
    lost: RangeSet,
}

impl Flights {
    /// Chunk `chunk` left in packet `number`.
    pub fn on_sent(&mut self, chunk: u64, number: u64) {
        self.lost.remove(chunk..chunk + 1);
        match self.runs.back_mut() {
            Some(run) if run.chunk + run.len == chunk && run.number + run.len == number => {
                run.len += 1;
                return;
            }
            Some(run) if run.chunk + run.len > chunk => {
                self.others.insert(chunk, number);
                self.others_by_number.push_back((number, chunk));
                return;
            }
            _ => {}
        }
        self.runs.push_back(Run {
            chunk,
            number,
            len: 1,
        });
    }

    /// The receiver lacks `missing`. Queues what is not on its way in a packet from `lost_below`
    /// on. Answers how many steps that took: at most one for each run and each packet in flight,
    /// whatever the length of the range.
    pub fn on_missing(&mut self, missing: Range<u64>, lost_below: u64) -> usize {
        // An honest receiver has no more holes than this.
        if missing.is_empty() || self.lost.range_count() >= MAX_RANGES {
            return 1;
        }
        let Self {
            runs, others, lost, ..
        } = self;
        let mut at = missing.start;
        let mut steps = 1_usize;
        let first = runs.partition_point(|run| run.chunk + run.len <= missing.start);
        for run in runs.range(first..) {
            if run.chunk >= missing.end {
                break;
            }
            steps += 1;
            // The run is in flight from its first packet that was not overtaken.
            let overtaken = lost_below.saturating_sub(run.number).min(run.len);
            let end = (run.chunk + run.len).min(missing.end);
            let start = (run.chunk + overtaken).clamp(at, end.max(at));
            lost.insert(at..start);
            at = end.max(at);
        }
        lost.insert(at..missing.end);
        for (&chunk, &number) in others.range(missing) {
            steps += 1;
            if number < lost_below {
                lost.insert(chunk..chunk + 1);
            } else {
                lost.remove(chunk..chunk + 1);
            }
        }
        steps
    }

    /// The receiver has `range`, or does not want it.
    pub fn on_received(&mut self, range: Range<u64>) {
        self.lost.remove(range);
    }

    /// Forgets packets below `lost_below`: what they carried has arrived or is lost.
    pub fn forget_below(&mut self, lost_below: u64) {
        while let Some(run) = self
            .runs
            .front()
            .filter(|run| run.number + run.len <= lost_below)
        {
            let _ = run;
            self.runs.pop_front();
        }
        while let Some(&(number, chunk)) = self
            .others_by_number
            .front()
            .filter(|other| other.0 < lost_below)
        {
            self.others_by_number.pop_front();
            if self.others.get(&chunk) == Some(&number) {
                self.others.remove(&chunk);
            }
        }
    }

    /// The first lost chunk from `from` on.
    pub fn next_lost(&self, from: u64) -> Option<u64> {
        self.lost.first_from(from)
    }

    /// How many chunks wait for a repair.
    pub fn lost_count(&self) -> u64 {
        self.lost.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_report_that_comes_again_repairs_nothing_twice() {
        // SPEC: R-loss-2, R-loss-3
        let mut flights = Flights::default();
        (0..10).for_each(|at| flights.on_sent(at, at));
        flights.on_missing(3..5, 8);
        flights.on_missing(3..5, 8);
        assert_eq!((flights.lost_count(), flights.next_lost(0)), (2, Some(3)));
        flights.on_sent(3, 10);
        flights.on_sent(4, 11);
        flights.forget_below(8);
        flights.on_missing(3..5, 10);
        assert_eq!(flights.lost_count(), 0, "the repairs are on their way");
        flights.on_missing(3..5, 11);
        assert_eq!(flights.next_lost(0), Some(3), "one was overtaken");
        assert_eq!(flights.lost_count(), 1);
    }

    #[test]
    fn chunks_on_their_way_are_not_lost() {
        // SPEC: R-loss-3
        let mut flights = Flights::default();
        (0..10).for_each(|at| flights.on_sent(at, at));
        flights.on_missing(0..10, 4);
        assert_eq!(flights.lost_count(), 4);
        flights.on_received(0..2);
        assert_eq!(flights.next_lost(0), Some(2));
        assert_eq!(flights.next_lost(4), None);
    }

    #[test]
    fn a_report_costs_no_more_than_what_is_in_flight() {
        let mut flights = Flights::default();
        let many = 1_000_000_000_000;
        // One run in flight, far into the file, and a few repairs.
        (many..many + 100).for_each(|at| flights.on_sent(at, at));
        for chunk in [7, 9, 500] {
            flights.on_sent(chunk, many + 100 + chunk);
        }
        for _ in 0..3 {
            let steps = flights.on_missing(0..2 * many, many + 10);
            assert!(steps <= 1 + 1 + 3, "{steps}");
        }
        assert_eq!(flights.lost_count(), 2 * many - 90 - 3);
        assert_eq!(flights.next_lost(7), Some(8));
        assert_eq!(flights.next_lost(many + 10), Some(many + 100));
    }

    #[test]
    fn the_queue_of_repairs_has_no_more_holes_than_a_receiver() {
        let mut flights = Flights::default();
        (0..10 * MAX_RANGES as u64).for_each(|at| {
            flights.on_missing(2 * at..2 * at + 1, 1);
        });
        assert_eq!(flights.lost_count(), MAX_RANGES as u64);
    }

    proptest! {
        #[test]
        fn agrees_with_a_table_of_the_newest_packets(
            steps in prop::collection::vec((0_u32..4, 0_u64..30, 0_u64..30), 1..80),
        ) {
            let (mut flights, mut number, mut fresh) = (Flights::default(), 0_u64, 0_u64);
            let mut lost_below = 0;
            let mut newest = BTreeMap::new();
            let mut lost = alloc::collections::BTreeSet::new();
            for (what, a, b) in steps {
                match what {
                    0 => for _ in 0..a {
                        flights.on_sent(fresh, number);
                        newest.insert(fresh, number);
                        (fresh, number) = (fresh + 1 + b / 29, number + 1);
                    },
                    1 if a < fresh => {
                        flights.on_sent(a, number);
                        newest.insert(a, number);
                        lost.remove(&a);
                        number += 1;
                    }
                    2 => {
                        lost_below = number.min(lost_below + a / 3);
                        flights.forget_below(lost_below);
                    }
                    _ => {
                        let end = fresh.min(a + b);
                        flights.on_missing(a..end.max(a), lost_below);
                        let is_lost = |chunk: &u64| {
                            newest.get(chunk).is_none_or(|newest| *newest < lost_below)
                        };
                        lost.extend((a..end).filter(is_lost));
                    }
                }
                let queued: Vec<u64> = flights.lost.iter().flatten().collect();
                let expected: Vec<u64> = lost.iter().copied().collect();
                prop_assert_eq!(queued, expected);
            }
        }
    }
}
