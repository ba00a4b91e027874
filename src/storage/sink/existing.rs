//! Files that are there already. Identical ones are not sent, and the sender is told that they are
//! whole and durable: so they are made durable here, whoever wrote them.

use super::commit::SYNC_EACH;
use super::tree::split;
use super::{Incoming, Key, SinkStore, State};
use crate::storage::fault::{internal, sink_failure};
use crate::storage::pool::make_room;
use crate::storage::sys::{self, Identity, Kind};
use std::fs::File;
use std::io::{self, Read};
use xfer_proto::error::Failure;
use xfer_proto::id::{Digest, SessionId};
use xfer_proto::manifest::Name;
use xfer_proto::storage::{Completion, Done, OpId};

/// Bytes that are hashed at a time, before other sessions have their turn.
const SLICE: u64 = 8 << 20;
/// What a file counts as at least: opening it takes its time as well.
const MIN_COST: u64 = 64 << 10;
/// Bytes read in one call.
const BLOCK: usize = 256 << 10;

/// A file that is to be hashed.
pub(super) struct Look {
    key: Key,
    op: OpId,
    purpose: Purpose,
    /// Once its turn has come. Apart, for it takes 2 KB, and there may be a million before it.
    reading: Option<Box<Reading>>,
}

enum Purpose {
    /// To tell its digest.
    Tell,
    /// To see whether that is still its digest.
    Confirm(Name, Digest),
}

struct Reading {
    file: File,
    found: Identity,
    hasher: blake3::Hasher,
}

/// A file that was looked at and is not known to be durable.
pub(super) struct Existing {
    session: SessionId,
    op: OpId,
    name: Option<Name>,
    digest: Result<Digest, Failure>,
}

impl Look {
    pub(super) fn is_of(&self, session: SessionId) -> bool {
        self.key.0 == session
    }
}

impl SinkStore {
    /// The digest of what is there will be told.
    pub(super) fn look_at(&mut self, key: Key, op: OpId) {
        self.look(key, op, Purpose::Tell);
    }

    fn look(&mut self, key: Key, op: OpId, purpose: Purpose) {
        let reading = None;
        self.looks.push_back(Look {
            key,
            op,
            purpose,
            reading,
        });
    }

    pub(super) fn is_looking(&self) -> bool {
        !self.looks.is_empty()
    }

    /// Hashes for a moment.
    pub(super) fn go_on_looking(&mut self, done: &mut dyn FnMut(SessionId, Completion)) {
        let mut left = SLICE;
        let mut looked_at = Vec::new();
        while left > 0
            && let Some(mut look) = self.looks.pop_front()
        {
            let Some(digest) = self.look_on(&mut look, &mut left) else {
                self.looks.push_front(look);
                break;
            };
            let (key, op) = (look.key, look.op);
            match look.purpose {
                Purpose::Tell => looked_at.push(self.looked_at(key, op, digest)),
                Purpose::Confirm(name, before) => {
                    let confirmed = match digest {
                        Ok((now, found)) if now == before => self.lasts(&name, found),
                        _ => Ok(false),
                    };
                    let result = confirmed.map(Done::Confirmed);
                    done(key.0, Completion { op, result });
                }
            }
        }
        self.vouch_for(looked_at, done);
    }

    /// Hashes on, at most `left` bytes; answers the digest at the end.
    fn look_on(
        &mut self,
        look: &mut Look,
        left: &mut u64,
    ) -> Option<Result<(Digest, Identity), Failure>> {
        let name = match &look.purpose {
            Purpose::Confirm(name, _) => name.clone(),
            Purpose::Tell => match self.files.get(&look.key).map(Box::as_ref) {
                Some(Incoming {
                    entry,
                    state: State::Existing,
                }) => entry.name.clone(),
                _ => return Some(Err(internal("hash a file that was not found"))),
            },
        };
        let failure = |error: &io::Error| sink_failure("read the existing", &name, error);
        if look.reading.is_none() {
            *left = left.saturating_sub(MIN_COST);
            match self.start_reading(&name) {
                Ok(reading) => look.reading = Some(Box::new(reading)),
                Err(error) => return Some(Err(failure(&error))),
            }
        }
        let reading = look.reading.as_mut()?;
        let size = usize::try_from(reading.found.size).unwrap_or(BLOCK);
        let len = size.saturating_add(1).min(BLOCK);
        let mut buffer = Vec::new();
        let start = make_room(&mut buffer, len);
        buffer.resize(start + len, 0);
        let block = buffer.get_mut(start..).unwrap_or_default();
        while *left > 0 {
            match reading.file.read(block) {
                Ok(0) => {
                    let digest = Digest(*reading.hasher.finalize().as_bytes());
                    return Some(Ok((digest, reading.found)));
                }
                Ok(len) => {
                    reading.hasher.update(block.get(..len).unwrap_or_default());
                    *left = left.saturating_sub(len as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(failure(&error))),
            }
        }
        None
    }

    fn start_reading(&mut self, name: &Name) -> io::Result<Reading> {
        let file = self.open_existing(name)?;
        let found = sys::identity(&file)?;
        sys::advise_sequential(&file);
        Ok(Reading {
            file,
            found,
            hasher: blake3::Hasher::new(),
        })
    }

    fn looked_at(
        &mut self,
        key: Key,
        op: OpId,
        digest: Result<(Digest, Identity), Failure>,
    ) -> Existing {
        let held = self.files.get_mut(&key);
        let name = held.as_ref().map(|held| held.entry.name.clone());
        let digest = digest.map(|(digest, found)| {
            if let Some(held) = held {
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

    /// Whether what was digested stands under its name as it was: minutes may have gone by. `None`
    /// where that has to be looked at, and is told then.
    pub(super) fn confirm_existing(&mut self, key: Key, op: OpId) -> Option<Result<bool, Failure>> {
        let Some(Incoming {
            entry,
            state: State::Held(before, digest),
        }) = self.files.remove(&key).map(|file| *file)
        else {
            return Some(Err(internal("confirm a file that was not digested")));
        };
        match self.existing(&entry.name) {
            Ok(Some(now)) if now == before => Some(Ok(true)),
            // New permissions or a new copy are no new content; what is gone or is no file any more
            // is, and so is what changes again while it is looked at.
            Ok(_) => {
                self.look(key, op, Purpose::Confirm(entry.name, digest));
                None
            }
            Err(failure) => Some(Err(failure)),
        }
    }

    /// Makes durable what was found under a name; answers whether it still stands there then.
    fn lasts(&mut self, name: &Name, found: Identity) -> Result<bool, Failure> {
        let is_durable = self.sync_existing(name).is_ok();
        self.tree.turn();
        Ok(is_durable && self.existing(name)? == Some(found))
    }

    fn sync_existing(&mut self, name: &Name) -> io::Result<()> {
        self.open_existing(name)?.sync_all()?;
        self.tree.touch(split(name.as_bytes()).0);
        self.tree.sync()
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
