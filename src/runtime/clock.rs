//! Time for the engine: nanoseconds since the loop began, from the system's monotonic clock.

use std::time::Instant as SystemInstant;
use xfer_proto::time::Instant;

/// The origin of one loop's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(SystemInstant);

impl Clock {
    /// A clock that begins with this call.
    pub(crate) fn start() -> Self {
        Self(SystemInstant::now())
    }

    /// The time since the origin. Never goes back.
    pub(crate) fn now(self) -> Instant {
        let nanos = u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos)
    }
}
