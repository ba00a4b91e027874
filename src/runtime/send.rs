//! Sending: from paths and destinations to jobs, and from notes to a summary.

use super::collect::Collector;
use super::job::{Job, JobNote, Readiness, SourceFile};
use super::place::{self, Crew};
use super::shard::{default_jobs, shard_count, shards};
use super::sources::{find, open_sources};
use super::stop::StopReason;
use crate::api::{Error, MIN_RATE, Mode, SendEvent, SendOptions, SendSummary};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::scope;
use std::time::Duration;
use xfer_proto::config::SenderConfig;

/// How often a running call looks whether it was asked to stop; the workers hear of it at once.
const STOP_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of source blocks that all sessions together hold, as long as each has enough to work.
const READ_BUDGET: usize = 32 << 20;
/// What one session works with however many there are: the least that the engine takes.
const MIN_READ_BUFFER: usize = 3 << 20;
/// Bits in a byte.
const BITS: u64 = 8;

/// Sends files and directories to every destination. Blocks until every file has its status
/// everywhere.
///
/// `on_event` is called on the calling thread, as things happen. Failures of single files are in
/// their events and in the summary, not in the result.
///
/// [`Mode::Process`] and [`Mode::ProcessAsync`] start the running program again: see
/// [`worker_main`](crate::worker_main) for what it has to do.
///
/// # Errors
///
/// [`Error::Path`] when none of the sources can be read; [`Error::Interrupted`] when
/// [`SendOptions::stop`] ended the call, within 2 s, the files that were not finished having
/// failed.
pub fn send(
    options: &SendOptions,
    on_event: &mut dyn FnMut(SendEvent),
) -> Result<SendSummary, Error> {
    let sources = find(&options.paths)?;
    for warning in sources.warnings {
        on_event(SendEvent::Warning(warning));
    }
    let files = (sources.files.len() + sources.unreadable.len()) as u64;
    let bytes = sources.files.iter().map(|file| file.entry.size).sum();
    on_event(SendEvent::Planned { files, bytes });

    let limit = options
        .jobs
        .unwrap_or_else(|| default_jobs(options.to.len()));
    let limit = limit.min(most_at(options.rate));
    let jobs = jobs(options, sources.files, limit);
    let mut collector = Collector::new(&jobs, on_event);
    for (name, failure) in &sources.unreadable {
        collector.on_unreadable(options.to.len(), name, failure);
    }
    let (notes, inbox) = channel();
    let crew = Crew {
        jobs: &jobs,
        limit,
        open: open_sources,
        stop: &options.stop,
        notes,
    };
    scope(|scope| {
        // The crew and its sender of notes end with this thread: so does the inbox.
        scope.spawn(move || place::run(options.mode, &crew));
        collect(&inbox, options, &mut collector);
    });
    let summary = SendSummary {
        files,
        destinations: options.to.len(),
        ..collector.finish()
    };
    match options.stop.reason() {
        None => Ok(summary),
        Some(StopReason::Asked) => Err(Error::Interrupted(0)),
        Some(StopReason::Signal(signal)) => Err(Error::Interrupted(signal)),
    }
}

/// Jobs at once of which each has [`MIN_RATE`].
fn most_at(rate: Option<u64>) -> NonZeroUsize {
    let most = rate.map(|rate| usize::try_from(rate / MIN_RATE).unwrap_or(usize::MAX));
    most.map_or(NonZeroUsize::MAX, |most| {
        NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)
    })
}

/// Takes notes until nobody is left who could write one.
fn collect(inbox: &Receiver<JobNote>, options: &SendOptions, collector: &mut Collector<'_>) {
    loop {
        let note = inbox.recv_timeout(STOP_INTERVAL);
        if options.stop.is_stopped() {
            collector.on_interrupted();
        }
        match note {
            Ok(note) => collector.on_note(note),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// One job for each destination and shard of the files.
fn jobs(options: &SendOptions, files: Vec<SourceFile>, limit: NonZeroUsize) -> Vec<Job> {
    let count = shard_count(files.len(), limit.get(), options.to.len());
    let sizes: Vec<u64> = files.iter().map(|file| file.entry.size).collect();
    let mut files: Vec<Option<SourceFile>> = files.into_iter().map(Some).collect();
    let shards: Vec<Arc<[SourceFile]>> = shards(&sizes, count)
        .into_iter()
        .map(|shard| {
            let files = shard.into_iter().filter_map(|at| files.get_mut(at)?.take());
            files.collect()
        })
        .collect();
    let at_once = limit.get().min(shards.len() * options.to.len()).max(1);
    let mut jobs = Vec::new();
    // Shard by shard, so that a crew smaller than the work serves the destinations evenly.
    for shard in &shards {
        for (destination, to) in options.to.iter().enumerate() {
            jobs.push(Job {
                id: jobs.len(),
                destination,
                peer: to.address,
                files: Arc::clone(shard),
                max_rate: options
                    .rate
                    .map(|rate| (rate / BITS / at_once as u64).max(1)),
                congestion: options.congestion,
                read_buffer: read_buffer(at_once),
                timeout: options.timeout,
                readiness: readiness(options.mode),
            });
        }
    }
    jobs
}

/// The share of a session, of those that run at a time.
fn read_buffer(sessions: usize) -> usize {
    let default = SenderConfig::default().read_buffer;
    (READ_BUDGET / sessions).clamp(MIN_READ_BUFFER, default)
}

fn readiness(mode: Mode) -> Readiness {
    match mode {
        Mode::Process | Mode::Thread => Readiness::Blocking,
        Mode::ProcessAsync | Mode::ThreadAsync => Readiness::Async,
    }
}
