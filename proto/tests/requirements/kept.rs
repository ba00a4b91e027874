//! What a sender makes of leaves that the receiver kept from an earlier session.

use crate::sender_bench::{Bench, CHUNK, content};
use std::time::Duration;
use xfer_proto::digest::leaf_value;
use xfer_proto::error::ErrorCode;
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::wire::frame::GapRun;
use xfer_proto::wire::message::Message;

const MS: Duration = Duration::from_millis(1);
const LEAF: u64 = 1 << 20;
const FILE: FileIndex = FileIndex(0);

#[test]
fn kept_leaves_are_believed_or_compared() {
    // SPEC: R-resume-4, R-resume-5
    let size = 2 * LEAF;
    let mine = leaf_value(size, 0, &content(0, 0, LEAF as usize));
    for (value, is_skipped) in [(mine, true), (Digest([0; 32]), false)] {
        let mut bench = Bench::with_token(&[size]);
        bench.say(&Message::Resume {
            file: FILE,
            is_same_source: false,
            leaves: vec![(0, value)],
        });
        bench.say(&Message::Answer { through: 1 });
        let before = bench.seen.chunks.len();
        bench.report(|_| {});
        bench.wait(5 * MS);
        let next = bench.seen.chunks[before].0;
        assert_eq!(
            next == LEAF / CHUNK,
            is_skipped,
            "went on with chunk {next}"
        );
    }
}

#[test]
fn little_is_sent_before_it_is_known_what_is_kept() {
    // SPEC: R-sender-3
    for (mib, most) in [
        (7, 1 << 20),
        (9, 512 << 10),
        (20, (20 << 20) / 24),
        (99, 1 << 20),
    ] {
        let mut bench = Bench::with_token(&[mib * LEAF]);
        // The receiver is there, and storage has not told it yet what it has.
        for _ in 0..50 {
            bench.report(|_| {});
            bench.wait(10 * MS);
        }
        let sent = bench.seen.chunks.len() as u64 * CHUNK;
        assert!(
            (most..most + CHUNK).contains(&sent),
            "{sent} bytes of {mib} MiB"
        );
    }
}

#[test]
fn leaves_kept_side_by_side_cost_neither_reads_nor_packets() {
    // SPEC: R-resume-3, R-resume-5
    let mut bench = Bench::with_token(&[40 * LEAF]);
    let read = bench.reads.len() as u64;
    let kept = [20..30, 31..39];
    for leaves in kept.clone() {
        bench.say(&Message::Resume {
            file: FILE,
            is_same_source: true,
            leaves: leaves.map(|index| (index, Digest([1; 32]))).collect(),
        });
    }
    bench.say(&Message::Answer { through: 1 });
    for _ in 0..200 {
        bench.report(|_| {});
        bench.wait(10 * MS);
    }
    let mut sent = vec![false; (40 * LEAF).div_ceil(CHUNK) as usize];
    for (chunk, _) in &bench.seen.chunks {
        sent[*chunk as usize] = true;
    }
    for (chunk, is_sent) in (0..).zip(sent) {
        let leaves = chunk * CHUNK / LEAF..=((chunk + 1) * CHUNK - 1).min(40 * LEAF - 1) / LEAF;
        let is_kept = |leaf: u64| kept.iter().any(|kept| kept.contains(&leaf));
        assert_eq!(is_sent, !leaves.clone().all(is_kept), "{leaves:?}");
    }
    assert!(read < 20);
    // One beside each end of what is kept has a chunk in common with it.
    let kept_and_read: Vec<u64> = bench.reads.iter().map(|it| it.1).collect();
    let kept_and_read = [21, 22, 28, 32, 33, 37].map(|leaf| kept_and_read.contains(&leaf));
    assert_eq!(kept_and_read, [false; 6]);
}

#[test]
fn storage_has_the_time_to_read_a_large_file_again() {
    // SPEC: R-progress-4
    const GIB: u64 = 1 << 30;
    let mut bench = Bench::with_token(&[12 * GIB]);
    let leaf = |index| (index, Digest([1; 32]));
    // All of it is kept, and taken unread: 13 minutes of 16 MiB a second.
    for page in 0..768 {
        bench.say(&Message::Resume {
            file: FILE,
            is_same_source: true,
            leaves: (page * 16..(page + 1) * 16).map(leaf).collect(),
        });
    }
    bench.say(&Message::Answer { through: 1 });
    // But for leaves that were read before that, and turned out to be others.
    for _ in 0..100 {
        bench.report(|_| {});
        bench.wait(10 * MS);
    }
    let read = bench.reads.iter().map(|read| read.1).max().unwrap();
    assert_eq!(bench.seen.chunks.last().unwrap().0, read * LEAF / CHUNK);
    assert!((4..20).contains(&read), "{read}");
    let end = (12 * GIB).div_ceil(CHUNK);
    let mut seconds = 0;
    while bench.closed.is_none() {
        bench.report(|report| {
            (report.first_missing, report.end) = (end, end);
            (report.page_start, report.page_end) = (end, end);
        });
        bench.skip(1_000 * MS);
        seconds += 1;
    }
    assert!((768..=900).contains(&seconds), "{seconds} s");
    assert_eq!(bench.closed, Some(Err(ErrorCode::TIMEOUT)));
}

#[test]
fn storage_has_its_time_after_a_repair_too() {
    // SPEC: R-progress-4
    let mut bench = Bench::open(&[100 * CHUNK]);
    bench.wait(100 * MS);
    bench.report(|report| {
        report.received -= 1;
        (report.first_missing, report.page_start) = (3, 3);
        report.missing = vec![GapRun { gap: 0, run: 1 }];
    });
    bench.wait(20 * MS);
    assert!(bench.seen.chunks.len() > 100, "it was sent again");
    let mut seconds = 0;
    while bench.closed.is_none() {
        bench.report(|_| {});
        bench.skip(1_000 * MS);
        seconds += 1;
    }
    assert!((600..=660).contains(&seconds), "{seconds} s");
}
