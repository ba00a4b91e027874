//! A partial file: which of its bytes are right, which are wrong, and what a power cut leaves of
//! it.

use crate::content::{Content, made_up};
use std::ops::Range;
use xfer_proto::digest::{LEAF_SIZE, leaf_range};
use xfer_proto::id::Digest;
use xfer_proto::range_set::RangeSet;
use xfer_proto::rng::Rng;
use xfer_proto::storage::Leaf;

/// A file that is not complete. Its content is known by comparison with what it should be, so that
/// it costs ranges and not bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Partial {
    /// Tells the content that it was compared with.
    pub(super) seed: u64,
    now: State,
    durable: State,
    /// Closed in order: nothing has written to it since.
    is_sealed: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    written: RangeSet,
    wrong: RangeSet,
    leaves: Vec<Leaf>,
}

impl Partial {
    /// An empty file that is to become `content`.
    pub(super) fn new(content: &Content) -> Self {
        Self {
            seed: content.seed(),
            ..Self::default()
        }
    }

    /// A file of an earlier session in which `leaves` are whole, durable and recorded.
    pub(super) fn with_leaves(content: &Content, leaves: impl Iterator<Item = u64>) -> Self {
        let mut partial = Self::new(content);
        for index in leaves {
            let (start, end) = leaf_range(content.size(), index);
            partial.now.written.insert(start..end);
            let value = content.leaf(index);
            partial.now.leaves.push(Leaf { index, value });
        }
        partial.sync();
        partial
    }

    /// What was compared with another content is all wrong for `content`.
    pub(super) fn adopt(&mut self, content: &Content) {
        if self.seed != content.seed() {
            self.seed = content.seed();
            self.now.wrong = self.now.written.clone();
            self.durable.wrong = self.durable.written.clone();
        }
    }

    /// Nothing is written to it until it is opened again. What is wrong of it now will be known.
    pub(super) fn seal(&mut self, size: u64) {
        let is_right = |leaf: &Leaf| {
            let (start, end) = leaf_range(size, leaf.index);
            self.is_right(start..end)
        };
        self.is_sealed = self.now.leaves.iter().all(is_right);
    }

    /// Opens it; answers whether nothing has written to it since it was closed.
    pub(super) fn unseal(&mut self) -> bool {
        std::mem::take(&mut self.is_sealed)
    }

    /// Takes a write; answers how many bytes are there for the first time, and whether some are
    /// wrong.
    pub(super) fn write(&mut self, content: &Content, offset: u64, data: &[u8]) -> (u64, bool) {
        let range = offset..offset + data.len() as u64;
        let wrong = content.differences(offset, data);
        let new = self.now.written.insert(range.clone());
        self.now.wrong.remove(range);
        for range in &wrong {
            self.now.wrong.insert(range.clone());
        }
        (new, !wrong.is_empty())
    }

    /// A write that failed half-way: nobody knows what is there.
    pub(super) fn tear(&mut self, range: Range<u64>) {
        self.now.written.insert(range.clone());
        self.now.wrong.insert(range);
    }

    /// True where every byte of `range` was written.
    pub(super) fn has(&self, range: Range<u64>) -> bool {
        self.now.written.contains_range(range)
    }

    /// True where every byte of `range` was written and is right.
    pub(super) fn is_right(&self, range: Range<u64>) -> bool {
        let clean = self
            .now
            .wrong
            .first_from(range.start)
            .is_none_or(|at| at >= range.end);
        clean && self.has(range)
    }

    /// What is there of `range`.
    pub(super) fn read(&self, content: &Content, range: Range<u64>) -> Vec<u8> {
        let mut data = content.read(range.clone());
        let wrong = (range.start..).zip(&mut data).filter(|(at, _)| {
            let next = self.now.wrong.first_from(*at);
            next == Some(*at)
        });
        wrong.for_each(|(_, byte)| *byte = !*byte);
        data
    }

    /// The value of leaf `index` as it is on the disk.
    pub(super) fn leaf(&self, content: &Content, index: u64) -> Digest {
        let (start, end) = leaf_range(content.size(), index);
        if self.is_right(start..end) {
            content.leaf(index)
        } else {
            made_up(!self.now.wrong.count(), index)
        }
    }

    /// Makes the content durable, and then the record of `leaves`.
    pub(super) fn checkpoint(&mut self, leaves: &[Leaf]) {
        let old = &mut self.now.leaves;
        old.retain(|old| leaves.iter().all(|leaf| leaf.index != old.index));
        old.extend_from_slice(leaves);
        old.sort_by_key(|leaf| leaf.index);
        self.sync();
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        self.durable = self.now.clone();
    }

    /// The leaves on record.
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.now.leaves
    }

    /// The power goes. What was not synced is there, or not, or torn, at random.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let mut after = self.durable.clone();
        let fresh: Vec<Range<u64>> = self
            .now
            .written
            .iter()
            .flat_map(|range| self.durable.written.gaps(range))
            .collect();
        for range in fresh {
            let cut = range.start + rng.below(range.end - range.start + 1);
            after.written.insert(range.start..cut);
            if rng.chance(500_000) {
                after.wrong.insert(range.start..cut);
            }
            for wrong in self.now.wrong.iter() {
                after
                    .wrong
                    .insert(wrong.start.max(range.start)..wrong.end.min(cut).max(range.start));
            }
        }
        self.durable = after.clone();
        self.now = after;
        self.is_sealed = false;
    }

    /// The disk has forgotten a byte of a leaf that is on record, as often as that.
    pub(super) fn rot(&mut self, per_million: u32) {
        // Chance of its own, so that no seed of old tells another story.
        let mut rng = Rng::new(self.seed ^ self.now.written.count());
        let leaf = rng.below(self.now.leaves.len().max(1) as u64);
        if let Some(leaf) = self.now.leaves.get(leaf as usize)
            && rng.chance(per_million)
        {
            let at = leaf.index * LEAF_SIZE;
            self.now.wrong.insert(at..at + 1);
            self.durable.wrong.insert(at..at + 1);
        }
    }
}
