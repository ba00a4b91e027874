//! Directed links between nodes, and the packets on them.

mod link;
mod loss;

pub use link::{LinkChange, LinkConfig, LinkStats, Policer};
pub use loss::Burst;

use crate::queue::{Event, EventQueue, MILLISECOND, Nanos};
use link::{Link, Waiting};
use std::net::SocketAddr;
use xfer_proto::rng::Rng;
use xfer_proto::wire::checksum::{self, CHECKSUM_LEN};
use xfer_proto::wire::header::{Header, Kind};

/// A packet on its way. Cross traffic has no content but a length.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The node that it reaches.
    pub node: u32,
    /// The UDP payload; empty for cross traffic.
    pub data: Vec<u8>,
    /// Length of the UDP payload, in bytes.
    pub len: usize,
    /// For cross traffic: the flow and the number of the packet in it.
    pub cross: Option<(u32, u32)>,
    /// Delay of the flow's own access, beyond that of the shared link.
    pub extra_delay: Nanos,
    /// The link that follows, if any: a socket's buffer, for one.
    pub then: Option<u32>,
}

/// What happens to one packet, by a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives [`HOLD`] later than it should.
    Hold,
}

/// How long [`Fate::Hold`] holds a packet back: longer than a round trip of the scenarios with
/// scripts.
pub const HOLD: Nanos = 50 * MILLISECOND;

/// All links and the packets on them.
#[derive(Debug)]
pub struct Network {
    links: Vec<Link>,
    packets: Vec<Packet>,
    free: Vec<u32>,
    script: Vec<(u64, Fate)>,
    offered: u64,
}

impl Network {
    /// Links with random faults drawn from `seed`.
    pub fn new(configs: Vec<LinkConfig>, seed: u64, queue: &mut EventQueue) -> Self {
        let mut rng = Rng::new(seed);
        let links: Vec<Link> = configs
            .into_iter()
            .map(|config| Link::new(config, rng.next_u64()))
            .collect();
        for (id, link) in links.iter().enumerate() {
            if let Some(at) = link.next_change() {
                queue.push(at, Event::LinkChange(id as u32));
            }
        }
        Self {
            links,
            packets: Vec::new(),
            free: Vec::new(),
            script: Vec::new(),
            offered: 0,
        }
    }

    /// Memory for one packet, its content empty.
    pub fn allocate(&mut self, source: SocketAddr, destination: SocketAddr, node: u32) -> u32 {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.packets.push(Packet {
                    source,
                    destination,
                    node,
                    data: Vec::new(),
                    len: 0,
                    cross: None,
                    extra_delay: 0,
                    then: None,
                });
                return self.packets.len() as u32 - 1;
            }
        };
        let packet = &mut self.packets[id as usize];
        (packet.source, packet.destination) = (source, destination);
        (packet.node, packet.len, packet.extra_delay) = (node, 0, 0);
        (packet.cross, packet.then) = (None, None);
        packet.data.clear();
        id
    }

    /// The packet `id`.
    pub fn packet(&self, id: u32) -> &Packet {
        &self.packets[id as usize]
    }

    /// The packet `id`, to be filled before it is sent.
    pub fn packet_mut(&mut self, id: u32) -> &mut Packet {
        &mut self.packets[id as usize]
    }

    /// Gives the memory of a packet back.
    pub fn release(&mut self, id: u32) {
        self.free.push(id);
    }

    /// What link `id` has seen.
    pub fn stats(&self, id: u32) -> &LinkStats {
        &self.links[id as usize].stats
    }

    /// How many links there are.
    pub fn link_count(&self) -> u32 {
        self.links.len() as u32
    }

    /// Forgets the queueing delays measured on link `id`, so that a start-up does not count.
    pub fn reset_queueing(&mut self, id: u32) {
        self.links[id as usize].stats.queueing.clear();
    }

    /// Says what happens to some packets, named by the order in which all packets are offered to
    /// links.
    pub fn set_script(&mut self, script: Vec<(u64, Fate)>) {
        self.script = script;
    }

    /// Offers a packet to a link.
    pub fn send(&mut self, now: Nanos, link_id: u32, packet: u32, queue: &mut EventQueue) {
        let position = self.offered;
        self.offered += 1;
        let scripted = self.script.iter().find(|it| it.0 == position);
        match scripted.map(|it| it.1) {
            None => self.offer(now, link_id, packet, queue),
            Some(Fate::Drop) => {
                let stats = &mut self.links[link_id as usize].stats;
                stats.packets_in += 1;
                stats.dropped_loss += 1;
                self.free.push(packet);
            }
            Some(Fate::Duplicate) => {
                let copy = self.copy(packet);
                self.offer(now, link_id, packet, queue);
                let delay = self.links[link_id as usize].config.delay;
                queue.push(now + delay, Event::Stray(link_id, copy));
            }
            Some(Fate::Hold) => {
                let link = &mut self.links[link_id as usize];
                link.stats.packets_in += 1;
                let at = now + link.config.delay + HOLD;
                queue.push(at, Event::Stray(link_id, packet));
            }
        }
    }

    fn offer(&mut self, now: Nanos, link_id: u32, packet: u32, queue: &mut EventQueue) {
        let len = self.packets[packet as usize].len;
        let link = &mut self.links[link_id as usize];
        if !link.admit(now, len) {
            self.free.push(packet);
            return;
        }
        if link.config.rate == 0 && link.queue.is_empty() {
            let bytes = len as u64 + link.config.overhead;
            self.propagate(now, link_id, packet, bytes, queue);
            return;
        }
        link.enqueue(now, packet, len);
        if let Some(at) = link.arm() {
            queue.push(at, Event::Departure(link_id));
        }
    }

    /// The head of a link's queue is on the wire.
    pub fn on_departure(&mut self, now: Nanos, link_id: u32, queue: &mut EventQueue) {
        let link = &mut self.links[link_id as usize];
        let departed = link.depart(now);
        if let Some(at) = link.arm() {
            queue.push(at, Event::Departure(link_id));
        }
        if let Some(departed) = departed {
            self.propagate(now, link_id, departed.packet, departed.bytes, queue);
        }
    }

    /// A link changes as scheduled.
    pub fn on_link_change(&mut self, now: Nanos, link_id: u32, queue: &mut EventQueue) {
        let link = &mut self.links[link_id as usize];
        link.apply_change(now);
        if let Some(at) = link.arm() {
            queue.push(at, Event::Departure(link_id));
        }
        if let Some(at) = link.next_change() {
            queue.push(at, Event::LinkChange(link_id));
        }
    }

    /// The packets that come out of a link's pipe at `now`, one a call.
    pub fn on_arrival(&mut self, now: Nanos, link_id: u32, queue: &mut EventQueue) -> Option<u32> {
        let link = &mut self.links[link_id as usize];
        if link.pipe.front().is_none_or(|head| head.at > now) {
            return None;
        }
        let head = link.pipe.pop_front()?;
        if let Some(next) = link.pipe.front() {
            queue.push(next.at, Event::Arrival(link_id));
        }
        Some(head.packet)
    }

    /// Loss, copies, damage and delay behind the queue.
    fn propagate(
        &mut self,
        now: Nanos,
        link_id: u32,
        packet: u32,
        bytes: u64,
        queue: &mut EventQueue,
    ) {
        let link = &mut self.links[link_id as usize];
        let config = &link.config;
        if link
            .loss
            .is_lost(now, config.loss_ppm, config.burst.as_ref(), &mut link.rng)
        {
            link.stats.dropped_loss += 1;
            self.free.push(packet);
            return;
        }
        if config.duplicate_ppm > 0 && link.rng.chance(config.duplicate_ppm) {
            link.stats.duplicated += 1;
            let copy = self.copy(packet);
            self.deliver(now, link_id, copy, bytes, queue);
        }
        let link = &mut self.links[link_id as usize];
        if link.config.corrupt_ppm > 0 && link.rng.chance(link.config.corrupt_ppm) {
            let repair = link.rng.chance(link.config.repaired_ppm);
            link.stats.corrupted += 1;
            let data = &mut self.packets[packet as usize].data;
            corrupt(data, &mut link.rng);
            if repair {
                repair_checksum(data);
            }
        }
        self.deliver(now, link_id, packet, bytes, queue);
    }

    fn copy(&mut self, packet: u32) -> u32 {
        let Packet {
            source,
            destination,
            node,
            len,
            cross,
            extra_delay,
            then,
            ..
        } = self.packets[packet as usize];
        let copy = self.allocate(source, destination, node);
        let data = std::mem::take(&mut self.packets[packet as usize].data);
        let target = &mut self.packets[copy as usize];
        target.data.extend_from_slice(&data);
        (target.len, target.cross, target.extra_delay) = (len, cross, extra_delay);
        target.then = then;
        self.packets[packet as usize].data = data;
        copy
    }

    fn deliver(
        &mut self,
        now: Nanos,
        link_id: u32,
        packet: u32,
        bytes: u64,
        queue: &mut EventQueue,
    ) {
        let extra = self.packets[packet as usize].extra_delay;
        let link = &mut self.links[link_id as usize];
        link.stats.packets_out += 1;
        link.stats.bytes_out += bytes;
        let config = &link.config;
        let jitter = link.rng.below(config.jitter.saturating_add(1));
        let held = config.reorder_ppm > 0 && link.rng.chance(config.reorder_ppm);
        let at = now + config.delay + extra + jitter + if held { config.reorder_delay } else { 0 };
        // Packets that keep their order wait in the pipe, whose head alone is in the heap: the heap
        // stays small however much is on the way.
        let strays = held || extra > 0 || (config.jitter > 0 && config.jitter_reorders);
        if strays {
            queue.push(at, Event::Stray(link_id, packet));
            return;
        }
        let at = link.pipe.back().map_or(at, |last| last.at.max(at));
        if link.pipe.is_empty() {
            queue.push(at, Event::Arrival(link_id));
        }
        link.pipe.push_back(Waiting { packet, bytes, at });
    }
}

/// Flips one to four bits.
fn corrupt(data: &mut [u8], rng: &mut Rng) {
    if data.is_empty() {
        return;
    }
    for _ in 0..=rng.below(4) {
        let at = rng.below(data.len() as u64) as usize;
        data[at] ^= 1 << rng.below(8);
    }
}

/// Makes the checksum of a damaged data packet right again. Control packets are spared: without a
/// key nothing protects them against a change that knows the checksum.
fn repair_checksum(data: &mut Vec<u8>) {
    let is_content = |kind| matches!(kind, Kind::Data | Kind::Part | Kind::Parity);
    if Header::decode(data).is_ok_and(|(header, _)| is_content(header.kind)) {
        data.truncate(data.len().saturating_sub(CHECKSUM_LEN));
        checksum::append(data, 0);
    }
}
