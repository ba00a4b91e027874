//! The blocking loop: one thread, one socket, its sessions.

use super::clock::Clock;
use super::driver::{Driver, Front, Step};
use super::intake::Intake;
use super::waiter::{Interest, Waiter};
use crate::net::{Progress, ReceiveBuffers, Socket};
use std::io;

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
    let mut intake = Intake::new::<F>(socket.io(), buffers, clock.now());
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
        let timeout = until.map(|until| until.since(now));
        let may_receive = if intake.is_busy() && interest == Interest::Readable {
            waiter.gather(timeout);
            true
        } else {
            waiter.wait(socket.io(), interest, timeout)?
        };
        if may_receive {
            intake.run(driver, clock.now(), |buffers, each| {
                socket.receive(buffers, each)
            });
        }
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
