//! The receiving host: a router, its sessions, one disk.

use super::desk::{Desk, Pending, op_id};
use super::report::{ReceiverReport, ReceiverSpec, SessionReport};
use super::{Outside, Reports, Rest, Said, describe_op, hand, poll_once};
use crate::queue::Nanos;
use crate::storage::Disk;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::SessionId;
use xfer_proto::machine::{Deadline, Event as Report, Input, Output, Received};
use xfer_proto::memory::MemoryPool;
use xfer_proto::rng::Rng;
use xfer_proto::router::{Route, Router, RouterConfig, weakest};
use xfer_proto::session::{IncomingSession, ReceiverStats};
use xfer_proto::storage::{Completion, StorageOp};
use xfer_proto::transmit::{Ecn, Transmit, TransmitBuf};

#[derive(Debug)]
struct Slot {
    machine: Box<IncomingSession>,
    deadline: Option<Nanos>,
    waits_for: Option<Deadline>,
    is_dirty: bool,
    rest: Rest,
    reports: Reports,
}

/// The host.
#[derive(Debug)]
pub struct ReceiverHost {
    address: SocketAddr,
    spec: ReceiverSpec,
    router: Option<Router>,
    sessions: BTreeMap<SessionId, Slot>,
    deadlines: BTreeSet<(Nanos, SessionId)>,
    dirty: Vec<SessionId>,
    /// Sessions that are over but for storage operations under way.
    closing: BTreeSet<SessionId>,
    desk: Desk,
    armed: Option<Nanos>,
    rng: Rng,
    /// Bytes from and to addresses that have proven nothing.
    unproven: BTreeMap<SocketAddr, (u64, u64)>,
    kernel_drops: u64,
    report: ReceiverReport,
    /// What it writes to. It outlives crashes.
    pub disk: Disk,
}

impl ReceiverHost {
    /// A host that has not started.
    pub fn new(address: SocketAddr, spec: ReceiverSpec, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            address,
            disk: Disk::new(spec.disk.clone()),
            desk: Desk::new(0, spec.latency, rng.next_u64()),
            spec,
            router: None,
            sessions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            closing: BTreeSet::new(),
            armed: None,
            rng,
            unproven: BTreeMap::new(),
            kernel_drops: 0,
            report: ReceiverReport::default(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that each session may hold until storage has taken them.
    pub fn write_buffer(&self) -> usize {
        self.spec.config.write_buffer
    }

    /// What all sessions hold together.
    pub fn memory(&self) -> &MemoryPool {
        &self.spec.config.memory
    }

    /// Live sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// What every live session waits for.
    pub fn deadlines(&self) -> impl Iterator<Item = (SessionId, Option<Deadline>)> + '_ {
        self.sessions.iter().map(|(&id, slot)| (id, slot.waits_for))
    }

    /// True while no session is alive.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.closing.is_empty()
    }

    /// True where a session waits to be polled.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The counters of all live sessions together with those of the ended ones.
    pub fn stats(&self) -> ReceiverStats {
        let ended = self.report.sessions.iter().map(|session| session.stats);
        let live = self.sessions.values().map(|slot| slot.machine.stats());
        ended
            .chain(live)
            .fold(ReceiverStats::default(), |sum, stats| sum.plus(&stats))
    }

    /// What it did so far.
    pub fn report(&self) -> ReceiverReport {
        ReceiverReport {
            peak_ops: self.desk.peak_ops,
            peak_bytes: self.desk.peak_bytes,
            ..self.report.clone()
        }
    }

    /// The process starts, with a secret of its own.
    pub fn start(&mut self) {
        if self.router.is_some() {
            return;
        }
        let mut secret = [0; 32];
        for word in secret.as_chunks_mut::<8>().0 {
            *word = self.rng.next_u64().to_le_bytes();
        }
        let mut config = RouterConfig::new(secret);
        config.session = self.spec.config.clone();
        self.router = Some(Router::new(config));
    }

    /// The machine loses power: every session and what was not durable is gone.
    pub fn crash(&mut self, outside: &mut Outside<'_>) {
        let line = || "receiver crashes".to_owned();
        outside.trace.note(outside.now, [4, 0, 0], line);
        self.router = None;
        self.sessions.clear();
        self.deadlines.clear();
        self.dirty.clear();
        self.closing.clear();
        self.desk.crash();
        self.disk.crash(&mut self.rng);
        self.unproven.clear();
    }

    /// Somebody asks the process to stop: every session is told.
    pub fn abort(&mut self, outside: &mut Outside<'_>, reason: &Failure) {
        for (&id, slot) in &mut self.sessions {
            hand(
                &mut *slot.machine,
                outside.now,
                Input::Abort(reason.clone()),
            );
            mark(&mut self.dirty, id, slot);
        }
    }

    /// A packet has arrived.
    pub fn on_datagram(
        &mut self,
        outside: &mut Outside<'_>,
        source: SocketAddr,
        data: &[u8],
        buffer: &mut Vec<u8>,
    ) {
        let Some(router) = &mut self.router else {
            return;
        };
        let ecn = Ecn::NotEct;
        let received = Received { source, ecn, data };
        let sessions = &self.sessions;
        let peer_of = |id: SessionId| sessions.get(&id).map(|slot| slot.machine.peer());
        let mut out = TransmitBuf::new(buffer, 1);
        let now = outside.instant();
        match router.route(now, &received, peer_of, &mut out) {
            Route::Session(id) => match self.sessions.get_mut(&id) {
                Some(slot) => {
                    hand(&mut *slot.machine, outside.now, Input::Datagram(received));
                    let ingress = self.spec.ingress;
                    let drops = ingress.map_or(0, |link| outside.network.stats(link).dropped_queue);
                    let new = drops - std::mem::replace(&mut self.kernel_drops, drops);
                    if new > 0 {
                        hand(&mut *slot.machine, outside.now, Input::KernelDrops(new));
                    }
                    mark(&mut self.dirty, id, slot);
                }
                None => outside
                    .violations
                    .push(format!("the router names session {id}, which is not there")),
            },
            Route::Incoming(machine) => self.on_incoming(outside, machine, received),
            Route::Reply(reply) => self.reply(outside, source, data.len(), &reply, buffer),
            Route::Full(reply, crowd) => {
                self.reply(outside, source, data.len(), &reply, buffer);
                let sessions = self.sessions.values().map(|slot| &*slot.machine);
                let victim = weakest(crowd, sessions);
                if let Some((id, slot)) =
                    victim.and_then(|id| Some((id, self.sessions.get_mut(&id)?)))
                {
                    let reason = Input::Abort(ErrorCode::BUSY.into());
                    hand(&mut *slot.machine, outside.now, reason);
                    mark(&mut self.dirty, id, slot);
                }
            }
            Route::Drop(_) => {
                self.report.dropped += 1;
                self.unproven.entry(source).or_default().0 += data.len() as u64;
            }
        }
    }

    fn on_incoming(
        &mut self,
        outside: &mut Outside<'_>,
        machine: Box<IncomingSession>,
        received: Received<'_>,
    ) {
        let id = machine.id();
        let mut slot = Slot {
            machine,
            deadline: None,
            waits_for: None,
            is_dirty: false,
            rest: Rest::default(),
            reports: Reports::default(),
        };
        outside.trace.note(outside.now, [5, id.0, 0], || {
            format!("receiver opens session {id} of {}", received.source)
        });
        hand(&mut *slot.machine, outside.now, Input::Datagram(received));
        mark(&mut self.dirty, id, &mut slot);
        if self.sessions.insert(id, slot).is_some() {
            let words = format!("session {id} was opened twice");
            outside.violations.push(words);
        }
    }

    fn reply(
        &mut self,
        outside: &mut Outside<'_>,
        source: SocketAddr,
        request: usize,
        reply: &Transmit,
        buffer: &[u8],
    ) {
        self.report.stateless_replies += 1;
        let (seen, said) = self.unproven.entry(source).or_default();
        *seen += request as u64;
        *said += reply.len as u64;
        if reply.len > request || *said > *seen || reply.destination != source {
            outside.violations.push(format!(
                "{} bytes to {} in reply to {request} bytes from {source}",
                reply.len, reply.destination
            ));
        }
        // A stranger's address leads nowhere; what it would get was judged above.
        if outside.addresses.contains_key(&reply.destination) {
            self.transmit(outside, reply, buffer);
        }
    }

    fn transmit(&self, outside: &mut Outside<'_>, batch: &Transmit, buffer: &[u8]) {
        match outside.addresses.get(&batch.destination).copied() {
            Some(route) => outside.transmit(self.address, route, batch, buffer),
            None => outside.violations.push(format!(
                "a datagram to {}, who never wrote",
                batch.destination
            )),
        }
    }

    /// The clock has reached a time that was asked for.
    pub fn on_timer(&mut self, outside: &mut Outside<'_>) {
        self.armed = None;
        while let Some(&(at, id)) = self
            .deadlines
            .first()
            .filter(|first| first.0 <= outside.now)
        {
            self.deadlines.remove(&(at, id));
            if let Some(slot) = self.sessions.get_mut(&id) {
                slot.deadline = None;
                hand(&mut *slot.machine, outside.now, Input::Timeout);
                mark(&mut self.dirty, id, slot);
            }
        }
        if let Some(&(at, _)) = self.deadlines.first() {
            outside.wake(0, &mut self.armed, at);
        }
    }

    /// A storage operation has ended.
    pub fn on_storage(&mut self, outside: &mut Outside<'_>, slot: u32, incarnation: u32) {
        let Some(pending) = self.desk.take(slot, incarnation) else {
            return;
        };
        self.execute(outside, &pending);
        if self.closing.remove(&pending.session) {
            self.settle(outside, pending.session);
        }
    }

    /// Closes the files of a session that is over, once storage is done with them.
    fn settle(&mut self, outside: &mut Outside<'_>, id: SessionId) {
        if self.desk.is_busy(id) {
            self.closing.insert(id);
            return;
        }
        self.disk.on_session_done(id);
        for breach in self.disk.take_violations() {
            let words = format!("receiver session {id}: {breach}");
            outside.violations.push(words);
        }
    }

    /// Polls every session that has something to do until it waits.
    pub fn poll(&mut self, outside: &mut Outside<'_>, buffer: &mut Vec<u8>) {
        for id in std::mem::take(&mut self.dirty) {
            self.poll_session(outside, id, buffer);
        }
    }

    fn poll_session(&mut self, outside: &mut Outside<'_>, id: SessionId, buffer: &mut Vec<u8>) {
        if let Some(slot) = self.sessions.get_mut(&id) {
            slot.is_dirty = false;
        }
        while let Some(slot) = self.sessions.get_mut(&id) {
            if !slot.rest.on_poll(outside.now) {
                outside
                    .violations
                    .push(format!("receiver session {id} polls without rest"));
                return self.end(outside, id);
            }
            match poll_once(&mut *slot.machine, buffer, 1, outside.instant()) {
                Output::Transmit(batch) => self.transmit(outside, &batch, buffer),
                Output::Storage(op) => self.submit(outside, id, op),
                Output::Event(report) => {
                    let is_trusted = !self.disk.is_distrusted(id);
                    on_report(outside, id, slot, report, is_trusted);
                }
                Output::Wait(deadline) => {
                    if !slot.rest.on_wait(outside.now, deadline) {
                        outside.violations.push(format!(
                            "receiver session {id}: a deadline in the past: {deadline:?}"
                        ));
                        return self.end(outside, id);
                    }
                    slot.waits_for = deadline;
                    let at = deadline.map(|deadline| deadline.at.as_nanos());
                    return self.wait(outside, id, at);
                }
                Output::Done => return self.end(outside, id),
            }
        }
    }

    fn wait(&mut self, outside: &mut Outside<'_>, id: SessionId, at: Option<Nanos>) {
        let Some(slot) = self.sessions.get_mut(&id) else {
            return;
        };
        if slot.deadline == at {
            return;
        }
        if let Some(old) = slot.deadline {
            self.deadlines.remove(&(old, id));
        }
        slot.deadline = at;
        if let Some(at) = at {
            self.deadlines.insert((at, id));
            let late = self.rng.below(self.spec.timer_slack + 1);
            outside.wake(0, &mut self.armed, at + late);
        }
    }

    fn submit(&mut self, outside: &mut Outside<'_>, session: SessionId, op: StorageOp) {
        let pending = Pending { session, op };
        if let Some(pending) = self.desk.submit(outside.now, pending, outside.queue) {
            self.execute(outside, &pending);
        }
    }

    fn execute(&mut self, outside: &mut Outside<'_>, pending: &Pending) {
        let id = pending.session;
        let result = self.disk.execute(id, &pending.op);
        outside.trace.note(outside.now, [7, id.0, 0], || {
            let op = &pending.op;
            format!(
                "receiver session {id} storage: {} -> {result:?}",
                describe_op(op)
            )
        });
        for breach in self.disk.take_violations() {
            outside
                .violations
                .push(format!("receiver session {id}: {breach}"));
        }
        let (Some(op), Some(result)) = (op_id(&pending.op), result) else {
            return;
        };
        if let Some(slot) = self.sessions.get_mut(&id) {
            let input = Input::Storage(Completion { op, result });
            hand(&mut *slot.machine, outside.now, input);
            mark(&mut self.dirty, id, slot);
        }
    }

    fn end(&mut self, outside: &mut Outside<'_>, id: SessionId) {
        let Some(slot) = self.sessions.remove(&id) else {
            return;
        };
        if let Some(at) = slot.deadline {
            self.deadlines.remove(&(at, id));
        }
        if slot.reports.closed.is_none() {
            outside
                .violations
                .push(format!("receiver session {id} is done and never closed"));
        }
        if let Some(router) = &mut self.router {
            router.on_closed(outside.instant(), &slot.machine);
        }
        self.settle(outside, id);
        self.report.sessions.push(SessionReport {
            session: id,
            ended: outside.now,
            reports: slot.reports,
            stats: slot.machine.stats(),
        });
    }
}

/// Has a session polled before time goes on.
fn mark(dirty: &mut Vec<SessionId>, id: SessionId, slot: &mut Slot) {
    if !slot.is_dirty {
        slot.is_dirty = true;
        dirty.push(id);
    }
}

fn on_report(
    outside: &mut Outside<'_>,
    id: SessionId,
    slot: &mut Slot,
    report: Report,
    is_trusted: bool,
) {
    outside.trace.note(outside.now, [6, id.0, 0], || {
        format!("receiver session {id}: {report:?}")
    });
    match report {
        Report::Established => {}
        Report::Refused { .. } if !is_trusted => {}
        Report::Refused { file, failure, .. } => outside.violations.push(format!(
            "session {id} refused the name of {file:?}: {failure}"
        )),
        Report::Closed(result) => {
            if slot.reports.closed.replace(result).is_some() {
                outside
                    .violations
                    .push(format!("session {id} closes twice"));
            }
        }
        Report::File {
            file,
            entry,
            status,
            ..
        } => {
            if slot.reports.files.insert(file, status.clone()).is_some() {
                outside
                    .violations
                    .push(format!("receiver session {id}: {file:?} has two statuses"));
            }
            outside.said.push(Said {
                by_sender: false,
                session: id,
                file,
                entry,
                status,
            });
        }
    }
}
