//! A pool of tasks on an asynchronous runtime; results are gathered as they finish.

use super::Crew;
use crate::runtime::job::{Note, Notes};
use crate::runtime::sender::run_async;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};

/// Runs the jobs as tasks, at most so many at a time as the crew is large.
pub(super) fn run(crew: &Crew<'_>) {
    let cores = available_parallelism().map_or(1, usize::from);
    // A thread without a task only steals from the others: they wake it for nothing each time.
    let threads = cores.min(crew.limit.get()).min(crew.jobs.len());
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name("xfer-worker")
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
    let seats = Arc::new(Semaphore::new(crew.limit.get()));
    let mut tasks = JoinSet::new();
    let mut notes_of: HashMap<Id, Notes> = HashMap::new();
    for job in crew.jobs {
        let notes = Notes::new(job.id, crew.notes.clone());
        let (job, open, stop) = (job.clone(), crew.open, crew.stop.clone());
        let seats = Arc::clone(&seats);
        let task_notes = notes.clone();
        let task = tasks.spawn(async move {
            // The semaphore is never closed.
            let _seat = seats.acquire().await;
            run_async(&job, open, &task_notes, &stop).await;
        });
        notes_of.insert(task.id(), notes);
    }
    while let Some(ended) = tasks.join_next_with_id().await {
        if let Err(error) = ended
            && let Some(notes) = notes_of.get(&error.id())
        {
            notes.send(Note::Lost("the worker task panicked".to_owned()));
        }
    }
}
