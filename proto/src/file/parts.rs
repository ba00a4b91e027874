//! Chunks in parts: what a sender cuts when the path stops carrying its full packets, and what the
//! receiver has of chunks that are not whole yet (SPEC.md, `black-holes`).

use alloc::collections::BTreeMap;
use core::ops::Range;

/// Shortest part that a receiver takes, in bytes: it bounds how many a chunk has.
pub const MIN_PART: usize = 512;
/// Chunks of which some parts are there, at most: so many are lost or on their way at once on a
/// long and lossy path. Beyond them the lowest is forgotten and comes again.
const MAX_OPEN_CHUNKS: usize = 2_048;

/// Bytes of every part of a chunk of `chunk` bytes, where a packet has room for `room` of them.
pub fn part_len(chunk: usize, room: usize) -> usize {
    chunk.div_ceil(chunk.div_ceil(room.max(1)).max(1))
}

/// How many parts of `len` bytes cover a chunk of `chunk` bytes.
pub fn part_count(chunk: usize, len: usize) -> usize {
    chunk.div_ceil(len.max(1))
}

/// The bytes of part `index`. All parts have one length, so that they fill a batch; the last one
/// repeats what it needs for that of the one before. `len` is at most `chunk`.
pub fn part_range(chunk: usize, len: usize, index: usize) -> Range<usize> {
    let start = index.saturating_mul(len).min(chunk.saturating_sub(len));
    start..start.saturating_add(len)
}

/// The parts that came of one chunk, a bit each.
#[derive(Clone, Copy, Debug)]
struct Open {
    len: usize,
    came: u32,
}

/// The receiver's chunks of which some parts have come.
#[derive(Debug, Default)]
pub struct Parts {
    open: BTreeMap<u64, Open>,
}

/// What a part means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// No sender that keeps the rules makes it.
    Malformed,
    /// The chunk lacks others.
    Some,
    /// The chunk is whole.
    Whole,
}

/// Which part of a chunk of `chunk` bytes has `len` bytes at `offset`. `None` where there is none.
pub fn part_index(chunk: usize, offset: usize, len: usize) -> Option<usize> {
    if len < MIN_PART || len > chunk {
        return None;
    }
    let index = offset.div_ceil(len);
    (part_range(chunk, len, index).start == offset).then_some(index)
}

impl Parts {
    /// `len` bytes at `offset` of a chunk of `size` bytes are in memory.
    pub fn on_part(&mut self, chunk: u64, size: usize, offset: usize, len: usize) -> Taken {
        let Some(index) = part_index(size, offset, len) else {
            return Taken::Malformed;
        };
        let bit = u32::try_from(index)
            .ok()
            .and_then(|at| 1_u32.checked_shl(at));
        let all = u32::try_from(part_count(size, len)).ok();
        let all = all.and_then(|count| u32::MAX.checked_shr(32_u32.saturating_sub(count)));
        let (Some(bit), Some(all)) = (bit, all) else {
            return Taken::Malformed;
        };
        let open = self.open.entry(chunk).or_insert(Open { len, came: 0 });
        if open.len != len {
            // Cut anew.
            *open = Open { len, came: 0 };
        }
        open.came |= bit;
        if open.came == all {
            self.open.remove(&chunk);
            return Taken::Whole;
        }
        if self.open.len() > MAX_OPEN_CHUNKS {
            self.open.pop_first();
        }
        Taken::Some
    }

    /// What came of these chunks does not count any more, or they are whole.
    pub fn forget(&mut self, chunks: Range<u64>) {
        if self.open.is_empty() {
            return;
        }
        let mut kept = self.open.split_off(&chunks.start);
        let mut behind = kept.split_off(&chunks.end.max(chunks.start));
        self.open.append(&mut behind);
    }
}

const _: () = assert!(crate::config::MAX_DATAGRAM / MIN_PART < 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MAX_DATAGRAM, MIN_DATAGRAM};
    use crate::wire::packet::{DATA_OVERHEAD, PART_OVERHEAD};

    const ROOM: usize = MIN_DATAGRAM - PART_OVERHEAD;

    #[test]
    fn parts_of_every_chunk_have_one_length_and_cover_it() {
        // SPEC: R-part-1
        for chunk in ROOM + 1..=MAX_DATAGRAM - DATA_OVERHEAD {
            let len = part_len(chunk, ROOM);
            assert!((MIN_PART..=ROOM).contains(&len), "{chunk}");
            let mut covered = 0;
            for index in 0..part_count(chunk, len) {
                let range = part_range(chunk, len, index);
                assert!(range.start <= covered && range.len() == len, "{chunk}");
                assert_eq!(part_index(chunk, range.start, len), Some(index));
                covered = range.end;
            }
            assert_eq!(covered, chunk);
        }
    }

    #[test]
    fn a_chunk_is_whole_when_each_of_its_parts_came() {
        let mut parts = Parts::default();
        let size = 2_000;
        assert_eq!(parts.on_part(7, size, 0, 700), Taken::Some);
        assert_eq!(parts.on_part(7, size, 0, 700), Taken::Some);
        assert_eq!(parts.on_part(7, size, 1_300, 700), Taken::Some);
        assert_eq!(parts.on_part(7, size, 700, 700), Taken::Whole);
        // Parts of another length start anew.
        assert_eq!(parts.on_part(7, size, 0, 700), Taken::Some);
        assert_eq!(parts.on_part(7, size, 1_000, 1_000), Taken::Some);
        assert_eq!(parts.on_part(7, size, 700, 700), Taken::Some);
        parts.forget(7..8);
        assert_eq!(parts.on_part(7, size, 1_300, 700), Taken::Some);
        assert_eq!(parts.on_part(8, size, 0, 2_000), Taken::Whole);
        parts.forget(9..20);
        parts.forget(0..7);
        assert_eq!(parts.on_part(7, size, 0, 700), Taken::Some);
        assert_eq!(parts.on_part(7, size, 700, 700), Taken::Whole);
    }

    #[test]
    fn parts_that_no_sender_makes_are_malformed() {
        // SPEC: R-part-3
        let mut parts = Parts::default();
        for (offset, len) in [
            (0, 511),
            (0, 2_001),
            (1, 700),
            (1_301, 700),
            (1_400, 700),
            (2_000, 0),
        ] {
            assert_eq!(
                parts.on_part(1, 2_000, offset, len),
                Taken::Malformed,
                "{offset} {len}"
            );
        }
    }

    #[test]
    fn open_chunks_are_bounded() {
        let mut parts = Parts::default();
        for chunk in 0..10_000 {
            assert_eq!(parts.on_part(chunk, 2_000, 0, 1_000), Taken::Some);
        }
        assert_eq!(parts.open.len(), MAX_OPEN_CHUNKS);
    }
}
