//! Threads with blocking I/O, started and joined in order.

use super::Crew;
use crate::runtime::job::{Note, Notes};
use crate::runtime::sender::run_blocking;
use std::collections::VecDeque;
use std::thread::{Builder, ScopedJoinHandle, scope};

/// Runs the jobs in threads; the next one starts when the oldest of a full crew has ended.
pub(super) fn run(crew: &Crew<'_>) {
    scope(|scope| {
        let mut running: VecDeque<(Notes, ScopedJoinHandle<'_, ()>)> = VecDeque::new();
        for job in crew.jobs {
            // What is left is nobody's: it counts as interrupted.
            if crew.stop.is_stopped() {
                break;
            }
            if running.len() == crew.limit.get()
                && let Some(oldest) = running.pop_front()
            {
                join(oldest);
            }
            let notes = Notes::new(job.id, crew.notes.clone());
            let worker_notes = notes.clone();
            let worker = Builder::new()
                .name(format!("xfer-worker-{}", job.id))
                .spawn_scoped(scope, move || {
                    run_blocking(job, crew.open, &worker_notes, crew.stop);
                });
            match worker {
                Ok(worker) => running.push_back((notes, worker)),
                Err(error) => {
                    notes.send(Note::Lost(format!(
                        "cannot start worker {}: {error}",
                        job.id
                    )));
                }
            }
        }
        running.into_iter().for_each(join);
    });
}

fn join((notes, worker): (Notes, ScopedJoinHandle<'_, ()>)) {
    if worker.join().is_err() {
        notes.send(Note::Lost("the worker thread panicked".to_owned()));
    }
}
