//! The sending host: one session at a time, started again after a crash or a failure.

use super::desk::{Desk, Pending, op_id};
use super::{Outside, Reports, Rest, Route, Said, hand, poll_once};
use crate::content::Content;
use crate::queue::{Event, Nanos};
use crate::storage::{Latency, OpFailure, Source, cost_bytes};
use std::net::SocketAddr;
use std::rc::Rc;
use xfer_proto::config::SenderConfig;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::{FileIndex, SessionId};
use xfer_proto::machine::{Deadline, Event as Report, Input, Output, Received};
use xfer_proto::manifest::Entry;
use xfer_proto::rng::Rng;
use xfer_proto::session::{OutgoingSession, SenderStats};
use xfer_proto::storage::{Completion, StorageOp};
use xfer_proto::transmit::Ecn;

/// A source is read once, and again in part for repairs: so many times its size, and so many bytes
/// for small ones, are too much.
const MAX_READS: u64 = 128;
const MAX_READ_BYTES: u64 = 64 << 20;

/// What a sending host is to do.
#[derive(Clone, Debug)]
pub struct SenderSpec {
    /// When it starts.
    pub start: Nanos,
    /// Names, sizes, kinds.
    pub manifest: Vec<Entry>,
    /// The content of each file of the manifest.
    pub files: Rc<Vec<Content>>,
    /// Settings of the engine; the seed is replaced for every attempt.
    pub config: SenderConfig,
    /// Link to the receiver.
    pub forward: u32,
    /// Link behind that one: the receiver's socket, where its buffer and the host's speed count.
    pub ingress: Option<u32>,
    /// Link back.
    pub reverse: u32,
    /// Delay of this host's own access, each way.
    pub extra_delay: Nanos,
    /// Most datagrams in one batch.
    pub max_segments: usize,
    /// What the source costs.
    pub latency: Latency,
    /// Operations of the source that fail.
    pub failures: Vec<OpFailure>,
    /// How often the command is run, at most.
    pub max_attempts: u32,
    /// How long after a failed attempt the next starts.
    pub retry_after: Nanos,
    /// Upper bound of how late the host wakes.
    pub timer_slack: Nanos,
}

/// One run of the command.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its session.
    pub session: SessionId,
    /// When it started.
    pub started: Nanos,
    /// When it ended, if it did.
    pub ended: Option<Nanos>,
    /// Whether a crash ended it.
    pub crashed: bool,
    /// What the machine reported.
    pub reports: Reports,
    /// Its counters at the end.
    pub stats: SenderStats,
}

/// The host.
#[derive(Debug)]
pub struct SenderHost {
    node: u32,
    spec: SenderSpec,
    receiver: SocketAddr,
    address: SocketAddr,
    next_port: u16,
    machine: Option<OutgoingSession>,
    source: Source,
    desk: Desk,
    rest: Rest,
    deadline: Option<Nanos>,
    waits_for: Option<Deadline>,
    armed: Option<Nanos>,
    rng: Rng,
    is_finished: bool,
    /// Bytes read from the source in this attempt.
    read_bytes: u64,
    /// Whether it has to be polled.
    pub(crate) is_dirty: bool,
    /// Every run of the command, in order.
    pub(crate) attempts: Vec<Attempt>,
}

impl SenderHost {
    /// A host that has not started.
    pub fn new(node: u32, spec: SenderSpec, receiver: SocketAddr, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            node,
            source: Source::new(Rc::clone(&spec.files), spec.failures.clone()),
            desk: Desk::new(node, spec.latency, rng.next_u64()),
            spec,
            receiver,
            address: SocketAddr::from(([10, 0, 0, 1], 1)),
            next_port: 10_000,
            machine: None,
            rest: Rest::default(),
            deadline: None,
            waits_for: None,
            armed: None,
            rng,
            is_finished: false,
            read_bytes: 0,
            is_dirty: false,
            attempts: Vec::new(),
        }
    }

    /// What the host is to do.
    pub fn spec(&self) -> &SenderSpec {
        &self.spec
    }

    /// What its machine waits for.
    pub fn deadline(&self) -> Option<Deadline> {
        self.waits_for
    }

    /// True once nothing more will be tried.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Counters of the running session, or of the last one.
    pub fn stats(&self) -> SenderStats {
        let last = self.attempts.last().map(|attempt| attempt.stats);
        let running = self.machine.as_ref().map(OutgoingSession::stats);
        running.or(last).unwrap_or_default()
    }

    /// Whether the file of that position has its status.
    pub fn has_status(&self, position: u32) -> bool {
        let last = self.attempts.last();
        last.is_some_and(|it| it.reports.files.contains_key(&FileIndex(position)))
    }

    /// Most operations and most bytes that were with the storage at once.
    pub fn storage_peaks(&self) -> (usize, u64) {
        (self.desk.peak_ops, self.desk.peak_bytes)
    }

    /// Runs the command: a new session from a new port. Answers its id.
    pub fn start(&mut self, outside: &mut Outside<'_>) -> Option<SessionId> {
        if self.machine.is_some() || self.is_finished {
            return None;
        }
        self.take_address(outside);
        self.read_bytes = 0;
        let session = SessionId(self.rng.next_u64());
        let config = SenderConfig {
            seed: self.rng.next_u64(),
            ..self.spec.config.clone()
        };
        self.machine = Some(OutgoingSession::new(
            outside.instant(),
            config,
            self.receiver,
            session,
            self.rng.next_u64(),
            self.spec.manifest.clone(),
        ));
        self.attempts.push(Attempt {
            session,
            started: outside.now,
            ended: None,
            crashed: false,
            reports: Reports::default(),
            stats: SenderStats::default(),
        });
        outside.trace.note(outside.now, [1, session.0, 0], || {
            format!("sender {} starts session {session}", self.node)
        });
        self.is_dirty = true;
        Some(session)
    }

    /// The next port: what is sent to the one before is lost.
    fn take_address(&mut self, outside: &mut Outside<'_>) {
        let [high, low] = (self.node as u16).to_be_bytes();
        self.address = SocketAddr::from(([10, 0, high, low], self.next_port));
        self.next_port += 1;
        let route = Route {
            node: self.node,
            link: self.spec.reverse,
            extra_delay: self.spec.extra_delay,
            then: None,
        };
        outside.addresses.insert(self.address, route);
    }

    /// A router on the way gives the host another address, and does not say so.
    pub fn rebind(&mut self, outside: &mut Outside<'_>) {
        if self.machine.is_some() {
            self.take_address(outside);
        }
    }

    /// A packet has arrived.
    pub fn on_datagram(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        destination: SocketAddr,
        data: &[u8],
    ) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        if destination != self.address {
            return;
        }
        let ecn = Ecn::NotEct;
        hand(
            machine,
            now,
            Input::Datagram(Received { source, ecn, data }),
        );
        self.is_dirty = true;
    }

    /// The clock has reached a time that was asked for.
    pub fn on_timer(&mut self, outside: &mut Outside<'_>) {
        self.armed = None;
        match (self.deadline, &mut self.machine) {
            (Some(deadline), Some(machine)) if deadline <= outside.now => {
                self.deadline = None;
                hand(machine, outside.now, Input::Timeout);
                self.is_dirty = true;
            }
            (Some(deadline), Some(_)) => outside.wake(self.node, &mut self.armed, deadline),
            _ => {}
        }
    }

    /// A storage operation has ended.
    pub fn on_storage(&mut self, outside: &mut Outside<'_>, slot: u32, incarnation: u32) {
        if let Some(pending) = self.desk.take(slot, incarnation) {
            self.execute(outside, &pending.op);
        }
    }

    /// The process dies without a word.
    pub fn crash(&mut self, outside: &mut Outside<'_>) {
        if self.machine.is_none() {
            return;
        }
        outside.trace.note(outside.now, [2, 0, 0], || {
            format!("sender {} crashes", self.node)
        });
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.crashed = true;
        }
        self.end(outside);
    }

    /// Somebody asks the process to stop.
    pub fn abort(&mut self, outside: &mut Outside<'_>, reason: Failure) {
        if let Some(machine) = &mut self.machine {
            hand(machine, outside.now, Input::Abort(reason));
            self.is_dirty = true;
        }
    }

    /// Polls until the machine waits.
    pub fn poll(&mut self, outside: &mut Outside<'_>, buffer: &mut Vec<u8>) {
        self.is_dirty = false;
        while let Some(machine) = &mut self.machine {
            if !self.rest.on_poll(outside.now) {
                outside
                    .violations
                    .push(format!("sender {} polls without rest", self.node));
                return self.end(outside);
            }
            match poll_once(machine, buffer, self.spec.max_segments, outside.instant()) {
                Output::Transmit(batch) => {
                    let route = Route {
                        node: 0,
                        link: self.spec.forward,
                        extra_delay: self.spec.extra_delay,
                        then: self.spec.ingress,
                    };
                    outside.transmit(self.address, route, &batch, buffer);
                }
                Output::Storage(op) => self.submit(outside, op),
                Output::Event(report) => self.on_report(outside, report),
                Output::Wait(deadline) => {
                    if !self.rest.on_wait(outside.now, deadline) {
                        outside.violations.push(format!(
                            "sender {}: a deadline in the past again and again: {deadline:?}",
                            self.node
                        ));
                        return self.end(outside);
                    }
                    self.waits_for = deadline;
                    self.deadline = deadline.map(|deadline| deadline.at.as_nanos());
                    if let Some(at) = self.deadline {
                        let late = self.rng.below(self.spec.timer_slack + 1);
                        outside.wake(self.node, &mut self.armed, at + late);
                    }
                    return;
                }
                Output::Done => return self.end(outside),
            }
        }
    }

    fn submit(&mut self, outside: &mut Outside<'_>, op: StorageOp) {
        let session = self.session();
        let pending = Pending { session, op };
        if let Some(pending) = self.desk.submit(outside.now, pending, outside.queue) {
            self.execute(outside, &pending.op);
        }
    }

    fn execute(&mut self, outside: &mut Outside<'_>, op: &StorageOp) {
        self.read_bytes += cost_bytes(op);
        let size: u64 = self.spec.manifest.iter().map(|entry| entry.size).sum();
        if self.read_bytes > size.saturating_mul(MAX_READS).max(MAX_READ_BYTES) {
            let (node, bytes) = (self.node, self.read_bytes);
            outside.violations.push(format!(
                "sender {node} reads {bytes} bytes of a source of {size}"
            ));
        }
        let result = self.source.execute(op).unwrap_or_else(|breach| {
            outside
                .violations
                .push(format!("sender {}: {breach}", self.node));
            Err(Failure::new(ErrorCode::INTERNAL, breach))
        });
        if let (Some(op), Some(machine)) = (op_id(op), &mut self.machine) {
            let input = Input::Storage(Completion { op, result });
            hand(machine, outside.now, input);
            self.is_dirty = true;
        }
    }

    fn on_report(&mut self, outside: &mut Outside<'_>, report: Report) {
        let (node, session) = (self.node, self.session());
        outside.trace.note(outside.now, [3, session.0, 0], || {
            format!("sender {node}: {report:?}")
        });
        let Some(attempt) = self.attempts.last_mut() else {
            return;
        };
        match report {
            Report::Established => {}
            Report::Refused { file, .. } => outside
                .violations
                .push(format!("sender {node} refuses {file:?}, which it offered")),
            Report::Closed(result) => {
                if attempt.reports.closed.replace(result).is_some() {
                    outside
                        .violations
                        .push(format!("sender {node} closes twice"));
                }
            }
            Report::File {
                file,
                entry,
                status,
                ..
            } => {
                let old = attempt.reports.files.insert(file, status.clone());
                if old.is_some() {
                    let words = format!("sender {node}: {file:?} has two statuses");
                    outside.violations.push(words);
                }
                outside.said.push(Said {
                    by_sender: true,
                    session,
                    file,
                    entry,
                    status,
                });
            }
        }
    }

    fn session(&self) -> SessionId {
        self.attempts
            .last()
            .map_or(SessionId(0), |attempt| attempt.session)
    }

    /// The machine is gone: run the command again, or leave it at that.
    fn end(&mut self, outside: &mut Outside<'_>) {
        let stats = self.machine.take().map(|machine| machine.stats());
        self.desk.crash();
        self.deadline = None;
        let Some(attempt) = self.attempts.last_mut() else {
            return;
        };
        attempt.ended = Some(outside.now);
        attempt.stats = stats.unwrap_or_default();
        let all = self.spec.manifest.len();
        let worked = matches!(attempt.reports.closed, Some(Ok(())));
        if worked && attempt.reports.files.len() != all {
            outside.violations.push(format!(
                "sender {} closes in order with {} of {all} files reported",
                self.node,
                attempt.reports.files.len()
            ));
        }
        if !attempt.crashed && attempt.reports.closed.is_none() {
            outside
                .violations
                .push(format!("sender {} is done and never closed", self.node));
        }
        let is_last = self.attempts.len() as u32 >= self.spec.max_attempts;
        self.is_finished = worked || is_last;
        if !self.is_finished {
            let at = outside.now + self.spec.retry_after;
            outside.queue.push(at, Event::Start(self.node));
        }
    }
}
