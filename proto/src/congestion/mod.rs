//! How fast to send: controllers, and the pacer that spreads packets in time (SPEC.md,
//! `congestion`).

mod cubic;
mod fixed;
pub mod pacing;
mod xcc;

pub use cubic::Cubic;
pub use fixed::Fixed;
pub use xcc::Xcc;

use crate::config::{Congestion, SenderConfig};
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use core::fmt::Debug;

/// Most bytes of a first flight while nothing is known of the path.
pub const FIRST_FLIGHT_BYTES: u64 = 96 * 1_472;

/// What was known when a packet left; kept with it until a report speaks of it.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// When it left.
    pub sent_at: Instant,
    /// When the flight that it belongs to began to leave.
    pub flight_started: Instant,
    /// One past the largest packet number that the receiver had seen.
    pub seen_end: u64,
    /// Packets that had come through the path.
    pub received: u64,
    /// Packets that the path had lost.
    pub lost: u64,
    /// Bytes that had left the network, with packets that arrived or were lost.
    pub left_network: u64,
    /// The receiver's clock at its largest packet, in microseconds; 0 before the first report.
    pub largest_at_us: u64,
    /// Bytes in flight, this packet included.
    pub in_flight: u64,
    /// The sender had nothing more to send: what follows says nothing about the path's capacity.
    pub is_app_limited: bool,
}

/// Packets that arrived between two moments of the receiver's clock.
#[derive(Clone, Copy, Debug)]
pub struct RateSample {
    /// Packet numbers passed, lost ones included.
    pub packets: u64,
    /// Packets that came through the path among them, those that the receiving host dropped
    /// included.
    pub arrived: u64,
    /// The longer of the time that sending them took and the time that receiving them took.
    pub interval: Duration,
    /// Bytes of all those packets, lost ones included.
    pub bytes: u64,
    /// The receiver's clock when the newest of them came, in microseconds.
    pub arrived_at_us: u64,
    /// They left before any report had come.
    pub is_first_flight: bool,
    /// What was known when the newest of them left.
    pub then: Snapshot,
}

/// What one report means to a controller.
#[derive(Clone, Copy, Debug)]
pub struct Feedback {
    /// The newest round-trip sample, where there is one.
    pub rtt: Option<Duration>,
    /// The receiver's clock when its newest packet came less ours when that left, in microseconds,
    /// where there is a round-trip sample. Only differences have a meaning.
    pub one_way_us: Option<i64>,
    /// Smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// Smallest round-trip time of the last ten seconds.
    pub min_rtt: Duration,
    /// Number of the next packet to be sent.
    pub next_number: u64,
    /// One past the largest packet number that the receiver has seen.
    pub seen_end: u64,
    /// Packets that arrived since the last report.
    pub received: u64,
    /// Packets lost since the last report, those that the receiving host dropped included.
    pub lost: u64,
    /// Packets that have come through the path so far.
    pub received_total: u64,
    /// Packets that the path has lost so far; less where some turned out to be only late.
    pub lost_total: u64,
    /// How often the receiver was asked to report.
    pub report_interval: Duration,
    /// The controller's window has held data back since the last report.
    pub is_window_limited: bool,
    /// Packets marked "congestion experienced" since the last report.
    pub ce: u64,
    /// Datagrams that the receiving host itself dropped since the last report. They are among
    /// `lost`, and they say nothing about the path.
    pub host_drops: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// How fast packets arrived.
    pub rate: Option<RateSample>,
}

/// Decides how much may be in flight and how fast it leaves.
///
/// All rates are bytes of UDP payload a second, all windows bytes of it.
pub trait Controller: Debug + Send {
    /// A report came.
    fn on_report(&mut self, now: Instant, feedback: &Feedback);

    /// Probes before the first packet of data came at `rate`: nothing is reported yet.
    fn on_train(&mut self, _rate: u64) {}

    /// Data left; `in_flight` bytes are in flight now.
    fn on_sent(&mut self, _in_flight: u64) {}

    /// There was data in flight and no feedback for several round trips.
    fn on_silence(&mut self, now: Instant);

    /// Most bytes in flight.
    fn window(&self) -> u64;

    /// Bytes a second to pace at.
    fn rate(&self) -> u64;

    /// What the rate makes in this time may leave at once.
    fn batch_time(&self) -> Duration {
        pacing::BATCH_TIME
    }
}

/// The controller that `config` names, for a path whose round-trip time was measured as `rtt`, with
/// packets of at most `packet` bytes.
pub fn controller(config: &SenderConfig, rtt: Duration, packet: usize) -> Box<dyn Controller> {
    match (config.congestion, config.max_rate) {
        (Congestion::Fixed, Some(rate)) => Box::new(Fixed::new(rate, rtt, packet)),
        (Congestion::Cubic, _) => Box::new(Cubic::new(rtt, packet)),
        // Without a rate there is nothing to fix.
        (Congestion::Xcc | Congestion::Fixed, _) => Box::new(Xcc::new(rtt, packet, config.seed)),
    }
}

/// Bytes that `rate` bytes a second make in `time`.
pub fn bytes_in(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Bytes a second where `bytes` take `time`; `u64::MAX` for no time at all.
pub fn rate_of(bytes: u64, time: Duration) -> u64 {
    let rate = (u128::from(bytes) * 1_000_000_000).checked_div(time.as_nanos());
    rate.and_then(|rate| u64::try_from(rate).ok())
        .unwrap_or(u64::MAX)
}
