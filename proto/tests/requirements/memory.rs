//! What a sender reads, and holds, where its memory is the smallest.

use crate::sender_bench::{Bench, CHUNK, TOKEN};
use std::time::Duration;
use xfer_proto::config::SenderConfig;
use xfer_proto::id::FileIndex;
use xfer_proto::storage::StorageOp;
use xfer_proto::wire::frame::GapRun;
use xfer_proto::wire::message::Message;

const MS: Duration = Duration::from_millis(1);
const LEAF: u64 = 1 << 20;
/// Room for four leaves, the least that there is.
const CAPACITY: u64 = 4 * LEAF;

/// A sender whose reads wait for their answers, with as little memory as can be and a token.
fn smallest(files: &[u64]) -> Bench {
    let config = SenderConfig {
        read_buffer: 0,
        ..SenderConfig::default()
    };
    let mut bench = Bench::start_with(config, files, "");
    bench.is_slow = true;
    bench.retry(TOKEN, 1_200);
    bench.wait(20 * MS);
    bench
}

/// Lets time pass in which all reads are answered but those that `stuck` names.
fn go_on(bench: &mut Bench, stuck: &[(u32, u64)]) {
    for _ in 0..200 {
        while let Some(at) = bench.pending.iter().position(|op| !is_among(op, stuck)) {
            bench.answer(at);
        }
        bench.wait(MS);
        assert!(bench.pending_bytes() <= CAPACITY);
    }
}

fn is_among(op: &StorageOp, reads: &[(u32, u64)]) -> bool {
    matches!(op, StorageOp::Read { file, offset, .. } if reads.contains(&(file.0, offset / LEAF)))
}

fn hold(file: u32) -> Message {
    Message::Hold {
        file: FileIndex(file),
    }
}

fn want(file: u32) -> Message {
    Message::Want {
        file: FileIndex(file),
    }
}

#[test]
fn repairs_that_need_the_same_room_take_turns() {
    // Found by the fuzzer of sessions: a late leaf and a repair from two others, where the three
    // have no room together, took each other's place for as long as no report came.
    let mut bench = smallest(&[LEAF, LEAF, LEAF + 1, LEAF + 1]);
    let stuck = [(1, 0), (3, 0)];
    go_on(&mut bench, &stuck);
    bench.say(&hold(0));
    bench.say(&hold(1));
    bench.say(&Message::Answer { through: 3 });
    for _ in 0..5 {
        bench.report(|_| {});
        go_on(&mut bench, &stuck);
    }
    let border = 3 * LEAF.div_ceil(CHUNK) - 1;
    let sent = bench.seen.chunks.len();
    assert_eq!(
        bench.seen.chunks[sent - 1].0,
        border,
        "it lies in two leaves"
    );
    // The late leaf drives out one of the two before it is known that the chunk is lost.
    bench.say(&want(0));
    bench.wait(5 * MS);
    bench.report(|report| {
        report.received -= 1;
        (report.first_missing, report.page_start) = (border, border);
        report.missing = vec![GapRun { gap: 0, run: 1 }];
    });
    let reads = bench.reads.len();
    go_on(&mut bench, &stuck);
    let again: Vec<u64> = bench.seen.chunks[sent..].iter().map(|it| it.0).collect();
    assert!(again.contains(&border) && again.contains(&0), "{again:?}");
    assert!(bench.reads.len() <= reads + 4, "{:?}", bench.reads);
}

#[test]
fn what_is_sent_before_its_turn_is_read_once() {
    // Found by the fuzzer of sessions: behind a file that is only read for its digest, the next
    // was read to be sent and again for its digest, both at once and beyond the memory.
    let mut bench = smallest(&[6 * LEAF, 2 * LEAF + 5]);
    bench.say(&hold(0));
    bench.say(&Message::Answer { through: 2 });
    let stuck: Vec<(u32, u64)> = (0..6).map(|leaf| (0, leaf)).collect();
    for _ in 0..5 {
        bench.report(|_| {});
        go_on(&mut bench, &stuck);
    }
    let of_next = |bench: &Bench| bench.reads.iter().filter(|read| read.0 == 1).count();
    assert_eq!(of_next(&bench), 3, "{:?}", bench.reads);
    let sent = |bench: &Bench, file: u32| {
        let is_eof =
            |message: &Message| matches!(message, Message::Eof { file: it, .. } if it.0 == file);
        bench.seen.messages.iter().any(is_eof)
    };
    assert!(sent(&bench, 1) && !sent(&bench, 0), "its leaves are known");
    bench.report(|_| {});
    go_on(&mut bench, &[]);
    assert!(sent(&bench, 0));
    assert_eq!(bench.reads.len(), 9, "{:?}", bench.reads);
}

#[test]
fn a_repair_has_its_room_beside_a_file_that_is_only_hashed() {
    // A lost chunk in two leaves needs both, and a file that is only read for its digest took the
    // room for one of them again and again, until it was hashed.
    let mut bench = smallest(&[2 * LEAF, 400 * LEAF, 9 * LEAF]);
    go_on(&mut bench, &[]);
    bench.say(&hold(1));
    bench.say(&Message::Answer { through: 3 });
    let step = |bench: &mut Bench| {
        if !bench.pending.is_empty() {
            bench.answer(0);
        }
        bench.wait(20 * MS);
        assert!(bench.pending_bytes() <= CAPACITY);
    };
    for _ in 0..30 {
        step(&mut bench);
        bench.report(|_| {});
    }
    let (border, sent) = (LEAF / CHUNK, bench.seen.chunks.len());
    let is_repaired = |bench: &Bench| bench.seen.chunks[sent..].iter().any(|it| it.0 == border);
    let mut reads = 0;
    while !is_repaired(&bench) {
        bench.report(|report| {
            report.received -= 1;
            (report.first_missing, report.page_start) = (border, border);
            report.missing = vec![GapRun { gap: 0, run: 1 }];
        });
        step(&mut bench);
        reads += 1;
        assert!(reads < 20, "{:?}", &bench.reads[bench.reads.len() - 20..]);
    }
    let files = [2, 400, 9].map(|leaves| (leaves * LEAF).div_ceil(CHUNK));
    let last = files.iter().sum::<u64>() - 1;
    while !bench.seen.chunks.iter().any(|it| it.0 == last) {
        bench.report(|_| {});
        step(&mut bench);
        reads += 1;
        assert!(reads < 200, "what comes behind is sent meanwhile");
    }
}
