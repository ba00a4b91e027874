//! Before the first byte: is the name free, is there room, is there something to go on from.

use super::receiving::Receiving;
use super::tree::split;
use super::{Incoming, Key, SinkStore, State};
use crate::api::OnConflict;
use crate::storage::fault::sink_failure;
use crate::storage::journal::partial_id;
use crate::storage::sys::{self, Identity, Kind};
use std::io;
use xfer_proto::digest::leaf_range;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::SessionId;
use xfer_proto::manifest::{Entry, EntryKind, MAX_FILE_SIZE, Name};
use xfer_proto::storage::{Leaf, Prepared};

impl SinkStore {
    pub(super) fn prepare(
        &mut self,
        key: Key,
        entry: Entry,
        differs: bool,
    ) -> Result<Prepared, Failure> {
        // A second `Prepare` takes the place of the first.
        self.discard(key, false);
        self.is_directory_free(&entry)?;
        if entry.kind == EntryKind::Directory {
            let made = self.make_directory(&entry.name)?;
            let state = State::Directory { made };
            self.files.insert(key, Box::new(Incoming { entry, state }));
            return Ok(Prepared::Fresh);
        }
        if entry.size > MAX_FILE_SIZE {
            let text = format!("`{}` is larger than any file can be", entry.name);
            return Err(Failure::new(ErrorCode::QUOTA, text));
        }
        let is_claimed = self.claim_name(key.0, &entry)?;
        if let Some(found) = self.existing(&entry.name)? {
            if found.kind == Kind::File && found.size == entry.size && !differs {
                let state = State::Existing;
                self.files.insert(key, Box::new(Incoming { entry, state }));
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
        let resumed = found.as_ref().map(|(part, ..)| part.data.as_slice());
        let held = found
            .as_ref()
            .map_or(0, |(.., prepared)| held(&entry, prepared));
        let (root, partials) = (self.tree.root(), &self.partials);
        let unwritten = match (self.budget).claim(root, partials, &entry, (resumed, held)) {
            Ok(unwritten) => unwritten,
            Err(failure) => {
                if let Some((part, ..)) = found {
                    self.partials.release(&part);
                }
                return Err(failure);
            }
        };
        if !is_claimed {
            self.claims.insert(entry.name.clone(), key);
        }
        let (mut receiving, prepared) = match found {
            Some((part, file, prepared)) => {
                let end = sys::identity(&file).map_or(0, |found| found.size);
                self.open.insert(key, file);
                let boot = self.partials.boot();
                let receiving = Receiving::resumed(&entry, part, end, boot, &prepared);
                (receiving, prepared)
            }
            None => (Receiving::default(), Prepared::Fresh),
        };
        receiving.unwritten = unwritten;
        let state = State::Receiving(receiving);
        self.files.insert(key, Box::new(Incoming { entry, state }));
        Ok(prepared)
    }

    /// Whether no directory of the entry has the name of a file that is being received: made for
    /// the entry, it would be in the way of that file when it is whole.
    fn is_directory_free(&self, entry: &Entry) -> Result<(), Failure> {
        if self.claims.is_empty() || self.on_conflict == OnConflict::Rename {
            return Ok(());
        }
        let name = entry.name.as_bytes();
        let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let is_directory = entry.kind == EntryKind::Directory;
        let directories = ends
            .map(|(at, _)| at)
            .chain(is_directory.then_some(name.len()));
        for directory in directories.filter_map(|end| name.get(..end)) {
            if let Some((file, _)) = self.claims.get_key_value(directory) {
                let text = format!("`{file}` is being received already, as a file");
                return Err(Failure::new(ErrorCode::CONFLICT, text));
            }
        }
        Ok(())
    }

    /// Whether another file is received under that name and goes on being so.
    ///
    /// A sender that was killed and started again comes while its old session still looks alive, so
    /// the newest session of the same file goes on with what the older one has got. A *different*
    /// file waits for the end of the first, and a second one of the same session is no restart.
    fn claim_name(&mut self, session: SessionId, entry: &Entry) -> Result<bool, Failure> {
        let Some(&holder) = self.claims.get(&entry.name) else {
            return Ok(false);
        };
        let held = self.files.get(&holder).map(|held| held.entry.clone());
        let is_same_file = holder.0 != session
            && held.is_some_and(|held| {
                let is_same_source = entry.identity.is_some() && held.identity == entry.identity;
                // Where both may stay, only the very same source is one file.
                partial_id(&held) == partial_id(entry)
                    && (is_same_source || self.on_conflict != OnConflict::Rename)
            });
        if is_same_file {
            self.discard(holder, true);
            let state = State::TakenOver;
            let entry = entry.clone();
            self.files
                .insert(holder, Box::new(Incoming { entry, state }));
            return Ok(false);
        }
        if self.on_conflict == OnConflict::Rename {
            return Ok(true);
        }
        let text = format!("`{}` is being received already", entry.name);
        Err(Failure::new(ErrorCode::CONFLICT, text))
    }

    /// What has the final name; its directory is made where it is missing.
    pub(super) fn existing(&mut self, name: &Name) -> Result<Option<Identity>, Failure> {
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
}

/// Bytes of a file that an earlier session left.
fn held(entry: &Entry, prepared: &Prepared) -> u64 {
    let Prepared::Partial { leaves, .. } = prepared else {
        return 0;
    };
    let len = |leaf: &Leaf| {
        let (start, end) = leaf_range(entry.size, leaf.index);
        end - start
    };
    leaves.iter().map(len).sum()
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
