//! Which chunks are on their way, and which must be sent again (SPEC.md, `loss`).
//!
//! A chunk that the receiver lacks is lost when its newest packet was overtaken: repeating a report
//! therefore never repeats a repair, and no chunk needs a timer.

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

    fn newest_packet(&self, chunk: u64) -> Option<u64> {
        if let Some(number) = self.others.get(&chunk) {
            return Some(*number);
        }
        let at = self
            .runs
            .partition_point(|run| run.chunk + run.len <= chunk);
        let run = self.runs.get(at).filter(|run| run.chunk <= chunk)?;
        Some(run.number + (chunk - run.chunk))
    }

    /// The receiver lacks `missing`. Queues what is not on its way in a packet from `lost_below`
    /// on.
    pub fn on_missing(&mut self, missing: Range<u64>, lost_below: u64) {
        let mut found = RangeSet::new();
        for chunk in self.lost.gaps(missing).flatten() {
            if self
                .newest_packet(chunk)
                .is_none_or(|number| number < lost_below)
            {
                found.insert(chunk..chunk + 1);
            }
        }
        for range in found.iter() {
            self.lost.insert(range);
        }
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
}
