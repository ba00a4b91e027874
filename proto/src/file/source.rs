//! The sender's blocks: whole leaves of source files, read ahead of the first transmission and kept
//! for repairs while there is room.

use crate::digest::LEAF_SIZE;
use crate::id::FileIndex;
use crate::storage::OpId;
use alloc::collections::BTreeMap;
use bytes::Bytes;

/// A leaf of a file; ordered as they are sent.
pub type BlockKey = (FileIndex, u64);

#[derive(Debug)]
enum Slot {
    Pending,
    Ready { data: Bytes, used: u64 },
}

/// The cache. What lies ahead of the first transmission is never evicted.
#[derive(Debug)]
pub struct Blocks {
    slots: BTreeMap<BlockKey, (Slot, u64)>,
    reads: BTreeMap<OpId, BlockKey>,
    held: u64,
    capacity: u64,
    tick: u64,
}

impl Blocks {
    /// Room for `capacity` bytes, at least three leaves.
    pub fn new(capacity: usize) -> Self {
        let capacity = (capacity as u64).max(3 * LEAF_SIZE);
        Self {
            slots: BTreeMap::new(),
            reads: BTreeMap::new(),
            held: 0,
            capacity,
            tick: 0,
        }
    }

    /// Whether the block is there or on its way.
    pub fn is_requested(&self, key: BlockKey) -> bool {
        self.slots.contains_key(&key)
    }

    /// Makes room for `len` bytes ahead of `cursor`; answers whether there is.
    pub fn make_room(&mut self, len: u64, cursor: BlockKey) -> bool {
        while self.held + len > self.capacity {
            let passed = self.slots.range(..cursor);
            let evictable = passed.filter_map(|(key, (slot, _))| match slot {
                Slot::Ready { used, .. } => Some((*used, *key)),
                Slot::Pending => None,
            });
            let Some((_, key)) = evictable.min() else {
                return false;
            };
            self.remove(key);
        }
        true
    }

    /// Whether a repair may be read although there is no room: one at a time always may.
    pub fn may_read_repair(&self, cursor: BlockKey) -> bool {
        self.reads.values().all(|key| *key >= cursor)
    }

    /// The block is being read by `op`.
    pub fn on_requested(&mut self, op: OpId, key: BlockKey, len: u64) {
        self.reads.insert(op, key);
        if self.slots.insert(key, (Slot::Pending, len)).is_none() {
            self.held += len;
        }
    }

    /// The read `op` has ended; answers which block it was for. The data is kept if it is still
    /// wanted.
    pub fn on_read(&mut self, op: OpId, data: Option<Bytes>) -> Option<BlockKey> {
        let key = self.reads.remove(&op)?;
        self.tick += 1;
        match (data, self.slots.get_mut(&key)) {
            (Some(data), Some((slot, _))) => {
                *slot = Slot::Ready {
                    data,
                    used: self.tick,
                }
            }
            _ => self.remove(key),
        }
        Some(key)
    }

    /// The content of a block that is there.
    pub fn data(&self, key: BlockKey) -> Option<&Bytes> {
        match self.slots.get(&key) {
            Some((Slot::Ready { data, .. }, _)) => Some(data),
            _ => None,
        }
    }

    /// The block was used: it is evicted after those that were not.
    pub fn touch(&mut self, key: BlockKey) {
        self.tick += 1;
        if let Some((Slot::Ready { used, .. }, _)) = self.slots.get_mut(&key) {
            *used = self.tick;
        }
    }

    fn remove(&mut self, key: BlockKey) {
        if let Some((_, len)) = self.slots.remove(&key) {
            self.held -= len;
        }
    }

    /// Forgets all blocks of a file; reads on their way are dropped when they end.
    pub fn forget(&mut self, file: FileIndex) {
        let next = FileIndex(file.0.saturating_add(1));
        while let Some((&key, _)) = self.slots.range((file, 0)..(next, 0)).next() {
            self.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = LEAF_SIZE;

    fn key(leaf: u64) -> BlockKey {
        (FileIndex(0), leaf)
    }

    #[test]
    fn what_was_passed_makes_room_oldest_use_first() {
        let mut blocks = Blocks::new(0);
        for leaf in 0..3 {
            assert!(blocks.make_room(LEN, key(0)));
            blocks.on_requested(OpId(leaf), key(leaf), LEN);
            blocks.on_read(OpId(leaf), Some(Bytes::from_static(b"x")));
        }
        assert!(!blocks.make_room(LEN, key(0)), "everything is ahead");
        blocks.touch(key(0));
        assert!(blocks.make_room(LEN, key(2)));
        assert!(blocks.data(key(0)).is_some() && blocks.data(key(1)).is_none());
    }

    #[test]
    fn a_forgotten_read_leaves_nothing_behind() {
        let mut blocks = Blocks::new(0);
        blocks.on_requested(OpId(7), key(4), LEN);
        assert!(!blocks.may_read_repair(key(5)) && blocks.may_read_repair(key(4)));
        blocks.forget(FileIndex(0));
        assert_eq!(blocks.on_read(OpId(7), Some(Bytes::new())), Some(key(4)));
        assert!(!blocks.is_requested(key(4)));
        assert_eq!(blocks.held, 0);
    }
}
