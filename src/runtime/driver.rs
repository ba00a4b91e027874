//! What the blocking and the asynchronous loop have in common: the sessions of one socket.
//!
//! A loop tells the driver what came (datagrams, a wake-up) and asks [`Driver::step`] what to do:
//! send the batch in hand, or wait. The driver owns the sessions, their deadlines and their traffic
//! with the storage thread; it touches neither socket nor clock.

use super::deadlines::Deadlines;
use super::stop::Stop;
use super::storage_thread::StorageHandle;
use crate::net::Arrival;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::SessionId;
use xfer_proto::machine::{Event, Input, Machine, Output, Received};
use xfer_proto::router::Crowd;
use xfer_proto::storage::{Completion, StorageOp};
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Transmit, TransmitBuf};

/// Batches that go out in a row before the loop looks at the socket again: 512 KiB at most, a
/// fraction of a millisecond.
const BURST: u32 = 8;
/// Answers of the router that wait for the socket; more are dropped, as a full socket would.
const MAX_REPLIES: usize = 256;
/// After a stop, sessions have so long to tell their peers before the loop ends anyway.
pub(crate) const ABORT_GRACE: Duration = Duration::from_millis(1_200);

/// The sessions by their name on the wire. A tree, which is looked up for each datagram: for a few
/// sessions that is quicker than a hash which withstands names that were chosen to collide.
pub(crate) type Sessions<M> = BTreeMap<SessionId, Slot<M>>;

/// One session and what the driver knows about it.
pub(crate) struct Slot<M> {
    /// The machine.
    pub(crate) machine: Box<M>,
    /// Its peer, who may change its address.
    pub(crate) peer: SocketAddr,
    /// The peer's first address: what limits count by.
    opened_by: SocketAddr,
    /// The name that the storage thread knows it by.
    stored_as: SessionId,
    /// It is in the queue of those that have to be polled.
    is_dirty: bool,
}

impl<M> Slot<M> {
    /// Queues the session to be polled.
    fn mark(&mut self, id: SessionId, dirty: &mut VecDeque<SessionId>) {
        if !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push_back(id);
        }
    }
}

/// The part of a driver that differs between sending and receiving.
pub(crate) trait Front {
    /// What is driven.
    type Machine: Machine;

    /// Whether the machines want to know what the kernel dropped: the counter is read from a table
    /// of all sockets, which a thousand senders must not do for nothing.
    const COUNTS_DROPS: bool = false;

    /// Decides about one datagram. `peer_of` tells the peer of a session that exists.
    fn route(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        peer_of: &dyn Fn(SessionId) -> Option<SocketAddr>,
        out: &mut TransmitBuf<'_>,
    ) -> Routed<Self::Machine>;

    /// A session reports something.
    fn on_event(&mut self, now: Instant, peer: SocketAddr, event: Event);

    /// The address that a session answers to, where it may change.
    fn peer_of(_machine: &Self::Machine) -> Option<SocketAddr> {
        None
    }

    /// A session is over and gone, or was not let in. `peer` is the address that opened it.
    fn on_removed(
        &mut self,
        now: Instant,
        id: SessionId,
        peer: SocketAddr,
        machine: &Self::Machine,
    );

    /// The session that is ended to make room, if any may be.
    fn weakest(&self, _crowd: Crowd, _sessions: &Sessions<Self::Machine>) -> Option<SessionId> {
        None
    }

    /// The next datagrams to be routed came in one piece.
    fn on_arrival(&mut self, _arrival: &Arrival<'_>) {}

    /// Called before each wait.
    fn on_idle(&mut self, _now: Instant, _sessions: &Sessions<Self::Machine>) {}

    /// No wait lasts longer than until then.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Whether the kernel drops datagrams because it was asked to, or did so a moment ago: its
    /// counter tells nothing then.
    fn is_shedding(&self, _now: Instant) -> bool {
        false
    }

    /// Whether the loop ends with its last session.
    fn ends_with_sessions(&self) -> bool;
}

/// Where a datagram goes.
pub(crate) enum Routed<M> {
    /// To a session that may exist.
    Session(SessionId),
    /// To a new session with this peer.
    New(SessionId, SocketAddr, Box<M>),
    /// Nowhere, but this answer goes out.
    Reply(Transmit),
    /// Nowhere, for want of room among these; this answer goes out.
    Full(Transmit, Crowd),
    /// Nowhere.
    Drop,
}

/// What a loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send [`Driver::unsent`], then tell [`Driver::on_sent`].
    Transmit,
    /// Wait for the socket or a wake-up, at most until then; a time that has come means: do not
    /// sleep.
    Wait(Option<Instant>),
    /// Everything is over.
    Done,
}

/// When a driver ends before its sessions do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// Somebody wants the loop to stop: sessions are aborted.
    pub(crate) stop: Stop,
    /// The work is done: no new sessions, and those that exist may finish for [`Ends::linger`].
    pub(crate) finish: Stop,
    /// See [`Ends::finish`].
    pub(crate) linger: Duration,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Lingering(Instant),
    Aborting(Instant),
}

/// A batch that is not sent yet; `from` is the first byte that the socket has not taken.
struct Unsent {
    /// Whose it is, unless the router's.
    session: Option<SessionId>,
    transmit: Transmit,
    from: usize,
}

/// The sessions of one socket.
pub(crate) struct Driver<F: Front> {
    front: F,
    sessions: Sessions<F::Machine>,
    by_stored: HashMap<SessionId, SessionId>,
    dirty: VecDeque<SessionId>,
    deadlines: Deadlines,
    buffer: Vec<u8>,
    unsent: Option<Unsent>,
    burst: u32,
    replies: VecDeque<(Transmit, Vec<u8>)>,
    reply: Vec<u8>,
    storage: StorageHandle,
    operations: Vec<(SessionId, StorageOp)>,
    completions: Vec<(SessionId, Completion)>,
    ends: Ends,
    ending: Ending,
}

impl<F: Front> Driver<F> {
    /// A driver without sessions.
    pub(crate) fn new(front: F, storage: StorageHandle, ends: Ends) -> Self {
        Self {
            front,
            sessions: BTreeMap::new(),
            by_stored: HashMap::new(),
            dirty: VecDeque::new(),
            deadlines: Deadlines::default(),
            buffer: Vec::new(),
            unsent: None,
            burst: 0,
            replies: VecDeque::new(),
            reply: Vec::new(),
            storage,
            operations: Vec::new(),
            completions: Vec::new(),
            ends,
            ending: Ending::No,
        }
    }

    /// Takes over a session.
    pub(crate) fn add(&mut self, id: SessionId, peer: SocketAddr, machine: Box<F::Machine>) {
        let stored_as = self.storage.name_session();
        self.by_stored.insert(stored_as, id);
        let mut slot = Slot {
            machine,
            peer,
            opened_by: peer,
            stored_as,
            is_dirty: false,
        };
        slot.mark(id, &mut self.dirty);
        self.sessions.insert(id, slot);
    }

    /// Ends the sessions that are left, and gives back the part that differs between sending and
    /// receiving.
    pub(crate) fn finish(mut self, now: Instant) -> F {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.remove(now, id);
        }
        self.front
    }

    /// Takes the datagrams that came in one piece.
    pub(crate) fn handle_arrival(&mut self, now: Instant, arrival: &Arrival<'_>) {
        self.front.on_arrival(arrival);
        for received in arrival.datagrams() {
            self.handle_datagram(now, received);
        }
    }

    fn handle_datagram(&mut self, now: Instant, received: Received<'_>) {
        let sessions = &self.sessions;
        let peer_of = |id: SessionId| sessions.get(&id).map(|slot| slot.peer);
        let mut out = TransmitBuf::new(&mut self.reply, 1);
        match self.front.route(now, &received, &peer_of, &mut out) {
            Routed::Session(id) => self.input(now, id, Input::Datagram(received)),
            Routed::New(id, peer, machine) if self.ending != Ending::No => {
                self.front.on_removed(now, id, peer, &machine);
            }
            Routed::New(id, peer, machine) => {
                self.add(id, peer, machine);
                self.input(now, id, Input::Datagram(received));
            }
            Routed::Reply(transmit) => self.queue_reply(transmit),
            Routed::Full(transmit, crowd) => {
                self.queue_reply(transmit);
                if let Some(id) = self.front.weakest(crowd, &self.sessions) {
                    let text = "it got nowhere while others waited";
                    let failure = Failure::new(ErrorCode::BUSY, text);
                    self.input(now, id, Input::Abort(failure));
                }
            }
            Routed::Drop => {}
        }
    }

    fn queue_reply(&mut self, transmit: Transmit) {
        if self.replies.len() < MAX_REPLIES {
            let bytes = std::mem::take(&mut self.reply);
            self.replies.push_back((transmit, bytes));
        }
    }

    /// Tells all sessions that the kernel dropped `count` datagrams at their socket.
    pub(crate) fn on_kernel_drops(&mut self, now: Instant, count: u64) {
        if !self.front.is_shedding(now) {
            self.input_all(now, || Input::KernelDrops(count));
        }
    }

    /// What to do next. `max_segments` is what the socket takes in one batch.
    pub(crate) fn step(&mut self, now: Instant, max_segments: usize) -> Step {
        self.handle_ends(now);
        self.handle_completions(now);
        while let Some(id) = self.deadlines.pop_due(now) {
            self.input(now, id, Input::Timeout);
        }
        let step = self.next_step(now, max_segments);
        self.storage.submit(&mut self.operations);
        let Step::Wait(until) = step else {
            return step;
        };
        self.burst = 0;
        self.front.on_idle(now, &self.sessions);
        Step::Wait(earliest(until, self.front.due()))
    }

    /// The batch to send, and those of its bytes that are not sent yet.
    pub(crate) fn unsent(&self) -> Option<(&Transmit, &[u8])> {
        let unsent = self.unsent.as_ref()?;
        let bytes = self.buffer.get(unsent.from..unsent.transmit.len)?;
        Some((&unsent.transmit, bytes))
    }

    /// The system refused a datagram of the batch in hand for its size.
    pub(crate) fn on_too_large(&mut self, now: Instant) {
        if let Some(id) = self.unsent.as_ref().and_then(|unsent| unsent.session) {
            self.input(now, id, Input::TooLarge);
        }
    }

    /// The batch is with the kernel.
    pub(crate) fn on_sent(&mut self) {
        self.unsent = None;
        self.burst += 1;
    }

    /// The socket is full after `sent` bytes of the batch. The rest stays in hand; [`Driver::step`]
    /// offers it again. Wait at most until the time that this returns for the socket to be
    /// writable.
    pub(crate) fn on_blocked(&mut self, sent: usize) -> Option<Instant> {
        if let Some(unsent) = &mut self.unsent {
            unsent.from += sent;
        }
        self.burst = 0;
        self.deadline()
    }

    fn next_step(&mut self, now: Instant, max_segments: usize) -> Step {
        if let Ending::Aborting(until) = self.ending
            && until <= now
        {
            return Step::Done;
        }
        if self.unsent.is_some() {
            return Step::Transmit;
        }
        if self.burst >= BURST {
            return Step::Wait(Some(now));
        }
        if let Some((transmit, bytes)) = self.replies.pop_front() {
            self.reply = std::mem::replace(&mut self.buffer, bytes);
            self.unsent = Some(Unsent {
                session: None,
                transmit,
                from: 0,
            });
            return Step::Transmit;
        }
        while let Some(id) = self.dirty.pop_front() {
            self.poll_session(now, id, max_segments);
            if self.unsent.is_some() {
                return Step::Transmit;
            }
        }
        let is_ending = self.ending != Ending::No || self.front.ends_with_sessions();
        if is_ending && self.sessions.is_empty() {
            return Step::Done;
        }
        Step::Wait(self.deadline())
    }

    /// Polls one session until it waits, is over, or has a batch to send.
    fn poll_session(&mut self, now: Instant, id: SessionId, max_segments: usize) {
        let Some(slot) = self.sessions.get_mut(&id) else {
            return;
        };
        loop {
            let mut out = TransmitBuf::new(&mut self.buffer, max_segments);
            match slot.machine.poll(now, &mut out) {
                Output::Transmit(transmit) => {
                    self.unsent = Some(Unsent {
                        session: Some(id),
                        transmit,
                        from: 0,
                    });
                    // Behind the others, so that no session keeps them from sending.
                    self.dirty.push_back(id);
                    return;
                }
                Output::Storage(operation) => self.operations.push((slot.stored_as, operation)),
                Output::Event(event) => self.front.on_event(now, slot.peer, event),
                Output::Wait(deadline) => {
                    slot.is_dirty = false;
                    self.deadlines.set(id, deadline.map(|deadline| deadline.at));
                    return;
                }
                Output::Done => return self.remove(now, id),
            }
        }
    }

    fn remove(&mut self, now: Instant, id: SessionId) {
        if let Some(slot) = self.sessions.remove(&id) {
            self.deadlines.remove(id);
            self.by_stored.remove(&slot.stored_as);
            self.storage.submit(&mut self.operations);
            self.storage.forget(slot.stored_as);
            self.front
                .on_removed(now, id, slot.opened_by, &slot.machine);
        }
    }

    fn handle_completions(&mut self, now: Instant) {
        let mut completions = std::mem::take(&mut self.completions);
        self.storage.take_completions(&mut completions);
        for (stored_as, completion) in completions.drain(..) {
            if let Some(&id) = self.by_stored.get(&stored_as) {
                self.input(now, id, Input::Storage(completion));
            }
        }
        self.completions = completions;
    }

    fn handle_ends(&mut self, now: Instant) {
        let is_late = matches!(self.ending, Ending::Lingering(until) if until <= now);
        match self.ending {
            Ending::Aborting(_) => {}
            _ if is_late || self.ends.stop.is_stopped() => {
                self.ending = Ending::Aborting(now + ABORT_GRACE);
                let failure = || Failure::from(ErrorCode::INTERRUPTED);
                self.input_all(now, || Input::Abort(failure()));
            }
            Ending::No if self.ends.finish.is_stopped() => {
                self.ending = Ending::Lingering(now + self.ends.linger);
            }
            _ => {}
        }
    }

    fn input(&mut self, now: Instant, id: SessionId, input: Input<'_>) {
        if let Some(slot) = self.sessions.get_mut(&id) {
            slot.machine.handle(now, input);
            slot.peer = F::peer_of(&slot.machine).unwrap_or(slot.peer);
            slot.mark(id, &mut self.dirty);
        }
    }

    fn input_all<'i>(&mut self, now: Instant, input: impl Fn() -> Input<'i>) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.input(now, id, input());
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        let end = match self.ending {
            Ending::No => None,
            Ending::Lingering(until) | Ending::Aborting(until) => Some(until),
        };
        earliest(self.deadlines.next(), end)
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
