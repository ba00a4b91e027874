//! Asking a running call to stop, from another thread or by a signal.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Wakes a loop from another thread; may be called at any time, any number of times.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Stops the call that it was given to. Clones are the same handle; once asked, it stays so.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// [`Stop::stop`] was called.
    Asked,
    /// The process got this signal.
    Signal(i32),
}

#[derive(Default)]
struct Shared {
    reason: OnceLock<StopReason>,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    next: u64,
    list: Vec<(u64, Wake)>,
}

impl Stop {
    /// A handle that nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks. Returns at once; the call ends in order, within 2 s.
    pub fn stop(&self) {
        self.stop_for(StopReason::Asked);
    }

    /// Whether somebody has asked.
    pub fn is_stopped(&self) -> bool {
        self.reason().is_some()
    }

    /// Who asked first, if anybody has.
    pub(crate) fn reason(&self) -> Option<StopReason> {
        self.0.reason.get().copied()
    }

    /// Asks for this reason.
    pub(crate) fn stop_for(&self, reason: StopReason) {
        if self.0.reason.set(reason).is_ok() {
            let listeners = self.listeners().list.clone();
            listeners.iter().for_each(|(_, wake)| wake());
        }
    }

    /// Calls `wake` when somebody asks, at once if that has happened, until the subscription is
    /// dropped.
    pub(crate) fn subscribe(&self, wake: Wake) -> Subscription {
        let mut listeners = self.listeners();
        let id = listeners.next;
        listeners.next += 1;
        listeners.list.push((id, Arc::clone(&wake)));
        drop(listeners);
        // Asked before the listener was in the list: it would never be called otherwise.
        if self.is_stopped() {
            wake();
        }
        Subscription {
            stop: self.clone(),
            id,
        }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        // The list is whole after any panic: every change is one push or one retain.
        self.0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.reason()).finish()
    }
}

/// Keeps a listener; see [`Stop::subscribe`].
pub(crate) struct Subscription {
    stop: Stop,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stop.listeners().list.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn every_listener_is_called_once() {
        let stop = Stop::new();
        let calls = Arc::new(AtomicU32::new(0));
        let count = |calls: &Arc<AtomicU32>| -> Wake {
            let calls = Arc::clone(calls);
            Arc::new(move || {
                calls.fetch_add(1, Ordering::SeqCst);
            })
        };
        let _kept = stop.subscribe(count(&calls));
        drop(stop.subscribe(count(&calls)));
        assert!(!stop.is_stopped());
        stop.stop_for(StopReason::Signal(2));
        stop.stop();
        assert_eq!(stop.reason(), Some(StopReason::Signal(2)));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let _late = stop.subscribe(count(&calls));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
