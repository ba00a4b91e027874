//! Competing traffic: senders of other protocols, as sources of packets without content.
//!
//! Each flow goes through a link of the network and hears of every packet that came through after a
//! fixed delay. Losses are noticed when three later packets were heard of, or when nothing is heard
//! of for long.

mod bbr;
mod cubic;

use crate::network::Network;
use crate::queue::{Event, EventQueue, Nanos, SECOND};
use bbr::Bbr;
use cubic::Cubic;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// UDP or TCP payload of a packet of cross traffic, in bytes.
pub const PACKET: usize = 1_472;
/// A packet is lost once so many later ones were heard of.
const REORDERING: u32 = 3;

/// Which controller a flow has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrossKind {
    /// CUBIC (RFC 9438) with slow start and its delay-based exit.
    Cubic,
    /// BBR version 1.
    Bbr,
}

/// One flow of cross traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrossSpec {
    /// Its controller.
    pub kind: CrossKind,
    /// When it starts.
    pub start: Nanos,
    /// When it stops.
    pub stop: Nanos,
    /// The link that it goes through.
    pub link: u32,
    /// Delay of its own access before the receiver, beyond the link's.
    pub extra_delay: Nanos,
    /// Delay of the way back.
    pub return_delay: Nanos,
}

/// What a controller learns from one round of feedback. Counts are in packets, times in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feedback {
    /// Virtual time.
    pub(crate) now: f64,
    /// Packets that arrived.
    pub(crate) acked: f64,
    /// Whether packets were found lost that were sent after the last reaction to a loss.
    pub(crate) is_new_loss: bool,
    /// Packets found lost.
    pub(crate) lost: f64,
    /// Round trip of the newest packet.
    pub(crate) rtt: f64,
    /// Delivery rate over the last round trip, in packets a second; 0 for none.
    pub(crate) rate: f64,
    /// Whether a round trip has passed since the last feedback that said so.
    pub(crate) is_round: bool,
    /// Packets in flight.
    pub(crate) inflight: f64,
    /// Lowest round trip so far.
    pub(crate) min_rtt: f64,
}

/// A model of a congestion controller.
pub(crate) trait Model: std::fmt::Debug {
    /// Takes feedback.
    fn on_feedback(&mut self, feedback: &Feedback);
    /// Nothing was heard for long: everything in flight is given up.
    fn on_timeout(&mut self);
    /// Most packets in flight.
    fn window(&self) -> f64;
    /// Packets a second, if the model paces.
    fn pacing(&self) -> Option<f64>;
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Nanos,
    delivered: u64,
    delivered_at: Nanos,
    first_sent: Nanos,
    is_acked: bool,
}

/// A flow as it runs.
#[derive(Debug)]
pub struct Cross {
    id: u32,
    spec: CrossSpec,
    model: Box<dyn Model>,
    sent: VecDeque<Sent>,
    base: u32,
    next: u32,
    largest: Option<u32>,
    inflight: u32,
    delivered: u64,
    delivered_at: Nanos,
    first_sent: Nanos,
    round_ends: u64,
    recovery_ends: u32,
    heard_at: Nanos,
    srtt: f64,
    min_rtt: f64,
    next_send: Nanos,
    armed: Option<Nanos>,
}

impl Cross {
    /// A flow that has not started.
    pub fn new(id: u32, spec: CrossSpec) -> Self {
        Self {
            id,
            spec,
            model: match spec.kind {
                CrossKind::Cubic => Box::<Cubic>::default(),
                CrossKind::Bbr => Box::<Bbr>::default(),
            },
            sent: VecDeque::new(),
            base: 0,
            next: 0,
            largest: None,
            inflight: 0,
            delivered: 0,
            delivered_at: spec.start,
            first_sent: spec.start,
            round_ends: 0,
            recovery_ends: 0,
            heard_at: spec.start,
            srtt: 0.0,
            min_rtt: f64::INFINITY,
            next_send: spec.start,
            armed: None,
        }
    }

    /// Delay of the way back.
    pub fn return_delay(&self) -> Nanos {
        self.spec.return_delay
    }

    /// Bytes of payload that came through.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered * PACKET as u64
    }

    /// The time has come to send, or to look whether feedback is overdue.
    pub fn on_timer(&mut self, now: Nanos, network: &mut Network, queue: &mut EventQueue) {
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
        }
        let patience = (SECOND / 2).max((4.0 * self.srtt * 1e9) as Nanos);
        if self.inflight > 0 && now >= self.heard_at + patience {
            self.heard_at = now;
            self.give_up();
            self.model.on_timeout();
        }
        self.send(now, network, queue);
    }

    /// A packet has come through.
    pub fn on_ack(
        &mut self,
        now: Nanos,
        number: u32,
        network: &mut Network,
        queue: &mut EventQueue,
    ) {
        self.heard_at = now;
        let known = number.checked_sub(self.base);
        let Some(sent) = known.and_then(|at| self.sent.get_mut(at as usize)) else {
            return;
        };
        if std::mem::replace(&mut sent.is_acked, true) {
            return;
        }
        let sent = *sent;
        self.inflight -= 1;
        self.delivered += 1;
        self.largest = self.largest.max(Some(number));
        let (lost, is_new_loss) = self.find_lost();
        let feedback = self.measure(now, &sent, lost, is_new_loss);
        self.model.on_feedback(&feedback);
        self.send(now, network, queue);
    }

    fn measure(&mut self, now: Nanos, sent: &Sent, lost: u32, is_new_loss: bool) -> Feedback {
        let rtt = seconds(now - sent.at);
        self.min_rtt = self.min_rtt.min(rtt);
        self.srtt = if self.srtt == 0.0 {
            rtt
        } else {
            0.875 * self.srtt + 0.125 * rtt
        };
        let sending = sent.at.saturating_sub(sent.first_sent);
        let interval = sending.max(now.saturating_sub(sent.delivered_at));
        let delivered = (self.delivered - sent.delivered) as f64;
        (self.delivered_at, self.first_sent) = (now, sent.at);
        let is_round = sent.delivered >= self.round_ends;
        if is_round {
            self.round_ends = self.delivered;
        }
        Feedback {
            now: seconds(now),
            acked: 1.0,
            is_new_loss,
            lost: f64::from(lost),
            rtt,
            rate: match seconds(interval) {
                interval if interval >= self.min_rtt * 0.999 => delivered / interval,
                _ => 0.0,
            },
            is_round,
            inflight: f64::from(self.inflight),
            min_rtt: self.min_rtt,
        }
    }

    /// Takes what is settled off the record; answers how many were lost, and whether since the last
    /// reaction.
    fn find_lost(&mut self) -> (u32, bool) {
        let (mut lost, mut is_new) = (0, false);
        let settled = self
            .largest
            .map_or(0, |largest| largest.saturating_sub(REORDERING));
        while let Some(first) = self.sent.front() {
            if !first.is_acked {
                if self.base >= settled {
                    break;
                }
                lost += 1;
                self.inflight -= 1;
                is_new |= self.base >= self.recovery_ends;
            }
            self.sent.pop_front();
            self.base += 1;
        }
        if is_new {
            self.recovery_ends = self.next;
        }
        (lost, is_new)
    }

    fn give_up(&mut self) {
        self.base = self.next;
        self.sent.clear();
        self.inflight = 0;
        self.recovery_ends = self.next;
        self.round_ends = self.delivered;
    }

    fn send(&mut self, now: Nanos, network: &mut Network, queue: &mut EventQueue) {
        if now >= self.spec.stop {
            return;
        }
        while f64::from(self.inflight) < self.model.window() {
            if let Some(rate) = self.model.pacing() {
                if self.next_send > now {
                    break;
                }
                self.next_send = self.next_send.max(now) + (1e9 / rate.max(1.0)) as Nanos;
            }
            self.send_one(now, network, queue);
        }
        let overdue = now + SECOND / 4;
        let at = match self.next_send {
            next if next > now && self.model.pacing().is_some() => overdue.min(next),
            _ => overdue,
        };
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            queue.push(at, Event::CrossSend(self.id));
        }
    }

    fn send_one(&mut self, now: Nanos, network: &mut Network, queue: &mut EventQueue) {
        if self.inflight == 0 {
            (self.first_sent, self.delivered_at) = (now, now);
            self.heard_at = now;
        }
        self.sent.push_back(Sent {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            is_acked: false,
        });
        let nowhere = SocketAddr::from(([10, 9, 0, 1], 9));
        let id = network.allocate(nowhere, nowhere, u32::MAX);
        let packet = network.packet_mut(id);
        packet.len = PACKET;
        packet.cross = Some((self.id, self.next));
        packet.extra_delay = self.spec.extra_delay;
        self.next += 1;
        self.inflight += 1;
        network.send(now, self.spec.link, id, queue);
    }
}

fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}
