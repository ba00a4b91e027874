//! Whether a session gets anywhere (SPEC.md, `progress`): one that does not gives its place to
//! another.

// What it computes with comes from a peer.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::{IncomingSession, Phase};
use crate::config::{MIN_PROGRESS, PROGRESS_WINDOW, PROGRESS_WINDOWS};
use crate::error::{ErrorCode, Failure};
use crate::time::Instant;
use crate::timer::Timer;

/// What a file that got its final status counts as, in bytes.
pub(super) const FILE_PROGRESS: u64 = 4 << 10;
/// What a leaf value that is new counts as: a sender that reads for a digest alone gets on by it.
pub(super) const LEAF_PROGRESS: u64 = 1 << 10;
/// Who gets on by less than this in the window that runs and the one before may have to make room.
const WEAK_PROGRESS: u64 = MIN_PROGRESS / PROGRESS_WINDOWS as u64;
/// What a line of a manifest counts as, beside its name.
pub(super) const ENTRY_PROGRESS: u64 = 64;

/// Bytes that came for the first time, in the window that runs and in those before.
#[derive(Debug, Default)]
pub(super) struct Progress {
    now: u64,
    /// The newest last.
    before: [u64; PROGRESS_WINDOWS],
    /// The last operation that had been asked of storage when the window began.
    ops_before: u64,
    windows: usize,
}

impl Progress {
    pub fn on_bytes(&mut self, bytes: u64) {
        self.now = self.now.saturating_add(bytes);
    }

    /// A window is over, in which the session waited for us where `is_excused`. Answers whether
    /// the session got on as far as it has to.
    fn on_window(&mut self, is_excused: bool) -> bool {
        if is_excused {
            self.now = self.now.max(MIN_PROGRESS);
        }
        self.before.rotate_left(1);
        if let Some(last) = self.before.last_mut() {
            *last = self.now;
        }
        self.now = 0;
        self.windows = self.windows.saturating_add(1).min(PROGRESS_WINDOWS);
        let sum = self.before.iter().fold(0, |a: u64, b| a.saturating_add(*b));
        self.windows < PROGRESS_WINDOWS || sum >= MIN_PROGRESS
    }

    /// Bytes of the window that runs and the one before.
    fn recent(&self) -> u64 {
        let last = self.before.last().copied().unwrap_or_default();
        self.now.saturating_add(last)
    }
}

impl IncomingSession {
    /// A session that others may be let in for, when there is no place left: how far it got
    /// lately. `None` for one that is new, that waits for storage, or that gets on.
    pub fn idleness(&self) -> Option<u64> {
        let is_weak = self.phase == Phase::Open
            && self.progress.windows > 0
            && self.ops.is_empty()
            && self.progress.recent() < WEAK_PROGRESS;
        is_weak.then(|| self.progress.recent())
    }

    pub(super) fn on_progress_timer(&mut self, now: Instant) {
        if !self.timers.take_due(Timer::Progress, now) || self.phase != Phase::Open {
            return;
        }
        self.timers.set(Timer::Progress, now + PROGRESS_WINDOW);
        // Storage kept the session waiting where it had something to do all the time: a peer that
        // has a byte written now and then is not excused by that.
        let since = self.progress.ops_before;
        let is_excused = self.ops.first_key_value().is_some_and(|op| op.0.0 <= since);
        self.progress.ops_before = self.next_op;
        self.assembly.flush_idle();
        self.parity.on_window();
        self.ask_writes();
        if !self.progress.on_window(is_excused) {
            let text = "it sent next to nothing for too long";
            self.fail(now, Failure::new(ErrorCode::TIMEOUT, text));
        }
    }
}
