//! The end of a session's data: the last repairs go out more than once (SPEC.md, `tail`).
//!
//! A repair that is lost costs a round trip in which there is nothing else to send. Where few are
//! missing a copy costs next to nothing.

use alloc::collections::VecDeque;
use core::ops::Range;

/// Where more chunks are missing there is enough to send without copies.
const MAX_MISSING: u64 = 128;
/// The chance that a repair is still missing after the copies, at most.
const MAX_RISK: f64 = 0.01;
const MAX_COPIES: u32 = 3;
/// Copies in all: so many, and one for so many packets. Where a third is lost they would cost
/// more than they save.
const FREE_COPIES: u64 = 16;
const PACKETS_PER_COPY: u64 = 50;

/// The last so many chunks are copied whatever was spent before: nothing else can end the session.
const FEW: u64 = 16;

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
}

impl Tail {
    /// A chunk was repaired, one of `missing`, on a path that loses this `share`, and nothing is
    /// left to be sent for the first time.
    pub fn on_repair(&mut self, chunk: u64, missing: u64, share: f64) {
        if missing > MAX_MISSING {
            return;
        }
        let mut risk = missing as f64 * share;
        let mut copies = 0;
        while risk > MAX_RISK && copies < MAX_COPIES {
            risk *= share;
            copies += 1;
        }
        if copies > 0 {
            self.copies.retain(|copy| copy.chunk != chunk);
            self.copies.push_back(Copy {
                chunk,
                left: copies,
                is_among_few: missing <= FEW,
            });
        }
    }

    /// The receiver has `range`, or does not want it.
    pub fn on_received(&mut self, range: &Range<u64>) {
        self.copies.retain(|copy| !range.contains(&copy.chunk));
    }

    /// The chunk to send again, in a session that has sent so many packets.
    pub fn next(&self, packets: u64) -> Option<u64> {
        let budget = FREE_COPIES + packets / PACKETS_PER_COPY;
        let copy = self.copies.front()?;
        (copy.is_among_few || self.spent < budget).then_some(copy.chunk)
    }

    /// Copies that went out so far.
    pub fn copies_sent(&self) -> u64 {
        self.spent
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
