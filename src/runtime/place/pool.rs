//! A pool of long-lived worker processes; jobs are futures, results are gathered as they finish.

use super::{Crew, KILL_AFTER, obituary, program};
use crate::runtime::ipc;
use crate::runtime::job::{Job, JobNote, Note, Notes};
use crate::runtime::worker::WORKER_ARGUMENT;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Runs the jobs in worker processes, at most so many as the crew is large.
///
/// The runtime has one thread, the calling one: it only moves notes, and a process that asks to be
/// told of its parent's death is told of the death of the thread that started it.
pub(super) fn run(crew: &Crew<'_>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(gather(crew)),
        Err(error) => {
            for job in crew.jobs {
                let words = format!("cannot start the asynchronous runtime: {error}");
                Notes::new(job.id, crew.notes.clone()).send(Note::Lost(words));
            }
        }
    }
}

async fn gather(crew: &Crew<'_>) {
    let (stop, stopped) = watch::channel(false);
    let _stops = crew.stop.subscribe(Arc::new(move || {
        stop.send_replace(true);
    }));
    let pool = Arc::new(Pool {
        seats: Semaphore::new(crew.limit.get()),
        idle: Mutex::new(Vec::new()),
        stopped,
    });
    let mut jobs = JoinSet::new();
    for job in crew.jobs {
        let notes = Notes::new(job.id, crew.notes.clone());
        let (pool, job) = (Arc::clone(&pool), job.clone());
        jobs.spawn(async move { pool.run(&job, &notes).await });
    }
    // A job that panicked leaves files without a status: the collector sees to them.
    while jobs.join_next().await.is_some() {}
    pool.dismiss().await;
}

struct Pool {
    /// One for each worker that may live.
    seats: Semaphore,
    /// Workers without a job; no more than seats that are free.
    idle: Mutex<Vec<Worker>>,
    stopped: watch::Receiver<bool>,
}

struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// How a worker came out of a job.
enum Outcome {
    Finished(Worker),
    Dead(Child),
    /// It was asked to stop, and did or was killed.
    Stopped,
}

impl Pool {
    /// Carries out one job: with an idle worker, or a new one.
    async fn run(&self, job: &Job, notes: &Notes) {
        // The semaphore is never closed.
        let _seat = self.seats.acquire().await;
        if *self.stopped.borrow() {
            return notes.send(Note::Lost("it was not started".to_owned()));
        }
        let idle = self.idle().pop();
        let mut worker = match idle.map_or_else(Worker::start, Ok) {
            Ok(worker) => worker,
            Err(error) => {
                let words = format!("cannot start worker {}: {error}", job.id);
                return notes.send(Note::Lost(words));
            }
        };
        // A worker that is dead already is noticed where its notes are read.
        let _ = worker.tell(job).await;
        match worker.attend(notes, self.stopped.clone()).await {
            Outcome::Finished(worker) => self.idle().push(worker),
            Outcome::Stopped => notes.send(Note::Lost("the worker was stopped".to_owned())),
            Outcome::Dead(mut child) => {
                let status = child.wait().await;
                notes.send(Note::Lost(obituary(job.id, status)));
            }
        }
    }

    /// Lets all workers end.
    async fn dismiss(&self) {
        let workers = std::mem::take(&mut *self.idle());
        for mut worker in workers {
            drop(worker.stdin);
            // Dropping one that does not end kills it.
            let _ = timeout(KILL_AFTER, worker.child.wait()).await;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        // Whole after any panic: each change is one call.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(program()?)
            .arg(WORKER_ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let stdout = BufReader::new(stdout);
        Ok(Self {
            child,
            stdin,
            stdout,
        })
    }

    async fn tell(&mut self, job: &Job) -> io::Result<()> {
        self.stdin.write_all(&ipc::encode(job)?).await?;
        self.stdin.flush().await
    }

    /// Passes on the notes of one job. After a stop the worker is asked to end, and gets some time
    /// for it.
    async fn attend(self, notes: &Notes, mut stopped: watch::Receiver<bool>) -> Outcome {
        let Self {
            child,
            stdin,
            mut stdout,
        } = self;
        let is_finished = {
            let mut passing = std::pin::pin!(pass_on(&mut stdout, notes));
            let passed = tokio::select! {
                is_finished = &mut passing => Some(is_finished),
                // The sender lives as long as the pool: this ends by a stop only.
                _ = stopped.wait_for(|is_stopped| *is_stopped) => None,
            };
            let Some(is_finished) = passed else {
                drop(stdin);
                let _ = timeout(KILL_AFTER, passing).await;
                return Outcome::Stopped;
            };
            is_finished
        };
        match is_finished {
            false => Outcome::Dead(child),
            true => Outcome::Finished(Self {
                child,
                stdin,
                stdout,
            }),
        }
    }
}

/// Passes on notes to the end of a job; `false` when the worker ended before.
async fn pass_on(stdout: &mut BufReader<ChildStdout>, notes: &Notes) -> bool {
    while let Ok(Some((_, note))) = ipc::read_async::<JobNote>(stdout).await {
        let is_finished = matches!(note, Note::Finished(_));
        notes.send(note);
        if is_finished {
            return true;
        }
    }
    false
}
