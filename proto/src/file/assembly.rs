//! The receiver's blocks: chunks are put together into aligned writes, within a bounded memory.

use crate::config::{SMALL_WRITE_BLOCK, WRITE_BLOCK};
use crate::id::FileIndex;
use crate::memory::{MemoryPool, Share};
use crate::range_set::RangeSet;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::ops::Range;

const BLOCK: u64 = WRITE_BLOCK as u64;
const SMALL_BLOCK: u64 = SMALL_WRITE_BLOCK as u64;
/// Buffers kept for the next blocks, so that their memory is not mapped anew each time.
const MAX_SPARE: usize = 128;
/// What a buffer counts at least: where files are tiny, most is not content.
const MIN_COST: u64 = 512;

/// One write to ask of storage.
#[derive(Debug)]
pub struct PendingWrite {
    /// The file.
    pub file: FileIndex,
    /// Bytes from its start.
    pub offset: u64,
    /// The content.
    pub data: Bytes,
    /// To be given to [`Assembly::on_written`].
    pub buffer: u64,
}

#[derive(Debug)]
struct Block {
    data: BytesMut,
    filled: RangeSet,
    used: u64,
}

#[derive(Debug)]
struct Buffer {
    data: Bytes,
    writes: usize,
}

/// The blocks of all files of a session.
#[derive(Debug)]
pub struct Assembly {
    blocks: BTreeMap<(FileIndex, u64), Block>,
    buffers: BTreeMap<u64, Buffer>,
    /// Buffers for the next blocks.
    spare: Vec<BytesMut>,
    /// The session's part of the memory of all: what is held, and the spare buffers.
    memory: Share,
    /// Bytes of a block; changes only while none is being filled.
    block: u64,
    /// Bytes of all buffers: those being filled and those being written.
    held: u64,
    /// Bytes of the buffers being filled, and how many of them have not come.
    filling: u64,
    unfilled: u64,
    limit: u64,
    tick: u64,
    /// The tick of the last call of [`Self::flush_idle`].
    idle_tick: u64,
    writes: VecDeque<PendingWrite>,
}

impl Assembly {
    /// Holds at most about `limit` bytes, at least two blocks, and no more than its share of
    /// `pool`.
    pub fn new(limit: usize, pool: &MemoryPool) -> Self {
        Self {
            blocks: BTreeMap::new(),
            buffers: BTreeMap::new(),
            spare: Vec::new(),
            memory: pool.share(),
            block: BLOCK,
            held: 0,
            filling: 0,
            unfilled: 0,
            limit: (limit as u64).max(2 * BLOCK),
            tick: 0,
            idle_tick: 0,
            writes: VecDeque::new(),
        }
    }

    /// Bytes that may be held at the moment.
    pub fn limit(&self) -> u64 {
        self.limit.min(self.memory.fair())
    }

    /// Bytes that may still come. What is missing of a block that is being filled has its room.
    pub fn room(&self) -> u64 {
        let filled = self.held.saturating_sub(self.unfilled);
        self.limit().saturating_sub(filled)
    }

    /// Bytes that wait for storage.
    pub fn writing(&self) -> u64 {
        self.held.saturating_sub(self.filling)
    }

    /// Whether storage has been asked for writes that have not ended.
    pub fn is_writing(&self) -> bool {
        !self.buffers.is_empty()
    }

    /// Takes bytes of a file of `size` bytes; answers whether there was memory for them.
    pub fn store(&mut self, file: FileIndex, size: u64, offset: u64, mut bytes: &[u8]) -> bool {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > size {
            return false;
        }
        if self.blocks.is_empty() {
            self.choose_block(self.limit() >= 2 * BLOCK);
        }
        if !self.take(self.new_bytes(file, size, offset..end)) {
            // What is guaranteed are small blocks.
            let may_shrink = self.blocks.is_empty() && self.block == BLOCK;
            if may_shrink {
                self.choose_block(false);
            }
            if !may_shrink || !self.take(self.new_bytes(file, size, offset..end)) {
                return self.write_through(file, offset, bytes);
            }
        }
        let mut at = offset;
        while !bytes.is_empty() {
            let index = at / self.block;
            let start = index * self.block;
            let len = (size.saturating_sub(start)).min(self.block);
            let within = at - start;
            let take = (len.saturating_sub(within)).min(bytes.len() as u64);
            if take == 0 {
                return false;
            }
            let (now, rest) = bytes.split_at(take as usize);
            self.put(file, index, len, within, now);
            bytes = rest;
            at += take;
        }
        if self.filling > self.most_filling() {
            self.evict();
        }
        true
    }

    /// Bytes of blocks that may wait for what they lack. On a long path that loses packets every
    /// block waits for a round trip: most of the memory has to stay for what is on its way, or the
    /// path is never full. What comes after its block was written is written alone.
    fn most_filling(&self) -> u64 {
        let limit = self.limit();
        (limit / 8).max((limit / 2).min(8 * BLOCK))
    }

    /// Bytes of the blocks that `bytes` of a file lie in and that are not there yet.
    fn new_bytes(&self, file: FileIndex, size: u64, bytes: Range<u64>) -> u64 {
        let blocks = bytes.start / self.block..bytes.end.div_ceil(self.block);
        blocks
            .filter(|index| !self.blocks.contains_key(&(file, *index)))
            .map(|index| cost(size.saturating_sub(index * self.block).min(self.block)))
            .sum()
    }

    /// Many sessions that share the memory have small blocks.
    fn choose_block(&mut self, is_large: bool) {
        let block = if is_large { BLOCK } else { SMALL_BLOCK };
        if block != self.block {
            self.drop_spare();
            self.block = block;
        }
    }

    /// Takes memory, that of spare buffers where nothing else is left.
    fn take(&mut self, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let limit = self.limit.saturating_add(2 * self.block);
        if self.held.saturating_add(bytes) <= limit {
            if self.memory.take(bytes) {
                return true;
            }
            self.drop_spare();
            if self.memory.take(bytes) {
                return true;
            }
        }
        false
    }

    /// There is no memory for another block: bytes that came alone are written alone. Where there
    /// is none for them either, the blocks being filled are written as they are.
    fn write_through(&mut self, file: FileIndex, offset: u64, bytes: &[u8]) -> bool {
        let len = cost(bytes.len() as u64);
        if !self.take(len) {
            if !self.is_writing() {
                let keys: Vec<_> = self.blocks.keys().copied().collect();
                keys.into_iter().for_each(|key| self.write_out(key));
            }
            return false;
        }
        self.tick += 1;
        self.held += len;
        let (buffer, data) = (self.tick, Bytes::copy_from_slice(bytes));
        self.writes.push_back(PendingWrite {
            file,
            offset,
            data: data.clone(),
            buffer,
        });
        self.buffers.insert(buffer, Buffer { data, writes: 1 });
        true
    }

    fn drop_spare(&mut self) {
        for spare in self.spare.drain(..) {
            self.memory.give(spare.len() as u64);
        }
    }

    fn put(&mut self, file: FileIndex, index: u64, len: u64, within: u64, bytes: &[u8]) {
        self.tick += 1;
        let tick = self.tick;
        if !self.blocks.contains_key(&(file, index)) {
            let data = self.buffer(len as usize);
            self.held += cost(len);
            self.filling += cost(len);
            self.unfilled += len;
            self.blocks.insert(
                (file, index),
                Block {
                    data,
                    filled: RangeSet::new(),
                    used: tick,
                },
            );
        }
        let Some(block) = self.blocks.get_mut(&(file, index)) else {
            return;
        };
        block.used = tick;
        let end = within + bytes.len() as u64;
        if let Some(slot) = block.data.get_mut(within as usize..end as usize) {
            slot.copy_from_slice(bytes);
        }
        let new = block.filled.insert(within..end);
        self.unfilled = self.unfilled.saturating_sub(new);
        if block.filled.count() == len {
            self.write_out((file, index));
        }
    }

    fn buffer(&mut self, len: usize) -> BytesMut {
        if len as u64 == self.block
            && let Some(spare) = self.spare.pop()
        {
            // Memory was taken for a new one; this one had its own.
            self.memory.give(self.block);
            return spare;
        }
        BytesMut::zeroed(len)
    }

    /// The block that was untouched for longest is written as far as it is filled.
    fn evict(&mut self) {
        let oldest = self
            .blocks
            .iter()
            .min_by_key(|(_, block)| block.used)
            .map(|(key, _)| *key);
        if let Some(key) = oldest.filter(|_| self.blocks.len() > 1) {
            self.write_out(key);
        }
    }

    fn write_out(&mut self, key: (FileIndex, u64)) {
        let Some(block) = self.remove_block(key) else {
            return;
        };
        self.tick += 1;
        let buffer = self.tick;
        let data = block.data.freeze();
        let mut writes = 0;
        for range in block.filled.iter() {
            writes += 1;
            self.writes.push_back(PendingWrite {
                file: key.0,
                offset: key.1 * self.block + range.start,
                data: data.slice(range.start as usize..range.end as usize),
                buffer,
            });
        }
        self.buffers.insert(buffer, Buffer { data, writes });
    }

    /// Everything in `bytes` of the file is written without waiting for the rest of its blocks.
    pub fn flush(&mut self, file: FileIndex, bytes: Range<u64>) {
        let blocks = (file, bytes.start / self.block)..(file, bytes.end.div_ceil(self.block));
        let keys: Vec<_> = self.blocks.range(blocks).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.write_out(key));
    }

    /// Everything that nothing was added to since the last call is written: a sender that stops
    /// half-way keeps no memory from the others.
    pub fn flush_idle(&mut self) {
        let idle = self.blocks.iter();
        let idle: Vec<_> = idle
            .filter(|(_, block)| block.used <= self.idle_tick)
            .map(|(key, _)| *key)
            .collect();
        idle.into_iter().for_each(|key| self.write_out(key));
        self.idle_tick = self.tick;
    }

    /// The next write to ask for.
    pub fn next_write(&mut self) -> Option<PendingWrite> {
        self.writes.pop_front()
    }

    /// A write has ended, well or not.
    pub fn on_written(&mut self, buffer: u64) {
        let Some(entry) = self.buffers.get_mut(&buffer) else {
            return;
        };
        entry.writes -= 1;
        if entry.writes > 0 {
            return;
        }
        let Some(Buffer { data, .. }) = self.buffers.remove(&buffer) else {
            return;
        };
        let len = cost(data.len() as u64);
        self.held = self.held.saturating_sub(len);
        if !self.keep_spare(data) {
            self.memory.give(len);
        }
        if self.held == 0 {
            self.drop_spare();
        }
    }

    /// Keeps a buffer for the next block, where that is a small part of what may be held.
    fn keep_spare(&mut self, data: Bytes) -> bool {
        let count = self.spare.len();
        let is_wanted = data.len() as u64 == self.block
            && count < MAX_SPARE
            && (count as u64 + 1) * self.block <= self.limit() / 4;
        if is_wanted {
            self.spare.extend(data.try_into_mut().ok());
        }
        self.spare.len() > count
    }

    /// Forgets what was not written of a file.
    pub fn forget(&mut self, file: FileIndex) {
        self.forget_range(file, 0..u64::MAX);
    }

    /// Forgets every block that lies in `bytes` of a file or reaches into them, as far as it was
    /// not written. The borders of leaves are borders of blocks.
    pub fn forget_range(&mut self, file: FileIndex, bytes: Range<u64>) {
        let blocks = (file, bytes.start / self.block)..(file, bytes.end.div_ceil(self.block));
        while let Some((&key, _)) = self.blocks.range(blocks.clone()).next() {
            if let Some(block) = self.remove_block(key) {
                let len = cost(block.data.len() as u64);
                self.held = self.held.saturating_sub(len);
                self.memory.give(len);
            }
        }
    }

    /// Takes a block out of those that are being filled.
    fn remove_block(&mut self, key: (FileIndex, u64)) -> Option<Block> {
        let block = self.blocks.remove(&key)?;
        let len = block.data.len() as u64;
        self.filling = self.filling.saturating_sub(cost(len));
        let missing = len.saturating_sub(block.filled.count());
        self.unfilled = self.unfilled.saturating_sub(missing);
        Some(block)
    }
}

/// What a buffer of so many bytes counts.
fn cost(bytes: u64) -> u64 {
    bytes.max(MIN_COST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec;
    use proptest::prelude::*;

    fn take_all(assembly: &mut Assembly, file: &mut [u8]) {
        while let Some(write) = assembly.next_write() {
            let at = write.offset as usize;
            file[at..at + write.data.len()].copy_from_slice(&write.data);
            let buffer = write.buffer;
            drop(write);
            assembly.on_written(buffer);
        }
    }

    proptest! {
        #[test]
        fn every_byte_is_written(
            seed: u64, size in 1_usize..600_000, chunk in 1_000_usize..9_000,
            pool in 0_u64..300_000,
        ) {
            let mut rng = Rng::new(seed);
            let content: Vec<u8> = (0..size).map(|at| (at * 7 + at / 255) as u8).collect();
            let mut order: Vec<usize> = (0..size.div_ceil(chunk)).collect();
            for at in 0..order.len() {
                // Out of order, but mostly near by.
                let other = (at + rng.below(20) as usize).min(order.len() - 1);
                order.swap(at, other);
            }
            let mut file = vec![0; size];
            let pool = MemoryPool::new(pool);
            let mut assembly = Assembly::new(0, &pool);
            for at in order {
                let (start, end) = (at * chunk, ((at + 1) * chunk).min(size));
                let bytes = &content[start..end];
                if !assembly.store(FileIndex(0), size as u64, start as u64, bytes) {
                    take_all(&mut assembly, &mut file);
                    prop_assert!(assembly.store(FileIndex(0), size as u64, start as u64, bytes));
                }
                take_all(&mut assembly, &mut file);
                prop_assert!(assembly.held <= 4 * BLOCK);
                prop_assert!(pool.held() >= assembly.held);
                prop_assert!(pool.held() <= pool.size() + crate::memory::GUARANTEE);
            }
            assembly.flush(FileIndex(0), 0..size as u64);
            take_all(&mut assembly, &mut file);
            prop_assert!(file == content);
            prop_assert_eq!((assembly.held, assembly.filling, assembly.unfilled), (0, 0, 0));
            prop_assert_eq!(pool.held(), 0);
        }
    }

    #[test]
    fn memory_is_bounded_while_storage_is_slow() {
        let mut assembly = Assembly::new(0, &MemoryPool::new(10 * BLOCK));
        let size = 100 * BLOCK;
        let stored = (0..100)
            .filter(|at| assembly.store(FileIndex(0), size, at * BLOCK, &[1; WRITE_BLOCK]))
            .count();
        assert!((2..=8).contains(&stored), "{stored} blocks held");
        assert_eq!(assembly.room(), 0);
    }

    #[test]
    fn tiny_files_count_more_than_their_content() {
        let pool = MemoryPool::new(BLOCK);
        let mut assembly = Assembly::new(0, &pool);
        let stored = |assembly: &mut Assembly| {
            let files = (0..1_000).filter(|file| assembly.store(FileIndex(*file), 1, 0, &[1]));
            files.count() as u64
        };
        assert_eq!(stored(&mut assembly), BLOCK / MIN_COST);
        take_all(&mut assembly, &mut [0]);
        assert_eq!((assembly.held, pool.held()), (0, 0));
    }

    #[test]
    fn a_session_gets_on_while_others_hold_everything() {
        let pool = MemoryPool::new(8 * BLOCK);
        let mut greedy = Assembly::new(8 << 20, &pool);
        let size = 100 * BLOCK;
        // The last byte of each block never comes.
        (0..8).for_each(|at| {
            greedy.store(FileIndex(0), size, at * BLOCK, &[1; WRITE_BLOCK - 1]);
        });
        assert!(pool.held() > 3 * BLOCK, "{}", pool.held());
        let mut others: Vec<_> = (0..40).map(|_| Assembly::new(8 << 20, &pool)).collect();
        let mut file = vec![0; 3 * WRITE_BLOCK];
        for at in 0..3 * BLOCK / 1_024 {
            for other in &mut others {
                let stored = other.store(FileIndex(0), size, at * 1_024, &[2; 1_024]);
                assert!(stored, "at {at}");
                take_all(other, &mut file);
            }
            assert!(pool.held() <= pool.size() + 41 * crate::memory::GUARANTEE);
        }
        greedy.flush_idle();
        greedy.flush_idle();
        assert!(greedy.is_writing() && greedy.filling == 0);
    }
}
