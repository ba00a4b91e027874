//! A learning Ethernet switch with impaired ports, without a clock or a socket of its own.
//!
//! Frames and times go in, deliveries come out: [`Fabric::ingress`] takes a frame from a port,
//! [`Fabric::advance`] hands out what is due, [`Fabric::deadline`] says when to come back. Each
//! frame passes the *up* pipe of the port it came from and the *down* pipe of every port it goes
//! to. Times inside are nominal, so a driver that comes back late is late once and does not lower
//! the rate.

mod pipe;
mod table;
#[cfg(test)]
mod tests;

use crate::link::{Change, Profile};
pub use pipe::PipeStats;
use pipe::{Exits, Offer, Pipe};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use table::MacTable;

/// An Ethernet frame without its checksum, shared by the ports that it is flooded to.
pub type Frame = Rc<[u8]>;

/// Two addresses and a type.
pub const ETHERNET_HEADER_BYTES: usize = 14;

/// Frames on their way at once, over all ports, beside those that wait: a guard against a runaway
/// flood (about 1.5 GB).
const MAX_EVENTS: usize = 1 << 20;

/// Counters of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// From the host.
    pub up: PipeStats,
    /// To the host.
    pub down: PipeStats,
    /// Too short to be Ethernet.
    pub dropped_runt: u64,
    /// Dropped because the whole switch was full.
    pub dropped_overload: u64,
}

struct Port {
    profile: Profile,
    up: Pipe,
    down: Pipe,
    dropped_runt: u64,
    dropped_overload: u64,
}

/// What happens at a time.
enum Event {
    /// The frame on the wire of this port's up pipe has left it.
    UpServed(usize),
    /// A frame from this port reaches the middle of the switch.
    Switched(usize, Frame),
    /// The frame on the wire of this port's down pipe has left it.
    DownServed(usize),
    /// A frame reaches the host behind this port.
    Delivered(usize, Frame),
}

/// Ordered by time, then by age, so that equal times keep their order.
struct Scheduled {
    at: u64,
    serial: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

/// The switch. Times are nanoseconds of a clock that the driver chose.
pub struct Fabric {
    ports: Vec<Port>,
    table: MacTable,
    events: BinaryHeap<Reverse<Scheduled>>,
    serial: u64,
}

impl Fabric {
    /// A switch with a port for each profile. Every pipe draws from its own generator, so what one
    /// receiver loses says nothing about what another does, and the same `seed` repeats it all.
    pub fn new(profiles: Vec<Profile>, seed: u64) -> Self {
        let ports = profiles.into_iter().enumerate().map(|(index, profile)| {
            let pipe_seed =
                |direction: u64| seed ^ (2 * index as u64 + direction + 1).rotate_right(16);
            Port {
                up: Pipe::new(profile.up(), pipe_seed(0)),
                down: Pipe::new(profile.down(), pipe_seed(1)),
                profile,
                dropped_runt: 0,
                dropped_overload: 0,
            }
        });
        Self {
            ports: ports.collect(),
            table: MacTable::default(),
            events: BinaryHeap::new(),
            serial: 0,
        }
    }

    /// Changes the link of `port` from `now` on.
    pub fn change(&mut self, now: u64, port: usize, change: &Change) {
        let port = &mut self.ports[port];
        change.apply(&mut port.profile);
        port.up.set_link(port.profile.up());
        port.down.set_link(port.profile.down());
        if let Some(blackout) = change.blackout {
            let until = now.saturating_add(blackout.as_nanos() as u64);
            port.up.set_blackout(until);
            port.down.set_blackout(until);
        }
    }

    /// What a port does to its frames.
    pub fn profile(&self, port: usize) -> &Profile {
        &self.ports[port].profile
    }

    /// Bytes that wait at a port, up and down.
    pub fn waiting_bytes(&self, port: usize) -> (u64, u64) {
        (
            self.ports[port].up.waiting_bytes(),
            self.ports[port].down.waiting_bytes(),
        )
    }

    /// What a port did so far.
    pub fn stats(&self, port: usize) -> PortStats {
        let port = &self.ports[port];
        PortStats {
            up: port.up.stats,
            down: port.down.stats,
            dropped_runt: port.dropped_runt,
            dropped_overload: port.dropped_overload,
        }
    }

    /// A frame from the host behind `port`.
    pub fn ingress(&mut self, now: u64, port: usize, frame: &[u8]) {
        if frame.len() < ETHERNET_HEADER_BYTES {
            self.ports[port].dropped_runt += 1;
        } else if self.events.len() >= MAX_EVENTS {
            self.ports[port].dropped_overload += 1;
        } else if let Offer::Serving(done) = self.ports[port].up.offer(now, Rc::from(frame)) {
            self.schedule(done, Event::UpServed(port));
        }
    }

    /// Hands every frame that is due at `now` to `deliver`, with its port and the time it was due.
    pub fn advance(&mut self, now: u64, mut deliver: impl FnMut(usize, &[u8], u64)) {
        while self
            .events
            .peek()
            .is_some_and(|Reverse(next)| next.at <= now)
        {
            let Some(Reverse(Scheduled { at, event, .. })) = self.events.pop() else {
                break;
            };
            match event {
                Event::UpServed(port) => {
                    let (served, next) = self.ports[port].up.on_served(at);
                    self.schedule_exits(served, |frame| Event::Switched(port, frame));
                    self.schedule_next(next, Event::UpServed(port));
                }
                Event::Switched(port, frame) => self.forward(at, port, &frame),
                Event::DownServed(port) => {
                    let (served, next) = self.ports[port].down.on_served(at);
                    self.schedule_exits(served, |frame| Event::Delivered(port, frame));
                    self.schedule_next(next, Event::DownServed(port));
                }
                Event::Delivered(port, frame) => deliver(port, &frame, at),
            }
        }
    }

    /// When [`Fabric::advance`] has something to do next.
    pub fn deadline(&self) -> Option<u64> {
        self.events.peek().map(|Reverse(next)| next.at)
    }

    fn forward(&mut self, now: u64, from: usize, frame: &Frame) {
        let address = |at: usize| std::array::from_fn(|i| frame[at + i]);
        self.table.learn(address(6), from);
        match self.table.port(address(0)) {
            // The destination is behind the port that the frame came from: a switch filters it.
            Some(to) if to == from => {}
            Some(to) => self.send_down(now, to, frame),
            None => {
                for to in (0..self.ports.len()).filter(|to| *to != from) {
                    self.send_down(now, to, frame);
                }
            }
        }
    }

    fn send_down(&mut self, now: u64, to: usize, frame: &Frame) {
        if let Offer::Serving(done) = self.ports[to].down.offer(now, Rc::clone(frame)) {
            self.schedule(done, Event::DownServed(to));
        }
    }

    fn schedule_exits(&mut self, served: Option<(Frame, Exits)>, event: impl Fn(Frame) -> Event) {
        let Some((frame, exits)) = served else { return };
        for at in exits.into_iter().flatten() {
            self.schedule(at, event(Rc::clone(&frame)));
        }
    }

    fn schedule_next(&mut self, at: Option<u64>, event: Event) {
        if let Some(at) = at {
            self.schedule(at, event);
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.push(Reverse(Scheduled {
            at,
            serial: self.serial,
            event,
        }));
    }
}
