//! Somebody moves or removes what is in the directory while a receiver runs.

use super::*;

/// The session and file of each transfer.
fn key(at: u64) -> (u64, u32) {
    (at, 0)
}

#[test]
fn what_comes_after_a_directory_was_moved_stands_under_its_name() {
    let mut sink = Sink::with(OnConflict::Overwrite);
    sink.receive(key(1), "inbox/deep/a", b"v1").unwrap();
    // The directory itself, and one above it.
    for (turn, (from, to)) in [("inbox/deep", "kept"), ("inbox", "archive")]
        .into_iter()
        .enumerate()
    {
        fs::rename(sink.out().join(from), sink.out().join(to)).unwrap();
        let new = [b"v2", b"v3"][turn];
        sink.receive(key(2 + turn as u64), "inbox/deep/a", new)
            .unwrap();
        assert_eq!(sink.read("inbox/deep/a"), new);
    }
    assert_eq!(
        (sink.read("kept/a"), sink.read("archive/deep/a")),
        (b"v1".into(), b"v2".into())
    );
}

#[test]
fn a_directory_that_goes_between_offer_and_commit_is_made_again() {
    let mut sink = Sink::new();
    sink.prepare(key(1), &file("d/a", 2), false).unwrap();
    let digest = sink.fill(key(1), b"v1");
    fs::rename(sink.out().join("d"), sink.out().join("moved")).unwrap();
    sink.commit(key(1), digest).unwrap();
    sink.prepare(key(2), &directory("d/empty"), false).unwrap();
    fs::remove_dir_all(sink.out().join("d")).unwrap();
    sink.commit(key(2), Digest([0; 32])).unwrap();
    assert_eq!(sink.tree(), [".xfer-part", "d", "d/empty", "moved"]);
}

#[test]
fn empty_directories_that_were_removed_come_again() {
    let mut sink = Sink::new();
    for at in 1..3 {
        let prepared = sink.prepare(key(at), &directory("t/e"), false);
        assert_eq!(prepared, Ok(Prepared::Fresh));
        sink.commit(key(at), Digest([0; 32])).unwrap();
        assert!(sink.out().join("t/e").is_dir());
        fs::remove_dir_all(sink.out().join("t")).unwrap();
    }
}

#[test]
fn what_stands_where_a_directory_was_is_not_followed() {
    let mut sink = Sink::with(OnConflict::Overwrite);
    sink.receive(key(1), "d/a", b"v1").unwrap();
    fs::rename(sink.out().join("d"), sink.out().join("moved")).unwrap();
    std::os::unix::fs::symlink("moved", sink.out().join("d")).unwrap();
    let refused = sink.receive(key(2), "d/a", b"v2");
    assert_eq!(code(refused), ErrorCode::NAME_REFUSED);
    assert_eq!(sink.read("moved/a"), b"v1");
}
