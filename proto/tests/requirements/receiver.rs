//! What a receiver does with good packets, and which packets it does not look at.

use crate::receiver_bench::{Bench, CHUNK};
use crate::wire::{TAG, ack, framed, missing};
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::config::ReceiverConfig;
use xfer_proto::digest::{empty, leaf_value, root};
use xfer_proto::error::{ErrorClass, ErrorCode};
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::router::DropReason;
use xfer_proto::storage::Prepared;
use xfer_proto::transmit::Ecn;
use xfer_proto::wire::frame::{Block, Close, Frame, Hello, Ping, Report};
use xfer_proto::wire::header::Kind;
use xfer_proto::wire::message::{Message, Verdict};
use xfer_proto::wire::packet::FRAMES_OVERHEAD;

const LEAF: usize = 1 << 20;
const MS: Duration = Duration::from_millis(1);

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn statuses(bench: &Bench) -> Vec<(FileIndex, Verdict)> {
    let files = bench
        .seen
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::Status { files } => Some(files.clone()),
            _ => None,
        });
    files.flatten().collect()
}

fn close() -> Frame<'static> {
    Frame::Close(Close { failure: None })
}

#[test]
fn a_file_arrives_in_any_order_and_twice() {
    // SPEC: R-chunks-3, R-receiver-1, R-status-1, R-packet-numbers-1, R-closing-4
    let mut bench = Bench::open();
    let bytes = content(3_000);
    bench.is_storage_stuck = true;
    bench.offer_all(&[("a", 3_000)]);
    for chunk in [2, 0, 2, 1, 0] {
        let end = bytes.len().min((chunk + 1) * CHUNK);
        bench.data(chunk as u64, &bytes[chunk * CHUNK..end]);
    }
    bench.ping(3);
    let report = bench.seen.last_report();
    assert_eq!((report.first_missing, report.duplicates), (3, 2));
    bench.unstick();
    bench.eof(0, &bytes, leaf_value(3_000, 0, &bytes));
    assert_eq!(bench.committed.len(), 1);
    assert_eq!(statuses(&bench), [(FileIndex(0), Verdict::Committed)]);
    bench.control(&[ack(bench.seen.headers.len() as u64 - 1, 2), close()]);
    assert_eq!(bench.seen.closes, [None]);
    bench.seen.check_numbers();
}

#[test]
fn a_ping_is_answered_with_all_that_is_missing() {
    // SPEC: R-frame-ping-1, R-frame-report-6, R-control-stream-7
    let mut bench = Bench::open();
    bench.offer_all(&[("a", 10 * CHUNK as u64)]);
    for chunk in [1, 2, 5] {
        bench.data(chunk, &[0; CHUNK]);
    }
    let before = bench.seen.reports.len();
    bench.ping(8);
    assert_eq!(bench.seen.reports.len(), before + 1);
    let report = bench.seen.last_report();
    assert_eq!((report.first_missing, report.end), (0, 8));
    assert_eq!((report.page_start, report.page_end), (0, 8));
    assert_eq!(missing(report), [0..1, 3..5, 6..8]);
    assert_eq!((report.blocks.next, report.blocks.end), (2, 2));
    bench.ping(1_000);
    assert_eq!(bench.seen.last_report().end, 10, "no more was offered");
}

#[test]
fn reports_come_as_often_as_asked_for_and_no_more() {
    // SPEC: R-reports-1, R-reports-2, R-reports-4
    let mut bench = Bench::open();
    bench.offer_all(&[("a", 1_000 * CHUNK as u64)]);
    bench.ping(0);
    let count = |bench: &Bench| bench.seen.reports.len();
    let before = count(&bench);
    (0..16).for_each(|chunk| bench.data(chunk, &[0; CHUNK]));
    bench.wait(39 * MS);
    assert_eq!(
        count(&bench),
        before,
        "19,200 bytes wait for four intervals"
    );
    bench.wait(MS);
    assert_eq!(count(&bench), before + 1);
    (16..33).for_each(|chunk| bench.data(chunk, &[0; CHUNK]));
    bench.wait(9 * MS);
    assert_eq!(count(&bench), before + 1, "20,400 bytes wait for one");
    bench.wait(MS);
    assert_eq!(count(&bench), before + 2);
    let ping = Frame::Ping(Ping {
        sent_end: 33,
        interval_us: 1,
    });
    let number = bench.take_number();
    bench.deliver(&framed(Kind::Control, number, TAG + 1, &[ping], 0));
    bench.wait(500 * MS);
    assert_eq!(count(&bench), before + 2, "it had another tag");
}

#[test]
fn packets_count_once() {
    // SPEC: R-packet-numbers-3, R-packet-numbers-5, R-tag-2, R-frames-3, R-congestion-8
    let mut bench = Bench::open();
    bench.ping(0);
    let before = bench.seen.last_report().received;
    let ping = Frame::Ping(Ping {
        sent_end: 0,
        interval_us: 1,
    });
    let number = bench.take_number();
    let packet = framed(Kind::Control, number, TAG, std::slice::from_ref(&ping), 0);
    bench.deliver(&packet);
    bench.deliver(&packet);
    let number = bench.take_number();
    bench.deliver(&framed(Kind::Control, number, TAG + 1, &[ping], 0));
    bench.control(&[Frame::Report(Report::default())]);
    bench.ecn = Ecn::Ce;
    bench.ping(0);
    let report = bench.seen.last_report();
    assert_eq!((report.received, report.ce), (before + 3, 1));
    assert_eq!(report.largest, bench.number - 1);
    assert!(bench.seen.closes.is_empty());
}

#[test]
fn names_are_refused_one_by_one() {
    // SPEC: R-names-2, R-failure-2, R-status-3
    let mut bench = Bench::open();
    bench.offer_all(&[("../x", 1), ("a\nb", 0), (".Xfer-Part/a", 0), ("good", 0)]);
    bench.eof(3, &[], empty());
    let codes: Vec<_> = statuses(&bench)
        .into_iter()
        .map(|(file, verdict)| match verdict {
            Verdict::Failed(failure) => (file.0, Some(failure.code)),
            _ => (file.0, None),
        })
        .collect();
    let refused = Some(ErrorCode::NAME_REFUSED);
    assert_eq!(codes, [(0, refused), (1, refused), (2, refused), (3, None)]);
    assert_eq!(ErrorCode(9_999).class(), ErrorClass::Other);
    bench.say(&Message::Abandon {
        file: FileIndex(3),
        failure: ErrorCode::SOURCE_CHANGED.into(),
    });
    assert_eq!(statuses(&bench).len(), 4);
}

#[test]
fn a_session_follows_its_sender_to_another_address() {
    // SPEC: R-address-1, R-address-2, R-handshake-10, R-frame-hello-3
    let mut bench = Bench::open();
    bench.offer_all(&[("a", 3_000)]);
    let old = bench.source;
    bench.source = SocketAddr::from(([10, 0, 0, 2], 9));
    let number = bench.take_number();
    let packet = framed(Kind::Control, number, TAG, &[ack(0, 0)], 0);
    assert_eq!(bench.route(&packet), Err(DropReason::WrongAddress));
    let before = bench.seen.reports.len();
    bench.hello(8_952);
    assert_eq!(bench.seen.reports.len(), before + 1);
    bench.data(0, &[0; CHUNK]);
    bench.ping(1);
    assert_eq!(bench.seen.last_report().first_missing, 1);
    bench.source = old;
    assert_eq!(bench.route(&packet), Err(DropReason::WrongAddress));
}

#[test]
fn a_hello_must_be_a_hello() {
    // SPEC: R-frame-hello-1, R-frame-hello-2
    let mut bench = Bench::listening(ReceiverConfig::default());
    let token = bench.token();
    for size in [0, 1_199, 8_953] {
        let packet = bench.hello_packet(&token, size);
        assert_eq!(bench.route(&packet), Err(DropReason::Malformed));
    }
    let hello = Frame::Hello(Hello {
        token: &token,
        datagram_size: 1_200,
        interval_us: 1,
    });
    for frames in [
        vec![],
        vec![hello.clone(), hello.clone()],
        vec![hello, close()],
    ] {
        let packet = framed(Kind::Hello, 0, TAG, &frames, 1_200);
        assert_eq!(bench.route(&packet), Err(DropReason::Malformed));
    }
    assert!(bench.session.is_none());
}

#[test]
fn an_existing_file_is_compared_before_its_data_is_wanted() {
    // SPEC: R-receiver-2, R-receiver-3, R-answer-1
    let mut bench = Bench::open();
    bench.prepared = [Prepared::Existing, Prepared::Fresh].into();
    bench.existing = Some(Digest([1; 32]));
    let bytes = content(3_000);
    bench.offer_all(&[("a", 3_000)]);
    bench.ping(0);
    assert_eq!(bench.seen.last_report().first_missing, 3, "not wanted");
    let file = FileIndex(0);
    let answer = Message::Answer { through: 1 };
    assert_eq!(bench.seen.messages, [Message::Hold { file }, answer]);
    bench.eof(0, &bytes, leaf_value(3_000, 0, &bytes));
    assert_eq!(bench.seen.messages.last(), Some(&Message::Want { file }));
    bench.ping(3);
    assert_eq!(missing(bench.seen.last_report()).first(), Some(&(0..3)));
    bench.send(0, &bytes);
    assert_eq!(statuses(&bench), [(file, Verdict::Committed)]);
}

#[test]
fn an_existing_file_that_has_changed_since_is_not_skipped() {
    // SPEC: R-receiver-7
    for has_changed in [false, true] {
        let mut bench = Bench::open();
        let bytes = content(3_000);
        let digest = leaf_value(3_000, 0, &bytes);
        bench.prepared = [Prepared::Existing, Prepared::Fresh].into();
        bench.existing = Some(digest);
        bench.has_changed = has_changed;
        bench.offer_all(&[("a", 3_000)]);
        bench.eof(0, &bytes, digest);
        let file = FileIndex(0);
        if has_changed {
            assert_eq!(bench.seen.messages.last(), Some(&Message::Want { file }));
            bench.send(0, &bytes);
            assert_eq!(statuses(&bench), [(file, Verdict::Committed)]);
        } else {
            assert_eq!(statuses(&bench), [(file, Verdict::Skipped)]);
        }
    }
}

#[test]
fn a_leaf_that_differs_comes_again_and_at_last_fails() {
    // SPEC: R-verification-2, R-verification-3, R-verification-4
    let mut bench = Bench::open();
    let bytes = content(LEAF + 2_000);
    let size = bytes.len() as u64;
    let end = bytes.len().div_ceil(CHUNK) as u64;
    let values = vec![Digest([9; 32]), leaf_value(size, 1, &bytes[LEAF..])];
    bench.offer_all(&[("a", size)]);
    bench.say(&Message::Leaves {
        file: FileIndex(0),
        first: 0,
        values: values.clone(),
    });
    bench.eof(0, &bytes, root(&values));
    bench.send(0, &bytes);
    for _ in 0..3 {
        let wanted = LEAF.div_ceil(CHUNK) as u64;
        bench.ping(end);
        assert_eq!(
            missing(bench.seen.last_report()).first(),
            Some(&(0..wanted))
        );
        assert!(statuses(&bench).is_empty() && bench.committed.is_empty());
        bench.send(0, &bytes[..wanted as usize * CHUNK]);
    }
    let failed = Verdict::Failed(ErrorCode::INTEGRITY.into());
    assert_eq!(statuses(&bench), [(FileIndex(0), failed)]);
    assert!(bench.committed.is_empty());
}

#[test]
fn the_last_leaf_is_asked_for_again_unasked() {
    // SPEC: R-verification-2, R-reports-1
    let mut bench = Bench::open();
    let bytes = content(2_000);
    bench.offer_all(&[("a", 2_000)]);
    bench.eof(0, &bytes, Digest([9; 32]));
    bench.send(0, &bytes);
    let report = bench.seen.last_report();
    assert_eq!((report.first_missing, report.end), (0, 2));
    assert_eq!(missing(report).first(), Some(&(0..2)));
}

#[test]
fn what_there_is_no_memory_for_is_not_reported() {
    // SPEC: R-receiver-4, R-flow-control-2, R-frame-report-6
    let config = ReceiverConfig {
        write_buffer: 1 << 17,
        ..ReceiverConfig::default()
    };
    let mut bench = Bench::open_with(config);
    bench.offer_all(&[("a", 10 << 20)]);
    let window = bench.seen.reports[0].window;
    bench.is_storage_stuck = true;
    bench.send(0, &content(900 * CHUNK));
    bench.ping(900);
    let report = bench.seen.last_report().clone();
    assert!(
        report.host_drops > 0 && report.window < window,
        "{window} {report:?}"
    );
    let lacking: u64 = missing(&report)
        .iter()
        .map(|range| range.end - range.start)
        .sum();
    assert!(lacking >= report.host_drops);
    bench.unstick();
    assert!(
        bench.seen.last_report().window > report.window,
        "room is news"
    );
}

#[test]
fn blocks_beyond_bounds_are_ignored() {
    // SPEC: R-control-stream-1, R-control-stream-3, R-frame-ack-3
    let mut bench = Bench::open();
    let block = |sequence, bytes| Frame::Block(Block { sequence, bytes });
    bench.control(&[block(0, &[0x80; 901])]);
    bench.control(&[block(256, &[0x80])]);
    bench.ping(0);
    let blocks = &bench.seen.last_report().blocks;
    assert_eq!((blocks.next, blocks.end), (0, 0));
    (1..=50).for_each(|at| bench.control(&[block(at * 2, &[0x80])]));
    bench.ping(0);
    let blocks = &bench.seen.last_report().blocks;
    assert_eq!((blocks.next, blocks.end, blocks.missing.len()), (0, 65, 32));
}

#[test]
fn a_block_is_repeated_until_it_is_acknowledged() {
    // SPEC: R-probes-5, R-control-stream-2, R-control-stream-5, R-packet-numbers-2
    let mut bench = Bench::open();
    bench.offer_all(&[("a", 1)]);
    // On a path that nothing is known of it leaves twice.
    assert_eq!(bench.seen.blocks.len(), 2);
    // Before a sample the probe timeout is 600 ms.
    bench.wait(600 * MS);
    assert_eq!(bench.seen.blocks.len(), 3);
    assert_eq!(bench.seen.blocks[0], bench.seen.blocks[1]);
    assert_eq!(bench.seen.blocks[0], bench.seen.blocks[2]);
    let largest = bench.seen.headers.len() as u64 - 1;
    bench.control(&[ack(largest, 1)]);
    bench.wait(5_000 * MS);
    assert_eq!(bench.seen.blocks.len(), 3);
    bench.seen.check_numbers();
}

#[test]
fn a_report_that_was_asked_for_repeats_the_oldest_block() {
    // SPEC: R-control-stream-5
    let mut bench = Bench::open();
    bench.offer_all(&[("a", 1)]);
    assert_eq!(bench.seen.blocks.len(), 2);
    bench.ping(0);
    assert_eq!(
        bench.seen.blocks.len(),
        3,
        "both may be lost, and the sender waits"
    );
    assert_eq!(bench.seen.blocks[0], bench.seen.blocks[2]);
    let largest = bench.seen.headers.len() as u64 - 1;
    bench.control(&[ack(largest, 1)]);
    bench.ping(0);
    assert_eq!(bench.seen.blocks.len(), 3);
}

#[test]
fn a_silent_sender_is_given_up() {
    // SPEC: R-closing-5
    let mut bench = Bench::open();
    bench.wait(29_999 * MS);
    assert!(bench.seen.closes.is_empty());
    bench.wait(MS);
    assert_eq!(bench.seen.closes, [Some(ErrorCode::TIMEOUT)]);
}

#[test]
fn stateless_answers_are_bounded() {
    // SPEC: R-stateless-answers-2, R-tag-3
    let mut bench = Bench::listening(ReceiverConfig::default());
    let ping = Frame::Ping(Ping {
        sent_end: 0,
        interval_us: 0,
    });
    let packet = framed(Kind::Control, 5, TAG, &[ping], FRAMES_OVERHEAD + 40);
    let mut replies = 0;
    for _ in 0..2_000 {
        if let Some(reply) = bench.route(&packet).unwrap_or(None) {
            bench.seen.closes.clear();
            bench.seen.take(&reply);
            replies += 1;
        }
    }
    assert_eq!(replies, 1_000);
    assert_eq!(bench.seen.closes, [Some(ErrorCode::PEER_LOST)]);
}
