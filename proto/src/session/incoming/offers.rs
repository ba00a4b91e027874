//! What the sender says about its files: offers, leaf values, ends (SPEC.md, `messages`).

// What it computes with comes from a peer.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::content::OpKind;
use super::files::{InFile, Phase as FilePhase};
use super::progress::{ENTRY_PROGRESS, LEAF_PROGRESS};
use super::{IncomingSession, Phase};
use crate::config::MAX_MANIFEST_BYTES;
use crate::digest::leaf_count;
use crate::error::{ErrorCode, Failure};
use crate::id::{Digest, FileIndex};
use crate::machine::Event;
use crate::manifest::{EntryKind, MAX_FILE_SIZE};
use crate::storage::StorageOp;
use crate::time::Instant;
use crate::wire::message::{MAX_LEAVES, Message, Verdict, WireEntry};
use alloc::format;
use alloc::vec::Vec;

/// Names that storage looks at, at once.
const MAX_PREPARING: usize = 64;

impl IncomingSession {
    pub(super) fn on_messages(&mut self, now: Instant) {
        while self.phase == Phase::Open {
            match self.peer_control.next_message() {
                Ok(Some(message)) => self.on_message(now, message),
                Ok(None) => return,
                Err(_) => return self.violation(now, "it sent a malformed message"),
            }
        }
    }

    fn on_message(&mut self, now: Instant, message: Message) {
        let is_known = |file: FileIndex| self.files.get(file).is_some();
        match message {
            Message::Offer { first, entries } => self.on_offer(now, first, entries),
            Message::OfferEnd { files } => {
                if self.files.total.is_some() || files as usize != self.files.files.len() {
                    return self.violation(now, "the end of its offer does not fit the offer");
                }
                self.files.total = Some(files);
            }
            Message::Leaves {
                file,
                first,
                values,
            } if is_known(file) && values.len() <= MAX_LEAVES => {
                self.on_leaf_values(now, file, first, values);
            }
            Message::Eof {
                file,
                size,
                chunks,
                digest,
            } if is_known(file) => {
                self.on_eof(now, file, size, chunks, digest);
            }
            Message::Abandon { file, failure } if is_known(file) => {
                self.finish(now, file, Err((failure, false)));
            }
            _ => self.violation(
                now,
                "it sent a message that is the receiver's, or of no file",
            ),
        }
    }

    fn on_offer(&mut self, now: Instant, first: FileIndex, entries: Vec<WireEntry>) {
        if self.files.total.is_some() || first.as_usize() != self.files.files.len() {
            return self.violation(now, "its offer is out of order");
        }
        if entries.is_empty() {
            return self.violation(now, "it offered nothing");
        }
        for entry in entries {
            if !entry.is_possible() {
                return self.violation(now, "it offered a file with an impossible time");
            }
            let index = self.files.files.len();
            if index >= self.config.max_files as usize {
                let text = format!("at most {}", self.config.max_files);
                return self.fail(now, Failure::new(ErrorCode::TOO_MANY_FILES, text));
            }
            let name_bytes = entry.name.len() as u64;
            self.progress
                .on_bytes(name_bytes.saturating_add(ENTRY_PROGRESS));
            self.files.name_bytes = self.files.name_bytes.saturating_add(name_bytes);
            if self.files.name_bytes > MAX_MANIFEST_BYTES {
                return self.fail(
                    now,
                    Failure::new(ErrorCode::TOO_MANY_FILES, "too many names"),
                );
            }
            if !self.files.may_offer(name_bytes) {
                let text = "all transfers together have offered too many files; try again later";
                return self.fail(now, Failure::new(ErrorCode::BUSY, text));
            }
            let is_size_possible = entry.size <= MAX_FILE_SIZE
                && (entry.kind == EntryKind::File || entry.size == 0)
                && self.files.layout.push(entry.size).is_some();
            if !is_size_possible {
                return self.violation(now, "it offered a size that no file can have");
            }
            self.accept(now, FileIndex(index as u32), entry);
        }
    }

    fn accept(&mut self, now: Instant, file: FileIndex, entry: WireEntry) {
        let (size, name) = (entry.size, entry.name.clone());
        self.files.open = self.files.open.saturating_add(1);
        let total = self.files.offered_bytes.saturating_add(size);
        let quota = if size > self.config.max_file_size {
            Some(self.config.max_file_size)
        } else if total > self.config.max_total_size {
            Some(self.config.max_total_size)
        } else {
            None
        };
        match entry.into_entry() {
            Err(error) => {
                let failure = Failure::new(ErrorCode::NAME_REFUSED, format!("{error}"));
                self.files.files.push(InFile::new(None));
                let refused = Event::Refused {
                    file,
                    name,
                    failure: failure.clone(),
                };
                self.events.push_back(refused);
                self.finish(now, file, Err((failure, false)));
            }
            Ok(entry) => {
                self.files.files.push(InFile::new(Some(entry)));
                match quota {
                    Some(limit) => {
                        let text = format!("at most {limit} bytes");
                        let failure = Failure::new(ErrorCode::QUOTA, text);
                        self.finish(now, file, Err((failure, false)));
                    }
                    None => self.files.offered_bytes = total,
                }
            }
        }
    }

    /// Asks storage to look at the next names.
    pub(super) fn prepare_files(&mut self) {
        while self.files.preparing < MAX_PREPARING {
            let file = FileIndex(self.files.prepare_next);
            let Some(phase) = self.files.get(file).map(|state| state.phase) else {
                return;
            };
            self.files.prepare_next = file.0.saturating_add(1);
            if phase == FilePhase::Offered {
                self.files.preparing = self.files.preparing.saturating_add(1);
                self.prepare(file, false);
            }
        }
    }

    pub(super) fn prepare(&mut self, file: FileIndex, differs: bool) {
        let is_first = !differs;
        let op = self.op(file, OpKind::Prepare { is_first });
        let Some(state) = self.files.get_mut(file) else {
            return;
        };
        let Some(entry) = state.entry.clone() else {
            return;
        };
        state.phase = if differs {
            FilePhase::Replacing
        } else {
            FilePhase::Preparing
        };
        self.storage.push_back(StorageOp::Prepare {
            op,
            file,
            entry,
            differs,
        });
    }

    /// Tells the sender of the files that are decided on.
    pub(super) fn answer_files(&mut self) {
        let before = self.files.answered;
        while let Some(state) = self.files.get(FileIndex(self.files.answered)) {
            if matches!(state.phase, FilePhase::Offered | FilePhase::Preparing) {
                break;
            }
            self.files.answered = self.files.answered.saturating_add(1);
        }
        if self.files.answered > before {
            self.control.push(&Message::Answer {
                through: self.files.answered,
            });
        }
    }

    fn on_leaf_values(&mut self, now: Instant, file: FileIndex, first: u64, values: Vec<Digest>) {
        let count = leaf_count(self.files.layout.size(file));
        let is_possible = count > 1 && first.saturating_add(values.len() as u64) <= count;
        if !is_possible {
            return self.violation(now, "it sent values of leaves that do not exist");
        }
        if !self.files.get(file).is_some_and(InFile::takes_data) {
            // A held file may turn out to be wanted: the values must not get lost.
            let is_undecided = self.files.get(file).is_some_and(|state| {
                matches!(
                    state.phase,
                    FilePhase::Held | FilePhase::Confirming | FilePhase::Replacing
                )
            });
            if !is_undecided {
                return;
            }
        }
        // Those that were not said before are progress, whether there is memory for them or not.
        let Some(course) = self.files.course(file) else {
            return;
        };
        let end = first.saturating_add(values.len() as u64);
        let new = end.saturating_sub(course.told_leaves.max(first));
        course.told_leaves = course.told_leaves.max(end);
        self.progress.on_bytes(new.saturating_mul(LEAF_PROGRESS));
        for (index, value) in (first..).zip(values) {
            // A value that is not remembered is missed only if the leaf comes damaged: then the
            // digest of the whole finds it.
            if !self.files.knows_leaf(file, index) && !self.may_book_leaf() {
                continue;
            }
            self.files.announce(file, index, value);
            self.check_leaf(now, file, index);
        }
    }

    fn on_eof(&mut self, now: Instant, file: FileIndex, size: u64, chunks: u64, digest: Digest) {
        let range = self.files.layout.chunks(file);
        if size != self.files.layout.size(file) || chunks != range.end.saturating_sub(range.start) {
            return self.violation(now, "the end of a file does not fit its offer");
        }
        let is_single = leaf_count(size) == 1;
        let Some(state) = self.files.get(file) else {
            return;
        };
        if state.eof().is_some_and(|eof| eof != digest) {
            return self.violation(now, "it gave a file two ends");
        }
        let Some(course) = self.files.course(file) else {
            return;
        };
        course.eof = Some(digest);
        if is_single && size > 0 {
            self.check_leaf(now, file, 0);
        }
        self.compare_existing(file);
        self.commit_if_whole(now, file);
    }

    /// A held file whose two digests are known is either there already or is to be replaced.
    pub(super) fn compare_existing(&mut self, file: FileIndex) {
        let Some(state) = self
            .files
            .get(file)
            .filter(|state| state.phase == FilePhase::Held)
        else {
            return;
        };
        let Some(course) = &state.course else {
            return;
        };
        match (course.existing, course.eof) {
            // It was hashed when the offer came; what is said now has to be true now.
            (Some(existing), Some(eof)) if existing == eof => {
                if let Some(state) = self.files.get_mut(file) {
                    state.phase = FilePhase::Confirming;
                }
                let op = self.op(file, OpKind::Confirm);
                self.storage
                    .push_back(StorageOp::ConfirmExisting { op, file });
            }
            (Some(_), Some(_)) => self.prepare(file, true),
            _ => {}
        }
    }

    pub(super) fn on_confirmed(&mut self, now: Instant, file: FileIndex, is_unchanged: bool) {
        if is_unchanged {
            self.finish(now, file, Ok(Verdict::Skipped));
        } else {
            self.prepare(file, true);
        }
    }
}
