//! Writes that follow each other in a file go to the system in one call.

use super::{Key, SinkStore};
use crate::storage::fault::{internal, sink_failure};
use crate::storage::sys;
use bytes::Bytes;
use xfer_proto::error::Failure;
use xfer_proto::id::SessionId;
use xfer_proto::storage::{Completion, Done, OpId, StorageOp};

/// Bytes written in one call: so much stays in the cache of a core until it is hashed.
const MAX_RUN: usize = 256 << 10;

/// Writes of one file, each of which starts where the one before ends.
pub(super) struct Run {
    key: Key,
    offset: u64,
    len: usize,
    ops: Vec<OpId>,
    pieces: Vec<Bytes>,
}

impl Run {
    /// A run of one write; anything else comes back.
    pub(super) fn start(session: SessionId, op: StorageOp) -> Result<Self, StorageOp> {
        match op {
            StorageOp::Write {
                op,
                file,
                offset,
                data,
            } => Ok(Self {
                key: (session, file),
                offset,
                len: data.len(),
                ops: vec![op],
                pieces: vec![data],
            }),
            other => Err(other),
        }
    }

    /// Whether `op` goes on where the run ends, and there is room for it.
    pub(super) fn is_next(&self, session: SessionId, op: &StorageOp) -> bool {
        matches!(op, StorageOp::Write { file, offset, data, .. }
            if (session, *file) == self.key
                && self.offset.checked_add(self.len as u64) == Some(*offset)
                && self.len.saturating_add(data.len()) <= MAX_RUN)
    }

    /// Adds the write that [`Self::is_next`] has let pass.
    pub(super) fn add(&mut self, op: StorageOp) {
        if let StorageOp::Write { op, data, .. } = op {
            self.len += data.len();
            self.ops.push(op);
            self.pieces.push(data);
        }
    }
}

impl SinkStore {
    /// Carries out a run; all of its writes end alike.
    pub(super) fn write_run(&mut self, run: Run, done: &mut dyn FnMut(SessionId, Completion)) {
        let result = self.write(run.key, run.offset, &run.pieces);
        // Before the completions, so that their memory can be used again at once.
        drop(run.pieces);
        for op in run.ops {
            let result = result.clone().map(|()| Done::Written);
            done(run.key.0, Completion { op, result });
        }
    }

    fn write(&mut self, key: Key, offset: u64, pieces: &[Bytes]) -> Result<(), Failure> {
        let (entry, _) = self.receiving(key)?;
        let size = entry.size;
        let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let end = offset.checked_add(len).filter(|end| *end <= size);
        let Some(end) = end else {
            return Err(internal("write beyond the end of a file"));
        };
        self.ensure_open(key)?;
        let Some(file) = self.open.get_mut(&key) else {
            return Err(internal("write a file that is not open"));
        };
        if let Err(error) = sys::write_pieces_at(file, pieces, offset) {
            let (entry, _) = self.receiving(key)?;
            let action = format!("write at byte {offset} of");
            return Err(sink_failure(&action, &entry.name, &error));
        }
        let mut at = offset;
        for piece in pieces {
            self.hashers.written(key, size, at, piece);
            at += piece.len() as u64;
        }
        let (_, receiving) = self.receiving(key)?;
        receiving.end = receiving.end.max(end);
        let new = receiving.unwritten.min(len);
        receiving.unwritten -= new;
        self.budget.on_written(new);
        Ok(())
    }
}
