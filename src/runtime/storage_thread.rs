//! The thread that carries out storage operations, for one loop or for several.

use super::stop::Wake;
use crate::storage::Store;
use std::collections::{HashMap, HashSet};
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::SessionId;
use xfer_proto::storage::{Completion, Done, OpId, StorageOp};

/// What a store is told belongs together, with the names that the store knows the sessions by.
type Batch = Vec<(SessionId, StorageOp)>;

/// A running storage thread. Dropping it lets the thread end after what was asked of it.
pub(crate) struct StorageThread {
    requests: Sender<Request>,
    names: Arc<AtomicU64>,
    /// In a mutex only so that the threads of several loops may share this.
    ended: Mutex<Receiver<()>>,
}

/// One loop's access to the thread.
pub(crate) struct StorageHandle {
    requests: Sender<Request>,
    names: Arc<AtomicU64>,
    mailbox: Arc<Mailbox>,
}

/// Completions on their way to one loop.
struct Mailbox {
    letters: Mutex<Letters>,
    wake: Wake,
}

#[derive(Default)]
struct Letters {
    completions: Vec<(SessionId, Completion)>,
    /// The loop was woken for them.
    is_told: bool,
}

/// So many completions gather before a loop is woken for them, unless the batch ends before: what
/// is done together costs fewer wake-ups, and the answers fit fewer packets. A loop that is busy
/// finds them without being woken.
const GATHERED: usize = 16;
/// A read of so many bytes is worth a wake-up of its own: it keeps the sender busy for a while.
const LARGE_READ: usize = 64 << 10;

enum Request {
    Run(Arc<Mailbox>, Batch),
    Forget(SessionId),
}

impl StorageThread {
    /// Starts a thread over `store`.
    pub(crate) fn start(store: Box<dyn Store>) -> io::Result<Self> {
        let (requests, queue) = channel();
        let (alive, ended) = channel();
        std::thread::Builder::new()
            .name("xfer-storage".to_owned())
            .spawn(move || {
                Worker::new(store).run(&queue);
                drop(alive);
            })?;
        Ok(Self {
            requests,
            names: Arc::new(AtomicU64::new(0)),
            ended: Mutex::new(ended),
        })
    }

    /// Access for a loop that `wake` wakes when completions are there.
    pub(crate) fn handle(&self, wake: Wake) -> StorageHandle {
        StorageHandle {
            requests: self.requests.clone(),
            names: Arc::clone(&self.names),
            mailbox: Arc::new(Mailbox {
                letters: Mutex::default(),
                wake,
            }),
        }
    }

    /// Waits until everything that was asked is done, all handles being gone. `false` when that
    /// takes longer than `patience`: the thread is left to itself.
    pub(crate) fn join(self, patience: Duration) -> bool {
        let Self {
            requests, ended, ..
        } = self;
        drop(requests);
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        matches!(
            ended.recv_timeout(patience),
            Err(RecvTimeoutError::Disconnected)
        )
    }
}

impl StorageHandle {
    /// A name for a session that no other session of this thread has: names on the wire are the
    /// peers' choice and may come twice.
    pub(crate) fn name_session(&self) -> SessionId {
        SessionId(self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Queues `batch` and leaves it empty.
    pub(crate) fn submit(&self, batch: &mut Batch) {
        if !batch.is_empty() {
            let request = Request::Run(Arc::clone(&self.mailbox), mem::take(batch));
            // The thread outlives its handles: it ends when the last sender is dropped.
            let _ = self.requests.send(request);
        }
    }

    /// Tells the store that a session is gone, after what was submitted for it.
    pub(crate) fn forget(&self, session: SessionId) {
        let _ = self.requests.send(Request::Forget(session));
    }

    /// Moves the completions that have come to `into`, which is empty.
    pub(crate) fn take_completions(&self, into: &mut Vec<(SessionId, Completion)>) {
        let mut letters = self.mailbox.lock();
        mem::swap(&mut letters.completions, into);
        letters.is_told = false;
    }
}

impl Mailbox {
    /// Answers whether the loop still is to be woken at the end of the batch.
    fn deliver(&self, session: SessionId, completion: Completion) -> bool {
        let is_large = matches!(&completion.result,
            Ok(Done::Read(block)) if block.data.len() >= LARGE_READ);
        let mut letters = self.lock();
        letters.completions.push((session, completion));
        let can_wait = !is_large && letters.completions.len() < GATHERED;
        drop(letters);
        if !can_wait {
            self.tell();
        }
        can_wait
    }

    /// Wakes the loop unless it was, or has found everything. Whoever empties the mailbox takes
    /// all, so one call is enough.
    fn tell(&self) {
        let mut letters = self.lock();
        let is_news = !letters.completions.is_empty() && !mem::replace(&mut letters.is_told, true);
        drop(letters);
        if is_news {
            (self.wake)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        // Nothing panics while it holds the lock.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inside of the thread.
struct Worker {
    /// Gone after a panic: its state cannot be trusted any more.
    store: Option<Box<dyn Store>>,
    /// What takes longer.
    open: HashSet<(SessionId, OpId)>,
    mailboxes: HashMap<SessionId, Arc<Mailbox>>,
}

impl Worker {
    fn new(store: Box<dyn Store>) -> Self {
        Self {
            store: Some(store),
            open: HashSet::new(),
            mailboxes: HashMap::new(),
        }
    }

    fn run(&mut self, queue: &Receiver<Request>) {
        let mut has_more = false;
        loop {
            // What takes longer goes on between the batches; nobody waits for it who is gone.
            let first = match has_more {
                true => queue.try_recv(),
                false => queue.recv().map_err(|_| TryRecvError::Disconnected),
            };
            if matches!(first, Err(TryRecvError::Disconnected)) {
                return;
            }
            let mut batch = Batch::new();
            let mut forgotten = Vec::new();
            // Everything that has queued up goes in one batch, so that commits share their syncs.
            for request in first.into_iter().chain(queue.try_iter()) {
                match request {
                    Request::Run(mailbox, operations) => {
                        for (session, _) in &operations {
                            self.mailboxes
                                .entry(*session)
                                .or_insert_with(|| Arc::clone(&mailbox));
                        }
                        batch.extend(operations);
                    }
                    Request::Forget(session) => forgotten.push(session),
                }
            }
            has_more = self.run_batch(batch);
            for session in forgotten {
                self.guarded(|store| store.forget(session));
                self.mailboxes.remove(&session);
            }
        }
    }

    /// Carries out `batch`, and goes on with what takes longer. Every operation gets its
    /// completion, whatever the store does. Answers whether there is more to go on with.
    fn run_batch(&mut self, batch: Batch) -> bool {
        let mut open = mem::take(&mut self.open);
        open.extend(
            batch
                .iter()
                .filter_map(|(session, operation)| Some((*session, op_id(operation)?))),
        );
        let mailboxes = mem::take(&mut self.mailboxes);
        let mut untold: Vec<Arc<Mailbox>> = Vec::new();
        let mut deliver = |session: SessionId, completion: Completion| {
            if let Some(mailbox) = mailboxes.get(&session)
                && mailbox.deliver(session, completion)
                && !untold.iter().any(|other| Arc::ptr_eq(other, mailbox))
            {
                untold.push(Arc::clone(mailbox));
            }
        };
        let mut done = |session: SessionId, completion: Completion| {
            if open.remove(&(session, completion.op)) {
                deliver(session, completion);
            }
        };
        let mut has_more = false;
        self.guarded(|store| {
            has_more = batch.is_empty() || store.run(batch, &mut done);
            has_more = has_more && store.go_on(&mut done);
        });
        has_more = has_more && self.store.is_some();
        if has_more {
            self.open = mem::take(&mut open);
        }
        for (session, op) in open {
            let failure = Failure::new(ErrorCode::INTERNAL, "the storage thread failed");
            let result = Err(failure);
            deliver(session, Completion { op, result });
        }
        untold.iter().for_each(|mailbox| mailbox.tell());
        self.mailboxes = mailboxes;
        has_more
    }

    /// After a panic the store is gone, and nothing is left to go on with.
    fn guarded(&mut self, call: impl FnOnce(&mut dyn Store)) {
        if let Some(mut store) = self.store.take() {
            let call = AssertUnwindSafe(|| {
                call(store.as_mut());
                store
            });
            self.store = catch_unwind(call).ok();
        }
    }
}

/// The operation's name, if it gets a completion.
fn op_id(operation: &StorageOp) -> Option<OpId> {
    match operation {
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

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_proto::id::FileIndex;

    /// Panics at file 1, takes three moments for file 2, answers everything else at once.
    #[derive(Default)]
    struct Touchy(Vec<(SessionId, OpId, u8)>);

    impl Store for Touchy {
        fn run(&mut self, batch: Batch, done: &mut dyn FnMut(SessionId, Completion)) -> bool {
            for (session, operation) in batch {
                let StorageOp::Finish { op, file } = operation else {
                    panic!("not expected: {operation:?}");
                };
                assert_ne!(file, FileIndex(1), "on purpose");
                if file == FileIndex(2) {
                    self.0.push((session, op, 3));
                    continue;
                }
                let result = Ok(Done::Finished);
                done(session, Completion { op, result });
            }
            !self.0.is_empty()
        }

        fn go_on(&mut self, done: &mut dyn FnMut(SessionId, Completion)) -> bool {
            self.0.iter_mut().for_each(|slow| slow.2 -= 1);
            self.0.retain(|&(session, op, left)| {
                let result = Ok(Done::Finished);
                if left == 0 {
                    done(session, Completion { op, result });
                }
                left > 0
            });
            !self.0.is_empty()
        }

        fn forget(&mut self, _session: SessionId) {}
    }

    fn finish(op: u64, file: u32) -> StorageOp {
        StorageOp::Finish {
            op: OpId(op),
            file: FileIndex(file),
        }
    }

    /// Completions until `count` have come.
    fn wait_for(
        count: usize,
        handle: &StorageHandle,
        woken: &Receiver<()>,
    ) -> Vec<(SessionId, Completion)> {
        let mut all = Vec::new();
        while all.len() < count {
            woken.recv_timeout(Duration::from_secs(10)).unwrap();
            let mut some = Vec::new();
            handle.take_completions(&mut some);
            all.append(&mut some);
        }
        all
    }

    #[test]
    fn what_takes_longer_goes_on_and_a_panic_fails_what_is_open_and_all_that_follows() {
        let thread = StorageThread::start(Box::new(Touchy::default())).unwrap();
        let (wake, woken) = channel();
        let handle = thread.handle(Arc::new(move || {
            let _ = wake.send(());
        }));
        let session = handle.name_session();
        assert_ne!(session, handle.name_session());
        handle.submit(&mut vec![(session, finish(9, 2))]);
        assert!(wait_for(1, &handle, &woken)[0].1.result.is_ok());
        handle.submit(&mut vec![
            (session, finish(0, 2)),
            (session, finish(1, 0)),
            (session, finish(2, 1)),
            (session, finish(3, 0)),
        ]);
        let mut first = wait_for(4, &handle, &woken);
        first.sort_by_key(|(_, completion)| completion.op);
        let results: Vec<bool> = first.iter().map(|(_, done)| done.result.is_ok()).collect();
        assert_eq!(results, [false, true, false, false]);
        handle.submit(&mut vec![(session, finish(4, 0))]);
        let last = wait_for(1, &handle, &woken);
        assert_eq!(
            last[0].1.result.as_ref().unwrap_err().code,
            ErrorCode::INTERNAL
        );
        handle.forget(session);
        drop(handle);
        assert!(thread.join(Duration::from_secs(10)));
    }
}
