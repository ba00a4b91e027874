//! The four placements: where the workers of a transfer live and how they are awaited.
//!
//! | | started and joined in order | a pool, results as they finish |
//! |---|---|---|
//! | threads of this process | [`thread`] | [`task`] |
//! | processes of the same program | [`process`] | [`pool`] |

mod pool;
mod process;
mod task;
mod thread;

use super::job::{Job, JobNote};
use super::sender::OpenSources;
use super::stop::Stop;
use crate::api::Mode;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// After a stop, worker processes have so long to end in order before they are killed.
const KILL_AFTER: Duration = Duration::from_millis(1_700);

/// What a placement needs to run the jobs of a transfer.
pub(crate) struct Crew<'a> {
    /// In order; each gets its notes, and in the end `Finished` or `Lost`.
    pub(crate) jobs: &'a [Job],
    /// Workers at a time.
    pub(crate) limit: NonZeroUsize,
    /// Reads the sources, where the worker is in this process.
    pub(crate) open: OpenSources,
    /// Ends all of it.
    pub(crate) stop: &'a Stop,
    /// Where the notes go.
    pub(crate) notes: Sender<JobNote>,
}

/// Carries out all jobs; returns when the last worker is gone.
pub(crate) fn run(mode: Mode, crew: &Crew<'_>) {
    match mode {
        Mode::Thread => thread::run(crew),
        Mode::ThreadAsync => task::run(crew),
        Mode::Process => process::run(crew),
        Mode::ProcessAsync => pool::run(crew),
    }
}

/// The program that a worker process runs: this one.
fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// How a worker process that did not finish its job ended, in words.
fn obituary(worker: usize, status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("worker {worker} died ({})", describe(status)),
        Err(error) => format!("worker {worker} died ({error})"),
    }
}

#[cfg(unix)]
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit status {}", status.code().unwrap_or(-1)),
    }
}

#[cfg(not(unix))]
fn describe(status: ExitStatus) -> String {
    status.to_string()
}
