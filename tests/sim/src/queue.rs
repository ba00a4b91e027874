//! The event queue: a binary heap ordered by virtual time, then by the order in which events were
//! made.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Virtual time, in nanoseconds since the start of the run.
pub type Nanos = u64;

/// One millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// What happens at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The packet at the head of a link's queue has been put on the wire.
    Departure(u32),
    /// The packet at the head of a link's pipe comes out at the far end.
    Arrival(u32),
    /// A packet that overtakes others comes out of a link: link, packet.
    Stray(u32, u32),
    /// The rate of a link changes as scheduled.
    LinkChange(u32),
    /// A node asked to be woken.
    Timer(u32),
    /// A storage operation of a node ends: node, slot, incarnation of the node.
    Storage(u32, u32, u32),
    /// A scheduled fault, by its position in the scenario.
    Fault(u32),
    /// A node begins, or begins again.
    Start(u32),
    /// A flow of cross traffic may send.
    CrossSend(u32),
    /// A flow of cross traffic hears of one packet: flow, packet number.
    CrossAck(u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scheduled {
    at: Nanos,
    order: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        // Reversed: `BinaryHeap` hands out its greatest, and the earliest comes first here.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Events to come.
#[derive(Debug, Default)]
pub struct EventQueue {
    heap: BinaryHeap<Scheduled>,
    made: u64,
}

impl EventQueue {
    /// Makes `event` happen at `at`.
    pub fn push(&mut self, at: Nanos, event: Event) {
        self.made += 1;
        self.heap.push(Scheduled {
            at,
            order: self.made,
            event,
        });
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(Nanos, Event)> {
        self.heap.pop().map(|next| (next.at, next.event))
    }

    /// The time of the next event.
    pub fn next_at(&self) -> Option<Nanos> {
        self.heap.peek().map(|next| next.at)
    }

    /// How many events were made so far.
    pub fn made(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_made() {
        let mut queue = EventQueue::default();
        queue.push(5, Event::Timer(0));
        queue.push(3, Event::Timer(1));
        queue.push(5, Event::Timer(2));
        queue.push(3, Event::Timer(3));
        let order: Vec<(Nanos, Event)> = std::iter::from_fn(|| queue.pop()).collect();
        let expected = [(3, 1), (3, 3), (5, 0), (5, 2)];
        assert_eq!(order, expected.map(|(at, node)| (at, Event::Timer(node))));
    }
}
