//! Storage operations of a node that are under way.

use crate::queue::{Event, EventQueue, Nanos};
use crate::storage::{Latency, cost_bytes};
use std::collections::BTreeMap;
use xfer_proto::id::{FileIndex, SessionId};
use xfer_proto::rng::Rng;
use xfer_proto::storage::{OpId, StorageOp};

/// An operation and the session that asked for it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) session: SessionId,
    pub(crate) op: StorageOp,
}

/// Operations under way and the most there ever were.
#[derive(Debug)]
pub(crate) struct Desk {
    node: u32,
    incarnation: u32,
    latency: Latency,
    rng: Rng,
    slots: Vec<Option<Pending>>,
    free: Vec<u32>,
    disk_free_at: Nanos,
    last_of_file: BTreeMap<(SessionId, FileIndex), Nanos>,
    of_session: BTreeMap<SessionId, usize>,
    ops: usize,
    bytes: u64,
    /// Most operations at once.
    pub(crate) peak_ops: usize,
    /// Most bytes in operations at once.
    pub(crate) peak_bytes: u64,
}

impl Desk {
    pub(crate) fn new(node: u32, latency: Latency, seed: u64) -> Self {
        Self {
            node,
            incarnation: 0,
            latency,
            rng: Rng::new(seed),
            slots: Vec::new(),
            free: Vec::new(),
            disk_free_at: 0,
            last_of_file: BTreeMap::new(),
            of_session: BTreeMap::new(),
            ops: 0,
            bytes: 0,
            peak_ops: 0,
            peak_bytes: 0,
        }
    }

    /// Takes an operation. It comes back at once where nothing takes time, by an event otherwise,
    /// in the order of its file.
    pub(crate) fn submit(
        &mut self,
        now: Nanos,
        pending: Pending,
        queue: &mut EventQueue,
    ) -> Option<Pending> {
        self.ops += 1;
        self.bytes += cost_bytes(&pending.op);
        self.peak_ops = self.peak_ops.max(self.ops);
        self.peak_bytes = self.peak_bytes.max(self.bytes);
        if self.latency.is_zero() {
            self.leave(&pending);
            return Some(pending);
        }
        *self.of_session.entry(pending.session).or_default() += 1;
        let cost = cost_bytes(&pending.op) * self.latency.per_kib / 1_024;
        self.disk_free_at = self.disk_free_at.max(now) + cost;
        let done = self.disk_free_at + self.latency.draw(&mut self.rng);
        let last = self
            .last_of_file
            .entry((pending.session, file_of(&pending.op)))
            .or_default();
        *last = done.max(*last);
        let at = *last;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(pending);
        queue.push(at, Event::Storage(self.node, slot, self.incarnation));
        None
    }

    /// The operation of an event, unless a crash has undone it.
    pub(crate) fn take(&mut self, slot: u32, incarnation: u32) -> Option<Pending> {
        if incarnation != self.incarnation {
            return None;
        }
        let pending = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.leave(&pending);
        if let Some(count) = self.of_session.get_mut(&pending.session) {
            *count -= 1;
        }
        Some(pending)
    }

    /// Whether operations of `session` are under way; once there are none, it is forgotten.
    pub(crate) fn is_busy(&mut self, session: SessionId) -> bool {
        let is_busy = self
            .of_session
            .get(&session)
            .is_some_and(|&count| count > 0);
        if !is_busy {
            self.of_session.remove(&session);
        }
        is_busy
    }

    fn leave(&mut self, pending: &Pending) {
        self.ops -= 1;
        self.bytes -= cost_bytes(&pending.op);
    }

    /// Forgets everything under way.
    pub(crate) fn crash(&mut self) {
        self.incarnation += 1;
        self.slots.clear();
        self.free.clear();
        self.last_of_file.clear();
        self.of_session.clear();
        (self.ops, self.bytes) = (0, 0);
    }
}

/// Names an operation for its completion; a discard has none.
pub(crate) fn op_id(op: &StorageOp) -> Option<OpId> {
    match op {
        StorageOp::Read { op, .. }
        | StorageOp::Finish { op, .. }
        | StorageOp::Prepare { op, .. }
        | StorageOp::DigestExisting { op, .. }
        | StorageOp::ConfirmExisting { op, .. }
        | StorageOp::Write { op, .. }
        | StorageOp::Hash { op, .. }
        | StorageOp::Checkpoint { op, .. }
        | StorageOp::Commit { op, .. } => Some(*op),
        StorageOp::Discard { .. } => None,
    }
}

fn file_of(op: &StorageOp) -> FileIndex {
    match op {
        StorageOp::Read { file, .. }
        | StorageOp::Finish { file, .. }
        | StorageOp::Prepare { file, .. }
        | StorageOp::DigestExisting { file, .. }
        | StorageOp::ConfirmExisting { file, .. }
        | StorageOp::Write { file, .. }
        | StorageOp::Hash { file, .. }
        | StorageOp::Checkpoint { file, .. }
        | StorageOp::Commit { file, .. }
        | StorageOp::Discard { file, .. } => *file,
    }
}
