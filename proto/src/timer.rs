//! The timers of a session: a fixed table, so that a wake-up always has a name.

use crate::time::Instant;

/// When to come back, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time of the next [`Input::Timeout`](crate::machine::Input::Timeout).
    pub at: Instant,
    /// The timer behind it.
    pub timer: Timer,
}

/// Why a session wakes (SPEC.md, `timers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The handshake packet is repeated.
    Handshake,
    /// The pacer has credit for the next packet.
    Pacing,
    /// Feedback is overdue: ask for it.
    Probe,
    /// A report is due.
    Report,
    /// An acknowledgement of control blocks is due.
    Ack,
    /// The peer has been silent for too long.
    Idle,
    /// The closing packet is repeated, or the closing state ends.
    Close,
    /// A window in which the peer should have got on is over.
    Progress,
}

const COUNT: usize = 8;
const ALL: [Timer; COUNT] = [
    Timer::Handshake,
    Timer::Pacing,
    Timer::Probe,
    Timer::Report,
    Timer::Ack,
    Timer::Idle,
    Timer::Close,
    Timer::Progress,
];

/// A deadline or none for every [`Timer`].
#[derive(Clone, Debug, Default)]
pub struct TimerTable([Option<Instant>; COUNT]);

impl TimerTable {
    /// Sets `timer` to go off at `at`, whatever it was before.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = Some(at);
        }
    }

    /// Sets `timer` unless it would go off sooner already.
    pub fn set_earliest(&mut self, timer: Timer, at: Instant) {
        if self.at(timer).is_none_or(|set| at < set) {
            self.set(timer, at);
        }
    }

    /// Stops `timer`.
    pub fn stop(&mut self, timer: Timer) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = None;
        }
    }

    /// Stops all timers.
    pub fn stop_all(&mut self) {
        self.0 = [None; COUNT];
    }

    /// When `timer` goes off, if it is set.
    pub fn at(&self, timer: Timer) -> Option<Instant> {
        self.0.get(timer as usize).copied().flatten()
    }

    /// Stops `timer` and says so if it is due.
    pub fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let is_due = self.at(timer).is_some_and(|at| at <= now);
        if is_due {
            self.stop(timer);
        }
        is_due
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Deadline> {
        let deadline = |timer: Timer| self.at(timer).map(|at| Deadline { at, timer });
        ALL.into_iter()
            .filter_map(deadline)
            .min_by_key(|deadline| deadline.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_timer_is_next() {
        let mut timers = TimerTable::default();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Idle, Instant::from_millis(9));
        timers.set(Timer::Probe, Instant::from_millis(5));
        timers.set_earliest(Timer::Probe, Instant::from_millis(6));
        assert_eq!(timers.next().map(|next| next.timer), Some(Timer::Probe));
        assert!(!timers.take_due(Timer::Probe, Instant::from_millis(4)));
        assert!(timers.take_due(Timer::Probe, Instant::from_millis(5)));
        assert_eq!(timers.next().map(|next| next.timer), Some(Timer::Idle));
        for timer in ALL {
            timers.set(timer, Instant::ZERO);
            assert!(timers.take_due(timer, Instant::ZERO));
        }
    }
}
