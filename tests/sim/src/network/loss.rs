//! How packets get lost at random: independently, or in bursts.

use crate::queue::{MILLISECOND, Nanos};
use xfer_proto::rng::Rng;

/// A burst is over when nothing was sent for so long: it is the path that is bad for a while, and
/// not so many packets however rarely they come.
const BURST_MEMORY: Nanos = 50 * MILLISECOND;

/// Loss in bursts after Gilbert and Elliott: two states with a loss rate each. All in parts per
/// million and for each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Chance to go from the good state to the bad one.
    pub to_bad_ppm: u32,
    /// Chance to go back.
    pub to_good_ppm: u32,
    /// Loss in the good state.
    pub good_loss_ppm: u32,
    /// Loss in the bad state.
    pub bad_loss_ppm: u32,
}

impl Burst {
    /// Bursts that lose all for `mean_length` packets on average and `loss_ppm` of all packets in
    /// the long run.
    pub fn with_loss(loss_ppm: u32, mean_length: u32) -> Self {
        let to_good_ppm = 1_000_000 / mean_length.max(1);
        let loss = u64::from(loss_ppm.min(990_000));
        let to_bad = loss * u64::from(to_good_ppm) / (1_000_000 - loss);
        Self {
            to_bad_ppm: to_bad.min(1_000_000) as u32,
            to_good_ppm,
            good_loss_ppm: 0,
            bad_loss_ppm: 1_000_000,
        }
    }
}

/// Decides packet by packet.
#[derive(Clone, Debug, Default)]
pub struct LossProcess {
    bad: bool,
    last_at: Nanos,
}

impl LossProcess {
    /// Whether the packet at `now` is lost.
    pub fn is_lost(
        &mut self,
        now: Nanos,
        random_ppm: u32,
        burst: Option<&Burst>,
        rng: &mut Rng,
    ) -> bool {
        self.bad &= now <= self.last_at + BURST_MEMORY;
        self.last_at = now;
        let in_burst = burst.is_some_and(|burst| {
            let turn = if self.bad {
                burst.to_good_ppm
            } else {
                burst.to_bad_ppm
            };
            self.bad ^= rng.chance(turn);
            rng.chance(if self.bad {
                burst.bad_loss_ppm
            } else {
                burst.good_loss_ppm
            })
        });
        in_burst || (random_ppm > 0 && rng.chance(random_ppm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_wanted_rate_and_length() {
        let burst = Burst::with_loss(50_000, 8);
        let (mut process, mut rng) = (LossProcess::default(), Rng::new(1));
        let lost: Vec<bool> = (0..400_000)
            .map(|_| process.is_lost(0, 0, Some(&burst), &mut rng))
            .collect();
        let total = lost.iter().filter(|&&lost| lost).count();
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        assert!((18_000..22_000).contains(&total), "{total} lost");
        let length = total as f64 / bursts as f64;
        assert!((7.0..9.0).contains(&length), "bursts of {length}");
    }
}
