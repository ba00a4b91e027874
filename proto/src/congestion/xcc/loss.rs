//! Which loss is the path's own: a baseline that is learned only where the path is provably not
//! full.

use super::bursts::Bursts;
use super::filter::{deviation, sqrt};
use crate::time::{Duration, Instant};

/// The baseline is never believed to be more.
const MAX_BASE: f64 = 0.35;
/// The same on a path that others may share: what several senders drop in a short queue hardly
/// shrinks when one of them slows down, so that each would learn it from the others.
const MAX_SHARED_BASE: f64 = 0.15;
/// A round of start-up that lost more teaches nothing.
const MAX_START_UP: f64 = 0.4;
/// What start-up has learned counts without proof for so long: most transfers are over by then.
const PROOF_AFTER: Duration = Duration::from_secs(8);
/// Loss beyond the baseline by so much counts as congestion, chance apart.
const MARGIN: f64 = 0.02;
/// Time between two looks at unexplained loss; doubles each time that it turns out to be
/// congestion.
const MIN_INTERVAL: Duration = Duration::from_secs(2);
const MAX_INTERVAL: Duration = Duration::from_secs(40);

/// Loss of one round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundLoss {
    pub packets: f64,
    pub lost: f64,
}

impl RoundLoss {
    pub fn share(&self) -> f64 {
        if self.packets > 0.0 {
            self.lost / self.packets
        } else {
            0.0
        }
    }
}

/// What a look saw of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookQueue {
    /// Nothing waited at all: there is nobody else either, whose packets would wait.
    Still,
    /// Nothing that counts.
    Empty,
    Some,
}

/// The baseline and what is needed to learn it.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    share: f64,
    is_learned: bool,
    /// Smoothed loss while the sender cruises.
    cruise: f64,
    next_look: Instant,
    interval: Duration,
    /// What start-up has learned, of loss and of delays, is looked at then: a queue that others
    /// keep full drops packets, and adds no delay that could be seen.
    unproven: Option<Instant>,
    bursts: Bursts,
    /// Probes make a queue, or nothing queues at all: nobody else fills the path.
    is_own: bool,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            share: 0.0,
            is_learned: false,
            cruise: 0.0,
            next_look: Instant::ZERO,
            unproven: None,
            interval: MIN_INTERVAL,
            bursts: Bursts::default(),
            is_own: false,
        }
    }
}

impl Baseline {
    /// Loss that is taken for random.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Whether start-up had a round to learn from.
    pub fn is_learned(&self) -> bool {
        self.is_learned
    }

    /// By how much the variance of losses is more than chance makes it. What a short queue drops
    /// comes in bursts too, so that the factor counts only on a path of one's own.
    fn factor(&self) -> f64 {
        if self.is_own {
            self.bursts.factor()
        } else {
            1.0
        }
    }

    /// Whether the last probe made a queue, or nothing queued at all.
    pub fn set_own(&mut self, has_made_queue: bool, is_still: bool) {
        self.is_own = has_made_queue || is_still;
        if has_made_queue {
            // Nobody keeps that queue full.
            self.unproven = None;
        }
    }

    /// How far chance moves the number lost of `packets`.
    fn deviation(&self, packets: f64) -> f64 {
        deviation(packets, self.share) * sqrt(self.factor())
    }

    /// A report: what came and what was lost since the one before, and whether packets queued.
    pub fn on_report(&mut self, received: f64, lost: f64, has_queue: bool) {
        self.bursts.on_report(received, lost, has_queue);
    }

    /// Packets that a look takes to tell: the more, the more they get lost together.
    pub fn look_factor(&self) -> f64 {
        sqrt(self.factor())
    }

    /// Packets that entered the path where `arrived` of `packets` came out of it, as far as random
    /// loss explains the difference: all that it can where `is_generous`, else what is likely.
    pub fn entered(&self, packets: f64, arrived: f64, is_generous: bool) -> f64 {
        let chance = if is_generous {
            2.0 * deviation(packets, self.share)
        } else {
            0.0
        };
        let explained = arrived + chance;
        packets.min(explained / (1.0 - self.share))
    }

    /// Whether a round lost more than chance and the baseline explain.
    pub fn is_excess(&self, round: RoundLoss) -> bool {
        let noise = 3.0 * self.deviation(round.packets);
        round.lost > 2.0 + round.packets * (self.share + MARGIN) + noise
    }

    /// The same for the flight that a probe sent.
    pub fn is_too_high(&self, lost: f64, flight: f64) -> bool {
        lost > 1.0 + flight * (self.share + MARGIN) + 3.0 * self.deviation(flight)
    }

    /// A round of start-up in which the rate grew and nothing queued. The lowest such round counts:
    /// a mean would teach a newcomer on a full path that its congestion is noise. `is_still` says
    /// that nothing at all queued.
    pub fn on_start_up(&mut self, round: RoundLoss, is_still: bool) {
        let share = round.share();
        // So much is no random loss: a token that was lost with the packets behind it, a black-out.
        if share > MAX_START_UP {
            return;
        }
        // What it may have been: no loss among few packets is no proof of none.
        let share = (round.lost + 1.0 + sqrt(round.lost + 0.25)) / round.packets.max(1.0);
        let cap = if is_still { MAX_BASE } else { MAX_SHARED_BASE };
        self.share = if self.is_learned {
            self.share.min(share)
        } else {
            share.min(cap)
        };
        self.is_learned = true;
    }

    pub fn on_start_up_over(&mut self, now: Instant) {
        self.cruise = self.share;
        self.next_look = now;
        self.unproven = Some(now + PROOF_AFTER);
    }

    /// A round outside of start-up and of a look at loss.
    pub fn on_round(&mut self, round: RoundLoss, is_cruising: bool) {
        // Loss that is lower than the baseline for long shows that the baseline is too high.
        let noise = sqrt(self.share * self.factor() / 1_000.0);
        self.share = self.share.min(self.cruise + 0.005 + noise);
        if is_cruising && round.packets > 0.0 {
            let weight = (round.packets / 1_000.0).min(0.5);
            self.cruise += weight * (round.share() - self.cruise);
        }
    }

    /// Whether loss while cruising is more than the baseline explains, so that it is worth a look.
    pub fn wants_look(&self, now: Instant) -> bool {
        let noise = 2.0 * sqrt(self.share.max(0.001) * self.factor() / 1_000.0);
        let is_unproven = self.unproven.is_some_and(|at| now >= at);
        is_unproven || now > self.next_look && self.cruise >= self.share + 0.015 + noise
    }

    /// The sender went at half its rate: it lost `round`, and the queue was empty or not. Loss
    /// that stayed the same although nothing queued is the path's own. Answers whether it is.
    pub fn on_look(
        &mut self,
        now: Instant,
        round: RoundLoss,
        queue: LookQueue,
        jitter: f64,
    ) -> bool {
        let is_queue_empty = queue != LookQueue::Some;
        let is_unproven = self.unproven.take().is_some();
        let share = round.share();
        let spread = self.factor();
        let error = sqrt(share.max(0.001) * spread / round.packets.max(1.0));
        let is_random = is_queue_empty && share + error >= 0.7 * self.cruise;
        let cap = if self.is_own || queue == LookQueue::Still {
            MAX_BASE
        } else {
            MAX_SHARED_BASE
        };
        if is_unproven && !is_queue_empty {
            // Some of it may be the path's own: as much as never counts as excess.
            self.share = self.share.min(MARGIN);
        } else if share < self.share || is_random {
            let weight = (round.packets / 300.0).clamp(0.5, 1.0) / spread.min(2.0);
            let moved = self.share + weight * (share - self.share);
            self.share = moved.min(cap.max(self.share));
        }
        if is_random {
            self.interval = MIN_INTERVAL;
            self.cruise = self.share;
        } else {
            self.interval = (self.interval * 2).min(MAX_INTERVAL);
            self.cruise = self.cruise.min(self.share + 0.005);
        }
        self.next_look = now + self.interval.mul_f64(jitter);
        is_random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(packets: f64, lost: f64) -> RoundLoss {
        RoundLoss { packets, lost }
    }

    #[test]
    fn start_up_learns_the_lowest_round() {
        let mut base = Baseline::default();
        base.on_start_up(round(1_000.0, 80.0), false);
        let first = base.share();
        assert!((0.08..0.1).contains(&first));
        base.on_start_up(round(1_000.0, 40.0), false);
        assert!((0.04..0.05).contains(&base.share()));
        base.on_start_up(round(20.0, 0.0), false);
        assert!(base.share() > 0.04, "none of a few is no proof of none");
        base.on_start_up(round(1_000.0, 120.0), false);
        assert!(base.share() < 0.05, "it never rises in start-up");
    }

    #[test]
    fn a_round_of_start_up_with_a_queue_takes_nothing_back() {
        let mut base = Baseline::default();
        base.on_start_up(round(1_000.0, 250.0), true);
        assert!((0.25..0.3).contains(&base.share()));
        base.on_start_up(round(1_000.0, 270.0), false);
        assert!(base.share() > 0.25, "it lost no less");
        let mut base = Baseline::default();
        base.on_start_up(round(1_000.0, 250.0), false);
        assert_eq!(base.share(), MAX_SHARED_BASE);
    }

    #[test]
    fn a_look_at_a_still_path_may_learn_more_than_one_at_a_shared_path() {
        for (queue, limit) in [
            (LookQueue::Empty, MAX_SHARED_BASE),
            (LookQueue::Still, 0.31),
        ] {
            let mut base = Baseline::default();
            (0..20).for_each(|_| base.on_round(round(500.0, 150.0), true));
            base.on_look(Instant::from_millis(1_000), round(400.0, 120.0), queue, 1.0);
            assert!(base.share() <= limit && base.share() > limit - 0.02);
        }
    }

    #[test]
    fn what_start_up_has_learned_is_looked_at_once() {
        let end = Instant::from_millis(1_000);
        for (queue, share) in [(LookQueue::Some, MARGIN), (LookQueue::Empty, 0.1)] {
            let mut base = Baseline::default();
            base.on_start_up(round(1_000.0, 90.0), true);
            base.on_start_up_over(end);
            assert!(!base.wants_look(end + PROOF_AFTER / 2));
            let due = end + PROOF_AFTER;
            assert!(base.wants_look(due));
            base.on_look(due, round(400.0, 40.0), queue, 1.0);
            assert!((base.share() - share).abs() < 0.01, "{queue:?}");
            assert!(!base.wants_look(due + PROOF_AFTER));
        }
        let mut base = Baseline::default();
        base.on_start_up_over(end);
        base.set_own(true, false);
        assert!(!base.wants_look(end + PROOF_AFTER), "a probe has shown it");
    }

    #[test]
    fn what_the_baseline_explains_is_no_excess() {
        let mut base = Baseline::default();
        assert!(base.is_excess(round(1_000.0, 60.0)));
        base.on_start_up(round(1_000.0, 50.0), false);
        assert!(!base.is_excess(round(1_000.0, 60.0)));
        assert!(base.is_excess(round(1_000.0, 150.0)));
        // 950 of 1,000 arrived, which is what 5 % leave: all of them had entered.
        assert_eq!(base.entered(1_000.0, 950.0, true), 1_000.0);
        assert!(base.entered(1_000.0, 700.0, true) < 800.0);
    }

    #[test]
    fn a_look_tells_random_loss_from_congestion() {
        let mut base = Baseline::default();
        let now = Instant::from_millis(1_000);
        (0..20).for_each(|_| base.on_round(round(500.0, 25.0), true));
        assert!(base.wants_look(now));
        base.on_look(now, round(400.0, 20.0), LookQueue::Some, 1.0);
        assert_eq!(base.share(), 0.0, "a queue was there");
        assert!(!base.wants_look(now + Duration::from_secs(3)));
        (0..20).for_each(|_| base.on_round(round(500.0, 25.0), true));
        base.on_look(now, round(400.0, 20.0), LookQueue::Empty, 1.0);
        assert!((0.04..0.06).contains(&base.share()));
        (0..20).for_each(|_| base.on_round(round(500.0, 0.0), true));
        assert!(base.share() < 0.01, "loss went away");
    }
}
