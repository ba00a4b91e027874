//! What a sender reads: each leaf once in the order of sending, for its digest too; and out of turn
//! what was evicted, or is wanted before its turn.

use super::files::{Files, Phase, Progress};
use crate::digest::leaf_count;
use crate::file::source::{BlockKey, ChunkBlocks};
use crate::id::FileIndex;
use crate::manifest::EntryKind;
use crate::storage::{OpId, ReadBlock, StorageOp};
use alloc::vec::Vec;

/// Leaves read at once for their digest alone.
const MAX_DIGEST_READS: usize = 2;

impl Files {
    /// Asks for the next leaf of the first pass, if there is room for it.
    pub fn scan(&mut self) -> Option<StorageOp> {
        let cursor = self.cursor_key();
        self.blocks.advance(cursor);
        loop {
            let (index, leaf) = self.scan;
            let file = FileIndex(index);
            if index >= self.offered {
                return None;
            }
            let size = self.layout.size(file);
            let state = self.files.get_mut(file.as_usize())?;
            let phase = state.phase;
            let is_read = state.entry.kind == EntryKind::File && phase != Phase::Final;
            if !is_read || leaf >= leaf_count(size) || size == 0 {
                self.scan = (index + 1, 0);
                if !self.early.is_empty() {
                    self.early = self.early.split_off(&(FileIndex(index + 1), 0));
                }
                if is_read && size == 0 {
                    return self.finish(file);
                }
                continue;
            }
            state.allocate_leaves(size);
            if self.early.remove(&(file, leaf)) || self.is_known((file, leaf)) {
                self.scan.1 += 1;
                continue;
            }
            let bytes = self.layout.leaf(file, leaf);
            let len = bytes.end - bytes.start;
            let is_kept = phase != Phase::Held;
            let may_read = is_kept || self.digest_reads.len() < MAX_DIGEST_READS;
            if !may_read || !self.blocks.make_room_ahead(len) {
                return None;
            }
            self.scan.1 += 1;
            return Some(self.read((file, leaf), true, is_kept));
        }
    }

    fn read(&mut self, key: BlockKey, digest: bool, is_kept: bool) -> StorageOp {
        let op = self.op();
        let bytes = self.layout.leaf(key.0, key.1);
        let len = bytes.end - bytes.start;
        if is_kept {
            self.blocks.on_requested(op, key, len);
        } else {
            self.blocks.on_requested_once(op, key, len);
        }
        if digest {
            self.digest_reads.insert(op);
        }
        StorageOp::Read {
            op,
            file: key.0,
            offset: bytes.start,
            len: len as u32,
            digest,
        }
    }

    /// Asks whether the source of a completely read file is unchanged.
    pub fn finish(&mut self, file: FileIndex) -> Option<StorageOp> {
        let op = self.op();
        let state = self.get_mut(file).filter(|state| !state.is_finish_asked)?;
        state.is_finish_asked = true;
        self.finishing.insert(op, file);
        Some(StorageOp::Finish { op, file })
    }

    /// The file that `op` asked to finish.
    pub fn take_finish(&mut self, op: OpId) -> Option<FileIndex> {
        self.finishing.remove(&op)
    }

    /// Whether the first pass has asked for the leaf, or did not need to.
    pub fn is_read(&self, (file, leaf): BlockKey) -> bool {
        (file.0, leaf) < self.scan || self.early.contains(&(file, leaf))
    }

    fn is_known(&self, (file, leaf): BlockKey) -> bool {
        let leaves = self.get(file).map(|state| state.leaves.as_slice());
        matches!(
            leaves.and_then(|leaves| leaves.get(leaf as usize)),
            Some(Some(_))
        )
    }

    /// Asks for a block of `chunk` that was evicted or is sent before the first pass comes to it,
    /// if that is possible now.
    pub fn read_for(&mut self, chunk: &ChunkBlocks, key: BlockKey) -> Option<StorageOp> {
        if self.blocks.is_requested(key) {
            return None;
        }
        let bytes = self.layout.leaf(key.0, key.1);
        let len = bytes.end - bytes.start;
        if !self.blocks.make_room_for(chunk, key, len) {
            return None;
        }
        let is_first = !self.is_read(key) && !self.is_known(key);
        if is_first {
            self.early.insert(key);
        } else {
            self.reread_bytes = self.reread_bytes.saturating_add(len);
        }
        Some(self.read(key, is_first, true))
    }

    /// A first-pass or repeated read has ended. Its leaf's value is recorded.
    pub fn on_read(
        &mut self,
        op: OpId,
        block: Option<ReadBlock>,
    ) -> (Option<FileIndex>, Vec<Progress>) {
        let value = block.as_ref().and_then(|block| block.leaf);
        self.digest_reads.remove(&op);
        let Some((file, leaf)) = self.blocks.on_read(op, block.map(|block| block.data)) else {
            return (None, Vec::new());
        };
        let is_wanted = self
            .get(file)
            .is_some_and(|state| state.phase == Phase::Sending);
        if !is_wanted {
            self.blocks.forget(file);
        }
        let progress = value
            .map(|value| self.on_leaf(file, leaf, value))
            .unwrap_or_default();
        (Some(file), progress)
    }
}
