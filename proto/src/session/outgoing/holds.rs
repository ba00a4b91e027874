//! Files that the receiver has already, or something of their name: it holds them until it knows
//! (SPEC.md, `messages`).

use super::files::{Files, Phase};
use crate::id::FileIndex;

impl Files {
    /// The receiver has a file of this name: data waits until it is wanted. `false` where it may
    /// not say so: a receiver that holds and wants the same file again and again would have it read
    /// and sent as often.
    pub fn on_hold(&mut self, file: FileIndex) -> bool {
        let is_answered = file.0 < self.answered;
        let Some(state) = self.get_mut(file) else {
            return false;
        };
        if state.phase == Phase::Final {
            return true;
        }
        if is_answered || state.was_held {
            return false;
        }
        state.was_held = true;
        state.phase = Phase::Held;
        self.blocks.forget(file);
        true
    }

    /// Data of a held file is wanted.
    pub fn on_want(&mut self, file: FileIndex) {
        let chunks = self.layout.chunks(file);
        let cursor = self.cursor();
        let Some(state) = self.files.get_mut(file.as_usize()) else {
            return;
        };
        if state.phase != Phase::Held {
            return;
        }
        state.phase = Phase::Sending;
        let passed = chunks.start..chunks.end.min(cursor).max(chunks.start);
        for range in state.have.gaps(passed) {
            self.late.insert(range);
        }
    }
}
