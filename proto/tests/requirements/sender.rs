//! What a sender does, and what it does not stand.

use crate::sender_bench::{Bench, CHUNK, TOKEN, content};
use crate::wire::{TAG, blocks, framed};
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::digest::{leaf_value, root};
use xfer_proto::error::ErrorCode;
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::wire::frame::{BlockAck, Close, Frame, GapRun, Report};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::{Message, Verdict};

const MS: Duration = Duration::from_millis(1);
const LEAF: u64 = 1 << 20;
const FILE: FileIndex = FileIndex(0);

fn status(file: u32, verdict: Verdict) -> Message {
    Message::Status {
        files: vec![(FileIndex(file), verdict)],
    }
}

fn position(bench: &Bench, wanted: impl Fn(&Message) -> bool) -> Option<usize> {
    bench.seen.messages.iter().position(wanted)
}

#[test]
fn the_first_packets_find_the_path_and_the_token() {
    // SPEC: R-handshake-7, R-frame-retry-2, R-header-4, R-address-3
    let mut bench = Bench::start(&[5_000]);
    assert_eq!(bench.sizes, [8_952, 1_472, 1_452, 1_200]);
    assert!(bench.seen.headers.iter().all(|header| header.number.0 == 0));
    bench.retry(&[], 1_200);
    bench.retry(&[7; 1_025], 1_472);
    bench.retry(TOKEN, 1_199);
    bench.retry(TOKEN, 8_953);
    bench.source = SocketAddr::from(([10, 0, 0, 8], 10_000));
    bench.retry(TOKEN, 1_472);
    assert_eq!(bench.sizes.len(), 4, "nothing to believe yet");
    bench.wait(600 * MS);
    assert!(bench.sizes.len() > 4 && bench.sizes.iter().all(|size| *size >= 1_200));
}

#[test]
fn a_token_starts_the_session() {
    // SPEC: R-handshake-6, R-path-mtu-4, R-sender-1, R-offer-6, R-tag-1
    // SPEC: R-congestion-1, R-congestion-3, R-pacing-2
    let mut bench = Bench::start(&[1 << 20, 0]);
    bench.seen.headers.clear();
    bench.sizes.clear();
    bench.retry(TOKEN, 1_472);
    bench.wait(100 * MS);
    bench.seen.check_numbers();
    assert_eq!(bench.seen.headers[0].kind, Kind::Hello);
    assert!(matches!(bench.seen.messages[0], Message::Offer { .. }));
    assert!(position(&bench, |message| *message == Message::OfferEnd { files: 2 }).is_some());
    let first = |kind| {
        bench
            .seen
            .headers
            .iter()
            .position(|header| header.kind == kind)
    };
    assert!(first(Kind::Control) < first(Kind::Data));
    assert!(bench.seen.chunks.iter().all(|chunk| chunk.1 == 1_442));
    assert!(bench.seen.chunks.len() <= 96);
    assert!(bench.batch <= 65_536);
    bench.wait(500 * MS);
    let hellos = bench
        .seen
        .headers
        .iter()
        .filter(|header| header.kind == Kind::Hello);
    assert!(hellos.count() > 1, "again, with a new number");
    bench.seen.check_numbers();
    bench.report(|_| {});
    let before = bench.seen.headers.len();
    bench.wait(50 * MS);
    // SPEC: R-handshake-9
    let later = &bench.seen.headers[before..];
    assert!(later.iter().all(|header| header.kind != Kind::Hello));
}

#[test]
fn offers_of_long_names_are_cut() {
    // SPEC: R-offer-2
    let mut bench = Bench::start_named(&[0; 60], &format!("{}/", "d".repeat(250)).repeat(15));
    bench.retry(TOKEN, 1_472);
    for _ in 0..40 {
        bench.report(|_| {});
        bench.wait(30 * MS);
    }
    let offered: Vec<usize> = (bench.seen.messages.iter())
        .filter_map(|message| match message {
            Message::Offer { entries, .. } => Some(entries.iter().map(|it| it.name.len()).sum()),
            _ => None,
        })
        .collect();
    assert!(offered.len() > 1 && offered.iter().all(|names| *names < 60_000));
    assert_eq!(offered.iter().sum::<usize>() / 3_765, 60);
}

#[test]
fn large_packets_are_fewer_at_first() {
    // SPEC: R-congestion-3
    let mut bench = Bench::start(&[4 << 20]);
    bench.retry(TOKEN, 8_952);
    bench.wait(100 * MS);
    let sizes = bench.seen.chunks.iter().map(|chunk| chunk.1 + 30);
    assert!(sizes.clone().all(|size| size == 8_952));
    assert!((8 * 8_952..141_312 + 8_952).contains(&sizes.sum::<usize>()));
}

/// What leaves before the first report when the probes came every `gap_us`, 100 ms away, in bytes.
fn first_flight(gap_us: u64) -> usize {
    let mut bench = Bench::start(&[4 << 20]);
    // SPEC: R-train-1
    assert_eq!(bench.sizes[..4], [8_952, 1_472, 1_452, 1_200]);
    assert_eq!(bench.sizes[4..], [1_200; 8]);
    bench.wait(100 * MS);
    bench.sizes.clear();
    bench.retry(TOKEN, 1_472);
    for at in 1..=9 {
        bench.retry_at(at * gap_us, TOKEN, 1_200);
    }
    bench.wait(90 * MS);
    let data = bench.sizes.iter().filter(|size| **size == 1_472);
    data.sum()
}

#[test]
fn a_train_says_how_large_the_first_flight_may_be() {
    // SPEC: R-congestion-3, R-train-2, R-sender-3
    let (chunk, limit) = (1_472, 141_312);
    // 12,000,000 bytes a second for 100 ms, of which .8.
    let fast = first_flight(100);
    assert!((900_000..960_000 + chunk).contains(&fast), "{fast}");
    // 4,000,000 bytes a second.
    let slow = first_flight(300);
    assert!((290_000..320_000 + chunk).contains(&slow), "{slow}");
    for nothing in [10, 1_000, 50_000] {
        assert!(first_flight(nothing) <= limit + chunk);
    }
    // All that it may be: 24,000,000 bytes a second would take more.
    assert!(first_flight(63) <= 1_130_496 + chunk);
}

/// A report that cannot be ends the session.
fn does_not_stand(change: impl Fn(&mut Report)) {
    let mut bench = Bench::open(&[100 * CHUNK]);
    assert_eq!(bench.closed, None);
    bench.report(change);
    assert_eq!(bench.closed, Some(Err(ErrorCode::PROTOCOL)));
    // SPEC: R-closing-2
    assert_eq!(bench.seen.closes, [Some(ErrorCode::PROTOCOL)]);
}

#[test]
fn reports_that_cannot_be() {
    // SPEC: R-frame-report-2
    does_not_stand(|report| report.largest += 100);
    does_not_stand(|report| report.received += 1);
    // SPEC: R-frame-report-3
    does_not_stand(|report| report.first_missing = 101);
    does_not_stand(|report| report.end = 101);
    does_not_stand(|report| report.page_end = 101);
    // SPEC: R-frame-report-4, R-gap-runs-1
    does_not_stand(|report| report.page_start = report.page_end + 1);
    for (gap, run) in [(0, 0), (0, 101), (101, 1), (u64::MAX, 2)] {
        does_not_stand(|report| {
            report.page_start = 0;
            report.missing = vec![GapRun { gap, run }];
        });
    }
    // SPEC: R-frame-ack-2
    does_not_stand(|report| report.blocks.end = 99);
    does_not_stand(|report| {
        report.blocks = BlockAck {
            next: 1,
            ..BlockAck::default()
        };
    });
}

#[test]
fn messages_that_cannot_be() {
    let cases = [
        // SPEC: R-answer-2
        Message::Answer { through: 2 },
        // SPEC: R-control-stream-6
        Message::Hold { file: FileIndex(1) },
        Message::OfferEnd { files: 1 },
        // SPEC: R-status-2
        Message::Status {
            files: vec![(FileIndex(1), Verdict::Skipped)],
        },
    ];
    for message in cases {
        let mut bench = Bench::open(&[100]);
        bench.say(&message);
        assert_eq!(bench.closed, Some(Err(ErrorCode::PROTOCOL)), "{message:?}");
    }
    // A source that has not been read cannot be committed: twenty leaves do not fit the memory.
    let mut bench = Bench::open(&[20 * LEAF]);
    bench.say(&status(0, Verdict::Committed));
    assert_eq!(bench.closed, Some(Err(ErrorCode::PROTOCOL)));
}

#[test]
fn an_old_report_is_nothing_new() {
    // SPEC: R-frame-report-5
    let mut bench = Bench::open(&[4 * LEAF]);
    let old = bench.a_report(|report| report.window = 0);
    let number = bench.number;
    bench.number += 1;
    bench.report(|_| {});
    bench.deliver(&framed(
        Kind::Control,
        number,
        TAG,
        &[Frame::Report(old)],
        0,
    ));
    let before = bench.seen.chunks.len();
    bench.wait(50 * MS);
    assert!(bench.seen.chunks.len() > before + 1);
}

#[test]
fn the_window_of_the_receiver_holds() {
    // SPEC: R-flow-control-1, R-congestion-4
    let mut bench = Bench::with_token(&[4 * LEAF]);
    bench.say(&Message::Answer { through: 1 });
    let before: usize = bench.sizes.iter().sum();
    bench.report(|report| report.window = 10_000);
    bench.wait(100 * MS);
    let sent = bench.sizes.iter().sum::<usize>() - before;
    assert!((1_200..=12_400).contains(&sent), "{sent} bytes");
}

#[test]
fn what_is_missing_and_overtaken_is_sent_again_once() {
    // SPEC: R-loss-2, R-loss-3, R-packet-numbers-2, R-tail-1
    let mut bench = Bench::open(&[100 * CHUNK]);
    bench.wait(100 * MS);
    assert_eq!(bench.seen.chunks.len(), 100);
    let lost = |report: &mut Report| {
        report.received -= 2;
        (report.first_missing, report.page_start) = (3, 3);
        report.missing = vec![GapRun { gap: 0, run: 2 }];
    };
    bench.report(lost);
    bench.wait(5 * MS);
    let again: Vec<u64> = bench.seen.chunks[100..]
        .iter()
        .map(|chunk| chunk.0)
        .collect();
    // The repairs, and a copy of each: nothing is left to be sent for the first time.
    assert_eq!(again, [3, 4, 3, 4]);
    let largest = bench.a_report(|_| {}).largest - 10;
    bench.report(|report| {
        lost(report);
        report.largest = largest;
        report.received = largest - 1;
    });
    bench.wait(5 * MS);
    assert_eq!(bench.seen.chunks.len(), 104, "they are on their way");
}

#[test]
fn a_file_is_held_once_and_in_time() {
    // SPEC: R-hold-3
    let say = |messages: &[Message]| {
        let mut bench = Bench::with_token(&[2 * LEAF + 7]);
        messages.iter().for_each(|message| bench.say(message));
        bench.closed
    };
    let (hold, want) = (Message::Hold { file: FILE }, Message::Want { file: FILE });
    let answer = Message::Answer { through: 1 };
    let broken = Some(Err(ErrorCode::PROTOCOL));
    assert_eq!(say(&[hold.clone(), answer.clone(), want.clone()]), None);
    assert_eq!(say(&[hold.clone(), want, hold.clone()]), broken);
    assert_eq!(say(&[answer, hold]), broken);
}

#[test]
fn a_held_file_is_read_and_not_sent() {
    // SPEC: R-hold-1, R-hold-2, R-leaves-1, R-eof-1, R-leaves-3, R-digest-1
    let mut bench = Bench::with_token(&[2 * LEAF + 7]);
    bench.say(&Message::Hold { file: FILE });
    bench.say(&Message::Answer { through: 1 });
    bench.report(|_| {});
    let before = bench.seen.chunks.len();
    bench.wait(100 * MS);
    assert_eq!(bench.seen.chunks.len(), before);
    let size = 2 * LEAF + 7;
    let values: Vec<Digest> = [(0, LEAF), (LEAF, LEAF), (2 * LEAF, 7)]
        .map(|(at, len)| leaf_value(size, at / LEAF, &content(0, at, len as usize)))
        .to_vec();
    let mut announced = Vec::new();
    let mut has_eof = false;
    for message in &bench.seen.messages {
        match message {
            Message::Leaves { first, values, .. } => {
                assert!(*first == announced.len() as u64 && values.len() <= 256 && !has_eof);
                announced.extend_from_slice(values);
            }
            Message::Eof { digest, .. } => {
                assert!(!has_eof && *digest == root(&values));
                has_eof = true;
            }
            _ => {}
        }
    }
    assert!(has_eof && announced == values);
    bench.say(&Message::Want { file: FILE });
    bench.wait(5 * MS);
    assert_eq!(bench.seen.chunks[before].0, 0, "from its start");
}

#[test]
fn a_final_file_is_left_alone() {
    // SPEC: R-sender-4, R-status-3, R-closing-1, R-control-stream-7
    let mut bench = Bench::with_token(&[4 * LEAF, 10]);
    bench.say(&Message::Answer { through: 2 });
    bench.report(|report| report.blocks = blocks(0));
    let acks = bench.seen.acks.len();
    bench.say(&status(0, Verdict::Failed(ErrorCode::NO_SPACE.into())));
    assert_eq!(bench.seen.acks.len(), acks + 1, "at once");
    assert_eq!(bench.seen.acks[acks].blocks, blocks(2));
    let before = bench.seen.chunks.len();
    bench.wait(10 * MS);
    let others = (4 * LEAF).div_ceil(CHUNK);
    let later = &bench.seen.chunks[before..];
    assert!(later.iter().all(|chunk| chunk.0 >= others));
    bench.say(&status(0, Verdict::Committed));
    bench.say(&status(1, Verdict::Failed(ErrorCode::NO_SPACE.into())));
    assert_eq!(bench.closed, None, "its blocks are not acknowledged");
    bench.report(|_| {});
    bench.wait(10 * MS);
    assert_eq!((bench.closed, &bench.seen.closes[0]), (Some(Ok(())), &None));
}

#[test]
fn a_reset_is_believed_when_it_is_said_again() {
    // SPEC: R-stateless-answers-5
    let mut bench = Bench::open(&[4 * LEAF]);
    let lost = Some(ErrorCode::PEER_LOST);
    bench.reset(lost);
    bench.reset(lost);
    assert_eq!(bench.closed, None);
    bench.report(|_| {});
    bench.wait(300 * MS);
    bench.reset(lost);
    assert_eq!(bench.closed, None, "a report came in between");
    bench.wait(300 * MS);
    bench.reset(lost);
    assert_eq!(bench.closed, Some(Err(ErrorCode::PEER_LOST)));
}

#[test]
fn silence_is_asked_into_and_ends_the_session() {
    // SPEC: R-probes-1, R-closing-5
    let mut bench = Bench::open(&[4 * LEAF]);
    let before = bench.seen.pings.len();
    bench.wait(2_000 * MS);
    assert!(bench.seen.pings.len() > before + 3);
    bench.wait(7_900 * MS);
    assert_eq!(bench.closed, None);
    bench.wait(200 * MS);
    assert_eq!(bench.closed, Some(Err(ErrorCode::TIMEOUT)));
}

#[test]
fn a_receiver_that_answers_and_gets_nowhere_is_given_up() {
    // SPEC: R-progress-4
    let mut bench = Bench::open(&[4 * LEAF]);
    let stuck = |report: &mut Report| {
        report.first_missing = 0;
        (report.page_start, report.page_end) = (0, 0);
    };
    for second in 0..130 {
        bench.wait(1_000 * MS);
        if bench.closed.is_some() {
            assert!(second >= 60, "{second} s");
            break;
        }
        bench.report(stuck);
    }
    assert_eq!(bench.closed, Some(Err(ErrorCode::TIMEOUT)));
    // Where all has come, storage has its time.
    let mut bench = Bench::open(&[CHUNK]);
    for _ in 0..500 {
        bench.wait(1_000 * MS);
        bench.report(|_| {});
    }
    assert_eq!(bench.closed, None);
}

#[test]
fn versions_are_listened_to_before_the_first_report() {
    // SPEC: R-version-negotiation-3, R-tag-2
    let list = |versions: &[u8]| {
        let mut packet = vec![0, 0];
        packet.extend_from_slice(&crate::wire::ID.0.to_be_bytes());
        packet.extend_from_slice(versions);
        packet.extend_from_slice(&crc32fast::hash(&packet).to_be_bytes());
        packet
    };
    let mut bench = Bench::start(&[10]);
    bench.deliver(&list(&[1, 2]));
    let mut other = list(&[2]);
    other[9] ^= 1;
    bench.deliver(&other);
    let close = Frame::Close(Close { failure: None });
    bench.deliver(&framed(Kind::Control, 0, TAG ^ 1, &[close], 0));
    assert_eq!(bench.closed, None);
    bench.deliver(&list(&[2, 3]));
    assert_eq!(bench.closed, Some(Err(ErrorCode::VERSION)));
    let mut bench = Bench::open(&[10]);
    bench.deliver(&list(&[2]));
    assert_eq!(bench.closed, None);
}
