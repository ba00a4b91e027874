//! The event loop: hosts, links, storage and faults under one virtual clock.

use crate::cross::{Cross, CrossSpec};
use crate::host::{Attempt, Outside, ReceiverHost, ReceiverReport, ReceiverSpec, Route};
use crate::host::{Said, SenderHost, SenderSpec};
use crate::network::{LinkConfig, LinkStats, Network};
use crate::oracle;
use crate::queue::{Event, EventQueue, Nanos};
use crate::storage::Disk;
use crate::stranger::Stranger;
use crate::trace::Trace;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::rng::Rng;

/// A fault at a time or at a number of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub when: When,
    /// To whom: 0 is the receiver, the senders follow.
    pub node: u32,
    /// What.
    pub kind: FaultKind,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At a virtual time.
    At(Nanos),
    /// After so many events of the run.
    Event(u64),
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It loses power; it is started again so much later.
    Crash {
        /// How long it is down.
        restart_after: Nanos,
    },
    /// It is asked to stop.
    Abort,
    /// A router on the way forgets a sender's address and gives it another.
    Rebind,
}

/// A run to come.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Everything random comes from here.
    pub seed: u64,
    /// The links; hosts name them by position.
    pub links: Vec<LinkConfig>,
    /// The receiving host, node 0.
    pub receiver: ReceiverSpec,
    /// The sending hosts, nodes 1 and up.
    pub senders: Vec<SenderSpec>,
    /// Competing traffic.
    pub cross: Vec<CrossSpec>,
    /// What strikes the hosts.
    pub faults: Vec<Fault>,
    /// Datagrams that a stranger sends for each million of packets that arrive.
    pub stranger_ppm: u32,
    /// By when everything must be over.
    pub deadline: Nanos,
    /// Whether a host is polled after every single event instead of once an instant.
    pub polls_eagerly: bool,
    /// Whether every file of every sender must be there at the end.
    pub must_succeed: bool,
    /// A line for every step.
    pub keeps_lines: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Virtual time at the end.
    pub finished_at: Nanos,
    /// For each sender, every run of its command.
    pub senders: Vec<Vec<Attempt>>,
    /// What the receiver did.
    pub receiver: ReceiverReport,
    /// Chunks that came more than once, summed over sessions.
    pub duplicate_chunks: u64,
    /// What the links saw.
    pub links: Vec<LinkStats>,
    /// Everything that must not happen but did.
    pub violations: Vec<String>,
    /// Tells this run from any other.
    pub trace_hash: u64,
    /// Events in all.
    pub events: u64,
    /// A line a step, where wanted.
    pub lines: Vec<String>,
}

/// A run.
#[derive(Debug)]
pub struct World {
    now: Nanos,
    queue: EventQueue,
    network: Network,
    trace: Trace,
    addresses: BTreeMap<SocketAddr, Route>,
    violations: Vec<String>,
    said: Vec<Said>,
    receiver: ReceiverHost,
    senders: Vec<SenderHost>,
    cross: Vec<Cross>,
    faults: Vec<Fault>,
    by_event: Vec<(u64, u32)>,
    stranger: Stranger,
    down: u32,
    deadline: Nanos,
    polls_eagerly: bool,
    must_succeed: bool,
    buffer: Vec<u8>,
    events: u64,
}

/// Where the receiver listens.
fn receiver_address() -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 1], 7_400))
}

impl World {
    /// Sets a run up.
    pub fn new(scenario: Scenario) -> Self {
        let mut rng = Rng::new(scenario.seed);
        let mut queue = EventQueue::default();
        let network = Network::new(scenario.links, rng.next_u64(), &mut queue);
        let address = receiver_address();
        let mut receiver = ReceiverHost::new(address, scenario.receiver, rng.next_u64());
        receiver.start();
        let senders: Vec<SenderHost> = (1..)
            .zip(scenario.senders)
            .map(|(node, spec)| {
                queue.push(spec.start, Event::Start(node));
                SenderHost::new(node, spec, address, rng.next_u64())
            })
            .collect();
        let cross: Vec<Cross> = (0..)
            .zip(scenario.cross)
            .map(|(id, spec)| {
                queue.push(spec.start, Event::CrossSend(id));
                Cross::new(id, spec)
            })
            .collect();
        let mut by_event = Vec::new();
        for (id, fault) in (0..).zip(&scenario.faults) {
            match fault.when {
                When::At(at) => queue.push(at, Event::Fault(id)),
                When::Event(count) => by_event.push((count, id)),
            }
        }
        by_event.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            now: 0,
            queue,
            network,
            trace: match scenario.keeps_lines {
                true => Trace::with_lines(),
                false => Trace::default(),
            },
            addresses: BTreeMap::new(),
            violations: Vec::new(),
            said: Vec::new(),
            receiver,
            senders,
            cross,
            faults: scenario.faults,
            by_event,
            stranger: Stranger::new(scenario.stranger_ppm, rng.next_u64()),
            down: 0,
            deadline: scenario.deadline,
            polls_eagerly: scenario.polls_eagerly,
            must_succeed: scenario.must_succeed,
            buffer: Vec::with_capacity(65_536),
            events: 0,
        }
    }

    /// The receiver's disk, to put files there before the run.
    pub fn disk_mut(&mut self) -> &mut Disk {
        &mut self.receiver.disk
    }

    /// The network, to set its hooks and read its counters.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// A sender, by position.
    pub fn sender(&self, at: usize) -> Option<&SenderHost> {
        self.senders.get(at)
    }

    /// The receiver.
    pub fn receiver(&self) -> &ReceiverHost {
        &self.receiver
    }

    /// A flow of cross traffic, by position.
    pub fn cross(&self, at: usize) -> Option<&Cross> {
        self.cross.get(at)
    }

    /// What must not happen but did.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Virtual time.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// True once every end is over. A world of cross traffic alone never is.
    pub fn is_over(&self) -> bool {
        !self.senders.is_empty()
            && self.down == 0
            && self.receiver.is_idle()
            && self.senders.iter().all(SenderHost::is_finished)
    }

    /// Runs to the end and judges.
    pub fn run(mut self) -> Outcome {
        self.run_until(self.deadline);
        if !self.is_over() {
            self.violations
                .push(oracle::unfinished(self.now, &self.senders, &self.receiver));
        } else if self.must_succeed {
            oracle::check_success(&self.senders, &self.receiver.disk, &mut self.violations);
        }
        oracle::check_storage_peaks(&self.senders, &self.receiver, &mut self.violations);
        Outcome {
            finished_at: self.now,
            receiver: self.receiver.report(),
            duplicate_chunks: self.receiver.stats().duplicate_chunks,
            links: (0..self.network.link_count())
                .map(|link| self.network.stats(link).clone())
                .collect(),
            senders: self
                .senders
                .into_iter()
                .map(|sender| sender.attempts)
                .collect(),
            violations: self.violations,
            trace_hash: self.trace.hash(),
            events: self.events,
            lines: self.trace.into_lines(),
        }
    }

    /// Runs until `until`, or until everything is over or a violation was found.
    pub fn run_until(&mut self, until: Nanos) {
        while !self.is_over() && self.violations.is_empty() {
            match self.queue.next_at() {
                Some(at) if at <= until => {}
                _ => {
                    self.now = until;
                    return;
                }
            }
            let Some((at, event)) = self.queue.pop() else {
                return;
            };
            self.now = at;
            self.events += 1;
            self.handle(event);
            while self
                .by_event
                .last()
                .is_some_and(|next| next.0 <= self.events)
            {
                if let Some((_, fault)) = self.by_event.pop() {
                    self.on_fault(fault);
                }
            }
            if self.polls_eagerly || self.queue.next_at() != Some(self.now) {
                self.settle();
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Departure(link) => self.network.on_departure(now, link, &mut self.queue),
            Event::LinkChange(link) => self.network.on_link_change(now, link, &mut self.queue),
            Event::Arrival(link) => {
                if let Some(packet) = self.network.on_arrival(now, link, &mut self.queue) {
                    self.on_packet(packet);
                }
            }
            Event::Stray(_, packet) => self.on_packet(packet),
            Event::Timer(0) => self.with(|hosts, outside| hosts.receiver.on_timer(outside)),
            Event::Timer(node) => self.with_sender(node, SenderHost::on_timer),
            Event::Storage(0, slot, incarnation) => {
                self.with(|hosts, outside| hosts.receiver.on_storage(outside, slot, incarnation));
            }
            Event::Storage(node, slot, incarnation) => {
                self.with_sender(node, |sender, outside| {
                    sender.on_storage(outside, slot, incarnation);
                });
            }
            Event::Fault(fault) => self.on_fault(fault),
            Event::Start(node) => self.on_start(node),
            Event::CrossSend(flow) => {
                if let Some(cross) = self.cross.get_mut(flow as usize) {
                    cross.on_timer(now, &mut self.network, &mut self.queue);
                }
            }
            Event::CrossAck(flow, number) => {
                if let Some(cross) = self.cross.get_mut(flow as usize) {
                    cross.on_ack(now, number, &mut self.network, &mut self.queue);
                }
            }
        }
    }

    fn on_packet(&mut self, id: u32) {
        let packet = self.network.packet_mut(id);
        if let Some(link) = packet.then.take() {
            return self.network.send(self.now, link, id, &mut self.queue);
        }
        if let Some((flow, number)) = packet.cross {
            if let Some(cross) = self.cross.get(flow as usize) {
                let at = self.now + cross.return_delay();
                self.queue.push(at, Event::CrossAck(flow, number));
            }
            self.network.release(id);
            return;
        }
        let (source, destination, node) = (packet.source, packet.destination, packet.node);
        // The content leaves its packet while a host reads it, because the host may send in reply.
        let data = std::mem::take(&mut packet.data);
        let forged = self.stranger.on_packet(source, node, &data);
        self.hand_over(node, source, destination, &data);
        if let Some(forged) = forged {
            self.hand_over(node, forged.source, destination, &forged.data);
        }
        self.network.packet_mut(id).data = data;
        self.network.release(id);
    }

    /// Gives a datagram to the host that it has reached.
    fn hand_over(&mut self, node: u32, source: SocketAddr, destination: SocketAddr, data: &[u8]) {
        let now = self.now;
        self.trace.note_bytes(now, u64::from(node), data, || {
            format!("{source} => {destination} {} bytes arrive", data.len())
        });
        if node == 0 {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.with(|hosts, outside| {
                hosts
                    .receiver
                    .on_datagram(outside, source, data, &mut buffer);
            });
            self.buffer = buffer;
        } else if let Some(sender) = self.senders.get_mut(node as usize - 1) {
            sender.on_datagram(now, source, destination, data);
        }
    }

    fn on_start(&mut self, node: u32) {
        if node == 0 {
            self.down = self.down.saturating_sub(1);
            return self.receiver.start();
        }
        let mut session = None;
        self.with_sender(node, |sender, outside| session = sender.start(outside));
        if let (Some(session), Some(sender)) = (session, self.senders.get(node as usize - 1)) {
            let files = sender.spec().files.clone();
            self.receiver.disk.expect(session, files);
        }
    }

    fn on_fault(&mut self, id: u32) {
        let Some(&Fault { node, kind, .. }) = self.faults.get(id as usize) else {
            return;
        };
        let reason = Failure::from(ErrorCode::INTERRUPTED);
        match (kind, node) {
            (FaultKind::Crash { restart_after }, 0) => {
                self.with(|hosts, outside| hosts.receiver.crash(outside));
                self.down += 1;
                self.queue.push(self.now + restart_after, Event::Start(0));
            }
            (FaultKind::Crash { .. }, node) => self.with_sender(node, SenderHost::crash),
            (FaultKind::Rebind, 0) => {}
            (FaultKind::Rebind, node) => self.with_sender(node, SenderHost::rebind),
            (FaultKind::Abort, 0) => {
                self.with(|hosts, outside| hosts.receiver.abort(outside, &reason));
            }
            (FaultKind::Abort, node) => {
                self.with_sender(node, |sender, outside| sender.abort(outside, reason));
            }
        }
    }

    /// Polls every host that has something to do, until none has.
    fn settle(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let mut did_nothing = true;
            for node in 1..=self.senders.len() as u32 {
                if self.senders[node as usize - 1].is_dirty {
                    did_nothing = false;
                    self.with_sender(node, |sender, outside| sender.poll(outside, &mut buffer));
                }
            }
            if self.receiver.is_dirty() {
                did_nothing = false;
                self.with(|hosts, outside| hosts.receiver.poll(outside, &mut buffer));
            }
            if did_nothing || !self.violations.is_empty() {
                break;
            }
        }
        self.buffer = buffer;
        for said in self.said.drain(..) {
            oracle::check_said(
                &said,
                &self.senders,
                &self.receiver.disk,
                &mut self.violations,
            );
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Hosts<'_>, &mut Outside<'_>)) {
        let mut outside = Outside {
            now: self.now,
            queue: &mut self.queue,
            network: &mut self.network,
            trace: &mut self.trace,
            addresses: &mut self.addresses,
            violations: &mut self.violations,
            said: &mut self.said,
        };
        let mut hosts = Hosts {
            receiver: &mut self.receiver,
            senders: &mut self.senders,
        };
        act(&mut hosts, &mut outside);
    }

    fn with_sender(&mut self, node: u32, act: impl FnOnce(&mut SenderHost, &mut Outside<'_>)) {
        self.with(|hosts, outside| {
            if let Some(sender) = hosts.senders.get_mut(node as usize - 1) {
                act(sender, outside);
            }
        });
    }
}

/// The hosts, apart from everything that they act on.
struct Hosts<'a> {
    receiver: &'a mut ReceiverHost,
    senders: &'a mut Vec<SenderHost>,
}
