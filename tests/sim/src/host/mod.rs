//! Hosts: what a driver is in the real program. They hold machines and keep the contract of
//! [`xfer_proto::machine::Machine`].

mod desk;
mod receiver;
mod report;
mod sender;

pub use receiver::ReceiverHost;
pub use report::{ReceiverReport, ReceiverSpec, SessionReport};
pub use sender::{Attempt, SenderHost, SenderSpec};

use crate::network::Network;
use crate::queue::{Event, EventQueue, Nanos};
use crate::trace::Trace;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use xfer_proto::error::Failure;
use xfer_proto::id::{FileIndex, SessionId};
use xfer_proto::machine::{Deadline, FileStatus, Input, Machine, Output};
use xfer_proto::manifest::Entry;
use xfer_proto::storage::StorageOp;
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Transmit, TransmitBuf};
use xfer_proto::wire::frame::Frame;
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::Packet;

/// A machine that is polled this often at one instant does not come to rest.
pub const MAX_POLLS_AT_ONCE: u32 = 20_000;
/// A machine whose deadline is not in the future this often at one instant makes no progress.
pub const MAX_WAKES_AT_ONCE: u32 = 100;

/// How packets get from a node to another.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The node at the far end.
    pub node: u32,
    /// The link there.
    pub link: u32,
    /// Delay of the flow's own access.
    pub extra_delay: Nanos,
    /// The link that follows.
    pub then: Option<u32>,
}

/// Everything outside a host that it acts on.
#[derive(Debug)]
pub struct Outside<'a> {
    /// Virtual time.
    pub now: Nanos,
    /// Events to come.
    pub queue: &'a mut EventQueue,
    /// The links.
    pub network: &'a mut Network,
    /// What happens, for the record.
    pub trace: &'a mut Trace,
    /// Where each address is reached from the receiver.
    pub addresses: &'a mut BTreeMap<SocketAddr, Route>,
    /// What must not happen but did.
    pub violations: &'a mut Vec<String>,
    /// What the machines said in this step, for the oracle.
    pub said: &'a mut Vec<Said>,
}

/// Something that a machine reported.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether the sender said it.
    pub by_sender: bool,
    /// In which session.
    pub session: SessionId,
    /// About which file.
    pub file: FileIndex,
    /// Its line of the manifest, as reported.
    pub entry: Entry,
    /// How it ended.
    pub status: FileStatus,
}

impl Outside<'_> {
    /// The time as the engine takes it.
    pub fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Sends a batch over one route.
    pub fn transmit(&mut self, source: SocketAddr, route: Route, batch: &Transmit, bytes: &[u8]) {
        let bytes = &bytes[..batch.len.min(bytes.len())];
        let who = u64::from(source.port());
        for datagram in bytes.chunks(batch.segment_size.max(1)) {
            let destination = batch.destination;
            self.trace.note_bytes(self.now, who, datagram, || {
                format!("{source} -> {destination} {}", describe(datagram))
            });
            let id = self.network.allocate(source, destination, route.node);
            let packet = self.network.packet_mut(id);
            packet.data.extend_from_slice(datagram);
            packet.len = datagram.len();
            (packet.extra_delay, packet.then) = (route.extra_delay, route.then);
            self.network.send(self.now, route.link, id, self.queue);
        }
    }

    /// Wakes `node` at `at`, unless it was to be woken sooner anyway.
    fn wake(&mut self, node: u32, armed: &mut Option<Nanos>, at: Nanos) {
        let at = at.max(self.now);
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.queue.push(at, Event::Timer(node));
        }
    }
}

/// A datagram in one line.
fn describe(datagram: &[u8]) -> String {
    let len = datagram.len();
    match Packet::decode(datagram) {
        Ok(Packet::Data {
            header,
            chunk,
            payload,
        }) => format!(
            "{len} bytes: {:?} data of chunk {chunk}, {} bytes",
            header.number,
            payload.len()
        ),
        Ok(Packet::Part {
            header,
            chunk,
            offset,
            payload,
        }) => format!(
            "{len} bytes: {:?} part of chunk {chunk} at {offset}, {} bytes",
            header.number,
            payload.len()
        ),
        Ok(Packet::Parity {
            header,
            of,
            payload,
        }) => format!(
            "{len} bytes: {:?} parity {} of chunks {:?}, {} bytes",
            header.number,
            of.index,
            of.chunks(),
            payload.len()
        ),
        Ok(Packet::Frames { header, frames, .. }) => {
            let frames: Vec<String> = frames.iter().map(describe_frame).collect();
            format!(
                "{len} bytes: {:?} {:?} {}",
                header.number,
                header.kind,
                frames.join(", ")
            )
        }
        other => format!("{len} bytes: {other:?}"),
    }
}

/// A frame, with the messages in it as far as they are whole.
fn describe_frame(frame: &Frame<'_>) -> String {
    let Frame::Block(block) = frame else {
        return format!("{frame:?}");
    };
    let mut bytes = block.bytes;
    let messages: Vec<Message> =
        std::iter::from_fn(|| Message::take(&mut bytes).ok().flatten().flatten()).collect();
    format!("Block {} {messages:?}", block.sequence)
}

/// An operation in one line, without the content that it moves.
fn describe_op(op: &StorageOp) -> String {
    match op {
        StorageOp::Write {
            file, offset, data, ..
        } => format!("write {file:?} {offset} + {}", data.len()),
        other => format!("{other:?}"),
    }
}

/// How often a machine was polled and woken at the same instant.
#[derive(Debug, Default)]
struct Rest {
    at: Nanos,
    polls: u32,
    wakes: u32,
}

impl Rest {
    /// Counts a poll; false where there were too many.
    fn on_poll(&mut self, now: Nanos) -> bool {
        if self.at != now {
            *self = Self {
                at: now,
                ..Self::default()
            };
        }
        self.polls += 1;
        self.polls <= MAX_POLLS_AT_ONCE
    }

    /// Counts a deadline; false where it is due again and again.
    fn on_wait(&mut self, now: Nanos, deadline: Option<Deadline>) -> bool {
        if deadline.is_some_and(|deadline| deadline.at.as_nanos() <= now) {
            self.wakes += 1;
        }
        self.wakes <= MAX_WAKES_AT_ONCE
    }
}

/// What a machine has reported about its files.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// The final status of each file.
    pub files: BTreeMap<FileIndex, FileStatus>,
    /// How the session ended.
    pub closed: Option<Result<(), Failure>>,
}

/// Polls once and carries out what needs no host: datagrams, and the record of events.
fn poll_once(
    machine: &mut impl Machine,
    buffer: &mut Vec<u8>,
    max_segments: usize,
    now: Instant,
) -> Output {
    let mut out = TransmitBuf::new(buffer, max_segments);
    machine.poll(now, &mut out)
}

/// Hands one input to a machine.
fn hand(machine: &mut impl Machine, now: Nanos, input: Input<'_>) {
    machine.handle(Instant::from_nanos(now), input);
}
