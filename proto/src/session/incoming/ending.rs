//! How a file, and a session, ends.

use super::files::Phase as FilePhase;
use super::{IncomingSession, Phase, progress};
use crate::error::Failure;
use crate::id::FileIndex;
use crate::machine::{Event, FileStatus};
use crate::storage::StorageOp;
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::message::Verdict;

impl IncomingSession {
    /// Ends the session for a reason of our own; the sender is told.
    pub(super) fn fail(&mut self, now: Instant, failure: Failure) {
        if self.phase == Phase::Open {
            self.farewell = Some(failure.clone());
            self.end(now, Err(failure));
        }
    }

    pub(super) fn end(&mut self, now: Instant, result: Result<(), Failure>) {
        if self.phase != Phase::Open {
            return;
        }
        self.ending = Some((result, 0));
        self.phase = Phase::Closing;
        self.timers.stop_all();
        self.timers.set(Timer::Close, now);
    }

    /// Gives files without a status the one that the end of the session gives them, one at a time:
    /// what there is to say of a million would need as much memory as they do.
    pub(super) fn end_files(&mut self, now: Instant) {
        while self.storage.is_empty()
            && self.events.is_empty()
            && let Some((result, file)) = self.ending.take()
        {
            match result {
                Err(failure) if (file as usize) < self.files.files.len() => {
                    self.finish(now, FileIndex(file), Err((failure.clone(), true)));
                    self.ending = Some((Err(failure), file + 1));
                }
                result => self.events.push_back(Event::Closed(result)),
            }
        }
    }

    /// A file has its final status: the sender is told, its chunks are not wanted any more. A
    /// failure says whether what has come may serve a later session.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        file: FileIndex,
        result: Result<Verdict, (Failure, bool)>,
    ) {
        let chunks = self.files.layout.chunks(file);
        let Some(state) = self.files.get(file) else {
            return;
        };
        if state.phase == FilePhase::Final {
            return;
        }
        let was_asked = state.phase != FilePhase::Offered;
        let (entry, course) = self.files.on_final(file);
        let digest = course.eof.unwrap_or_else(crate::digest::empty);
        self.progress.on_bytes(progress::FILE_PROGRESS);
        let started = course.started.unwrap_or(now);
        self.parts.forget(chunks.clone());
        self.parity.forget(&chunks);
        self.received.insert(chunks);
        self.drop_ops(course.waiting);
        self.assembly.forget(file);
        let (verdict, status) = match result {
            Ok(verdict @ Verdict::Skipped) => (verdict, FileStatus::Skipped(digest)),
            Ok(verdict) => (verdict, FileStatus::Committed(digest)),
            Err((failure, keep)) => {
                if was_asked {
                    self.storage.push_back(StorageOp::Discard { file, keep });
                }
                (
                    Verdict::Failed(failure.clone()),
                    FileStatus::Failed(failure),
                )
            }
        };
        if self.phase == Phase::Open {
            self.statuses.push((file, verdict));
        }
        if let Some(entry) = entry {
            let retransmitted_bytes = 0;
            self.events.push_back(Event::File {
                file,
                entry,
                status,
                started,
                retransmitted_bytes,
            });
        }
        self.reporting.ask();
    }
}
