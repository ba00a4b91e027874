//! The blocking loop: one thread, one socket, its sessions.

use super::clock::Clock;
use super::driver::{Driver, Front, Step};
use super::waiter::{Interest, Waiter};
use crate::net::{KernelDrops, Progress, ReceiveBuffers, Socket};
use std::io;
use std::time::Duration;
use xfer_proto::time::Instant;

/// Rounds of receiving before sessions get to answer.
const RECEIVE_ROUNDS: usize = 4;
/// How often the kernel's drop counter is read while datagrams come.
const DROPS_INTERVAL: Duration = Duration::from_millis(500);

/// Drives the sessions of `driver` over `socket` until all is over.
///
/// # Errors
///
/// Only when the system refuses to wait: nothing that a network does ends the loop.
pub(crate) fn run<F: Front>(
    driver: &mut Driver<F>,
    socket: &mut Socket,
    waiter: &Waiter,
    clock: Clock,
    buffers: ReceiveBuffers,
) -> io::Result<()> {
    let mut intake = Intake {
        buffers,
        drops: KernelDrops::new(socket.io()).ok(),
        drops_due: clock.now(),
    };
    loop {
        let (until, interest) = match driver.step(clock.now(), socket.max_segments()) {
            Step::Transmit => match send(driver, socket, clock) {
                Progress::Blocked(sent) => (driver.on_blocked(sent), Interest::ReadableOrWritable),
                Progress::Done => {
                    driver.on_sent();
                    continue;
                }
            },
            Step::Wait(until) => (until, Interest::Readable),
            Step::Done => return Ok(()),
        };
        let now = clock.now();
        waiter.wait(socket.io(), interest, until.map(|until| until.since(now)))?;
        intake.run(driver, socket, clock);
    }
}

/// Sends what is in hand.
fn send<F: Front>(driver: &mut Driver<F>, socket: &mut Socket, clock: Clock) -> Progress {
    let Some((batch, bytes)) = driver.unsent() else {
        return Progress::Done;
    };
    let progress = socket.send(batch, bytes);
    if socket.take_too_large() {
        driver.on_too_large(clock.now());
    }
    progress
}

/// What a loop takes in each time it comes back from a wait.
struct Intake {
    buffers: ReceiveBuffers,
    drops: Option<KernelDrops>,
    drops_due: Instant,
}

impl Intake {
    fn run<F: Front>(&mut self, driver: &mut Driver<F>, socket: &mut Socket, clock: Clock) {
        let now = clock.now();
        let mut has_received = false;
        for _ in 0..RECEIVE_ROUNDS {
            let more = socket.receive(&mut self.buffers, |received| {
                has_received = true;
                driver.handle_datagram(now, received);
            });
            if !matches!(more, Ok(true)) {
                break;
            }
        }
        if has_received && self.drops_due <= now {
            self.drops_due = now + DROPS_INTERVAL;
            match self.drops.as_mut().map(KernelDrops::poll) {
                None | Some(0) => {}
                Some(count) => driver.on_kernel_drops(now, count),
            }
        }
    }
}
