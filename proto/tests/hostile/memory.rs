//! What a peer may have a receiver remember.

use crate::bench::{Bench, CHUNK, entry, incoming, incoming_as, incoming_with};
use xfer_proto::config::{BEGUN_COST, ENTRY_COST, MAX_RANGES, ReceiverConfig};
use xfer_proto::digest::{LEAF_SIZE, leaf_value, root};
use xfer_proto::error::ErrorCode;
use xfer_proto::file::layout::Layout;
use xfer_proto::id::FileIndex;
use xfer_proto::machine::Input;
use xfer_proto::manifest::MAX_FILE_SIZE;
use xfer_proto::memory::MemoryPool;
use xfer_proto::recovery::control::MAX_BLOCK;
use xfer_proto::session::IncomingSession;
use xfer_proto::storage::{Completion, StorageOp};
use xfer_proto::wire::frame::{Block, Frame, Ping};
use xfer_proto::wire::message::{Message, WireEntry};

#[test]
fn a_file_of_absurd_size_costs_no_memory() {
    let mut bench = incoming();
    bench.offer(MAX_FILE_SIZE);
    // A table of its leaves would not fit any memory.
    bench.chunk(0, &[0; CHUNK]);
    let mut layout = Layout::new(CHUNK);
    layout.push(MAX_FILE_SIZE).unwrap();
    let last = layout.end() - 1;
    bench.chunk(last, &vec![0; layout.place(last).unwrap().len]);
    assert_eq!(bench.events, []);
    assert_eq!(bench.machine.stats().received_packets, bench.number);
}

#[test]
fn chunks_from_the_end_down_make_no_endless_list_of_holes() {
    let mut bench = incoming();
    let count = MAX_RANGES as u64 + 10;
    bench.offer(2 * count * CHUNK as u64);
    bench.serve();
    for at in 0..count {
        bench.chunk(2 * (count - at) - 1, &[0; CHUNK]);
        bench.serve();
    }
    assert_eq!(bench.machine.stats().duplicate_chunks, 0);
    bench.chunk(2 * count - 1, &[0; CHUNK]);
    assert_eq!(bench.machine.stats().duplicate_chunks, 1, "it was noted");
    bench.chunk(1, &[0; CHUNK]);
    assert_eq!(bench.machine.stats().duplicate_chunks, 1, "it was not");
    // What joins a range is taken however many there are.
    for repeat in 0..2 {
        bench.chunk(2 * count - 2, &[0; CHUNK]);
        bench.serve();
        assert_eq!(bench.machine.stats().duplicate_chunks, 1 + repeat);
    }
}

#[test]
fn a_file_that_is_refused_gives_its_memory_back() {
    let mut bench = incoming();
    bench.offer(3 * CHUNK as u64);
    (0..3).for_each(|chunk| bench.chunk(chunk, &[0; CHUNK]));
    let Some(StorageOp::Prepare { op, .. }) = bench.ops.pop() else {
        panic!("nothing is prepared");
    };
    let result = Err(ErrorCode::CONFLICT.into());
    bench.input(Input::Storage(Completion { op, result }));
    bench.frame(&Frame::Ping(Ping {
        sent_end: 0,
        interval_us: 0,
    }));
    assert_eq!(bench.reports().last().unwrap().window, 1 << 20);
}

#[test]
fn leaf_values_without_content_are_forgotten_when_there_are_too_many() {
    // SPEC: R-leaves-4, R-receiver-6
    let memory = MemoryPool::new(1 << 20);
    let mut bench = incoming_with(memory.clone());
    let leaves = 1 << 20;
    bench.offer(leaves * LEAF_SIZE);
    for first in (0..leaves).step_by(256) {
        bench.say(&Message::Leaves {
            file: FileIndex(0),
            first,
            values: vec![xfer_proto::digest::empty(); 256],
        });
        assert!(memory.held() <= memory.size() / 2, "{}", memory.held());
    }
    assert!(memory.held() > 0, "they count");
    // Blocks far ahead of their turn are dropped before they use up what others need.
    for at in 1..256 {
        let sequence = bench.sequence + at;
        bench.frame(&Frame::Block(Block {
            sequence,
            bytes: &[0; MAX_BLOCK],
        }));
        assert!(memory.held() <= memory.size() / 2 + 48 * 1_024);
    }
    bench.input(Input::Abort(ErrorCode::INTERRUPTED.into()));
    drop(bench);
    assert_eq!(memory.held(), 0);
}

#[test]
fn files_begin_as_far_as_there_is_memory_for_them() {
    // SPEC: R-offer-8
    // A sender whose files have no end left 2 KB of each of a million.
    const FILES: u32 = 1_000;
    let manifests = MemoryPool::new(u64::from(FILES) * 2 * (ENTRY_COST + 8));
    let begun = MemoryPool::new(u64::from(FILES) * BEGUN_COST / 2);
    let mut bench = incoming_as(ReceiverConfig {
        manifests: manifests.clone(),
        begun: begun.clone(),
        ..ReceiverConfig::default()
    });
    let offer = |at: u32| WireEntry::from(&entry(format!("{at:08}").into_bytes(), 1));
    for first in (0..FILES).step_by(50) {
        let entries = (first..first + 50).map(offer).collect();
        let first = FileIndex(first);
        bench.say(&Message::Offer { first, entries });
    }
    bench.say(&Message::OfferEnd { files: FILES });
    bench.serve_all();
    let offered = manifests.held();
    let mut missing: Vec<u32> = (0..FILES).collect();
    let (mut rounds, mut most) = (0, 0);
    while !missing.is_empty() {
        let drops = bench.machine.stats().duplicate_chunks;
        (missing.iter()).for_each(|file| bench.chunk(u64::from(*file), &[7]));
        assert_eq!(bench.machine.stats().duplicate_chunks, drops);
        bench.serve_all();
        let taken = std::mem::take(&mut bench.hashed);
        assert!(!taken.is_empty(), "none of {} files", missing.len());
        most = most.max(begun.held());
        for file in &taken {
            let (size, chunks, digest) = (1, 1, root(&[leaf_value(1, 0, &[7])]));
            let file = *file;
            bench.say(&Message::Eof {
                file,
                size,
                chunks,
                digest,
            });
        }
        bench.serve_all();
        missing.retain(|file| !taken.contains(&FileIndex(*file)));
        rounds += 1;
    }
    assert!(
        rounds > 1 && most <= begun.size() / 2,
        "{rounds} rounds, {most}"
    );
    assert!(manifests.held() < offered / 2, "{}", manifests.held());
    assert_eq!(begun.held(), 0);
    drop(bench);
    assert_eq!(manifests.held(), 0);
}

#[test]
fn ends_without_content_leave_others_what_is_theirs() {
    let config = ReceiverConfig {
        manifests: MemoryPool::new(2_000_000),
        begun: MemoryPool::new(100_000),
        ..ReceiverConfig::default()
    };
    let offer = |bench: &mut Bench<IncomingSession>, files: u32| {
        for first in (0..files).step_by(50) {
            let entry = |at: u32| WireEntry::from(&entry(format!("{at:08}").into_bytes(), 1));
            let entries = (first..first + 50).map(entry).collect();
            let first = FileIndex(first);
            bench.say(&Message::Offer { first, entries });
        }
    };
    let mut greedy = incoming_as(config.clone());
    offer(&mut greedy, 2_000);
    for at in 0..2_000 {
        let (file, digest) = (FileIndex(at), root(&[leaf_value(1, 0, &[7])]));
        let (size, chunks) = (1, 1);
        greedy.say(&Message::Eof {
            file,
            size,
            chunks,
            digest,
        });
    }
    assert_eq!(config.begun.held(), 2_000 * BEGUN_COST, "it is owed");
    let mut other = incoming_as(config.clone());
    offer(&mut other, 1_000);
    assert_eq!(other.events, []);
    other.serve_all();
    other.chunk(0, &[7]);
    other.serve_all();
    assert_eq!(other.hashed, [FileIndex(0)], "what is guaranteed");
    drop((greedy, other));
    assert_eq!((config.begun.held(), config.manifests.held()), (0, 0));
}
