//! A receiver that is heard and gets nowhere (SPEC.md, `progress`).

use super::{OutgoingSession, Phase};
use crate::error::{ErrorCode, Failure};
use crate::time::{Duration, Instant};
use crate::timer::Timer;
use crate::wire::frame::Report;

/// A window without progress is as many idle timeouts, and at least [`MIN_WINDOW`].
const IDLE_TIMEOUTS: u32 = 6;
const MIN_WINDOW: Duration = Duration::from_secs(60);
/// Windows without progress that are granted while everything has come and only the receiver's
/// storage is waited for: a sync of a slow disk takes its time.
const STORAGE_WINDOWS: u64 = 10;
/// Bytes a second that any storage reads. What an earlier session left, or what has the name of a
/// file already, may have to be read from end to end.
const MIN_STORAGE_RATE: u64 = 16 << 20;

/// What a session has reached; it has got on where any of this is different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reached {
    delivered: u64,
    open_files: usize,
    backlog: usize,
    heard_blocks: u64,
    acknowledged_blocks: u64,
    /// Data packets that were of use, at least: a sweep of repairs over a path that got slow may
    /// take minutes before it comes to the first that is missing.
    useful: u64,
}

/// How long nothing has come of a session.
#[derive(Debug, Default)]
pub(super) struct Stall {
    last: Reached,
    windows: u32,
    /// The receiver has said that it has everything.
    is_all_received: bool,
    control_packets: u64,
    useful: u64,
}

impl Stall {
    pub fn on_control_sent(&mut self) {
        self.control_packets += 1;
    }

    pub fn on_report(&mut self, report: &Report, is_all_received: bool) {
        self.is_all_received = is_all_received;
        let useless = (report.duplicates)
            .saturating_add(report.host_drops)
            .saturating_add(self.control_packets);
        self.useful = self.useful.max(report.received.saturating_sub(useless));
    }
}

impl OutgoingSession {
    pub(super) fn start_stall_timer(&mut self, now: Instant) {
        self.timers.set(Timer::Progress, now + self.stall_window());
    }

    fn stall_window(&self) -> Duration {
        (self.config.idle_timeout * IDLE_TIMEOUTS).max(MIN_WINDOW)
    }

    pub(super) fn on_stall_timer(&mut self, now: Instant) {
        if !self.timers.take_due(Timer::Progress, now) || self.phase != Phase::Open {
            return;
        }
        let reached = Reached {
            delivered: self.stats.delivered_bytes,
            open_files: self.files.open,
            backlog: self.control.backlog(),
            heard_blocks: self.peer_control.ack().next,
            acknowledged_blocks: self.control.acknowledged(),
            useful: self.stall.useful,
        };
        self.stall.windows = if reached == self.stall.last {
            self.stall.windows.saturating_add(1)
        } else {
            0
        };
        self.stall.last = reached;
        let granted = if self.stall.is_all_received {
            let seconds = self.files.bytes() / MIN_STORAGE_RATE;
            STORAGE_WINDOWS.max(seconds / self.stall_window().as_secs().max(1))
        } else {
            1
        };
        if u64::from(self.stall.windows) >= granted {
            let text = "the receiver answers, but nothing gets on";
            return self.fail(now, Failure::new(ErrorCode::TIMEOUT, text));
        }
        self.start_stall_timer(now);
    }
}
