//! Files that the receiver has already, or something of their name: it holds them until it knows
//! (SPEC.md, `messages`); and files of which it has a part (`resume`).

use super::files::{Files, Phase, Progress};
use crate::digest::leaf_count;
use crate::id::{Digest, FileIndex};
use alloc::vec::Vec;

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

    /// The receiver has this leaf from an earlier session, of the source as it is or (not
    /// `is_same_source`) of one that looked like it: then our own value decides once it is
    /// known.
    pub fn on_resume(
        &mut self,
        file: FileIndex,
        leaf: u64,
        value: Digest,
        is_same_source: bool,
    ) -> Vec<Progress> {
        let size = self.layout.size(file);
        let is_read = self.is_read((file, leaf));
        let Some(state) = self.files.get_mut(file.as_usize()) else {
            return Vec::new();
        };
        if leaf >= leaf_count(size) || size == 0 || state.phase == Phase::Final {
            return Vec::new();
        }
        state.allocate_leaves(size);
        match state.leaves.get(leaf as usize).copied().flatten() {
            Some(known) => {
                if known == value {
                    self.keep(file, leaf);
                }
                Vec::new()
            }
            None if is_same_source && !is_read => {
                self.keep(file, leaf);
                self.on_leaf(file, leaf, value)
            }
            None => {
                state.claimed.insert(leaf, value);
                Vec::new()
            }
        }
    }

    /// Neither the chunks of the leaf are sent nor those that it shares with a leaf beside it which
    /// is kept, too: those alone would cost a read of all that is kept.
    pub fn keep(&mut self, file: FileIndex, leaf: u64) {
        let Some(state) = self.files.get_mut(file.as_usize()) else {
            return;
        };
        state.kept.insert(leaf..leaf.saturating_add(1));
        let before = leaf.saturating_sub(1);
        let after = leaf.saturating_add(1);
        let first = if state.kept.contains(before) {
            before
        } else {
            leaf
        };
        let last = if state.kept.contains(after) {
            after
        } else {
            leaf
        };
        let bytes = self.layout.leaf(file, first).start..self.layout.leaf(file, last).end;
        state.have.insert(self.layout.chunks_within(file, bytes));
    }
}
