//! What a link does to the frames that pass it.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The smallest queue that a rate-limited port is given when none is asked for.
const MIN_QUEUE_BYTES: u64 = 64 * 1024;

/// The four pipes that a round trip passes: up and down at either end.
const PIPES_PER_ROUND_TRIP: u32 = 4;

/// How one port of the switch treats its host, both ways.
///
/// The rate counts the bytes of Ethernet frames as the hosts see them: 14 bytes of header plus the
/// IP packet, neither preamble nor checksum nor gap. It holds for each direction on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Bits a second each way; `None` is not limited.
    pub rate: Option<u64>,
    /// Bytes that may wait each way; what comes on top is dropped. `None` is one rate × round
    /// trip, and at least 64 KiB.
    pub queue: Option<u64>,
    /// The round-trip time between two hosts of this profile. A quarter of it lies in each of the
    /// four pipes of a round trip.
    pub delay: Duration,
    /// Each frame from the host is held for a uniform time below this. Their order stays.
    pub jitter: Duration,
    /// Parts per million of the frames from the host that are lost, for all receivers alike.
    pub loss: u32,
    /// Parts per million of the frames to the host that are lost, for this receiver alone.
    pub down_loss: u32,
    /// Parts per million of the frames from the host that arrive twice.
    pub duplicate: u32,
    /// Parts per million of the frames from the host that are held back, so that later ones
    /// overtake.
    pub reorder: u32,
    /// For how long they are held back.
    pub reorder_by: Duration,
}

/// One direction of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Bits a second; `None` is not limited.
    pub rate: Option<u64>,
    /// Bytes that may wait.
    pub queue_bytes: u64,
    /// Every frame takes this long.
    pub delay_ns: u64,
    /// And up to this much more, in order.
    pub jitter_ns: u64,
    /// Parts per million.
    pub loss: u32,
    /// Parts per million.
    pub duplicate: u32,
    /// Parts per million.
    pub reorder: u32,
    /// How much longer a reordered frame takes.
    pub reorder_by_ns: u64,
}

impl Profile {
    /// The most bits a second of frames that can arrive: (1 - loss) x rate; `None` where no rate
    /// limits.
    pub fn limit_bits(&self) -> Option<f64> {
        let kept = |loss: u32| 1.0 - f64::from(loss) / 1e6;
        Some(self.rate? as f64 * kept(self.loss) * kept(self.down_loss))
    }

    /// Bytes that may wait each way. Where no rate limits, nothing has to wait and nothing is
    /// dropped.
    pub fn queue_bytes(&self) -> u64 {
        let Some(rate) = self.rate else {
            return u64::MAX / 2;
        };
        self.queue.unwrap_or_else(|| {
            let bits = rate as f64 * self.delay.as_secs_f64();
            (bits as u64 / 8).max(MIN_QUEUE_BYTES)
        })
    }

    /// From the host to the switch.
    pub fn up(&self) -> Link {
        Link {
            jitter_ns: nanos(self.jitter),
            loss: self.loss,
            duplicate: self.duplicate,
            reorder: self.reorder,
            reorder_by_ns: nanos(self.reorder_by),
            ..self.bare()
        }
    }

    /// From the switch to the host.
    pub fn down(&self) -> Link {
        Link {
            loss: self.down_loss,
            ..self.bare()
        }
    }

    fn bare(&self) -> Link {
        Link {
            rate: self.rate,
            queue_bytes: self.queue_bytes(),
            delay_ns: nanos(self.delay / PIPES_PER_ROUND_TRIP),
            ..Link::default()
        }
    }
}

/// Half of a `u64` of nanoseconds is 292 years, so nothing is lost.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// A change to a profile: what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// As in [`Profile`]; the inner `None` lifts the limit.
    pub rate: Option<Option<u64>>,
    /// As in [`Profile`].
    pub queue: Option<u64>,
    /// As in [`Profile`].
    pub delay: Option<Duration>,
    /// As in [`Profile`].
    pub jitter: Option<Duration>,
    /// As in [`Profile`].
    pub loss: Option<u32>,
    /// As in [`Profile`].
    pub down_loss: Option<u32>,
    /// As in [`Profile`].
    pub duplicate: Option<u32>,
    /// As in [`Profile`].
    pub reorder: Option<u32>,
    /// As in [`Profile`].
    pub reorder_by: Option<Duration>,
    /// Nothing passes the port for so long, from the moment of the change.
    pub blackout: Option<Duration>,
}

impl From<&Profile> for Change {
    /// Makes a link what `profile` says. A queue that follows the rate stays so on a new link.
    fn from(profile: &Profile) -> Self {
        Self {
            rate: Some(profile.rate),
            queue: profile.queue,
            delay: Some(profile.delay),
            jitter: Some(profile.jitter),
            loss: Some(profile.loss),
            down_loss: Some(profile.down_loss),
            duplicate: Some(profile.duplicate),
            reorder: Some(profile.reorder),
            reorder_by: Some(profile.reorder_by),
            blackout: None,
        }
    }
}

impl Change {
    /// Writes what changes into `profile`. The black-out belongs to the port and is not touched.
    pub fn apply(&self, profile: &mut Profile) {
        fn set<T: Copy>(field: &mut T, change: Option<T>) {
            if let Some(value) = change {
                *field = value;
            }
        }
        set(&mut profile.rate, self.rate);
        if self.queue.is_some() {
            profile.queue = self.queue;
        }
        set(&mut profile.delay, self.delay);
        set(&mut profile.jitter, self.jitter);
        set(&mut profile.loss, self.loss);
        set(&mut profile.down_loss, self.down_loss);
        set(&mut profile.duplicate, self.duplicate);
        set(&mut profile.reorder, self.reorder);
        set(&mut profile.reorder_by, self.reorder_by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            rate: Some(100_000_000),
            delay: Duration::from_millis(100),
            loss: 50_000,
            ..Profile::default()
        }
    }

    #[test]
    fn a_round_trip_is_the_delay_given() {
        let profile = profile();
        let round_trip = 2 * (profile.up().delay_ns + profile.down().delay_ns);
        assert_eq!(round_trip, 100_000_000);
    }

    #[test]
    fn the_queue_is_a_bandwidth_delay_product_but_never_tiny() {
        assert_eq!(profile().queue_bytes(), 1_250_000);
        let short = Profile {
            delay: Duration::from_millis(1),
            ..profile()
        };
        assert_eq!(short.queue_bytes(), MIN_QUEUE_BYTES);
        assert_eq!(
            Profile {
                queue: Some(3000),
                ..profile()
            }
            .queue_bytes(),
            3000
        );
    }

    #[test]
    fn a_profile_is_the_sum_of_its_changes() {
        let mut made = Profile::default();
        Change::from(&profile()).apply(&mut made);
        assert_eq!(made, profile());
    }

    #[test]
    fn a_change_leaves_the_rest() {
        let mut changed = profile();
        Change {
            rate: Some(None),
            ..Change::default()
        }
        .apply(&mut changed);
        assert_eq!(
            changed,
            Profile {
                rate: None,
                ..profile()
            }
        );
    }
}
