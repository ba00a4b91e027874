//! Files: sources to read, a directory to receive into.
//!
//! Everything here blocks; the runtime calls it on a thread of its own.

mod fault;
mod journal;
mod lru;
mod pool;
mod secret;
pub(crate) mod sink;
pub(crate) mod source;
pub mod sum;
mod sys;
pub(crate) mod walk;

pub(crate) use secret::Secret;

use xfer_proto::id::SessionId;
use xfer_proto::storage::{Completion, StorageOp};

/// Carries out storage operations of any number of sessions, in order, on the calling thread.
pub(crate) trait Store: Send {
    /// Carries out a batch, in order for each file; calls `done` for each operation but `Discard`,
    /// as early as its result is known. What belongs together in a batch may share its syncs.
    /// `true`: some of it takes longer, and is for [`Store::go_on`].
    fn run(
        &mut self,
        batch: Vec<(SessionId, StorageOp)>,
        done: &mut dyn FnMut(SessionId, Completion),
    ) -> bool;

    /// Goes on for a moment with what takes longer; `true` while there is more of it.
    fn go_on(&mut self, _done: &mut dyn FnMut(SessionId, Completion)) -> bool {
        false
    }

    /// The session is gone: what it left open is closed, what can be resumed stays.
    fn forget(&mut self, session: SessionId);
}

/// Handles that a process keeps for sockets, pipes, its runtime and what is open for a moment.
const RESERVED_HANDLES: u64 = 32;
/// Handles that a store may keep open; more gains nothing.
const MAX_HANDLES: u64 = 256;

/// How many handles a store may keep open under the process's limit.
fn handle_budget() -> usize {
    let limit = sys::open_file_limit().unwrap_or(MAX_HANDLES + RESERVED_HANDLES);
    // Both are small, so the cast loses nothing.
    limit.saturating_sub(RESERVED_HANDLES).clamp(8, MAX_HANDLES) as usize
}
