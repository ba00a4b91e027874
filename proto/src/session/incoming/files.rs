//! The files of an incoming session: what was offered, and how far each has come.

use super::leaves::{LeafState, Leaves};
use crate::config::{BEGUN_COST, ENTRY_COST, FINAL_ENTRY_COST};
use crate::digest::leaf_count;
use crate::file::layout::Layout;
use crate::id::{Digest, FileIndex};
use crate::manifest::Entry;
use crate::memory::{MemoryPool, Share};
use crate::storage::StorageOp;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes that the layout takes for each file.
const FILE_LAYOUT: u64 = 16;

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Offered.
    Offered,
    /// Storage looks at the name.
    Preparing,
    /// A file of that name and size exists; its digest and the sender's are compared.
    Held,
    /// They are equal: storage looks whether the file is still there and the same.
    Confirming,
    /// They differ: storage looks at the name again.
    Replacing,
    /// Data is taken.
    Receiving,
    /// Verified; storage makes it durable.
    Committing,
    /// It has its final status.
    Final,
}

/// One file.
#[derive(Debug)]
pub(super) struct InFile {
    /// What was offered; gone once the file is final.
    pub entry: Option<Entry>,
    pub phase: Phase,
    pub retries: u8,
    /// Leaves without a value.
    pub open_leaves: u64,
    /// What has come of it; apart, for of a million files most are only offered, or final.
    pub course: Option<Box<Course>>,
}

/// What has come of a file that is not final.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub started: Option<Instant>,
    /// One past the last leaf whose value the sender announced.
    pub told_leaves: u64,
    /// Digest that the sender announced with the EOF.
    pub eof: Option<Digest>,
    /// Digest of the file that exists, in [`Phase::Held`].
    pub existing: Option<Digest>,
    pub leaves: Leaves,
    /// Operations that wait for the file to be prepared.
    pub waiting: Vec<StorageOp>,
}

impl InFile {
    pub fn new(entry: Option<Entry>) -> Self {
        let size = entry.as_ref().map_or(0, |entry| entry.size);
        Self {
            open_leaves: if size > 0 { leaf_count(size) } else { 0 },
            entry,
            phase: Phase::Offered,
            retries: 0,
            course: None,
        }
    }

    /// A leaf of which anything is known.
    pub fn leaf(&self, index: u64) -> Option<&LeafState> {
        self.course.as_ref()?.leaves.get(index)
    }

    /// Digest that the sender announced with the EOF.
    pub fn eof(&self) -> Option<Digest> {
        self.course.as_ref()?.eof
    }

    /// Whether data of the file is taken, now or once storage has looked at its name.
    pub fn takes_data(&self) -> bool {
        matches!(
            self.phase,
            Phase::Offered | Phase::Preparing | Phase::Receiving
        )
    }
}

/// All files of the session.
#[derive(Debug)]
pub(super) struct Files {
    pub files: Vec<InFile>,
    pub layout: Layout,
    /// Next file to prepare; preparations that have not ended.
    pub prepare_next: u32,
    pub preparing: usize,
    /// Files below are answered.
    pub answered: u32,
    /// Number of files, once the offer is complete.
    pub total: Option<u32>,
    pub open: usize,
    /// Leaves of which nothing but the value is known.
    pub announced: u64,
    pub offered_bytes: u64,
    pub name_bytes: u64,
    /// Kept leaves that are hashed again.
    pub rechecks: super::recheck::Rechecks,
    /// What the manifest takes of the memory for manifests.
    memory: Share,
    /// What its files that have begun take of theirs.
    begun: Share,
}

const _: () = assert!(size_of::<InFile>() as u64 + FILE_LAYOUT <= FINAL_ENTRY_COST);

impl Files {
    pub fn new(chunk_size: usize, manifests: &MemoryPool, begun: &MemoryPool) -> Self {
        Self {
            files: Vec::new(),
            layout: Layout::new(chunk_size),
            prepare_next: 0,
            preparing: 0,
            answered: 0,
            total: None,
            open: 0,
            announced: 0,
            offered_bytes: 0,
            name_bytes: 0,
            rechecks: super::recheck::Rechecks::default(),
            memory: manifests.share(),
            begun: begun.share(),
        }
    }

    /// Whether there is memory for one more entry with a name of so many bytes.
    pub fn may_offer(&mut self, name_bytes: u64) -> bool {
        self.memory.take_half(ENTRY_COST.saturating_add(name_bytes))
    }

    /// Whether content of the file may come: where there is no memory for another file that has
    /// begun, others have to end first.
    pub fn may_begin(&self, file: FileIndex) -> bool {
        let has_begun = self.get(file).is_some_and(|file| file.course.is_some());
        has_begun || self.begun.may_take_half(BEGUN_COST)
    }

    /// What has come of a file that is not final, from here on.
    pub fn course(&mut self, file: FileIndex) -> Option<&mut Course> {
        let state = self.files.get_mut(file.as_usize())?;
        if state.phase == Phase::Final {
            return None;
        }
        if state.course.is_none() {
            self.begun.owe(BEGUN_COST);
        }
        Some(state.course.get_or_insert_default())
    }

    /// The file is final: answers what it was called, and what had come of it, which are forgotten.
    pub fn on_final(&mut self, file: FileIndex) -> (Option<Entry>, Course) {
        let Some(state) = self.files.get_mut(file.as_usize()) else {
            return Default::default();
        };
        state.phase = Phase::Final;
        self.open -= 1;
        let entry = state.entry.take();
        let name = entry.as_ref().map_or(0, |it| it.name.as_bytes().len());
        let bytes = ENTRY_COST - FINAL_ENTRY_COST;
        self.memory.give(bytes.saturating_add(name as u64));
        let course = state.course.take();
        if course.is_some() {
            self.begun.give(BEGUN_COST);
        }
        let course = course.map(|course| *course).unwrap_or_default();
        let announced = course.leaves.values().filter(|leaf| leaf.is_only_announced);
        self.announced -= announced.count() as u64;
        (entry, course)
    }

    /// The value that a leaf is to have. That of a file with one leaf is in its EOF.
    pub fn expected(&self, file: FileIndex, index: u64) -> Option<Digest> {
        let state = self.get(file)?;
        let of_leaf = state.leaf(index).and_then(|leaf| leaf.expected);
        let is_single = leaf_count(self.layout.size(file)) == 1;
        of_leaf.or_else(|| state.eof().filter(|_| is_single))
    }

    pub fn get(&self, file: FileIndex) -> Option<&InFile> {
        self.files.get(file.as_usize())
    }

    pub fn get_mut(&mut self, file: FileIndex) -> Option<&mut InFile> {
        self.files.get_mut(file.as_usize())
    }

    /// The offer is complete and every file has its status.
    pub fn is_through(&self) -> bool {
        self.total.is_some() && self.open == 0
    }

    /// A leaf of a file, if the file has it.
    pub fn leaf(&mut self, file: FileIndex, index: u64) -> Option<&mut LeafState> {
        let size = self.layout.size(file);
        if size == 0 || index >= leaf_count(size) {
            return None;
        }
        let bytes = self.layout.leaf(file, index);
        Some(self.course(file)?.leaves.get_or_new(index, bytes))
    }

    /// The sender announced the value of a leaf.
    pub fn announce(&mut self, file: FileIndex, index: u64, value: Digest) {
        let is_known = self.knows_leaf(file, index);
        let Some(leaf) = self.leaf(file, index) else {
            return;
        };
        leaf.expected = Some(value);
        if !is_known {
            leaf.is_only_announced = true;
            self.announced += 1;
        }
    }

    /// Whether anything is known of a leaf.
    pub fn knows_leaf(&self, file: FileIndex, index: u64) -> bool {
        self.get(file)
            .is_some_and(|file| file.leaf(index).is_some())
    }

    /// Content of the leaf is there: its value is worth its memory.
    pub fn on_backed(&mut self, file: FileIndex, index: u64) {
        if let Some(leaf) = self.leaf(file, index)
            && core::mem::take(&mut leaf.is_only_announced)
        {
            self.announced -= 1;
        }
    }

    /// Nothing of the file counts as come; what the sender announced is kept.
    pub fn restart(&mut self, file: FileIndex) {
        let size = self.layout.size(file);
        let Self { files, layout, .. } = self;
        let Some(state) = files.get_mut(file.as_usize()) else {
            return;
        };
        let leaves = state.course.iter_mut().flat_map(|it| it.leaves.iter_mut());
        for (index, leaf) in leaves {
            *leaf = LeafState {
                expected: leaf.expected,
                is_only_announced: leaf.is_only_announced,
                ..LeafState::new(layout.leaf(file, index))
            };
        }
        state.open_leaves = if size > 0 { leaf_count(size) } else { 0 };
    }

    /// Bytes of a file came for the first time: answers the leaves that are complete with them.
    pub fn on_bytes(&mut self, file: FileIndex, bytes: Range<u64>) -> Vec<u64> {
        let touched = self.layout.leaves_touching(file, bytes.clone());
        let mut complete = Vec::new();
        for index in touched {
            let leaf = self.layout.leaf(file, index);
            let overlap = leaf.end.min(bytes.end) - leaf.start.max(bytes.start);
            let Some(state) = self.leaf(file, index) else {
                continue;
            };
            let was_only_announced = core::mem::take(&mut state.is_only_announced);
            if state.missing > 0 {
                state.missing = state.missing.saturating_sub(overlap as u32);
                if state.missing == 0 {
                    complete.push(index);
                }
            }
            self.announced -= u64::from(was_only_announced);
        }
        complete
    }

    /// A leaf must come again. Answers the chunks to ask for; what those that had come (`has`) hold
    /// of leaves beside it that are not complete is taken back too.
    pub fn reset_leaf(
        &mut self,
        file: FileIndex,
        index: u64,
        has: impl Fn(u64) -> bool,
    ) -> Range<u64> {
        let leaf = self.layout.leaf(file, index);
        let chunks = self.layout.chunks_touching(file, leaf.clone());
        if let Some(state) = self.leaf(file, index) {
            state.missing = (leaf.end - leaf.start) as u32;
            let was_hashing = core::mem::take(&mut state.is_hashing);
            state.is_resumed = false;
            // What is kept and not hashed again yet counts as open.
            let had_value = state.value.take().is_some() && !was_hashing;
            if let (true, Some(file)) = (had_value, self.get_mut(file)) {
                file.open_leaves += 1;
            }
        }
        let borders = [chunks.start, chunks.end.saturating_sub(1)];
        for chunk in borders
            .into_iter()
            .take(if chunks.end - chunks.start > 1 { 2 } else { 1 })
        {
            let Some(place) = self.layout.place(chunk).filter(|_| has(chunk)) else {
                continue;
            };
            let bytes = place.offset..place.offset + place.len as u64;
            for other in self.layout.leaves_touching(file, bytes.clone()) {
                let range = self.layout.leaf(file, other);
                let overlap = range.end.min(bytes.end) - range.start.max(bytes.start);
                if let Some(state) = self.leaf(file, other) {
                    // A complete neighbour keeps its bytes; it does not count them again either.
                    if other != index && state.missing > 0 {
                        state.missing = state.missing.saturating_add(overlap as u32);
                    }
                }
            }
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::LEAF_SIZE;

    #[test]
    fn a_leaf_that_comes_again_counts_each_byte_once() {
        let mut files = Files::new(1_000, &MemoryPool::new(0), &MemoryPool::new(0));
        files.layout.push(3 * LEAF_SIZE).unwrap();
        files.files.push(InFile::new(None));
        let file = FileIndex(0);
        let feed = |files: &mut Files, chunks: Range<u64>| -> Vec<u64> {
            let mut complete = Vec::new();
            for chunk in chunks {
                let place = files.layout.place(chunk).unwrap();
                let bytes = place.offset..place.offset + place.len as u64;
                complete.extend(files.on_bytes(file, bytes));
            }
            complete
        };
        let all = files.layout.chunks(file);
        let half = LEAF_SIZE.div_ceil(1_000) + 200;
        assert_eq!(feed(&mut files, 0..half), [0]);
        // The chunk over the border to leaf 1 comes again with leaf 0, which leaf 1 had in part.
        let again = files.reset_leaf(file, 0, |_| true);
        assert_eq!(again, 0..LEAF_SIZE.div_ceil(1_000));
        assert_eq!(feed(&mut files, again), [0]);
        assert_eq!(feed(&mut files, half..all.end), [1, 2]);
        let mut leaves = files.files[0].course.as_ref().unwrap().leaves.values();
        assert!(leaves.all(|leaf| leaf.missing == 0));
    }
}
