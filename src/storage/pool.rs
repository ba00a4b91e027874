//! Buffers for large reads that go round instead of being allocated and faulted in each time.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Smaller buffers are cheaper to allocate than to hand back.
const MIN_POOLED: usize = 64 << 10;
/// Buffers kept for the next read: with 1 MiB each, no more memory than a session's read-ahead.
const MAX_IDLE: usize = 4;

/// Hands out buffers; what is dropped comes back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

struct Pooled {
    buffer: Vec<u8>,
    home: Pool,
}

impl Pool {
    /// A buffer to be filled with `len` bytes, of exactly that capacity or none: a read fills what
    /// is there.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|buffer| buffer.capacity() == len) {
            Some(at) => idle.swap_remove(at),
            None => Vec::new(),
        }
    }

    /// The content as shared bytes; its memory comes back when the last of them is dropped.
    pub(crate) fn share(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < MIN_POOLED {
            return buffer.into();
        }
        let home = self.clone();
        Bytes::from_owner(Pooled { buffer, home })
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
        &self.buffer
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
        buffer.reserve_exact(MIN_POOLED);
        buffer.resize(MIN_POOLED, 7);
        let address = buffer.as_ptr();
        let shared = pool.share(buffer);
        let part = shared.slice(1..3);
        drop(shared);
        assert!(pool.take(MIN_POOLED).is_empty(), "still in use");
        assert_eq!(&part[..], [7, 7]);
        drop(part);
        assert_eq!(pool.take(MIN_POOLED + 1).capacity(), 0);
        let again = pool.take(MIN_POOLED);
        assert_eq!(again.as_ptr(), address);
    }
}
