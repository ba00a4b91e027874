//! The receiver's blocks: chunks are put together into aligned writes, within a bounded memory.

use crate::config::WRITE_BLOCK;
use crate::id::FileIndex;
use crate::range_set::RangeSet;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::ops::Range;

const BLOCK: u64 = WRITE_BLOCK as u64;

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
    /// Buffers for the next blocks, so that their memory is not mapped anew each time. With those
    /// in use they stay within the limit.
    spare: Vec<BytesMut>,
    /// Bytes of all buffers: those being filled and those being written.
    held: u64,
    /// Bytes of the buffers being filled.
    filling: u64,
    limit: u64,
    tick: u64,
    writes: VecDeque<PendingWrite>,
}

impl Assembly {
    /// Holds at most about `limit` bytes, at least two blocks.
    pub fn new(limit: usize) -> Self {
        Self {
            blocks: BTreeMap::new(),
            buffers: BTreeMap::new(),
            spare: Vec::new(),
            held: 0,
            filling: 0,
            limit: (limit as u64).max(2 * BLOCK),
            tick: 0,
            writes: VecDeque::new(),
        }
    }

    /// Changes the limit.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = (limit as u64).max(2 * BLOCK);
        let spare = self.room() / BLOCK;
        self.spare
            .truncate(usize::try_from(spare).unwrap_or(usize::MAX));
        self.spare.shrink_to_fit();
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that may still come.
    pub fn room(&self) -> u64 {
        self.limit.saturating_sub(self.held)
    }

    /// Takes bytes of a file of `size` bytes; answers whether there was memory for them.
    pub fn store(&mut self, file: FileIndex, size: u64, offset: u64, mut bytes: &[u8]) -> bool {
        if self.held.saturating_add(2 * BLOCK) > self.limit.saturating_add(4 * BLOCK) {
            return false;
        }
        let mut at = offset;
        while !bytes.is_empty() {
            let index = at / BLOCK;
            let start = index * BLOCK;
            let len = (size.saturating_sub(start)).min(BLOCK);
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
        true
    }

    fn put(&mut self, file: FileIndex, index: u64, len: u64, within: u64, bytes: &[u8]) {
        self.tick += 1;
        let tick = self.tick;
        if !self.blocks.contains_key(&(file, index)) {
            let data = self.buffer(len as usize);
            self.held += len;
            self.filling += len;
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
        block.filled.insert(within..end);
        if block.filled.count() == len {
            self.write_out((file, index));
        } else if self.filling > self.limit / 2 {
            self.evict();
        }
    }

    fn buffer(&mut self, len: usize) -> BytesMut {
        if len == WRITE_BLOCK
            && let Some(spare) = self.spare.pop()
        {
            return spare;
        }
        // A block of another size takes memory of its own.
        if self.held.saturating_add(len as u64) > self.limit.saturating_sub(self.spare_bytes()) {
            self.spare.pop();
        }
        BytesMut::zeroed(len)
    }

    fn spare_bytes(&self) -> u64 {
        self.spare.len().saturating_mul(WRITE_BLOCK) as u64
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
        let Some(block) = self.blocks.remove(&key) else {
            return;
        };
        self.tick += 1;
        let buffer = self.tick;
        let data = block.data.freeze();
        self.filling = self.filling.saturating_sub(data.len() as u64);
        let mut writes = 0;
        for range in block.filled.iter() {
            writes += 1;
            self.writes.push_back(PendingWrite {
                file: key.0,
                offset: key.1 * BLOCK + range.start,
                data: data.slice(range.start as usize..range.end as usize),
                buffer,
            });
        }
        self.buffers.insert(buffer, Buffer { data, writes });
    }

    /// Everything in `bytes` of the file is written without waiting for the rest of its blocks.
    pub fn flush(&mut self, file: FileIndex, bytes: Range<u64>) {
        let blocks = (file, bytes.start / BLOCK)..(file, bytes.end.div_ceil(BLOCK));
        let keys: Vec<_> = self.blocks.range(blocks).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.write_out(key));
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
        self.held = self.held.saturating_sub(data.len() as u64);
        if data.len() == WRITE_BLOCK && self.spare_bytes().saturating_add(BLOCK) <= self.room() {
            self.spare.extend(data.try_into_mut().ok());
        }
    }

    /// Forgets what was not written of a file.
    pub fn forget(&mut self, file: FileIndex) {
        let next = FileIndex(file.0.saturating_add(1));
        while let Some((&key, _)) = self.blocks.range((file, 0)..(next, 0)).next() {
            if let Some(block) = self.blocks.remove(&key) {
                let len = block.data.len() as u64;
                self.held = self.held.saturating_sub(len);
                self.filling = self.filling.saturating_sub(len);
            }
        }
    }
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
        fn every_byte_is_written(seed: u64, size in 1_usize..600_000, chunk in 1_000_usize..9_000) {
            let mut rng = Rng::new(seed);
            let content: Vec<u8> = (0..size).map(|at| (at * 7 + at / 255) as u8).collect();
            let mut order: Vec<usize> = (0..size.div_ceil(chunk)).collect();
            for at in 0..order.len() {
                // Out of order, but mostly near by.
                let other = (at + rng.below(20) as usize).min(order.len() - 1);
                order.swap(at, other);
            }
            let mut file = vec![0; size];
            let mut assembly = Assembly::new(0);
            for at in order {
                let (start, end) = (at * chunk, ((at + 1) * chunk).min(size));
                let bytes = &content[start..end];
                prop_assert!(assembly.store(FileIndex(0), size as u64, start as u64, bytes));
                take_all(&mut assembly, &mut file);
                prop_assert!(assembly.held <= 4 * BLOCK);
            }
            assembly.flush(FileIndex(0), 0..size as u64);
            take_all(&mut assembly, &mut file);
            prop_assert!(file == content);
            prop_assert_eq!((assembly.held, assembly.filling), (0, 0));
        }
    }

    #[test]
    fn memory_is_bounded_while_storage_is_slow() {
        let mut assembly = Assembly::new(0);
        let size = 100 * BLOCK;
        let stored = (0..100)
            .filter(|at| assembly.store(FileIndex(0), size, at * BLOCK, &[1; WRITE_BLOCK]))
            .count();
        assert!((2..=8).contains(&stored), "{stored} blocks held");
        assert_eq!(assembly.room(), 0);
    }
}
