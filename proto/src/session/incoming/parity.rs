//! Parity over chunks: where as much of it has come as is missing, what is missing is recovered
//! without a round trip (SPEC.md, `parity`).
//!
//! Only parity is held in memory; the chunks that have come are read back from storage, one block
//! at a time.

// What it computes with comes from a peer.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::content::OpKind;
use super::files::Phase as FilePhase;
use super::{IncomingSession, Phase};
use crate::config::{MAX_PARITY_BLOCK, MAX_PARITY_HELD};
use crate::error::Failure;
use crate::fec;
use crate::id::FileIndex;
use crate::memory::{MemoryPool, Share};
use crate::range_set::RangeSet;
use crate::storage::{Done, OpId, ReadBlock, StorageOp};
use crate::time::Instant;
use crate::wire::packet::ParityOf;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Of the pool, what all parity may take together with what else is held: it can be done without.
const SPARE: u64 = 4;
/// More missing chunks of a block are not recovered: the work grows with their cube.
const MAX_MISSING: u64 = 64;
/// Windows of progress after which parity that has led to nothing is forgotten.
const MAX_WINDOWS: u64 = 2;

/// First chunk of a block and number of its chunks.
type BlockKey = (u64, u8);

/// Parity that has come, and the block that is being recovered.
#[derive(Debug)]
pub(super) struct Parity {
    /// No two of them share a chunk.
    blocks: BTreeMap<BlockKey, Block>,
    recovery: Option<Recovery>,
    windows: u64,
    /// What is held: the symbols, and the chunks of the block that is being recovered.
    memory: Share,
}

/// What is known of a block.
#[derive(Debug, Default)]
struct Block {
    /// The window of progress in which it began.
    window: u64,
    /// Chunks that have not come.
    missing: u64,
    /// By index.
    symbols: BTreeMap<u8, Vec<u8>>,
}

/// A block whose chunks are read back.
#[derive(Debug)]
struct Recovery {
    block: BlockKey,
    /// The chunks, and where in their file the first begins.
    content: Vec<u8>,
    start: u64,
    missing: Vec<u8>,
    /// How many bytes each of them reads.
    reads: BTreeMap<OpId, u32>,
}

impl Parity {
    pub fn new(pool: &MemoryPool) -> Self {
        Self {
            blocks: BTreeMap::new(),
            recovery: None,
            windows: 0,
            memory: pool.extra_share(),
        }
    }

    /// The block with the chunk.
    fn block_of(&self, chunk: u64) -> Option<BlockKey> {
        let (key, _) = self.blocks.range(..=(chunk, u8::MAX)).next_back()?;
        chunks_of(*key).contains(&chunk).then_some(*key)
    }

    /// A chunk has come: whether its block may be recovered, or forgotten.
    pub fn on_chunk(&mut self, chunk: u64) {
        if let Some(key) = self.block_of(chunk)
            && let Some(block) = self.blocks.get_mut(&key)
        {
            block.missing = block.missing.saturating_sub(1);
        }
    }

    /// Keeps a symbol where there is memory for it. The blocks of an honest sender do not overlap.
    fn keep(&mut self, of: ParityOf, symbol: &[u8], received: &RangeSet) {
        let len = symbol.len() as u64;
        let key = (of.first, of.count);
        if !self.blocks.contains_key(&key) {
            let last = of.chunks().end.saturating_sub(1);
            let before = self.blocks.range(..=(last, u8::MAX)).next_back();
            if before.is_some_and(|(other, _)| chunks_of(*other).end > of.first) {
                return;
            }
        }
        let held = self.memory.held().saturating_add(len);
        let block = self.blocks.get(&key);
        let is_new = block.is_none_or(|block| !block.symbols.contains_key(&of.index));
        if !is_new || held > MAX_PARITY_HELD || !self.memory.take_spare(SPARE, len) {
            return;
        }
        let gaps = received.gaps(of.chunks());
        let block = self.blocks.entry(key).or_insert_with(|| Block {
            window: self.windows,
            missing: gaps
                .map(|gap| gap.end.saturating_sub(gap.start))
                .fold(0, u64::saturating_add),
            symbols: BTreeMap::new(),
        });
        block.symbols.insert(of.index, symbol.to_vec());
    }

    fn remove(&mut self, key: BlockKey) {
        let block = self.blocks.remove(&key).unwrap_or_default();
        let bytes: usize = block.symbols.values().map(Vec::len).sum();
        self.memory.give(bytes as u64);
    }

    fn end_recovery(&mut self) -> Option<Recovery> {
        let recovery = self.recovery.take()?;
        self.memory.give(recovery.content.len() as u64);
        Some(recovery)
    }

    /// Nothing of `chunks` is to be recovered any more.
    pub fn forget(&mut self, chunks: &Range<u64>) {
        let touches = |key: &BlockKey| {
            let block = chunks_of(*key);
            block.start < chunks.end && chunks.start < block.end
        };
        let gone: Vec<BlockKey> = self.blocks.keys().copied().filter(touches).collect();
        gone.into_iter().for_each(|key| self.remove(key));
        if self.recovery.as_ref().is_some_and(|it| touches(&it.block)) {
            self.end_recovery();
        }
    }

    /// A window of progress is over.
    pub fn on_window(&mut self) {
        let window = self.windows;
        self.windows = window.saturating_add(1);
        let is_old = |block: &Block| block.window.saturating_add(MAX_WINDOWS) <= window;
        let old = self.blocks.iter().filter(|(_, block)| is_old(block));
        let old: Vec<BlockKey> = old.map(|(key, _)| *key).collect();
        old.into_iter().for_each(|key| self.forget(&chunks_of(key)));
    }

    /// A block that lacks something, but no more than there is parity. Those that lack nothing, or
    /// too much, are forgotten.
    fn next_recoverable(&mut self) -> Option<BlockKey> {
        let enough = |it: &Block| it.missing <= it.symbols.len() as u64;
        loop {
            let (key, block) = self.blocks.iter().find(|(_, block)| enough(block))?;
            let key = *key;
            if (1..=MAX_MISSING).contains(&block.missing) {
                return Some(key);
            }
            self.remove(key);
        }
    }
}

fn chunks_of((first, count): BlockKey) -> Range<u64> {
    first..first.saturating_add(u64::from(count))
}

impl IncomingSession {
    pub(super) fn on_parity(&mut self, now: Instant, of: ParityOf, symbol: &[u8]) {
        let (chunks, layout) = (of.chunks(), &self.files.layout);
        let last = chunks.end.saturating_sub(1);
        let (Some(file), last) = (layout.file_of(chunks.start), layout.file_of(last)) else {
            if self.files.total.is_some() {
                self.violation(now, "it sent parity of chunks that do not exist");
            }
            return;
        };
        let size = layout.chunk_size();
        let bytes = size.saturating_mul(u64::from(of.count));
        let is_beyond = last.is_none() && self.files.total.is_none();
        if symbol.len() as u64 != size
            || bytes > MAX_PARITY_BLOCK
            || (last != Some(file) && !is_beyond)
        {
            return self.violation(now, "it sent parity that no block has");
        }
        if !is_beyond && self.is_receiving(file) {
            self.parity.keep(of, symbol, &self.received);
            self.recover_next(now);
        }
    }

    /// Content has come; there were `before` chunks before it.
    pub(super) fn recover_with_news(&mut self, now: Instant, before: u64) {
        if !self.parity.blocks.is_empty() && self.received.count() > before {
            self.recover_next(now);
        }
    }

    fn is_receiving(&self, file: FileIndex) -> bool {
        let state = self.files.get(file);
        state.is_some_and(|state| state.phase == FilePhase::Receiving)
    }

    /// Begins with the next block of which enough has come, unless one is being recovered.
    pub(super) fn recover_next(&mut self, now: Instant) {
        while self.phase == Phase::Open && self.parity.recovery.is_none() {
            let Some(key) = self.parity.next_recoverable() else {
                return;
            };
            // Otherwise the missing chunks are asked for as always.
            if self.rests_on_hearsay(key) || !self.read_back(key) {
                self.parity.remove(key);
            }
            self.recover_if_read(now);
        }
    }

    /// Whether chunks of the block are of a leaf that was kept from an earlier session and that the
    /// sender has not confirmed, or that is not hashed again yet: its content may be another, and
    /// would spoil what is recovered.
    fn rests_on_hearsay(&self, key: BlockKey) -> bool {
        let layout = &self.files.layout;
        let Some(place) = layout.place(key.0) else {
            return true;
        };
        let len = layout.chunk_size().saturating_mul(u64::from(key.1));
        let end = place.offset.saturating_add(len);
        let Some(file) = self.files.get(place.file) else {
            return true;
        };
        let mut leaves = layout.leaves_touching(place.file, place.offset..end);
        leaves.any(|index| {
            let leaf = file.leaf(index);
            let expected = self.files.expected(place.file, index);
            leaf.is_some_and(|leaf| leaf.is_resumed && (leaf.is_hashing || expected != leaf.value))
        })
    }

    /// Asks for the chunks of a block that have come; answers whether there was memory for them.
    fn read_back(&mut self, key: BlockKey) -> bool {
        let size = self.files.layout.chunk_size();
        let len = size.saturating_mul(u64::from(key.1));
        let Some(place) = self.files.layout.place(key.0) else {
            return false;
        };
        if !self.parity.memory.take_spare(SPARE, len) {
            return false;
        }
        let end = self.files.layout.size(place.file);
        let end = place.offset.saturating_add(len).min(end);
        // What is read must have been asked to be written.
        self.assembly.flush(place.file, place.offset..end);
        self.ask_writes();
        let mut reads = BTreeMap::new();
        let mut missing = Vec::new();
        let mut from = place.offset;
        let at = |chunk: u64| {
            let chunks = chunk.saturating_sub(key.0);
            place.offset.saturating_add(chunks.saturating_mul(size))
        };
        let mut gaps: Vec<Range<u64>> = self.received.gaps(chunks_of(key)).collect();
        let behind = chunks_of(key).end;
        gaps.push(behind..behind);
        for gap in gaps {
            let to = at(gap.start).min(end);
            if from < to {
                let op = self.op(place.file, OpKind::ReadBack { offset: from });
                let len = to.saturating_sub(from) as u32;
                reads.insert(op, len);
                self.storage.push_back(StorageOp::Read {
                    op,
                    file: place.file,
                    offset: from,
                    len,
                    digest: false,
                });
            }
            from = at(gap.end);
            missing.extend(gap.map(|chunk| chunk.saturating_sub(key.0) as u8));
        }
        self.parity.recovery = Some(Recovery {
            block: key,
            content: vec![0; len as usize],
            start: place.offset,
            missing,
            reads,
        });
        true
    }

    /// Chunks that had come were read back, or not: then what is missing is asked for as always.
    pub(super) fn on_read_back(
        &mut self,
        now: Instant,
        op: OpId,
        offset: u64,
        result: Result<Done, Failure>,
    ) {
        let Some(recovery) = self.parity.recovery.as_mut() else {
            return;
        };
        let Some(len) = recovery.reads.remove(&op) else {
            return;
        };
        let start = offset.saturating_sub(recovery.start) as usize;
        let place = recovery.content.get_mut(start..).unwrap_or_default();
        match result {
            Ok(Done::Read(ReadBlock { data, .. })) if data.len() == len as usize => {
                let place = place.get_mut(..data.len()).unwrap_or_default();
                place.copy_from_slice(&data);
            }
            _ => {
                let chunks = chunks_of(recovery.block);
                self.parity.forget(&chunks);
            }
        }
        self.recover_if_read(now);
        self.recover_next(now);
    }

    /// Recovers what is missing once all that had come is read back.
    fn recover_if_read(&mut self, now: Instant) {
        let is_read = |recovery: &Recovery| recovery.reads.is_empty();
        if !self.parity.recovery.as_ref().is_some_and(is_read) {
            return;
        }
        let Some(recovery) = self.parity.end_recovery() else {
            return;
        };
        let symbols = self.parity.blocks.get(&recovery.block);
        let found = symbols.and_then(|block| {
            let parities: Vec<(u8, &[u8])> = block
                .symbols
                .iter()
                .map(|(index, symbol)| (*index, symbol.as_slice()))
                .collect();
            let size = self.files.layout.chunk_size() as usize;
            let present: Vec<(u8, &[u8])> = (0..recovery.block.1)
                .zip(recovery.content.chunks_exact(size))
                .filter(|(position, _)| !recovery.missing.contains(position))
                .collect();
            fec::recover(size, &present, &recovery.missing, &parities)
        });
        self.parity.remove(recovery.block);
        for (position, symbol) in recovery.missing.iter().zip(found.unwrap_or_default()) {
            let chunk = recovery.block.0.saturating_add(u64::from(*position));
            let place = self.files.layout.place(chunk);
            let content = place.and_then(|place| symbol.get(..place.len));
            if let Some(content) = content
                && !self.received.contains(chunk)
            {
                self.stats.recovered_chunks = self.stats.recovered_chunks.saturating_add(1);
                self.on_chunk(now, chunk, content);
                // Else the sender repairs what it does not know to be there.
                self.reporting.ask();
            }
        }
    }
}
