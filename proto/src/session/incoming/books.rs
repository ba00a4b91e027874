//! What a session remembers beside content: holes, leaf values without content, messages that are
//! not whole. A peer makes these for a few bytes each, so they count as memory too.

// What it computes with comes from a peer.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::IncomingSession;
use super::leaves::LeafState;
use crate::memory::{MemoryPool, Share};
use crate::wire::frame::Block;

/// Bytes that a session may always spend so: enough for a transfer that gets on.
const FREE: u64 = 16 << 10;
/// Beyond that, of the pool, what all books may take together with what else is held: its half.
const SPARE: u64 = 2;
/// Bytes that a leaf costs of which only the value is known.
const LEAF_COST: u64 = 2 * size_of::<LeafState>() as u64;
/// Bytes that a hole costs: a range in a vector that grows by doubling.
const HOLE_COST: u64 = 32;

/// The session's part of the shared memory for it, beyond [`FREE`].
#[derive(Debug)]
pub(super) struct Books(Share);

impl Books {
    pub fn new(pool: &MemoryPool) -> Self {
        Self(pool.extra_share())
    }

    /// Whether the session may remember `bytes` in all.
    fn allow(&mut self, bytes: u64) -> bool {
        let due = bytes.saturating_sub(FREE);
        due <= self.0.held() || self.0.take_spare(SPARE, due.saturating_sub(self.0.held()))
    }

    /// The session remembers no more than `bytes`.
    pub fn settle(&mut self, bytes: u64) {
        let due = bytes.saturating_sub(FREE);
        self.0.give(self.0.held().saturating_sub(due));
    }
}

impl IncomingSession {
    pub(super) fn book_bytes(&self) -> u64 {
        let holes = HOLE_COST.saturating_mul(self.received.range_count() as u64);
        let leaves = LEAF_COST.saturating_mul(self.files.announced);
        let blocks = self.peer_control.held() as u64;
        holes.saturating_add(leaves).saturating_add(blocks)
    }

    /// Whether `bytes` more may be remembered. What may not be is not lost: the sender says it
    /// again, or can do without.
    fn may_book(&mut self, bytes: u64) -> bool {
        let all = self.book_bytes().saturating_add(bytes);
        self.books.allow(all)
    }

    pub(super) fn may_book_hole(&mut self) -> bool {
        self.may_book(HOLE_COST)
    }

    pub(super) fn may_book_leaf(&mut self) -> bool {
        self.may_book(LEAF_COST)
    }

    /// The block that all others wait for frees memory: it may always come.
    pub(super) fn may_book_block(&mut self, block: &Block<'_>) -> bool {
        self.peer_control.is_next(block.sequence) || self.may_book(block.bytes.len() as u64)
    }
}
