//! Before the first byte: is the name free, is there room, is there something to go on from.

use super::receiving::Receiving;
use super::tree::split;
use super::{Incoming, Key, SinkStore, State};
use crate::api::OnConflict;
use crate::storage::fault::{internal, sink_failure};
use crate::storage::sum::digest_reader;
use crate::storage::sys::{self, Dir, Identity, Kind};
use std::io;
use std::time::{Duration, Instant};
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::Digest;
use xfer_proto::manifest::{Entry, EntryKind, MAX_FILE_SIZE, Name};
use xfer_proto::storage::Prepared;

/// Free space that received files leave to others: this, or a 64th of a small file system.
const MAX_RESERVE: u64 = 64 << 20;
const RESERVE_SHARE: u64 = 64;
/// The system is asked again after so long; in between, what was offered is taken off.
const SPACE_AGE: Duration = Duration::from_secs(1);

impl SinkStore {
    pub(super) fn prepare(
        &mut self,
        key: Key,
        entry: Entry,
        differs: bool,
    ) -> Result<Prepared, Failure> {
        // A second `Prepare` takes the place of the first.
        self.discard(key, false);
        if entry.kind == EntryKind::Directory {
            let made = self.make_directory(&entry.name)?;
            let state = State::Directory { made };
            self.files.insert(key, Incoming { entry, state });
            return Ok(Prepared::Fresh);
        }
        if entry.size > MAX_FILE_SIZE {
            let text = format!("`{}` is larger than any file can be", entry.name);
            return Err(Failure::new(ErrorCode::QUOTA, text));
        }
        let is_claimed = self.claims.contains_key(&entry.name);
        if is_claimed && self.on_conflict != OnConflict::Rename {
            let text = format!("`{}` is being received already", entry.name);
            return Err(Failure::new(ErrorCode::CONFLICT, text));
        }
        if let Some(found) = self.existing(&entry.name)? {
            if found.kind == Kind::File && found.size == entry.size && !differs {
                let state = State::Existing;
                self.files.insert(key, Incoming { entry, state });
                return Ok(Prepared::Existing);
            }
            may_conflict(self.on_conflict, &entry.name, found.kind)?;
        }
        self.receive(key, entry, is_claimed)
    }

    fn receive(
        &mut self,
        key: Key,
        mut entry: Entry,
        is_claimed: bool,
    ) -> Result<Prepared, Failure> {
        let found = self.partials.find(&mut entry);
        if found.is_none() {
            self.space.claim(self.tree.root(), &entry)?;
        }
        if !is_claimed {
            self.claims.insert(entry.name.clone(), key);
        }
        let (receiving, prepared) = match found {
            Some((part, file, prepared)) => {
                let end = sys::identity(&file).map_or(0, |found| found.size);
                self.open.insert(key, file);
                let receiving = Receiving::resumed(&entry, part, end, self.partials.boot());
                (receiving, prepared)
            }
            None => (Receiving::default(), Prepared::Fresh),
        };
        let state = State::Receiving(receiving);
        self.files.insert(key, Incoming { entry, state });
        Ok(prepared)
    }

    /// What has the final name; its directory is made where it is missing.
    fn existing(&mut self, name: &Name) -> Result<Option<Identity>, Failure> {
        let (parent, part) = split(name.as_bytes());
        match self.tree.directory(parent, name)?.stat(part) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(sink_failure("look for", name, &error)),
        }
    }

    fn make_directory(&mut self, name: &Name) -> Result<bool, Failure> {
        self.tree.make(name.as_bytes(), name)
    }

    pub(super) fn digest_existing(&mut self, key: Key) -> Result<Digest, Failure> {
        let Some(Incoming {
            entry,
            state: State::Existing,
        }) = self.files.remove(&key)
        else {
            return Err(internal("hash a file that was not found"));
        };
        let name = entry.name;
        let (parent, part) = split(name.as_bytes());
        let opened = self.tree.directory(parent, &name)?.open_read(part);
        let digest = opened.and_then(|file| {
            // It may have changed since it was looked at; a FIFO would never end.
            match sys::identity(&file)?.kind {
                Kind::File => {
                    sys::advise_sequential(&file);
                    digest_reader(file)
                }
                kind => Err(io::Error::other(format!("it became {}", kind.as_str()))),
            }
        });
        digest.map_err(|error| sink_failure("read the existing", &name, &error))
    }
}

/// Whether something of another content under the final name can be dealt with.
pub(super) fn may_conflict(
    on_conflict: OnConflict,
    name: &Name,
    kind: Kind,
) -> Result<(), Failure> {
    let text = match (on_conflict, kind) {
        (OnConflict::Rename, _) | (OnConflict::Overwrite, Kind::File) => return Ok(()),
        (OnConflict::Refuse, Kind::File) => format!("a different `{name}` exists"),
        (OnConflict::Refuse | OnConflict::Overwrite, _) => {
            format!("`{name}` exists and is {}", kind.as_str())
        }
    };
    Err(Failure::new(ErrorCode::CONFLICT, text))
}

/// What is free, asked for seldom.
#[derive(Default)]
pub(super) struct Space {
    left: u64,
    asked: Option<Instant>,
}

impl Space {
    /// Room for everything, as far as anyone has told.
    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self {
            left: u64::MAX,
            asked: Some(Instant::now()),
        }
    }

    /// Takes the size of `entry` off what is free.
    fn claim(&mut self, root: &Dir, entry: &Entry) -> Result<(), Failure> {
        let is_fresh = self.asked.is_some_and(|at| at.elapsed() < SPACE_AGE);
        if !is_fresh || self.left < entry.size {
            let (available, total) = root
                .space()
                .map_err(|error| sink_failure("find the space for", &entry.name, &error))?;
            let reserve = MAX_RESERVE.min(total / RESERVE_SHARE);
            self.left = available.saturating_sub(reserve);
            self.asked = Some(Instant::now());
        }
        match self.left.checked_sub(entry.size) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let (name, size, left) = (&entry.name, entry.size, self.left);
                let text = format!("`{name}` has {size} bytes, {left} are free");
                Err(Failure::new(ErrorCode::NO_SPACE, text))
            }
        }
    }
}
