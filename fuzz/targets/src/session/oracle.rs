//! What a session may ask of storage and tell its driver.

use super::storage;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use xfer_proto::digest::{LEAF_SIZE, leaf_count, leaf_range, root};
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::machine::Event;
use xfer_proto::range_set::RangeSet;
use xfer_proto::storage::{Completion, Done, OpId, Prepared, StorageOp};

/// Values of files with more leaves are not merged again.
const MAX_MERGED: u64 = 64;

/// What is known of one file at the receiver.
#[derive(Debug, Default)]
struct File {
    size: u64,
    is_directory: bool,
    is_ready: bool,
    is_over: bool,
    has_status: bool,
    written: RangeSet,
    values: BTreeMap<u64, Digest>,
}

/// Watches one end.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    files: BTreeMap<FileIndex, File>,
    ops: BTreeSet<OpId>,
    /// How it ended; nothing may come after it but what closes the session.
    pub closed: Option<bool>,
    pub committed: usize,
}

impl Oracle {
    /// The machine asks for `op`.
    pub fn on_op(&mut self, op: &StorageOp) {
        if let Some(id) = storage::id(op) {
            assert!(self.ops.insert(id), "{id:?} was used before");
        }
        match op {
            StorageOp::Prepare { file, entry, .. } => {
                let state = self.files.entry(*file).or_default();
                assert!(!state.is_over && !state.is_ready);
                state.size = entry.size;
                state.is_directory = entry.kind == xfer_proto::manifest::EntryKind::Directory;
            }
            StorageOp::Write {
                file, offset, data, ..
            } => {
                let state = self.open(*file);
                let end = offset
                    .checked_add(data.len() as u64)
                    .expect("an absurd offset");
                assert!(end <= state.size, "a write beyond the end of the file");
                assert!(!data.is_empty());
                state.written.insert(*offset..end);
            }
            StorageOp::Hash {
                file, leaf, kept, ..
            } => self.open(*file).check_hash(*leaf, *kept),
            StorageOp::Checkpoint { file, leaves, .. } => {
                let state = self.open(*file);
                let is_known = |leaf: &xfer_proto::storage::Leaf| {
                    state.values.get(&leaf.index) == Some(&leaf.value)
                };
                assert!(leaves.iter().all(is_known));
            }
            StorageOp::Commit { file, digest, .. } => {
                let state = self.open(*file);
                state.is_over = true;
                state.check_commit(*digest);
            }
            StorageOp::Discard { file, .. } => {
                let state = self
                    .files
                    .get_mut(file)
                    .expect("an unknown file is discarded");
                state.is_over = true;
            }
            StorageOp::DigestExisting { file, .. } | StorageOp::ConfirmExisting { file, .. } => {
                assert!(!self.files.get(file).is_none_or(|state| state.is_over));
            }
            StorageOp::Read {
                file, offset, len, ..
            } => {
                // A sender prepares nothing.
                if let Some(state) = self.files.get(file) {
                    let end = offset + u64::from(*len);
                    assert!(*len > 0 && state.has(*offset..end), "a read of a hole");
                }
            }
            StorageOp::Finish { .. } => {}
        }
    }

    fn open(&mut self, file: FileIndex) -> &mut File {
        let state = self.files.get_mut(&file).expect("an unknown file");
        assert!(state.is_ready && !state.is_over, "not a file to work on");
        state
    }

    /// Storage answers `op`.
    pub fn on_completion(&mut self, op: &StorageOp, completion: &Completion) {
        match (op, &completion.result) {
            (StorageOp::Prepare { file, .. }, Ok(Done::Prepared(prepared))) => {
                let state = self.files.entry(*file).or_default();
                state.is_ready = *prepared != Prepared::Existing;
                if let Prepared::Partial { leaves, .. } = prepared {
                    let values = leaves.iter().map(|leaf| (leaf.index, leaf.value));
                    state.values.extend(values);
                }
            }
            (StorageOp::Hash { file, leaf, .. }, Ok(Done::Digest(value))) => {
                let state = self.files.entry(*file).or_default();
                state.values.insert(*leaf, *value);
            }
            _ => {}
        }
    }

    /// The machine tells of `event`.
    pub fn on_event(&mut self, event: &Event) {
        assert!(self.closed.is_none(), "{event:?} after the end");
        match event {
            Event::File { file, status, .. } => {
                self.on_status(*file);
                let is_committed = matches!(status, xfer_proto::machine::FileStatus::Committed(_));
                self.committed += usize::from(is_committed);
            }
            Event::Refused { file, .. } => self.on_status(*file),
            Event::Closed(result) => self.closed = Some(result.is_ok()),
            Event::Established => {}
        }
    }

    fn on_status(&mut self, file: FileIndex) {
        let state = self.files.entry(file).or_default();
        assert!(!state.has_status, "a second status of {file:?}");
        state.has_status = true;
    }
}

impl File {
    /// All of `bytes` was written, or is of leaves that were kept from an earlier session.
    fn has(&self, bytes: Range<u64>) -> bool {
        let is_kept = |gap: Range<u64>| {
            let mut leaves = gap.start / LEAF_SIZE..=(gap.end - 1) / LEAF_SIZE;
            leaves.all(|leaf| self.values.contains_key(&leaf))
        };
        self.written.gaps(bytes).all(is_kept)
    }

    /// A leaf is hashed once it was written, or again as it was `kept` by an earlier session.
    fn check_hash(&self, leaf: u64, kept: Option<Digest>) {
        assert!(leaf < leaf_count(self.size));
        let (start, end) = leaf_range(self.size, leaf);
        match kept {
            Some(value) => assert_eq!(self.values.get(&leaf), Some(&value)),
            None => assert!(
                self.written.contains_range(start..end),
                "a leaf with a hole"
            ),
        }
    }

    /// Every leaf was hashed or proven, and the digest is theirs.
    fn check_commit(&self, digest: Digest) {
        if self.size == 0 {
            return assert_eq!(digest, xfer_proto::digest::empty());
        }
        assert!(!self.is_directory);
        let count = leaf_count(self.size);
        let known = self.values.range(..count).count() as u64;
        assert_eq!(known, count, "leaves that nobody hashed");
        if count <= MAX_MERGED {
            let values: Vec<_> = self.values.range(..count).map(|value| *value.1).collect();
            assert_eq!(root(&values), digest);
        }
    }
}
