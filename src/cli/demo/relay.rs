//! A path that loses datagrams: a UDP relay on loopback, seeded, so that the same datagrams of the
//! same sequence are lost each time. The tests of the binary use this file too.

use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use xfer_proto::rng::Rng;

/// Senders that one relay serves. Datagrams of others are dropped.
const MAX_SENDERS: usize = 1_024;
/// The largest payload of UDP over IPv4.
const MAX_DATAGRAM: usize = 65_507;
/// Asked of the kernel for each socket, so that only the seed decides what is lost.
const SOCKET_BUFFER: usize = 4 << 20;
/// How long a thread waits before it looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What a relay has seen of one direction.
#[derive(Debug, Default)]
pub(crate) struct Direction {
    /// Datagrams that came in.
    pub(crate) datagrams: AtomicU64,
    /// Their bytes of UDP payload.
    pub(crate) bytes: AtomicU64,
    /// Datagrams that were not passed on.
    pub(crate) dropped: AtomicU64,
}

/// Passes datagrams between any number of senders and one receiver, until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    loss_percent: u32,
    seed: u64,
    forward: Direction,
    backward: Direction,
    is_stopped: AtomicBool,
}

impl Relay {
    /// Starts a relay to `target` that loses `loss_percent` of the datagrams in each direction.
    pub(crate) fn start(target: SocketAddr, loss_percent: u32, seed: u64) -> io::Result<Self> {
        let front = socket()?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            loss_percent,
            seed,
            forward: Direction::default(),
            backward: Direction::default(),
            is_stopped: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || run_front(&Arc::new(front), &for_thread));
        Ok(Self {
            address,
            shared,
            threads: vec![thread],
        })
    }

    /// Where senders send to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came from the senders.
    pub(crate) fn forward(&self) -> &Direction {
        &self.shared.forward
    }

    /// What came from the receiver.
    pub(crate) fn backward(&self) -> &Direction {
        &self.shared.backward
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so on stderr.
            thread.join().unwrap_or_default();
        }
    }
}

impl Shared {
    /// Counts a datagram and decides whether it gets through: by the seed and its place in its
    /// direction.
    fn passes(&self, direction: &Direction, bytes: usize) -> bool {
        let index = direction.datagrams.fetch_add(1, Ordering::Relaxed);
        direction.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let way = u64::from(std::ptr::eq(direction, &self.backward));
        let mut rng = Rng::new(self.seed ^ (index << 1 | way).wrapping_mul(0x9e6c_63d0_876a_3f35));
        let passes = rng.below(100) >= u64::from(self.loss_percent);
        if !passes {
            direction.dropped.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

/// From the senders to the receiver. Each sender has a socket towards the receiver, as behind a
/// NAT.
fn run_front(front: &Arc<UdpSocket>, shared: &Arc<Shared>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut threads = Vec::new();
    let mut buffer = vec![0; MAX_DATAGRAM];
    while !shared.is_stopped() {
        let Ok((length, sender)) = front.recv_from(&mut buffer) else {
            continue;
        };
        if !shared.passes(&shared.forward, length) {
            continue;
        }
        if !backs.contains_key(&sender) && backs.len() < MAX_SENDERS {
            let Ok(back) = socket().map(Arc::new) else {
                continue;
            };
            backs.insert(sender, Arc::clone(&back));
            let (front, shared) = (Arc::clone(front), Arc::clone(shared));
            threads.push(thread::spawn(move || {
                run_back(&back, &front, sender, &shared)
            }));
        }
        if let Some(back) = backs.get(&sender) {
            // What the kernel does not take is lost, as on any path.
            back.send_to(&buffer[..length], shared.target)
                .unwrap_or_default();
        }
    }
    for thread in threads {
        thread.join().unwrap_or_default();
    }
}

/// From the receiver to one sender.
fn run_back(back: &UdpSocket, front: &UdpSocket, sender: SocketAddr, shared: &Shared) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    while !shared.is_stopped() {
        let Ok((length, source)) = back.recv_from(&mut buffer) else {
            continue;
        };
        if source == shared.target && shared.passes(&shared.backward, length) {
            front.send_to(&buffer[..length], sender).unwrap_or_default();
        }
    }
}

fn socket() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // A smaller buffer than asked for is no reason to stop.
    socket
        .set_recv_buffer_size(SOCKET_BUFFER)
        .unwrap_or_default();
    socket
        .set_send_buffer_size(SOCKET_BUFFER)
        .unwrap_or_default();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(STOP_CHECK))?;
    Ok(socket)
}
