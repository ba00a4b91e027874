//! The sender's blocks: whole leaves of source files, read ahead of the first transmission and kept
//! for repairs while there is room.

use crate::digest::LEAF_SIZE;
use crate::id::FileIndex;
use crate::storage::OpId;
use alloc::collections::BTreeMap;
use bytes::Bytes;
use core::ops::RangeInclusive;

/// A leaf of a file; ordered as they are sent.
pub type BlockKey = (FileIndex, u64);
/// The blocks that a chunk lies in.
pub type ChunkBlocks = RangeInclusive<BlockKey>;

#[derive(Debug)]
enum Slot {
    Pending,
    Ready { data: Bytes, used: u64 },
}

/// A block on its way from storage.
#[derive(Clone, Copy, Debug)]
struct Read {
    key: BlockKey,
    len: u64,
    is_wanted: bool,
}

/// The cache. What lies ahead of the first transmission never takes the room that the blocks of a
/// repair need, and is evicted for nothing but a block that is sent before it.
#[derive(Debug)]
pub struct Blocks {
    slots: BTreeMap<BlockKey, (Slot, u64)>,
    reads: BTreeMap<OpId, Read>,
    /// The block that is sent for the first time now.
    cursor: BlockKey,
    /// Bytes of all blocks, and of those from the cursor on.
    held: u64,
    ahead: u64,
    /// Bytes that are being read for blocks which nobody keeps, or wants any more.
    orphaned: u64,
    capacity: u64,
    tick: u64,
}

impl Blocks {
    /// Room for `capacity` bytes, reads under way included; at least four leaves: two ahead, for a
    /// chunk may lie in both, and two behind.
    pub fn new(capacity: usize) -> Self {
        Self {
            slots: BTreeMap::new(),
            reads: BTreeMap::new(),
            cursor: (FileIndex(0), 0),
            held: 0,
            ahead: 0,
            orphaned: 0,
            capacity: (capacity as u64).max(4 * LEAF_SIZE),
            tick: 0,
        }
    }

    /// Whether the block is there or on its way.
    pub fn is_requested(&self, key: BlockKey) -> bool {
        self.slots.contains_key(&key)
    }

    /// The first transmission has come to `cursor`; it never goes back.
    pub fn advance(&mut self, cursor: BlockKey) {
        if cursor > self.cursor {
            let passed = self.slots.range(self.cursor..cursor);
            self.ahead -= passed.map(|(_, (_, len))| len).sum::<u64>();
            self.cursor = cursor;
        }
    }

    /// Makes room for `len` bytes ahead of the cursor, or of what nobody keeps; answers whether
    /// there is.
    pub fn make_room_ahead(&mut self, len: u64) -> bool {
        let taken = self.ahead + self.orphaned;
        taken + len <= self.capacity_ahead() && self.make_room(len, None)
    }

    fn capacity_ahead(&self) -> u64 {
        self.capacity - (self.capacity / 4).max(2 * LEAF_SIZE)
    }

    /// Makes room for a block which is read out of turn because `chunk` lies in it; answers whether
    /// there is. It comes at the latest with the reads that are under way, as neither of the
    /// (at most two) blocks of the chunk gives way to the other.
    pub fn make_room_for(&mut self, chunk: &ChunkBlocks, key: BlockKey, len: u64) -> bool {
        while key >= self.cursor && self.ahead + len > self.capacity_ahead() {
            let mut ahead = self.slots.range(self.cursor..).rev();
            let is_evictable = |(key, (slot, _)): &(&BlockKey, &(Slot, u64))| {
                matches!(slot, Slot::Ready { .. }) && !chunk.contains(key)
            };
            let Some((&last, _)) = ahead.find(is_evictable) else {
                return false;
            };
            self.remove(last);
        }
        self.make_room(len, Some(chunk))
    }

    /// Evicts blocks behind the cursor, those first whose last use is longest ago, if that is
    /// enough.
    fn make_room(&mut self, len: u64, chunk: Option<&ChunkBlocks>) -> bool {
        let mut room = self.capacity.saturating_sub(self.held + self.orphaned);
        let mut evictable = self.evictable(chunk);
        while room < len {
            let Some((_, _, evicted)) = evictable.next() else {
                return false;
            };
            room += evicted;
        }
        drop(evictable);
        while self.held + self.orphaned + len > self.capacity {
            let oldest = self.evictable(chunk).min();
            let Some((_, key, _)) = oldest else {
                return false;
            };
            self.remove(key);
        }
        true
    }

    /// Last use, key and bytes of each block behind the cursor that is there, but for those of
    /// `chunk`.
    fn evictable(&self, chunk: Option<&ChunkBlocks>) -> impl Iterator<Item = (u64, BlockKey, u64)> {
        let passed = self.slots.range(..self.cursor);
        passed.filter_map(move |(key, (slot, len))| match slot {
            Slot::Ready { used, .. } if chunk.is_none_or(|chunk| !chunk.contains(key)) => {
                Some((*used, *key, *len))
            }
            _ => None,
        })
    }

    /// The block is being read by `op`.
    pub fn on_requested(&mut self, op: OpId, key: BlockKey, len: u64) {
        let read = Read {
            key,
            len,
            is_wanted: true,
        };
        self.reads.insert(op, read);
        if self.slots.insert(key, (Slot::Pending, len)).is_none() {
            self.held += len;
            self.ahead += if key >= self.cursor { len } else { 0 };
        }
    }

    /// The block is being read by `op`, and nobody keeps it.
    pub fn on_requested_once(&mut self, op: OpId, key: BlockKey, len: u64) {
        let read = Read {
            key,
            len,
            is_wanted: false,
        };
        self.reads.insert(op, read);
        self.orphaned += len;
    }

    /// The read `op` has ended; answers which block it was for. The data is kept if it is still
    /// wanted.
    pub fn on_read(&mut self, op: OpId, data: Option<Bytes>) -> Option<BlockKey> {
        let Read {
            key,
            len,
            is_wanted,
        } = self.reads.remove(&op)?;
        if !is_wanted {
            self.orphaned -= len;
            return Some(key);
        }
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
            self.ahead -= if key >= self.cursor { len } else { 0 };
        }
    }

    /// Forgets all blocks of a file; reads on their way are dropped when they end, and need room
    /// until then.
    pub fn forget(&mut self, file: FileIndex) {
        for read in self.reads.values_mut() {
            if read.key.0 == file && core::mem::take(&mut read.is_wanted) {
                self.orphaned += read.len;
            }
        }
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

    fn read(blocks: &mut Blocks, leaf: u64) {
        blocks.on_requested(OpId(leaf), key(leaf), LEN);
        blocks.on_read(OpId(leaf), Some(Bytes::from_static(b"x")));
    }

    #[test]
    fn reading_ahead_leaves_room_for_repairs() {
        let mut blocks = Blocks::new(0);
        for leaf in 0..2 {
            assert!(blocks.make_room_ahead(LEN));
            read(&mut blocks, leaf);
        }
        assert!(!blocks.make_room_ahead(LEN), "two leaves are ahead");
        blocks.advance(key(2));
        for leaf in 2..4 {
            assert!(blocks.make_room_ahead(LEN));
            read(&mut blocks, leaf);
        }
        blocks.touch(key(0));
        assert!(blocks.make_room(LEN, None));
        assert!(blocks.data(key(0)).is_some() && blocks.data(key(1)).is_none());
    }

    #[test]
    fn the_blocks_of_a_chunk_do_not_push_each_other_out() {
        let mut blocks = Blocks::new(0);
        blocks.advance(key(2));
        for leaf in [4, 5] {
            assert!(blocks.make_room_ahead(LEN));
            read(&mut blocks, leaf);
        }
        // A repair, and what is sent next and was forgotten meanwhile.
        for chunk in [key(0)..=key(1), key(2)..=key(3)] {
            for leaf in chunk.start().1..=chunk.end().1 {
                assert!(blocks.make_room_for(&chunk, key(leaf), LEN));
                read(&mut blocks, leaf);
            }
            let mut leaves = chunk.start().1..=chunk.end().1;
            assert!(leaves.all(|leaf| blocks.data(key(leaf)).is_some()));
            assert!(blocks.held <= 4 * LEN && blocks.ahead <= 2 * LEN);
        }
        assert!(blocks.data(key(4)).is_none() && blocks.data(key(5)).is_none());
    }

    #[test]
    fn a_forgotten_read_leaves_nothing_behind() {
        let mut blocks = Blocks::new(0);
        blocks.on_requested(OpId(7), key(4), LEN);
        blocks.forget(FileIndex(0));
        assert_eq!(blocks.on_read(OpId(7), Some(Bytes::new())), Some(key(4)));
        assert!(!blocks.is_requested(key(4)));
        assert_eq!((blocks.held, blocks.ahead, blocks.orphaned), (0, 0, 0));
    }

    #[test]
    fn reads_that_nobody_keeps_need_room_until_they_end_and_leave_that_of_repairs() {
        let mut blocks = Blocks::new(0);
        assert!(blocks.make_room_ahead(LEN));
        blocks.on_requested(OpId(0), key(0), LEN);
        blocks.forget(FileIndex(0));
        let next = |leaf| (FileIndex(1), leaf);
        assert!(blocks.make_room_ahead(LEN));
        blocks.on_requested_once(OpId(1), next(0), LEN);
        assert!(!blocks.make_room_ahead(LEN), "two leaves are being read");
        assert!(!blocks.is_requested(next(0)));
        blocks.advance((FileIndex(2), 0));
        let repair = next(4)..=next(5);
        for leaf in 4..6 {
            assert!(blocks.make_room_for(&repair, next(leaf), LEN));
            blocks.on_requested(OpId(leaf), next(leaf), LEN);
        }
        assert!(!blocks.make_room_for(&repair, next(6), LEN), "four are");
        assert_eq!(blocks.on_read(OpId(1), Some(Bytes::new())), Some(next(0)));
        assert!(blocks.make_room_ahead(LEN) && blocks.data(next(0)).is_none());
    }
}
