//! The controller on a path of known rate and delay, one report at a time.

use super::*;
use crate::congestion::{Controller, Snapshot};

const PACKET: u64 = 1_472;
const RTT: Duration = Duration::from_millis(50);

/// Reports of the first flight, a round trip after it left, in which packets came at `rate`.
fn first_flight(xcc: &mut Xcc, rate: u64) {
    let start = Instant::from_millis(1_000);
    for packets in [34, 50, 66, 82, 96] {
        let at = Duration::from_nanos(packets * PACKET * 1_000_000_000 / rate);
        let then = Snapshot {
            sent_at: start,
            flight_started: start,
            seen_end: 1,
            received: 1,
            lost: 0,
            left_network: PACKET,
            largest_at_us: 1,
            in_flight: 96 * PACKET,
            is_app_limited: false,
        };
        let feedback = Feedback {
            rtt: Some(RTT),
            one_way_us: None,
            smoothed_rtt: RTT,
            min_rtt: RTT,
            next_number: 96,
            seen_end: packets,
            received: 16,
            lost: 0,
            received_total: packets,
            lost_total: 0,
            report_interval: RTT / 32,
            is_window_limited: false,
            ce: 0,
            host_drops: 0,
            in_flight: (96 - packets) * PACKET,
            rate: Some(RateSample {
                packets: packets - 1,
                arrived: packets - 1,
                interval: at,
                bytes: packets * PACKET,
                arrived_at_us: packets * PACKET * 1_000_000 / rate,
                is_first_flight: true,
                then,
            }),
        };
        xcc.on_report(start + RTT + at, &feedback);
    }
}

#[test]
fn every_report_of_the_first_flight_is_held_against_the_rate_it_left_at() {
    let mut xcc = Xcc::new(RTT, PACKET as usize, 7);
    let rate = xcc.rate() / 4;
    first_flight(&mut xcc, rate);
    let guess = xcc.start_up.guess();
    assert!((guess / rate as f64 - 1.0).abs() < 0.05, "guessed {guess}");
    assert!(xcc.start_up.has_seen_limit(), "the flight arrived slower");
    let mut xcc = Xcc::new(RTT, PACKET as usize, 7);
    let rate = xcc.rate();
    first_flight(&mut xcc, rate);
    assert!(!xcc.start_up.has_seen_limit(), "it arrived as it left");
}

/// A path that delivers up to `rate` bytes a second and loses `loss` of 1,000 packets, reported
/// every eighth of a round trip.
struct Path {
    xcc: Xcc,
    now: Instant,
    sent: u64,
    received: u64,
    lost: u64,
    /// The receiver's window is full all the time.
    is_app_limited: bool,
    /// What was known one round trip ago, newest last.
    history: alloc::collections::VecDeque<Snapshot>,
}

impl Path {
    fn new() -> Self {
        let now = Instant::from_millis(1_000);
        let xcc = Xcc::new(RTT, PACKET as usize, 7);
        Self {
            xcc,
            now,
            sent: 0,
            received: 0,
            lost: 0,
            is_app_limited: false,
            history: Default::default(),
        }
    }

    /// One interval; answers the rate that the controller chose in it.
    fn step(&mut self, rate: u64, loss: u64) -> u64 {
        let step = RTT / 8;
        let chosen = self.xcc.rate();
        let seconds = step.as_secs_f64();
        let packets = ((chosen.min(rate) as f64 * seconds / PACKET as f64) as u64).max(1);
        self.sent += packets;
        self.now = self.now + step;
        let lost = (self.sent * loss / 1_000).saturating_sub(self.lost);
        self.lost += lost;
        self.received += packets - lost.min(packets);
        let in_flight = (chosen.min(rate) as f64 * RTT.as_secs_f64()) as u64;
        let snapshot = Snapshot {
            sent_at: self.now - RTT,
            flight_started: self.now - RTT - RTT,
            seen_end: self.sent,
            received: self.received,
            lost: self.lost,
            left_network: self.sent * PACKET,
            largest_at_us: self.now.as_micros(),
            in_flight,
            is_app_limited: self.is_app_limited,
        };
        self.history.push_back(snapshot);
        let then = if self.history.len() > 8 {
            self.history.pop_front().unwrap()
        } else {
            return chosen;
        };
        let sample = RateSample {
            packets: self.sent - then.seen_end,
            arrived: self.received - then.received,
            interval: RTT,
            bytes: (self.sent - then.seen_end) * PACKET,
            arrived_at_us: self.now.as_micros(),
            is_first_flight: false,
            then,
        };
        self.xcc.on_report(
            self.now,
            &Feedback {
                rtt: Some(RTT),
                smoothed_rtt: RTT,
                min_rtt: RTT,
                one_way_us: None,
                next_number: self.sent + in_flight / PACKET,
                seen_end: self.sent,
                received: packets,
                received_total: self.received,
                lost,
                lost_total: self.lost,
                ce: 0,
                host_drops: 0,
                in_flight,
                report_interval: step,
                is_window_limited: false,
                rate: Some(sample),
            },
        );
        chosen
    }

    fn run(&mut self, steps: u32, rate: u64, loss: u64) -> u64 {
        (0..steps).map(|_| self.step(rate, loss)).sum::<u64>() / u64::from(steps)
    }
}

#[test]
fn it_starts_fast_and_comes_to_rest_at_the_rate_of_the_path() {
    let mut path = Path::new();
    assert!(path.xcc.is_starting());
    let rate = 12_500_000;
    path.run(400, rate, 0);
    assert!(!path.xcc.is_starting());
    let mean = path.run(400, rate, 0);
    assert!(
        (rate * 9 / 10..rate * 12 / 10).contains(&mean),
        "{mean} of {rate}"
    );
}

#[test]
fn loss_without_a_queue_does_not_slow_it_down() {
    let mut path = Path::new();
    let rate = 12_500_000;
    path.run(800, rate, 50);
    let mean = path.run(400, rate, 50);
    assert!(mean > rate * 85 / 100, "{mean} of {rate} with 5 % lost");
}

#[test]
fn a_sender_with_nothing_to_send_learns_no_lower_rate() {
    // SPEC: R-congestion-6
    let mut path = Path::new();
    let rate = 12_500_000;
    path.run(800, rate, 0);
    let before = path.xcc.rate();
    path.is_app_limited = true;
    path.run(800, rate / 20, 0);
    assert!(path.xcc.rate() > before * 9 / 10, "{}", path.xcc.rate());
    path.run(200, rate * 2, 0);
    assert!(path.xcc.rate() > before * 11 / 10, "but a higher one");
    path.is_app_limited = false;
    path.run(2_000, rate / 20, 0);
    assert!(path.xcc.rate() < before / 10, "and with enough to send any");
}

#[test]
fn silence_makes_it_slower_and_never_stops_it() {
    let mut path = Path::new();
    path.run(400, 12_500_000, 0);
    let before = path.xcc.rate();
    path.xcc.on_silence(path.now);
    assert!(path.xcc.rate() < before);
    (0..100).for_each(|_| path.xcc.on_silence(path.now));
    assert!(path.xcc.rate() > 0 && path.xcc.window() >= PACKET);
}

#[test]
fn a_full_window_of_the_receiver_does_not_keep_start_up_going_while_packets_are_lost() {
    let mut path = Path::new();
    path.is_app_limited = true;
    for _ in 0..8 * 8 {
        path.step(2_000_000, 0);
    }
    assert_eq!(path.xcc.phase, Phase::StartUp);
    for _ in 0..8 * 8 {
        path.step(2_000_000, 440);
    }
    assert_ne!(path.xcc.phase, Phase::StartUp);
}
