//! One job: one session on its own socket, in either loop.

use super::clock::Clock;
use super::driver::{Driver, Ends, Front, Routed, Sessions};
use super::job::{Job, Note, Notes, Readiness, SourceFile, Traffic};
use super::stop::{Stop, Wake};
use super::storage_thread::StorageThread;
use super::waiter::Waiter;
use super::{async_loop, blocking, random};
use crate::api::SentStatus;
use crate::net::{ReceiveBuffers, Socket, max_datagram};
use crate::storage::{Secret, Store};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use xfer_proto::config::SenderConfig;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::SessionId;
use xfer_proto::machine::{Event, FileStatus, Received};
use xfer_proto::manifest::Entry;
use xfer_proto::session::OutgoingSession;
use xfer_proto::time::Instant;
use xfer_proto::transmit::TransmitBuf;

/// Time between two notes of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Buffers of 64 KiB for feedback: there is little of it.
const RECEIVE_BUFFERS: usize = 2;

/// Makes the store that reads the sources of a job.
pub(crate) type OpenSources = fn(&[SourceFile]) -> Box<dyn Store>;

/// Carries out `job` with blocking calls; returns when every file has its note.
pub(crate) fn run_blocking(job: &Job, open: OpenSources, notes: &Notes, stop: &Stop) {
    let result = Waiter::new().and_then(|waiter| {
        let wake = waiter.wake();
        let _stops = stop.subscribe(Arc::clone(&wake));
        let mut run = Run::new(job, open, notes, stop, wake)?;
        let buffers = ReceiveBuffers::new(RECEIVE_BUFFERS);
        let Run {
            driver,
            socket,
            clock,
        } = &mut run;
        let result = blocking::run(driver, socket, &waiter, *clock, buffers);
        run.finish(result);
        Ok(())
    });
    if let Err(error) = result {
        fail_all(job, notes, &error);
    }
}

/// Carries out `job` in the calling task; ends when every file has its note.
pub(crate) async fn run_async(job: &Job, open: OpenSources, notes: &Notes, stop: &Stop) {
    let woken = Arc::new(Notify::new());
    let wake: Wake = {
        let woken = Arc::clone(&woken);
        Arc::new(move || woken.notify_one())
    };
    let _stops = stop.subscribe(Arc::clone(&wake));
    match Run::new(job, open, notes, stop, wake) {
        Ok(mut run) => {
            let buffers = ReceiveBuffers::new(RECEIVE_BUFFERS);
            let Run {
                driver,
                socket,
                clock,
            } = &mut run;
            let result = async_loop::run(driver, socket, &woken, *clock, buffers).await;
            run.finish(result);
        }
        Err(error) => fail_all(job, notes, &error),
    }
}

/// Carries out `job` the way it asks for, on the calling thread.
pub(crate) fn run_here(job: &Job, open: OpenSources, notes: &Notes, stop: &Stop) {
    match job.readiness {
        Readiness::Blocking => run_blocking(job, open, notes, stop),
        Readiness::Async => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(run_async(job, open, notes, stop)),
                Err(error) => fail_all(job, notes, &error),
            }
        }
    }
}

/// The machine did not even start.
fn fail_all(job: &Job, notes: &Notes, error: &io::Error) {
    let message = format!("cannot start the session: {error}");
    let failure = Failure::new(ErrorCode::INTERNAL, message);
    SenderFront::new(job, notes).end(&failure);
}

/// A session, and what it runs on.
struct Run<'a> {
    driver: Driver<SenderFront<'a>>,
    socket: Socket,
    clock: Clock,
}

impl<'a> Run<'a> {
    fn new(
        job: &Job,
        open: OpenSources,
        notes: &'a Notes,
        stop: &Stop,
        wake: Wake,
    ) -> io::Result<Self> {
        let socket = Socket::for_peer(job.peer)?;
        let clock = Clock::start();
        let id = SessionId(random::word()?);
        let config = SenderConfig {
            max_datagram: max_datagram(job.peer),
            idle_timeout: job.timeout,
            max_rate: job.max_rate,
            congestion: job.congestion,
            read_buffer: job.read_buffer,
            seed: random::word()?,
        };
        let secret = Secret::of_machine();
        let entries = job.files.iter().map(|file| Entry {
            identity: secret.identity_for(job.peer.ip(), file.entry.identity),
            ..file.entry.clone()
        });
        let manifest = entries.collect();
        let tag = random::word()?;
        let session = OutgoingSession::new(clock.now(), config, job.peer, id, tag, manifest);
        // The thread closes the sources when the driver, the last to ask it, is dropped.
        let storage = StorageThread::start(open(&job.files))?.handle(wake);
        let ends = Ends {
            stop: stop.clone(),
            ..Ends::default()
        };
        let front = SenderFront {
            session: Some(id),
            ..SenderFront::new(job, notes)
        };
        let mut driver = Driver::new(front, storage, ends);
        driver.add(id, job.peer, Box::new(session));
        Ok(Self {
            driver,
            socket,
            clock,
        })
    }

    fn finish(self, result: io::Result<()>) {
        let counters = self.socket.counters();
        tracing::debug!(
            ?counters,
            receive_errors = self.socket.receive_errors(),
            "socket closed"
        );
        let mut front = self.driver.finish(self.clock.now());
        let failure = match result {
            Ok(()) => front
                .failure
                .take()
                .unwrap_or_else(|| ErrorCode::INTERRUPTED.into()),
            Err(error) => Failure::new(ErrorCode::INTERNAL, format!("cannot wait: {error}")),
        };
        front.end(&failure);
    }
}

/// Turns what the session reports into notes.
struct SenderFront<'a> {
    notes: &'a Notes,
    session: Option<SessionId>,
    /// Files that have no status yet.
    is_open: Vec<bool>,
    /// Why the session ended early.
    failure: Option<Failure>,
    traffic: Traffic,
    delivered: u64,
    progress_due: Instant,
}

impl<'a> SenderFront<'a> {
    fn new(job: &Job, notes: &'a Notes) -> Self {
        Self {
            notes,
            session: None,
            is_open: vec![true; job.files.len()],
            failure: None,
            traffic: Traffic::default(),
            delivered: 0,
            progress_due: Instant::ZERO,
        }
    }

    /// The last notes: files without a status have this one.
    fn end(self, failure: &Failure) {
        for (file, _) in (0..).zip(self.is_open).filter(|(_, is_open)| *is_open) {
            self.notes.send(Note::File {
                file,
                seconds: 0.0,
                retransmitted_bytes: 0,
                status: SentStatus::Failed(failure.clone()),
            });
        }
        self.notes.send(Note::Finished(self.traffic));
    }
}

impl Front for SenderFront<'_> {
    type Machine = OutgoingSession;

    fn route(
        &mut self,
        _now: Instant,
        _received: &Received<'_>,
        _peer_of: &dyn Fn(SessionId) -> Option<SocketAddr>,
        _out: &mut TransmitBuf<'_>,
    ) -> Routed<OutgoingSession> {
        // One session a socket: it checks for itself whether a datagram is for it.
        self.session.map_or(Routed::Drop, Routed::Session)
    }

    fn on_event(&mut self, now: Instant, _peer: SocketAddr, event: Event) {
        match event {
            Event::File {
                file,
                status,
                started,
                retransmitted_bytes,
                ..
            } => {
                if let Some(is_open) = self.is_open.get_mut(file.as_usize())
                    && std::mem::take(is_open)
                {
                    self.notes.send(Note::File {
                        file: file.0,
                        seconds: now.since(started).as_secs_f64(),
                        retransmitted_bytes,
                        status: status.into(),
                    });
                }
            }
            // Refusals of lines are the receiver's: here they are files that failed.
            Event::Established | Event::Refused { .. } | Event::Closed(Ok(())) => {}
            Event::Closed(Err(failure)) => self.failure = Some(failure),
        }
    }

    fn on_removed(
        &mut self,
        _now: Instant,
        _id: SessionId,
        _peer: SocketAddr,
        session: &OutgoingSession,
    ) {
        let stats = session.stats();
        tracing::info!(?stats, "session over");
        self.traffic = Traffic {
            sent_bytes: stats.sent_bytes,
            sent_packets: stats.sent_packets,
        };
    }

    fn on_idle(&mut self, now: Instant, sessions: &Sessions<OutgoingSession>) {
        if now < self.progress_due {
            return;
        }
        self.progress_due = now + PROGRESS_INTERVAL;
        let delivered = sessions
            .values()
            .map(|slot| slot.machine.stats().delivered_bytes)
            .sum();
        if delivered > self.delivered {
            self.delivered = delivered;
            self.notes.send(Note::Progress(delivered));
        }
    }

    fn ends_with_sessions(&self) -> bool {
        true
    }
}

impl From<FileStatus> for SentStatus {
    fn from(status: FileStatus) -> Self {
        match status {
            FileStatus::Committed(digest) => Self::Committed(digest),
            FileStatus::Skipped(digest) => Self::Skipped(digest),
            FileStatus::Failed(failure) => Self::Failed(failure),
        }
    }
}
