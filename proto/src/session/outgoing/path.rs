//! What the path carries while a session runs: it may come to carry less than the handshake found,
//! without a word (SPEC.md, `black-holes`).
//!
//! Chunks keep their size, because both ends number them by it. What the path does not carry whole
//! goes in parts.

use super::OutgoingSession;
use super::files::Phase as FilePhase;
use crate::config::MIN_DATAGRAM;
use crate::file::parts::{part_count, part_len, part_range};
use crate::rng::Rng;
use crate::transmit::TransmitBuf;
use crate::wire::packet::{DATA_OVERHEAD, PART_OVERHEAD, encode_part};
use alloc::collections::VecDeque;
use core::ops::Range;

/// Full packets in a row that vanish while small ones come, and the round trips that this takes:
/// chance and a full queue do not look like that.
const VANISHED_PACKETS: u64 = 10;
const VANISHED_ROUNDS: u32 = 3;

/// The size of packets, and what speaks against it.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Bytes of a full data packet.
    datagram_size: usize,
    /// Bytes of a chunk in each part, once the path carries no full packets.
    part: Option<usize>,
    /// The chunk whose parts go out.
    open: Option<Open>,
    /// Numbers of full packets that no report has passed.
    full: VecDeque<Range<u64>>,
    seen_end: u64,
    first_missing: u64,
    vanished: u64,
    rounds: u32,
    /// The round trip ends with a report of this packet or a later one.
    round_end: u64,
}

/// A chunk whose parts go out.
#[derive(Clone, Copy, Debug)]
struct Open {
    chunk: u64,
    /// The next part.
    index: usize,
    /// Parts that went out.
    sent: usize,
}

impl Path {
    /// A path that carried a datagram of `datagram_size` bytes.
    pub fn new(datagram_size: usize) -> Self {
        Self {
            datagram_size,
            ..Self::default()
        }
    }

    /// Bytes of the largest packet with file content.
    pub fn packet_size(&self) -> usize {
        self.part
            .map_or(self.datagram_size, |len| len + PART_OVERHEAD)
    }

    /// Whether chunks go in parts.
    pub fn is_cut(&self) -> bool {
        self.part.is_some()
    }

    /// How many bytes of a chunk of `chunk` bytes go into each part; `None` where it goes whole.
    pub fn part_of(&self, chunk: usize) -> Option<usize> {
        self.part.filter(|len| chunk > *len)
    }

    /// A data packet of `bytes` bytes left.
    pub fn on_sent(&mut self, number: u64, bytes: usize) {
        if bytes <= MIN_DATAGRAM {
            return;
        }
        match self.full.back_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => self.full.push_back(number..number + 1),
        }
    }

    /// A report has come: `seen` is the end of the packet numbers that the receiver has seen, and
    /// how many more packets it has got since the last one.
    pub fn on_report(&mut self, seen: (u64, u64), first_missing: u64, next_number: u64) {
        let (seen_end, received) = seen;
        let passed = seen_end.saturating_sub(self.seen_end);
        let full = self.take_full_below(seen_end);
        let is_progress = first_missing > self.first_missing;
        self.seen_end = self.seen_end.max(seen_end);
        self.first_missing = self.first_missing.max(first_missing);
        if is_progress || received > passed - full {
            (self.vanished, self.rounds) = (0, 0);
            return;
        }
        self.vanished += full;
        if full > 0 && seen_end > self.round_end {
            self.rounds += 1;
            self.round_end = next_number;
        }
        if self.vanished >= VANISHED_PACKETS && self.rounds >= VANISHED_ROUNDS {
            self.step_down();
        }
    }

    /// The system refused a packet for its size.
    pub fn on_too_large(&mut self) {
        self.step_down();
    }

    /// From here on no packet is larger than what every path carries.
    fn step_down(&mut self) {
        if self.datagram_size > MIN_DATAGRAM && self.part.is_none() {
            let chunk = self.datagram_size - DATA_OVERHEAD;
            self.part = Some(part_len(chunk, MIN_DATAGRAM - PART_OVERHEAD));
            self.full = VecDeque::new();
        }
    }

    fn take_full_below(&mut self, end: u64) -> u64 {
        let mut taken = 0;
        while let Some(run) = self.full.front_mut().filter(|run| run.start < end) {
            let until = run.end.min(end);
            taken += until - run.start;
            run.start = until;
            if run.is_empty() {
                self.full.pop_front();
            }
        }
        taken
    }
}

impl OutgoingSession {
    /// A chunk goes out in parts: [`Self::write_part`] has the next packets. They go round from any
    /// of them: a queue that holds less than a chunk drops what leaves last, time after time.
    pub(super) fn start_parts(&mut self, chunk: u64, len: usize) {
        let count = self
            .path
            .part_of(len)
            .map_or(1, |part| part_count(len, part));
        let first = Rng::new(self.next_number).below(count as u64);
        self.path.open = Some(Open {
            chunk,
            index: first as usize,
            sent: 0,
        });
    }

    /// Writes the next part of the chunk that is going out; answers whether there was one.
    pub(super) fn write_part(&mut self, out: &mut TransmitBuf<'_>) -> bool {
        let Some(Open { chunk, index, sent }) = self.path.open.take() else {
            return false;
        };
        let Some(place) = self.files.layout.place(chunk) else {
            return false;
        };
        let is_wanted = self
            .files
            .get(place.file)
            .is_some_and(|file| file.phase == FilePhase::Sending);
        // What is not in memory any more counts as lost, and comes again as a repair.
        let (Some(len), true) = (self.path.part_of(place.len), is_wanted) else {
            return false;
        };
        if !self.files.is_in_memory(chunk) {
            return false;
        }
        let number = self.take_number();
        let Some((head, tail)) = self.files.payload(chunk, &mut self.storage) else {
            return false;
        };
        let range = part_range(place.len, len, index);
        let first = clip(head, 0, &range);
        let second = clip(tail, head.len(), &range);
        let at = (chunk, range.start as u16);
        out.push(|bytes| encode_part(bytes, self.id, number, at, first, second));
        self.flights.on_sent(chunk, number.0);
        let count = part_count(place.len, len);
        if sent + 1 < count {
            self.path.open = Some(Open {
                chunk,
                index: (index + 1) % count,
                sent: sent + 1,
            });
        }
        true
    }
}

/// What `range` of the chunk has in `piece`, which begins at `start` of it.
fn clip<'a>(piece: &'a [u8], start: usize, range: &Range<usize>) -> &'a [u8] {
    let at = |end: usize| end.saturating_sub(start).min(piece.len());
    piece
        .get(at(range.start)..at(range.end))
        .unwrap_or_default()
}
