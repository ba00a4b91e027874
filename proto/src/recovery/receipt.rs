//! Which packets of the peer have arrived (SPEC.md, `packet-numbers`).

use crate::time::{Duration, Instant};
use alloc::vec;
use alloc::vec::Vec;

/// Packets so far behind the largest count as seen: late beyond use, or replayed.
pub const WINDOW: u64 = 8_192;
const WORDS: usize = (WINDOW / 64) as usize;

/// Counts each packet once, and remembers when the largest came.
#[derive(Debug)]
pub struct Receipt {
    /// Bit `number % WINDOW` is set for the numbers seen in `(largest - WINDOW, largest]`.
    seen: Vec<u64>,
    largest: Option<u64>,
    largest_at: Instant,
    received: u64,
}

impl Default for Receipt {
    fn default() -> Self {
        Self {
            seen: vec![0; WORDS],
            largest: None,
            largest_at: Instant::ZERO,
            received: 0,
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
