//! Which bytes a chunk number means: all files of a session laid out in one number space (SPEC.md,
//! `chunks`).

// What it computes with comes from a peer.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::digest::{leaf_count, leaf_range};
use crate::id::FileIndex;
use alloc::vec::Vec;
use core::ops::Range;

/// The bytes of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: FileIndex,
    /// Bytes from its start.
    pub offset: u64,
    /// How many.
    pub len: usize,
}

/// Files and the first chunk number of each. Every chunk of a file but its last has the same size;
/// an empty file has none.
#[derive(Clone, Debug)]
pub struct Layout {
    chunk_size: u64,
    /// First chunk and size of each file.
    files: Vec<(u64, u64)>,
    end: u64,
}

impl Layout {
    /// No files yet. `chunk_size` is in bytes and not 0.
    pub fn new(chunk_size: usize) -> Self {
        Self {
            chunk_size: (chunk_size as u64).max(1),
            files: Vec::new(),
            end: 0,
        }
    }

    /// Adds the next file. `None` if the chunk numbers of the session would not fit in 63 bits.
    pub fn push(&mut self, size: u64) -> Option<()> {
        let end = self.end.checked_add(size.div_ceil(self.chunk_size))?;
        if end > i64::MAX as u64 {
            return None;
        }
        self.files.push((self.end, size));
        self.end = end;
        Some(())
    }

    /// One past the last chunk number.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes in a full chunk.
    pub fn chunk_size(&self) -> u64 {
        self.chunk_size
    }

    /// Size of a file in bytes; 0 for one that does not exist.
    pub fn size(&self, file: FileIndex) -> u64 {
        self.files.get(file.as_usize()).map_or(0, |file| file.1)
    }

    /// The chunks of a file.
    pub fn chunks(&self, file: FileIndex) -> Range<u64> {
        let Some(&(first, size)) = self.files.get(file.as_usize()) else {
            return 0..0;
        };
        first..first.saturating_add(size.div_ceil(self.chunk_size))
    }

    /// The file that a chunk belongs to.
    pub fn file_of(&self, chunk: u64) -> Option<FileIndex> {
        if chunk >= self.end {
            return None;
        }
        // Empty files share their first chunk number with the next one, which is the last of them.
        let after = self.files.partition_point(|file| file.0 <= chunk);
        u32::try_from(after.checked_sub(1)?).ok().map(FileIndex)
    }

    /// Which bytes a chunk means.
    pub fn place(&self, chunk: u64) -> Option<Place> {
        let file = self.file_of(chunk)?;
        let &(first, size) = self.files.get(file.as_usize())?;
        let offset = chunk.saturating_sub(first).saturating_mul(self.chunk_size);
        let len = size.saturating_sub(offset).min(self.chunk_size) as usize;
        Some(Place { file, offset, len })
    }

    /// How many chunks these bytes fill.
    fn full_chunks(&self, bytes: u64) -> u64 {
        bytes.checked_div(self.chunk_size).unwrap_or_default()
    }

    /// The chunks that have a byte in `bytes` of a file.
    pub fn chunks_touching(&self, file: FileIndex, bytes: Range<u64>) -> Range<u64> {
        let all = self.chunks(file);
        let from = all.start.saturating_add(self.full_chunks(bytes.start));
        let to = all
            .start
            .saturating_add(bytes.end.div_ceil(self.chunk_size));
        from.min(all.end)..to.min(all.end)
    }

    /// The chunks all of whose bytes lie in `bytes` of a file.
    pub fn chunks_within(&self, file: FileIndex, bytes: Range<u64>) -> Range<u64> {
        let all = self.chunks(file);
        let from = all
            .start
            .saturating_add(bytes.start.div_ceil(self.chunk_size));
        let to = if bytes.end >= self.size(file) {
            all.end
        } else {
            all.start.saturating_add(self.full_chunks(bytes.end))
        };
        from.min(to)..to
    }

    /// The leaves of a file that have a byte in `bytes` of it.
    pub fn leaves_touching(&self, file: FileIndex, bytes: Range<u64>) -> Range<u64> {
        let count = leaf_count(self.size(file));
        let leaf = crate::digest::LEAF_SIZE;
        bytes.start / leaf..bytes.end.div_ceil(leaf).min(count)
    }

    /// The bytes of one leaf of a file.
    pub fn leaf(&self, file: FileIndex, index: u64) -> Range<u64> {
        let (start, end) = leaf_range(self.size(file), index);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chunks_of_a_few_files() {
        // SPEC: R-chunks-1
        let mut layout = Layout::new(10);
        for size in [0, 25, 0, 0, 10, 1, 0] {
            layout.push(size).unwrap();
        }
        assert_eq!(layout.end(), 5);
        let place = |chunk| layout.place(chunk).map(|p| (p.file.0, p.offset, p.len));
        assert_eq!(place(0), Some((1, 0, 10)));
        assert_eq!(place(2), Some((1, 20, 5)));
        assert_eq!(place(3), Some((4, 0, 10)));
        assert_eq!(place(4), Some((5, 0, 1)));
        assert_eq!(place(5), None);
        assert_eq!(layout.chunks(FileIndex(6)), 5..5);
        assert_eq!(layout.chunks_within(FileIndex(1), 0..20), 0..2);
        assert_eq!(layout.chunks_within(FileIndex(1), 5..25), 1..3);
        assert_eq!(layout.chunks_touching(FileIndex(1), 5..21), 0..3);
    }

    #[test]
    fn a_space_that_overflows_is_refused() {
        let mut layout = Layout::new(1);
        assert!(layout.push(i64::MAX as u64).is_some());
        assert!(layout.push(1).is_none());
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_chunk(
            sizes in prop::collection::vec(0_u64..100, 1..20), chunk_size in 1_usize..40,
        ) {
            let mut layout = Layout::new(chunk_size);
            sizes.iter().for_each(|&size| layout.push(size).unwrap());
            let mut bytes = 0;
            for chunk in 0..layout.end() {
                let place = layout.place(chunk).unwrap();
                prop_assert!(layout.chunks(place.file).contains(&chunk));
                let end = place.offset + place.len as u64;
                let within = layout.chunks_within(place.file, place.offset..end);
                prop_assert_eq!(within, chunk..chunk + 1);
                bytes += place.len as u64;
            }
            prop_assert_eq!(bytes, sizes.iter().sum::<u64>());
        }
    }
}
