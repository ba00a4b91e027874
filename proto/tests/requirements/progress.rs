//! Transfers that stood still, or were given up, though both ends were honest and alive.

use crate::receiver_bench::Bench as ReceiverBench;
use crate::sender_bench::Bench as SenderBench;
use std::time::Duration;
use xfer_proto::config::ReceiverConfig;
use xfer_proto::digest::leaf_value;
use xfer_proto::error::ErrorCode;
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::memory::MemoryPool;
use xfer_proto::storage::{Leaf, Prepared};
use xfer_proto::wire::frame::GapRun;
use xfer_proto::wire::message::Message;

const SECOND: Duration = Duration::from_secs(1);
const LEAF: u64 = 1 << 20;
const FILE: FileIndex = FileIndex(0);

#[test]
fn files_abandoned_while_they_are_prepared_leave_room_for_others() {
    let mut bench = ReceiverBench::open();
    bench.is_storage_stuck = true;
    let names: Vec<String> = (0..100).map(|at| format!("f{at}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    bench.offer_all(&files);
    // As many as are looked at at once.
    for file in 0..64 {
        bench.say(&Message::Abandon {
            file: FileIndex(file),
            failure: ErrorCode::SOURCE_UNREADABLE.into(),
        });
    }
    bench.unstick();
    let content = [7; 10];
    for file in 64..100 {
        bench.data(u64::from(file), &content);
        bench.eof(file, &content, leaf_value(10, 0, &content));
    }
    bench.wait(SECOND / 10);
    assert_eq!(bench.committed.len(), 36);
}

#[test]
fn leaf_values_for_which_there_is_no_memory_are_progress() {
    // SPEC: R-progress-1
    let config = ReceiverConfig {
        memory: MemoryPool::new(1 << 20),
        ..ReceiverConfig::default()
    };
    let mut bench = ReceiverBench::open_with(config);
    bench.prepared.push_back(Prepared::Existing);
    bench.existing = Some(Digest([7; 32]));
    let leaves = 100_000;
    bench.offer_all(&[("a", leaves * LEAF)]);
    // A sender that reads 256 MiB a second for the digest alone.
    for first in (0..leaves).step_by(256) {
        let count = (leaves - first).min(256) as usize;
        bench.say(&Message::Leaves {
            file: FILE,
            first,
            values: vec![Digest([1; 32]); count],
        });
        bench.wait(SECOND);
        assert!(bench.seen.closes.is_empty(), "after {first} leaves");
    }
    // The same again is none.
    for _ in 0..120 {
        bench.say(&Message::Leaves {
            file: FILE,
            first: 0,
            values: vec![Digest([1; 32]); 256],
        });
        bench.wait(SECOND);
    }
    assert!(!bench.seen.closes.is_empty());
}

#[test]
fn a_sender_that_reads_a_held_file_slowly_gets_on() {
    // SPEC: R-progress-4
    let size = 5 << 30;
    let mut bench = SenderBench::with_token(&[size]);
    bench.is_slow = true;
    bench.say(&Message::Hold { file: FILE });
    bench.say(&Message::Answer { through: 1 });
    let all = size.div_ceil(crate::sender_bench::CHUNK);
    // A leaf a second.
    for second in 0..800 {
        if !bench.pending.is_empty() {
            bench.answer(0);
        }
        bench.skip(SECOND);
        bench.report(|report| {
            (report.first_missing, report.end) = (all, all);
            (report.page_start, report.page_end) = (all, all);
        });
        assert_eq!(bench.closed, None, "after {second} s");
    }
}

#[test]
fn a_kept_leaf_that_was_given_up_may_be_unreadable() {
    let mut bench = ReceiverBench::open();
    bench.is_storage_stuck = true;
    bench.prepared.push_back(Prepared::Partial {
        leaves: vec![Leaf {
            index: 0,
            value: Digest([7; 32]),
        }],
        is_same_source: false,
        is_unchanged: false,
    });
    bench.offer_all(&[("a", 2 * LEAF)]);
    bench.answer_stuck();
    bench.say(&Message::Leaves {
        file: FILE,
        first: 0,
        values: vec![Digest([1; 32]), Digest([2; 32])],
    });
    bench.fail_stuck(ErrorCode::STORAGE_IO);
    let is_status = |message: &&Message| matches!(message, Message::Status { .. });
    assert_eq!(bench.seen.messages.iter().find(is_status), None);
}

#[test]
fn a_receiver_without_room_is_asked_now_and_then() {
    // SPEC: R-progress-4
    let mut bench = SenderBench::with_token(&[2 * LEAF]);
    bench.say(&Message::Answer { through: 1 });
    let mut sent = 0;
    // Round trips of a millisecond, in which all that comes is dropped for want of room.
    for ms in 0..130_000 {
        bench.skip(Duration::from_millis(1));
        if bench.closed.is_some() {
            break;
        }
        let dropped = bench.seen.chunks.len() as u64 - 20;
        bench.report(|report| {
            (report.first_missing, report.page_start) = (20, 20);
            report.page_end = report.end;
            let run = report.end - 20;
            report.missing = vec![GapRun { gap: 0, run }];
            report.host_drops = dropped;
            report.window = 0;
        });
        sent = if ms == 1_000 {
            bench.seen.chunks.len()
        } else {
            sent
        };
    }
    let late = bench.seen.chunks.len() - sent;
    assert!((50..400).contains(&late), "{late} packets");
    assert_eq!(bench.closed, Some(Err(ErrorCode::TIMEOUT)));
}
