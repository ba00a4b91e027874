//! A stranger who cannot read keys but sends: garbage, truncated and damaged copies, old packets
//! again, and copies of what others sent under addresses of its own.
//!
//! Whatever it does, no transfer may suffer, and no address that it names may get more than it
//! sent.

use std::net::SocketAddr;
use xfer_proto::id::{PacketNumber, SessionId};
use xfer_proto::rng::Rng;
use xfer_proto::wire::checksum;
use xfer_proto::wire::header::{Header, Kind};

/// Old packets that it remembers.
const MEMORY: usize = 16;
/// Longest garbage, in bytes.
const MAX_GARBAGE: u64 = 1_500;

/// One datagram that it makes.
#[derive(Clone, Debug)]
pub(crate) struct Forged {
    /// Its own address, or the one of the packet that it saw.
    pub(crate) source: SocketAddr,
    pub(crate) data: Vec<u8>,
}

/// The stranger.
#[derive(Debug)]
pub(crate) struct Stranger {
    rng: Rng,
    /// Forged datagrams for each million of packets that arrive.
    per_million: u32,
    memory: Vec<(SocketAddr, u32, Vec<u8>)>,
}

impl Stranger {
    pub(crate) fn new(per_million: u32, seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            per_million,
            memory: Vec::new(),
        }
    }

    /// Sees a packet on its way to `node`; answers what it sends there itself.
    pub(crate) fn on_packet(
        &mut self,
        source: SocketAddr,
        node: u32,
        data: &[u8],
    ) -> Option<Forged> {
        if !self.rng.chance(self.per_million) {
            return None;
        }
        let forged = self.forge(source, node, data);
        if self.memory.len() < MEMORY {
            self.memory.push((source, node, data.to_vec()));
        } else if self.rng.chance(200_000) {
            let at = self.rng.below(MEMORY as u64) as usize;
            self.memory[at] = (source, node, data.to_vec());
        }
        Some(forged)
    }

    fn forge(&mut self, source: SocketAddr, node: u32, data: &[u8]) -> Forged {
        let own = SocketAddr::from(([10, 66, 0, self.rng.below(4) as u8], 666));
        let (source, data) = match self.rng.below(7) {
            0 => (own, data.to_vec()),
            1 => (own, self.garbage()),
            2 => (own, self.valid_garbage(data)),
            3 => (source, self.garbage()),
            4 => {
                let keep = self.rng.below(data.len() as u64) as usize;
                (source, data[..keep].to_vec())
            }
            5 => {
                let mut damaged = data.to_vec();
                let at = self.rng.below(data.len().max(1) as u64) as usize;
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= 1 << self.rng.below(8);
                }
                (source, damaged)
            }
            _ => self.replay(node).unwrap_or_else(|| (source, data.to_vec())),
        };
        Forged { source, data }
    }

    /// An old packet to the same node, from whom it came.
    fn replay(&mut self, node: u32) -> Option<(SocketAddr, Vec<u8>)> {
        let at = self.rng.below(self.memory.len().max(1) as u64) as usize;
        let (source, to, data) = self.memory.get(at)?;
        (*to == node).then(|| (*source, data.clone()))
    }

    fn garbage(&mut self) -> Vec<u8> {
        let len = self.rng.below(MAX_GARBAGE) as usize;
        let mut data = Vec::with_capacity(len + 8);
        while data.len() < len {
            data.extend_from_slice(&self.rng.next_u64().to_le_bytes());
        }
        data.truncate(len);
        data
    }

    /// Random bytes behind a header that is right, of the session that it saw or of another, with a
    /// checksum that is right.
    fn valid_garbage(&mut self, seen: &[u8]) -> Vec<u8> {
        let kinds = [
            Kind::Hello,
            Kind::Retry,
            Kind::Data,
            Kind::Part,
            Kind::Parity,
            Kind::Control,
            Kind::Reset,
        ];
        let known = Header::decode(seen).map(|(header, _)| header.session);
        let mut session = SessionId(self.rng.next_u64());
        if self.rng.chance(500_000) {
            session = known.unwrap_or(session);
        }
        let mut data = Vec::new();
        Header {
            kind: kinds[self.rng.below(kinds.len() as u64) as usize],
            session,
            number: PacketNumber(self.rng.below(1_000)),
        }
        .encode(&mut data);
        let body = self.garbage();
        data.extend_from_slice(&body);
        checksum::append(&mut data, 0);
        data
    }
}
