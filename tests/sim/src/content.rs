//! The content of simulated files: a cheap function of a seed and an offset, so that no file needs
//! memory.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use xfer_proto::digest;
use xfer_proto::id::Digest;

/// One file's content.
#[derive(Debug)]
pub struct Content {
    seed: u64,
    size: u64,
    synthetic: bool,
    leaves: RefCell<Vec<Option<Digest>>>,
    root: Cell<Option<Digest>>,
}

impl Content {
    /// A file of `size` bytes. With `synthetic`, the values of its leaves are made up instead of
    /// hashed: for runs of many gigabytes in which hashing would be most of the work.
    pub fn new(seed: u64, size: u64, synthetic: bool) -> Self {
        Self {
            seed,
            size,
            synthetic,
            leaves: RefCell::default(),
            root: Cell::new(None),
        }
    }

    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What tells this content from another.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The bytes of `range`.
    pub fn read(&self, range: Range<u64>) -> Vec<u8> {
        let len = range.end.saturating_sub(range.start) as usize;
        let mut data = Vec::with_capacity(len + 16);
        let first = range.start / 8;
        let skip = (range.start % 8) as usize;
        let words = (skip + len).div_ceil(8) as u64;
        for index in first..first + words {
            data.extend_from_slice(&self.word(index).to_le_bytes());
        }
        data.drain(..skip);
        data.truncate(len);
        data
    }

    /// Where `data`, as the content from `offset` on, differs: byte ranges of the file, by words of
    /// 8.
    pub fn differences(&self, offset: u64, data: &[u8]) -> Vec<Range<u64>> {
        let mut wrong: Vec<Range<u64>> = Vec::new();
        let (head, rest) = data.split_at(data.len().min(((8 - offset % 8) % 8) as usize));
        let mut check = |at: u64, bytes: &[u8]| {
            let word = self.word(at / 8).to_le_bytes();
            let within = (at % 8) as usize;
            if word[within..within + bytes.len()] != *bytes {
                wrong.push(at..at + bytes.len() as u64);
            }
        };
        if !head.is_empty() {
            check(offset, head);
        }
        let start = offset + head.len() as u64;
        let (whole, tail) = rest.as_chunks::<8>();
        for (index, bytes) in (start / 8..).zip(whole) {
            if u64::from_le_bytes(*bytes) != self.word(index) {
                check(index * 8, bytes);
            }
        }
        if !tail.is_empty() {
            check(start + (whole.len() * 8) as u64, tail);
        }
        wrong
    }

    /// The value of leaf `index`.
    pub fn leaf(&self, index: u64) -> Digest {
        let slot = index as usize;
        if let Some(Some(known)) = self.leaves.borrow().get(slot) {
            return *known;
        }
        let value = if self.synthetic && self.size > 0 {
            made_up(self.seed, index)
        } else {
            let (start, end) = digest::leaf_range(self.size, index);
            digest::leaf_value(self.size, index, &self.read(start..end))
        };
        let mut leaves = self.leaves.borrow_mut();
        if leaves.len() <= slot {
            leaves.resize(slot + 1, None);
        }
        leaves[slot] = Some(value);
        value
    }

    /// The digest of the whole file.
    pub fn root(&self) -> Digest {
        if let Some(known) = self.root.get() {
            return known;
        }
        let leaves: Vec<Digest> = (0..digest::leaf_count(self.size))
            .map(|index| self.leaf(index))
            .collect();
        let root = digest::root(&leaves);
        self.root.set(Some(root));
        root
    }

    fn word(&self, index: u64) -> u64 {
        let mixed = (self.seed ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}

/// A value that no real leaf has, different for every `seed` and `index`.
pub fn made_up(seed: u64, index: u64) -> Digest {
    let mut value = [0xa5; 32];
    value[..8].copy_from_slice(&seed.to_le_bytes());
    value[8..16].copy_from_slice(&index.to_le_bytes());
    Digest(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_a_file_reads_the_same_and_has_no_differences() {
        let content = Content::new(77, 1_000, false);
        let whole = content.read(0..1_000);
        for start in 0..40 {
            for end in start..90 {
                let cut = content.read(start..end);
                assert_eq!(cut, whole[start as usize..end as usize]);
                assert!(content.differences(start, &cut).is_empty());
            }
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        let content = Content::new(3, 1_000, false);
        for start in 0..20_u64 {
            for at in 0..50 {
                let mut data = content.read(start..start + 50);
                data[at] ^= 1;
                let wrong = content.differences(start, &data);
                assert_eq!(wrong.len(), 1);
                assert!(wrong[0].contains(&(start + at as u64)));
            }
        }
    }

    #[test]
    fn the_root_is_the_digest_of_the_bytes() {
        for size in [0, 1, 5_000, digest::LEAF_SIZE + 1] {
            let content = Content::new(9, size, false);
            let hasher = {
                let mut hasher = digest::LeafHasher::new(size.min(digest::LEAF_SIZE), 0);
                hasher.update(&content.read(0..size.min(digest::LEAF_SIZE)));
                hasher
            };
            assert_eq!(content.root() == hasher.finish(), size <= digest::LEAF_SIZE);
        }
    }
}
