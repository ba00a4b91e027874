//! Files that are there already. Identical ones are not sent, and the sender is told that they are
//! whole and durable: so they are made durable here, whoever wrote them.

use super::commit::SYNC_EACH;
use super::tree::split;
use super::{Incoming, Key, SinkStore, State};
use crate::storage::fault::{internal, sink_failure};
use crate::storage::sum::digest_reader;
use crate::storage::sys::{self, Identity, Kind};
use std::fs::File;
use std::io;
use xfer_proto::error::Failure;
use xfer_proto::id::{Digest, SessionId};
use xfer_proto::manifest::Name;
use xfer_proto::storage::{Completion, Done, OpId};

/// A file that was looked at and is not known to be durable.
pub(super) struct Existing {
    session: SessionId,
    op: OpId,
    name: Option<Name>,
    digest: Result<Digest, Failure>,
}

impl SinkStore {
    /// The digest of what is there.
    pub(super) fn look_at(&mut self, key: Key, op: OpId) -> Existing {
        let name = match self.files.get(&key).map(Box::as_ref) {
            Some(Incoming {
                entry,
                state: State::Existing,
            }) => Some(entry.name.clone()),
            _ => None,
        };
        let digest = match &name {
            Some(name) => self.digest_of(name),
            None => Err(internal("hash a file that was not found")),
        };
        let digest = digest.map(|(digest, found)| {
            if let Some(held) = self.files.get_mut(&key) {
                held.state = State::Held(found, digest);
            }
            digest
        });
        Existing {
            session: key.0,
            op,
            name,
            digest,
        }
    }

    /// Makes durable what was looked at, in as few syncs as commits take, and tells the digests.
    pub(super) fn vouch_for(
        &mut self,
        mut all: Vec<Existing>,
        done: &mut dyn FnMut(SessionId, Completion),
    ) {
        let found: Vec<Name> = all
            .iter()
            .filter(|existing| existing.digest.is_ok())
            .filter_map(|existing| existing.name.clone())
            .collect();
        if !found.is_empty() {
            let whole = (found.len() > SYNC_EACH)
                .then(|| self.tree.root().sync_filesystem())
                .flatten();
            let is_synced = whole.is_some();
            let names = whole.unwrap_or_else(|| {
                let parents = found.iter().map(|name| split(name.as_bytes()).0);
                parents.for_each(|parent| self.tree.touch(parent));
                self.tree.sync()
            });
            for existing in &mut all {
                let (Some(name), Ok(_)) = (&existing.name, &existing.digest) else {
                    continue;
                };
                let mut synced = names.as_ref().copied().map_err(again);
                if !is_synced && synced.is_ok() {
                    synced = self.open_existing(name).and_then(|file| file.sync_all());
                }
                if let Err(error) = synced {
                    existing.digest = Err(sink_failure("sync the existing", name, &error));
                }
            }
        }
        for Existing {
            session,
            op,
            digest,
            ..
        } in all
        {
            let result = digest.map(Done::Digest);
            done(session, Completion { op, result });
        }
    }

    /// Whether what was digested stands under its name as it was: minutes may have gone by.
    pub(super) fn confirm_existing(&mut self, key: Key) -> Result<bool, Failure> {
        let Some(Incoming {
            entry,
            state: State::Held(before, digest),
        }) = self.files.remove(&key).map(|file| *file)
        else {
            return Err(internal("confirm a file that was not digested"));
        };
        let now = self.existing(&entry.name)?;
        if now.is_some_and(|now| now == before) {
            return Ok(true);
        }
        // New permissions or a new copy are no new content; what is gone or is no file any more is,
        // and so is what changes again while it is looked at.
        match self.digest_of(&entry.name) {
            Ok((now, found)) if now == digest => self.lasts(&entry.name, found),
            _ => Ok(false),
        }
    }

    /// Makes durable what was found under a name; answers whether it still stands there then.
    pub(super) fn lasts(&mut self, name: &Name, found: Identity) -> Result<bool, Failure> {
        let is_durable = self.sync_existing(name).is_ok();
        self.tree.turn();
        Ok(is_durable && self.existing(name)? == Some(found))
    }

    fn sync_existing(&mut self, name: &Name) -> io::Result<()> {
        self.open_existing(name)?.sync_all()?;
        self.tree.touch(split(name.as_bytes()).0);
        self.tree.sync()
    }

    pub(super) fn digest_of(&mut self, name: &Name) -> Result<(Digest, Identity), Failure> {
        self.open_existing(name)
            .and_then(|file| {
                let found = sys::identity(&file)?;
                sys::advise_sequential(&file);
                Ok((digest_reader(file)?, found))
            })
            .map_err(|error| sink_failure("read the existing", name, &error))
    }

    fn open_existing(&mut self, name: &Name) -> io::Result<File> {
        let (parent, part) = split(name.as_bytes());
        let dir = self
            .tree
            .directory(parent, name)
            .map_err(|failure| io::Error::other(failure.message))?;
        let file = dir.open_read(part)?;
        // It may have changed since it was looked at; a FIFO would never end.
        match sys::identity(&file)?.kind {
            Kind::File => Ok(file),
            kind => Err(io::Error::other(format!("it became {}", kind.as_str()))),
        }
    }
}

/// The same error for one more file.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
