//! Hashes that run along with the writing, so that what is written in order is not read back.

use super::Key;
use crate::storage::lru::Lru;
use xfer_proto::digest::{LEAF_SIZE, LeafHasher, leaf_range};

/// Leaves hashed at once, over all sessions: about 2 KiB each.
const MAX_RUNNING: usize = 256;

/// A leaf hashed up to `next`, a position in the file.
pub(super) struct Running {
    pub(super) hasher: LeafHasher,
    pub(super) next: u64,
}

/// The leaves that are being written.
pub(super) struct Hashers(Lru<(Key, u64), Box<Running>>);

impl Hashers {
    pub(super) fn new() -> Self {
        Self(Lru::new(MAX_RUNNING))
    }

    /// Bytes at `offset` of a file of `size` bytes have been written.
    pub(super) fn written(&mut self, key: Key, size: u64, offset: u64, data: &[u8]) {
        let mut offset = offset;
        let mut data = data;
        while !data.is_empty() {
            let leaf = offset / LEAF_SIZE;
            let (start, end) = leaf_range(size, leaf);
            let len = usize::try_from(end - offset).map_or(data.len(), |len| len.min(data.len()));
            let (piece, rest) = data.split_at(len);
            self.written_to_leaf((key, leaf), size, start, offset, piece);
            offset += len as u64;
            data = rest;
        }
    }

    fn written_to_leaf(&mut self, at: (Key, u64), size: u64, start: u64, offset: u64, data: &[u8]) {
        match self.0.get_mut(&at) {
            Some(running) if offset == running.next => {
                running.hasher.update(data);
                running.next += data.len() as u64;
            }
            // Beyond a gap: what is hashed stays right, the rest will be read back.
            Some(running) if offset > running.next => {}
            Some(_) => {
                // Written over: what was hashed may not be the content any more.
                self.0.remove(&at);
                self.start(at, size, start, offset, data);
            }
            None => self.start(at, size, start, offset, data),
        }
    }

    fn start(&mut self, at: (Key, u64), size: u64, start: u64, offset: u64, data: &[u8]) {
        if offset != start {
            return;
        }
        let mut hasher = LeafHasher::new(size, at.1);
        hasher.update(data);
        let next = start + data.len() as u64;
        self.0.insert(at, Box::new(Running { hasher, next }));
    }

    /// What is hashed of a leaf so far; possibly nothing.
    pub(super) fn take(&mut self, key: Key, size: u64, leaf: u64) -> Running {
        let running = self.0.remove(&(key, leaf));
        running.map_or_else(
            || Running {
                hasher: LeafHasher::new(size, leaf),
                next: leaf_range(size, leaf).0,
            },
            |running| *running,
        )
    }

    /// A file is gone.
    pub(super) fn forget(&mut self, key: Key) {
        self.0.retain(|(of, _)| *of != key);
    }
}
