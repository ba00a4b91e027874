//! Memory that the sessions of one receiver share, so that its total is bounded whatever peers do.
//!
//! Each session may always hold [`GUARANTEE`] bytes, and beyond that as much as every other session
//! that holds something, as long as the pool is not used up. So the total is at most the size of
//! the pool and a guarantee for each session, a session that holds nothing costs the others
//! nothing, and none is starved for ever: what it is guaranteed is enough to go on with. Only what
//! has been taken on and cannot be refused any more ([`Share::owe`]) may exceed that; it leaves
//! less for everything else.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes that a session may hold however many there are: one small block that is written, and two
/// that are filled, for a chunk may lie in both.
pub const GUARANTEE: u64 = 48 << 10;

/// The pool. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct MemoryPool(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    size: u64,
    held: AtomicU64,
    /// Shares that hold anything.
    holders: AtomicU64,
}

/// What one session holds of a pool. It gives everything back when it is dropped.
#[derive(Debug)]
pub struct Share {
    pool: MemoryPool,
    held: u64,
    /// Whether the holder counts as one that has another share already.
    is_extra: bool,
}

impl MemoryPool {
    /// A pool of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self(Arc::new(Counters {
            size,
            held: AtomicU64::new(0),
            holders: AtomicU64::new(0),
        }))
    }

    /// Bytes that all shares hold: at most the size of the pool and [`GUARANTEE`] for each share,
    /// but for what is owed.
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Bytes that shares may hold beyond what they are guaranteed.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// A share that holds nothing.
    pub fn share(&self) -> Share {
        Share {
            pool: self.clone(),
            held: 0,
            is_extra: false,
        }
    }

    /// Another share of a session that has one: what it holds makes no other share smaller.
    pub fn extra_share(&self) -> Share {
        let mut share = self.share();
        share.is_extra = true;
        share
    }
}

impl Share {
    /// Bytes that this share holds.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Bytes that this share may hold: as much as every other one that holds something.
    pub fn fair(&self) -> u64 {
        let others = self.pool.0.holders.load(Ordering::Relaxed);
        let is_new = self.held == 0 && !self.is_extra;
        let holders = others.saturating_add(u64::from(is_new)).max(1);
        let fair = self.pool.0.size.checked_div(holders);
        fair.unwrap_or_default().max(GUARANTEE)
    }

    /// Takes `bytes` if that is fair and the pool has them; answers whether it did.
    pub fn take(&mut self, bytes: u64) -> bool {
        let held = self.held.saturating_add(bytes);
        if held > self.fair() {
            return false;
        }
        let counters = &self.pool.0;
        let room = if held <= GUARANTEE {
            u64::MAX
        } else {
            counters.size
        };
        let taken = counters
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
                all.checked_add(bytes).filter(|all| *all <= room)
            });
        if taken.is_err() {
            return false;
        }
        self.on_taken(held);
        true
    }

    fn on_taken(&mut self, held: u64) {
        if self.held == 0 && held > 0 && !self.is_extra {
            self.pool.0.holders.fetch_add(1, Ordering::Relaxed);
        }
        self.held = held;
    }

    /// As [`Self::take`], but nothing is guaranteed, and others keep all of the pool but its
    /// `part`th part.
    pub fn take_spare(&mut self, part: u64, bytes: u64) -> bool {
        let held = self.held.saturating_add(bytes);
        let spare = self.pool.size().checked_div(part).unwrap_or_default();
        let spare = spare.saturating_sub(self.pool.held());
        let fair = self.fair().min(self.pool.size()) / 2;
        bytes <= spare && held <= fair && self.take(bytes)
    }

    /// As [`Self::take`], but beyond what is guaranteed a share may hold as much as it leaves to
    /// all others: one alone gets half of the pool, and there is always something for one more.
    pub fn take_half(&mut self, bytes: u64) -> bool {
        let held = self.held.saturating_add(bytes);
        let counters = &self.pool.0;
        let is_allowed = |all: u64| {
            held <= GUARANTEE || (counters.size.checked_sub(all)).is_some_and(|left| held <= left)
        };
        let taken = (counters.held).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
            all.checked_add(bytes).filter(|all| is_allowed(*all))
        });
        if taken.is_err() {
            return false;
        }
        self.on_taken(held);
        true
    }

    /// Whether [`Self::take_half`] would give `bytes`.
    pub fn may_take_half(&self, bytes: u64) -> bool {
        let held = self.held.saturating_add(bytes);
        let left = self.pool.size().saturating_sub(self.pool.held());
        held <= GUARANTEE || held <= left
    }

    /// Takes `bytes` that are needed anyway, whatever that leaves to others.
    pub fn owe(&mut self, bytes: u64) {
        self.pool.0.held.fetch_add(bytes, Ordering::Relaxed);
        self.on_taken(self.held.saturating_add(bytes));
    }

    /// Gives `bytes` back, at most what it holds.
    pub fn give(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.held = self.held.saturating_sub(bytes);
        self.pool.0.held.fetch_sub(bytes, Ordering::Relaxed);
        if self.held == 0 && bytes > 0 && !self.is_extra {
            self.pool.0.holders.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const KIB: u64 = 1 << 10;

    #[test]
    fn idle_shares_cost_the_others_nothing() {
        let pool = MemoryPool::new(1_000 * KIB);
        let idle: Vec<Share> = (0..100).map(|_| pool.share()).collect();
        let mut busy = pool.share();
        assert!(busy.take(1_000 * KIB));
        assert!(!busy.take(1));
        let mut other = pool.share();
        assert_eq!(other.fair(), 500 * KIB);
        assert!(!other.take(GUARANTEE + 1), "the pool is used up");
        assert!(other.take(GUARANTEE), "but for what is guaranteed");
        assert!(!busy.take(1));
        busy.give(600 * KIB);
        assert!(busy.take(100 * KIB));
        assert!(!busy.take(1), "more than its share");
        drop((idle, busy));
        assert_eq!(pool.held(), GUARANTEE);
    }

    #[test]
    fn what_a_session_has_besides_makes_no_share_smaller() {
        let pool = MemoryPool::new(1_000 * KIB);
        let (mut blocks, mut books) = (pool.share(), pool.extra_share());
        assert!(blocks.take(100 * KIB) && books.take_spare(2, KIB));
        assert_eq!(blocks.fair(), 1_000 * KIB);
        assert!(!blocks.take(900 * KIB), "the pool counts both");
        assert!(blocks.take(899 * KIB));
        drop((blocks, books));
        assert_eq!((pool.held(), pool.share().fair()), (0, 1_000 * KIB));
    }

    #[test]
    fn what_halves_the_rest_leaves_something_to_everyone() {
        let pool = MemoryPool::new(1_024 * KIB);
        let (mut first, mut second) = (pool.share(), pool.share());
        assert!(!first.take_half(513 * KIB));
        assert!(first.take_half(512 * KIB) && !first.take_half(1));
        assert!(second.take_half(256 * KIB) && !second.take_half(1));
        let mut many: Vec<Share> = (0..20).map(|_| pool.share()).collect();
        for share in &mut many {
            while share.take_half(KIB) {}
            assert!(share.held() >= GUARANTEE);
        }
        assert!(pool.held() <= pool.size() + 20 * GUARANTEE);
        let mut debtor = pool.share();
        assert!(debtor.may_take_half(GUARANTEE) && !debtor.may_take_half(GUARANTEE + 1));
        debtor.owe(GUARANTEE);
        assert!(!debtor.may_take_half(1) && !first.may_take_half(1));
        drop((first, second, many, debtor));
        assert_eq!(pool.held(), 0);
    }

    proptest! {
        #[test]
        fn the_total_is_bounded(
            size in 0_u64..2_000 * KIB,
            steps in prop::collection::vec((0_usize..20, any::<bool>(), 0_u64..200 * KIB), 0..400),
        ) {
            let pool = MemoryPool::new(size);
            let mut shares: Vec<Share> = (0..20).map(|_| pool.share()).collect();
            for (at, takes, bytes) in steps {
                if takes {
                    let before = shares[at].held();
                    let taken = shares[at].take(bytes);
                    prop_assert!(taken || before + bytes > GUARANTEE, "less than guaranteed");
                } else {
                    shares[at].give(bytes);
                }
                let held: u64 = shares.iter().map(Share::held).sum();
                prop_assert_eq!(pool.held(), held);
                prop_assert!(held <= size + 20 * GUARANTEE);
            }
            drop(shares);
            prop_assert_eq!(pool.held(), 0);
            prop_assert_eq!(pool.share().fair(), size.max(GUARANTEE));
        }
    }
}
