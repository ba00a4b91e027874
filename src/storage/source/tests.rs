use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;
use xfer_proto::id::Digest;
use xfer_proto::storage::OpId;

const CONTENT: &[u8] = b"0123456789";

/// `count` small files and the store that serves them as they are.
fn sources(count: usize, open_files: usize) -> (TempDir, SourceStore) {
    let dir = tempfile::tempdir().unwrap();
    for at in 0..count {
        fs::write(dir.path().join(format!("f{at:04}")), CONTENT).unwrap();
    }
    let store = store_of(dir.path(), open_files);
    (dir, store)
}

fn store_of(dir: &Path, open_files: usize) -> SourceStore {
    let plan = crate::storage::walk::walk(&[dir.to_path_buf()]);
    assert!(plan.errors.is_empty(), "{:?}", plan.errors);
    let files = plan.sources.into_iter().zip(plan.entries).collect();
    SourceStore::with_capacity(files, open_files)
}

fn run(store: &mut SourceStore, op: impl FnOnce(OpId) -> StorageOp) -> Result<Done, Failure> {
    let mut result = None;
    store.run(vec![(SessionId(1), op(OpId(9)))], &mut |_, completion| {
        result = Some(completion.result);
    });
    result.unwrap()
}

fn read(
    store: &mut SourceStore,
    file: u32,
    offset: u64,
    len: u32,
    digest: bool,
) -> Result<ReadBlock, Failure> {
    let file = FileIndex(file);
    let done = run(store, |op| StorageOp::Read {
        op,
        file,
        offset,
        len,
        digest,
    });
    done.map(|done| match done {
        Done::Read(block) => block,
        other => panic!("{other:?}"),
    })
}

fn finish(store: &mut SourceStore, file: u32) -> Result<(), Failure> {
    let file = FileIndex(file);
    run(store, |op| StorageOp::Finish { op, file }).map(drop)
}

#[test]
fn blocks_come_exact_and_with_their_value() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..LEAF_SIZE * 2 + 9)
        .map(|at| (at * 7 + at / 255) as u8)
        .collect();
    fs::write(dir.path().join("big"), &content).unwrap();
    let mut store = store_of(dir.path(), 4);
    let mut values = Vec::new();
    for (at, piece) in content.chunks(LEAF_SIZE as usize).enumerate() {
        let offset = at as u64 * LEAF_SIZE;
        let block = read(&mut store, 0, offset, piece.len() as u32, true).unwrap();
        assert_eq!(&block.data[..], piece);
        values.push(block.leaf.unwrap());
    }
    let digest = Digest(*blake3::hash(&content).as_bytes());
    assert_eq!(xfer_proto::digest::root(&values), digest);
    for (offset, len) in [(5, 70_000), (LEAF_SIZE - 1, 2), (1, 1 << 20), (0, 0)] {
        let block = read(&mut store, 0, offset, len, false).unwrap();
        assert!(block.leaf.is_none());
        assert_eq!(block.data, &content[offset as usize..][..len as usize]);
    }
    finish(&mut store, 0).unwrap();
}

#[test]
fn few_handles_serve_many_files() {
    let (_dir, mut store) = sources(500, 3);
    for round in [true, false] {
        for file in 0..500 {
            assert_eq!(read(&mut store, file, 0, 10, round).unwrap().data, CONTENT);
        }
        assert_eq!(store.open.len(), 3);
    }
    (0..500).for_each(|file| finish(&mut store, file).unwrap());
}

/// What a user may do to a file while it is sent.
type Change = fn(&Path);

const CHANGES: &[(&str, Change)] = &[
    ("truncated", |path| fs::write(path, b"0123").unwrap()),
    ("grown", |path| fs::write(path, b"0123456789+").unwrap()),
    ("rewritten in place", |path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        let file = File::options().write(true).open(path).unwrap();
        sys::write_all_at(&file, b"x", 3).unwrap();
        // Even where the time is set back: the time of the last change is not the user's to set.
        file.set_modified(modified).unwrap();
    }),
    ("replaced", |path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        let other = path.with_extension("new");
        fs::write(&other, CONTENT).unwrap();
        File::options()
            .write(true)
            .open(&other)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        fs::rename(other, path).unwrap();
    }),
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("made a link", |path| {
        fs::rename(path, path.with_extension("old")).unwrap();
        symlink(path.with_extension("old"), path).unwrap();
    }),
    ("made a directory", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("chmod", |path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap()
    }),
];

#[test]
fn every_change_is_noticed_at_the_end() {
    // SPEC: R-sender-5
    for (what, change) in CHANGES {
        let (dir, mut store) = sources(1, 4);
        read(&mut store, 0, 0, 10, true).unwrap();
        await_clock_tick(dir.path());
        change(&dir.path().join("f0000"));
        assert_eq!(
            finish(&mut store, 0).unwrap_err().code,
            ErrorCode::SOURCE_CHANGED,
            "{what}"
        );
    }
}

/// File times advance in steps of some milliseconds: goes on when a new file gets a newer one.
fn await_clock_tick(dir: &Path) {
    let time = || {
        let path = dir.join("clock");
        fs::write(&path, b"").unwrap();
        let time = sys::identity_of(&path).unwrap().changed;
        fs::remove_file(path).unwrap();
        (time.seconds, time.nanos)
    };
    let start = time();
    while time() <= start {}
}

#[test]
fn a_repair_of_a_changed_file_is_refused() {
    // SPEC: R-sender-6
    for (what, change) in &CHANGES[..3] {
        let (dir, mut store) = sources(1, 4);
        read(&mut store, 0, 0, 10, true).unwrap();
        await_clock_tick(dir.path());
        change(&dir.path().join("f0000"));
        let again = read(&mut store, 0, 0, 4, false);
        assert_eq!(again.unwrap_err().code, ErrorCode::SOURCE_CHANGED, "{what}");
    }
}

#[test]
fn a_change_before_the_first_read_is_noticed() {
    for (what, change) in &CHANGES[..2] {
        let (dir, mut store) = sources(1, 4);
        change(&dir.path().join("f0000"));
        let first = read(&mut store, 0, 0, 10, true);
        assert_eq!(first.unwrap_err().code, ErrorCode::SOURCE_CHANGED, "{what}");
    }
}

#[test]
fn a_file_opened_again_must_be_the_same() {
    let (dir, mut store) = sources(2, 1);
    read(&mut store, 0, 0, 10, true).unwrap();
    read(&mut store, 1, 0, 10, true).unwrap();
    CHANGES[3].1(&dir.path().join("f0000"));
    let again = read(&mut store, 0, 0, 10, true).unwrap_err();
    assert_eq!(again.code, ErrorCode::SOURCE_CHANGED);
    assert!(again.message.contains("f0000"), "{again}");
}

#[test]
fn what_cannot_be_read_says_why() {
    let (dir, mut store) = sources(2, 4);
    fs::remove_file(dir.path().join("f0000")).unwrap();
    let failure = read(&mut store, 0, 0, 10, true).unwrap_err();
    assert_eq!(failure.code, ErrorCode::SOURCE_UNREADABLE);
    assert!(
        failure.message.contains("f0000`: No such file"),
        "{failure}"
    );
    fs::remove_file(dir.path().join("f0001")).unwrap();
    symlink("/etc/passwd", dir.path().join("f0001")).unwrap();
    let failure = finish(&mut store, 1).unwrap_err();
    assert_eq!(failure.code, ErrorCode::SOURCE_UNREADABLE);
    assert_eq!(
        read(&mut store, 2, 0, 1, true).unwrap_err().code,
        ErrorCode::INTERNAL
    );
}

#[test]
fn an_empty_file_is_checked_without_a_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty"), b"").unwrap();
    let mut store = store_of(dir.path(), 4);
    finish(&mut store, 0).unwrap();
    fs::write(dir.path().join("empty"), b"1").unwrap();
    assert_eq!(
        finish(&mut store, 0).unwrap_err().code,
        ErrorCode::SOURCE_CHANGED
    );
}

#[test]
#[cfg(target_os = "linux")]
fn what_only_looks_empty_is_not_sent() {
    let plan = crate::storage::walk::walk(&["/proc/version".into()]);
    assert_eq!(plan.entries[0].size, 0);
    let files = plan.sources.into_iter().zip(plan.entries).collect();
    let mut store = SourceStore::with_capacity(files, 4);
    let failure = finish(&mut store, 0).unwrap_err();
    assert_eq!(failure.code, ErrorCode::SOURCE_UNREADABLE);
    assert!(
        failure.message.contains("`version` has content"),
        "{failure}"
    );
}
