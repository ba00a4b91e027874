//! The driver and both loops, with machines that do as little as a test needs.

use super::*;
use crate::net::{ReceiveBuffers, Socket};
use crate::runtime::clock::Clock;
use crate::runtime::stop::Wake;
use crate::runtime::storage_thread::StorageThread;
use crate::runtime::waiter::Waiter;
use crate::runtime::{async_loop, blocking};
use crate::storage::Store;
use std::sync::Arc;
use std::thread;
use tokio::sync::Notify;
use xfer_proto::id::FileIndex;
use xfer_proto::machine::Deadline;
use xfer_proto::storage::{Done, OpId};
use xfer_proto::timer::Timer;
use xfer_proto::transmit::Ecn;

/// Round trips of the test protocol.
const ROUNDS: u8 = 50;

/// Answers every operation with success.
struct Willing;

impl Store for Willing {
    fn run(
        &mut self,
        batch: Vec<(SessionId, StorageOp)>,
        done: &mut dyn FnMut(SessionId, Completion),
    ) -> bool {
        for (session, operation) in batch {
            if let StorageOp::Finish { op, .. } = operation {
                let result = Ok(Done::Finished);
                done(session, Completion { op, result });
            }
        }
        false
    }

    fn forget(&mut self, _session: SessionId) {}
}

/// Plays ping-pong: a storage operation before each datagram, its number as the datagram. Repeats
/// after 50 ms. The opener is done when the last number came back, the other one when it sent the
/// last.
struct Player {
    peer: SocketAddr,
    is_opener: bool,
    number: u8,
    /// What to do next.
    todo: Todo,
    obeys: bool,
    repeat_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Todo {
    Ask,
    Send,
    Wait,
    End,
}

impl Player {
    fn new(peer: SocketAddr, is_opener: bool) -> Self {
        Self {
            peer,
            is_opener,
            number: 0,
            todo: if is_opener { Todo::Ask } else { Todo::Wait },
            obeys: true,
            repeat_at: None,
        }
    }
}

impl Machine for Player {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram(received) => match (self.is_opener, received.data) {
                (true, [ROUNDS]) => self.todo = Todo::End,
                (true, [number]) if *number == self.number => {
                    self.number += 1;
                    self.todo = Todo::Ask;
                }
                (false, [number]) => {
                    self.number = *number;
                    self.todo = Todo::Ask;
                }
                _ => {}
            },
            Input::Storage(completion) => {
                assert!(completion.result.is_ok());
                self.todo = Todo::Send;
            }
            Input::Timeout if self.repeat_at.is_some_and(|at| at <= now) => self.todo = Todo::Send,
            Input::Abort(_) if self.obeys => self.todo = Todo::End,
            _ => {}
        }
    }

    fn poll(&mut self, now: Instant, out: &mut TransmitBuf<'_>) -> Output {
        match self.todo {
            Todo::Ask => {
                self.todo = Todo::Wait;
                Output::Storage(StorageOp::Finish {
                    op: OpId(self.number.into()),
                    file: FileIndex(0),
                })
            }
            Todo::Send => {
                out.push(|bytes| bytes.push(self.number));
                let is_last = !self.is_opener && self.number == ROUNDS;
                self.todo = if is_last { Todo::End } else { Todo::Wait };
                self.repeat_at = self.is_opener.then(|| now + Duration::from_millis(50));
                Output::Transmit(out.finish(self.peer, Ecn::NotEct))
            }
            Todo::Wait => Output::Wait(self.repeat_at.map(|at| Deadline {
                at,
                timer: Timer::Probe,
            })),
            Todo::End => Output::Done,
        }
    }
}

/// One session for each port that sends something.
#[derive(Default)]
struct Host {
    is_receiver: bool,
    removed: usize,
}

impl Front for Host {
    type Machine = Player;

    fn route(
        &mut self,
        _now: Instant,
        received: &Received<'_>,
        peer_of: &dyn Fn(SessionId) -> Option<SocketAddr>,
        out: &mut TransmitBuf<'_>,
    ) -> Routed<Player> {
        let id = SessionId(received.source.port().into());
        if received.data == b"?" {
            out.push(|bytes| bytes.push(b'!'));
            return Routed::Reply(out.finish(received.source, Ecn::NotEct));
        }
        match peer_of(id) {
            Some(_) => Routed::Session(id),
            None if self.is_receiver => {
                let player = Player::new(received.source, false);
                Routed::New(id, received.source, Box::new(player))
            }
            None => Routed::Drop,
        }
    }

    fn on_event(&mut self, _now: Instant, _peer: SocketAddr, _event: Event) {}

    fn on_removed(&mut self, _now: Instant, _id: SessionId, _peer: SocketAddr, _machine: &Player) {
        self.removed += 1;
    }

    fn ends_with_sessions(&self) -> bool {
        !self.is_receiver
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn storage(wake: Wake) -> StorageHandle {
    StorageThread::start(Box::new(Willing))
        .unwrap()
        .handle(wake)
}

fn driver(is_receiver: bool, ends: &Ends) -> Driver<Host> {
    let front = Host {
        is_receiver,
        removed: 0,
    };
    Driver::new(front, storage(Arc::new(|| ())), ends.clone())
}

fn datagram(source: SocketAddr, data: &[u8]) -> Received<'_> {
    let ecn = Ecn::NotEct;
    Received { source, ecn, data }
}

/// Runs a receiver until `stop`, and tells its address.
fn serve(stop: &Stop) -> (SocketAddr, thread::JoinHandle<usize>) {
    let mut socket = Socket::bind(local(0)).unwrap();
    let address = socket.address();
    let finish = stop.clone();
    let server = thread::spawn(move || {
        let waiter = Waiter::new().unwrap();
        let _finishes = finish.subscribe(waiter.wake());
        let ends = Ends {
            finish,
            linger: Duration::from_secs(10),
            ..Ends::default()
        };
        let front = Host {
            is_receiver: true,
            removed: 0,
        };
        let mut driver = Driver::new(front, storage(waiter.wake()), ends);
        let clock = Clock::start();
        let buffers = ReceiveBuffers::new(4);
        blocking::run(&mut driver, &mut socket, &waiter, clock, buffers).unwrap();
        driver.finish(clock.now()).removed
    });
    (address, server)
}

#[test]
fn the_blocking_loop_plays_to_the_end() {
    let stop = Stop::new();
    let (peer, server) = serve(&stop);
    let waiter = Waiter::new().unwrap();
    let mut socket = Socket::for_peer(peer).unwrap();
    let mut driver = Driver::new(Host::default(), storage(waiter.wake()), Ends::default());
    let id = SessionId(peer.port().into());
    driver.add(id, peer, Box::new(Player::new(peer, true)));
    let buffers = ReceiveBuffers::new(1);
    blocking::run(&mut driver, &mut socket, &waiter, Clock::start(), buffers).unwrap();
    stop.stop();
    assert_eq!(server.join().unwrap(), 1);
}

#[tokio::test]
async fn the_asynchronous_loop_plays_to_the_end() {
    let stop = Stop::new();
    let (peer, server) = serve(&stop);
    let woken = Arc::new(Notify::new());
    let wake: Wake = {
        let woken = Arc::clone(&woken);
        Arc::new(move || woken.notify_one())
    };
    let mut socket = Socket::for_peer(peer).unwrap();
    let mut driver = Driver::new(Host::default(), storage(wake), Ends::default());
    let id = SessionId(peer.port().into());
    driver.add(id, peer, Box::new(Player::new(peer, true)));
    let buffers = ReceiveBuffers::new(1);
    async_loop::run(&mut driver, &mut socket, &woken, Clock::start(), buffers)
        .await
        .unwrap();
    stop.stop();
    assert_eq!(server.join().unwrap(), 1);
}

/// A driver with one player that has just sent its first datagram.
fn opened(obeys: bool, ends: &Ends) -> Driver<Host> {
    let mut driver = driver(false, ends);
    let player = Player {
        todo: Todo::Send,
        obeys,
        ..Player::new(local(9), true)
    };
    driver.add(SessionId(9), local(9), Box::new(player));
    assert_eq!(driver.step(at(1), 1), Step::Transmit);
    driver.on_sent();
    driver
}

#[test]
fn a_session_wakes_at_its_deadline() {
    let mut driver = opened(true, &Ends::default());
    assert_eq!(driver.step(at(1), 1), Step::Wait(Some(at(51))));
    assert_eq!(driver.step(at(50), 1), Step::Wait(Some(at(51))));
    assert_eq!(driver.step(at(51), 1), Step::Transmit);
    driver.on_sent();
    assert_eq!(driver.step(at(51), 1), Step::Wait(Some(at(101))));
}

#[test]
fn what_a_full_socket_left_is_offered_again() {
    let mut driver = driver(false, &Ends::default());
    driver.handle_datagram(at(1), datagram(local(9), b"?"));
    assert_eq!(driver.step(at(1), 1), Step::Transmit);
    assert_eq!(driver.on_blocked(0), None);
    assert_eq!(driver.step(at(2), 1), Step::Transmit);
    let (transmit, bytes) = driver.unsent().unwrap();
    assert_eq!((transmit.destination, bytes), (local(9), b"!".as_slice()));
    driver.on_blocked(1);
    assert_eq!(driver.unsent().map(|(_, bytes)| bytes.len()), Some(0));
}

#[test]
fn a_burst_lets_the_socket_be_read_in_between() {
    let mut driver = driver(true, &Ends::default());
    for _ in 0..2 * MAX_REPLIES {
        driver.handle_datagram(at(1), datagram(local(9), b"?"));
    }
    let (mut sent, mut waits) = (0, 0);
    loop {
        match driver.step(at(1), 1) {
            Step::Transmit => {
                sent += 1;
                driver.on_sent();
            }
            Step::Wait(Some(until)) => {
                assert_eq!(until, at(1));
                waits += 1;
            }
            step => break assert_eq!(step, Step::Wait(None)),
        }
    }
    assert_eq!(sent, MAX_REPLIES);
    assert_eq!(waits, MAX_REPLIES / BURST as usize);
}

#[test]
fn a_stop_ends_the_sessions() {
    let ends = Ends::default();
    let mut driver = opened(true, &ends);
    ends.stop.stop();
    assert_eq!(driver.step(at(2), 1), Step::Done);
    assert_eq!(driver.finish(at(2)).removed, 1);
}

#[test]
fn a_stop_does_not_wait_for_a_session_that_will_not_end() {
    let ends = Ends::default();
    let mut driver = opened(false, &ends);
    ends.stop.stop();
    assert_eq!(driver.step(at(2), 1), Step::Wait(Some(at(51))));
    let end = at(2) + ABORT_GRACE;
    assert_eq!(driver.step(end, 1), Step::Done);
    assert_eq!(driver.finish(end).removed, 1);
}

#[test]
fn a_finish_lets_sessions_linger_and_nobody_in() {
    let ends = Ends {
        linger: Duration::from_millis(100),
        ..Ends::default()
    };
    let mut driver = driver(true, &ends);
    // Not a number: it makes a session, and nothing that the storage thread could answer.
    driver.handle_datagram(at(1), datagram(local(9), b"--"));
    assert_eq!(driver.step(at(1), 1), Step::Wait(None));
    ends.finish.stop();
    assert_eq!(driver.step(at(2), 1), Step::Wait(Some(at(102))));
    driver.handle_datagram(at(3), datagram(local(8), b"--"));
    assert_eq!(driver.sessions.len(), 1);
    // The one that is left is aborted when its time is over.
    assert_eq!(driver.step(at(102), 1), Step::Done);
    assert_eq!(driver.finish(at(102)).removed, 2);
}
