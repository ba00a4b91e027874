//! Content on its way to storage: chunks, leaves, verification, commit (SPEC.md, `receiver`).

use super::files::{InFile, Phase as FilePhase};
use super::{IncomingSession, Phase};
use crate::config::{MAX_INTEGRITY_RETRIES, MAX_RANGES};
use crate::digest::{self, leaf_count};
use crate::error::{ErrorCode, Failure};
use crate::file::layout::Place;
use crate::file::parts::{Taken, part_index};
use crate::id::{Digest, FileIndex};
use crate::storage::{Completion, Done, Leaf, OpId, StorageOp};
use crate::time::{Duration, Instant};
use crate::wire::message::Verdict;
use alloc::vec::Vec;

/// What an operation was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpKind {
    /// `is_first`: it counts in [`super::files::Files::preparing`].
    Prepare {
        is_first: bool,
    },
    Existing,
    Confirm,
    Write {
        buffer: u64,
    },
    Hash {
        leaf: u64,
    },
    ReadBack {
        offset: u64,
    },
    Recheck {
        leaf: u64,
    },
    Checkpoint,
    Commit,
}

impl IncomingSession {
    pub(super) fn op(&mut self, file: FileIndex, kind: OpKind) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.ops.insert(op, (file, kind));
        op
    }

    /// Asks for an operation, at once or when the file is prepared.
    fn ask(&mut self, file: FileIndex, op: StorageOp) {
        match self.files.get_mut(file) {
            Some(state) if matches!(state.phase, FilePhase::Offered | FilePhase::Preparing) => {
                if let Some(course) = self.files.course(file) {
                    course.waiting.push(op);
                }
            }
            _ => self.storage.push_back(op),
        }
    }

    pub(super) fn on_chunk(&mut self, now: Instant, chunk: u64, payload: &[u8]) {
        let Some(place) = self.files.layout.place(chunk) else {
            if self.files.total.is_some() {
                self.violation(now, "it sent a chunk that does not exist");
            }
            // Otherwise data has overtaken its offer: it will be asked for again.
            return;
        };
        if payload.len() != place.len {
            return self.violation(now, "it sent a chunk of the wrong length");
        }
        if self.received.contains(chunk) {
            self.stats.duplicate_chunks += 1;
            return;
        }
        if self.takes(chunk, place, payload) {
            self.on_chunk_whole(now, chunk, place);
        }
    }

    /// Some bytes of a chunk came, of a path that does not carry it in one packet any more.
    pub(super) fn on_part(&mut self, now: Instant, chunk: u64, offset: usize, payload: &[u8]) {
        let Some(place) = self.files.layout.place(chunk) else {
            if self.files.total.is_some() {
                self.violation(now, "it sent a part of a chunk that does not exist");
            }
            return;
        };
        if part_index(place.len, offset, payload.len()).is_none() {
            return self.violation(now, "it sent a part that no chunk has");
        }
        if self.received.contains(chunk) {
            // A repair repeats every part of a chunk: that says nothing about the order of packets.
            return;
        }
        let part = Place {
            offset: place.offset + offset as u64,
            len: payload.len(),
            ..place
        };
        if self.takes(chunk, part, payload)
            && self.parts.on_part(chunk, place.len, offset, payload.len()) == Taken::Whole
        {
            self.on_chunk_whole(now, chunk, place);
        }
    }

    /// Takes bytes of a chunk into memory; answers whether it did.
    fn takes(&mut self, chunk: u64, place: Place, payload: &[u8]) -> bool {
        if !self.files.get(place.file).is_some_and(InFile::takes_data) || !self.has_range_for(chunk)
        {
            return false;
        }
        let is_stored = self.files.may_begin(place.file) && self.store(place, payload);
        if !is_stored {
            self.host_drops = self.host_drops.saturating_add(1);
        }
        // A block may be full, or was given up to make room: a part of a chunk can do that, too.
        self.ask_writes();
        is_stored
    }

    fn on_chunk_whole(&mut self, now: Instant, chunk: u64, place: Place) {
        self.parts.forget(chunk..chunk + 1);
        self.received.insert(chunk..chunk + 1);
        self.parity.on_chunk(chunk);
        self.progress.on_bytes(place.len as u64);
        if let Some(course) = self.files.course(place.file) {
            course.started.get_or_insert(now);
        }
        let bytes = place.offset..place.offset + place.len as u64;
        let complete = self.files.on_bytes(place.file, bytes);
        for leaf in &complete {
            self.assembly
                .flush(place.file, self.files.layout.leaf(place.file, *leaf));
        }
        self.ask_writes();
        for leaf in complete {
            self.hash_leaf(place.file, leaf);
        }
        if self.received.first_missing() == self.files.layout.end() {
            self.reporting.ask();
        }
    }

    /// Whether a chunk may be noted: what fills a hole from its border always may, what makes one
    /// more range only while there are few.
    fn has_range_for(&mut self, chunk: u64) -> bool {
        chunk == self.received.first_missing()
            || self.received.contains(chunk.saturating_sub(1))
            || self.received.contains(chunk.saturating_add(1))
            || (self.received.range_count() < MAX_RANGES && self.may_book_hole())
    }

    /// Takes the bytes of a chunk that belong to leaves which are not complete: what is verified is
    /// never written again. Answers whether there was memory for them.
    fn store(&mut self, place: Place, payload: &[u8]) -> bool {
        let size = self.files.layout.size(place.file);
        let end = place.offset + place.len as u64;
        for index in self
            .files
            .layout
            .leaves_touching(place.file, place.offset..end)
        {
            let leaf = self.files.layout.leaf(place.file, index);
            let is_complete = |leaf: &super::leaves::LeafState| leaf.missing == 0;
            let state = self.files.leaf(place.file, index);
            if state.is_none_or(|state| is_complete(state)) {
                continue;
            }
            let (from, to) = (leaf.start.max(place.offset), leaf.end.min(end));
            let within = (from - place.offset) as usize..(to - place.offset) as usize;
            let bytes = payload.get(within).unwrap_or_default();
            if !self.assembly.store(place.file, size, from, bytes) {
                return false;
            }
        }
        true
    }

    pub(super) fn ask_writes(&mut self) {
        while let Some(write) = self.assembly.next_write() {
            let op = self.op(
                write.file,
                OpKind::Write {
                    buffer: write.buffer,
                },
            );
            let (file, offset, data) = (write.file, write.offset, write.data);
            self.ask(
                file,
                StorageOp::Write {
                    op,
                    file,
                    offset,
                    data,
                },
            );
        }
    }

    fn look_at_backlog(&mut self, now: Instant) {
        let (waiting, limit) = (self.assembly.writing(), self.assembly.limit());
        let round_trip = if self.rtt.is_measured() {
            self.rtt.min()
        } else {
            Duration::ZERO
        };
        self.backlog.on_change(now, waiting, limit, round_trip);
    }

    /// Bytes that the sender may have in flight, as far as memory goes.
    pub(super) fn window(&self) -> u64 {
        let room = self.assembly.room();
        room.saturating_sub(self.backlog.surplus())
    }

    /// The window while nothing is held.
    pub(super) fn most_window(&self) -> u64 {
        let limit = self.assembly.limit();
        limit.saturating_sub(self.backlog.surplus())
    }

    fn hash_leaf(&mut self, file: FileIndex, leaf: u64) {
        if let Some(state) = self.files.leaf(file, leaf) {
            state.is_hashing = true;
        }
        let op = self.op(file, OpKind::Hash { leaf });
        let kept = None;
        self.ask(
            file,
            StorageOp::Hash {
                op,
                file,
                leaf,
                kept,
            },
        );
    }

    pub(super) fn on_completion(&mut self, now: Instant, completion: Completion) {
        let op = completion.op;
        let Some((file, kind)) = self.ops.remove(&op) else {
            return;
        };
        match kind {
            OpKind::Write { buffer } => {
                self.assembly.on_written(buffer);
                self.look_at_backlog(now);
                self.reporting.on_room(self.window(), self.most_window());
            }
            OpKind::Recheck { .. } => self.files.rechecks.on_done(),
            // Whatever became of the file meanwhile: there is room for another.
            OpKind::Prepare { is_first } => self.files.preparing -= usize::from(is_first),
            _ => {}
        }
        let is_final = self
            .files
            .get(file)
            .is_none_or(|state| state.phase == FilePhase::Final);
        if is_final || self.phase != Phase::Open {
            if self.phase == Phase::Open {
                self.recheck();
            }
            return;
        }
        match (kind, completion.result) {
            (OpKind::Prepare { .. }, Ok(Done::Prepared(prepared))) => {
                self.on_prepared(now, file, prepared)
            }
            (OpKind::Existing, Ok(Done::Digest(digest))) => {
                if let Some(course) = self.files.course(file) {
                    course.existing = Some(digest);
                }
                self.compare_existing(file);
            }
            (OpKind::Confirm, Ok(Done::Confirmed(is_unchanged))) => {
                self.on_confirmed(now, file, is_unchanged);
            }
            (OpKind::Hash { leaf }, Ok(Done::Digest(value))) => {
                self.on_hashed(now, file, leaf, value)
            }
            (OpKind::Recheck { leaf }, result) => self.on_rechecked(now, file, leaf, result),
            (OpKind::ReadBack { offset }, result) => self.on_read_back(now, op, offset, result),
            (OpKind::Commit, Ok(Done::Committed)) => self.finish(now, file, Ok(Verdict::Committed)),
            (OpKind::Write { .. } | OpKind::Checkpoint, Ok(_)) => {}
            (OpKind::Checkpoint, Err(_)) => {}
            (_, Ok(_)) => {
                let failure = Failure::new(ErrorCode::INTERNAL, "storage gave a wrong answer");
                self.finish(now, file, Err((failure, false)));
            }
            (_, Err(failure)) => self.finish(now, file, Err((failure, false))),
        }
        self.answer_files();
    }

    fn on_hashed(&mut self, now: Instant, file: FileIndex, leaf: u64, value: Digest) {
        let Some(state) = self.files.leaf(file, leaf) else {
            return;
        };
        if !state.is_hashing || state.missing > 0 {
            // The leaf was given up in the meantime.
            return;
        }
        state.is_hashing = false;
        state.value = Some(value);
        if let Some(state) = self.files.get_mut(file) {
            state.open_leaves = state.open_leaves.saturating_sub(1);
        }
        self.check_leaf(now, file, leaf);
        self.commit_if_whole(now, file);
    }

    /// Compares a leaf with the value that the sender announced, once both are known.
    pub(super) fn check_leaf(&mut self, now: Instant, file: FileIndex, leaf: u64) {
        let is_single = leaf_count(self.files.layout.size(file)) == 1;
        let state = self.files.get(file).and_then(|file| file.leaf(leaf));
        let Some(state) = state.copied() else {
            return;
        };
        match (state.value, self.files.expected(file, leaf)) {
            (Some(value), Some(expected)) if value != expected => self.on_corrupt(now, file, leaf),
            // On record already, and not hashed again yet.
            _ if state.is_hashing => {}
            (Some(value), Some(_)) if !is_single => {
                let op = self.op(file, OpKind::Checkpoint);
                let leaves = [Leaf { index: leaf, value }].to_vec();
                self.ask(file, StorageOp::Checkpoint { op, file, leaves });
            }
            _ => {}
        }
    }

    /// What came is not what was sent: the leaf is asked for again, a few times.
    pub(super) fn on_corrupt(&mut self, now: Instant, file: FileIndex, leaf: u64) {
        let is_resumed = self
            .files
            .leaf(file, leaf)
            .is_some_and(|state| state.is_resumed);
        let Some(state) = self.files.get_mut(file) else {
            return;
        };
        state.retries += u8::from(!is_resumed);
        if state.retries > MAX_INTEGRITY_RETRIES {
            let failure = Failure::from(ErrorCode::INTEGRITY);
            return self.finish(now, file, Err((failure, false)));
        }
        let received = &self.received;
        let chunks = self
            .files
            .reset_leaf(file, leaf, |chunk| received.contains(chunk));
        self.reporting.on_sent(chunks.end);
        self.parity.forget(&chunks);
        self.received.remove(chunks);
        let bytes = self.files.layout.leaf(file, leaf);
        self.parts
            .forget(self.files.layout.chunks_touching(file, bytes));
        self.reporting.ask();
    }

    /// Every leaf has come: the digest decides.
    pub(super) fn commit_if_whole(&mut self, now: Instant, file: FileIndex) {
        let size = self.files.layout.size(file);
        let Some(state) = self.files.get(file) else {
            return;
        };
        let (FilePhase::Receiving, Some(eof)) = (state.phase, state.eof()) else {
            return;
        };
        if size > 0 && state.open_leaves > 0 {
            return;
        }
        let leaves = state
            .course
            .iter()
            .flat_map(|course| course.leaves.values());
        let values: Option<Vec<Digest>> = leaves.map(|leaf| leaf.value).collect();
        if values.map(|values| digest::root(&values)) == Some(eof) {
            self.commit(file, eof);
        } else {
            // Each leaf is what the sender said, and yet the whole is not: sending again cannot
            // help.
            let failure = Failure::from(ErrorCode::INTEGRITY);
            self.finish(now, file, Err((failure, false)));
        }
    }

    pub(super) fn commit(&mut self, file: FileIndex, digest: Digest) {
        if let Some(state) = self.files.get_mut(file) {
            state.phase = FilePhase::Committing;
        }
        let op = self.op(file, OpKind::Commit);
        self.storage
            .push_back(StorageOp::Commit { op, file, digest });
    }
}
