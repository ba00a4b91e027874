//! The sending end: reads blocks of files, and notices when a file is not what was offered any
//! more.

use crate::storage::fault::{internal, is_out_of_handles};
use crate::storage::lru::Lru;
use crate::storage::pool::Pool;
use crate::storage::sys::{self, Identity, Kind};
use crate::storage::{Store, handle_budget};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use xfer_proto::digest::{LEAF_SIZE, leaf_value};
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::{FileIndex, SessionId};
use xfer_proto::manifest::Entry;
use xfer_proto::storage::{Completion, Done, ReadBlock, StorageOp};

/// The files of one transfer. Serves any number of sessions that offer the same manifest.
pub(crate) struct SourceStore {
    files: Vec<(PathBuf, Entry)>,
    open: Lru<FileIndex, File>,
    /// What each file was when it was first opened; later opens must find the same.
    seen: HashMap<FileIndex, Identity>,
    pool: Pool,
}

impl SourceStore {
    /// Serves `files`, in the order of the manifest. Opens nothing yet.
    pub(crate) fn new(files: Vec<(PathBuf, Entry)>) -> Self {
        Self::with_capacity(files, handle_budget() / 2)
    }

    /// The same with at most `open_files` files open at a time.
    pub(crate) fn with_capacity(files: Vec<(PathBuf, Entry)>, open_files: usize) -> Self {
        Self {
            files,
            open: Lru::new(open_files),
            seen: HashMap::new(),
            pool: Pool::default(),
        }
    }

    fn source(&self, file: FileIndex) -> Result<&(PathBuf, Entry), Failure> {
        self.files
            .get(file.as_usize())
            .ok_or_else(|| internal("read a file that is not in the manifest"))
    }

    fn read(
        &mut self,
        file: FileIndex,
        offset: u64,
        len: u32,
        digest: bool,
    ) -> Result<Done, Failure> {
        let len = len as usize;
        self.ensure_open(file)?;
        let buffer = self.pool.take(len);
        let start = buffer.len();
        let (result, buffer) = self.fill(file, buffer, len, offset);
        let size = self.source(file)?.1.size;
        match result {
            Err(failure) => {
                self.pool.give_back(buffer);
                Err(failure)
            }
            Ok(()) => {
                let data = self.pool.share(buffer, start);
                let leaf = digest.then(|| leaf_value(size, offset / LEAF_SIZE, &data));
                Ok(Done::Read(ReadBlock { data, leaf }))
            }
        }
        .and_then(|done| {
            // The first pass ends with `Finish`, which finds every change; what is read again is
            // checked here.
            if digest {
                return Ok(done);
            }
            self.check_open(file).map(|()| done)
        })
    }

    fn fill(
        &mut self,
        file: FileIndex,
        mut buffer: Vec<u8>,
        len: usize,
        offset: u64,
    ) -> (Result<(), Failure>, Vec<u8>) {
        let Some(handle) = self.open.get_mut(&file) else {
            return (Err(internal("read a file that is not open")), buffer);
        };
        let result = match sys::read_exact_at(handle, &mut buffer, len, offset) {
            Ok(got) if got == len => Ok(()),
            Ok(got) => Err(self.changed(
                file,
                &format!("it ends at byte {}", offset.saturating_add(got as u64)),
            )),
            Err(error) => Err(self.unreadable(file, &format!("read at byte {offset}"), &error)),
        };
        (result, buffer)
    }

    /// Opens the file unless it is, and makes sure that it is what was offered.
    fn ensure_open(&mut self, file: FileIndex) -> Result<(), Failure> {
        if self.open.get_mut(&file).is_some() {
            return Ok(());
        }
        let path = self.source(file)?.0.clone();
        let handle = loop {
            match sys::open_source(&path) {
                Ok(handle) => break handle,
                Err(error) if is_out_of_handles(&error) && self.open.pop_oldest().is_some() => {}
                Err(error) => return Err(self.unreadable(file, "open", &error)),
            }
        };
        let found =
            sys::identity(&handle).map_err(|error| self.unreadable(file, "open", &error))?;
        self.check(file, &found)?;
        self.seen.insert(file, found);
        if self.source(file)?.1.size > LEAF_SIZE {
            sys::advise_sequential(&handle);
        }
        self.open.insert(file, handle);
        Ok(())
    }

    /// Whether the opened file still is what it was.
    fn check_open(&mut self, file: FileIndex) -> Result<(), Failure> {
        let Some(handle) = self.open.get_mut(&file) else {
            return Ok(());
        };
        match sys::identity(handle) {
            Ok(found) => self.check(file, &found),
            Err(error) => Err(self.unreadable(file, "read", &error)),
        }
    }

    fn check(&self, file: FileIndex, found: &Identity) -> Result<(), Failure> {
        let (_, entry) = self.source(file)?;
        let change = if found.kind != Kind::File {
            format!("it is {} now", found.kind.as_str())
        } else if found.size != entry.size {
            format!("it had {} bytes and has {}", entry.size, found.size)
        } else if entry
            .modified
            .is_some_and(|modified| modified != found.modified)
        {
            "its modification time is another".to_string()
        } else {
            match self.seen.get(&file) {
                Some(seen) if (seen.device, seen.inode) != (found.device, found.inode) => {
                    "another file took its place".to_string()
                }
                Some(seen) if seen.changed != found.changed => {
                    "it was written to or its attributes were changed".to_string()
                }
                _ => return Ok(()),
            }
        };
        Err(self.changed(file, &change))
    }

    /// The first pass is over: the name must still lead to the same file in the same state. Looking
    /// the name up shows both; the handle would show only what became of the old file.
    fn finish(&mut self, file: FileIndex) -> Result<Done, Failure> {
        if !self.seen.contains_key(&file) {
            // An empty file is offered without a read.
            self.ensure_open(file)?;
        }
        let path = &self.source(file)?.0;
        match sys::identity_of(path) {
            Ok(found) => self.check(file, &found)?,
            Err(error) => return Err(self.changed(file, &error.to_string())),
        }
        self.check_empty(file)?;
        Ok(Done::Finished)
    }

    /// What a system tells about itself (`/proc`) looks like empty files, and is none.
    fn check_empty(&mut self, file: FileIndex) -> Result<(), Failure> {
        if self.source(file)?.1.size > 0 {
            return Ok(());
        }
        self.ensure_open(file)?;
        let (result, _) = self.fill(file, Vec::new(), 1, 0);
        match result {
            Ok(()) => Err(Failure::new(
                ErrorCode::SOURCE_UNREADABLE,
                format!(
                    "`{}` has content, and its size says 0 bytes",
                    self.label(file)
                ),
            )),
            Err(failure) if failure.code == ErrorCode::SOURCE_CHANGED => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn changed(&self, file: FileIndex, how: &str) -> Failure {
        Failure::new(
            ErrorCode::SOURCE_CHANGED,
            format!("`{}`: {how}", self.label(file)),
        )
    }

    fn unreadable(&self, file: FileIndex, action: &str, error: &io::Error) -> Failure {
        Failure::new(
            ErrorCode::SOURCE_UNREADABLE,
            format!("cannot {action} `{}`: {error}", self.label(file)),
        )
    }

    fn label(&self, file: FileIndex) -> String {
        let entry = self.files.get(file.as_usize());
        entry.map_or_else(String::new, |(_, entry)| entry.name.to_string())
    }
}

impl Store for SourceStore {
    fn run(
        &mut self,
        batch: Vec<(SessionId, StorageOp)>,
        done: &mut dyn FnMut(SessionId, Completion),
    ) -> bool {
        for (session, op) in batch {
            let (op, result) = match op {
                StorageOp::Read {
                    op,
                    file,
                    offset,
                    len,
                    digest,
                } => (op, self.read(file, offset, len, digest)),
                StorageOp::Finish { op, file } => (op, self.finish(file)),
                StorageOp::Discard { file, .. } => {
                    self.open.remove(&file);
                    continue;
                }
                StorageOp::Prepare { op, .. }
                | StorageOp::DigestExisting { op, .. }
                | StorageOp::ConfirmExisting { op, .. }
                | StorageOp::Write { op, .. }
                | StorageOp::Hash { op, .. }
                | StorageOp::Checkpoint { op, .. }
                | StorageOp::Commit { op, .. } => (op, Err(internal("write at the sending end"))),
            };
            done(session, Completion { op, result });
        }
        false
    }

    /// Other sessions may still read the same files; the handles are bounded and go with the store.
    fn forget(&mut self, _: SessionId) {}
}

#[cfg(test)]
mod tests;
