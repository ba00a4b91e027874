//! Links and special files in the way, full disks, offers without end.

use super::*;
use std::os::unix::fs::symlink;
use std::process::Command;

const K: (u64, u32) = (1, 0);

#[test]
fn a_link_is_followed_nowhere() {
    // SPEC: R-names-3
    for policy in [OnConflict::Refuse, OnConflict::Overwrite] {
        let mut sink = Sink::with(policy);
        let outside = sink.dir.path().join("outside");
        fs::create_dir_all(outside.join("b/c")).unwrap();
        fs::write(outside.join("b/c/f"), b"mine").unwrap();
        fs::create_dir_all(sink.out().join("x/b")).unwrap();
        symlink(&outside, sink.out().join("a")).unwrap();
        symlink(outside.join("b"), sink.out().join("x/b2")).unwrap();
        symlink(outside.join("b/c"), sink.out().join("x/b/c")).unwrap();
        for name in ["a/b/c/f", "a/new", "x/b2/c/f", "x/b/c/f", "x/b/c/new"] {
            let refused = sink.prepare(K, &file(name, 4), false);
            assert_eq!(code(refused), ErrorCode::NAME_REFUSED, "{name}");
        }
        assert_eq!(
            code(sink.prepare(K, &directory("a"), false)),
            ErrorCode::NAME_REFUSED
        );
        assert_eq!(
            code(sink.prepare(K, &directory("a/d"), false)),
            ErrorCode::NAME_REFUSED
        );
        symlink(outside.join("b/c/f"), sink.out().join("f")).unwrap();
        symlink("../outside/dangling", sink.out().join("g")).unwrap();
        for name in ["f", "g"] {
            assert_eq!(
                code(sink.prepare(K, &file(name, 4), false)),
                ErrorCode::CONFLICT
            );
        }
        assert_eq!(fs::read(outside.join("b/c/f")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }
}

#[test]
fn a_link_planted_midway_is_not_followed() {
    // SPEC: R-names-3
    let mut sink = Sink::with(OnConflict::Overwrite);
    let outside = sink.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    sink.prepare(K, &file("d/f", 1), false).unwrap();
    let digest = sink.fill(K, b"x");
    fs::remove_dir(sink.out().join("d")).unwrap();
    symlink(&outside, sink.out().join("d")).unwrap();
    assert_eq!(code(sink.commit(K, digest)), ErrorCode::NAME_REFUSED);
    sink.prepare(K, &file("g", 1), false).unwrap();
    let digest = sink.fill(K, b"x");
    symlink(outside.join("g"), sink.out().join("g")).unwrap();
    assert_eq!(code(sink.commit(K, digest)), ErrorCode::CONFLICT);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_special_file_in_the_way_does_not_block() {
    let mut sink = Sink::new();
    let fifo = sink.out().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        code(sink.prepare(K, &file("fifo", 0), false)),
        ErrorCode::CONFLICT
    );
    assert_eq!(
        code(sink.prepare(K, &file("fifo/x", 0), false)),
        ErrorCode::NAME_REFUSED
    );
    // A file that turns into a FIFO after it was looked at.
    fs::write(sink.out().join("f"), b"").unwrap();
    assert_eq!(
        sink.prepare(K, &file("f", 0), false),
        Ok(Prepared::Existing)
    );
    fs::rename(&fifo, sink.out().join("f")).unwrap();
    let op = |op| StorageOp::DigestExisting {
        op,
        file: FileIndex(0),
    };
    assert_eq!(code(sink.one(1, op)), ErrorCode::STORAGE_IO);
}

#[test]
fn a_planted_partial_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    symlink("outside", dir.path().join(".xfer-part")).unwrap();
    assert!(SinkStore::open(dir.path(), OnConflict::Refuse).is_err());
    fs::remove_file(dir.path().join(".xfer-part")).unwrap();
    fs::write(dir.path().join(".xfer-part"), b"").unwrap();
    assert!(SinkStore::open(dir.path(), OnConflict::Refuse).is_err());
}

#[test]
fn names_that_are_not_utf8_are_kept() {
    let mut sink = Sink::new();
    let name = Name::new(b"\xff\xfe/\xc3".to_vec()).unwrap();
    let entry = Entry {
        name,
        ..file("x", 0)
    };
    sink.prepare(K, &entry, false).unwrap();
    sink.commit(K, xfer_proto::digest::empty()).unwrap();
    let path = sys::name_from_bytes(b"\xff\xfe/\xc3".to_vec());
    assert!(sink.out().join(path).is_file());
}

#[test]
fn a_size_that_cannot_fit_is_refused_at_once() {
    let mut sink = Sink::new();
    for size in [u64::MAX, xfer_proto::manifest::MAX_FILE_SIZE + 1] {
        assert_eq!(
            code(sink.prepare(K, &file("f", size), false)),
            ErrorCode::QUOTA
        );
    }
    let most = xfer_proto::manifest::MAX_FILE_SIZE;
    assert_eq!(
        code(sink.prepare(K, &file("f", most), false)),
        ErrorCode::NO_SPACE
    );
    assert!(sink.store().files.is_empty() && sink.store().claims.is_empty());
}

/// A small file system that goes away with the value.
struct Small(PathBuf);

impl Small {
    /// `None`, with a printed reason, where this process may not mount.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=1m", "xfer-test"];
        let mounted = Command::new("mount").args(options).arg(&at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        {
            eprintln!("skipped: mounting a tmpfs needs root");
        }
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_one_file_and_not_the_next() {
    let mut sink = Sink::new();
    sink.store = None;
    let Some(_small) = Small::mount(sink.out()) else {
        return;
    };
    sink.reopen_as(OnConflict::Refuse);
    assert_eq!(
        code(sink.prepare(K, &file("f", 2 << 20), false)),
        ErrorCode::NO_SPACE
    );
    // Past the check, as when somebody else fills the disk.
    sink.store().budget.assume_space();
    sink.prepare(K, &file("f", 2 << 20), false).unwrap();
    let content = data(2 << 20);
    let full = content
        .chunks(256 << 10)
        .enumerate()
        .find_map(|(at, piece)| sink.write(K, (at as u64) << 18, piece).err());
    let full = full.unwrap();
    assert_eq!(full.code, ErrorCode::NO_SPACE);
    assert!(
        full.message.contains("`f`") && full.message.contains("os error 28"),
        "{full}"
    );
    sink.discard(K, false);
    sink.receive(K, "small", b"fits").unwrap();
    assert_eq!(sink.tree(), [".xfer-part", "small"]);
}

#[test]
fn a_mount_beneath_is_refused_at_the_offer() {
    let mut sink = Sink::new();
    let Some(_small) = Small::mount(sink.out().join("m")) else {
        return;
    };
    assert_eq!(
        code(sink.prepare(K, &file("m/f", 1), false)),
        ErrorCode::POLICY
    );
}
