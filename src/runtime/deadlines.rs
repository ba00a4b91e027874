//! The next wake-up of many sessions.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use xfer_proto::id::SessionId;
use xfer_proto::time::Instant;

/// One deadline or none for every session, the earliest at hand.
///
/// Sessions move their deadlines with almost every datagram, mostly to later. So the heap is
/// corrected only when an entry comes up: it holds at most one live entry a session, never later
/// than its deadline.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, SessionId)>>,
    sessions: HashMap<SessionId, Slot>,
}

#[derive(Debug)]
struct Slot {
    deadline: Option<Instant>,
    /// The session's live entry in the heap; others of it are leftovers.
    queued: Option<Instant>,
}

impl Deadlines {
    /// Sets or clears the deadline of `session`.
    pub(crate) fn set(&mut self, session: SessionId, deadline: Option<Instant>) {
        let slot = self.sessions.entry(session).or_insert(Slot {
            deadline: None,
            queued: None,
        });
        slot.deadline = deadline;
        if let Some(at) = deadline
            && slot.queued.is_none_or(|queued| at < queued)
        {
            slot.queued = Some(at);
            self.heap.push(Reverse((at, session)));
        }
    }

    /// Forgets `session`.
    pub(crate) fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// The earliest deadline.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        self.settle().map(|(at, _)| at)
    }

    /// Clears and names a session whose deadline is not later than `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<SessionId> {
        let (at, session) = self.settle()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        if let Some(slot) = self.sessions.get_mut(&session) {
            slot.deadline = None;
            slot.queued = None;
        }
        Some(session)
    }

    /// Corrects the heap until its first entry is a real deadline.
    fn settle(&mut self) -> Option<(Instant, SessionId)> {
        while let Some(&Reverse((at, session))) = self.heap.peek() {
            match self.sessions.get_mut(&session) {
                Some(slot) if slot.queued == Some(at) => {
                    if slot.deadline == Some(at) {
                        return Some((at, session));
                    }
                    self.heap.pop();
                    slot.queued = slot.deadline;
                    if let Some(later) = slot.deadline {
                        self.heap.push(Reverse((later, session)));
                    }
                }
                _ => {
                    self.heap.pop();
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_earliest_comes_first_after_every_move() {
        let mut deadlines = Deadlines::default();
        let (a, b) = (SessionId(1), SessionId(2));
        deadlines.set(a, Some(at(5)));
        deadlines.set(b, Some(at(7)));
        assert_eq!(deadlines.next(), Some(at(5)));
        deadlines.set(a, Some(at(9)));
        assert_eq!(deadlines.next(), Some(at(7)));
        deadlines.set(a, Some(at(3)));
        assert_eq!(deadlines.pop_due(at(2)), None);
        assert_eq!(deadlines.pop_due(at(8)), Some(a));
        assert_eq!(deadlines.pop_due(at(8)), Some(b));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn moving_to_later_does_not_grow_the_heap() {
        let mut deadlines = Deadlines::default();
        for millis in 0..10_000 {
            deadlines.set(SessionId(1), Some(at(100 + millis)));
        }
        assert_eq!(deadlines.heap.len(), 1);
        deadlines.remove(SessionId(1));
        assert_eq!(deadlines.next(), None);
        assert!(deadlines.heap.is_empty());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_list(moves in prop::collection::vec(
            (0_u64..4, prop::option::of(0_u64..20), any::<bool>()), 0..200
        )) {
            let mut deadlines = Deadlines::default();
            let mut list: HashMap<SessionId, Instant> = HashMap::new();
            for (session, deadline, removed) in moves {
                let session = SessionId(session);
                if removed {
                    deadlines.remove(session);
                    list.remove(&session);
                } else {
                    deadlines.set(session, deadline.map(at));
                    match deadline {
                        Some(deadline) => list.insert(session, at(deadline)),
                        None => list.remove(&session),
                    };
                }
                prop_assert_eq!(deadlines.next(), list.values().min().copied());
            }
            while let Some(session) = deadlines.pop_due(at(10)) {
                prop_assert!(list.remove(&session).is_some_and(|deadline| deadline <= at(10)));
            }
            prop_assert!(list.values().all(|deadline| *deadline > at(10)));
        }
    }
}
