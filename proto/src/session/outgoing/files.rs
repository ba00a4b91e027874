//! The files of an outgoing session: what is read, what is to be sent, what the receiver said of
//! each.

use crate::digest::{self, leaf_count};
use crate::file::layout::Layout;
use crate::file::source::{BlockKey, Blocks};
use crate::id::{Digest, FileIndex};
use crate::manifest::Entry;
use crate::range_set::RangeSet;
use crate::storage::{OpId, StorageOp};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

/// Bytes sent of files that the receiver has not answered for: what a first flight takes.
const MAX_UNANSWERED: u64 = 1 << 20;
/// A resume sends them in vain, which may cost it no more than 5 % of what it saves: of this much
/// content and more they are at most this part. Of less there is little to resume.
const RESUMABLE: u64 = 8 << 20;
const UNANSWERED_PART: u64 = 24;
const LEAST_UNANSWERED: u64 = 512 << 10;

/// What is known of a file at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its data is wanted, as far as anyone said.
    Sending,
    /// It exists there; only its EOF is wanted.
    Held,
    /// It has its final status.
    Final,
}

/// One file.
#[derive(Debug)]
pub(super) struct OutFile {
    pub entry: Entry,
    pub phase: Phase,
    /// The receiver has held it once.
    pub was_held: bool,
    pub started: Option<Instant>,
    pub retransmitted: u64,
    pub is_eof_sent: bool,
    /// Values of the leaves, as far as they are known; empty before the first is asked for.
    pub leaves: Vec<Option<Digest>>,
    known_leaves: u64,
    /// Leaves whose values were announced.
    announced: u64,
    pub is_finish_asked: bool,
    /// Chunks that the receiver has from an earlier session.
    pub have: RangeSet,
    /// Leaves that it has from an earlier session, with our values.
    pub kept: RangeSet,
    /// Leaves that it may have: to be compared with ours.
    pub claimed: BTreeMap<u64, Digest>,
}

/// What a completed read or finish means for the control stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Leaves of the file became known: announce these.
    Leaves {
        file: FileIndex,
        first: u64,
        values: Vec<Digest>,
    },
    /// The file is read: ask whether the source is unchanged.
    Finish(FileIndex),
}

/// All files of the session.
#[derive(Debug)]
pub(super) struct Files {
    pub files: Vec<OutFile>,
    pub layout: Layout,
    pub blocks: Blocks,
    /// Files offered so far.
    pub offered: u32,
    /// Files that the receiver answered for.
    pub answered: u32,
    unanswered_bytes: u64,
    /// Next chunk to be sent for the first time, and the file that it is in or before.
    cursor: u64,
    cursor_file: u32,
    /// Next leaf to be read for the first time.
    pub scan: (u32, u64),
    /// Leaves beyond it that were read before their turn.
    pub early: BTreeSet<BlockKey>,
    /// Reads of the first pass that have not ended.
    pub digest_reads: BTreeSet<OpId>,
    pub finishing: BTreeMap<OpId, FileIndex>,
    /// Chunks of files that turned out to be wanted after the cursor had passed them.
    pub late: RangeSet,
    pub open: usize,
    bytes: u64,
    pub reread_bytes: u64,
    next_op: u64,
}

impl Files {
    pub fn new(manifest: Vec<Entry>, chunk_size: usize, read_buffer: usize) -> Self {
        let files: Vec<OutFile> = manifest.into_iter().map(OutFile::new).collect();
        Self {
            open: files.len(),
            bytes: files
                .iter()
                .fold(0, |all, file| all.saturating_add(file.entry.size)),
            files,
            layout: Layout::new(chunk_size),
            blocks: Blocks::new(read_buffer),
            offered: 0,
            answered: 0,
            unanswered_bytes: 0,
            cursor: 0,
            cursor_file: 0,
            scan: (0, 0),
            early: BTreeSet::new(),
            digest_reads: BTreeSet::new(),
            finishing: BTreeMap::new(),
            late: RangeSet::new(),
            reread_bytes: 0,
            next_op: 0,
        }
    }

    pub fn get(&self, file: FileIndex) -> Option<&OutFile> {
        self.files.get(file.as_usize())
    }

    pub fn get_mut(&mut self, file: FileIndex) -> Option<&mut OutFile> {
        self.files.get_mut(file.as_usize())
    }

    /// One past the last chunk that was sent for the first time.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Every offered chunk was sent once, or need not be.
    pub fn is_all_sent(&mut self) -> bool {
        self.late.is_empty()
            && self.offered as usize == self.files.len()
            && self.next_fresh().is_none()
            && self.cursor >= self.layout.end()
    }

    pub fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that were read again for what had to be sent again.
    pub fn reread_bytes(&self) -> u64 {
        self.reread_bytes
    }

    pub fn cursor_key(&self) -> BlockKey {
        let file = FileIndex(self.cursor_file);
        let leaf = self
            .layout
            .place(self.cursor)
            .map_or(0, |place| place.offset / digest::LEAF_SIZE);
        (file, leaf)
    }

    /// The file that is sent next, or the number of files.
    pub fn cursor_file(&self) -> u32 {
        self.cursor_file
    }

    /// The value of a leaf is known, from a read or from the receiver's journal.
    pub fn on_leaf(&mut self, file: FileIndex, leaf: u64, value: Digest) -> Vec<Progress> {
        let size = self.layout.size(file);
        let Some(state) = self.files.get_mut(file.as_usize()) else {
            return Vec::new();
        };
        if state.phase == Phase::Final {
            return Vec::new();
        }
        state.allocate_leaves(size);
        let Some(slot) = state.leaves.get_mut(leaf as usize) else {
            return Vec::new();
        };
        if slot.is_none() {
            state.known_leaves += 1;
        }
        *slot = Some(value);
        let is_kept = state.claimed.remove(&leaf) == Some(value);
        let mut progress = Vec::new();
        if leaf_count(size) > 1 {
            let first = state.announced;
            let rest = state.leaves.get(first as usize..).unwrap_or_default();
            let values: Vec<Digest> = rest.iter().map_while(|value| *value).collect();
            if !values.is_empty() {
                state.announced += values.len() as u64;
                progress.push(Progress::Leaves {
                    file,
                    first,
                    values,
                });
            }
        }
        if state.known_leaves == leaf_count(size) {
            progress.push(Progress::Finish(file));
        }
        if is_kept {
            self.keep(file, leaf);
        }
        progress
    }

    /// The digest of a file all of whose leaves are known.
    pub fn digest(&self, file: FileIndex) -> Option<Digest> {
        let state = self.get(file)?;
        if self.layout.size(file) == 0 {
            return Some(digest::empty());
        }
        let leaves: Option<Vec<Digest>> = state.leaves.iter().copied().collect();
        leaves
            .filter(|leaves| !leaves.is_empty())
            .map(|leaves| digest::root(&leaves))
    }

    /// The next chunk that was never sent and may be; moves over what need not be sent.
    pub fn next_fresh(&mut self) -> Option<u64> {
        while self.cursor_file < self.offered {
            let file = FileIndex(self.cursor_file);
            let chunks = self.layout.chunks(file);
            let state = self.files.get(file.as_usize())?;
            if self.cursor >= chunks.end || state.phase != Phase::Sending {
                self.cursor = self.cursor.max(chunks.end);
                self.cursor_file += 1;
                continue;
            }
            let after = state.have.gaps(self.cursor..chunks.end).next();
            let Some(gap) = after else {
                self.cursor = chunks.end;
                continue;
            };
            self.cursor = gap.start;
            let is_answered = self.cursor_file < self.answered;
            let may_go = is_answered || self.unanswered_bytes < self.max_unanswered();
            return may_go.then_some(self.cursor);
        }
        None
    }

    fn max_unanswered(&self) -> u64 {
        if self.bytes < RESUMABLE {
            return MAX_UNANSWERED;
        }
        (self.bytes / UNANSWERED_PART).clamp(LEAST_UNANSWERED, MAX_UNANSWERED)
    }

    /// The fresh chunk that [`Self::next_fresh`] named was sent.
    pub fn on_fresh_sent(&mut self, now: Instant, file: FileIndex, len: u64) {
        self.cursor += 1;
        if file.0 >= self.answered {
            self.unanswered_bytes += len;
        }
        if let Some(state) = self.get_mut(file) {
            state.started.get_or_insert(now);
        }
    }

    /// Whether the content of a chunk is there without a read.
    pub fn is_in_memory(&self, chunk: u64) -> bool {
        let Some(place) = self.layout.place(chunk) else {
            return false;
        };
        let last = (place.offset + place.len as u64 - 1) / digest::LEAF_SIZE;
        let mut leaves = place.offset / digest::LEAF_SIZE..=last;
        leaves.all(|leaf| self.blocks.data((place.file, leaf)).is_some())
    }

    /// The content of a chunk, in one or two pieces. Where it is not in memory, `want` gets the
    /// read that brings it.
    pub fn payload(
        &mut self,
        chunk: u64,
        want: &mut VecDeque<StorageOp>,
    ) -> Option<(&[u8], &[u8])> {
        let place = self.layout.place(chunk)?;
        let end = place.offset + place.len as u64;
        let (first, last) = (
            place.offset / digest::LEAF_SIZE,
            (end - 1) / digest::LEAF_SIZE,
        );
        let chunk_blocks = (place.file, first)..=(place.file, last);
        for leaf in first..=last {
            if self.blocks.data((place.file, leaf)).is_none() {
                want.extend(self.read_for(&chunk_blocks, (place.file, leaf)));
            }
        }
        self.pieces(chunk)
    }

    /// The same, as far as it is in memory.
    pub fn pieces(&self, chunk: u64) -> Option<(&[u8], &[u8])> {
        let place = self.layout.place(chunk)?;
        let end = place.offset + place.len as u64;
        let (first, last) = (
            place.offset / digest::LEAF_SIZE,
            (end - 1) / digest::LEAF_SIZE,
        );
        let cut = |leaf: u64, from: u64, to: u64| -> Option<&[u8]> {
            let start = leaf * digest::LEAF_SIZE;
            let data = self.blocks.data((place.file, leaf))?;
            data.get((from - start) as usize..(to - start) as usize)
        };
        if first == last {
            return Some((cut(first, place.offset, end)?, &[]));
        }
        let border = last * digest::LEAF_SIZE;
        Some((cut(first, place.offset, border)?, cut(last, border, end)?))
    }

    /// The file has its final status: nothing more of it is read or sent.
    pub fn on_final(&mut self, file: FileIndex) -> bool {
        let chunks = self.layout.chunks(file);
        let Some(state) = self.files.get_mut(file.as_usize()) else {
            return false;
        };
        if state.phase == Phase::Final {
            return false;
        }
        state.phase = Phase::Final;
        state.leaves = Vec::new();
        state.have = RangeSet::new();
        state.kept = RangeSet::new();
        state.claimed = BTreeMap::new();
        self.open -= 1;
        self.blocks.forget(file);
        self.late.remove(chunks);
        true
    }
}

impl OutFile {
    fn new(entry: Entry) -> Self {
        Self {
            entry,
            phase: Phase::Sending,
            was_held: false,
            started: None,
            retransmitted: 0,
            is_eof_sent: false,
            leaves: Vec::new(),
            known_leaves: 0,
            announced: 0,
            is_finish_asked: false,
            have: RangeSet::new(),
            kept: RangeSet::new(),
            claimed: BTreeMap::new(),
        }
    }

    pub fn allocate_leaves(&mut self, size: u64) {
        if self.leaves.is_empty() {
            self.leaves = vec![None; leaf_count(size) as usize];
        }
    }
}
