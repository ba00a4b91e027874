//! Worker processes with blocking I/O, started and joined in order.

use super::{Crew, KILL_AFTER, obituary, program};
use crate::runtime::ipc;
use crate::runtime::job::{Job, JobNote, Note, Notes};
use crate::runtime::worker::WORKER_ARGUMENT;
use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, ScopedJoinHandle, scope};

/// Runs each job in a process of its own; the next one starts when the oldest of a full crew has
/// ended.
pub(super) fn run(crew: &Crew<'_>) {
    let alive = Alive::default();
    let _stops = crew.stop.subscribe({
        let alive = alive.clone();
        Arc::new(move || alive.stop())
    });
    scope(|scope| {
        let mut running: VecDeque<ScopedJoinHandle<'_, ()>> = VecDeque::new();
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
            let attendant_notes = notes.clone();
            let alive = alive.clone();
            let worker = start(job, &alive, crew).and_then(|stdout| {
                Builder::new()
                    .name(format!("xfer-worker-{}", job.id))
                    .spawn_scoped(scope, move || {
                        attend(job.id, stdout, &attendant_notes, &alive);
                    })
            });
            match worker {
                Ok(worker) => running.push_back(worker),
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

fn join(attendant: ScopedJoinHandle<'_, ()>) {
    // An attendant that panicked leaves files without a status: the collector sees to them.
    let _ = attendant.join();
}

/// Starts a worker and tells it its job.
fn start(job: &Job, alive: &Alive, crew: &Crew<'_>) -> io::Result<ChildStdout> {
    let mut child = Command::new(program()?)
        .arg(WORKER_ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    // A worker that is dead already is noticed, and waited for, where its notes are read.
    let _ = ipc::write(&mut stdin, job);
    let stdin = Some(stdin);
    alive.lock().insert(job.id, Worker { child, stdin });
    if crew.stop.is_stopped() {
        alive.close_stdin(job.id);
    }
    Ok(stdout)
}

/// Passes on the notes of a worker until it is gone.
fn attend(id: usize, stdout: ChildStdout, notes: &Notes, alive: &Alive) {
    let mut reader = BufReader::new(stdout);
    let mut is_finished = false;
    // A frame that makes no sense is the end of a worker as much as none at all.
    while let Ok(Some((_, note))) = ipc::read::<JobNote>(&mut reader) {
        is_finished |= matches!(note, Note::Finished(_));
        notes.send(note);
        if is_finished {
            // There is no other job for it: it ends.
            alive.close_stdin(id);
        }
    }
    let worker = alive.lock().remove(&id);
    if let Some(mut worker) = worker {
        drop(worker.stdin.take());
        drop(reader);
        let status = worker.child.wait();
        if !is_finished {
            notes.send(Note::Lost(obituary(id, status)));
        }
    }
}

/// The workers that live.
#[derive(Clone, Default)]
struct Alive(Arc<Mutex<HashMap<usize, Worker>>>);

struct Worker {
    child: Child,
    /// Its end tells the worker to stop in order.
    stdin: Option<ChildStdin>,
}

impl Alive {
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Worker>> {
        // Whole after any panic: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_stdin(&self, id: usize) {
        if let Some(worker) = self.lock().get_mut(&id) {
            worker.stdin = None;
        }
    }

    /// Asks all workers to stop, and kills those that do not.
    fn stop(&self) {
        for worker in self.lock().values_mut() {
            worker.stdin = None;
        }
        let workers = self.clone();
        let _ = Builder::new().spawn(move || {
            std::thread::sleep(KILL_AFTER);
            for worker in workers.lock().values_mut() {
                let _ = worker.child.kill();
            }
        });
    }
}
