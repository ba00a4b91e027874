//! Which packets of the peer have arrived (SPEC.md, `packet-numbers`).

use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

/// Packets so far behind the largest count as seen: late beyond use, or replayed.
pub const WINDOW: u64 = 8_192;
const WORDS: usize = (WINDOW / 64) as usize;

/// How finely it is remembered when numbers were passed.
const MARK_STEP: Duration = Duration::from_micros(500);
const MAX_MARKS: usize = 128;
/// A packet that comes later than this counts as this late.
const MAX_LATENESS: Duration = Duration::from_millis(60);
/// What packets were late by is forgotten after one to two of these.
const MEMORY: Duration = Duration::from_secs(2);

/// Counts each packet once, and remembers when the largest came.
#[derive(Debug)]
pub struct Receipt {
    /// Bit `number % WINDOW` is set for the numbers seen in `(largest - WINDOW, largest]`.
    seen: Vec<u64>,
    largest: Option<u64>,
    largest_at: Instant,
    received: u64,
    /// When the largest number became what, newest last.
    marks: VecDeque<(Instant, u64)>,
    lateness: Lateness,
}

/// By how much packets have lately come behind those that overtook them.
#[derive(Debug, Default)]
struct Lateness {
    previous: Duration,
    current: Duration,
    rotated_at: Instant,
}

impl Lateness {
    fn on_late(&mut self, now: Instant, lateness: Duration) {
        if now.since(self.rotated_at) >= MEMORY {
            self.previous = self.max(now);
            self.current = Duration::ZERO;
            self.rotated_at = now;
        }
        self.current = self.current.max(lateness);
    }

    fn max(&self, now: Instant) -> Duration {
        match now.since(self.rotated_at) {
            age if age < MEMORY => self.previous.max(self.current),
            age if age < MEMORY * 2 => self.current,
            _ => Duration::ZERO,
        }
    }
}

impl Default for Receipt {
    fn default() -> Self {
        Self {
            seen: vec![0; WORDS],
            largest: None,
            largest_at: Instant::ZERO,
            received: 0,
            marks: VecDeque::new(),
            lateness: Lateness::default(),
        }
    }
}

impl Receipt {
    /// Packet `number` came at `now`; answers whether it is the first of that number.
    pub fn on_packet(&mut self, now: Instant, number: u64) -> bool {
        match self.largest {
            Some(largest) if number <= largest => {
                if largest - number >= WINDOW || self.is_seen(number) {
                    return false;
                }
                self.on_late(now, number);
            }
            Some(largest) => {
                let passed = number - largest;
                if passed >= WINDOW {
                    self.seen.fill(0);
                } else {
                    (largest + 1..number).for_each(|skipped| self.mark(skipped, false));
                }
                self.set_largest(now, number);
            }
            None => self.set_largest(now, number),
        }
        self.mark(number, true);
        self.received += 1;
        true
    }

    fn set_largest(&mut self, now: Instant, number: u64) {
        self.largest = Some(number);
        self.largest_at = now;
        match self.marks.back_mut() {
            Some(mark) if now.since(mark.0) < MARK_STEP => mark.1 = number,
            _ => self.marks.push_back((now, number)),
        }
        if self.marks.len() > MAX_MARKS {
            self.marks.pop_front();
        }
    }

    fn on_late(&mut self, now: Instant, number: u64) {
        let passed = self.marks.partition_point(|mark| mark.1 < number);
        let lateness = match self.marks.get(passed) {
            // What was passed before the first mark was passed long ago.
            Some(mark) if passed > 0 => now.since(mark.0),
            _ => MAX_LATENESS,
        };
        self.lateness.on_late(now, lateness.min(MAX_LATENESS));
    }

    /// Numbers that have not come, but still may: they were overtaken no longer ago than packets
    /// have lately been late by (SPEC.md, `late-packets`).
    pub fn overtaken(&self, now: Instant) -> u64 {
        let Some(largest) = self.largest else {
            return 0;
        };
        let lateness = self.lateness.max(now);
        if lateness.is_zero() {
            return 0;
        }
        let sure = |mark: &&(Instant, u64)| now.since(mark.0) > lateness;
        let settled = self.marks.iter().rev().find(sure);
        let settled = settled.map_or(largest.saturating_sub(WINDOW - 1), |mark| mark.1);
        let from = settled.max(largest.saturating_sub(WINDOW - 1));
        (from..largest)
            .filter(|&number| !self.is_seen(number))
            .count() as u64
    }

    fn is_seen(&self, number: u64) -> bool {
        let word = self
            .seen
            .get((number % WINDOW / 64) as usize)
            .copied()
            .unwrap_or(0);
        word >> (number % 64) & 1 == 1
    }

    fn mark(&mut self, number: u64, seen: bool) {
        if let Some(word) = self.seen.get_mut((number % WINDOW / 64) as usize) {
            *word = *word & !(1 << (number % 64)) | u64::from(seen) << (number % 64);
        }
    }

    /// Largest packet number so far.
    pub fn largest(&self) -> Option<u64> {
        self.largest
    }

    /// When the largest came.
    pub fn largest_at(&self) -> Instant {
        self.largest_at
    }

    /// Time since the largest came, in microseconds.
    pub fn delay_us(&self, now: Instant) -> u32 {
        let delay: Duration = now.since(self.largest_at);
        u32::try_from(delay.as_micros()).unwrap_or(u32::MAX)
    }

    /// Packets received, each number once.
    pub fn received(&self) -> u64 {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    /// Even numbers come on time, one each millisecond; odd ones `late` later.
    fn reordered(count: u64, late: u64) -> Receipt {
        let mut receipt = Receipt::default();
        for at in 0..count {
            receipt.on_packet(Instant::from_millis(at), at * 2);
            if at >= late {
                receipt.on_packet(Instant::from_millis(at), (at - late) * 2 + 1);
            }
        }
        receipt
    }

    #[test]
    fn what_may_still_come_is_told() {
        // SPEC: R-late-packets-2
        let receipt = reordered(100, 10);
        // 1 to 179 have come, and nine odd numbers up to 197 were passed less than 10 ms ago.
        let overtaken = receipt.overtaken(Instant::from_millis(99));
        assert_eq!((receipt.received(), overtaken), (190, 9));
        let later = receipt.overtaken(Instant::from_millis(120));
        assert_eq!(later, 0, "they are not late, but lost");
    }

    #[test]
    fn without_reordering_every_gap_is_a_loss() {
        // SPEC: R-late-packets-1
        let mut receipt = Receipt::default();
        for at in 0..100 {
            receipt.on_packet(Instant::from_millis(at), at * 2);
        }
        assert_eq!(receipt.overtaken(Instant::from_millis(99)), 0);
        // One that is very late counts as 60 ms late, and is forgotten after four seconds.
        receipt.on_packet(Instant::from_millis(100), 1);
        let overtaken = receipt.overtaken(Instant::from_millis(100));
        assert!((58..=61).contains(&overtaken), "{overtaken}");
        for at in 100..4_200 {
            receipt.on_packet(Instant::from_millis(at), at * 2);
        }
        assert_eq!(receipt.overtaken(Instant::from_millis(4_200)), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((0_u64..3, 0_u64..9_000), 1..200)) {
            // SPEC: R-packet-numbers-3, R-packet-numbers-4, R-packet-numbers-5
            let mut receipt = Receipt::default();
            let mut model = BTreeSet::new();
            for (back, step) in steps {
                let largest: u64 = model.last().copied().unwrap_or(0);
                let number = if back == 0 { largest.saturating_sub(step) } else { largest + step };
                let is_old = number + WINDOW <= largest;
                let first = !is_old && model.insert(number);
                prop_assert_eq!(receipt.on_packet(Instant::ZERO, number), first, "{}", number);
                prop_assert_eq!(receipt.received(), model.len() as u64);
                prop_assert_eq!(receipt.largest(), model.last().copied());
            }
        }
    }
}
