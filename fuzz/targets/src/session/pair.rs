//! Two ends that talk to each other, over a network that alters what it carries.

use super::end::End;
use super::storage::Answer;
use super::{incoming, outgoing, receiver_address, sender_address};
use crate::packets::with_checksum;
use arbitrary::{Arbitrary, Result, Unstructured};
use std::collections::VecDeque;
use xfer_proto::config::{MIN_DATAGRAM, ReceiverConfig, SenderConfig};
use xfer_proto::id::SessionId;
use xfer_proto::machine::{Input, Machine};
use xfer_proto::session::{IncomingSession, OutgoingSession};
use xfer_proto::time::{Duration, Instant};
use xfer_proto::wire::frame::{Frame, Retry};
use xfer_proto::wire::header::Kind;

/// The last one is rare: it takes a while.
const SIZES: [u64; 6] = [0, 1, 1_170, 9_000, 70_000, (1 << 20) + 1];
/// Rounds after which two ends that nothing disturbs any more must have ended: each is a deadline.
const MAX_ROUNDS: usize = 20_000;
const MAX_HOSTILE_ROUNDS: usize = 500;
/// While datagrams are lost no more time than this goes by: longer silence is what makes a peer
/// give up, rightly.
const PATIENCE: Instant = Instant::from_millis(5_000);

/// What becomes of the next datagram.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fate {
    Deliver,
    Lose,
    Repeat,
    Delay,
    Flip(u16),
    /// A byte is another one, and the checksum right.
    Forge(u16, u8),
    Cut(u16),
}

#[derive(Arbitrary, Debug)]
enum Step {
    ToReceiver(Fate),
    ToSender(Fate),
    Rush(u8),
    Source(u8, Answer),
    Sink(u8, Answer),
    SinkAll,
    Deadline,
    Wait(u8),
}

/// Drives both ends as the input says, then without any disturbance to their end.
pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let files: Vec<u8> = u.arbitrary()?;
    let files: Vec<_> = files
        .iter()
        .take(4)
        .map(|&size| (SIZES[usize::from(size / 50)], false))
        .collect();
    let mut pair = Pair::new(&files);
    for _ in 0..400 {
        if u.is_empty() {
            break;
        }
        pair.step(u.arbitrary()?);
    }
    if pair.is_hostile {
        // Peers that lie may wait for each other as long as they like.
        pair.finish(MAX_HOSTILE_ROUNDS);
    } else {
        assert!(pair.finish(MAX_ROUNDS), "no end at {:?}", pair.now);
        assert_eq!(pair.tx.oracle.closed, Some(true), "the sender has failed");
        assert_eq!(pair.tx.oracle.committed, files.len());
        assert_eq!(pair.rx.oracle.committed, files.len());
    }
    Ok(())
}

struct Pair {
    now: Instant,
    tx: End<OutgoingSession>,
    rx: End<IncomingSession>,
    /// Someone lied: it need not end well.
    is_hostile: bool,
}

impl Pair {
    fn new(files: &[(u64, bool)]) -> Self {
        let now = Instant::from_millis(1);
        let sizes: Vec<_> = files.iter().map(|file| file.0).collect();
        let config = SenderConfig {
            max_datagram: MIN_DATAGRAM,
            read_buffer: 0,
            ..SenderConfig::default()
        };
        let tx = outgoing::open(now, config, files);
        let config = ReceiverConfig {
            write_buffer: 512 << 10,
            ..ReceiverConfig::default()
        };
        let rx = incoming::open(now, config);
        let mut pair = Self {
            now,
            tx: End::new(tx, receiver_address(), sizes.clone()),
            rx: End::new(rx, sender_address(), sizes),
            is_hostile: false,
        };
        // The receiver is past its handshake; the sender gets to its first flight by a token of any
        // kind.
        pair.tx.poll(now);
        let retry = Frame::Retry(Retry {
            token: b"token",
            received_size: MIN_DATAGRAM as u16,
            arrived_at_us: 0,
        });
        let (id, tag): (SessionId, u64) = (super::ID, super::TAG);
        let packet = crate::packets::frames_packet(Kind::Retry, id, 0, tag, &[retry]);
        pair.tx.datagrams.clear();
        pair.tx.receive(now, &packet);
        pair.rx.poll(now);
        pair
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::ToReceiver(fate) => {
                self.is_hostile |= deliver(now, &mut self.tx.datagrams, &mut self.rx, fate);
            }
            Step::ToSender(fate) => {
                self.is_hostile |= deliver(now, &mut self.rx.datagrams, &mut self.tx, fate);
            }
            Step::Rush(count) => (0..count).for_each(|_| self.exchange()),
            Step::Source(pick, answer) => {
                self.is_hostile |= !matches!(answer, Answer::Right);
                self.tx.answer(now, pick.into(), answer);
            }
            Step::Sink(pick, answer) => {
                self.is_hostile |= !matches!(answer, Answer::Right);
                self.rx.answer(now, pick.into(), answer);
            }
            Step::SinkAll => self.rx.answer_all(now),
            Step::Deadline => self.advance(PATIENCE),
            Step::Wait(millis) => {
                let at = now + Duration::from_millis(u64::from(millis) / 8);
                self.tick(at.min(PATIENCE));
            }
        }
    }

    /// One datagram each way.
    fn exchange(&mut self) {
        deliver(
            self.now,
            &mut self.tx.datagrams,
            &mut self.rx,
            Fate::Deliver,
        );
        deliver(
            self.now,
            &mut self.rx.datagrams,
            &mut self.tx,
            Fate::Deliver,
        );
    }

    /// Time goes on to the next deadline, but not beyond `end`.
    fn advance(&mut self, end: Instant) {
        let deadlines = [self.tx.deadline, self.rx.deadline];
        let ends = [self.tx.is_done, self.rx.is_done];
        let open = deadlines.into_iter().zip(ends).filter(|end| !end.1);
        if let Some(at) = open.filter_map(|end| end.0).min() {
            self.tick(at.max(self.now).min(end));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        self.tx.handle(now, Input::Timeout);
        self.rx.handle(now, Input::Timeout);
    }

    /// Nothing is lost any more, and storage answers at once. Tells whether both ends came to their
    /// end.
    fn finish(&mut self, rounds: usize) -> bool {
        for _ in 0..rounds {
            self.tx.answer_all(self.now);
            self.rx.answer_all(self.now);
            if self.tx.is_done && self.rx.is_done {
                return true;
            }
            if self.tx.datagrams.is_empty() && self.rx.datagrams.is_empty() {
                self.advance(Instant::from_millis(u64::from(u32::MAX)));
            } else {
                self.exchange();
            }
        }
        false
    }
}

/// Hands the next datagram over, as it is or not; answers whether it was forged.
fn deliver<M: Machine>(
    now: Instant,
    queue: &mut VecDeque<Vec<u8>>,
    to: &mut End<M>,
    fate: Fate,
) -> bool {
    let Some(mut datagram) = queue.pop_front() else {
        return false;
    };
    let len = datagram.len();
    let bit = |at: u16| usize::from(at) % (len * 8);
    match fate {
        Fate::Deliver => {}
        Fate::Lose => return false,
        Fate::Repeat => to.receive(now, &datagram),
        Fate::Delay => {
            let at = queue.len().min(3);
            queue.insert(at, datagram);
            return false;
        }
        Fate::Flip(at) if cfg!(fuzzing) => {
            // Every checksum counts as right: what is flipped is lost, as it would be.
            let _ = at;
            return false;
        }
        Fate::Flip(at) => datagram[bit(at) / 8] ^= 1 << (at % 8),
        Fate::Forge(at, value) => {
            datagram[bit(at) / 8] = value;
            datagram = with_checksum(&datagram);
        }
        Fate::Cut(at) => datagram.truncate(usize::from(at) % len),
    }
    to.receive(now, &datagram);
    matches!(fate, Fate::Forge(..) | Fate::Cut(_))
}
