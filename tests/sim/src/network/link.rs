//! One directed link: a drop-tail queue, a wire of some rate, a delay, and everything that goes
//! wrong.

use super::loss::{Burst, LossProcess};
use crate::histogram::Histogram;
use crate::queue::{Nanos, SECOND};
use std::collections::VecDeque;
use xfer_proto::rng::Rng;

/// What a link is like. The default is perfect: no limit, no delay, no fault.
#[derive(Clone, Debug, Default)]
pub struct LinkConfig {
    /// Bits a second; 0 for no limit.
    pub rate: u64,
    /// Bytes that may wait, the packet on the wire included; 0 for no limit. One packet always
    /// fits.
    pub queue_limit: u64,
    /// Drops what comes faster, in front of the queue.
    pub policer: Option<Policer>,
    /// Propagation delay.
    pub delay: Nanos,
    /// Extra delay, uniform from 0 to this.
    pub jitter: Nanos,
    /// Whether jitter may let a packet overtake another.
    pub jitter_reorders: bool,
    /// Parts per million of packets that are held back by `reorder_delay`.
    pub reorder_ppm: u32,
    /// How long a packet is held back.
    pub reorder_delay: Nanos,
    /// Random loss behind the queue, in parts per million.
    pub loss_ppm: u32,
    /// Loss in bursts behind the queue.
    pub burst: Option<Burst>,
    /// Parts per million of packets that arrive twice.
    pub duplicate_ppm: u32,
    /// Parts per million of packets with a few bits flipped.
    pub corrupt_ppm: u32,
    /// Of the corrupted data packets, parts per million whose checksum is made right again.
    pub repaired_ppm: u32,
    /// Longest UDP payload that passes, in bytes; 0 for no limit. Longer ones vanish without a
    /// word.
    pub mtu: usize,
    /// Bytes that each packet costs on the wire beyond its UDP payload.
    pub overhead: u64,
    /// Half-open times in which nothing passes, in ascending order.
    pub blackouts: Vec<(Nanos, Nanos)>,
    /// Changes to come, in ascending order of time.
    pub changes: Vec<LinkChange>,
}

/// A token bucket that delays nothing: what it has no tokens for is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policer {
    /// Bits a second that pass in the long run.
    pub rate: u64,
    /// Bytes that pass at once after a pause.
    pub burst: u64,
}

/// A scheduled change of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// When it happens.
    pub at: Nanos,
    /// The new rate in bits a second, if it changes.
    pub rate: Option<u64>,
    /// The new random loss in parts per million, if it changes.
    pub loss_ppm: Option<u32>,
    /// The new longest UDP payload, if it changes.
    pub mtu: Option<usize>,
}

/// What a link has seen. Bytes are counted with the overhead.
#[derive(Clone, Debug, Default)]
pub struct LinkStats {
    /// Packets that were offered.
    pub packets_in: u64,
    /// Bytes that were offered.
    pub bytes_in: u64,
    /// Packets that came out, copies included.
    pub packets_out: u64,
    /// Bytes that came out, copies included.
    pub bytes_out: u64,
    /// Packets that found the queue full, or no tokens.
    pub dropped_queue: u64,
    /// Packets lost at random or in a burst.
    pub dropped_loss: u64,
    /// Packets longer than the MTU.
    pub dropped_mtu: u64,
    /// Packets that were offered in a blackout.
    pub dropped_blackout: u64,
    /// Packets that arrived twice.
    pub duplicated: u64,
    /// Packets that arrived changed.
    pub corrupted: u64,
    /// How long packets waited for the wire, their own time on it not counted.
    pub queueing: Histogram,
}

/// A packet in the queue or in the pipe of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) packet: u32,
    pub(super) bytes: u64,
    /// In the queue: when its last bit is on the wire. In the pipe: when it comes out.
    pub(super) at: Nanos,
}

/// The link with what is on it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) config: LinkConfig,
    pub(super) stats: LinkStats,
    pub(super) queue: VecDeque<Waiting>,
    pub(super) pipe: VecDeque<Waiting>,
    pub(super) loss: LossProcess,
    pub(super) rng: Rng,
    /// Tokens of the policer, in bits, and when they were counted.
    tokens: (u64, Nanos),
    queued_bytes: u64,
    busy_until: Nanos,
    /// The departure that counts; a change of the rate leaves stale ones in the event queue.
    armed: Option<Nanos>,
    changes_done: usize,
}

impl Link {
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        let tokens = config.policer.map_or(0, |policer| policer.burst * 8);
        Self {
            config,
            tokens: (tokens, 0),
            stats: LinkStats::default(),
            queue: VecDeque::new(),
            pipe: VecDeque::new(),
            loss: LossProcess::default(),
            rng: Rng::new(seed),
            queued_bytes: 0,
            busy_until: 0,
            armed: None,
            changes_done: 0,
        }
    }

    /// Whether a packet of `payload` bytes gets into the queue at `now`; counts it either way.
    pub(super) fn admit(&mut self, now: Nanos, payload: usize) -> bool {
        let bytes = payload as u64 + self.config.overhead;
        self.stats.packets_in += 1;
        self.stats.bytes_in += bytes;
        let full = self.config.queue_limit > 0
            && self.queued_bytes > 0
            && self.queued_bytes + bytes > self.config.queue_limit;
        if self.config.mtu > 0 && payload > self.config.mtu {
            self.stats.dropped_mtu += 1;
        } else if self.is_dark(now) {
            self.stats.dropped_blackout += 1;
        } else if full || !self.pass_policer(now, bytes * 8) {
            self.stats.dropped_queue += 1;
        } else {
            return true;
        }
        false
    }

    fn pass_policer(&mut self, now: Nanos, bits: u64) -> bool {
        let Some(policer) = self.config.policer else {
            return true;
        };
        let (tokens, since) = self.tokens;
        let grown = u128::from(now - since) * u128::from(policer.rate) / u128::from(SECOND);
        // Counted only in whole tokens, so that none is lost between packets that come often.
        if grown > 0 {
            let all = (u128::from(tokens) + grown).min(u128::from(policer.burst) * 8);
            self.tokens = (all as u64, now);
        }
        let passes = self.tokens.0 >= bits;
        self.tokens.0 -= if passes { bits } else { 0 };
        passes
    }

    fn is_dark(&self, now: Nanos) -> bool {
        self.config
            .blackouts
            .iter()
            .any(|&(from, to)| (from..to).contains(&now))
    }

    /// Puts a packet at the end of the queue.
    pub(super) fn enqueue(&mut self, now: Nanos, packet: u32, payload: usize) {
        let bytes = payload as u64 + self.config.overhead;
        let start = self.busy_until.max(now);
        self.stats.queueing.record(start - now);
        self.busy_until = start + serialization(bytes, self.config.rate);
        self.queued_bytes += bytes;
        self.queue.push_back(Waiting {
            packet,
            bytes,
            at: self.busy_until,
        });
    }

    /// Takes the head off the queue, unless the departure at `now` is a stale one.
    pub(super) fn depart(&mut self, now: Nanos) -> Option<Waiting> {
        if self.armed != Some(now) {
            return None;
        }
        self.armed = None;
        let head = self.queue.pop_front()?;
        self.queued_bytes -= head.bytes;
        Some(head)
    }

    /// When the head of the queue leaves, where that was not asked before.
    pub(super) fn arm(&mut self) -> Option<Nanos> {
        let head = self.queue.front()?.at;
        (self.armed.replace(head) != Some(head)).then_some(head)
    }

    /// The next change of the schedule.
    pub(super) fn next_change(&self) -> Option<Nanos> {
        self.config
            .changes
            .get(self.changes_done)
            .map(|change| change.at)
    }

    /// Carries out the next change. Packets in the queue leave at the new rate; what is left of the
    /// one on the wire goes at the new rate too.
    pub(super) fn apply_change(&mut self, now: Nanos) {
        let Some(&change) = self.config.changes.get(self.changes_done) else {
            return;
        };
        self.changes_done += 1;
        self.config.loss_ppm = change.loss_ppm.unwrap_or(self.config.loss_ppm);
        self.config.mtu = change.mtu.unwrap_or(self.config.mtu);
        let old = self.config.rate;
        self.config.rate = change.rate.unwrap_or(old);
        if self.config.rate == old {
            return;
        }
        let mut free_at = now;
        for (at, waiting) in self.queue.iter_mut().enumerate() {
            let left = if at == 0 {
                let rest = u128::from(waiting.at.saturating_sub(now));
                let bytes = (rest * u128::from(old)).div_ceil(8_000_000_000);
                waiting.bytes.min(bytes as u64)
            } else {
                waiting.bytes
            };
            free_at += serialization(left, self.config.rate);
            waiting.at = free_at;
        }
        self.busy_until = free_at;
    }
}

/// How long `bytes` take at `rate` bits a second.
fn serialization(bytes: u64, rate: u64) -> Nanos {
    match rate {
        0 => 0,
        rate => (u128::from(bytes) * 8_000_000_000 / u128::from(rate)) as Nanos,
    }
}
