//! Parity over the last chunks: what is lost of the last flight costs no round trip (SPEC.md,
//! `parity`).
//!
//! Before that, repairs travel among what is sent for the first time and cost nothing but
//! themselves, which is less than parity would.

use super::files::Phase as FilePhase;
use super::{OutgoingSession, Phase};
use crate::config::MAX_PARITY_BLOCK;
use crate::fec;
use crate::file::layout::Layout;
use crate::id::FileIndex;
use crate::range_set::RangeSet;
use crate::time::Duration;
use crate::transmit::TransmitBuf;
use crate::wire::packet::{
    MAX_PARITY_CHUNK, MAX_SYMBOLS, PARITY_OVERHEAD, ParityOf, encode_parity,
};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

/// Chunks in a block at most: the rest of the symbols is left to parity.
const MAX_CHUNKS: u64 = 192;
/// Fewer chunks of a file are not worth it: one repair that is lost costs as much.
const MIN_CHUNKS: u64 = 8;
/// The chance that the parity of a block does not do, at most.
const MAX_RISK: f64 = 0.01;
/// Where fewer of the last chunks are likely to be lost, parity is most likely in vain.
const MIN_LOST: f64 = 0.1;
/// Where a round trip takes no longer, repairs are as good.
const MIN_ROUND_TRIP: Duration = Duration::from_millis(5);
/// Files whose last chunks are looked at: more have too few each.
const MAX_FILES: usize = 64;
/// Flights that have parity at the most, and blocks: a receiver that says that nearly all is lost
/// makes no sender count for ever.
const MAX_FLIGHTS: u32 = 6;
const MAX_BLOCKS: usize = 256;

/// A block whose parity is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    first: u64,
    count: u8,
    /// The next symbol, and one past the last.
    next: u8,
    end: u8,
}

/// Parity of the last flight.
#[derive(Debug, Default)]
pub(super) struct Parity {
    /// In turn, so that a burst of loss takes a little of each.
    blocks: VecDeque<Block>,
    /// The last chunks below this one have parity, or it was not worth it.
    planned_end: u64,
    /// Chunks with parity.
    covered: RangeSet,
    /// Number of the newest packet with parity.
    number: u64,
}

impl Parity {
    /// Plans parity for the last `flight` chunks before `end`, on a path that loses this `share`;
    /// once for each end.
    fn plan(&mut self, layout: &Layout, end: u64, flight: u64, share: f64) {
        if core::mem::replace(&mut self.planned_end, end) >= end || end > MAX_PARITY_CHUNK {
            return;
        }
        self.covered = RangeSet::new();
        // The flight before was lost and repaired with the last one, and its repairs get lost as
        // well; and so on.
        let mut flights = end.saturating_sub(flight)..end;
        let mut missing = share;
        for _ in 0..MAX_FLIGHTS {
            if flight as f64 * missing < MIN_LOST || flights.is_empty() {
                return;
            }
            self.cover(layout, flights.clone(), missing, share);
            flights = flights.start.saturating_sub(flight)..flights.start;
            missing *= share;
        }
    }

    /// Plans parity for `chunks`, of which the share `missing` is lost, or a repair of them.
    fn cover(&mut self, layout: &Layout, chunks: Range<u64>, missing: f64, share: f64) {
        let size = layout.chunk_size().max(1);
        let most = (MAX_PARITY_BLOCK / size).clamp(1, MAX_CHUNKS);
        let last = chunks.end.checked_sub(1);
        let last = last.and_then(|chunk| layout.file_of(chunk));
        let files = (0..=last.map_or(0, |file| file.0)).rev();
        // Blocks are of a few sizes, and counting takes long.
        let mut counted = BTreeMap::new();
        for file in files.take(MAX_FILES) {
            let all = layout.chunks(FileIndex(file));
            if all.end <= chunks.start || self.blocks.len() >= MAX_BLOCKS {
                break;
            }
            let mut part = all.start.max(chunks.start)..all.end.min(chunks.end);
            let count = part.end.saturating_sub(part.start);
            if count < MIN_CHUNKS {
                continue;
            }
            self.covered.insert(part.clone());
            for left in (1..=count.div_ceil(most)).rev() {
                let count = (part.end - part.start).div_ceil(left) as u8;
                self.blocks.push_back(Block {
                    first: part.start,
                    count,
                    next: 0,
                    end: *counted
                        .entry(count)
                        .or_insert_with(|| symbols(count, missing, share)),
                });
                part.start += u64::from(count);
            }
        }
    }

    /// Whether parity of the last chunks before `end` was sent.
    pub fn is_for(&self, end: u64) -> bool {
        self.planned_end == end && !self.covered.is_empty()
    }

    /// Whether the receiver may recover the chunk from what is on its way above `lost_below`.
    pub fn is_pending(&self, chunk: u64, lost_below: u64) -> bool {
        let is_unsent = !self.blocks.is_empty() || self.number >= lost_below;
        is_unsent && self.covered.contains(chunk)
    }
}

impl OutgoingSession {
    /// Writes the next packet with parity, once everything has been sent; answers whether there was
    /// one.
    pub(super) fn write_parity(&mut self, out: &mut TransmitBuf<'_>) -> bool {
        if self.path.is_cut() {
            self.parity.blocks.clear();
        }
        if self.phase != Phase::Open || self.path.is_cut() || !self.files.is_all_sent() {
            return false;
        }
        if self.rtt.min() >= MIN_ROUND_TRIP {
            // What is in this batch is counted as in flight when the batch leaves.
            let flight = self.sent.in_flight().saturating_add(out.len() as u64);
            let flight = flight / self.path.packet_size().max(1) as u64;
            let (end, share) = (self.files.cursor(), self.sent.loss());
            let layout = &self.files.layout;
            self.parity.plan(layout, end, flight, share);
        }
        while let Some(block) = self.parity.blocks.pop_front() {
            if let Some(symbol) = self.parity_symbol(block) {
                let number = self.take_number();
                let of = ParityOf {
                    first: block.first,
                    count: block.count,
                    index: block.next,
                };
                out.push(|bytes| encode_parity(bytes, self.id, number, of, &symbol));
                self.path.on_sent(number.0, symbol.len() + PARITY_OVERHEAD);
                self.parity.number = number.0;
                let next = block.next + 1;
                if next < block.end {
                    self.parity.blocks.push_back(Block { next, ..block });
                }
                return true;
            }
        }
        false
    }

    /// The next symbol of a block; `None` where it is not wanted any more, or would have to be
    /// read again, which takes as long as a repair.
    fn parity_symbol(&self, block: Block) -> Option<Vec<u8>> {
        let chunks = block.first..block.first + u64::from(block.count);
        let file = self.files.layout.file_of(block.first)?;
        let state = self.files.get(file)?;
        let is_wanted = state.phase == FilePhase::Sending && block.next < block.end;
        if !is_wanted || !chunks.clone().all(|chunk| self.files.is_in_memory(chunk)) {
            return None;
        }
        let len = self.files.layout.chunk_size() as usize;
        let symbols = chunks.filter_map(|chunk| self.files.pieces(chunk));
        Some(fec::parity(block.next, len, symbols))
    }
}

/// Parity symbols that a block of `count` chunks needs, at most as many as chunks, where each of
/// them is missing with the chance `missing`, and each packet with parity lost with the chance
/// `share`.
fn symbols(count: u8, missing: f64, share: f64) -> u8 {
    let most = count.min((MAX_SYMBOLS - usize::from(count)) as u8);
    let lacking = Chances::new(u32::from(count), missing);
    let does = |parity: &u8| {
        // It does where no more is missing than there is parity that comes.
        let mut enough = 0.0;
        let mut lost = Chances::new(u32::from(*parity), share);
        for left in (0..=*parity).rev() {
            let come = lacking.clone().take(usize::from(left) + 1).sum::<f64>();
            enough += lost.next().unwrap_or_default() * come;
        }
        1.0 - enough <= MAX_RISK
    };
    (1..most).find(does).unwrap_or(most)
}

/// The chances that none, one, two... of some packets are lost.
#[derive(Clone, Debug)]
struct Chances {
    packets: u32,
    odds: f64,
    lost: u32,
    chance: f64,
}

impl Chances {
    fn new(packets: u32, share: f64) -> Self {
        let keep = (1.0 - share).max(f64::EPSILON);
        Self {
            packets,
            odds: share / keep,
            lost: 0,
            chance: (0..packets).fold(1.0, |chance, _| chance * keep),
        }
    }
}

impl Iterator for Chances {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let chance = self.chance;
        let left = self.packets.saturating_sub(self.lost);
        self.lost += 1;
        self.chance *= f64::from(left) / f64::from(self.lost) * self.odds;
        Some(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(sizes: &[u64]) -> Layout {
        let mut layout = Layout::new(1_000);
        sizes.iter().for_each(|size| layout.push(*size).unwrap());
        layout
    }

    #[test]
    fn the_risk_is_that_of_chance() {
        let chances: Vec<f64> = Chances::new(2, 0.5).take(4).collect();
        assert_eq!(chances, [0.25, 0.5, 0.25, 0.0]);
        assert_eq!(symbols(75, 0.05, 0.05), 9);
        assert_eq!(symbols(128, 0.01, 0.01), 5);
        assert_eq!(symbols(192, 0.0025, 0.05), 3);
        assert_eq!(symbols(192, 0.9, 0.9), 63, "what the block has room for");
        assert_eq!(symbols(8, 0.5, 0.5), 8);
    }

    #[test]
    fn the_last_flight_is_cut_into_blocks_of_one_file_each() {
        let layout = layout(&[500_000, 3_000, 900_000]);
        let mut parity = Parity::default();
        parity.plan(&layout, 1_403, 1_000, 0.009);
        let blocks: Vec<_> = parity
            .blocks
            .iter()
            .map(|it| (it.first, it.count))
            .collect();
        assert_eq!(
            blocks,
            [
                (503, 180),
                (683, 180),
                (863, 180),
                (1_043, 180),
                (1_223, 180),
                (403, 97)
            ]
        );
        assert_eq!(
            parity.covered.iter().collect::<Vec<_>>(),
            [403..500, 503..1_403]
        );
        assert!(!parity.is_pending(501, 0));
        assert!(parity.is_for(1_403) && parity.is_pending(403, 0) && !parity.is_pending(402, 0));
        let planned = parity.blocks.clone();
        parity.plan(&layout, 1_403, 1_000, 0.05);
        assert_eq!(parity.blocks, planned, "once");
    }

    #[test]
    fn flights_before_the_last_have_parity_for_repairs_that_are_lost() {
        let layout = layout(&[900_000]);
        let mut parity = Parity::default();
        parity.plan(&layout, 900, 150, 0.1);
        let blocks: Vec<_> = parity
            .blocks
            .iter()
            .map(|it| (it.first, it.count, it.end))
            .collect();
        assert_eq!(blocks, [(750, 150, 28), (600, 150, 6), (450, 150, 2)]);
    }

    #[test]
    fn where_nothing_is_lost_there_is_no_parity() {
        let layout = layout(&[500_000]);
        for (flight, share) in [(400, 0.0), (400, 0.0002), (7, 0.1)] {
            let mut parity = Parity::default();
            parity.plan(&layout, 500, flight, share);
            assert!(parity.blocks.is_empty() && !parity.is_for(500));
        }
    }
}
