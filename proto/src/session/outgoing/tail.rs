//! The end of a session's data: the last repairs go out more than once (SPEC.md, `tail`).
//!
//! A repair that is lost costs a round trip in which there is nothing else to send. Where few are
//! missing a copy costs next to nothing.

use alloc::collections::VecDeque;
use core::ops::Range;

/// Where more chunks are missing there is enough to send without copies.
const MAX_MISSING: u64 = 128;
/// The chance that a repair is still missing after the copies, at most: where many are missing,
/// and where few are, whose copies cost next to nothing.
const MAX_RISK: f64 = 0.1;
const MAX_RISK_OF_FEW: f64 = 0.01;
const MAX_COPIES: u32 = 3;
/// Copies in all: so many, and one for so many packets. Where a third is lost they would cost
/// more than they save.
const FREE_COPIES: u64 = 16;
const PACKETS_PER_COPY: u64 = 50;

/// The last so many chunks are copied whatever was spent before: nothing else can end the session.
const FEW: u64 = 16;

/// Chunks are copied before anything is heard of them where so many are likely to be lost, but
/// not more than so many twice.
const MIN_LOST: f64 = 0.3;
const MAX_LOST_TWICE: f64 = 0.25;

/// A chunk that goes out again.
#[derive(Clone, Copy, Debug)]
struct Copy {
    chunk: u64,
    left: u32,
    is_among_few: bool,
}

/// Copies that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// In turn.
    copies: VecDeque<Copy>,
    /// Copies that went out.
    spent: u64,
    /// Repairs of what the receiver recovers by itself, most likely.
    likely: u64,
    /// The last chunks below this one were copied, or it was not worth it.
    copied_end: u64,
}

impl Tail {
    /// A chunk was repaired, one of `missing`, on a path that loses this `share`, and nothing is
    /// left to be sent for the first time.
    pub fn on_repair(&mut self, chunk: u64, missing: u64, share: f64) {
        if missing > MAX_MISSING {
            return;
        }
        let is_among_few = missing <= FEW;
        let max_risk = if is_among_few {
            MAX_RISK_OF_FEW
        } else {
            MAX_RISK
        };
        let mut risk = missing as f64 * share;
        let mut copies = 0;
        while risk > max_risk && copies < MAX_COPIES {
            risk *= share;
            copies += 1;
        }
        if copies > 0 {
            self.copies.retain(|copy| copy.chunk != chunk);
            self.copies.push_back(Copy {
                chunk,
                left: copies,
                is_among_few,
            });
        }
    }

    /// Everything up to chunk `end` has been sent for the first time, and nothing is left to do
    /// until reports come of the last `flight` chunks. What left last is heard of last: a copy of
    /// the later half of it ends the session half a round trip sooner, where the path is likely to
    /// lose none of those chunks twice. Answers whether there are such copies.
    pub fn on_all_sent(&mut self, end: u64, flight: u64, packets: u64, share: f64) -> bool {
        if core::mem::replace(&mut self.copied_end, end) >= end {
            return false;
        }
        let budget = self.budget(packets).saturating_sub(self.spent) / 2;
        let safe = (MAX_LOST_TWICE / (share * share).max(f64::EPSILON)) as u64;
        let chunks = (flight / 2).min(budget).min(safe).min(end);
        // Few chunks end the session hardly sooner, or are likely to have arrived.
        if chunks < flight / 8 || chunks as f64 * share < MIN_LOST {
            return false;
        }
        let copies = (end - chunks..end).map(|chunk| Copy {
            chunk,
            left: 1,
            is_among_few: false,
        });
        self.copies.extend(copies);
        true
    }

    fn budget(&self, packets: u64) -> u64 {
        FREE_COPIES + packets / PACKETS_PER_COPY
    }

    /// The receiver has `range`, or does not want it.
    pub fn on_received(&mut self, range: &Range<u64>) {
        self.copies.retain(|copy| !range.contains(&copy.chunk));
    }

    /// The chunk to send again, in a session that has sent so many packets.
    pub fn next(&self, packets: u64) -> Option<u64> {
        let copy = self.copies.front()?;
        (copy.is_among_few || self.spent < self.budget(packets)).then_some(copy.chunk)
    }

    /// Copies that went out so far, and repairs that may turn out to be copies.
    pub fn copies_sent(&self) -> u64 {
        self.spent + self.likely
    }

    /// A chunk was repaired that the receiver may recover from parity.
    pub fn on_likely_copy(&mut self) {
        self.likely += 1;
    }

    /// The chunk that [`Self::next`] named went out, or cannot.
    pub fn on_sent(&mut self) {
        self.spent += 1;
        if let Some(copy) = self.copies.pop_front()
            && copy.left > 1
        {
            // The others first: a burst of loss takes neighbours.
            let left = copy.left - 1;
            self.copies.push_back(Copy { left, ..copy });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_later_half_of_the_last_flight_is_copied_where_that_helps() {
        let mut tail = Tail::default();
        assert!(
            !tail.on_all_sent(1_000, 400, 10_000, 0.0),
            "nothing is lost"
        );
        assert!(!tail.on_all_sent(1_000, 400, 10_000, 0.01), "once an end");
        let mut tail = Tail::default();
        assert!(!tail.on_all_sent(1_000, 400, 10_000, 0.1), "likely in vain");
        let mut tail = Tail::default();
        assert!(tail.on_all_sent(1_000, 200, 10_000, 0.01));
        assert_eq!(tail.next(10_000), Some(900));
        tail.on_received(&(900..998));
        tail.on_sent();
        assert_eq!(tail.next(10_000), Some(999));
        tail.on_sent();
        assert_eq!(tail.next(10_000), None, "one copy of each");
        // At most half of the copies that are left.
        let mut tail = Tail::default();
        assert!(tail.on_all_sent(1_000, 400, 10_000, 0.01));
        assert_eq!(tail.next(10_000), Some(1_000 - (16 + 200) / 2));
    }

    #[test]
    fn copies_follow_the_risk_and_go_round() {
        let mut tail = Tail::default();
        tail.on_repair(1, 129, 0.1);
        tail.on_repair(2, 128, 0.0);
        assert_eq!(tail.next(0), None, "too many, or nothing to fear");
        tail.on_repair(3, 2, 0.1);
        tail.on_repair(4, 1, 0.05);
        let mut sent = Vec::new();
        while let Some(chunk) = tail.next(0) {
            sent.push(chunk);
            tail.on_sent();
        }
        assert_eq!(sent, [3, 4, 3]);
        tail.spent = FREE_COPIES;
        tail.on_repair(5, FEW + 1, 0.05);
        assert_eq!(tail.next(0), None, "enough is enough");
        assert_eq!(tail.next(PACKETS_PER_COPY), Some(5));
        tail.on_received(&(0..6));
        tail.on_repair(6, FEW, 0.05);
        assert_eq!(tail.next(0), Some(6), "but the very last are always copied");
    }
}
