//! What a receiver kept from an earlier session.

use crate::receiver_bench::{Bench, CHUNK};
use crate::wire::missing;
use xfer_proto::digest::{leaf_value, root};
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::storage::{Leaf, Prepared};
use xfer_proto::wire::message::Message;

const LEAF: usize = 1 << 20;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn kept_leaves_are_reported_until_they_turn_out_to_differ() {
    // SPEC: R-resume-5, R-resume-6, R-answer-1
    let mut bench = Bench::open();
    let size = 2 * LEAF + 5;
    let kept = |index| Leaf {
        index,
        value: Digest([index as u8; 32]),
    };
    let leaves = vec![kept(0), kept(1)];
    let is_same_source = false;
    bench.prepared = [Prepared::Partial {
        leaves,
        is_same_source,
        is_unchanged: true,
    }]
    .into();
    bench.offer_all(&[("a", size as u64)]);
    assert!(matches!(
        &bench.seen.messages[..],
        [Message::Resume { leaves, .. }, Message::Answer { through: 1 }] if leaves.len() == 2
    ));
    let (border, end) = ((LEAF / CHUNK) as u64, size.div_ceil(CHUNK) as u64);
    bench.ping(end);
    let last = (2 * LEAF / CHUNK) as u64;
    // The chunk over the border of the two is all theirs.
    let missing_now = missing(bench.seen.last_report());
    assert_eq!(
        (missing_now.len(), missing_now.first()),
        (1, Some(&(last..end)))
    );
    bench.say(&Message::Leaves {
        file: FileIndex(0),
        first: 0,
        values: vec![Digest([7; 32]), kept(1).value],
    });
    bench.ping(end);
    assert_eq!(
        missing(bench.seen.last_report()),
        [0..border + 1, last..end]
    );
}

#[test]
fn kept_leaves_are_hashed_again_before_the_commit() {
    // SPEC: R-resume-8
    let bytes = content(3 * LEAF);
    let size = bytes.len() as u64;
    let value = |index: usize| leaf_value(size, index as u64, &bytes[index * LEAF..][..LEAF]);
    let kept = |index: usize| Leaf {
        index: index as u64,
        value: value(index),
    };
    let mut bench = Bench::open();
    bench.prepared = [Prepared::Partial {
        leaves: vec![kept(0), kept(1)],
        is_same_source: true,
        is_unchanged: false,
    }]
    .into();
    // The partial file of the test has zeros where the kept leaves are: none is what it was.
    bench.offer_all(&[("a", size)]);
    let end = bytes.len().div_ceil(CHUNK) as u64;
    bench.ping(end);
    assert_eq!(missing(bench.seen.last_report()).first(), Some(&(0..end)));
    let values = vec![value(0), value(1), value(2)];
    let digest = root(&values);
    bench.say(&Message::Leaves {
        file: FileIndex(0),
        first: 0,
        values,
    });
    bench.eof(0, &bytes, digest);
    assert!(bench.committed.is_empty());
    bench.send(0, &bytes);
    assert_eq!(bench.committed, [(FileIndex(0), digest)]);
    assert!(bench.written(0) == bytes);
}

#[test]
fn a_commit_waits_for_kept_leaves_to_be_hashed() {
    // SPEC: R-resume-8
    let zeros = vec![0; 3 * LEAF];
    let size = zeros.len() as u64;
    let values: Vec<Digest> = (0..3)
        .map(|index| leaf_value(size, index, &zeros[..LEAF]))
        .collect();
    let leaves = (0..).zip(&values);
    let leaves = leaves.map(|(index, value)| Leaf {
        index,
        value: *value,
    });
    let mut bench = Bench::open();
    bench.prepared = [Prepared::Partial {
        leaves: leaves.collect(),
        is_same_source: true,
        is_unchanged: false,
    }]
    .into();
    bench.is_storage_stuck = true;
    bench.offer_all(&[("a", size)]);
    let digest = root(&values);
    bench.say(&Message::Leaves {
        file: FileIndex(0),
        first: 0,
        values,
    });
    bench.eof(0, &zeros, digest);
    // The name is looked at; then two leaves are hashed, and the third.
    for _ in 0..2 {
        bench.answer_stuck();
        assert!(bench.committed.is_empty());
    }
    bench.unstick();
    assert_eq!(bench.committed, [(FileIndex(0), digest)]);
}

#[test]
fn what_came_before_a_resume_is_not_written_over_it() {
    // SPEC: R-resume-7
    let mut bench = Bench::open();
    let bytes = content(2 * LEAF);
    let value = |index: usize| {
        leaf_value(
            bytes.len() as u64,
            index as u64,
            &bytes[index * LEAF..][..LEAF],
        )
    };
    let leaves = vec![Leaf {
        index: 0,
        value: value(0),
    }];
    bench.prepared = [Prepared::Partial {
        leaves,
        is_same_source: true,
        is_unchanged: true,
    }]
    .into();
    bench.is_storage_stuck = true;
    bench.offer_all(&[("a", bytes.len() as u64)]);
    // Whole blocks of leaf 0 wait for storage, and a block that is not whole.
    let damaged = vec![0xee; LEAF / 2 + 100];
    bench.send(0, &damaged[..damaged.len() / CHUNK * CHUNK]);
    bench.unstick();
    bench.send(0, &bytes);
    let values = vec![value(0), value(1)];
    let digest = root(&values);
    bench.say(&Message::Leaves {
        file: FileIndex(0),
        first: 0,
        values,
    });
    bench.eof(0, &bytes, digest);
    assert_eq!(bench.committed, [(FileIndex(0), digest)]);
    // The partial file of the test has zeros where the kept leaf is.
    assert!(bench.written(0)[..LEAF].iter().all(|byte| *byte == 0));
    assert!(bench.written(0)[LEAF..] == bytes[LEAF..]);
}
