//! What storage found under a name: nothing, a part from an earlier session, or another file
//! (SPEC.md, `resume`).

use super::IncomingSession;
use super::content::OpKind;
use super::files::Phase as FilePhase;
use crate::digest::{self, LEAF_SIZE};
use crate::error::{ErrorCode, Failure};
use crate::id::{Digest, FileIndex};
use crate::manifest::EntryKind;
use crate::range_set::RangeSet;
use crate::storage::{Leaf, Prepared, StorageOp};
use crate::time::Instant;
use crate::wire::message::{MAX_LEAVES, Message};
use alloc::vec::Vec;

impl IncomingSession {
    pub(super) fn on_prepared(&mut self, now: Instant, file: FileIndex, prepared: Prepared) {
        let Some(state) = self.files.get_mut(file) else {
            return;
        };
        let was_held = state.phase == FilePhase::Replacing;
        if prepared == Prepared::Existing {
            if was_held {
                // A file is held once: the sender would not bear a second time.
                let failure = Failure::new(ErrorCode::INTERNAL, "storage gave a wrong answer");
                return self.finish(now, file, Err((failure, false)));
            }
            return self.hold(file);
        }
        state.phase = FilePhase::Receiving;
        let is_directory = state
            .entry
            .as_ref()
            .is_some_and(|entry| entry.kind == EntryKind::Directory);
        if was_held {
            let chunks = self.files.layout.chunks(file);
            self.received.remove(chunks);
        }
        if let Prepared::Partial {
            leaves,
            is_same_source,
            is_unchanged,
        } = prepared
        {
            self.resume(now, file, leaves, (is_same_source, is_unchanged));
            self.recheck();
        }
        if let Some(state) = self.files.get_mut(file) {
            let waiting = state.course.as_mut().map(|course| &mut course.waiting);
            self.storage
                .extend(waiting.map(core::mem::take).unwrap_or_default());
        }
        if was_held {
            self.control.push(&Message::Want { file });
        }
        if is_directory {
            self.commit(file, digest::empty());
        } else {
            self.commit_if_whole(now, file);
        }
    }

    /// A file of that name and size exists: no data is taken until the digests are compared.
    fn hold(&mut self, file: FileIndex) {
        let chunks = self.files.layout.chunks(file);
        self.parts.forget(chunks.clone());
        self.received.insert(chunks);
        self.assembly.forget(file);
        let Some(state) = self.files.get_mut(file) else {
            return;
        };
        state.phase = FilePhase::Held;
        self.files.restart(file);
        self.drop_waiting(file);
        self.control.push(&Message::Hold { file });
        let op = self.op(file, OpKind::Existing);
        self.storage
            .push_back(StorageOp::DigestExisting { op, file });
    }

    /// What waits for the preparation of a file will not be asked of storage: it gives its memory
    /// back.
    pub(super) fn drop_waiting(&mut self, file: FileIndex) {
        let Some(state) = self.files.get_mut(file) else {
            return;
        };
        if let Some(course) = &mut state.course {
            let waiting = core::mem::take(&mut course.waiting);
            self.drop_ops(waiting);
        }
    }

    pub(super) fn drop_ops(&mut self, ops: Vec<StorageOp>) {
        ops.into_iter().for_each(|op| self.drop_op(op));
    }

    fn drop_op(&mut self, op: StorageOp) {
        let (StorageOp::Write { op, .. } | StorageOp::Hash { op, .. }) = op else {
            return;
        };
        if let Some((_, OpKind::Write { buffer })) = self.ops.remove(&op) {
            self.assembly.on_written(buffer);
        }
    }

    /// What came of these leaves and waits for the preparation of the file is not written: they are
    /// there, verified, and what came may be damaged.
    fn drop_waiting_of(&mut self, file: FileIndex, mut leaves: Vec<u64>) {
        let Some(course) = self.files.get_mut(file).and_then(|it| it.course.as_mut()) else {
            return;
        };
        leaves.sort_unstable();
        // A write lies within one leaf.
        let is_kept = |op: &StorageOp| match op {
            StorageOp::Write { offset, .. } => leaves.binary_search(&(offset / LEAF_SIZE)).is_err(),
            _ => true,
        };
        let (kept, dropped) = core::mem::take(&mut course.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(is_kept);
        course.waiting = kept;
        self.drop_ops(dropped);
    }

    /// Goes on from leaves that an earlier session received and verified.
    fn resume(
        &mut self,
        now: Instant,
        file: FileIndex,
        leaves: Vec<Leaf>,
        (is_same_source, is_unchanged): (bool, bool),
    ) {
        let mut taken: Vec<(u64, Digest)> = Vec::new();
        let mut kept = RangeSet::new();
        for Leaf { index, value } in leaves {
            let bytes = self.files.layout.leaf(file, index);
            let Some(state) = self.files.leaf(file, index) else {
                continue;
            };
            // What came in the first flight already counts like any other data.
            if state.value.is_some() || state.is_hashing {
                continue;
            }
            state.missing = 0;
            state.value = Some(value);
            state.is_resumed = true;
            state.is_hashing = !is_unchanged;
            self.files.on_backed(file, index);
            self.assembly.forget_range(file, bytes);
            kept.insert(index..index.saturating_add(1));
            if let Some(state) = self.files.get_mut(file) {
                let closed = u64::from(is_unchanged);
                state.open_leaves = state.open_leaves.saturating_sub(closed);
            }
            if let Some(course) = self.files.course(file) {
                course.started.get_or_insert(now);
            }
            taken.push((index, value));
        }
        if !is_unchanged && !taken.is_empty() {
            self.files.rechecks.add(file);
        }
        for leaves in kept.iter() {
            let first = self.files.layout.leaf(file, leaves.start);
            let last = self.files.layout.leaf(file, leaves.end.saturating_sub(1));
            let chunks = self.files.layout.chunks_within(file, first.start..last.end);
            self.parts.forget(chunks.clone());
            self.received.insert(chunks);
        }
        self.drop_waiting_of(file, taken.iter().map(|leaf| leaf.0).collect());
        for part in taken.chunks(MAX_LEAVES) {
            self.control.push(&Message::Resume {
                file,
                is_same_source,
                leaves: part.to_vec(),
            });
        }
        // What the sender has said of these leaves before is held against what was kept.
        for (leaf, _) in taken {
            self.check_leaf(now, file, leaf);
        }
    }
}
