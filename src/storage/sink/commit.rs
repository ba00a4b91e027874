//! The end of a file: durable content, then its name, then a durable name, and only then
//! `Committed`.
//!
//! Commits of one batch go through these steps together. Up to [`SYNC_EACH`] files are synced one
//! by one; more share one sync of the whole file system, which also reports every write that
//! failed. What a sync says is final: after an error the kernel may have dropped the data and call
//! the next sync a success.

use super::partials::Part;
use super::prepare::may_conflict;
use super::receiving::Receiving;
use super::receiving::taken_over;
use super::tree::split;
use super::{Key, SinkStore, State};
use crate::api::OnConflict;
use crate::storage::fault::{internal, sink_failure};
use crate::storage::sys::{self, Kind};
use std::io;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::SessionId;
use xfer_proto::manifest::{Entry, MODE_MASK, Name};
use xfer_proto::storage::{Completion, Done, OpId};

/// So many files are synced one by one; above, one sync of the file system is cheaper. It also
/// waits for what other programs have written, so it is not worth it for a few.
pub(super) const SYNC_EACH: usize = 8;
/// Numbers tried for a name that is taken.
const MAX_NUMBER: u32 = 10_000;

/// A file between the steps.
struct Step {
    op: OpId,
    key: Key,
    result: Result<(), Failure>,
}

impl SinkStore {
    pub(super) fn commit(
        &mut self,
        commits: Vec<(OpId, Key)>,
        done: &mut dyn FnMut(SessionId, Completion),
    ) {
        if commits.is_empty() {
            return;
        }
        let mut steps: Vec<Step> = commits
            .into_iter()
            .map(|(op, key)| Step {
                op,
                key,
                result: self.finish_content(key),
            })
            .collect();
        self.sync_contents(&mut steps);
        // That may have taken its time.
        self.tree.turn();
        for step in steps.iter_mut().filter(|step| step.result.is_ok()) {
            step.result = self.give_name(step.key);
        }
        if let Err(error) = self.tree.sync() {
            for step in steps.iter_mut().filter(|step| step.result.is_ok()) {
                step.result = Err(self.sync_failure("the directory of", step.key, &error));
            }
        }
        for Step { op, key, result } in steps {
            match (self.close_file(key, result.is_ok()), &result) {
                (Some(part), Ok(())) => self.partials.placed(&part),
                (Some(part), Err(_)) => {
                    self.partials.remove(&part);
                    self.count_kept(&part);
                }
                (None, _) => {}
            }
            let result = result.map(|()| Done::Committed);
            done(key.0, Completion { op, result });
        }
    }

    /// Makes sure that the file is there in its full length and has its attributes.
    fn finish_content(&mut self, key: Key) -> Result<(), Failure> {
        let Some(incoming) = self.files.get(&key) else {
            return Err(internal("commit a file that was not prepared"));
        };
        let entry = &incoming.entry;
        match &incoming.state {
            State::Existing | State::Held(..) => {
                return Err(internal("commit a file that was not received"));
            }
            State::Directory { .. } => return Ok(()),
            State::TakenOver => return Err(taken_over(&entry.name)),
            State::Receiving(receiving) if receiving.failed => {
                let text = format!("an earlier write of `{}` failed", entry.name);
                return Err(Failure::new(ErrorCode::STORAGE_IO, text));
            }
            State::Receiving(receiving) if receiving.end != entry.size => {
                return Err(internal("commit a file that is not whole"));
            }
            State::Receiving(Receiving { part: None, .. }) => self.ensure_open(key)?,
            State::Receiving(_) => {}
        }
        let (entry, receiving) = self.receiving(key)?;
        let (entry, part) = (entry.clone(), receiving.part.clone());
        let Some(part) = part else {
            return Err(internal("commit a file without content"));
        };
        self.set_attributes(key, &entry, &part)
            .map_err(|error| sink_failure("set the time and mode of", &entry.name, &error))
    }

    fn set_attributes(&mut self, key: Key, entry: &Entry, part: &Part) -> io::Result<()> {
        // Files that may be resumed were made with every bit that the umask allows; the others with
        // those of the entry, and what we need to open them again.
        let wanted = entry.mode.unwrap_or(0o666) & MODE_MASK;
        if part.journal.is_some() || wanted & 0o600 != 0o600 {
            let allowed = self.partials.dir()?.stat(&part.data)?.mode;
            let mode = allowed & wanted;
            if self.open.get_mut(&key).is_none() {
                self.ensure_open(key)
                    .map_err(|failure| io::Error::other(failure.message))?;
            }
            if let Some(file) = self.open.get_mut(&key) {
                sys::set_mode(file, mode)?;
            }
        }
        if let Some(modified) = entry.modified {
            self.partials.dir()?.set_modified(&part.data, modified)?;
        }
        Ok(())
    }

    /// Makes the contents durable.
    fn sync_contents(&mut self, steps: &mut [Step]) {
        let waiting = steps.iter().filter(|step| step.result.is_ok());
        let files: Vec<Key> = waiting
            .map(|step| step.key)
            .filter(|key| {
                matches!(
                    self.files.get(key).map(|file| &file.state),
                    Some(State::Receiving(_))
                )
            })
            .collect();
        if files.is_empty() {
            return;
        }
        // A handle that was opened late may not be told of a failed write; the file system's is.
        let is_reopened = files.iter().any(|key| {
            let is_open = self.open.get_mut(key).is_some();
            !is_open
                || self
                    .receiving(*key)
                    .is_ok_and(|(_, receiving)| receiving.reopened)
        });
        if files.len() > SYNC_EACH || is_reopened {
            match self.tree.root().sync_filesystem() {
                Some(Ok(())) => return,
                Some(Err(error)) => return self.fail_all(steps, &error),
                None => {}
            }
        }
        for step in steps
            .iter_mut()
            .filter(|step| step.result.is_ok() && files.contains(&step.key))
        {
            step.result = self.sync_content(step.key);
        }
    }

    fn sync_content(&mut self, key: Key) -> Result<(), Failure> {
        self.ensure_open(key)?;
        match self.open.get_mut(&key).map(|file| file.sync_all()) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.sync_failure("", key, &error)),
            None => Err(internal("sync a file that is not open")),
        }
    }

    /// A sync of the file system does not say whose write it was that failed.
    fn fail_all(&mut self, steps: &mut [Step], error: &io::Error) {
        for incoming in self.files.values_mut() {
            if let State::Receiving(receiving) = &mut incoming.state {
                receiving.failed |= receiving.part.is_some();
            }
        }
        for step in steps.iter_mut().filter(|step| step.result.is_ok()) {
            step.result = Err(self.sync_failure("", step.key, error));
        }
    }

    fn sync_failure(&self, what: &str, key: Key, error: &io::Error) -> Failure {
        let name = self.files.get(&key).map(|file| file.entry.name.to_string());
        let name = name.unwrap_or_default();
        let space = if what.is_empty() { "" } else { " " };
        let text = format!("cannot sync {what}{space}`{name}`: {error}");
        Failure::new(ErrorCode::STORAGE_IO, text)
    }

    /// Moves a file to its name, or finishes a directory.
    fn give_name(&mut self, key: Key) -> Result<(), Failure> {
        let Some(incoming) = self.files.get(&key) else {
            return Err(internal("name a file that was not prepared"));
        };
        let entry = incoming.entry.clone();
        match &incoming.state {
            State::Existing | State::Held(..) | State::TakenOver => {
                Err(internal("name a file that is not received"))
            }
            State::Directory { made } => {
                let made = *made;
                self.finish_directory(&entry, made)
            }
            State::Receiving(receiving) => {
                let part = receiving.part.clone();
                let part = part.ok_or_else(|| internal("name a file without content"))?;
                match self.place(&entry.name, &part) {
                    // The directory that we hold open was removed; make it again.
                    Err(Placing::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {
                        self.tree.close_all();
                        self.place(&entry.name, &part)
                    }
                    other => other,
                }
                .map_err(|error| error.into_failure(&entry.name))
            }
        }
    }

    fn place(&mut self, name: &Name, part: &Part) -> Result<(), Placing> {
        let (path, last) = split(name.as_bytes());
        let partials = self.partials.dir()?;
        let dir = self.tree.directory(path, name).map_err(Placing::Refused)?;
        let mut result = partials.rename_new(&part.data, dir, last);
        let is_taken = |result: &io::Result<()>| {
            result
                .as_ref()
                .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        };
        if is_taken(&result) {
            let kind = dir.stat(last).map_or(Kind::File, |found| found.kind);
            if self.on_conflict == OnConflict::Refuse && kind == Kind::File {
                // It was not there when this one was offered, and nobody compared the two.
                let text = format!("`{name}` was created meanwhile");
                return Err(Placing::Refused(Failure::new(ErrorCode::CONFLICT, text)));
            }
            may_conflict(self.on_conflict, name, kind).map_err(Placing::Refused)?;
            match self.on_conflict {
                OnConflict::Overwrite => result = partials.rename_over(&part.data, dir, last),
                OnConflict::Refuse | OnConflict::Rename => {
                    let mut number = 1;
                    while is_taken(&result) && number <= MAX_NUMBER {
                        result = partials.rename_new(&part.data, dir, &numbered(last, number));
                        number += 1;
                    }
                }
            }
        }
        result?;
        self.tree.touch(path);
        Ok(())
    }

    /// An empty directory that we made gets its attributes; one that was there keeps its own.
    fn finish_directory(&mut self, entry: &Entry, made: bool) -> Result<(), Failure> {
        let name = &entry.name;
        // Somebody may have removed it since.
        if !self.tree.make(name.as_bytes(), name)? && !made {
            return Ok(());
        }
        let failure = |error: io::Error| sink_failure("set the time and mode of", name, &error);
        let dir = self.tree.directory(name.as_bytes(), name)?;
        if let Some(mode) = entry.mode {
            let allowed = dir.stat_self().map_err(failure)?.mode;
            dir.set_own_mode(allowed & mode & MODE_MASK)
                .map_err(failure)?;
        }
        if let Some(modified) = entry.modified {
            let (path, last) = split(name.as_bytes());
            let above = self.tree.directory(path, name)?;
            above.set_modified(last, modified).map_err(failure)?;
        }
        self.tree.touch(name.as_bytes());
        Ok(())
    }
}

/// Why a file did not get its name.
enum Placing {
    Refused(Failure),
    Failed(io::Error),
}

impl From<io::Error> for Placing {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Placing {
    fn into_failure(self, name: &Name) -> Failure {
        match self {
            Self::Refused(failure) => failure,
            Self::Failed(error) => sink_failure("move into place", name, &error),
        }
    }
}

/// `name (1).ext` for `name.ext`. The name is cut where it would become too long for the file
/// system.
fn numbered(name: &[u8], number: u32) -> Vec<u8> {
    use xfer_proto::manifest::MAX_COMPONENT;
    // A leading dot hides a file and starts no extension.
    let dot = name
        .iter()
        .rposition(|byte| *byte == b'.')
        .filter(|at| *at > 0);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let number = format!(" ({number})").into_bytes();
    let room = MAX_COMPONENT.saturating_sub(number.len());
    let extension = extension
        .get(..extension.len().min(room / 2))
        .unwrap_or_default();
    let mut end = stem.len().min(room - extension.len());
    // Not inside of a UTF-8 character.
    while end > 0 && stem.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    [stem.get(..end).unwrap_or_default(), &number, extension].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_before_the_extension() {
        for (name, expected) in [
            ("a.txt", "a (1).txt"),
            ("a.tar.gz", "a.tar (1).gz"),
            ("a", "a (1)"),
            (".bashrc", ".bashrc (1)"),
        ] {
            assert_eq!(numbered(name.as_bytes(), 1), expected.as_bytes());
        }
        let long = "é".repeat(127) + "x";
        let number = numbered(long.as_bytes(), 12);
        assert!(number.len() <= 255 && str::from_utf8(&number).is_ok());
        let extension = "a.".to_string() + &"x".repeat(253);
        assert!(numbered(extension.as_bytes(), 1).len() <= 255);
    }
}
