//! Finds of fuzzers and reviewers: what a peer or a driver did that it should not, and what must
//! come of it.

mod bench;
mod memory;

use crate::bench::{CHUNK, NOW, entry, incoming, outgoing};
use std::time::Duration;
use xfer_proto::error::ErrorCode;
use xfer_proto::machine::{Event, FileStatus, Input};
use xfer_proto::manifest::MAX_NAME;
use xfer_proto::recovery::control::ControlReceiver;
use xfer_proto::storage::{Done, ReadBlock, StorageOp};
use xfer_proto::wire::frame::{Frame, GapRun, Ping, Report};
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::Packet;

#[test]
fn drops_beyond_all_counting_are_many() {
    let mut bench = incoming();
    bench.input(Input::KernelDrops(u64::MAX));
    bench.input(Input::KernelDrops(u64::MAX));
    bench.frame(&Frame::Ping(Ping {
        sent_end: 0,
        interval_us: 0,
    }));
    assert_eq!(bench.reports().last().unwrap().host_drops, u64::MAX);
}

#[test]
fn offers_of_the_longest_names_can_be_read() {
    let name = |at: usize| {
        let part = format!("{at:0254}/");
        let mut name = part.repeat(16).into_bytes();
        name.extend([b'x'; 16]);
        assert_eq!(name.len(), MAX_NAME);
        name
    };
    let mut bench = outgoing((0..40).map(|at| entry(name(at), 1)).collect());
    let (mut stream, mut offered) = (ControlReceiver::default(), 0);
    for datagram in &bench.sent {
        let Ok(Packet::Frames { frames, .. }) = Packet::decode(datagram) else {
            continue;
        };
        for frame in frames {
            if let Frame::Block(block) = frame {
                stream.on_block(block.sequence, block.bytes);
            }
        }
        while let Some(message) = stream.next_message().expect("a malformed offer") {
            if let Message::Offer { entries, .. } = message {
                offered += entries.len();
            }
        }
    }
    assert!(offered > 10, "{offered} files");
    bench.input(Input::Abort(ErrorCode::INTERRUPTED.into()));
}

#[test]
fn a_source_that_answers_something_else_fails_its_file() {
    let mut bench = outgoing(vec![entry(b"f".to_vec(), 10)]);
    let Some(StorageOp::Read { op, .. }) = bench.ops.pop() else {
        panic!("nothing is read");
    };
    bench.complete(op, Done::Written);
    let is_failed = |event: &Event| match event {
        Event::File {
            status: FileStatus::Failed(failure),
            ..
        } => failure.code == ErrorCode::INTERNAL,
        _ => false,
    };
    assert!(bench.events.iter().any(is_failed), "{:?}", bench.events);
}

#[test]
fn a_receiver_with_a_clock_from_another_age_is_borne() {
    let mut bench = outgoing(vec![entry(b"f".to_vec(), 10)]);
    for largest_at_us in [u64::MAX, 0, 1 << 63, u64::MAX >> 1] {
        let blocks = xfer_proto::wire::frame::BlockAck::default();
        bench.frame(&Frame::Report(Report {
            largest: bench.number.min(1),
            received: 1,
            largest_at_us,
            delay_us: u32::MAX,
            blocks,
            ..Report::default()
        }));
    }
    assert_eq!(bench.events, [Event::Established]);
}

#[test]
fn a_receiver_that_never_has_enough_is_left() {
    // SPEC: R-progress-3
    let size = 4 * CHUNK as u64;
    let mut bench = outgoing(vec![entry(b"f".to_vec(), size)]);
    let Some(StorageOp::Read { op, len, .. }) = bench.ops.pop() else {
        panic!("nothing is read");
    };
    let data = vec![1; len as usize].into();
    let leaf = Some(xfer_proto::digest::leaf_value(
        size,
        0,
        &vec![1; len as usize],
    ));
    bench.complete(op, Done::Read(ReadBlock { data, leaf }));
    let mut now = NOW;
    let mut sent = 0_usize;
    while !bench.events.iter().any(|it| matches!(it, Event::Closed(_))) {
        // Nothing has come but the numbers of the packets.
        let largest = bench.sent_numbers();
        sent += bench.sent.iter().map(Vec::len).sum::<usize>();
        assert!(sent < 200 << 20, "{sent} bytes");
        bench.sent.clear();
        // Faster than the sender gives up one that gets nowhere.
        now = now + Duration::from_millis(3);
        bench.now = now;
        bench.frame(&Frame::Report(Report {
            largest,
            received: largest + 1,
            largest_at_us: now.as_micros(),
            window: 1 << 30,
            end: 4,
            page_end: 4,
            missing: vec![GapRun { gap: 0, run: 4 }],
            ..Report::default()
        }));
    }
    assert!(sent > 64 << 20, "{sent} bytes");
    assert!(bench.machine.stats().report_steps < 100);
}
