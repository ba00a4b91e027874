//! How much may still be received: what is free on the disk, and what this receiver takes in all.
//!
//! One budget serves every session, so what one was promised is not promised to another.
//!
//! What a file that failed leaves for a later session counts against the total for as long as it
//! is there: a sender could fill the disk with such files, one session after the other. What
//! earlier runs left does not count, as little as what they committed: the total is that of a run.

use super::partials::Partials;
use crate::storage::fault::sink_failure;
use crate::storage::sys::Dir;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::manifest::{Entry, PARTIAL_DIR};

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
    /// Bytes of the partial files that this run left for later sessions, by name; their sum.
    kept: HashMap<Vec<u8>, u64>,
    kept_bytes: u64,
    /// When it was last looked whether they are there still.
    counted: Option<Instant>,
    /// Bytes that were promised room and are not on the disk yet.
    unwritten: u64,
    /// What was free when the system was asked, less what is left to others.
    free: u64,
    /// The same less every promise.
    left: u64,
    asked: Option<Instant>,
}

impl Budget {
    /// Accepts files of so many bytes in all.
    pub(super) fn new(max_total: u64) -> Self {
        Self {
            max_total,
            accepted: 0,
            kept: HashMap::new(),
            kept_bytes: 0,
            counted: None,
            unwritten: 0,
            free: 0,
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
        self.counted = None;
    }

    /// Promises room to a file, `held` bytes of which are on the disk already, in the partial file
    /// `resumed`. Answers how many are not.
    pub(super) fn claim(
        &mut self,
        root: &Dir,
        partials: &Partials,
        entry: &Entry,
        (resumed, held): (Option<&[u8]>, u64),
    ) -> Result<u64, Failure> {
        let Entry { name, size, .. } = entry;
        self.claim_total(partials, entry, resumed)?;
        let missing = size.saturating_sub(held);
        let is_fresh = self.asked.is_some_and(|at| at.elapsed() < SPACE_AGE);
        if !is_fresh || self.left < missing {
            let (available, total) = root
                .space()
                .map_err(|error| sink_failure("find the space for", name, &error))?;
            let reserve = MAX_RESERVE.min(total / RESERVE_SHARE);
            self.free = available.saturating_sub(reserve);
            self.left = self.free.saturating_sub(self.unwritten);
            self.asked = Some(Instant::now());
        }
        let Some(left) = self.left.checked_sub(missing) else {
            let mut text = format!("`{name}` needs {missing} bytes, {} are free", self.free);
            if self.unwritten > 0 {
                text += &format!(
                    ", {} of them promised to other files on their way",
                    self.unwritten.min(self.free)
                );
            }
            return Err(Failure::new(ErrorCode::NO_SPACE, text));
        };
        self.left = left;
        self.unwritten = self.unwritten.saturating_add(missing);
        if let Some(resumed) = resumed {
            // From here on it counts as a file on its way.
            self.on_kept(resumed, 0);
        }
        self.accepted = self.accepted.saturating_add(*size);
        Ok(missing)
    }

    /// Whether the file is within the total.
    fn claim_total(
        &mut self,
        partials: &Partials,
        entry: &Entry,
        resumed: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let Entry { name, size, .. } = entry;
        let own = resumed.and_then(|name| self.kept.get(name)).copied();
        let own = own.unwrap_or(0);
        let left = |budget: &Self| budget.max_total.saturating_sub(budget.accepted);
        let kept = |budget: &Self| budget.kept_bytes.saturating_sub(own);
        if *size > left(self).saturating_sub(kept(self)) {
            self.count_kept(partials);
        }
        let (left, kept) = (left(self), kept(self));
        let remaining = left.saturating_sub(kept);
        if *size <= remaining {
            return Ok(());
        }
        let mut text = format!(
            "`{name}` has {size} bytes, the receiver takes {remaining} more of {} in all",
            self.max_total
        );
        if kept > 0 {
            text += &format!("; {kept} are in files of {PARTIAL_DIR} that were not completed");
        }
        Err(Failure::new(ErrorCode::QUOTA, text))
    }

    /// Somebody may have removed partial files, their age for example.
    fn count_kept(&mut self, partials: &Partials) {
        if self.kept.is_empty() || self.counted.is_some_and(|at| at.elapsed() < SPACE_AGE) {
            return;
        }
        self.counted = Some(Instant::now());
        self.kept.retain(|name, bytes| {
            *bytes = partials.allocated(name);
            *bytes > 0
        });
        self.kept_bytes = self.kept.values().fold(0, |a, b| a.saturating_add(*b));
    }

    /// A partial file stays for a later session and takes so many bytes; or it is gone.
    pub(super) fn on_kept(&mut self, name: &[u8], bytes: u64) {
        let before = match bytes {
            0 => self.kept.remove(name),
            _ => self.kept.insert(name.to_vec(), bytes),
        };
        self.kept_bytes = self
            .kept_bytes
            .saturating_sub(before.unwrap_or(0))
            .saturating_add(bytes);
    }

    /// Bytes that were promised room are on the disk.
    pub(super) fn on_written(&mut self, bytes: u64) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// A file of `size` bytes is over, `unwritten` of them never written. Only a committed file
    /// counts against the total from here on, and what [`Self::on_kept`] says of another.
    pub(super) fn on_closed(&mut self, size: u64, unwritten: u64, is_committed: bool) {
        self.unwritten = self.unwritten.saturating_sub(unwritten);
        if !is_committed {
            self.accepted = self.accepted.saturating_sub(size);
        }
    }
}
