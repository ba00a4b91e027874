//! The inside of a worker process: jobs in on stdin, notes out on stdout.

use super::ipc;
use super::job::{Job, JobNote, Notes};
use super::sender::run_here;
use super::sources::open_sources;
use super::stop::Stop;
use std::io::{self, BufReader, BufWriter, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread::Builder;

/// The hidden first argument that makes the `xfer` program a worker; see [`worker_main`].
pub const WORKER_ARGUMENT: &str = "__worker";

/// What a worker process of [`Mode::Process`](crate::Mode::Process) or
/// [`Mode::ProcessAsync`](crate::Mode::ProcessAsync) runs.
///
/// [`send`](crate::send) starts the program that it is called from (`std::env::current_exe`) once
/// more, with [`WORKER_ARGUMENT`] as its only argument. A program that uses these modes must notice
/// the argument before it does anything else, return what this function returns, and leave stdin
/// and stdout to it.
///
/// The worker ends when its stdin does: a parent that is gone leaves no orphan.
pub fn worker_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let stop = Stop::on_signals_of_worker()?;
    die_with_parent();
    let (jobs, todo) = channel();
    let (notes, outbox) = channel();
    let parent_gone = stop.clone();
    // Not joined: it ends with stdin, which may outlive the last job.
    Builder::new().name("xfer-jobs".to_owned()).spawn(move || {
        let mut stdin = BufReader::new(io::stdin().lock());
        while let Ok(Some(job)) = ipc::read::<Job>(&mut stdin) {
            if jobs.send(job).is_err() {
                return;
            }
        }
        parent_gone.stop();
    })?;
    let writer = Builder::new()
        .name("xfer-notes".to_owned())
        .spawn(move || write_notes(&outbox))?;
    while let Ok(job) = todo.recv() {
        run_here(
            &job,
            open_sources,
            &Notes::new(job.id, notes.clone()),
            &stop,
        );
    }
    drop(notes);
    writer
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the writer of notes panicked")))
}

/// Writes notes as they come; what comes together is written together.
fn write_notes(outbox: &Receiver<JobNote>) -> io::Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    while let Ok(first) = outbox.recv() {
        for note in std::iter::once(first).chain(outbox.try_iter()) {
            ipc::write(&mut stdout, &note)?;
        }
        stdout.flush()?;
    }
    Ok(())
}

/// Has the system send SIGTERM when the parent dies: stdin ends too, but only when no other process
/// holds its other end.
#[cfg(target_os = "linux")]
fn die_with_parent() {
    let signal = Some(rustix::process::Signal::TERM);
    // A courtesy of the system; without it the end of stdin has to do.
    let _ = rustix::process::set_parent_process_death_signal(signal);
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() {}
