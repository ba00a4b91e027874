//! Start-up: looking for the rate of a path that nothing is known of, and letting go of the queue
//! that this made.

use super::probe::Verdict;
use super::{Ack, Feedback, Phase, Tally, Xcc};

/// Faster than the measured rate by so much.
pub(super) const PACING_GAIN: f64 = 2.77;
pub(super) const WINDOW_GAIN: f64 = 2.0;
const DRAIN_GAIN: f64 = 0.5;
/// The first flight is spread over this share of a round trip: fast enough that a path which is
/// slower shows its rate in how the flight arrives.
pub(super) const FIRST_SPREAD: f64 = 0.1;
/// What is always allowed in flight while nothing is sure, and what is enough of the first flight
/// for a guess: this share of it.
const SURE_SHARE: f64 = 1.0 / 3.0;
/// It is spread over at least this time, in seconds.
pub(super) const MIN_SPREAD: f64 = 0.005;
/// A flight that came slower than it left, by this factor, has seen what limits the path; then
/// start-up needs no more haste than this.
const SLOWED: f64 = 0.9;
const SURE_GAIN: f64 = 1.5;
/// Where the probes of the handshake showed a rate, the first flight leaves faster than that by
/// this factor, and so shows what limits the path; what follows it until a report comes leaves
/// slower by the other, because it is a guess.
const TRAIN_GAIN: f64 = 1.25;
const TRAIN_SHARE: f64 = 0.8;
/// All that leaves before the first report, in bytes, at most.
const MAX_TRAIN_BYTES: f64 = 8.0 * super::FIRST_FLIGHT_BYTES;
/// A guess is forgotten after so many rounds: by then there are samples of what was sent because of
/// it.
const GUESS_ROUNDS: u32 = 3;
/// Reports in a row of a queue.
const FULL_REPORTS: u32 = 4;
/// A first flight of which less arrived says nothing.
pub(super) const MIN_ARRIVED: f64 = 0.5;
/// What is lost of it has most likely passed the bottleneck, up to the rest of this share: where it
/// has not, the guess is too high by so much for a round.
pub(super) const MIN_PASSED: f64 = 0.9;
/// A round whose rate is better by so much has grown.
const GROWTH: f64 = 1.25;
/// Rounds without growth that end start-up.
const MAX_FLAT: u32 = 3;
const MAX_DRAIN_ROUNDS: u64 = 3;

/// How far start-up has come.
#[derive(Clone, Debug, Default)]
pub(super) struct StartUp {
    /// Packets of the first flight.
    flight: f64,
    /// What follows it leaves at this rate; 0 where nothing does.
    behind: f64,
    best: f64,
    flat_rounds: u32,
    /// What the arrival of the first flight says, in bytes a second; 0 while it says nothing.
    guess: f64,
    has_seen_limit: bool,
    rounds: u32,
    full_reports: u32,
    /// The path was seen to queue, which explains loss as well.
    has_queued: bool,
}

impl StartUp {
    /// After a first flight of `flight` packets.
    pub fn new(flight: f64) -> Self {
        Self {
            flight,
            ..Self::default()
        }
    }

    /// Packets that are always allowed in flight.
    pub fn min_window(&self) -> f64 {
        self.flight * SURE_SHARE
    }

    /// Bytes of the first flight.
    pub fn first_bytes(&self, packet: f64) -> f64 {
        self.flight * packet
    }

    /// The rate of what follows the first flight, until the first report.
    pub fn behind(&self) -> Option<f64> {
        (self.behind > 0.0).then_some(self.behind)
    }

    /// From the first report on the window says what may follow.
    pub fn on_report(&mut self) {
        self.behind = 0.0;
    }

    pub fn is_growing(&self) -> bool {
        self.flat_rounds == 0
    }

    /// Whether the path is known to be full: it has shown its limit, and several reports in a row
    /// speak of packets that waited for longer than `limit` seconds.
    fn is_full(&mut self, queue: Option<f64>, limit: f64) -> bool {
        match queue {
            Some(queue) if queue > limit => self.full_reports += 1,
            Some(_) => self.full_reports = 0,
            None => {}
        }
        self.has_seen_limit && self.rounds >= 2 && self.full_reports >= FULL_REPORTS
    }

    #[cfg(test)]
    pub fn has_seen_limit(&self) -> bool {
        self.has_seen_limit
    }

    pub fn guess(&self) -> f64 {
        self.guess
    }

    /// The first `packets` packets of the first flight came at `rate`. The longer the sample the
    /// better.
    pub fn on_first_flight(&mut self, packets: f64, rate: f64, sent_at: f64) {
        // What left behind it left slower, and says less.
        let is_first = packets <= self.flight || self.guess <= 0.0;
        if is_first && packets >= self.flight * SURE_SHARE && self.rounds < 2 {
            // The flight left faster than it came: that is the path's rate, more or less.
            self.has_seen_limit = rate < sent_at * SLOWED;
            self.guess = rate.min(sent_at);
        }
    }
}

impl Xcc {
    /// Probes of the handshake came at `rate`.
    pub(super) fn start_behind_train(&mut self, rate: f64) {
        let share = TRAIN_SHARE * rate;
        self.start_up.behind = share;
        let product = (share * self.min_rtt()).min(MAX_TRAIN_BYTES);
        self.window = self.window.max(product);
        self.first_rate = self.first_rate.max(TRAIN_GAIN * rate);
        self.rate = self.first_rate;
    }

    pub(super) fn on_start_up(&mut self, ack: &Ack, feedback: &Feedback) {
        self.start_up.has_queued |= ack.queue.is_some_and(|queue| queue > self.epsilon());
        if self.start_up.is_full(
            ack.queue,
            0.1 * self.min_rtt() + 0.003 + self.delays.jitter(),
        ) {
            return self.end_start_up(ack, feedback);
        }
        if !ack.is_round_over {
            return;
        }
        // A round in which there was nothing to send put no guess to the test.
        self.start_up.rounds += u32::from(!self.round.is_app_limited);
        if self.start_up.rounds > GUESS_ROUNDS {
            self.start_up.guess = 0.0;
        }
        if self.start_up.has_seen_limit {
            self.pacing_gain = SURE_GAIN;
        }
        let rate = self.round.best_rate;
        if rate >= self.start_up.best * GROWTH {
            self.start_up.best = rate;
            self.start_up.flat_rounds = 0;
        } else if !self.round.is_app_limited || ack.is_excess {
            // Who fills the window of the receiver alone is app-limited, but what is lost counts.
            self.start_up.flat_rounds += 1;
        }
        let flat = self.start_up.flat_rounds;
        let has_queue = self.round.min_queue > 0.1 * self.min_rtt() + 0.002 + self.delays.jitter();
        let is_lossy = flat >= 1 && ack.is_excess;
        if is_lossy {
            self.long_cap = self.product().max(self.round.best_flight);
        }
        if flat >= MAX_FLAT || (flat >= 1 && has_queue) || is_lossy {
            self.end_start_up(ack, feedback);
        }
    }

    fn end_start_up(&mut self, ack: &Ack, feedback: &Feedback) {
        self.baseline.on_start_up_over(ack.now);
        if ack.is_excess && !self.baseline.is_learned() && !self.start_up.has_queued {
            // Whose loss that was shows at half the rate.
            self.cycle.begin_anew();
            self.begin_look(feedback);
            return;
        }
        self.phase = Phase::Drain(self.round.number);
        self.pacing_gain = DRAIN_GAIN;
        self.window_gain = WINDOW_GAIN;
        self.start_round(feedback);
    }

    pub(super) fn on_drain(&mut self, since: u64, ack: &Ack, feedback: &Feedback) {
        let is_long = self.round.number > since + MAX_DRAIN_ROUNDS;
        if ack.in_flight <= self.drained() || is_long {
            self.cycle.begin_anew();
            // What start-up lost is not what cruising loses.
            self.tally = Tally::new(feedback);
            self.go_down(ack.now, Verdict::Failed, feedback);
        }
    }
}
