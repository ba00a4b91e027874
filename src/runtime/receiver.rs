//! Receiving: one loop for each address, one storage thread for all of them.

use super::clock::Clock;
use super::confine::confine;
use super::driver::{Driver, Ends, Front, Routed, Sessions};
use super::shedding::Shedding;
use super::sources::path_error;
use super::stop::{Stop, StopReason};
use super::storage_thread::StorageThread;
use super::waiter::Waiter;
use super::{blocking, random};
use crate::api::{Error, RecvEvent, RecvOptions, SentStatus};
use crate::net::{Arrival, ReceiveBuffers, Socket};
use crate::storage::Store;
use crate::storage::sink::SinkStore;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, scope};
use std::time::Duration;
use xfer_proto::config::{BEGUN_POOL, MANIFEST_POOL, MAX_SESSIONS, MEMORY_POOL, ReceiverConfig};
use xfer_proto::id::SessionId;
use xfer_proto::machine::{Event, Received};
use xfer_proto::memory::MemoryPool;
use xfer_proto::router::{Crowd, DropReason, Route, Router, RouterConfig, weakest};
use xfer_proto::session::IncomingSession;
use xfer_proto::time::Instant;
use xfer_proto::transmit::TransmitBuf;

/// Buffers of 64 KiB for what comes in one call.
const RECEIVE_BUFFERS: usize = 8;
/// Events that wait for the caller. One who takes them more slowly than they come slows the loops
/// down: there is no other end to what the names of many small files take.
const MAX_EVENTS: usize = 4_096;
/// When enough files have come, sessions have so long to part from their senders.
const LINGER: Duration = Duration::from_secs(3);
/// At the end, the storage thread has so long to finish what was asked of it.
const STORAGE_PATIENCE: Duration = Duration::from_millis(500);

/// Receives files until [`RecvOptions::stop`] or [`RecvOptions::exit_after`] ends it.
///
/// `on_event` is called on the calling thread, as things happen. While it does not return, no more
/// than a few thousand events later nothing is received any more.
///
/// # Errors
///
/// [`Error::Socket`] and [`Error::Path`] when an address or the directory cannot be used;
/// [`Error::Interrupted`] when a signal ended the call. [`Stop::stop`] ends it with `Ok`.
pub fn receive(options: &RecvOptions, on_event: &mut dyn FnMut(RecvEvent)) -> Result<(), Error> {
    let mut store = SinkStore::open(&options.out, options.on_conflict)
        .map_err(|source| path_error("receive into", &options.out, source))?;
    if let Some(bytes) = options.max_total {
        store.limit_total(bytes);
    }
    match store.resumable() {
        0 => {}
        1 => on_event(RecvEvent::Warning(
            "1 unfinished file can be resumed".to_owned(),
        )),
        count => on_event(RecvEvent::Warning(format!(
            "{count} unfinished files can be resumed"
        ))),
    }
    receive_into(Box::new(store), options, on_event)
}

fn receive_into(
    store: Box<dyn Store>,
    options: &RecvOptions,
    on_event: &mut dyn FnMut(RecvEvent),
) -> Result<(), Error> {
    let mut sockets = Vec::new();
    for &address in &options.listen {
        let socket = Socket::bind(address).map_err(|source| Error::Socket {
            action: "listen on",
            address,
            source,
        })?;
        sockets.push(socket);
    }
    if options.confine {
        let is_confined = confine(&options.out)
            .map_err(|source| path_error("confine this process to", &options.out, source))?;
        tracing::debug!(is_confined, "files outside the directory");
    }
    let storage = StorageThread::start(store).map_err(cannot_start)?;
    for socket in &sockets {
        on_event(RecvEvent::Listening(socket.address()));
    }
    let shared = Shared {
        options,
        storage: &storage,
        finish: Stop::new(),
        arrived: AtomicU64::new(0),
        memory: MemoryPool::new(MEMORY_POOL),
        manifests: MemoryPool::new(MANIFEST_POOL),
        begun: MemoryPool::new(BEGUN_POOL),
    };
    let (events, inbox) = sync_channel(MAX_EVENTS);
    let result = scope(|scope| {
        let shared = &shared;
        let loops: Vec<_> = sockets
            .into_iter()
            .map(|socket| {
                let events = events.clone();
                Builder::new()
                    .name("xfer-recv".to_owned())
                    .spawn_scoped(scope, move || listen(socket, shared, events))
            })
            .collect();
        drop(events);
        if loops.iter().any(Result::is_err) {
            shared.finish.stop();
        }
        inbox.iter().for_each(on_event);
        loops
            .into_iter()
            .try_for_each(|thread| match thread?.join() {
                Ok(result) => result,
                Err(_) => Err(io::Error::other("a receiving thread panicked")),
            })
    });
    if !storage.join(STORAGE_PATIENCE) {
        tracing::warn!("storage is still busy at the end");
    }
    result.map_err(cannot_start)?;
    match options.stop.reason() {
        Some(StopReason::Signal(signal)) => Err(Error::Interrupted(signal)),
        Some(StopReason::Asked) | None => Ok(()),
    }
}

fn cannot_start(error: io::Error) -> Error {
    Error::Worker(format!("cannot receive: {error}"))
}

/// What the loops of one call share.
struct Shared<'a> {
    options: &'a RecvOptions,
    storage: &'a StorageThread,
    /// Asked to stop when enough files have come.
    finish: Stop,
    /// Files committed or found identical.
    arrived: AtomicU64,
    /// What the sessions of all loops hold until storage has taken it.
    memory: MemoryPool,
    /// The same for what they are offered.
    manifests: MemoryPool,
    begun: MemoryPool,
}

/// Serves one address until the end.
fn listen(
    mut socket: Socket,
    shared: &Shared<'_>,
    events: SyncSender<RecvEvent>,
) -> io::Result<()> {
    let waiter = Waiter::new()?;
    let _stops = shared.options.stop.subscribe(waiter.wake());
    let _finishes = shared.finish.subscribe(waiter.wake());
    let clock = Clock::start();
    let ends = Ends {
        stop: shared.options.stop.clone(),
        finish: shared.finish.clone(),
        linger: LINGER,
    };
    let shedding = Shedding::new(&socket, clock.now())?;
    let front = ReceiverFront::new(shared, events, shedding)?;
    let storage = shared.storage.handle(waiter.wake());
    let mut driver = Driver::new(front, storage, ends);
    let buffers = ReceiveBuffers::new(RECEIVE_BUFFERS);
    let result = blocking::run(&mut driver, &mut socket, &waiter, clock, buffers);
    driver.finish(clock.now());
    tracing::debug!(
        counters = ?socket.counters(),
        receive_errors = socket.receive_errors(),
        "socket closed"
    );
    if result.is_err() {
        // The other loops must not go on alone.
        shared.finish.stop();
    }
    result
}

/// Routes datagrams, and turns what sessions report into events.
struct ReceiverFront<'a> {
    shared: &'a Shared<'a>,
    events: SyncSender<RecvEvent>,
    router: Router,
    shedding: Shedding,
}

impl<'a> ReceiverFront<'a> {
    fn new(
        shared: &'a Shared<'a>,
        events: SyncSender<RecvEvent>,
        shedding: Shedding,
    ) -> io::Result<Self> {
        let options = shared.options;
        let mut config = RouterConfig::new(random::key()?);
        if let Some(most) = options.max_sessions {
            config.max_sessions = most.get().min(MAX_SESSIONS);
        }
        config.session = ReceiverConfig {
            max_file_size: options.max_size.unwrap_or(config.session.max_file_size),
            memory: shared.memory.clone(),
            manifests: shared.manifests.clone(),
            begun: shared.begun.clone(),
            ..config.session
        };
        Ok(Self {
            shared,
            events,
            router: Router::new(config),
            shedding,
        })
    }

    fn tell(&self, event: RecvEvent) {
        // The caller's thread listens until the last loop has ended.
        let _ = self.events.send(event);
    }
}

impl Front for ReceiverFront<'_> {
    type Machine = IncomingSession;
    const COUNTS_DROPS: bool = true;

    fn route(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        peer_of: &dyn Fn(SessionId) -> Option<SocketAddr>,
        out: &mut TransmitBuf<'_>,
    ) -> Routed<IncomingSession> {
        let route = self.router.route(now, received, peer_of, out);
        match &route {
            Route::Session(_) => self.shedding.on_session(),
            Route::Incoming(_) => {}
            // Of a session that the filter knows: it could not keep it away.
            Route::Drop(DropReason::WrongAddress) => {}
            Route::Reply(_) | Route::Full(..) | Route::Drop(_) => self.shedding.count(),
        }
        match route {
            Route::Session(id) => Routed::Session(id),
            Route::Incoming(session) => Routed::New(session.id(), session.peer(), session),
            Route::Reply(transmit) => Routed::Reply(transmit),
            Route::Full(transmit, crowd) => Routed::Full(transmit, crowd),
            Route::Drop(_) => Routed::Drop,
        }
    }

    fn on_event(&mut self, _now: Instant, peer: SocketAddr, event: Event) {
        match event {
            Event::Established => {}
            Event::File { entry, status, .. } => {
                let status = SentStatus::from(status);
                let has_arrived = !matches!(status, SentStatus::Failed(_));
                self.tell(RecvEvent::File {
                    from: peer,
                    entry,
                    status,
                });
                if has_arrived {
                    let arrived = self.shared.arrived.fetch_add(1, Ordering::SeqCst) + 1;
                    if Some(arrived) == self.shared.options.exit_after {
                        self.shared.finish.stop();
                    }
                }
            }
            Event::Refused { name, failure, .. } => self.tell(RecvEvent::Warning(format!(
                "refused `{}` from {peer}: {failure}",
                name.escape_ascii()
            ))),
            Event::Closed(Ok(())) => {}
            Event::Closed(Err(failure)) => {
                let failure = failure.to_string();
                let warning = format!("session with {peer} ended: {}", failure.escape_debug());
                self.tell(RecvEvent::Warning(warning));
            }
        }
    }

    fn on_removed(
        &mut self,
        now: Instant,
        _id: SessionId,
        peer: SocketAddr,
        session: &IncomingSession,
    ) {
        tracing::info!(%peer, stats = ?session.stats(), "session over");
        self.router.on_closed(now, session);
    }

    fn peer_of(session: &IncomingSession) -> Option<SocketAddr> {
        Some(session.peer())
    }

    fn weakest(&self, crowd: Crowd, sessions: &Sessions<IncomingSession>) -> Option<SessionId> {
        weakest(crowd, sessions.values().map(|slot| &*slot.machine))
    }

    fn on_arrival(&mut self, arrival: &Arrival<'_>) {
        self.shedding.on_arrival(arrival);
    }

    fn on_idle(&mut self, now: Instant, sessions: &Sessions<IncomingSession>) {
        self.shedding.update(now, sessions.keys().copied());
    }

    fn due(&self) -> Option<Instant> {
        self.shedding.due()
    }

    fn is_shedding(&self, now: Instant) -> bool {
        self.shedding.is_recent(now)
    }

    fn ends_with_sessions(&self) -> bool {
        false
    }
}
