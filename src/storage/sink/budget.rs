//! How much may still be received: what is free on the disk, and what this receiver takes in all.
//!
//! One budget serves every session, so what one was promised is not promised to another.

use crate::storage::fault::sink_failure;
use crate::storage::sys::Dir;
use std::time::{Duration, Instant};
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::manifest::Entry;

/// Free space that received files leave to others: this, or a 64th of a small file system.
const MAX_RESERVE: u64 = 64 << 20;
const RESERVE_SHARE: u64 = 64;
/// The system is asked again after so long; in between, what was claimed is taken off.
const SPACE_AGE: Duration = Duration::from_secs(1);

/// Bytes that may still be claimed.
#[derive(Debug)]
pub(super) struct Budget {
    max_total: u64,
    /// Bytes of the files that are on their way or committed.
    accepted: u64,
    /// Bytes that were promised room and are not on the disk yet.
    unwritten: u64,
    /// What was free when the system was asked, less every promise.
    left: u64,
    asked: Option<Instant>,
}

impl Budget {
    /// Accepts files of so many bytes in all.
    pub(super) fn new(max_total: u64) -> Self {
        Self {
            max_total,
            accepted: 0,
            unwritten: 0,
            left: 0,
            asked: None,
        }
    }

    /// Room on the disk for everything, as far as anyone has told.
    #[cfg(test)]
    pub(super) fn assume_space(&mut self) {
        self.left = u64::MAX;
        self.asked = Some(Instant::now());
    }

    /// Asks the system again at the next claim.
    #[cfg(test)]
    pub(super) fn forget_space(&mut self) {
        self.asked = None;
    }

    /// Promises room to a file, `held` bytes of which are on the disk already. Answers how many are
    /// not.
    pub(super) fn claim(&mut self, root: &Dir, entry: &Entry, held: u64) -> Result<u64, Failure> {
        let Entry { name, size, .. } = entry;
        let remaining = self.max_total.saturating_sub(self.accepted);
        if *size > remaining {
            let text = format!(
                "`{name}` has {size} bytes, the receiver takes {remaining} more of {} in all",
                self.max_total
            );
            return Err(Failure::new(ErrorCode::QUOTA, text));
        }
        let missing = size.saturating_sub(held);
        let is_fresh = self.asked.is_some_and(|at| at.elapsed() < SPACE_AGE);
        if !is_fresh || self.left < missing {
            let (available, total) = root
                .space()
                .map_err(|error| sink_failure("find the space for", name, &error))?;
            let reserve = MAX_RESERVE.min(total / RESERVE_SHARE);
            self.left = available
                .saturating_sub(reserve)
                .saturating_sub(self.unwritten);
            self.asked = Some(Instant::now());
        }
        let Some(left) = self.left.checked_sub(missing) else {
            let text = format!("`{name}` needs {missing} bytes, {} are free", self.left);
            return Err(Failure::new(ErrorCode::NO_SPACE, text));
        };
        self.left = left;
        self.unwritten = self.unwritten.saturating_add(missing);
        self.accepted = self.accepted.saturating_add(*size);
        Ok(missing)
    }

    /// Bytes that were promised room are on the disk.
    pub(super) fn on_written(&mut self, bytes: u64) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// A file of `size` bytes is over, `unwritten` of them never written. Only a committed file
    /// counts against the total from here on.
    pub(super) fn on_closed(&mut self, size: u64, unwritten: u64, is_committed: bool) {
        self.unwritten = self.unwritten.saturating_sub(unwritten);
        if !is_committed {
            self.accepted = self.accepted.saturating_sub(size);
        }
    }
}
