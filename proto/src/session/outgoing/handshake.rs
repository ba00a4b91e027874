//! Opening a session: probes of the path's size, the token, the first flight (SPEC.md,
//! `handshake`).

use super::{OutgoingSession, Phase};
use crate::config::{MAX_TOKEN, MIN_DATAGRAM, PROBE_SIZES};
use crate::congestion;
use crate::error::{ErrorCode, Failure};
use crate::id::PacketNumber;
use crate::machine::Event;
use crate::recovery::sent::MIN_REORDER_WINDOW;
use crate::rng::Rng;
use crate::session::outgoing::files::Files;
use crate::session::outgoing::path;
use crate::session::outgoing::train::{self, Train};
use crate::time::{Duration, Instant};
use crate::timer::Timer;
use crate::transmit::{Ecn, Transmit, TransmitBuf};
use crate::wire::frame::{Frame, Hello, Retry};
use crate::wire::header::{Kind, VERSION};
use crate::wire::packet::{DATA_OVERHEAD, FrameWriter};
use alloc::format;
use alloc::vec::Vec;

/// First wait for an answer; doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(300);
const MAX_WAIT: Duration = Duration::from_secs(2);
const MAX_DOUBLINGS: u32 = 8;
/// Each wait is spread to so many per mille of it, at least and at most: a crowd that started
/// together would otherwise come back together, and find the same turn of the receiver's budget
/// for answers spent each time.
const SPREAD_PER_MILLE: (u64, u64) = (750, 1_250);
/// Reports are wished for so often: an eighth of a round trip, within these bounds.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// How often the `Hello` with the token goes out at a time.
const HELLO_COPIES: usize = 2;
const MAX_INTERVAL: Duration = Duration::from_millis(25);

/// What the handshake knows.
#[derive(Debug)]
pub(super) struct Opening {
    max_datagram: usize,
    /// Sizes of probes that are still to be sent in this round, largest last.
    probes: Vec<usize>,
    train: Train,
    token: Vec<u8>,
    datagram_size: usize,
    sent_at: Instant,
    rounds: u32,
    rng: Rng,
    /// Why the receiver would not have us, when it said so: the reason to give when time runs out.
    pub refusal: Option<Failure>,
}

impl Opening {
    pub fn new(max_datagram: usize, seed: u64) -> Self {
        Self {
            max_datagram: max_datagram.max(MIN_DATAGRAM),
            probes: Vec::new(),
            train: Train::default(),
            token: Vec::new(),
            datagram_size: 0,
            sent_at: Instant::ZERO,
            rounds: 0,
            rng: Rng::new(seed),
            refusal: None,
        }
    }

    /// Whether the token is there, so that packets of the session may go out.
    pub fn is_sending(&self) -> bool {
        !self.token.is_empty()
    }

    /// `wait`, spread.
    fn spread(&mut self, wait: Duration) -> Duration {
        let (least, most) = SPREAD_PER_MILLE;
        wait * (least + self.rng.below(most - least + 1)) as u32 / 1_000
    }

    /// The probes of a round; those of the first also measure, where `is_measured`.
    fn start_probes(&mut self, is_measured: bool) {
        let max = self.max_datagram;
        let mut sizes: Vec<usize> = PROBE_SIZES
            .into_iter()
            .filter(|size| *size <= max)
            .collect();
        if sizes.first() != Some(&max) && max < PROBE_SIZES[0] {
            sizes.insert(0, max);
        }
        // Later rounds leave out the jumbo frames that some systems answer with an error.
        if self.rounds > 1 {
            sizes.retain(|size| *size <= PROBE_SIZES[1]);
        }
        if self.rounds == 1 && is_measured {
            sizes.extend([MIN_DATAGRAM; train::LEN]);
        }
        sizes.reverse();
        self.probes = sizes;
    }
}

impl OutgoingSession {
    pub(super) fn report_interval_us(&self) -> u32 {
        // How the first flight arrives tells a lot: it is reported more closely.
        let share = if self.phase == Phase::Opening { 32 } else { 8 };
        let interval = (self.rtt.smoothed() / share).clamp(MIN_INTERVAL, MAX_INTERVAL);
        interval.as_micros() as u32
    }

    /// The next packet of the handshake, if one is due.
    pub(super) fn transmit_hello(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf<'_>,
    ) -> Option<Transmit> {
        if self.timers.take_due(Timer::Handshake, now) {
            let first = if self.rtt.is_measured() {
                FIRST_WAIT
                    .min(self.rtt.pto() * 2)
                    .max(MIN_REORDER_WINDOW * 10)
            } else {
                FIRST_WAIT
            };
            let wait = first * (1 << self.opening.rounds.min(MAX_DOUBLINGS));
            let wait = self.opening.spread(wait.min(MAX_WAIT));
            self.timers.set(Timer::Handshake, now + wait);
            self.opening.rounds += 1;
            self.opening.sent_at = now;
            if self.opening.is_sending() {
                // Without it everything behind it is in vain.
                self.opening.probes = [MIN_DATAGRAM; HELLO_COPIES].to_vec();
            } else {
                let total = self.files.files.iter().map(|file| file.entry.size);
                let total = total.fold(0, u64::saturating_add);
                self.opening
                    .start_probes(total > congestion::FIRST_FLIGHT_BYTES);
            }
        }
        let size = self.opening.probes.pop()?;
        let has_token = self.opening.is_sending();
        Some(self.write_hello(now, has_token, size, out))
    }

    /// A `Hello` of `size` bytes, with the token or without.
    pub(super) fn write_hello(
        &mut self,
        now: Instant,
        has_token: bool,
        size: usize,
        out: &mut TransmitBuf<'_>,
    ) -> Transmit {
        // Without a token no session counts the packet, and so neither do we.
        let (number, datagram_size) = if has_token {
            (self.take_number(), self.opening.datagram_size as u16)
        } else {
            (PacketNumber(0), 0)
        };
        let token: &[u8] = if has_token { &self.opening.token } else { &[] };
        let mut packet = FrameWriter::new(Kind::Hello, self.id, number, self.tag, size);
        let interval_us = self.report_interval_us();
        packet.push(&Frame::Hello(Hello {
            token,
            datagram_size,
            interval_us,
        }));
        packet.pad();
        out.push(|bytes| packet.finish(bytes));
        let transmit = out.finish(self.peer, Ecn::NotEct);
        if has_token {
            self.sent.on_opening(number.0);
            self.sent.on_sent(now, number.0, 1, transmit.len as u64);
        }
        transmit
    }

    pub(super) fn on_retry(&mut self, now: Instant, retry: Retry<'_>) {
        if retry.token.is_empty() || retry.token.len() > MAX_TOKEN {
            return;
        }
        if self.phase == Phase::Open && self.renewal.on_retry() {
            self.opening.token = retry.token.to_vec();
        }
        if self.phase != Phase::Opening {
            return;
        }
        let size = usize::from(retry.received_size);
        if size == MIN_DATAGRAM {
            self.opening.train.on_arrival(retry.arrived_at_us);
        }
        if self.opening.is_sending() {
            self.guess_rate();
            // The answer to a smaller probe, or a token that the receiver did not take: the newer
            // one is good in either case. The `Hello` waits for its time where the answers to
            // probes may still come, and for a round trip in any case: it goes out twice, and so
            // would twice as many each time.
            self.opening.token = retry.token.to_vec();
            let waited = now.since(self.opening.sent_at);
            let is_repeated = self.opening.rounds > 1;
            if waited > self.rtt.pto() || is_repeated && waited >= self.rtt.min() {
                self.timers.set(Timer::Handshake, now);
            }
            return;
        }
        if size < MIN_DATAGRAM || size > self.opening.max_datagram {
            return;
        }
        if self.opening.rounds == 1 {
            self.rtt.on_sample(now, now.since(self.opening.sent_at));
        }
        self.opening.token = retry.token.to_vec();
        self.opening.datagram_size = size;
        self.path = path::Path::new(size);
        self.opening.rounds = 0;
        self.opening.probes.clear();
        let manifest = core::mem::take(&mut self.files.files);
        let manifest = manifest.into_iter().map(|file| file.entry).collect();
        self.files = Files::new(manifest, size - DATA_OVERHEAD, self.config.read_buffer);
        self.congestion = Some(congestion::controller(
            &self.config,
            self.rtt.smoothed(),
            size,
        ));
        self.peer_window = u64::MAX;
        self.timers.set(Timer::Handshake, now);
        self.on_heard(now);
    }

    /// Nothing was reported yet, but what the probes met may say how large the first flight can be.
    fn guess_rate(&mut self) {
        if let (Some(rate), Some(congestion)) = (self.opening.train.rate(), &mut self.congestion) {
            congestion.on_train(rate);
        }
    }

    /// The receiver does not know the session of a packet that followed a `Hello`: that is lost,
    /// most likely, and with it what stood behind it. It goes out again at once, but once for a
    /// round trip, as more packets than one may say so, and some may only have overtaken it.
    pub(super) fn on_hello_lost(&mut self, now: Instant) {
        let is_answer = now.since(self.opening.sent_at) >= self.rtt.min();
        if self.opening.is_sending() && self.opening.rounds == 1 && is_answer {
            self.timers.set(Timer::Handshake, now);
        }
    }

    /// The first report: the receiver has the session.
    pub(super) fn on_established(&mut self, now: Instant) {
        self.phase = Phase::Open;
        self.probe.ask();
        self.timers.stop(Timer::Handshake);
        self.start_stall_timer(now);
        self.opening.probes.clear();
        self.events.push_back(Event::Established);
    }

    pub(super) fn on_versions(&mut self, now: Instant, versions: &[u8]) {
        if self.phase == Phase::Opening && !versions.contains(&VERSION) {
            let text = format!("we speak version {VERSION}, the peer {versions:?}");
            self.fail(now, Failure::new(ErrorCode::VERSION, text));
        }
    }
}
