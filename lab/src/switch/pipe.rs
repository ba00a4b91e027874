//! One direction of one port: a rate with a drop-tail queue, then everything that happens on the
//! way.

use super::Frame;
use crate::link::Link;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use xfer_proto::rng::Rng;

/// What a pipe did, by cause. Bytes are those of whole frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeStats {
    /// Frames and bytes that were offered.
    pub frames_in: u64,
    /// Bytes that were offered.
    pub bytes_in: u64,
    /// Frames that left at the other end, duplicates included.
    pub frames_out: u64,
    /// Bytes that left at the other end, duplicates included.
    pub bytes_out: u64,
    /// Dropped because the queue was full.
    pub dropped_queue: u64,
    /// Dropped by random loss.
    pub dropped_loss: u64,
    /// Dropped in a black-out.
    pub dropped_blackout: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
    /// The most bytes that ever waited.
    pub queue_peak_bytes: u64,
}

/// Where a frame that was offered stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// The wire was idle; the frame has left it at this time.
    Serving(u64),
    /// It waits, or it was dropped: nothing to schedule.
    Settled,
}

/// When the copies of a frame reach the far end: none when it is lost, two when it is duplicated.
pub type Exits = [Option<u64>; 2];

/// A rate, a queue and impairments. All times are nanoseconds of the switch's clock.
pub struct Pipe {
    link: Link,
    rng: Rng,
    on_wire: Option<Frame>,
    waiting: VecDeque<Frame>,
    waiting_bytes: u64,
    blackout_until: u64,
    last_exit: u64,
    /// Counters since the start.
    pub stats: PipeStats,
}

impl Pipe {
    /// A pipe whose fate repeats itself for the same `seed`.
    pub fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            rng: Rng::new(seed),
            on_wire: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            blackout_until: 0,
            last_exit: 0,
            stats: PipeStats::default(),
        }
    }

    /// Changes the link. What waits is served at the new rate; what is on its way keeps its time.
    pub fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Loses everything that leaves the wire before `until`.
    pub fn set_blackout(&mut self, until: u64) {
        self.blackout_until = until;
    }

    /// Bytes that wait behind the frame on the wire.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// A frame arrives at the near end.
    pub fn offer(&mut self, now: u64, frame: Frame) -> Offer {
        let len = frame.len() as u64;
        self.stats.frames_in += 1;
        self.stats.bytes_in += len;
        if self.on_wire.is_none() {
            let done = now + self.wire_time(len);
            self.on_wire = Some(frame);
            return Offer::Serving(done);
        }
        if self.waiting_bytes + len > self.link.queue_bytes {
            self.stats.dropped_queue += 1;
            return Offer::Settled;
        }
        self.waiting_bytes += len;
        self.stats.queue_peak_bytes = self.stats.queue_peak_bytes.max(self.waiting_bytes);
        self.waiting.push_back(frame);
        Offer::Settled
    }

    /// The frame on the wire has left it at `now`. Returns it with the times at which it reaches
    /// the far end, and when the next one leaves the wire.
    pub fn on_served(&mut self, now: u64) -> (Option<(Frame, Exits)>, Option<u64>) {
        let served = self.on_wire.take();
        let mut next = None;
        if let Some(frame) = self.waiting.pop_front() {
            let len = frame.len() as u64;
            self.waiting_bytes -= len;
            next = Some(now + self.wire_time(len));
            self.on_wire = Some(frame);
        }
        (
            served
                .map(|frame| (self.exits(now, frame.len() as u64), frame))
                .map(|(e, f)| (f, e)),
            next,
        )
    }

    fn exits(&mut self, now: u64, len: u64) -> Exits {
        if now < self.blackout_until {
            self.stats.dropped_blackout += 1;
            return [None; 2];
        }
        if self.rng.chance(self.link.loss) {
            self.stats.dropped_loss += 1;
            return [None; 2];
        }
        let exit = now + self.link.delay_ns + self.rng.below(self.link.jitter_ns);
        let exit = if self.rng.chance(self.link.reorder) {
            self.stats.reordered += 1;
            exit + self.link.reorder_by_ns
        } else {
            // Jitter alone does not reorder: a frame that is held holds those behind it.
            self.last_exit = self.last_exit.max(exit);
            self.last_exit
        };
        let copy = self.rng.chance(self.link.duplicate).then_some(exit);
        let copies = 1 + u64::from(copy.is_some());
        self.stats.duplicated += copies - 1;
        self.stats.frames_out += copies;
        self.stats.bytes_out += copies * len;
        [Some(exit), copy]
    }

    /// How long `len` bytes occupy the wire.
    fn wire_time(&self, len: u64) -> u64 {
        match self.link.rate {
            Some(rate) => (u128::from(len) * 8_000_000_000 / u128::from(rate)) as u64,
            None => 0,
        }
    }
}
