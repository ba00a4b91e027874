//! Round-trip time: smoothed value, variation and minimum, and the probe timeout made from them.

use crate::time::{Duration, Instant};

/// Assumed before the first sample.
pub const INITIAL_RTT: Duration = Duration::from_millis(200);
/// A minimum that was not seen again for so long is forgotten.
pub const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// No probe goes out sooner than this after the last packet.
pub const MIN_PTO: Duration = Duration::from_millis(10);

/// The estimator of RFC 6298, with a windowed minimum beside it.
#[derive(Clone, Debug)]
pub struct RttEstimator {
    smoothed: Option<Duration>,
    variation: Duration,
    latest: Duration,
    min: Duration,
    min_at: Instant,
}

impl Default for RttEstimator {
    fn default() -> Self {
        Self {
            smoothed: None,
            variation: INITIAL_RTT / 2,
            latest: INITIAL_RTT,
            min: INITIAL_RTT,
            min_at: Instant::ZERO,
        }
    }
}

impl RttEstimator {
    /// Takes one sample measured at `now`.
    pub fn on_sample(&mut self, now: Instant, sample: Duration) {
        self.latest = sample;
        let first = self.smoothed.is_none();
        if first || sample <= self.min || now.since(self.min_at) > MIN_RTT_WINDOW {
            self.min = sample;
            self.min_at = now;
        }
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                let delta = smoothed.abs_diff(sample);
                self.variation = (self.variation * 3 + delta) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    /// True once a sample has arrived.
    pub fn is_measured(&self) -> bool {
        self.smoothed.is_some()
    }

    /// The smoothed round-trip time.
    pub fn smoothed(&self) -> Duration {
        self.smoothed.unwrap_or(INITIAL_RTT)
    }

    /// The newest sample.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// The smallest sample of the last [`MIN_RTT_WINDOW`].
    pub fn min(&self) -> Duration {
        self.min
    }

    /// The probe timeout: how long to wait for feedback before asking for it (SPEC.md, `timers`).
    pub fn pto(&self) -> Duration {
        (self.smoothed() + self.variation * 4).max(MIN_PTO)
    }
}
