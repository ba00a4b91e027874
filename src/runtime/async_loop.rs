//! The asynchronous loop: one task, one socket, its sessions. The same steps as the blocking one.

use super::clock::Clock;
use super::driver::{Driver, Front, Step};
use super::intake::Intake;
use crate::net::{Progress, ReceiveBuffers, Socket};
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use xfer_proto::time::Instant;

/// A wait shorter than this is a turn for the other tasks and a look at the socket, not a sleep:
/// the runtime's timers count milliseconds. A longer one may be late by what the pacer makes good
/// afterwards.
const SHORTEST_SLEEP: Duration = Duration::from_micros(200);

/// Drives the sessions of `driver` over `socket` until all is over. `woken` ends a wait.
///
/// # Errors
///
/// Only when the runtime cannot wait for the socket: nothing that a network does ends the loop.
pub(crate) async fn run<F: Front>(
    driver: &mut Driver<F>,
    socket: &mut Socket,
    woken: &Notify,
    clock: Clock,
    buffers: ReceiveBuffers,
) -> io::Result<()> {
    // A second handle of the same socket, for its readiness; the batches go through the first one.
    let ready = UdpSocket::from_std(socket.io().try_clone()?)?;
    let mut intake = Intake::new::<F>(socket.io(), buffers, clock.now());
    loop {
        let (until, interest) = match driver.step(clock.now(), socket.max_segments()) {
            Step::Transmit => match send(driver, socket, &ready, clock) {
                Progress::Blocked(sent) => {
                    let both = Interest::READABLE | Interest::WRITABLE;
                    (driver.on_blocked(sent), both)
                }
                Progress::Done => {
                    driver.on_sent();
                    continue;
                }
            },
            Step::Wait(until) => (until, Interest::READABLE),
            Step::Done => return Ok(()),
        };
        wait(&ready, woken, interest, until, clock).await?;
        intake.run(driver, clock.now(), |buffers, each| {
            ready.try_io(Interest::READABLE, || socket.receive(buffers, each))
        });
    }
}

/// Sends what is in hand. The runtime learns from a full socket to wait until it is writable.
fn send<F: Front>(
    driver: &mut Driver<F>,
    socket: &mut Socket,
    ready: &UdpSocket,
    clock: Clock,
) -> Progress {
    let Some((batch, bytes)) = driver.unsent() else {
        return Progress::Done;
    };
    let mut progress = Progress::Blocked(0);
    let _ = ready.try_io(Interest::WRITABLE, || {
        progress = socket.send(batch, bytes);
        match progress {
            Progress::Done => Ok(()),
            Progress::Blocked(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    });
    if socket.take_too_large() {
        driver.on_too_large(clock.now());
    }
    progress
}

/// Waits until the socket is ready, a wake-up, or the time `until`.
async fn wait(
    ready: &UdpSocket,
    woken: &Notify,
    interest: Interest,
    until: Option<Instant>,
    clock: Clock,
) -> io::Result<()> {
    let timeout = until.map(|until| until.since(clock.now()));
    if timeout.is_some_and(|timeout| timeout < SHORTEST_SLEEP) {
        tokio::task::yield_now().await;
        return Ok(());
    }
    tokio::select! {
        is_ready = ready.ready(interest) => is_ready.map(drop),
        () = woken.notified() => Ok(()),
        () = sleep(timeout) => Ok(()),
    }
}

async fn sleep(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => pending().await,
    }
}
