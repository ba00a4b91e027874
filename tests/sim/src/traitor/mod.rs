//! An end that breaks the protocol on purpose, with everything that it takes to be believed: the
//! session's id, its tag, its packet numbers.
//!
//! It is a real machine whose packets are changed as they pass: so it gets as deep into a session
//! as an honest one, and then lies. Other transfers through the same router must not notice.

mod receiver;
mod sender;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use xfer_proto::id::{PacketNumber, SessionId};
use xfer_proto::recovery::control::MAX_BLOCK;
use xfer_proto::rng::Rng;
use xfer_proto::wire::frame::{Block, Close, Frame, GapRun, Hello, Retry};
use xfer_proto::wire::header::{Header, Kind};
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::{FrameWriter, Packet};

/// Old packets that it sends again.
const MEMORY: usize = 8;
/// Copies of one packet at most.
const MAX_COPIES: u64 = 8;

/// Which end lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// What the sending host sends.
    #[default]
    Sender,
    /// What the receiving host sends to it.
    Receiver,
}

/// What a traitor does.
#[derive(Clone, Debug, Default)]
pub struct Treason {
    /// The sending host of the session.
    pub node: u32,
    /// Who lies in it.
    pub side: Side,
    /// Packets of a million that are changed.
    pub per_million: u32,
    /// Only this kind of lie; all of them where there is none.
    pub only: Option<u32>,
    /// From this packet on, only control packets pass: the session never ends by itself.
    pub mute_after: Option<u64>,
}

/// A datagram and whose it pretends to be.
pub(crate) type Sent = (SocketAddr, Vec<u8>);

/// The traitor.
#[derive(Debug)]
pub(crate) struct Traitor {
    treason: Option<Treason>,
    rng: Rng,
    seen: u64,
    memory: VecDeque<Vec<u8>>,
    /// The session as its packets tell it.
    session: SessionId,
    tag: u64,
    /// Lies so far.
    pub(crate) lies: u64,
}

impl Traitor {
    pub(crate) fn new(treason: Option<Treason>, seed: u64) -> Self {
        Self {
            treason,
            rng: Rng::new(seed),
            seen: 0,
            memory: VecDeque::new(),
            session: SessionId(0),
            tag: 0,
            lies: 0,
        }
    }

    /// What arrives instead of a packet from `source` on its way to `node`. `None`: the packet
    /// itself.
    pub(crate) fn on_packet(
        &mut self,
        source: SocketAddr,
        node: u32,
        data: &[u8],
    ) -> Option<Vec<Sent>> {
        let treason = self.treason.clone()?;
        let is_its = match treason.side {
            Side::Sender => node == 0 && source.ip() == address_of(treason.node),
            Side::Receiver => node == treason.node,
        };
        if !is_its {
            return None;
        }
        let packet = Packet::decode(data).ok()?;
        self.seen += 1;
        if let Packet::Frames { header, tag, .. } = &packet {
            (self.session, self.tag) = (header.session, *tag);
        }
        let is_mute = treason.mute_after.is_some_and(|after| self.seen > after);
        if is_mute && matches!(packet, Packet::Data { .. }) {
            return Some(Vec::new());
        }
        if !self.rng.chance(treason.per_million) {
            self.remember(data);
            return None;
        }
        self.lies += 1;
        let lies = match treason.side {
            Side::Sender => self.lie_as_sender(&packet, data, treason.only),
            Side::Receiver => self.lie_as_receiver(&packet, data, treason.only),
        };
        let lies = lies.into_iter();
        Some(
            lies.map(|(from, lie)| (from.unwrap_or(source), lie))
                .collect(),
        )
    }

    fn remember(&mut self, data: &[u8]) {
        if self.memory.len() == MEMORY {
            self.memory.pop_front();
        }
        self.memory.push_back(data.to_vec());
    }

    /// Any number, likely one where something ends.
    fn number(&mut self, near: u64) -> u64 {
        match self.rng.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => i64::MAX as u64,
            3 => self.rng.next_u64() >> self.rng.below(64),
            4 => near.wrapping_sub(1),
            5 => near.wrapping_add(1),
            6 => near.wrapping_add(self.rng.below(1_000)),
            _ => self.rng.below(near.max(1)),
        }
    }

    fn runs(&mut self, most: u64) -> Vec<GapRun> {
        let small = self.rng.below(2) == 0;
        (0..self.rng.below(most))
            .map(|_| GapRun {
                gap: if small { 1 } else { self.number(3) },
                run: if small { 1 } else { self.number(3) },
            })
            .collect()
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let len = self.rng.below(most);
        (0..len).map(|_| self.rng.next_u64() as u8).collect()
    }

    /// Frames under the number of a packet that goes nowhere for it.
    fn frames(&self, kind: Kind, number: PacketNumber, frames: &[Frame<'_>]) -> Vec<u8> {
        let most = usize::from(u16::MAX);
        let mut packet = FrameWriter::new(kind, self.session, number, self.tag, most);
        frames.iter().for_each(|frame| {
            packet.push(frame);
        });
        let mut data = Vec::new();
        packet.finish(&mut data);
        data
    }

    /// A block of the stream as another message, or as noise.
    fn false_block(&mut self, header: Header, sequence: u64, message: Option<Message>) -> Vec<u8> {
        let mut bytes = Vec::new();
        match message {
            Some(message) => message.encode(&mut bytes),
            None => bytes = self.bytes(MAX_BLOCK as u64),
        }
        bytes.truncate(MAX_BLOCK);
        let block = Frame::Block(Block {
            sequence,
            bytes: &bytes,
        });
        self.frames(header.kind, header.number, &[block])
    }

    fn goodbye(&mut self, header: Header) -> Vec<u8> {
        let code = [1, 15, 31, 40, 42, 60, 999][self.rng.below(7) as usize];
        let failure = xfer_proto::error::Failure::new(
            xfer_proto::error::ErrorCode(code),
            "\u{1b}[2Jno".repeat(30),
        );
        let failure = (self.rng.below(2) == 0).then_some(failure);
        let kind = match self.rng.below(4) {
            0 => Kind::Reset,
            _ => header.kind,
        };
        self.frames(kind, header.number, &[Frame::Close(Close { failure })])
    }

    fn greeting(&mut self, header: Header) -> Vec<u8> {
        let token = self.bytes(40);
        if self.rng.below(2) == 0 {
            let retry = Frame::Retry(Retry {
                token: &token,
                received_size: self.rng.next_u64() as u16,
                arrived_at_us: self.rng.next_u64() >> (self.rng.next_u64() % 64),
            });
            return self.frames(Kind::Retry, PacketNumber(0), &[retry]);
        }
        let hello = Frame::Hello(Hello {
            token: &token,
            datagram_size: self.rng.next_u64() as u16,
            interval_us: self.rng.next_u64() as u32,
        });
        self.frames(Kind::Hello, header.number, &[hello])
    }

    /// The packet itself and old ones, many times.
    fn copies(&mut self, data: &[u8]) -> Vec<Vec<u8>> {
        let old = self.memory.iter().cloned();
        let again = (0..=self.rng.below(MAX_COPIES)).map(|_| data.to_vec());
        old.chain(again).collect()
    }
}

/// The address of a sending host.
fn address_of(node: u32) -> IpAddr {
    let [high, low] = (node as u16).to_be_bytes();
    IpAddr::from([10, 0, high, low])
}
