//! A receiver without room: one packet goes all the same now and then, for the report that tells of
//! room may be lost (SPEC.md, `sender`).

use crate::time::{Duration, Instant};

/// Between two such packets, and at least a round trip; each time twice as long.
const MIN_WAIT: Duration = Duration::from_millis(10);
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Since the receiver has no room.
#[derive(Debug, Default)]
pub(super) struct ZeroWindow {
    /// When the next packet may go, and how long that was to wait.
    next: Option<(Instant, Duration)>,
}

impl ZeroWindow {
    /// There is room.
    pub fn on_room(&mut self) {
        self.next = None;
    }

    /// A packet may go now, or at the time that this returns.
    pub fn try_at(&mut self, now: Instant, rtt: Duration) -> Result<(), Instant> {
        let wait = match self.next {
            Some((at, _)) if now < at => return Err(at),
            Some((_, wait)) => (wait * 2).min(MAX_WAIT),
            None => MIN_WAIT,
        };
        let wait = wait.max(rtt.min(MAX_WAIT));
        self.next = Some((now + wait, wait));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn packets_get_rarer_until_there_is_room() {
        let mut zero = ZeroWindow::default();
        let rtt = Duration::from_millis(1);
        let (mut now, mut sent) = (Instant::ZERO, Vec::new());
        while now < Instant::from_millis(2_000) {
            match zero.try_at(now, rtt) {
                Ok(()) => sent.push(now.as_micros() / 1_000),
                Err(at) => now = at,
            }
        }
        assert_eq!(sent, [0, 10, 30, 70, 150, 310, 630, 1_130, 1_630]);
        zero.on_room();
        assert_eq!(zero.try_at(now, rtt), Ok(()));
    }
}
