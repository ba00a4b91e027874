//! A path that comes to carry less, and an address that changes.

use crate::receiver_bench;
use crate::sender_bench::{Bench, TOKEN, content};
use crate::wire::{ID, missing};
use std::time::Duration;
use xfer_proto::digest::leaf_value;
use xfer_proto::error::ErrorCode;
use xfer_proto::id::PacketNumber;
use xfer_proto::machine::{Input, Machine};
use xfer_proto::wire::frame::GapRun;
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::encode_part;

const MS: Duration = Duration::from_millis(1);
/// Datagrams of this size were fine in the handshake.
const FULL: usize = 1_472;
const CHUNK: usize = FULL - 30;
const CHUNKS: u64 = 2_000;

/// A sender of one file that had a report of all that it sent, in packets of [`FULL`] bytes.
fn open() -> Bench {
    let mut bench = Bench::start(&[CHUNKS * CHUNK as u64]);
    bench.wait(20 * MS);
    bench.retry(TOKEN, FULL as u16);
    bench.wait(MS);
    bench.say(&Message::Answer { through: 1 });
    bench.report(|_| {});
    bench.wait(40 * MS);
    assert!(bench.sizes.contains(&FULL) && bench.seen.parts.is_empty());
    bench
}

#[test]
fn full_packets_that_vanish_become_parts() {
    // SPEC: R-black-hole-1, R-black-hole-3, R-part-1
    let mut bench = open();
    bench.report(|_| {});
    let from = bench.a_report(|_| {}).first_missing;
    let came = bench.seen.headers.len();
    // The hole opens here: of what leaves from here on, only packets of frames come.
    let mut rounds = 0;
    bench.wait(300 * MS);
    while bench.seen.parts.is_empty() {
        rounds += 1;
        assert!(rounds < 10, "it never noticed");
        let late = bench.seen.headers.iter().skip(came);
        let lost = late.filter(|header| header.kind == Kind::Data).count() as u64;
        bench.sizes.clear();
        bench.report(|report| {
            report.received -= lost;
            (report.first_missing, report.page_start) = (from, from);
            let (gap, run) = (0, report.page_end - from);
            report.missing = vec![GapRun { gap, run }];
        });
        bench.wait(300 * MS);
    }
    assert!(rounds >= 3, "{rounds}: chance looks like that");
    assert!(bench.sizes.iter().all(|size| *size <= 1_200));
    check_parts(&bench);
}

/// Parts are of equal length, hold the right bytes, and make chunks whole.
fn check_parts(bench: &Bench) {
    let mut whole = vec![0_u8; CHUNK];
    let first = bench.seen.parts[0].0;
    for (chunk, offset, payload) in &bench.seen.parts {
        assert_eq!(payload.len(), CHUNK / 2);
        let start = chunk * CHUNK as u64 + *offset as u64;
        assert_eq!(*payload, content(0, start, payload.len()));
        if *chunk == first {
            whole[*offset..*offset + payload.len()].copy_from_slice(payload);
        }
    }
    assert_eq!(whole, content(0, first * CHUNK as u64, CHUNK));
}

#[test]
fn a_refusal_for_size_makes_parts_at_once() {
    // SPEC: R-black-hole-2
    let mut bench = open();
    bench.session.handle(bench.now, Input::TooLarge);
    bench.sizes.clear();
    bench.batch = 0;
    bench.report(|_| {});
    bench.wait(50 * MS);
    assert!(bench.sizes.iter().all(|size| *size <= 1_200));
    assert!(
        bench.batch <= 1_200,
        "batches that the system cuts may be too large for the path"
    );
    check_parts(&bench);
}

#[test]
fn silence_asks_for_a_new_address_unless_the_session_is_lost() {
    // SPEC: R-address-4, R-address-5
    let hellos = |bench: &Bench| {
        let headers = bench.seen.headers.iter();
        headers.filter(|header| header.kind == Kind::Hello).count()
    };
    for is_lost in [false, true] {
        let mut bench = open();
        let (before, pings) = (hellos(&bench), bench.seen.pings.len());
        while bench.seen.pings.len() < pings + 2 {
            bench.wait(MS);
        }
        assert_eq!(hellos(&bench), before, "too early");
        if is_lost {
            bench.reset(Some(ErrorCode::PEER_LOST));
        }
        bench.wait(1_000 * MS);
        if is_lost {
            assert_eq!(hellos(&bench), before);
            continue;
        }
        let asked = hellos(&bench);
        assert!(asked > before);
        let last = bench.seen.headers.iter().rev();
        let hello = { last }.find(|header| header.kind == Kind::Hello).unwrap();
        assert_eq!(hello.number, PacketNumber(0));
        let next = bench.a_report(|_| {}).largest + 1;
        bench.retry(b"another", 1_200);
        let hello = bench.seen.headers.last().unwrap();
        assert_eq!((hello.kind, hello.number.0), (Kind::Hello, next));
        assert_eq!(bench.sizes.last(), Some(&1_200));
        assert_eq!(hellos(&bench), asked + 1);
        bench.retry(b"again", 1_200);
        assert_eq!(hellos(&bench), asked + 1, "one was enough");
        assert_eq!(bench.closed, None);
    }
}

/// A receiver of one file of `size` bytes that has an open session.
fn receiving(size: usize) -> (receiver_bench::Bench, Vec<u8>) {
    let mut bench = receiver_bench::Bench::open();
    bench.offer_all(&[("a", size as u64)]);
    (bench, content(0, 0, size))
}

fn part(bench: &mut receiver_bench::Bench, chunk: u64, offset: usize, payload: &[u8]) {
    let number = PacketNumber(bench.take_number());
    let mut packet = Vec::new();
    let at = (chunk, offset as u16);
    encode_part(&mut packet, ID, number, at, payload, &[]);
    bench.deliver(&packet);
}

#[test]
fn a_chunk_in_parts_is_as_good_as_a_whole_one() {
    // SPEC: R-part-2
    let size = receiver_bench::CHUNK + 1_000;
    let (mut bench, bytes) = receiving(size);
    let second = receiver_bench::CHUNK;
    for (chunk, from, to) in [(0, 585, 1_170), (1, 0, 600), (1, 0, 600), (1, 488, 1_000)] {
        let start = chunk as usize * second;
        part(&mut bench, chunk, from, &bytes[start + from..start + to]);
    }
    bench.ping(2);
    let report = bench.seen.last_report().clone();
    let of_second = "its parts are of two lengths";
    assert_eq!(
        missing(&report),
        std::iter::once(0..2).collect::<Vec<_>>(),
        "{of_second}"
    );
    part(&mut bench, 1, 0, &bytes[second..second + 512]);
    part(&mut bench, 0, 0, &bytes[..585]);
    part(&mut bench, 0, 0, &bytes[..585]);
    bench.ping(2);
    let report = bench.seen.last_report().clone();
    assert_eq!((report.first_missing, report.duplicates), (2, 0));
    bench.eof(0, &bytes, leaf_value(size as u64, 0, &bytes));
    assert_eq!(bench.committed.len(), 1);
}

#[test]
fn parts_that_no_chunk_has_end_the_session() {
    // SPEC: R-part-3
    let cases = [
        (0, 1, 585),
        (0, 0, 511),
        (0, 0, 1_171),
        (0, 600, 585),
        (2, 0, 600),
    ];
    for (chunk, offset, len) in cases {
        let (mut bench, _) = receiving(2 * receiver_bench::CHUNK);
        part(&mut bench, chunk, offset, &vec![1; len]);
        let closes = &bench.seen.closes;
        assert_eq!(
            *closes,
            [Some(ErrorCode::PROTOCOL)],
            "{chunk} {offset} {len}"
        );
    }
}
