//! Buffers for large reads that go round instead of being allocated and faulted in each time.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Smaller buffers are cheaper to allocate than to hand back.
const MIN_POOLED: usize = 64 << 10;
/// Buffers kept for the next read: with 1 MiB each, no more memory than a session's read-ahead.
const MAX_IDLE: usize = 4;

/// To memory that does not begin at a cache line the kernel copies up to three times as slowly, and
/// what an allocator hands out begins 16 bytes behind one.
const ALIGNMENT: usize = 64;

/// Empties `buffer`, and makes room for `len` bytes behind a few that fill a cache line: its length
/// is then where they begin.
pub(crate) fn make_room(buffer: &mut Vec<u8>, len: usize) -> usize {
    buffer.clear();
    buffer.reserve_exact(len.saturating_add(ALIGNMENT));
    let skipped = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    buffer.resize(skipped, 0);
    skipped
}

/// Hands out buffers; what is dropped comes back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

struct Pooled {
    buffer: Vec<u8>,
    /// Where the content begins.
    start: usize,
    home: Pool,
}

impl Pool {
    /// A buffer with room for `len` bytes behind what it holds, which only aligns them.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let capacity = len.saturating_add(ALIGNMENT);
        let fits = |buffer: &Vec<u8>| buffer.capacity() == capacity;
        let mut buffer = match idle.iter().position(fits) {
            Some(at) => idle.swap_remove(at),
            None => Vec::new(),
        };
        drop(idle);
        make_room(&mut buffer, len);
        buffer
    }

    /// The content from `start` on as shared bytes; its memory comes back when the last of them is
    /// dropped.
    pub(crate) fn share(&self, buffer: Vec<u8>, start: usize) -> Bytes {
        if buffer.capacity() < MIN_POOLED {
            return Bytes::from(buffer).slice(start..);
        }
        Bytes::from_owner(Pooled {
            buffer,
            start,
            home: self.clone(),
        })
    }

    /// Takes back a buffer that was not shared.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() >= MIN_POOLED {
            if idle.len() >= MAX_IDLE {
                // The oldest goes, or one odd size would keep the common one out.
                idle.remove(0);
            }
            idle.push(buffer);
        }
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_comes_back() {
        let pool = Pool::default();
        let mut buffer = pool.take(MIN_POOLED);
        let start = buffer.len();
        buffer.resize(start + MIN_POOLED, 7);
        let address = buffer.as_ptr();
        let shared = pool.share(buffer, start);
        assert_eq!(shared.len(), MIN_POOLED);
        assert_eq!(shared.as_ptr().align_offset(ALIGNMENT), 0);
        let part = shared.slice(1..3);
        drop(shared);
        let other = pool.take(MIN_POOLED);
        assert_ne!(other.as_ptr(), address, "still in use");
        assert_eq!(&part[..], [7, 7]);
        drop(part);
        let other = pool.take(MIN_POOLED + 1);
        assert_ne!(other.as_ptr(), address, "another size");
        let again = pool.take(MIN_POOLED);
        assert_eq!((again.as_ptr(), again.len()), (address, start));
    }
}
