//! What must hold in every run, whatever went wrong in it.

use crate::host::{ReceiverHost, Said, SenderHost};
use crate::queue::Nanos;
use crate::storage::Disk;
use crate::trace::Seconds;
use xfer_proto::digest::LEAF_SIZE;
use xfer_proto::id::FileIndex;
use xfer_proto::machine::FileStatus;
use xfer_proto::memory::GUARANTEE;

/// Most storage operations of one host at once, for each of its sessions.
const MAX_OPS: usize = 4_096;

/// Most steps that one report may make a sender take.
const MAX_REPORT_STEPS: u64 = 20_000;

/// Checks one report of a machine against the disk and the manifest.
pub(crate) fn check_said(
    said: &Said,
    senders: &[SenderHost],
    disk: &Disk,
    violations: &mut Vec<String>,
) {
    let who = if said.by_sender { "sender" } else { "receiver" };
    let sender = senders.iter().find(|sender| {
        let mut attempts = sender.attempts.iter();
        attempts.any(|attempt| attempt.session == said.session)
    });
    let Some(spec) = sender.map(SenderHost::spec) else {
        violations.push(format!("{who} reports on an unknown session"));
        return;
    };
    if spec.is_evil {
        let disk = disk.committed(said.session, said.file);
        if let FileStatus::Committed(digest) = &said.status
            && !said.by_sender
            && disk != Some(*digest)
        {
            let file = said.file;
            violations.push(format!("{who} says that {file:?} is committed, to a liar"));
        }
        return;
    }
    let at = said.file.as_usize();
    let (Some(entry), Some(content)) = (spec.manifest.get(at), spec.files.get(at)) else {
        violations.push(format!("{who} reports on {:?}, never offered", said.file));
        return;
    };
    if *entry != said.entry {
        violations.push(format!("{who} reports {:?} with a wrong entry", said.file));
    }
    let file = said.file;
    match &said.status {
        FileStatus::Committed(digest) => {
            if disk.committed(said.session, file) != Some(*digest) {
                violations.push(format!(
                    "{who} says that {file:?} is committed, and the disk does not have it"
                ));
            }
        }
        FileStatus::Skipped(digest) => {
            let there = disk.digest_of(&entry.name);
            if there != Some(*digest) || *digest != content.root() {
                violations.push(format!(
                    "{who} says that {file:?} is there already, and it is not"
                ));
            }
        }
        FileStatus::Failed(_) => {}
    }
}

/// Checks that the last run of every sender's command brought every file.
pub(crate) fn check_success(senders: &[SenderHost], disk: &Disk, violations: &mut Vec<String>) {
    let honest = senders.iter().filter(|sender| !sender.spec().is_evil);
    for (at, sender) in honest.enumerate() {
        let Some(last) = sender.attempts.last() else {
            violations.push(format!("sender {at} never started"));
            continue;
        };
        if !matches!(last.reports.closed, Some(Ok(()))) {
            let closed = &last.reports.closed;
            violations.push(format!("sender {at} ended with {closed:?}"));
        }
        let spec = sender.spec();
        for (index, (entry, content)) in spec.manifest.iter().zip(spec.files.iter()).enumerate() {
            let status = last.reports.files.get(&FileIndex(index as u32));
            let arrived = matches!(
                status,
                Some(FileStatus::Committed(_) | FileStatus::Skipped(_))
            );
            if !arrived {
                violations.push(format!("sender {at}, file {index}: {status:?}"));
            } else if disk
                .committed(last.session, FileIndex(index as u32))
                .is_none()
                && disk.digest_of(&entry.name) != Some(content.root())
            {
                violations.push(format!("{} has the wrong content", entry.name));
            }
        }
    }
}

/// Checks that no host asked more of its storage at once than its settings allow.
pub(crate) fn check_storage_peaks(
    senders: &[SenderHost],
    receiver: &ReceiverHost,
    violations: &mut Vec<String>,
) {
    for (at, sender) in senders.iter().enumerate() {
        let (ops, bytes) = sender.storage_peaks();
        let allowed = sender.spec().config.read_buffer as u64 + LEAF_SIZE;
        if ops > MAX_OPS || bytes > allowed {
            violations.push(format!(
                "sender {at} had {ops} storage operations and {bytes} bytes under way at once"
            ));
        }
    }
    let report = receiver.report();
    let sessions = senders.len().max(1);
    let allowed = (receiver.write_buffer() as u64 + LEAF_SIZE) * sessions as u64;
    if report.peak_ops > MAX_OPS * sessions || report.peak_bytes > allowed {
        violations.push(format!(
            "the receiver had {} storage operations and {} bytes under way at once",
            report.peak_ops, report.peak_bytes
        ));
    }
}

/// Checks that no report made a sender do more than what is in flight explains.
pub(crate) fn check_work(senders: &[SenderHost], violations: &mut Vec<String>) {
    for (at, sender) in senders.iter().enumerate() {
        let attempts = sender.attempts.iter();
        let most = attempts.map(|attempt| attempt.stats.report_steps).max();
        if most.unwrap_or(0) > MAX_REPORT_STEPS {
            violations.push(format!("a report made sender {at} take {most:?} steps"));
        }
    }
}

/// Checks that the sessions of the receiver hold no more memory than they may.
pub(crate) fn check_memory(receiver: &ReceiverHost, violations: &mut Vec<String>) {
    let (pool, sessions) = (receiver.memory(), receiver.session_count());
    let allowed = match sessions {
        0 => 0,
        _ => pool.size() + GUARANTEE * sessions as u64,
    };
    if pool.held() > allowed {
        violations.push(format!(
            "{sessions} sessions of the receiver hold {} bytes, {allowed} are allowed",
            pool.held()
        ));
    }
}

/// Says what did not come to an end.
pub(crate) fn unfinished(now: Nanos, senders: &[SenderHost], receiver: &ReceiverHost) -> String {
    let mut words = format!("not over at {}:", Seconds(now));
    for (at, sender) in senders.iter().enumerate() {
        if !sender.is_finished() {
            words += &format!(" sender {at} waits for {:?};", sender.deadline());
        }
    }
    for (session, deadline) in receiver.deadlines() {
        words += &format!(" receiver session {session} waits for {deadline:?};");
    }
    words
}
