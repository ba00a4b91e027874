//! The receiving end against a real file system.

mod budget;
mod conflicts;
mod hostile;
mod moved;
mod resume;
mod writing;

use super::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use xfer_proto::digest::{LEAF_SIZE, leaf_count, leaf_range, leaf_value, root};
use xfer_proto::error::ErrorCode;
use xfer_proto::id::Digest;
use xfer_proto::manifest::{EntryKind, Timestamp};
use xfer_proto::storage::{Leaf, Prepared};

const MODIFIED: Timestamp = Timestamp {
    seconds: 1_000_000_000,
    nanos: 123_456_789,
};

/// A store in a directory of its own, driven as the engine does.
struct Sink {
    dir: TempDir,
    store: Option<SinkStore>,
    next_op: u64,
}

impl Sink {
    fn new() -> Self {
        Self::with(OnConflict::Refuse)
    }

    fn with(on_conflict: OnConflict) -> Self {
        let mut sink = Self {
            dir: tempfile::tempdir().unwrap(),
            store: None,
            next_op: 0,
        };
        sink.reopen_as(on_conflict);
        sink
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn reopen_as(&mut self, on_conflict: OnConflict) {
        self.store = None;
        self.store = Some(SinkStore::open(&self.out(), on_conflict).unwrap());
    }

    /// What a crash does: nothing is closed in order, only the kernel's locks go.
    fn crash(&mut self) {
        let mut store = self.store.take().unwrap();
        store.files.clear();
        store.partials.abandon();
        drop(store);
        self.store = Some(SinkStore::open(&self.out(), OnConflict::Refuse).unwrap());
    }

    fn store(&mut self) -> &mut SinkStore {
        self.store.as_mut().unwrap()
    }

    fn run(&mut self, batch: Vec<(SessionId, StorageOp)>) -> BTreeMap<u64, Result<Done, Failure>> {
        let mut results = BTreeMap::new();
        let mut done = |_, completion: Completion| {
            let before = results.insert(completion.op.0, completion.result);
            assert!(before.is_none(), "completed twice");
        };
        let store = self.store();
        let mut has_more = store.run(batch, &mut done);
        while has_more {
            has_more = store.go_on(&mut done);
        }
        results
    }

    fn one(&mut self, session: u64, op: impl FnOnce(OpId) -> StorageOp) -> Result<Done, Failure> {
        self.next_op += 1;
        let id = self.next_op;
        let mut results = self.run(vec![(SessionId(session), op(OpId(id)))]);
        assert_eq!(results.len(), 1);
        results.remove(&id).unwrap()
    }

    fn prepare(
        &mut self,
        key: (u64, u32),
        entry: &Entry,
        differs: bool,
    ) -> Result<Prepared, Failure> {
        let (file, entry) = (FileIndex(key.1), entry.clone());
        let done = self.one(key.0, |op| StorageOp::Prepare {
            op,
            file,
            entry,
            differs,
        });
        done.map(|done| match done {
            Done::Prepared(prepared) => prepared,
            other => panic!("{other:?}"),
        })
    }

    fn write(&mut self, key: (u64, u32), offset: u64, data: &[u8]) -> Result<Done, Failure> {
        let (file, data) = (FileIndex(key.1), data.to_vec().into());
        self.one(key.0, |op| StorageOp::Write {
            op,
            file,
            offset,
            data,
        })
    }

    fn hash(&mut self, key: (u64, u32), leaf: u64) -> Digest {
        self.hash_kept(key, leaf, None)
    }

    fn hash_kept(&mut self, key: (u64, u32), leaf: u64, kept: Option<Digest>) -> Digest {
        let file = FileIndex(key.1);
        let hash = |op| StorageOp::Hash {
            op,
            file,
            leaf,
            kept,
        };
        match self.one(key.0, hash).unwrap() {
            Done::Digest(digest) => digest,
            other => panic!("{other:?}"),
        }
    }

    fn checkpoint(&mut self, key: (u64, u32), leaves: Vec<Leaf>) {
        let file = FileIndex(key.1);
        let done = self.one(key.0, |op| StorageOp::Checkpoint { op, file, leaves });
        assert!(matches!(done, Ok(Done::Recorded)), "{done:?}");
    }

    fn commit(&mut self, key: (u64, u32), digest: Digest) -> Result<(), Failure> {
        let file = FileIndex(key.1);
        let done = self.one(key.0, |op| StorageOp::Commit { op, file, digest });
        done.map(|done| assert!(matches!(done, Done::Committed)))
    }

    fn discard(&mut self, key: (u64, u32), keep: bool) {
        let file = FileIndex(key.1);
        let op = StorageOp::Discard { file, keep };
        assert!(self.run(vec![(SessionId(key.0), op)]).is_empty());
    }

    /// All of a file but the commit.
    fn fill(&mut self, key: (u64, u32), data: &[u8]) -> Digest {
        for (at, piece) in data.chunks(256 << 10).enumerate() {
            self.write(key, (at as u64) << 18, piece).unwrap();
        }
        let size = data.len() as u64;
        let leaves: Vec<Digest> = (0..leaf_count(size))
            .map(|leaf| self.hash(key, leaf))
            .collect();
        root(&leaves)
    }

    /// A whole file from offer to commit.
    fn receive(&mut self, key: (u64, u32), name: &str, data: &[u8]) -> Result<(), Failure> {
        let entry = file(name, data.len() as u64);
        let prepared = self.prepare(key, &entry, false)?;
        if prepared == Prepared::Existing {
            self.prepare(key, &entry, true)?;
        }
        let digest = self.fill(key, data);
        assert_eq!(digest, Digest(*blake3::hash(data).as_bytes()));
        self.commit(key, digest)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.out().join(name)).unwrap()
    }

    /// Every path beneath the directory, sorted.
    fn tree(&self) -> Vec<String> {
        fn walk(dir: &Path, base: &Path, all: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(base).unwrap().to_string_lossy();
                all.push(name.into_owned());
                if path.is_dir() && !path.is_symlink() {
                    walk(&path, base, all);
                }
            }
        }
        let mut all = Vec::new();
        walk(&self.out(), &self.out(), &mut all);
        all.sort();
        all
    }
}

fn file(name: &str, size: u64) -> Entry {
    Entry {
        name: Name::new(name).unwrap(),
        kind: EntryKind::File,
        size,
        modified: Some(MODIFIED),
        mode: Some(0o640),
        identity: Some(1),
    }
}

fn directory(name: &str) -> Entry {
    Entry {
        kind: EntryKind::Directory,
        ..file(name, 0)
    }
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn leaf(data: &[u8], index: u64) -> Leaf {
    let size = data.len() as u64;
    let (start, end) = leaf_range(size, index);
    let value = leaf_value(size, index, &data[start as usize..end as usize]);
    Leaf { index, value }
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> ErrorCode {
    result.unwrap_err().code
}
