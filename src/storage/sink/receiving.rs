//! While a file arrives: writing, hashing, and the journal for a later session.

use super::partials::{Part, seal};
use super::{Incoming, Key, SinkStore, State};
use crate::storage::fault::{internal, sink_failure};
use crate::storage::journal::Writer;
use crate::storage::pool::make_room;
use crate::storage::sys;
use std::io;
use std::time::{Duration, Instant};
use xfer_proto::digest::leaf_range;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::Digest;
use xfer_proto::manifest::{Entry, Name};
use xfer_proto::range_set::RangeSet;
use xfer_proto::storage::{Leaf, Prepared, ReadBlock};

/// Verified leaves are synced when the last sync is so long ago. A sync holds every session up, and
/// only a power cut makes it worth something: a killed process loses nothing of what is journaled.
const SYNC_AGE: Duration = Duration::from_secs(2);
/// Bytes read back at a time for hashing.
const READ_BACK: u64 = 256 << 10;

/// A file on its way: small before its first byte, for a session may offer a million.
#[derive(Default)]
pub(super) struct Receiving {
    /// Made with the first byte.
    pub(super) part: Option<Box<Part>>,
    /// One past the last byte that was written.
    pub(super) end: u64,
    /// Bytes that were promised room and are not written yet.
    pub(super) unwritten: u64,
    /// The handle was closed and opened again: it does not know of write errors before.
    pub(super) reopened: bool,
    /// A sync failed: the content is not trusted any more, whatever later syncs say.
    pub(super) failed: bool,
    /// Leaves on record that are of an earlier session and not hashed again yet.
    unchecked: RangeSet,
    journal: Option<Box<Journaling>>,
}

struct Journaling {
    writer: Writer,
    unsynced_leaves: u64,
    synced: Instant,
}

impl Receiving {
    /// Goes on from what an earlier session left.
    pub(super) fn resumed(
        entry: &Entry,
        part: Part,
        end: u64,
        boot: Option<[u8; 16]>,
        prepared: &Prepared,
    ) -> Self {
        let mut unchecked = RangeSet::new();
        if let Prepared::Partial {
            leaves,
            is_unchanged: false,
            ..
        } = prepared
        {
            for leaf in leaves {
                unchecked.insert(leaf.index..leaf.index + 1);
            }
        }
        Self {
            unchecked,
            part: Some(Box::new(part)),
            end,
            // Opened just before, by us, after whatever wrote the data.
            reopened: true,
            journal: Some(Box::new(Journaling::new(Writer::start(entry, boot).0))),
            ..Self::default()
        }
    }
}

impl Journaling {
    fn new(writer: Writer) -> Self {
        Self {
            writer,
            unsynced_leaves: 0,
            synced: Instant::now(),
        }
    }
}

impl SinkStore {
    /// The value of a leaf; `kept` is what is on record of one of an earlier session.
    pub(super) fn hash(
        &mut self,
        key: Key,
        leaf: u64,
        kept: Option<Digest>,
    ) -> Result<Digest, Failure> {
        let (entry, _) = self.receiving(key)?;
        let size = entry.size;
        let mut running = self.hashers.take(key, size, leaf);
        let end = leaf_range(size, leaf).1;
        if running.next < end {
            self.ensure_open(key)?;
        }
        let mut buffer = Vec::new();
        while running.next < end {
            // At most READ_BACK, so the cast loses nothing.
            let len = (end - running.next).min(READ_BACK) as usize;
            let start = make_room(&mut buffer, len);
            self.read_written(key, &mut buffer, len, running.next)?;
            let read_back = buffer.get(start..).unwrap_or_default();
            running.hasher.update(read_back);
            running.next += len as u64;
        }
        let value = running.hasher.finish();
        if kept == Some(value) {
            let (_, receiving) = self.receiving(key)?;
            receiving.unchecked.remove(leaf..leaf + 1);
        }
        Ok(value)
    }

    /// Reads bytes of the partial file that were written.
    pub(super) fn read_back(
        &mut self,
        key: Key,
        offset: u64,
        len: usize,
    ) -> Result<ReadBlock, Failure> {
        self.ensure_open(key)?;
        let mut data = Vec::new();
        self.read_written(key, &mut data, len, offset)?;
        Ok(ReadBlock {
            data: data.into(),
            leaf: None,
        })
    }

    fn read_written(
        &mut self,
        key: Key,
        buffer: &mut Vec<u8>,
        len: usize,
        offset: u64,
    ) -> Result<(), Failure> {
        let Some(file) = self.open.get_mut(&key) else {
            return Err(internal("read a file that is not open"));
        };
        let read = sys::read_exact_at(file, buffer, len, offset);
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let Some(error) = read.map_or_else(Some, |got| (got < len).then(short)) else {
            return Ok(());
        };
        let (entry, _) = self.receiving(key)?;
        Err(sink_failure("read back", &entry.name, &error))
    }

    pub(super) fn checkpoint(&mut self, key: Key, leaves: &[Leaf]) -> Result<(), Failure> {
        let boot = self.partials.boot();
        let Some(Incoming {
            entry,
            state: State::Receiving(receiving),
        }) = self.files.get_mut(&key).map(Box::as_mut)
        else {
            return Err(internal("record a file that is not received"));
        };
        let Some(name) = receiving
            .part
            .as_ref()
            .and_then(|part| part.journal.clone())
        else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        let is_new = receiving.journal.is_none();
        let journal = receiving.journal.get_or_insert_with(|| {
            let (writer, header) = Writer::start(entry, boot);
            bytes = header;
            Box::new(Journaling::new(writer))
        });
        for leaf in leaves {
            bytes.extend_from_slice(&journal.writer.leaf(leaf));
            receiving.unchecked.remove(leaf.index..leaf.index + 1);
        }
        journal.unsynced_leaves += leaves.len() as u64;
        let is_due = journal.synced.elapsed() >= SYNC_AGE;
        // A journal that cannot be written costs a later session time, and this one nothing.
        let _ = self.append(key, &name, &bytes, is_new, false);
        if is_due {
            self.sync_checkpoint(key)?;
        }
        Ok(())
    }

    /// Makes the data durable and then says so in the journal. A sync that fails ends the file.
    fn sync_checkpoint(&mut self, key: Key) -> Result<(), Failure> {
        self.ensure_open(key)?;
        let synced = match self.open.get_mut(&key) {
            Some(file) => file.sync_data(),
            None => return Err(internal("sync a file that is not open")),
        };
        let (entry, receiving) = self.receiving(key)?;
        if let Err(error) = synced {
            receiving.failed = true;
            let code = ErrorCode::STORAGE_IO;
            let text = format!("cannot sync `{}`: {error}", entry.name);
            return Err(Failure::new(code, text));
        }
        let name = receiving
            .part
            .as_ref()
            .and_then(|part| part.journal.clone());
        if let (Some(journal), Some(name)) = (&mut receiving.journal, name) {
            journal.unsynced_leaves = 0;
            journal.synced = Instant::now();
            let mark = journal.writer.sync_mark();
            let _ = self.append(key, &name, &mark, false, true);
        }
        Ok(())
    }

    fn append(
        &mut self,
        key: Key,
        name: &[u8],
        bytes: &[u8],
        is_new: bool,
        sync: bool,
    ) -> io::Result<()> {
        use std::io::Write;
        let dir = self.partials.dir()?;
        if is_new {
            self.journals.insert(key, dir.create(name, 0o600)?);
        } else if self.journals.get_mut(&key).is_none() {
            self.journals.insert(key, dir.open_append(name)?);
        }
        let Some(file) = self.journals.get_mut(&key) else {
            return Ok(());
        };
        file.write_all(bytes)?;
        if sync {
            file.sync_data()?;
            // The names of the partial file and its journal have to be there after a power cut,
            // too.
            dir.sync()?;
        }
        Ok(())
    }

    /// Gets a partial file ready for a later session; false where there is nothing to keep.
    pub(super) fn keep(&mut self, key: Key) -> bool {
        let Ok((_, receiving)) = self.receiving(key) else {
            return false;
        };
        let Some(journal) = &receiving.journal else {
            return false;
        };
        let is_synced = journal.unsynced_leaves == 0;
        let is_kept = !receiving.failed && (is_synced || self.sync_checkpoint(key).is_ok());
        if is_kept {
            // Without a seal the next session has more to do, and nothing else.
            let _ = self.seal(key);
        }
        is_kept
    }

    /// Says in the journal what the partial file looks like, now that nothing is written any more.
    fn seal(&mut self, key: Key) -> Result<(), Failure> {
        self.ensure_open(key)?;
        let found = self.open.get_mut(&key).map(|file| sys::identity(file));
        let (_, receiving) = self.receiving(key)?;
        let name = receiving
            .part
            .as_ref()
            .and_then(|part| part.journal.clone());
        if let (Some(Ok(found)), Some(name), Some(journal)) = (found, name, &receiving.journal)
            && receiving.unchecked.is_empty()
        {
            let seal = journal.writer.seal(&seal(&found));
            let _ = self.append(key, &name, &seal, false, false);
        }
        Ok(())
    }

    /// Opens the partial file, or makes it.
    pub(super) fn ensure_open(&mut self, key: Key) -> Result<(), Failure> {
        if self.open.get_mut(&key).is_some() {
            return Ok(());
        }
        let (entry, receiving) = self.receiving(key)?;
        // Cloned for the rare retry below; a file is opened far less often than it is written.
        let (entry, part) = (entry.clone(), receiving.part.clone());
        let opened = match part {
            Some(part) => self
                .with_handles(|sink| sink.partials.dir()?.open_rw(&part.data))
                .map(|file| (part, file, true)),
            None => self
                .with_handles(|sink| sink.partials.create(sink.tree.root(), &entry))
                .map(|(part, file)| (Box::new(part), file, false)),
        };
        let (part, file, reopened) = opened
            .map_err(|error| sink_failure("open the partial file of", &entry.name, &error))?;
        self.open.insert(key, file);
        if !reopened {
            // It may have taken the place of one that proved nothing.
            self.budget.on_kept(&part.data, 0);
        }
        let (_, receiving) = self.receiving(key)?;
        receiving.part = Some(part);
        receiving.reopened |= reopened;
        Ok(())
    }

    pub(super) fn receiving(&mut self, key: Key) -> Result<(&Entry, &mut Receiving), Failure> {
        match self.files.get_mut(&key).map(Box::as_mut) {
            Some(Incoming {
                entry,
                state: State::Receiving(receiving),
            }) => Ok((entry, receiving)),
            Some(Incoming {
                entry,
                state: State::TakenOver,
            }) => Err(taken_over(&entry.name)),
            _ => Err(internal("use a file that is not received")),
        }
    }
}

/// What the older of two sessions of the same file is told.
pub(super) fn taken_over(name: &Name) -> Failure {
    let text = format!("a newer session sends `{name}`");
    Failure::new(ErrorCode::CONFLICT, text)
}
