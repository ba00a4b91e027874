//! BLAKE3 by leaves: a file is hashed in pieces of [`LEAF_SIZE`], in any order, and the values
//! merge into the standard BLAKE3 digest of the whole (SPEC.md, `digest`).

use crate::id::Digest;
use alloc::vec::Vec;
use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes in one leaf: a complete subtree of 1,024 BLAKE3 chunks.
pub const LEAF_SIZE: u64 = 1 << 20;

/// The digest of no bytes.
pub fn empty() -> Digest {
    Digest(*blake3::hash(&[]).as_bytes())
}

/// How many leaves a file of `size` bytes has; a file has at least one.
pub const fn leaf_count(size: u64) -> u64 {
    if size == 0 {
        1
    } else {
        size.div_ceil(LEAF_SIZE)
    }
}

/// The half-open byte range of leaf `index` in a file of `size` bytes.
pub const fn leaf_range(size: u64, index: u64) -> (u64, u64) {
    let start = index.saturating_mul(LEAF_SIZE);
    let end = start.saturating_add(LEAF_SIZE);
    (
        if start < size { start } else { size },
        if end < size { end } else { size },
    )
}

/// Hashes one leaf piece by piece.
///
/// The value is the chaining value of the subtree, or the root digest where the file is this one
/// leaf.
#[derive(Clone, Debug)]
pub struct LeafHasher {
    hasher: Hasher,
    is_root: bool,
}

impl LeafHasher {
    /// Starts leaf `index` of a file of `size` bytes.
    pub fn new(size: u64, index: u64) -> Self {
        let is_root = leaf_count(size) == 1;
        let mut hasher = Hasher::new();
        if !is_root {
            hasher.set_input_offset(index.saturating_mul(LEAF_SIZE));
        }
        Self { hasher, is_root }
    }

    /// Takes the next bytes of the leaf. Long pieces are hashed several times faster than short
    /// ones.
    pub fn update(&mut self, data: &[u8]) {
        self.hasher.update(data);
    }

    /// The value of the bytes taken.
    pub fn finish(&self) -> Digest {
        if self.is_root {
            Digest(*self.hasher.finalize().as_bytes())
        } else {
            Digest(self.hasher.finalize_non_root())
        }
    }
}

/// The value of leaf `index`, whose whole content is `data`, in a file of `size` bytes.
pub fn leaf_value(size: u64, index: u64, data: &[u8]) -> Digest {
    let mut hasher = LeafHasher::new(size, index);
    hasher.update(data);
    hasher.finish()
}

/// The digest of a file from the values of all its leaves in order; the empty file's for none.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty(),
        [only] => *only,
        _ => {
            let (left, right) = split(leaves);
            let root = merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
            Digest(*root.as_bytes())
        }
    }
}

fn subtree(leaves: &[Digest]) -> [u8; 32] {
    // Iterative merge of equal-height subtrees, as BLAKE3 itself keeps its stack: the depth is
    // bounded by the bits of the leaf count, and no recursion follows a peer's numbers.
    let mut stack: Vec<[u8; 32]> = Vec::new();
    for (at, leaf) in leaves.iter().enumerate() {
        let mut value = leaf.0;
        let mut count = at;
        while count & 1 == 1 {
            if let Some(left) = stack.pop() {
                value = merge_subtrees_non_root(&left, &value, Mode::Hash);
            }
            count >>= 1;
        }
        stack.push(value);
    }
    let mut value = stack.pop().unwrap_or_default();
    while let Some(left) = stack.pop() {
        value = merge_subtrees_non_root(&left, &value, Mode::Hash);
    }
    value
}

/// Left gets the largest power of two of leaves that still leaves something to the right.
fn split(leaves: &[Digest]) -> (&[Digest], &[Digest]) {
    let left = leaves.len().div_ceil(2).next_power_of_two();
    leaves.split_at(left.min(leaves.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn leaves_merge_into_the_standard_digest() {
        let leaf = LEAF_SIZE as usize;
        let lengths = [
            0,
            1,
            leaf - 1,
            leaf,
            leaf + 1,
            2 * leaf,
            2 * leaf + 1,
            3 * leaf,
            5 * leaf + 7,
        ];
        for len in lengths {
            let data: Vec<u8> = (0..len).map(|at| (at * 31 + at / 251) as u8).collect();
            let size = len as u64;
            let leaves: Vec<Digest> = (0..leaf_count(size))
                .map(|index| {
                    let (start, end) = leaf_range(size, index);
                    leaf_value(size, index, &data[start as usize..end as usize])
                })
                .collect();
            assert_eq!(
                root(&leaves),
                Digest(*blake3::hash(&data).as_bytes()),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn the_split_is_the_one_of_blake3() {
        for (count, left) in [
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 4),
            (6, 4),
            (7, 4),
            (8, 4),
            (9, 8),
        ] {
            assert_eq!(split(&vec![empty(); count]).0.len(), left);
        }
    }
}
