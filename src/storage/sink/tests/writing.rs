//! Content, attributes, durability in groups, and few handles.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const K: (u64, u32) = (1, 0);

#[test]
fn every_size_arrives_with_its_attributes() {
    let mut sink = Sink::new();
    let leaf = LEAF_SIZE as usize;
    for (at, len) in [0, 1, 4096, leaf - 1, leaf, leaf + 1, 3 * leaf + 5]
        .into_iter()
        .enumerate()
    {
        let name = format!("d/e/{len}");
        sink.receive((1, at as u32), &name, &data(len)).unwrap();
        assert_eq!(sink.read(&name), data(len));
        let metadata = fs::metadata(sink.out().join(&name)).unwrap();
        let found = (metadata.mtime(), metadata.mtime_nsec());
        assert_eq!(found, (MODIFIED.seconds, MODIFIED.nanos.into()));
        assert_eq!(
            metadata.permissions().mode() & 0o7777,
            0o640 & !umask(&sink)
        );
    }
    sink.store = None;
    assert!(!sink.out().join(".xfer-part").exists());
}

/// The process's umask, as a new file shows it.
fn umask(sink: &Sink) -> u32 {
    let probe = sink.dir.path().join("probe");
    let dir = Dir::open_path(sink.dir.path()).unwrap();
    drop(dir.create(b"probe", 0o777).unwrap());
    let mode = fs::metadata(&probe).unwrap().permissions().mode();
    fs::remove_file(probe).unwrap();
    !mode & 0o777
}

#[test]
fn odd_modes_pass_and_special_bits_do_not() {
    // SPEC: R-manifest-1
    let mut sink = Sink::new();
    let sizes = [0, 5, LEAF_SIZE as usize * 2];
    for (at, mode) in [Some(0o6755), Some(0o400), Some(0), Some(0o1777), None]
        .into_iter()
        .enumerate()
    {
        for (size_at, size) in sizes.into_iter().enumerate() {
            let key = (at as u64, size_at as u32);
            let name = format!("{at}-{size}");
            let entry = Entry {
                mode,
                ..file(&name, size as u64)
            };
            sink.prepare(key, &entry, false).unwrap();
            let digest = sink.fill(key, &data(size));
            sink.commit(key, digest).unwrap();
            let found = fs::metadata(sink.out().join(&name))
                .unwrap()
                .permissions()
                .mode();
            let expected = mode.unwrap_or(0o666) & 0o777 & !umask(&sink);
            assert_eq!(found & 0o7777, expected, "{name}");
        }
    }
}

#[test]
fn times_far_away_do_no_harm() {
    let mut sink = Sink::new();
    for (at, seconds) in [-2_177_452_800, -1, 0, 4_294_967_296]
        .into_iter()
        .enumerate()
    {
        let modified = Some(Timestamp { seconds, nanos: 1 });
        let entry = Entry {
            modified,
            ..file(&at.to_string(), 0)
        };
        sink.prepare((1, at as u32), &entry, false).unwrap();
        sink.commit((1, at as u32), xfer_proto::digest::empty())
            .unwrap();
        assert_eq!(
            fs::metadata(sink.out().join(at.to_string())).unwrap().len(),
            0
        );
    }
}

#[test]
fn pieces_in_any_order_hash_right() {
    let content = data(2 * LEAF_SIZE as usize + 777);
    let orders: [&[usize]; 4] = [&[2, 1, 0], &[0, 2, 1], &[1, 0, 2, 1], &[0, 1, 0, 2]];
    for order in orders {
        let mut sink = Sink::new();
        sink.prepare(K, &file("f", content.len() as u64), false)
            .unwrap();
        let third = content.len().div_ceil(3);
        for &at in order {
            let piece = content.chunks(third).nth(at).unwrap();
            sink.write(K, (at * third) as u64, piece).unwrap();
        }
        for index in 0..3 {
            assert_eq!(
                sink.hash(K, index),
                leaf(&content, index).value,
                "{order:?}"
            );
        }
        assert_eq!(sink.hash(K, 1), leaf(&content, 1).value, "asked again");
    }
}

#[test]
fn a_leaf_written_over_hashes_as_it_is() {
    // SPEC: R-verification-1
    let content = data(1000);
    let mut sink = Sink::new();
    sink.prepare(K, &file("f", 1000), false).unwrap();
    sink.write(K, 0, &[9; 1000]).unwrap();
    sink.write(K, 300, &content[300..600]).unwrap();
    sink.write(K, 600, &content[600..]).unwrap();
    sink.write(K, 0, &content[..300]).unwrap();
    assert_eq!(sink.hash(K, 0), leaf(&content, 0).value);
}

#[test]
fn nothing_is_seen_before_the_commit() {
    // SPEC: R-commit-2
    let mut sink = Sink::new();
    sink.prepare(K, &file("a/f", 10), false).unwrap();
    sink.fill(K, &data(10));
    assert!(!sink.out().join("a/f").exists());
    let hidden = fs::metadata(sink.out().join(".xfer-part")).unwrap();
    assert_eq!(hidden.permissions().mode() & 0o777, 0o700);
    sink.discard(K, true);
    assert_eq!(
        sink.tree(),
        [".xfer-part", "a"],
        "one leaf is not worth keeping"
    );
}

#[test]
fn a_file_that_is_not_whole_is_not_committed() {
    // SPEC: R-commit-2
    let mut sink = Sink::new();
    sink.prepare(K, &file("f", 10), false).unwrap();
    sink.write(K, 0, &data(9)).unwrap();
    assert_eq!(code(sink.write(K, 9, &data(2))), ErrorCode::INTERNAL);
    assert_eq!(code(sink.write(K, u64::MAX, &data(2))), ErrorCode::INTERNAL);
    assert_eq!(
        code(sink.commit(K, xfer_proto::digest::empty())),
        ErrorCode::INTERNAL
    );
    assert_eq!(
        code(sink.commit((7, 7), xfer_proto::digest::empty())),
        ErrorCode::INTERNAL
    );
    assert_eq!(sink.tree(), [".xfer-part"]);
}

/// Prepares, writes and commits files of one batch each, with few handles.
fn many(count: u32, handles: usize) {
    let mut sink = Sink::new();
    sink.store = None;
    let out = sink.out();
    let now = SystemTime::now();
    sink.store = Some(SinkStore::open_at(&out, OnConflict::Refuse, handles, now).unwrap());
    let session = SessionId(1);
    let name = |at: u32| format!("d{}/e{}/f{at}", at % 17, at % 5);
    let digest = xfer_proto::digest::empty();
    let mut batches = [vec![], vec![], vec![]];
    for at in 0..count {
        let (file_index, content) = (FileIndex(at), at.to_string().into_bytes());
        let entry = file(&name(at), content.len() as u64);
        let op = |step: u32| OpId((step * count + at).into());
        let ops = [
            StorageOp::Prepare {
                op: op(0),
                file: file_index,
                entry,
                differs: false,
            },
            StorageOp::Write {
                op: op(1),
                file: file_index,
                offset: 0,
                data: content.into(),
            },
            StorageOp::Commit {
                op: op(2),
                file: file_index,
                digest,
            },
        ];
        for (batch, op) in batches.iter_mut().zip(ops) {
            batch.push((session, op));
        }
    }
    for batch in batches {
        let results = sink.run(batch);
        assert_eq!(results.len(), count as usize);
        assert!(results.values().all(Result::is_ok), "{results:?}");
    }
    assert!(sink.store().open.len() <= handles);
    for at in 0..count {
        assert_eq!(sink.read(&name(at)), at.to_string().into_bytes());
    }
    assert!(sink.store().files.is_empty() && sink.store().claims.is_empty());
    sink.store = None;
    assert!(!out.join(".xfer-part").exists());
}

#[test]
fn groups_of_any_size_commit() {
    many(3, 100);
    many(40, 100);
}

#[test]
fn few_handles_are_enough() {
    many(300, 4);
}

#[test]
fn a_discard_after_its_commit_in_one_batch_comes_after() {
    let mut sink = Sink::new();
    sink.prepare(K, &file("f", 0), false).unwrap();
    let digest = xfer_proto::digest::empty();
    let results = sink.run(vec![
        (
            SessionId(1),
            StorageOp::Commit {
                op: OpId(77),
                file: FileIndex(0),
                digest,
            },
        ),
        (
            SessionId(1),
            StorageOp::Discard {
                file: FileIndex(0),
                keep: false,
            },
        ),
    ]);
    assert!(matches!(results[&77], Ok(Done::Committed)));
    assert_eq!(sink.read("f"), b"");
}

#[test]
fn directories_are_made_and_may_exist() {
    let mut sink = Sink::new();
    for _ in 0..2 {
        assert_eq!(
            sink.prepare(K, &directory("a/b"), false),
            Ok(Prepared::Fresh)
        );
        sink.commit(K, xfer_proto::digest::empty()).unwrap();
    }
    let metadata = fs::metadata(sink.out().join("a/b")).unwrap();
    assert!(metadata.is_dir());
    assert_eq!(metadata.mtime(), MODIFIED.seconds);
}

#[test]
fn a_directory_removed_midway_is_made_again() {
    let mut sink = Sink::new();
    sink.receive(K, "a/b/one", b"1").unwrap();
    sink.prepare(K, &file("a/b/two", 1), false).unwrap();
    let digest = sink.fill(K, b"2");
    fs::remove_dir_all(sink.out().join("a")).unwrap();
    sink.commit(K, digest).unwrap();
    assert_eq!(sink.tree(), [".xfer-part", "a", "a/b", "a/b/two"]);
}
