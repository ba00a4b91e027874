//! Parity over the last chunks (SPEC.md, `parity`).

use crate::receiver_bench::{self, CHUNK};
use crate::sender_bench::{self, content};
use crate::wire::{ID, missing};
use std::collections::BTreeSet;
use xfer_proto::config::{PROGRESS_WINDOW, ReceiverConfig};
use xfer_proto::digest::{LEAF_SIZE, leaf_value};
use xfer_proto::error::ErrorCode;
use xfer_proto::fec;
use xfer_proto::id::{FileIndex, PacketNumber};
use xfer_proto::memory::MemoryPool;
use xfer_proto::storage::{Leaf, Prepared};
use xfer_proto::time::Duration;
use xfer_proto::wire::frame::{Frame, GapRun};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::{ParityOf, encode_parity, encode_part};

const CHUNKS: usize = 20;

/// A receiver of a file whose last chunk is short, and the file.
fn receiving() -> (receiver_bench::Bench, Vec<u8>) {
    let bytes = content(0, 0, CHUNKS * CHUNK - 100);
    let mut bench = receiver_bench::Bench::open();
    bench.offer_all(&[("a", bytes.len() as u64)]);
    (bench, bytes)
}

fn symbol(bytes: &[u8], of: ParityOf) -> Vec<u8> {
    let chunks = bytes.chunks(CHUNK).skip(of.first as usize);
    let chunks = chunks.take(usize::from(of.count));
    fec::parity(of.index, CHUNK, chunks.map(|chunk| (chunk, &[][..])))
}

fn deliver(bench: &mut receiver_bench::Bench, of: ParityOf, symbol: &[u8]) {
    let number = PacketNumber(bench.take_number());
    let mut packet = Vec::new();
    encode_parity(&mut packet, ID, number, of, symbol);
    bench.deliver(&packet);
}

fn of(first: u64, count: u8, index: u8) -> ParityOf {
    ParityOf::new(first, count, index).unwrap()
}

#[test]
fn what_parity_brings_back_counts_as_received() {
    // SPEC: R-parity-5
    let (mut bench, bytes) = receiving();
    let lost = [6, 11, CHUNKS as u64 - 1];
    for (chunk, payload) in (0..).zip(bytes.chunks(CHUNK)) {
        if !lost.contains(&chunk) {
            bench.data(chunk, payload);
        }
    }
    let block = |index| of(4, CHUNKS as u8 - 4, index);
    for index in [0, 7, 7] {
        deliver(&mut bench, block(index), &symbol(&bytes, block(index)));
    }
    bench.ping(CHUNKS as u64);
    let report = bench.seen.last_report().clone();
    assert_eq!(missing(&report).len(), 3, "two symbols are not enough");
    deliver(&mut bench, block(3), &symbol(&bytes, block(3)));
    bench.ping(CHUNKS as u64);
    let report = bench.seen.last_report().clone();
    assert_eq!(
        (report.first_missing, report.duplicates),
        (CHUNKS as u64, 0)
    );
    bench.eof(0, &bytes, leaf_value(bytes.len() as u64, 0, &bytes));
    assert_eq!(bench.committed.len(), 1);
    assert_eq!(bench.written(0), bytes);
}

#[test]
fn blocks_that_overlap_are_not_held() {
    // SPEC: R-parity-8
    let (mut bench, bytes) = receiving();
    bench.send(2, &bytes[2 * CHUNK..]);
    for overlapping in [of(0, 10, 0), of(0, 20, 1), of(9, 11, 0)] {
        deliver(&mut bench, overlapping, &symbol(&bytes, overlapping));
    }
    bench.ping(CHUNKS as u64);
    assert_eq!(missing(bench.seen.last_report()).len(), 1);
    // The first one stands, and the second symbol of it is enough.
    let block = of(0, 10, 3);
    deliver(&mut bench, block, &symbol(&bytes, block));
    bench.ping(CHUNKS as u64);
    assert_eq!(bench.seen.last_report().first_missing, CHUNKS as u64);
}

/// Bytes that a receiver holds four windows of progress after parity came that is not enough, or
/// that did not come.
fn held_in_the_end(has_parity: bool) -> u64 {
    let mut config = ReceiverConfig::default();
    let pool = MemoryPool::new(1 << 22);
    config.memory = pool.clone();
    let mut bench = receiver_bench::Bench::open_with(config);
    let bytes = content(0, 0, 3 * CHUNKS * CHUNK);
    bench.offer_all(&[("a", bytes.len() as u64)]);
    if has_parity {
        let block = of(0, CHUNKS as u8, 0);
        deliver(&mut bench, block, &symbol(&bytes, block));
        assert_eq!(pool.held(), CHUNK as u64);
    }
    for chunk in 0..2 * CHUNKS {
        // Enough goes on for the session to live.
        let chunk = CHUNKS + chunk;
        bench.wait(PROGRESS_WINDOW / 10);
        bench.data(chunk as u64, &bytes[chunk * CHUNK..][..CHUNK]);
    }
    assert!(bench.seen.closes.is_empty());
    pool.held()
}

#[test]
fn parity_that_leads_to_nothing_is_forgotten() {
    assert_eq!(held_in_the_end(true), held_in_the_end(false));
}

#[test]
fn what_too_much_is_missing_of_is_asked_for() {
    // SPEC: R-parity-8
    let mut bench = receiver_bench::Bench::open();
    let bytes = content(0, 0, 200 * CHUNK);
    bench.offer_all(&[("a", bytes.len() as u64)]);
    for index in 0..65 {
        let block = of(0, 65, index);
        deliver(&mut bench, block, &symbol(&bytes, block));
    }
    for index in 0..64 {
        let block = of(65, 64, index);
        deliver(&mut bench, block, &symbol(&bytes, block));
    }
    bench.ping(200);
    let stats = bench.session.as_ref().unwrap().stats();
    assert_eq!(stats.recovered_chunks, 64);
}

#[test]
fn a_part_that_comes_late_makes_parity_enough() {
    let (mut bench, bytes) = receiving();
    bench.send(2, &bytes[2 * CHUNK..]);
    let block = of(0, CHUNKS as u8, 1);
    deliver(&mut bench, block, &symbol(&bytes, block));
    for at in [0, CHUNK - 600] {
        let number = PacketNumber(bench.take_number());
        let mut packet = Vec::new();
        let part = &bytes[CHUNK + at..][..600];
        encode_part(&mut packet, ID, number, (1, at as u16), part, &[]);
        bench.deliver(&packet);
    }
    bench.ping(CHUNKS as u64);
    assert_eq!(bench.seen.last_report().first_missing, CHUNKS as u64);
}

#[test]
fn a_receiver_that_lost_nearly_all_makes_no_sender_count_for_ever() {
    let chunk = sender_bench::CHUNK;
    let mut bench = sender_bench::Bench::with_token(&[400_000_000, 1_000 * chunk]);
    bench.say(&Message::Hold { file: FileIndex(0) });
    bench.say(&Message::Answer { through: 2 });
    let first = 400_000_000_u64.div_ceil(chunk);
    let is_all_sent = |bench: &sender_bench::Bench| {
        let chunks = bench.seen.chunks.iter();
        chunks.filter(|chunk| chunk.0 >= first).count() >= 1_000
    };
    while !is_all_sent(&bench) {
        let report = bench.a_report(|report| {
            report.received = report.received.min(3);
            report.window = 1 << 24;
        });
        bench.wait(Duration::from_millis(20));
        bench.control(&[Frame::Report(report)]);
        assert_eq!(bench.closed, None);
    }
    bench.wait(Duration::from_millis(1_000));
    let blocks: BTreeSet<u64> = bench.seen.parities.iter().map(|of| of.0.first).collect();
    assert!((1..=256).contains(&blocks.len()), "{}", blocks.len());
}

#[test]
fn a_chunk_that_comes_late_makes_parity_enough() {
    let (mut bench, bytes) = receiving();
    bench.send(2, &bytes[2 * CHUNK..]);
    let block = of(0, CHUNKS as u8, 1);
    deliver(&mut bench, block, &symbol(&bytes, block));
    bench.data(1, &bytes[CHUNK..2 * CHUNK]);
    bench.ping(CHUNKS as u64);
    assert_eq!(bench.seen.last_report().first_missing, CHUNKS as u64);
}

#[test]
fn wrong_parity_is_found_like_any_damage() {
    // SPEC: R-parity-5
    let (mut bench, bytes) = receiving();
    bench.send(1, &bytes[CHUNK..]);
    bench.eof(0, &bytes, leaf_value(bytes.len() as u64, 0, &bytes));
    let block = of(0, CHUNKS as u8, 0);
    let mut wrong = symbol(&bytes, block);
    wrong[9] ^= 1;
    deliver(&mut bench, block, &wrong);
    assert!(bench.committed.is_empty());
    bench.ping(CHUNKS as u64);
    assert_eq!(bench.seen.last_report().first_missing, 0);
    bench.send(0, &bytes);
    assert_eq!(bench.committed.len(), 1);
    assert_eq!(bench.written(0), bytes);
}

#[test]
fn nothing_is_recovered_from_leaves_that_the_sender_has_not_confirmed() {
    // SPEC: R-parity-7
    let bytes = content(0, 0, LEAF_SIZE as usize + 10 * CHUNK);
    let size = bytes.len() as u64;
    let value = leaf_value(size, 0, &bytes[..LEAF_SIZE as usize]);
    let mut bench = receiver_bench::Bench::open();
    bench.prepared.push_back(Prepared::Partial {
        leaves: vec![Leaf { index: 0, value }],
        is_same_source: false,
        is_unchanged: true,
    });
    bench.offer_all(&[("a", size)]);
    let first = LEAF_SIZE as usize / CHUNK - 2;
    let lost = first + 5;
    let chunks = bytes.chunks(CHUNK).enumerate().skip(first + 2);
    for (chunk, payload) in chunks.filter(|(chunk, _)| *chunk != lost) {
        bench.data(chunk as u64, payload);
    }
    let block = of(first as u64, 8, 0);
    deliver(&mut bench, block, &symbol(&bytes, block));
    let end = size.div_ceil(CHUNK as u64);
    bench.ping(end);
    assert_eq!(bench.seen.last_report().first_missing, lost as u64);
    bench.say(&Message::Leaves {
        file: FileIndex(0),
        first: 0,
        values: vec![value],
    });
    // Storage of this test holds nothing of the kept leaf: what comes of it is zeros.
    let kept = bytes.chunks(CHUNK).skip(first).take(8).enumerate();
    let in_leaf = |at: usize| ((first + at + 1) * CHUNK) as u64 <= LEAF_SIZE;
    let zeros = [0; CHUNK];
    let held = kept.map(|(at, chunk)| if in_leaf(at) { &zeros[..] } else { chunk });
    let held: Vec<&[u8]> = held.collect();
    let parity = fec::parity(0, CHUNK, held.into_iter().map(|chunk| (chunk, &[][..])));
    deliver(&mut bench, block, &parity);
    bench.ping(end);
    assert_eq!(bench.seen.last_report().first_missing, end);
}

#[test]
fn parity_that_no_block_has_ends_the_session() {
    // SPEC: R-parity-4
    let chunks = CHUNKS as u8;
    let cases = [
        (of(0, chunks, 0), CHUNK - 1),
        (of(0, chunks, 0), CHUNK + 1),
        (of(0, chunks, 0), 0),
        (of(1, chunks, 0), CHUNK),
        (of(CHUNKS as u64, 1, 0), CHUNK),
        (of(1 << 47, 1, 0), CHUNK),
    ];
    for (of, len) in cases {
        let (mut bench, _) = receiving();
        deliver(&mut bench, of, &vec![1; len]);
        assert_eq!(
            bench.seen.closes,
            [Some(ErrorCode::PROTOCOL)],
            "{of:?} {len}"
        );
    }
    let mut bench = receiver_bench::Bench::open();
    bench.offer_all(&[("a", 3 * CHUNK as u64), ("b", 3 * CHUNK as u64)]);
    deliver(&mut bench, of(2, 2, 0), &[1; CHUNK]);
    assert_eq!(bench.seen.closes, [Some(ErrorCode::PROTOCOL)], "two files");
    let mut bench = receiver_bench::Bench::listening(Default::default());
    bench.hello(8_952);
    bench.offer_all(&[("a", 1 << 20)]);
    deliver(&mut bench, of(0, 59, 0), &[1; 8_922]);
    assert_eq!(bench.seen.closes, [Some(ErrorCode::PROTOCOL)], "too much");
}

#[test]
fn parity_that_comes_before_the_whole_offer_waits_for_nothing() {
    let mut bench = receiver_bench::Bench::open();
    bench.offer(0, &[("a", 3 * CHUNK as u64)]);
    deliver(&mut bench, of(2, 2, 0), &[1; CHUNK]);
    deliver(&mut bench, of(9, 2, 0), &[1; CHUNK]);
    assert!(bench.seen.closes.is_empty());
}

#[test]
fn the_last_flight_of_a_lossy_path_has_parity_behind_it() {
    // SPEC: R-parity-2, R-parity-3, R-parity-6
    let ms = Duration::from_millis(1);
    let (first, second) = (400, 300);
    let size = sender_bench::CHUNK;
    let mut bench = sender_bench::Bench::with_token(&[first * size, second * size - 50]);
    bench.say(&Message::Answer { through: 2 });
    let (mut reported, mut lost) = (0, 0);
    while bench.seen.chunks.len() < (first + second) as usize {
        let sent = bench.seen.headers.len() as u64;
        lost += (sent - reported) / 20;
        reported = sent;
        let report = bench.a_report(|report| report.received -= lost);
        // It takes its time, so that a round trip is long enough to be worth parity.
        bench.wait(20 * ms);
        bench.control(&[Frame::Report(report)]);
    }
    bench.wait(10 * ms);
    let parities = bench.seen.parities.clone();
    assert!(!parities.is_empty());
    for (of, symbol) in parities {
        let file = usize::from(of.first >= first);
        let start = if file == 0 { 0 } else { first };
        let end = [first, first + second][file];
        assert!(of.first >= start && of.chunks().end <= end, "one file");
        let bytes = (of.first - start) * size..(of.chunks().end - start) * size;
        let whole = [first * size, second * size - 50][file];
        let len = bytes.end.min(whole) - bytes.start;
        let bytes = content(file, bytes.start, len as usize);
        let chunks = bytes.chunks(CHUNK).map(|chunk| (chunk, &[][..]));
        assert_eq!(symbol, fec::parity(of.index, CHUNK, chunks));
    }
    // All but the parity was seen, and a chunk is missing.
    let covered = first + second - 200;
    let data = bench.seen.headers.iter();
    let data = data.filter(|header| header.kind == Kind::Data);
    let largest = data.map(|header| header.number.0).max().unwrap();
    let sent = bench.seen.chunks.len();
    bench.report(|report| {
        report.largest = largest;
        report.received = largest - 30;
        (report.first_missing, report.page_start) = (covered, covered);
        report.missing = vec![GapRun { gap: 0, run: 1 }];
    });
    bench.wait(5 * ms);
    let again: Vec<u64> = bench.seen.chunks[sent..].iter().map(|it| it.0).collect();
    assert_eq!(again, [covered], "repaired, without copies");
}
