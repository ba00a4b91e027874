//! From what the workers tell to what the caller is told.

use super::job::{Job, JobNote, Note, Traffic};
use crate::api::{SendEvent, SendSummary, SentFile, SentStatus};
use std::time::Instant;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::manifest::Name;

/// Takes the notes of all jobs, and sees to it that every file of every job gets exactly one
/// status.
pub(crate) struct Collector<'a> {
    jobs: &'a [Job],
    /// For each job, the files that have no status yet.
    open: Vec<Vec<bool>>,
    on_event: &'a mut dyn FnMut(SendEvent),
    summary: SendSummary,
    started: Instant,
    /// A stop is under way: who has no status was interrupted.
    is_interrupted: bool,
}

impl<'a> Collector<'a> {
    /// A collector for `jobs`, whose ids are their positions. Time counts from this call.
    pub(crate) fn new(jobs: &'a [Job], on_event: &'a mut dyn FnMut(SendEvent)) -> Self {
        let open = jobs.iter().map(|job| vec![true; job.files.len()]).collect();
        Self {
            jobs,
            open,
            on_event,
            summary: SendSummary::default(),
            started: Instant::now(),
            is_interrupted: false,
        }
    }

    /// From now on a file without a status was interrupted.
    pub(crate) fn on_interrupted(&mut self) {
        self.is_interrupted = true;
    }

    /// Takes one note.
    pub(crate) fn on_note(&mut self, (id, note): JobNote) {
        let Some(job) = self.jobs.get(id) else {
            return;
        };
        match note {
            Note::Progress(bytes) => (self.on_event)(SendEvent::Progress {
                destination: job.destination,
                worker: id,
                bytes,
            }),
            Note::File {
                file,
                seconds,
                retransmitted_bytes,
                status,
            } => self.on_file(id, file as usize, seconds, retransmitted_bytes, status),
            Note::Finished(traffic) => {
                self.add(traffic);
                self.close(id, "the worker did not tell how the file ended");
            }
            Note::Lost(words) => self.close(id, &words),
        }
    }

    /// A file that no job has because it cannot be read: it fails at each of `destinations`.
    pub(crate) fn on_unreadable(&mut self, destinations: usize, name: &Name, failure: &Failure) {
        for destination in 0..destinations {
            self.summary.failed += 1;
            (self.on_event)(SendEvent::File(SentFile {
                name: name.clone(),
                destination,
                bytes: 0,
                seconds: 0.0,
                retransmitted_bytes: 0,
                status: SentStatus::Failed(failure.clone()),
            }));
        }
    }

    /// The summary, when no more notes come.
    pub(crate) fn finish(mut self) -> SendSummary {
        for id in 0..self.jobs.len() {
            self.close(id, "the worker did not tell how it ended");
        }
        self.summary
    }

    fn add(&mut self, traffic: Traffic) {
        self.summary.sent_bytes += traffic.sent_bytes;
        self.summary.sent_packets += traffic.sent_packets;
    }

    fn on_file(
        &mut self,
        id: usize,
        file: usize,
        seconds: f64,
        retransmitted_bytes: u64,
        status: SentStatus,
    ) {
        let is_open = self.open.get_mut(id).and_then(|open| open.get_mut(file));
        let source = self.jobs.get(id).map(|job| (job, job.files.get(file)));
        let (Some(is_open @ true), Some((job, Some(source)))) = (is_open, source) else {
            return;
        };
        *is_open = false;
        let bytes = source.entry.size;
        match &status {
            SentStatus::Committed(_) => {
                self.summary.committed += 1;
                self.summary.bytes += bytes;
            }
            SentStatus::Skipped(_) => self.summary.skipped += 1,
            SentStatus::Failed(_) => self.summary.failed += 1,
        }
        self.summary.seconds = self.started.elapsed().as_secs_f64();
        (self.on_event)(SendEvent::File(SentFile {
            name: source.entry.name.clone(),
            destination: job.destination,
            bytes,
            seconds,
            retransmitted_bytes,
            status,
        }));
    }

    /// A job is over: what has no status failed.
    fn close(&mut self, id: usize, words: &str) {
        let code = match self.is_interrupted {
            true => ErrorCode::INTERRUPTED,
            false => ErrorCode::INTERNAL,
        };
        for file in 0..self.open.get(id).map_or(0, Vec::len) {
            let status = SentStatus::Failed(Failure::new(code, words));
            self.on_file(id, file, 0.0, 0, status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Congestion;
    use crate::runtime::job::{Readiness, SourceFile};
    use std::net::SocketAddr;
    use std::time::Duration;
    use xfer_proto::id::Digest;
    use xfer_proto::manifest::{Entry, EntryKind};

    fn job(id: usize, files: usize) -> Job {
        let file = |at: usize| SourceFile {
            path: at.to_string().into(),
            entry: Entry {
                name: Name::new(at.to_string()).unwrap(),
                kind: EntryKind::File,
                size: 10,
                modified: None,
                mode: None,
                identity: None,
            },
        };
        Job {
            id,
            destination: id,
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            files: (0..files).map(file).collect(),
            max_rate: None,
            congestion: Congestion::default(),
            read_buffer: 1,
            timeout: Duration::from_secs(1),
            readiness: Readiness::Blocking,
        }
    }

    fn committed(file: u32) -> Note {
        Note::File {
            file,
            seconds: 1.0,
            retransmitted_bytes: 0,
            status: SentStatus::Committed(Digest([0; 32])),
        }
    }

    #[test]
    fn every_file_has_one_status_whatever_the_workers_do() {
        let jobs = [job(0, 2), job(1, 2), job(2, 1)];
        let mut events = Vec::new();
        let mut on_event = |event| events.push(event);
        let mut collector = Collector::new(&jobs, &mut on_event);
        for note in [
            (0, committed(1)),
            (0, committed(1)),
            (0, committed(9)),
            (7, committed(0)),
            (1, committed(0)),
            (0, Note::Lost("worker 0 died (signal 9)".to_owned())),
            (0, committed(0)),
            (1, Note::Finished(Traffic::default())),
        ] {
            collector.on_note(note);
        }
        let summary = collector.finish();
        assert_eq!((summary.committed, summary.failed), (2, 3));
        assert_eq!(summary.bytes, 20);
        assert_eq!(events.len(), 5);
        let SendEvent::File(lost) = &events[2] else {
            panic!("{events:?}");
        };
        assert_eq!(
            (lost.destination, lost.name.as_bytes()),
            (0, b"0".as_slice())
        );
        let SentStatus::Failed(failure) = &lost.status else {
            panic!("{lost:?}");
        };
        assert_eq!(failure.code, ErrorCode::INTERNAL);
        assert_eq!(failure.message, "worker 0 died (signal 9)");
    }

    #[test]
    fn after_a_stop_the_rest_was_interrupted() {
        let jobs = [job(0, 1)];
        let mut events = Vec::new();
        let mut on_event = |event| events.push(event);
        let mut collector = Collector::new(&jobs, &mut on_event);
        collector.on_interrupted();
        assert_eq!(collector.finish().failed, 1);
        assert!(matches!(&events[0], SendEvent::File(SentFile {
            status: SentStatus::Failed(failure), ..
        }) if failure.code == ErrorCode::INTERRUPTED));
    }
}
