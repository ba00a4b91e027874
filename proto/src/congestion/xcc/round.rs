//! What one round trip and one report tell.

use super::Feedback;
use super::loss::RoundLoss;
use crate::time::Instant;

/// One round trip: from a packet to the report of a packet that was sent after that report.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    pub number: u64,
    /// Over once this packet was seen.
    pub ends_at: u64,
    /// Largest and smallest time in queues, in seconds.
    pub max_queue: f64,
    pub min_queue: f64,
    /// Largest rate sample, and largest number of bytes that one round trip delivered.
    pub best_rate: f64,
    pub best_flight: f64,
    pub is_app_limited: bool,
    /// The congestion window held packets back.
    pub is_window_limited: bool,
}

/// Where a count of loss began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub arrived: u64,
    pub lost: u64,
}

impl Tally {
    pub fn new(feedback: &Feedback) -> Self {
        Self {
            arrived: feedback.received_total,
            lost: feedback.lost_total,
        }
    }

    /// What came and what was lost since.
    pub fn since(&self, feedback: &Feedback) -> RoundLoss {
        let lost = feedback.lost_total.saturating_sub(self.lost) as f64;
        let arrived = feedback.received_total.saturating_sub(self.arrived) as f64;
        RoundLoss {
            packets: arrived + lost,
            lost,
        }
    }
}

/// One report, in the controller's terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub now: Instant,
    pub is_round_over: bool,
    /// Loss of the rounds since it was last looked at, where there are packets enough to tell.
    pub loss: Option<RoundLoss>,
    pub is_excess: bool,
    /// Bytes a second that entered the path; 0 where the report has no usable sample.
    pub rate: f64,
    /// Bytes that entered the path in the flight of the sample.
    pub flight: f64,
    /// Packets in flight when the newest packet left, and packets lost since.
    pub sent_flight: f64,
    pub sent_lost: f64,
    pub has_sample: bool,
    /// Packets that arrived, and whether any was lost.
    pub arrived: f64,
    pub has_loss: bool,
    pub in_flight: f64,
    /// How long the newest packet waited in queues, in seconds.
    pub queue: Option<f64>,
}
