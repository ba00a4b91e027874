//! The disk model: order, honesty, and what a power cut leaves.

use bytes::Bytes;
use std::rc::Rc;
use xfer_proto::digest::LEAF_SIZE;
use xfer_proto::error::ErrorCode;
use xfer_proto::id::{Digest, FileIndex, SessionId};
use xfer_proto::manifest::{Entry, EntryKind, Name};
use xfer_proto::rng::Rng;
use xfer_proto::storage::{Done, Leaf, OpId, Prepared, StorageOp};
use xfer_sim::content::Content;
use xfer_sim::storage::{Disk, DiskConfig, Policy};

const SIZE: u64 = 3 * LEAF_SIZE + 5;
const FILE: FileIndex = FileIndex(0);

fn content() -> Content {
    Content::new(1, SIZE, false)
}

fn name() -> Name {
    Name::new("file").unwrap()
}

fn disk(config: DiskConfig) -> Disk {
    let mut disk = Disk::new(config);
    for session in 1..4 {
        disk.expect(SessionId(session), Rc::new(vec![content()]));
    }
    disk
}

fn prepare(disk: &mut Disk, session: u64, differs: bool) -> Result<Prepared, ErrorCode> {
    let entry = Entry {
        name: name(),
        kind: EntryKind::File,
        size: SIZE,
        modified: None,
        mode: None,
        identity: None,
    };
    let op = StorageOp::Prepare {
        op: OpId(0),
        file: FILE,
        entry,
        differs,
    };
    match disk.execute(SessionId(session), &op).unwrap() {
        Ok(Done::Prepared(prepared)) => Ok(prepared),
        Err(failure) => Err(failure.code),
        other => panic!("{other:?}"),
    }
}

fn write(disk: &mut Disk, session: u64, offset: u64, data: Vec<u8>) -> Option<ErrorCode> {
    let op = StorageOp::Write {
        op: OpId(0),
        file: FILE,
        offset,
        data: Bytes::from(data),
    };
    let result = disk.execute(SessionId(session), &op).unwrap();
    result.err().map(|failure| failure.code)
}

fn write_leaf(disk: &mut Disk, session: u64, leaf: u64) {
    let range = leaf * LEAF_SIZE..SIZE.min((leaf + 1) * LEAF_SIZE);
    let data = content().read(range.clone());
    assert_eq!(write(disk, session, range.start, data), None);
}

fn checkpoint(disk: &mut Disk, session: u64, leaf: u64) {
    let value = content().leaf(leaf);
    let op = StorageOp::Checkpoint {
        op: OpId(0),
        file: FILE,
        leaves: vec![Leaf { index: leaf, value }],
    };
    let result = disk.execute(SessionId(session), &op).unwrap();
    assert!(matches!(result, Ok(Done::Recorded)), "{result:?}");
}

fn hash(disk: &mut Disk, session: u64, leaf: u64) -> Digest {
    let op = StorageOp::Hash {
        op: OpId(0),
        file: FILE,
        leaf,
        kept: None,
    };
    match disk.execute(SessionId(session), &op).unwrap() {
        Ok(Done::Digest(digest)) => digest,
        other => panic!("{other:?}"),
    }
}

fn commit(disk: &mut Disk, session: u64) -> Result<(), ErrorCode> {
    let op = StorageOp::Commit {
        op: OpId(0),
        file: FILE,
        digest: content().root(),
    };
    let result = disk.execute(SessionId(session), &op).unwrap();
    result.map(|_| ()).map_err(|failure| failure.code)
}

#[test]
fn a_whole_file_is_committed_under_its_name() {
    let mut disk = disk(DiskConfig::default());
    assert_eq!(prepare(&mut disk, 1, false), Ok(Prepared::Fresh));
    for leaf in [3, 0, 2, 1] {
        write_leaf(&mut disk, 1, leaf);
        assert_eq!(hash(&mut disk, 1, leaf), content().leaf(leaf));
    }
    assert_eq!(commit(&mut disk, 1), Ok(()));
    assert_eq!(disk.digest_of(&name()), Some(content().root()));
    assert!(disk.committed(SessionId(1), FILE).is_some());
    disk.on_session_done(SessionId(1));
    assert!(disk.take_violations().is_empty());
    assert_eq!(prepare(&mut disk, 2, false), Ok(Prepared::Existing));
}

#[test]
fn what_is_not_whole_or_not_right_is_not_committed_unnoticed() {
    let mut disk = disk(DiskConfig::default());
    prepare(&mut disk, 1, false).unwrap();
    write_leaf(&mut disk, 1, 0);
    assert_eq!(commit(&mut disk, 1), Err(ErrorCode::INTERNAL));
    let mut wrong = content().read(0..100);
    wrong[50] ^= 1;
    assert_eq!(write(&mut disk, 1, 0, wrong), Some(ErrorCode::INTERNAL));
    assert_ne!(hash(&mut disk, 1, 0), content().leaf(0));
    write_leaf(&mut disk, 1, 0);
    assert_eq!(hash(&mut disk, 1, 0), content().leaf(0));
    disk.on_session_done(SessionId(1));
    assert_eq!(disk.take_violations().len(), 3);
    assert_eq!(disk.digest_of(&name()), None);
}

#[test]
fn a_power_cut_keeps_what_was_recorded_and_nothing_else_for_sure() {
    // SPEC: R-resume-1
    for seed in 0..50 {
        let mut disk = disk(DiskConfig::default());
        prepare(&mut disk, 1, false).unwrap();
        write_leaf(&mut disk, 1, 1);
        checkpoint(&mut disk, 1, 1);
        write_leaf(&mut disk, 1, 2);
        disk.crash(&mut Rng::new(seed));
        let Ok(Prepared::Partial { leaves, .. }) = prepare(&mut disk, 2, false) else {
            panic!("the record is lost");
        };
        let indices: Vec<u64> = leaves.iter().map(|leaf| leaf.index).collect();
        assert_eq!(indices, [1]);
        assert_eq!(hash(&mut disk, 2, 1), content().leaf(1));
        for leaf in [0, 2, 3] {
            write_leaf(&mut disk, 2, leaf);
        }
        assert_eq!(commit(&mut disk, 2), Ok(()));
        disk.crash(&mut Rng::new(seed));
        assert_eq!(disk.digest_of(&name()), Some(content().root()));
        assert!(disk.take_violations().is_empty());
    }
}

#[test]
fn a_disk_that_forgets_is_noticed_where_a_leaf_is_hashed() {
    let mut disk = disk(DiskConfig {
        rot_per_million: 1_000_000,
        ..DiskConfig::default()
    });
    prepare(&mut disk, 1, false).unwrap();
    write_leaf(&mut disk, 1, 1);
    checkpoint(&mut disk, 1, 1);
    assert_eq!(hash(&mut disk, 1, 1), content().leaf(1));
    disk.crash(&mut Rng::new(1));
    let found = prepare(&mut disk, 2, false);
    let Ok(Prepared::Partial { is_unchanged, .. }) = found else {
        panic!("the record is lost");
    };
    assert!(!is_unchanged);
    assert_ne!(hash(&mut disk, 2, 1), content().leaf(1));
}

#[test]
fn a_partial_of_another_content_is_all_wrong() {
    let mut disk = disk(DiskConfig::default());
    disk.put_partial(name(), &Content::new(2, SIZE, false), 0..4);
    let Ok(Prepared::Partial { leaves, .. }) = prepare(&mut disk, 1, false) else {
        panic!("the partial is not found");
    };
    assert_eq!(leaves.len(), 4);
    assert!(leaves.iter().all(|it| it.value != content().leaf(it.index)));
    assert_ne!(hash(&mut disk, 1, 0), content().leaf(0));
}

#[test]
fn a_taken_name_is_refused_replaced_or_changed() {
    let expected = [
        (Policy::Refuse, Err(ErrorCode::CONFLICT)),
        (Policy::Overwrite, Ok(Prepared::Fresh)),
        (Policy::Rename, Ok(Prepared::Fresh)),
    ];
    for (policy, answer) in expected {
        let mut disk = disk(DiskConfig {
            policy,
            ..DiskConfig::default()
        });
        let old = Content::new(2, SIZE, false);
        disk.put(name(), &old);
        assert_eq!(prepare(&mut disk, 1, false), Ok(Prepared::Existing));
        assert_eq!(prepare(&mut disk, 1, true), answer);
        if answer.is_ok() {
            (0..4).for_each(|leaf| write_leaf(&mut disk, 1, leaf));
            assert_eq!(commit(&mut disk, 1), Ok(()));
        }
        let replaced = disk.digest_of(&name()) == Some(content().root());
        assert_eq!(replaced, policy == Policy::Overwrite);
        assert!(disk.take_violations().is_empty());
    }
}

#[test]
fn a_full_disk_says_so() {
    let mut disk = disk(DiskConfig {
        capacity: Some(1_000),
        ..DiskConfig::default()
    });
    prepare(&mut disk, 1, false).unwrap();
    let data = content().read(0..1_000);
    assert_eq!(write(&mut disk, 1, 0, data), None);
    let more = content().read(1_000..1_001);
    let answer = write(&mut disk, 1, 1_000, more);
    assert_eq!(answer, Some(ErrorCode::NO_SPACE));
}
