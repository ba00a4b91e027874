//! Whether the path loses packets one by one or several in a row.
//!
//! Where losses come in bursts, how many of a flight are lost differs more from flight to flight
//! than chance alone explains. The factor is measured only while nothing queues: what a full queue
//! drops comes in bursts as well, and must not be taken for the path's manner.

/// Packets of one block, and blocks that are remembered.
const BLOCK: f64 = 64.0;
const MEMORY: f64 = 64.0;
/// Before anything is known the variance is that of chance, with the weight of so many losses.
const PRIOR: f64 = 8.0;
/// Less than this may be chance.
const MIN_FACTOR: f64 = 2.5;
/// The factor is never believed to be more.
const MAX_FACTOR: f64 = 16.0;

/// How clustered losses are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bursts {
    packets: f64,
    lost: f64,
    /// Over the blocks that are remembered, older ones counting less.
    all_packets: f64,
    all_lost: f64,
    squares: f64,
    expected: f64,
}

impl Bursts {
    /// A report: what came and what was lost since the one before, and whether packets queued.
    pub fn on_report(&mut self, received: f64, lost: f64, has_queue: bool) {
        if has_queue {
            (self.packets, self.lost) = (0.0, 0.0);
            return;
        }
        self.packets += received + lost;
        self.lost += lost;
        if self.packets < BLOCK {
            return;
        }
        let keep = 1.0 - 1.0 / MEMORY;
        self.all_packets = self.all_packets * keep + self.packets;
        self.all_lost = self.all_lost * keep + self.lost;
        let share = self.all_lost / self.all_packets;
        let off = self.lost - self.packets * share;
        self.squares = self.squares * keep + off * off;
        self.expected = self.expected * keep + self.packets * share * (1.0 - share);
        (self.packets, self.lost) = (0.0, 0.0);
    }

    /// The variance of the number of losses as a multiple of what it is where each packet is lost
    /// by itself.
    pub fn factor(&self) -> f64 {
        let factor = (self.squares + PRIOR) / (self.expected + PRIOR);
        if factor < MIN_FACTOR {
            1.0
        } else {
            factor.min(MAX_FACTOR)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Blocks of 16 packets a report; a burst begins with a chance in a million and takes so many.
    fn factor(ppm: u32, burst: u32, has_queue: bool) -> f64 {
        let mut rng = Rng::new(7);
        let mut bursts = Bursts::default();
        let mut left = 0;
        for _ in 0..2_000 {
            let mut lost = 0.0;
            for _ in 0..16 {
                if left == 0 && rng.chance(ppm) {
                    left = burst;
                }
                if left > 0 {
                    left -= 1;
                    lost += 1.0;
                }
            }
            bursts.on_report(16.0 - lost, lost, has_queue);
        }
        bursts.factor()
    }

    #[test]
    fn bursts_are_told_from_chance() {
        let single = factor(50_000, 1, false);
        assert_eq!(single, 1.0);
        let bursts = factor(6_000, 8, false);
        assert!((4.0..12.0).contains(&bursts), "{bursts}");
        assert_eq!(factor(6_000, 8, true), 1.0, "a queue may have dropped them");
    }
}
