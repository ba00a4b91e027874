//! The receiving end: files are written beside their place, verified, made durable and only then
//! moved to their names.

mod budget;
mod commit;
mod existing;
mod hashing;
mod partials;
mod prepare;
mod receiving;
mod run;
mod tree;

use crate::api::OnConflict;
use crate::storage::fault::{internal, is_out_of_handles};
use crate::storage::lru::Lru;
use crate::storage::sys::{self, Dir};
use crate::storage::{Store, handle_budget};
use budget::Budget;
use existing::Look;
use hashing::Hashers;
use partials::Partials;
use receiving::Receiving;
use run::Run;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;
use tree::Tree;
use xfer_proto::error::Failure;
use xfer_proto::id::{Digest, FileIndex, SessionId};
use xfer_proto::manifest::{Entry, Name};
use xfer_proto::storage::{Completion, Done, OpId, StorageOp};

/// One file of one session.
type Key = (SessionId, FileIndex);

/// Everything that is received into one directory, by any number of sessions.
pub(crate) struct SinkStore {
    tree: Tree,
    partials: Partials,
    files: HashMap<Key, Box<Incoming>>,
    /// Final names that a session is receiving for.
    claims: HashMap<Name, Key>,
    open: Lru<Key, File>,
    /// Journals that leaves are added to.
    journals: Lru<Key, File>,
    hashers: Hashers,
    /// Files that are there already and are to be hashed, the first of them in part.
    looks: VecDeque<Look>,
    budget: Budget,
    on_conflict: OnConflict,
}

/// A file that was prepared.
struct Incoming {
    entry: Entry,
    state: State,
}

enum State {
    /// A file of that name and size is there; nothing is received yet.
    Existing,
    /// That file was digested, and looked like this before.
    Held(sys::Identity, Digest),
    /// A directory, and whether we made it.
    Directory { made: bool },
    /// On its way.
    Receiving(Receiving),
    /// A newer session has taken it over; its sender is told as soon as it asks for something.
    TakenOver,
}

impl SinkStore {
    /// Opens `out`, which is made where it is missing, and looks at what earlier runs left there.
    ///
    /// # Errors
    /// Where `out` cannot be made, opened or written.
    pub(crate) fn open(out: &Path, on_conflict: OnConflict) -> io::Result<Self> {
        Self::open_at(out, on_conflict, handle_budget(), SystemTime::now())
    }

    /// The same with at most `handles` open at a time, at the time `now`.
    fn open_at(
        out: &Path,
        on_conflict: OnConflict,
        handles: usize,
        now: SystemTime,
    ) -> io::Result<Self> {
        make_durable_dir(out)?;
        let root = Dir::open_path(out)?;
        let partials = Partials::open(&root, now)?;
        Ok(Self {
            tree: Tree::new(root, handles / 4)?,
            partials,
            files: HashMap::new(),
            claims: HashMap::new(),
            open: Lru::new(handles / 2),
            journals: Lru::new(handles / 8),
            hashers: Hashers::new(),
            looks: VecDeque::new(),
            budget: Budget::new(u64::MAX),
            on_conflict,
        })
    }

    /// Accepts files of at most so many bytes in all, over all sessions. Default no bound.
    pub(crate) fn limit_total(&mut self, bytes: u64) {
        self.budget = Budget::new(bytes);
    }

    /// How many files of earlier runs can be gone on with, as of opening.
    pub(crate) fn resumable(&self) -> usize {
        self.partials.resumable()
    }

    /// Carries out everything but writes, commits and looks at what exists. `None` where no
    /// completion belongs to it, or not yet.
    fn run_one(
        &mut self,
        session: SessionId,
        op: StorageOp,
    ) -> Option<(OpId, Result<Done, Failure>)> {
        Some(match op {
            StorageOp::Prepare {
                op,
                file,
                entry,
                differs,
            } => (
                op,
                self.prepare((session, file), entry, differs)
                    .map(Done::Prepared),
            ),
            StorageOp::Hash {
                op,
                file,
                leaf,
                kept,
            } => (op, self.hash((session, file), leaf, kept).map(Done::Digest)),
            StorageOp::Checkpoint { op, file, leaves } => (
                op,
                self.checkpoint((session, file), &leaves)
                    .map(|()| Done::Recorded),
            ),
            StorageOp::Discard { file, keep } => {
                self.discard((session, file), keep);
                return None;
            }
            StorageOp::Read {
                op,
                file,
                offset,
                len,
                ..
            } => (
                op,
                self.read_back((session, file), offset, len as usize)
                    .map(Done::Read),
            ),
            StorageOp::ConfirmExisting { op, file } => {
                let confirmed = self.confirm_existing((session, file), op)?;
                (op, confirmed.map(Done::Confirmed))
            }
            StorageOp::Finish { op, .. }
            | StorageOp::DigestExisting { op, .. }
            | StorageOp::Write { op, .. }
            | StorageOp::Commit { op, .. } => {
                (op, Err(internal("finish a source at the receiving end")))
            }
        })
    }

    /// The end of a file without a commit.
    fn discard(&mut self, key: Key, keep: bool) {
        let kept = keep && self.keep(key);
        if let Some(part) = self.close_file(key, false) {
            if !kept {
                self.partials.remove(&part);
            }
            self.count_kept(&part);
        }
    }

    /// What is left of a partial file that is over counts against the total; mostly nothing is.
    fn count_kept(&mut self, part: &partials::Part) {
        let bytes = self.partials.allocated(&part.data);
        self.budget.on_kept(&part.data, bytes);
    }

    /// Takes the file out of every table; its partial file is the caller's to keep or remove.
    fn close_file(&mut self, key: Key, is_committed: bool) -> Option<partials::Part> {
        self.open.remove(&key);
        self.journals.remove(&key);
        let incoming = *self.files.remove(&key)?;
        if self.claims.get(&incoming.entry.name) == Some(&key) {
            self.claims.remove(&incoming.entry.name);
        }
        let State::Receiving(receiving) = incoming.state else {
            return None;
        };
        self.hashers.forget(key);
        let (size, unwritten) = (incoming.entry.size, receiving.unwritten);
        self.budget.on_closed(size, unwritten, is_committed);
        let part = *receiving.part?;
        self.partials.release(&part);
        Some(part)
    }

    /// Repeats an action once where it failed for want of handles, after closing those that can be
    /// reopened.
    fn with_handles<T>(
        &mut self,
        mut action: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        match action(self) {
            Err(error) if is_out_of_handles(&error) => {
                self.open.retain(|_| false);
                self.journals.retain(|_| false);
                self.tree.close_all();
                action(self)
            }
            other => other,
        }
    }
}

impl Store for SinkStore {
    fn run(
        &mut self,
        batch: Vec<(SessionId, StorageOp)>,
        done: &mut dyn FnMut(SessionId, Completion),
    ) -> bool {
        self.tree.turn();
        let mut commits = Vec::new();
        let mut committing = HashSet::new();
        let mut batch = batch.into_iter().peekable();
        while let Some((session, op)) = batch.next() {
            let op = match Run::start(session, op) {
                Ok(mut run) => {
                    while let Some((_, op)) = batch.next_if(|(of, op)| run.is_next(*of, op)) {
                        run.add(op);
                    }
                    self.write_run(run, done);
                    continue;
                }
                Err(op) => op,
            };
            if let StorageOp::Commit { op, file, .. } = op {
                commits.push((op, (session, file)));
                committing.insert((session, file));
                continue;
            }
            if let StorageOp::DigestExisting { op, file } = op {
                self.look_at((session, file), op);
                continue;
            }
            if let StorageOp::Discard { file, .. } = op
                && committing.contains(&(session, file))
            {
                // What was asked before it goes first.
                committing.clear();
                self.commit(std::mem::take(&mut commits), done);
            }
            if let Some((op, result)) = self.run_one(session, op) {
                done(session, Completion { op, result });
            }
        }
        self.commit(commits, done);
        self.is_looking()
    }

    fn go_on(&mut self, done: &mut dyn FnMut(SessionId, Completion)) -> bool {
        self.tree.turn();
        self.go_on_looking(done);
        self.is_looking()
    }

    fn forget(&mut self, session: SessionId) {
        let mut files: Vec<Key> = self
            .files
            .keys()
            .filter(|key| key.0 == session)
            .copied()
            .collect();
        files.sort_unstable();
        for key in files {
            self.discard(key, true);
        }
        self.looks.retain(|look| !look.is_of(session));
        self.partials.clean_again(SystemTime::now());
    }
}

impl Drop for SinkStore {
    fn drop(&mut self) {
        let files: Vec<Key> = self.files.keys().copied().collect();
        for key in files {
            self.discard(key, true);
        }
        self.partials.close(self.tree.root());
    }
}

/// Makes a directory of the user with its parents, so that it survives a power cut.
fn make_durable_dir(path: &Path) -> io::Result<()> {
    let above = |path: &'_ Path| {
        let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
        Dir::open_path(parent.unwrap_or(Path::new(".")))
    };
    if path.is_dir() {
        // A run that was killed may have made it just before. A parent that is not ours to open is
        // not where we would have made it.
        return above(path).map_or(Ok(()), |parent| parent.sync());
    }
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(|made| above(made)?.sync())
}

#[cfg(test)]
mod tests;
