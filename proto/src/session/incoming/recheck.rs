//! Leaves that were kept from an earlier session are hashed again while the rest comes (SPEC.md,
//! `resume`): what is on record was right when it was written, and the disk may have changed since.

use super::IncomingSession;
use super::content::OpKind;
use super::files::{Files, Phase as FilePhase};
use crate::error::{ErrorCode, Failure};
use crate::id::{Digest, FileIndex};
use crate::storage::{Done, StorageOp};
use crate::time::Instant;
use alloc::collections::VecDeque;

/// Leaves that storage is asked for at once: what comes from the network waits behind them.
const MAX_ASKED: u32 = 2;

/// What is still to be hashed.
#[derive(Debug, Default)]
pub(super) struct Rechecks {
    files: VecDeque<FileIndex>,
    /// Leaves of the first file below this one were asked for.
    from: u64,
    asked: u32,
}

impl Rechecks {
    pub fn add(&mut self, file: FileIndex) {
        self.files.push_back(file);
    }

    /// Storage has answered.
    pub fn on_done(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }
}

impl Files {
    /// The next leaf to be hashed again, and the value on record.
    fn next_recheck(&mut self) -> Option<(FileIndex, u64, Digest)> {
        while let Some(&file) = self.rechecks.files.front() {
            let from = self.rechecks.from;
            let state = self.get(file);
            let state = state.filter(|state| state.phase == FilePhase::Receiving);
            let next = state.and_then(|state| {
                let mut leaves = state.course.as_ref()?.leaves.from(from);
                leaves.find_map(|(index, leaf)| {
                    let is_due = leaf.is_resumed && leaf.is_hashing;
                    leaf.value.filter(|_| is_due).map(|value| (index, value))
                })
            });
            if let Some((leaf, value)) = next {
                self.rechecks.from = leaf.saturating_add(1);
                return Some((file, leaf, value));
            }
            self.rechecks.files.pop_front();
            self.rechecks.from = 0;
        }
        None
    }
}

impl IncomingSession {
    /// Asks storage for the next leaves.
    pub(super) fn recheck(&mut self) {
        while self.files.rechecks.asked < MAX_ASKED {
            let Some((file, leaf, value)) = self.files.next_recheck() else {
                return;
            };
            self.files.rechecks.asked = self.files.rechecks.asked.saturating_add(1);
            let op = self.op(file, OpKind::Recheck { leaf });
            let kept = Some(value);
            self.storage.push_back(StorageOp::Hash {
                op,
                file,
                leaf,
                kept,
            });
        }
    }

    pub(super) fn on_rechecked(
        &mut self,
        now: Instant,
        file: FileIndex,
        leaf: u64,
        result: Result<Done, Failure>,
    ) {
        let bytes = self.files.layout.leaf(file, leaf);
        // A session in which nothing else is left to be done gets on as well.
        self.progress
            .on_bytes(bytes.end.saturating_sub(bytes.start));
        let state = self.files.leaf(file, leaf).map(|state| *state);
        let state = state.filter(|state| state.is_resumed && state.is_hashing);
        match (result, state.and_then(|state| state.value)) {
            // It was given up in the meantime, and comes again.
            (Ok(Done::Digest(_)) | Err(_), None) => {}
            (Ok(Done::Digest(found)), Some(value)) if found == value => {
                if let Some(state) = self.files.leaf(file, leaf) {
                    state.is_hashing = false;
                }
                if let Some(state) = self.files.get_mut(file) {
                    state.open_leaves = state.open_leaves.saturating_sub(1);
                }
                self.check_leaf(now, file, leaf);
                self.commit_if_whole(now, file);
            }
            (Ok(Done::Digest(_)), Some(_)) => self.on_corrupt(now, file, leaf),
            // What cannot be read may still be written.
            (Err(failure), Some(_)) if failure.code == ErrorCode::STORAGE_IO => {
                self.on_corrupt(now, file, leaf);
            }
            (Ok(_), _) => {
                let failure = Failure::new(ErrorCode::INTERNAL, "storage gave a wrong answer");
                self.finish(now, file, Err((failure, false)));
            }
            (Err(failure), _) => self.finish(now, file, Err((failure, false))),
        }
        self.recheck();
    }
}
