//! One run of the demo: one mode, one path, all receivers.

use super::relay::Relay;
use super::{PICTURES, RECEIVERS};
use crate::cli::error::{CliError, End, system};
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::output::escape::escape;
use crate::cli::settings::mode_name;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use xfer::{
    Congestion, Destination, Mode, OnConflict, RecvEvent, RecvOptions, SendEvent, SendOptions,
    SentStatus, Stop,
};

/// A receiver that is not ready by then never will be.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer silent for so long is given up.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);
/// Decides which datagrams the bad path loses.
const SEED: u64 = 1;

/// What is run.
pub(super) struct Course<'a> {
    pub(super) mode: Mode,
    pub(super) loss_percent: u32,
    /// Holds the pictures, and the directories of the receivers.
    pub(super) dir: &'a Path,
    /// Ends the course early.
    pub(super) stop: &'a Stop,
}

/// What one receiver got.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// From the start of the course to the last file here.
    pub(super) seconds: f64,
    pub(super) retransmitted_bytes: u64,
    /// Success only if every copy is identical.
    pub(super) exit: Exit,
}

impl Course<'_> {
    /// Sends the pictures to the receivers and compares what they hold.
    pub(super) fn run(&self, output: &mut Output) -> Result<Vec<Arrived>, CliError> {
        let mut receivers = Vec::new();
        let mut relays = Vec::new();
        let mut to = Vec::new();
        for at in 0..RECEIVERS {
            let receiver = Receiver::start(self.out(at))?;
            let mut address = receiver.address;
            receivers.push(receiver);
            if self.loss_percent > 0 {
                let seed = SEED + at as u64;
                let relay = Relay::start(address, self.loss_percent, seed).map_err(relay_error)?;
                address = relay.address();
                relays.push(relay);
            }
            to.push(Destination {
                label: address.to_string(),
                address,
            });
        }
        let options = SendOptions {
            paths: PICTURES
                .iter()
                .map(|(name, _)| self.dir.join(name))
                .collect(),
            to,
            mode: self.mode,
            jobs: None,
            rate: None,
            congestion: Congestion::default(),
            timeout: PEER_TIMEOUT,
            stop: self.stop.clone(),
        };
        let arrived = self.send(&options, output)?;
        for relay in &relays {
            report(relay);
        }
        Ok(arrived)
    }

    fn send(&self, options: &SendOptions, output: &mut Output) -> Result<Vec<Arrived>, CliError> {
        let started = Instant::now();
        let mut arrived: Vec<Arrived> = (0..RECEIVERS).map(|_| Arrived::nothing()).collect();
        let result = xfer::send(options, &mut |event| match event {
            SendEvent::Warning(text) => output.warning(&escape(&text)),
            SendEvent::Planned { .. } | SendEvent::Progress { .. } => {}
            SendEvent::File(file) => {
                let Some(arrived) = arrived.get_mut(file.destination) else {
                    return;
                };
                arrived.seconds = started.elapsed().as_secs_f64();
                arrived.retransmitted_bytes += file.retransmitted_bytes;
                match file.status {
                    SentStatus::Committed(_) | SentStatus::Skipped(_) => {
                        arrived.files += 1;
                        arrived.bytes += file.bytes;
                    }
                    SentStatus::Failed(failure) => {
                        let reason = escape(&failure.to_string());
                        output.error(&format!("cannot send `{}`: {reason}", file.name));
                        let exit = Exit::of_failure(failure.code);
                        arrived.exit = Exit::combine([arrived.exit, exit]);
                    }
                }
            }
        });
        result.map_err(|error| CliError::from_library(error, End::Sender))?;
        for (receiver, arrived) in arrived.iter_mut().enumerate() {
            if arrived.exit == Exit::Success && !is_identical(&self.out(receiver)) {
                arrived.exit = Exit::Integrity;
            }
        }
        Ok(arrived)
    }

    fn out(&self, receiver: usize) -> PathBuf {
        let name = format!("{}-{}-{receiver}", mode_name(self.mode), self.loss_percent);
        self.dir.join(name)
    }
}

impl Arrived {
    fn nothing() -> Self {
        Self {
            files: 0,
            bytes: 0,
            seconds: 0.0,
            retransmitted_bytes: 0,
            exit: Exit::Success,
        }
    }
}

/// A receiver on a thread of its own, on a port that the system chose. It stops when it is dropped.
struct Receiver {
    address: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    fn start(out: PathBuf) -> Result<Self, CliError> {
        let stop = Stop::new();
        let options = RecvOptions {
            out,
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            exit_after: None,
            on_conflict: OnConflict::Refuse,
            max_size: None,
            max_total: None,
            max_sessions: None,
            confine: false,
            stop: stop.clone(),
        };
        let (ready, listening) = mpsc::channel();
        let thread = thread::spawn(move || run_receiver(&options, &ready));
        match listening.recv_timeout(START_TIMEOUT) {
            Ok(Ok(address)) => Ok(Self {
                address,
                stop,
                thread: Some(thread),
            }),
            Ok(Err(error)) => Err(CliError::from_library(error, End::Receiver)),
            Err(_) => Err(CliError::new(
                Exit::Other,
                "a receiver did not start in time",
            )),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so on stderr.
            thread.join().unwrap_or_default();
        }
    }
}

fn run_receiver(options: &RecvOptions, ready: &Sender<Result<SocketAddr, xfer::Error>>) {
    // The other end stops to listen once it knows the address: what it does not take is of no use
    // any more.
    let tell = |news| ready.send(news).unwrap_or_default();
    let result = xfer::receive(options, &mut |event| {
        if let RecvEvent::Listening(address) = event {
            tell(Ok(address));
        }
    });
    if let Err(error) = result {
        tell(Err(error));
    }
}

fn is_identical(out: &Path) -> bool {
    PICTURES
        .iter()
        .all(|(name, content)| fs::read(out.join(name)).is_ok_and(|copy| copy == *content))
}

fn relay_error(error: io::Error) -> CliError {
    CliError::new(
        Exit::Other,
        format!("cannot start the lossy path: {}", system(&error)),
    )
}

fn report(relay: &Relay) {
    for (way, direction) in [("forward", relay.forward()), ("backward", relay.backward())] {
        tracing::info!(
            relay = %relay.address(),
            way,
            datagrams = direction.datagrams.load(Ordering::Relaxed),
            bytes = direction.bytes.load(Ordering::Relaxed),
            dropped = direction.dropped.load(Ordering::Relaxed),
            "lossy path",
        );
    }
}
