//! What a later run finds.

use super::*;
use xfer_proto::manifest::PARTIAL_DIR;

const K: (u64, u32) = (1, 0);
const L: (u64, u32) = (2, 5);

/// Three leaves and a bit, of which the first two arrive and are verified.
fn interrupted(sink: &mut Sink) -> (Entry, Vec<u8>) {
    let content = data(3 * LEAF_SIZE as usize + 10);
    let entry = file("d/big", content.len() as u64);
    assert_eq!(sink.prepare(K, &entry, false), Ok(Prepared::Fresh));
    sink.write(K, 0, &content[..2 * LEAF_SIZE as usize + 5])
        .unwrap();
    for index in [1, 0] {
        assert_eq!(sink.hash(K, index), leaf(&content, index).value);
        sink.checkpoint(K, vec![leaf(&content, index)]);
    }
    (entry, content)
}

/// What is found of these leaves, in a partial file that nothing has written to since, or may have.
fn proven(content: &[u8], indices: &[u64], is_unchanged: bool) -> Prepared {
    let leaves = indices.iter().map(|index| leaf(content, *index)).collect();
    Prepared::Partial {
        leaves,
        is_same_source: true,
        is_unchanged,
    }
}

/// Goes on from the first two leaves to the end.
fn go_on(sink: &mut Sink, entry: &Entry, content: &[u8], is_unchanged: bool) {
    let found = proven(content, &[0, 1], is_unchanged);
    assert_eq!(sink.prepare(L, entry, false), Ok(found));
    sink.write(L, 2 * LEAF_SIZE, &content[2 * LEAF_SIZE as usize..])
        .unwrap();
    for index in 0..4 {
        assert_eq!(sink.hash(L, index), leaf(content, index).value);
    }
    sink.checkpoint(L, vec![leaf(content, 2), leaf(content, 3)]);
    sink.commit(L, Digest(*blake3::hash(content).as_bytes()))
        .unwrap();
    assert_eq!(sink.read("d/big"), content);
    sink.store = None;
    assert_eq!(sink.tree(), ["d", "d/big"]);
}

fn journal_path(sink: &Sink) -> PathBuf {
    let hidden = fs::read_dir(sink.out().join(PARTIAL_DIR)).unwrap();
    let mut paths = hidden.map(|entry| entry.unwrap().path());
    paths
        .find(|path| path.extension().is_some_and(|ext| ext == "journal"))
        .unwrap()
}

#[test]
fn a_crash_loses_only_what_was_not_verified() {
    // SPEC: R-resume-1
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.crash();
    assert_eq!(sink.store().resumable(), 1);
    go_on(&mut sink, &entry, &content, false);
}

#[test]
fn a_session_in_order_leaves_a_synced_journal() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.store().forget(SessionId(1));
    let journal = fs::read(journal_path(&sink)).unwrap();
    let after_boot = crate::storage::journal::read(&journal[..], &entry, Some([1; 16])).unwrap();
    assert_eq!(after_boot.leaves.len(), 2);
    go_on(&mut sink, &entry, &content, true);
}

#[test]
fn discard_keeps_or_removes_as_told() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.discard(K, true);
    assert_eq!(
        sink.prepare(L, &entry, false),
        Ok(proven(&content, &[0, 1], true))
    );
    sink.discard(L, false);
    assert_eq!(sink.prepare(L, &entry, false), Ok(Prepared::Fresh));
    assert_eq!(sink.tree(), [PARTIAL_DIR, "d"]);
}

#[test]
fn a_crash_twice_goes_on_twice() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.crash();
    sink.prepare(L, &entry, false).unwrap();
    sink.write(
        L,
        2 * LEAF_SIZE,
        &content[2 * LEAF_SIZE as usize..3 * LEAF_SIZE as usize],
    )
    .unwrap();
    sink.checkpoint(L, vec![leaf(&content, 2)]);
    sink.crash();
    assert_eq!(
        sink.prepare(K, &entry, false),
        Ok(proven(&content, &[0, 1, 2], false))
    );
}

#[test]
fn a_damaged_journal_proves_less_and_never_wrong() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.crash();
    let path = journal_path(&sink);
    let data_path = path.with_extension("part");
    let (journal, partial) = (fs::read(&path).unwrap(), fs::read(&data_path).unwrap());
    let header = journal.len() - 2 * 45;
    for (at, expected) in [
        (header + 60, &[1][..]),
        (header + 3, &[]),
        (10, &[]),
        (3, &[]),
    ] {
        for torn in [true, false] {
            let mut damaged = journal.clone();
            if torn {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 1;
            }
            fs::write(&path, damaged).unwrap();
            fs::write(&data_path, &partial).unwrap();
            let prepared = sink.prepare(L, &entry, false).unwrap();
            let wanted = match expected {
                [] => Prepared::Fresh,
                _ => proven(&content, expected, false),
            };
            assert_eq!(prepared, wanted, "at {at}, torn {torn}");
            // Whatever was found, the file arrives.
            let digest = sink.fill(L, &content);
            sink.commit(L, digest).unwrap();
            assert_eq!(sink.read("d/big"), content);
            fs::remove_file(sink.out().join("d/big")).unwrap();
        }
    }
}

#[test]
fn a_partial_file_that_lost_its_end_proves_less() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.crash();
    let path = journal_path(&sink).with_extension("part");
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(LEAF_SIZE + 1).unwrap();
    assert_eq!(
        sink.prepare(L, &entry, false),
        Ok(proven(&content, &[0], false))
    );
}

#[test]
fn another_version_of_the_file_starts_anew() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.discard(K, true);
    let modified = Some(Timestamp {
        nanos: 1,
        ..MODIFIED
    });
    let newer = Entry {
        modified,
        ..entry.clone()
    };
    assert_eq!(sink.prepare(L, &newer, false), Ok(Prepared::Fresh));
    sink.discard(L, false);
    assert_eq!(
        sink.prepare(L, &entry, false),
        Ok(proven(&content, &[0, 1], true))
    );
}

#[test]
fn old_and_useless_files_are_cleaned_up() {
    let mut sink = Sink::new();
    interrupted(&mut sink);
    sink.crash();
    let hidden = sink.out().join(PARTIAL_DIR);
    for name in [
        "tmp-1",
        "guest-1",
        "aa.part",
        "bb.journal",
        "cc.journal-new",
        "notes",
    ] {
        fs::write(hidden.join(name), b"").unwrap();
    }
    sink.reopen_as(OnConflict::Refuse);
    assert_eq!(sink.store().resumable(), 1);
    let left = fs::read_dir(&hidden).unwrap().count();
    assert_eq!(left, 4, "{:?}", sink.tree());
    sink.store = None;
    let later = SystemTime::now() + Duration::from_secs(8 * 24 * 3600);
    let store = SinkStore::open_at(&sink.out(), OnConflict::Refuse, 20, later).unwrap();
    assert_eq!(store.resumable(), 0);
    drop(store);
    assert_eq!(sink.tree(), [PARTIAL_DIR, ".xfer-part/notes", "d"]);
}

#[test]
fn a_receiver_that_runs_for_long_cleans_up_what_nobody_goes_on_with() {
    let mut sink = Sink::new();
    interrupted(&mut sink);
    sink.crash();
    let content = data(2 * LEAF_SIZE as usize);
    let entry = file("running", content.len() as u64);
    assert_eq!(sink.prepare(L, &entry, false), Ok(Prepared::Fresh));
    sink.write(L, 0, &content[..LEAF_SIZE as usize]).unwrap();
    sink.checkpoint(L, vec![leaf(&content, 0)]);
    let all = sink.tree();
    let days = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 3600);
    sink.store().partials.clean_again(days(6));
    assert_eq!(sink.tree(), all, "not yet");
    sink.store().partials.clean_again(days(8));
    assert_eq!(sink.tree().len(), all.len() - 2, "what is written stays");
    sink.write(L, LEAF_SIZE, &content[LEAF_SIZE as usize..])
        .unwrap();
    for index in 0..2 {
        sink.hash(L, index);
    }
    sink.commit(L, Digest(*blake3::hash(&content).as_bytes()))
        .unwrap();
    assert_eq!(sink.read("running"), content);
}

#[test]
fn a_second_receiver_leaves_the_first_alone() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    let mut other = Sink {
        store: Some(SinkStore::open(&sink.out(), OnConflict::Refuse).unwrap()),
        dir: tempfile::tempdir().unwrap(),
        next_op: 0,
    };
    assert_eq!(other.prepare(L, &entry, false), Ok(Prepared::Fresh));
    let digest = other.fill(L, &content);
    other.checkpoint(L, vec![leaf(&content, 0)]);
    other.commit(L, digest).unwrap();
    drop(other.store.take());
    assert_eq!(sink.fill(K, &content), digest);
    assert_eq!(code(sink.commit(K, digest)), ErrorCode::CONFLICT);
    assert_eq!(sink.read("d/big"), content);
}

#[test]
fn a_failed_sync_is_final() {
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    let key = (SessionId(1), FileIndex(0));
    sink.store().receiving(key).unwrap().1.failed = true;
    sink.write(K, 2 * LEAF_SIZE, &content[2 * LEAF_SIZE as usize..])
        .unwrap();
    assert_eq!(
        code(sink.commit(K, xfer_proto::digest::empty())),
        ErrorCode::STORAGE_IO
    );
    assert_eq!(sink.prepare(L, &entry, false), Ok(Prepared::Fresh));
}

#[test]
fn a_partial_that_has_a_final_name_too_is_left_alone() {
    let mut sink = Sink::new();
    let (entry, _) = interrupted(&mut sink);
    sink.crash();
    // A crash on its way to its place, on a file system that cannot move it there in one step.
    let part = journal_path(&sink).with_extension("part");
    let placed = sink.out().join("placed");
    fs::hard_link(part, &placed).unwrap();
    let before = fs::read(&placed).unwrap();
    assert_eq!(sink.prepare(L, &entry, false), Ok(Prepared::Fresh));
    sink.write(L, 0, &[1; 100]).unwrap();
    assert_eq!(fs::read(placed).unwrap(), before);
}

#[test]
fn a_partial_that_was_written_to_is_not_taken_for_unchanged() {
    // SPEC: R-resume-8
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.discard(K, true);
    let path = journal_path(&sink).with_extension("part");
    let partial = File::options().write(true).open(&path).unwrap();
    let before = partial.metadata().unwrap().modified().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&partial, b"!", 77).unwrap();
    // Who hides it cannot set the time of the change.
    partial.set_modified(before).unwrap();
    let found = sink.prepare(L, &entry, false);
    assert_eq!(found, Ok(proven(&content, &[0, 1], false)));
    assert_ne!(sink.hash(L, 0), leaf(&content, 0).value);
    assert_eq!(sink.hash(L, 1), leaf(&content, 1).value);
}

#[test]
fn only_what_was_hashed_again_is_sealed() {
    // SPEC: R-resume-8
    let mut sink = Sink::new();
    let (entry, content) = interrupted(&mut sink);
    sink.crash();
    let found = |is_unchanged| Ok(proven(&content, &[0, 1], is_unchanged));
    let value = |index| leaf(&content, index).value;
    assert_eq!(sink.prepare(L, &entry, false), found(false));
    sink.hash_kept(L, 0, Some(value(0)));
    sink.hash_kept(L, 1, Some(value(0)));
    sink.discard(L, true);
    assert_eq!(sink.prepare(L, &entry, false), found(false), "one differed");
    sink.hash_kept(L, 0, Some(value(0)));
    sink.hash_kept(L, 1, Some(value(1)));
    sink.discard(L, true);
    assert_eq!(sink.prepare(L, &entry, false), found(true));
    // A leaf that came again is as good.
    sink.crash();
    assert_eq!(sink.prepare(L, &entry, false), found(false));
    sink.hash_kept(L, 1, Some(value(1)));
    sink.checkpoint(L, vec![leaf(&content, 0)]);
    sink.discard(L, true);
    assert_eq!(sink.prepare(L, &entry, false), found(true));
}
