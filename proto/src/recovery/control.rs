//! The control stream: messages in order and without loss, one stream each way (SPEC.md,
//! `control-stream`).
//!
//! Messages are laid end to end and cut into blocks as they leave. A block is sent again, with the
//! same bytes, until the peer says that it has it.

use crate::range_set::RangeSet;
use crate::wire::DecodeError;
use crate::wire::frame::{BlockAck, GapRun, ranges};
use crate::wire::message::Message;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// Most bytes in one block: it fits the smallest datagram together with an acknowledgement.
pub const MAX_BLOCK: usize = 900;
/// Most blocks that are sent and not acknowledged.
pub const BLOCK_WINDOW: u64 = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Sent { number: u64 },
    Acked,
}

/// The sending end of one stream.
#[derive(Debug, Default)]
pub struct ControlSender {
    /// Bytes of messages that are in no block yet.
    pending: VecDeque<u8>,
    /// Blocks from `base` on.
    blocks: VecDeque<(Vec<u8>, State)>,
    base: u64,
    queued: usize,
    /// Blocks leave twice.
    is_redundant: bool,
    /// One past the last block that left for the first time, and second time where that was
    /// wanted.
    repeated_end: u64,
}

impl ControlSender {
    /// Whether blocks that leave from here on do so twice: where each costs little, and a lost one
    /// a round trip.
    pub fn set_redundant(&mut self, is_redundant: bool) {
        self.is_redundant = is_redundant;
    }

    /// Appends a message.
    pub fn push(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.pending.extend(bytes);
    }

    /// True when every message has reached the peer.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.blocks.is_empty()
    }

    /// Blocks that the peer has, from the first on.
    pub fn acknowledged(&self) -> u64 {
        self.base
    }

    /// Bytes that have not left yet.
    pub fn backlog(&self) -> usize {
        self.pending.len()
    }

    /// Whether a block is waiting to be sent.
    pub fn has_next(&self) -> bool {
        self.queued > 0 || (!self.pending.is_empty() && (self.blocks.len() as u64) < BLOCK_WINDOW)
    }

    /// The next block to send, at most `room` bytes unless it is sent again: its sequence number
    /// and bytes. [`Self::on_sent`] must follow when it left.
    pub fn next(&mut self, room: usize) -> Option<(u64, &[u8])> {
        if self.queued == 0 && self.has_next() {
            let len = self.pending.len().min(MAX_BLOCK).min(room);
            if len == 0 {
                return None;
            }
            let block: Vec<u8> = self.pending.drain(..len).collect();
            self.blocks.push_back((block, State::Queued));
            self.queued += 1;
        }
        let at = self
            .blocks
            .iter()
            .position(|block| block.1 == State::Queued)?;
        let block = self.blocks.get(at)?;
        Some((self.base + at as u64, &block.0))
    }

    /// Block `sequence` left in packet `number`.
    pub fn on_sent(&mut self, sequence: u64, number: u64) {
        let block = sequence
            .checked_sub(self.base)
            .and_then(|at| self.blocks.get_mut(at as usize));
        if let Some((_, state)) = block {
            if self.is_redundant && sequence >= self.repeated_end {
                self.repeated_end = sequence + 1;
                return;
            }
            self.queued -= usize::from(*state == State::Queued);
            *state = State::Sent { number };
            self.repeated_end = self.repeated_end.max(sequence + 1);
        }
    }

    /// Takes an acknowledgement. Blocks that were sent in packets below `lost_below` and are not in
    /// it are lost and queued again. `None` if the peer acknowledges what was never sent.
    pub fn on_ack(&mut self, ack: &BlockAck, lost_below: u64) -> Option<()> {
        let end = self.base + self.blocks.len() as u64;
        if ack.next > ack.end || ack.end > end || ack.missing.len() > BlockAck::MAX_RUNS {
            return None;
        }
        let missing = ranges(&ack.missing, ack.next, ack.end)?;
        let mut have = RangeSet::new();
        have.insert(self.base.min(ack.end)..ack.end);
        for range in missing {
            have.remove(range);
        }
        for (sequence, (bytes, state)) in (self.base..).zip(self.blocks.iter_mut()) {
            if have.contains(sequence) {
                self.queued -= usize::from(*state == State::Queued);
                *state = State::Acked;
                *bytes = Vec::new();
            } else if matches!(state, State::Sent { number } if *number < lost_below) {
                *state = State::Queued;
                self.queued += 1;
            }
        }
        while self
            .blocks
            .front()
            .is_some_and(|block| block.1 == State::Acked)
        {
            self.blocks.pop_front();
            self.base += 1;
        }
        Some(())
    }

    /// The oldest block that is not acknowledged goes out again: nothing was heard of it for a
    /// probe timeout, or a packet leaves that has room for it.
    pub fn repeat_oldest(&mut self) {
        let oldest = self
            .blocks
            .iter_mut()
            .find(|block| matches!(block.1, State::Sent { .. }));
        if let Some((_, state)) = oldest {
            *state = State::Queued;
            self.queued += 1;
        }
    }
}

/// The receiving end of one stream.
#[derive(Debug, Default)]
pub struct ControlReceiver {
    next: u64,
    /// Blocks that came before their turn.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
    /// Bytes in order that are not a whole message yet.
    bytes: Vec<u8>,
    read: usize,
}

impl ControlReceiver {
    /// Bytes of messages that are not whole, and of blocks that came before their turn.
    pub fn held(&self) -> usize {
        self.early_bytes + self.bytes.len()
    }

    /// Whether this is the block that everything waits for.
    pub fn is_next(&self, sequence: u64) -> bool {
        sequence == self.next
    }

    /// Takes a block; answers whether it was new.
    pub fn on_block(&mut self, sequence: u64, bytes: &[u8]) -> bool {
        let is_within = sequence >= self.next && sequence - self.next < BLOCK_WINDOW;
        if !is_within || self.early.contains_key(&sequence) || bytes.len() > MAX_BLOCK {
            return false;
        }
        self.early.insert(sequence, bytes.to_vec());
        self.early_bytes += bytes.len();
        while let Some(block) = self.early.remove(&self.next) {
            self.early_bytes -= block.len();
            self.bytes.extend_from_slice(&block);
            self.next += 1;
        }
        true
    }

    /// The next whole message.
    pub fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        loop {
            let mut rest = self.bytes.get(self.read..).unwrap_or_default();
            let Some(message) = Message::take(&mut rest)? else {
                // What is left is the start of a message: at most one message's length is ever
                // moved.
                self.bytes.drain(..self.read.min(self.bytes.len()));
                self.read = 0;
                return Ok(None);
            };
            self.read = self.bytes.len() - rest.len();
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// What to tell the peer.
    pub fn ack(&self) -> BlockAck {
        let mut missing = Vec::new();
        let mut at = self.next;
        let mut listed = self.next;
        for &sequence in self.early.keys() {
            if missing.len() == BlockAck::MAX_RUNS {
                break;
            }
            if sequence > at {
                missing.push(GapRun {
                    gap: at - listed,
                    run: sequence - at,
                });
                listed = sequence;
            }
            at = sequence + 1;
        }
        BlockAck {
            next: self.next,
            end: at,
            missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FileIndex;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_message_arrives_in_order(seed: u64, count in 1_u32..300, loss in 0_u32..500_000) {
            // SPEC: R-control-stream-4, R-control-stream-5
            let mut rng = Rng::new(seed);
            let (mut tx, mut rx) = (ControlSender::default(), ControlReceiver::default());
            for file in 0..count {
                tx.push(&Message::Hold { file: FileIndex(file) });
            }
            let (mut number, mut got) = (0_u64, 0_u32);
            let mut rounds = 0;
            while !tx.is_idle() {
                rounds += 1;
                prop_assert!(rounds < 10_000);
                let mut flight = Vec::new();
                while let Some((sequence, bytes)) = tx.next(64) {
                    flight.push((sequence, bytes.to_vec()));
                    tx.on_sent(sequence, number);
                    number += 1;
                }
                while !flight.is_empty() {
                    let at = rng.below(flight.len() as u64) as usize;
                    let (sequence, bytes) = flight.swap_remove(at);
                    if !rng.chance(loss) {
                        rx.on_block(sequence, &bytes);
                    }
                }
                while let Some(message) = rx.next_message().unwrap() {
                    prop_assert_eq!(message, Message::Hold { file: FileIndex(got) });
                    got += 1;
                }
                if !rng.chance(loss) {
                    prop_assert!(tx.on_ack(&rx.ack(), number).is_some());
                }
            }
            prop_assert_eq!(got, count);
        }
    }

    #[test]
    fn a_redundant_block_leaves_twice() {
        let mut tx = ControlSender::default();
        tx.push(&Message::OfferEnd { files: 1 });
        tx.set_redundant(true);
        let mut sent = Vec::new();
        for number in 0..4 {
            if let Some((sequence, _)) = tx.next(64) {
                sent.push(sequence);
                tx.on_sent(sequence, number);
            }
        }
        assert_eq!(sent, [0, 0]);
    }

    #[test]
    fn acknowledging_what_was_never_sent_is_noticed() {
        // SPEC: R-frame-ack-2
        let mut tx = ControlSender::default();
        tx.push(&Message::OfferEnd { files: 1 });
        assert!(tx.next(64).is_some());
        let ack = BlockAck {
            next: 2,
            end: 2,
            missing: Vec::new(),
        };
        assert_eq!(tx.on_ack(&ack, 0), None);
    }
    #[test]
    fn a_list_that_is_too_long_is_noticed() {
        // SPEC: R-frame-ack-3
        let mut tx = ControlSender::default();
        for number in 0..100 {
            tx.push(&Message::OfferEnd { files: 1 });
            assert!(tx.next(64).is_some());
            tx.on_sent(number, number);
        }
        let mut ack = BlockAck {
            next: 0,
            end: 100,
            missing: alloc::vec![GapRun { gap: 1, run: 1 }; BlockAck::MAX_RUNS],
        };
        assert_eq!(tx.on_ack(&ack, 0), Some(()));
        ack.missing.push(GapRun { gap: 1, run: 1 });
        assert_eq!(tx.on_ack(&ack, 0), None);
    }
}
