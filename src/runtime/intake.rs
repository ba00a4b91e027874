//! What a loop takes in when it comes back from a wait: datagrams, and what the kernel has dropped.

use super::driver::{Driver, Front};
use super::waiter::GATHER_TIME;
use crate::net::{Arrival, KernelDrops, ReceiveBuffers};
use std::io;
use std::net::UdpSocket;
use std::time::Duration;
use xfer_proto::time::Instant;

/// What is done with whatever comes in one piece.
type Each<'a> = dyn FnMut(Arrival<'_>) + 'a;

/// Rounds of receiving before sessions get to answer.
const RECEIVE_ROUNDS: usize = 4;
/// How often the kernel's drop counter is read while datagrams come.
const DROPS_INTERVAL: Duration = Duration::from_millis(500);
/// Datagrams are left to gather when as much as this is expected meanwhile: then a call takes
/// several of them, and a pause costs less than the calls that it saves.
const GATHER_BYTES: u64 = 8 << 10;

/// The intake of one loop.
pub(crate) struct Intake {
    buffers: ReceiveBuffers,
    drops: Option<KernelDrops>,
    drops_due: Instant,
    /// When datagrams were last looked for.
    looked_at: Instant,
    is_busy: bool,
}

impl Intake {
    /// The intake of a loop over `socket`, for what is behind `F`.
    pub(crate) fn new<F: Front>(socket: &UdpSocket, buffers: ReceiveBuffers, now: Instant) -> Self {
        let drops = F::COUNTS_DROPS.then(|| KernelDrops::new(socket).ok());
        Self {
            buffers,
            drops: drops.flatten(),
            drops_due: now,
            looked_at: now,
            is_busy: false,
        }
    }

    /// Whether so much is coming that it is worth waiting for more.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Hands the driver what `receive` brings, which is [`Socket::receive`] in the loop's own way.
    ///
    /// [`Socket::receive`]: crate::net::Socket::receive
    pub(crate) fn run<F: Front>(
        &mut self,
        driver: &mut Driver<F>,
        now: Instant,
        mut receive: impl FnMut(&mut ReceiveBuffers, &mut Each<'_>) -> io::Result<bool>,
    ) {
        let mut bytes = 0;
        for _ in 0..RECEIVE_ROUNDS {
            let more = receive(&mut self.buffers, &mut |arrival| {
                bytes += arrival.bytes.len() as u64;
                driver.handle_arrival(now, &arrival);
            });
            if !matches!(more, Ok(true)) {
                break;
            }
        }
        self.is_busy = is_busy(bytes, now.since(self.looked_at));
        self.looked_at = now;
        if bytes > 0 && self.drops_due <= now {
            self.drops_due = now + DROPS_INTERVAL;
            match self.drops.as_mut().map(KernelDrops::poll) {
                None | Some(0) => {}
                Some(count) => driver.on_kernel_drops(now, count),
            }
        }
    }
}

/// Whether `bytes` in `time` let [`GATHER_BYTES`] be expected in [`GATHER_TIME`].
fn is_busy(bytes: u64, time: Duration) -> bool {
    u128::from(bytes) * GATHER_TIME.as_nanos() >= u128::from(GATHER_BYTES) * time.as_nanos().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fast_flow_is_left_to_gather() {
        let ms = Duration::from_millis;
        assert!(!is_busy(0, Duration::ZERO));
        // 100 Mbit/s in steps of a millisecond, and 1 GB/s.
        assert!(!is_busy(12_500, ms(1)));
        assert!(is_busy(1_000_000, ms(1)));
        assert!(
            !is_busy(64 << 10, ms(500)),
            "the first datagrams after a rest"
        );
    }
}
