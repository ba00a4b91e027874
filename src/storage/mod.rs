//! Files: sources to read, a directory to receive into.
//!
//! Everything here blocks; the runtime calls it on a thread of its own.

use xfer_proto::id::SessionId;
use xfer_proto::storage::{Completion, StorageOp};

/// Carries out storage operations of any number of sessions, in order, on the calling thread.
pub(crate) trait Store: Send {
    /// Carries out a batch, in order for each file; calls `done` for each operation but `Discard`, as early
    /// as its result is known. What belongs together in a batch may share its syncs.
    fn run(
        &mut self,
        batch: Vec<(SessionId, StorageOp)>,
        done: &mut dyn FnMut(SessionId, Completion),
    );

    /// The session is gone: what it left open is closed, what can be resumed stays.
    fn forget(&mut self, session: SessionId);
}
