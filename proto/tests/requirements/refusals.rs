//! What a receiver does not stand: each case alone ends the session.

use crate::receiver_bench::Bench;
use crate::wire::{ack, blocks};
use xfer_proto::config::ReceiverConfig;
use xfer_proto::digest::{empty, leaf_value};
use xfer_proto::error::ErrorCode;
use xfer_proto::id::FileIndex;
use xfer_proto::manifest::{EntryKind, Timestamp};
use xfer_proto::memory::MemoryPool;
use xfer_proto::wire::frame::{Ack, BlockAck, Frame, GapRun};
use xfer_proto::wire::message::{Message, WireEntry};

const LEAF: u64 = 1 << 20;

/// The session ends with this code, and the sender is told (R-closing-2).
fn refuses(code: ErrorCode, misbehave: impl FnOnce(&mut Bench)) {
    // SPEC: R-closing-2, R-error-codes-1
    let mut bench = Bench::open();
    misbehave(&mut bench);
    assert_eq!(bench.seen.closes, [Some(code)]);
}

fn breaks_the_protocol(misbehave: impl FnOnce(&mut Bench)) {
    refuses(ErrorCode::PROTOCOL, misbehave);
}

#[test]
fn chunks_that_cannot_be() {
    // SPEC: R-data-1
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 3_000)]);
        bench.data(0, &[0; 1_169]);
    });
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 3_000)]);
        bench.data(2, &[0; 1_170]);
    });
    // SPEC: R-chunks-2
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 3_000)]);
        bench.data(3, &[0; 1]);
    });
    let mut bench = Bench::open();
    bench.offer(0, &[("a", 3_000)]);
    bench.data(3, &[0; 1]);
    assert!(
        bench.seen.closes.is_empty(),
        "its offer may be on the way yet"
    );
    bench.ping(3);
    assert_eq!(bench.seen.last_report().first_missing, 0);
}

#[test]
fn offers_that_cannot_be() {
    // SPEC: R-offer-1
    breaks_the_protocol(|bench| bench.offer(1, &[("a", 1)]));
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 1)]);
        bench.offer(1, &[("b", 1)]);
    });
    // SPEC: R-offer-5
    breaks_the_protocol(|bench| bench.say(&Message::OfferEnd { files: 1 }));
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 1)]);
        bench.say(&Message::OfferEnd { files: 1 });
    });
    // SPEC: R-offer-4
    breaks_the_protocol(|bench| bench.offer(0, &[("a", 1 << 63)]));
    let largest = ("a", (1 << 63) - 1);
    breaks_the_protocol(|bench| bench.offer(0, &[largest; 1_171]));
    breaks_the_protocol(|bench| {
        let entries = vec![WireEntry {
            name: b"d".to_vec(),
            kind: EntryKind::Directory,
            size: 1,
            modified: None,
            mode: None,
            identity: None,
        }];
        let first = FileIndex(0);
        bench.say(&Message::Offer { first, entries });
    });
    // SPEC: R-offer-3
    let config = ReceiverConfig {
        max_files: 2,
        ..ReceiverConfig::default()
    };
    let mut bench = Bench::open_with(config);
    bench.offer(0, &[("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(bench.seen.closes, [Some(ErrorCode::TOO_MANY_FILES)]);
}

#[test]
fn manifests_share_their_memory() {
    // SPEC: R-offer-8
    let config = ReceiverConfig {
        manifests: MemoryPool::new(1 << 20),
        ..ReceiverConfig::default()
    };
    let names: Vec<String> = (0..2_000).map(|at| format!("{at:060}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let offer = |bench: &mut Bench, count: usize| {
        for (at, files) in files[..count].chunks(100).enumerate() {
            bench.offer(at as u32 * 100, files);
        }
    };
    // Alone, a session gets half: 1,100 of 460 bytes.
    let mut greedy = Bench::open_with(config.clone());
    offer(&mut greedy, 1_100);
    assert_eq!(greedy.seen.closes, []);
    let held = config.manifests.held();
    assert_eq!(held, 1_100 * 460);
    // Another gets half of the rest, and what it had is free again when it is over.
    let mut second = Bench::open_with(config.clone());
    offer(&mut second, 500);
    assert_eq!(second.seen.closes, []);
    offer_more(&mut second, &files);
    assert_eq!(second.seen.closes, [Some(ErrorCode::BUSY)]);
    drop(second);
    assert_eq!(config.manifests.held(), held);
    // And whoever comes, a few.
    let mut small = Bench::open_with(config.clone());
    small.offer_all(&files[..50]);
    (0..50).for_each(|at| {
        small.data(at, b"x");
        small.eof(at as u32, b"x", leaf_value(1, 0, b"x"));
    });
    assert_eq!(small.committed.len(), 50);
    assert_eq!(config.manifests.held(), held + 50 * 128, "names are gone");
}

fn offer_more(bench: &mut Bench, files: &[(&str, u64)]) {
    for first in (500..700).step_by(100) {
        bench.offer(first, &files[first as usize..][..100]);
    }
}

#[test]
fn offers_of_nothing_and_times_that_cannot_be() {
    // SPEC: R-offer-7
    breaks_the_protocol(|bench| bench.offer(0, &[]));
    let entry = |nanos| WireEntry {
        name: b"a".to_vec(),
        kind: EntryKind::File,
        size: 1,
        modified: Some(Timestamp { seconds: 0, nanos }),
        mode: None,
        identity: None,
    };
    let offer = |nanos| Message::Offer {
        first: FileIndex(0),
        entries: vec![entry(nanos)],
    };
    breaks_the_protocol(|bench| bench.say(&offer(1_000_000_000)));
    let mut bench = Bench::open();
    bench.say(&offer(999_999_999));
    assert!(bench.seen.closes.is_empty());
}

#[test]
fn lists_that_are_too_long() {
    // SPEC: R-leaves-3
    let leaves = |count| Message::Leaves {
        file: FileIndex(0),
        first: 0,
        values: vec![empty(); count],
    };
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 300 * LEAF)]);
        bench.say(&leaves(257));
    });
    let mut bench = Bench::open();
    bench.offer_all(&[("a", 300 * LEAF)]);
    bench.say(&leaves(256));
    assert!(bench.seen.closes.is_empty());
}

#[test]
fn ends_and_leaves_that_cannot_be() {
    let eof = |size, chunks, digest| Message::Eof {
        file: FileIndex(0),
        size,
        chunks,
        digest,
    };
    // SPEC: R-eof-2
    for wrong in [eof(2_999, 3, empty()), eof(3_000, 4, empty())] {
        breaks_the_protocol(|bench| {
            bench.offer_all(&[("a", 3_000)]);
            bench.say(&wrong);
        });
    }
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 3_000)]);
        bench.say(&eof(3_000, 3, empty()));
        bench.say(&eof(3_000, 3, xfer_proto::id::Digest([1; 32])));
    });
    // SPEC: R-leaves-2
    for (size, first, count) in [(LEAF, 0, 1), (LEAF + 1, 0, 3), (LEAF + 1, 2, 1)] {
        breaks_the_protocol(|bench| {
            bench.offer_all(&[("a", size)]);
            bench.say(&Message::Leaves {
                file: FileIndex(0),
                first,
                values: vec![empty(); count],
            });
        });
    }
}

#[test]
fn messages_that_cannot_be() {
    // SPEC: R-extension-3, R-control-stream-6
    breaks_the_protocol(|bench| bench.stream(&[0x0b, 0, 0]));
    breaks_the_protocol(|bench| bench.stream(&[0x02, 0, 2, 0x80, 0]));
    breaks_the_protocol(|bench| bench.say(&Message::Answer { through: 0 }));
    breaks_the_protocol(|bench| {
        bench.offer_all(&[("a", 1)]);
        bench.say(&Message::Abandon {
            file: FileIndex(1),
            failure: ErrorCode::SOURCE_CHANGED.into(),
        });
    });
}

#[test]
fn acknowledgements_that_cannot_be() {
    // SPEC: R-frame-ack-1
    breaks_the_protocol(|bench| {
        let unused = bench.seen.headers.len() as u64;
        bench.control(&[ack(unused, 0)]);
    });
    // SPEC: R-frame-ack-2, R-gap-runs-1
    let run = |gap, run| GapRun { gap, run };
    let cases = [
        blocks(2),
        BlockAck {
            next: 1,
            end: 0,
            missing: vec![],
        },
        BlockAck {
            next: 0,
            end: 1,
            missing: vec![run(0, 0)],
        },
        BlockAck {
            next: 0,
            end: 1,
            missing: vec![run(0, 2)],
        },
        BlockAck {
            next: 0,
            end: 1,
            missing: vec![run(0, 1), run(0, 1)],
        },
        BlockAck {
            next: 0,
            end: 1,
            missing: vec![run(1, u64::MAX)],
        },
    ];
    for blocks in cases {
        breaks_the_protocol(|bench| {
            // One block of the receiver: its answer.
            bench.offer_all(&[("a", 1)]);
            let (largest, delay_us) = (0, 0);
            bench.control(&[Frame::Ack(Ack {
                largest,
                delay_us,
                blocks,
            })]);
        });
    }
}
