//! One UDP socket for one loop.

use super::batch::{Arrival, Progress, SendCounters, send_batch};
use super::sieve::{self, Sieve};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use xfer_proto::transmit::{Ecn, Transmit};

/// Asked of the kernel for either direction, in bytes; it gives what its limits allow. The usual
/// default of 208 KiB overflows in 2 ms at 1 Gbit/s.
const BUFFER_SIZE: usize = 4 << 20;
/// Largest buffer that the kernel fills in one piece: a batch that came with GRO.
const RECEIVE_BUFFER: usize = 65_536;
/// Of a cache line.
const ALIGNMENT: usize = 64;

/// A nonblocking UDP socket with segmentation offload where the system has it.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
    offload: bool,
    counters: SendCounters,
    /// Refusals for size that were asked for.
    told_too_large: u64,
    receive_errors: u64,
}

impl Socket {
    /// A socket bound to `address`. One for IPv6 is for IPv6 only, so that both can have the same
    /// port.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let raw = RawSocket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            raw.set_only_v6(true)?;
        }
        // Best effort: a smaller buffer costs speed, nothing else.
        let _ = raw.set_recv_buffer_size(BUFFER_SIZE);
        let _ = raw.set_send_buffer_size(BUFFER_SIZE);
        raw.bind(&address.into())?;
        let io = UdpSocket::from(raw);
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let address = io.local_addr()?;
        let offload = state.max_gso_segments() > 1;
        Ok(Self {
            io,
            state,
            address,
            offload,
            counters: SendCounters::default(),
            told_too_large: 0,
            receive_errors: 0,
        })
    }

    /// A socket on any port, for sending to `peer`.
    pub(crate) fn for_peer(peer: SocketAddr) -> io::Result<Self> {
        match peer {
            SocketAddr::V4(_) => Self::bind(SocketAddr::from(([0; 4], 0))),
            SocketAddr::V6(_) => Self::bind(SocketAddr::from(([0; 16], 0))),
        }
    }

    /// The address that it is bound to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket below, for whoever waits for it.
    pub(crate) fn io(&self) -> &UdpSocket {
        &self.io
    }

    /// Sets the filter of the socket that `io` is a handle of.
    pub(crate) fn set_sieve(io: &UdpSocket, sieve: &Sieve) -> io::Result<()> {
        sieve::apply(io, sieve)
    }

    /// Most datagrams that a batch for this socket may hold.
    pub(crate) fn max_segments(&self) -> usize {
        if self.offload {
            self.state.max_gso_segments()
        } else {
            1
        }
    }

    /// Counts so far.
    pub(crate) fn counters(&self) -> SendCounters {
        self.counters
    }

    /// Whether the system refused a datagram for its size since this was last asked.
    pub(crate) fn take_too_large(&mut self) -> bool {
        let told = std::mem::replace(&mut self.told_too_large, self.counters.too_large);
        told < self.counters.too_large
    }

    /// Receive errors so far. They end nothing: an ICMP message must not be able to.
    pub(crate) fn receive_errors(&self) -> u64 {
        self.receive_errors
    }

    /// Sends what is left of a batch: `bytes` is its unsent tail, from a datagram's first byte.
    pub(crate) fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> Progress {
        let Self {
            io,
            state,
            offload,
            counters,
            ..
        } = self;
        send_batch(
            offload,
            counters,
            transmit,
            bytes,
            |contents, segment_size| {
                let datagrams = quinn_udp::Transmit {
                    destination: transmit.destination,
                    ecn: to_codepoint(transmit.ecn),
                    contents,
                    segment_size,
                    src_ip: None,
                };
                state.try_send(UdpSockRef::from(&*io), &datagrams)
            },
        )
    }

    /// Receives what is there and gives it to `each`. `Ok(true)`: more may be there.
    /// `WouldBlock` when there is nothing; no other error is returned.
    pub(crate) fn receive(
        &mut self,
        buffers: &mut ReceiveBuffers,
        mut each: impl FnMut(Arrival<'_>),
    ) -> io::Result<bool> {
        let (memory, meta) = buffers.parts();
        let count = {
            let mut slices: Vec<IoSliceMut<'_>> = memory
                .chunks_mut(RECEIVE_BUFFER)
                .map(IoSliceMut::new)
                .collect();
            let received = self.state.recv((&self.io).into(), &mut slices, meta);
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // An ICMP message about an earlier datagram, or a short lack of memory.
                Err(_) => {
                    self.receive_errors += 1;
                    return Ok(true);
                }
                Ok(count) => count,
            }
        };
        for (buffer, meta) in memory.chunks(RECEIVE_BUFFER).zip(meta.iter()).take(count) {
            each(Arrival {
                source: meta.addr,
                ecn: from_codepoint(meta.ecn),
                bytes: buffer.get(..meta.len).unwrap_or(buffer),
                stride: meta.stride,
            });
        }
        Ok(count == meta.len())
    }
}

/// Memory for one call to [`Socket::receive`].
#[derive(Debug)]
pub(crate) struct ReceiveBuffers {
    memory: Vec<u8>,
    /// Where it begins at a cache line: elsewhere the kernel copies up to three times as slowly.
    start: usize,
    meta: Vec<RecvMeta>,
}

impl ReceiveBuffers {
    /// Room for `count` datagrams or batches that came with GRO, 64 KiB each; pages that are never
    /// filled cost nothing.
    pub(crate) fn new(count: usize) -> Self {
        let count = count.clamp(1, quinn_udp::BATCH_SIZE);
        let memory = vec![0; RECEIVE_BUFFER * count + ALIGNMENT];
        Self {
            start: memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT),
            memory,
            meta: vec![RecvMeta::default(); count],
        }
    }

    /// The room for datagrams, and what is told of each.
    fn parts(&mut self) -> (&mut [u8], &mut [RecvMeta]) {
        let end = self.start + RECEIVE_BUFFER * self.meta.len();
        let room = self.memory.get_mut(self.start..end).unwrap_or_default();
        (room, &mut self.meta)
    }
}

fn to_codepoint(ecn: Ecn) -> Option<EcnCodepoint> {
    match ecn {
        Ecn::NotEct => None,
        Ecn::Ect0 => Some(EcnCodepoint::Ect0),
        Ecn::Ect1 => Some(EcnCodepoint::Ect1),
        Ecn::Ce => Some(EcnCodepoint::Ce),
    }
}

fn from_codepoint(ecn: Option<EcnCodepoint>) -> Ecn {
    match ecn {
        None => Ecn::NotEct,
        Some(EcnCodepoint::Ect0) => Ecn::Ect0,
        Some(EcnCodepoint::Ect1) => Ecn::Ect1,
        Some(EcnCodepoint::Ce) => Ecn::Ce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_crosses_the_loopback_whole() {
        let mut here = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut there = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let bytes: Vec<u8> = (0..2_500_u32).map(|at| (at % 251) as u8).collect();
        let transmit = Transmit {
            destination: there.address(),
            ecn: Ecn::Ect0,
            segment_size: 1_000,
            len: bytes.len(),
        };
        assert_eq!(here.send(&transmit, &bytes), Progress::Done);
        let mut buffers = ReceiveBuffers::new(4);
        let (mut got, mut count) = (Vec::new(), 0);
        while got.len() < bytes.len() {
            let received = there.receive(&mut buffers, |arrival| {
                for datagram in arrival.datagrams() {
                    assert_eq!(datagram.source.port(), here.address().port());
                    assert_eq!(datagram.ecn, Ecn::Ect0);
                    got.extend_from_slice(datagram.data);
                    count += 1;
                }
            });
            // The loopback delivers before `send` returns: nothing has to be waited for.
            received.unwrap();
        }
        assert_eq!((got, count), (bytes, 3));
        let nothing = there.receive(&mut buffers, |_| ());
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
