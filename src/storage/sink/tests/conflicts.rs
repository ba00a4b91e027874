//! What happens where the name is taken.

use super::*;
use std::os::unix::fs::PermissionsExt;

const K: (u64, u32) = (1, 0);
const L: (u64, u32) = (2, 0);

#[test]
fn a_file_of_that_size_is_looked_at() {
    let mut sink = Sink::new();
    fs::write(sink.out().join("f"), b"old").unwrap();
    let entry = file("f", 3);
    assert_eq!(sink.prepare(K, &entry, false), Ok(Prepared::Existing));
    let op = |op| StorageOp::DigestExisting {
        op,
        file: FileIndex(0),
    };
    let Done::Digest(digest) = sink.one(1, op).unwrap() else {
        panic!("not a digest");
    };
    assert_eq!(digest.0, *blake3::hash(b"old").as_bytes());
    assert_eq!(code(sink.prepare(K, &entry, true)), ErrorCode::CONFLICT);
    assert_eq!(
        code(sink.prepare(K, &file("f", 4), false)),
        ErrorCode::CONFLICT
    );
    assert_eq!(sink.read("f"), b"old");
}

#[test]
fn what_was_looked_at_is_looked_at_again_before_anyone_is_told() {
    let changes: [fn(&Path); 9] = [
        |_| {},
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap(),
        |path| {
            fs::write(path.with_extension("new"), b"old").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"new").unwrap(),
        |path| fs::write(path, b"ol").unwrap(),
        |path| {
            fs::write(path.with_extension("new"), b"new").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        |path| {
            fs::rename(path, path.with_extension("moved")).unwrap();
            std::os::unix::fs::symlink("f.moved", path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut sink = Sink::new();
        let path = sink.out().join("f");
        fs::write(&path, b"old").unwrap();
        let prepared = sink.prepare(K, &file("f", 3), false);
        assert_eq!(prepared, Ok(Prepared::Existing));
        let file = FileIndex(0);
        sink.one(1, |op| StorageOp::DigestExisting { op, file })
            .unwrap();
        change(&path);
        let confirmed = sink.one(1, |op| StorageOp::ConfirmExisting { op, file });
        assert!(
            matches!(confirmed, Ok(Done::Confirmed(is_unchanged)) if is_unchanged == (at < 3)),
            "{at}: {confirmed:?}"
        );
    }
}

#[test]
fn what_changes_while_it_is_hashed_again_is_not_confirmed() {
    let changes: [fn(&Path); 4] = [
        |_| {},
        |path| fs::write(path, b"new").unwrap(),
        |path| {
            fs::write(path.with_extension("new"), b"longer").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        |path| fs::remove_file(path).unwrap(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut sink = Sink::new();
        let (path, size) = (sink.out().join("f"), 20 << 20);
        File::create(&path).unwrap().set_len(size).unwrap();
        sink.prepare(K, &file("f", size), false).unwrap();
        let file = FileIndex(0);
        let digest = |op| StorageOp::DigestExisting { op, file };
        assert!(matches!(sink.one(1, digest), Ok(Done::Digest(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let confirm = StorageOp::ConfirmExisting { op: OpId(77), file };
        let mut confirmed = None;
        let mut done = |_, completion: Completion| confirmed = Some(completion.result);
        // It takes several moments, and one of other sessions' batches comes between them.
        assert!(sink.store().run(vec![(SessionId(1), confirm)], &mut done));
        assert!(sink.store().go_on(&mut done));
        change(&path);
        let (op, entry, differs) = (OpId(78), super::file("other", 3), false);
        let prepare = StorageOp::Prepare {
            op,
            file,
            entry,
            differs,
        };
        let mut others = Vec::new();
        let mut done = |_, completion: Completion| others.push(completion.op);
        assert!(sink.store().run(vec![(SessionId(2), prepare)], &mut done));
        assert_eq!(others, [op]);
        let mut done = |_, completion: Completion| confirmed = Some(completion.result);
        while sink.store().go_on(&mut done) {}
        let Some(Ok(Done::Confirmed(is_unchanged))) = confirmed else {
            panic!("{confirmed:?}");
        };
        assert_eq!(is_unchanged, at == 0, "{at}");
    }
}

#[test]
fn many_files_that_are_there_are_looked_at_together() {
    let mut sink = Sink::new();
    for at in 0..20 {
        let name = format!("d{}/f{at}", at % 3);
        fs::create_dir_all(sink.out().join(&name).parent().unwrap()).unwrap();
        fs::write(sink.out().join(&name), [at as u8; 9]).unwrap();
        let prepared = sink.prepare((1, at), &file(&name, 9), false);
        assert_eq!(prepared, Ok(Prepared::Existing));
    }
    fs::remove_file(sink.out().join("d1/f7")).unwrap();
    let ops = (0..20).map(|at| StorageOp::DigestExisting {
        op: OpId(1_000 + u64::from(at)),
        file: FileIndex(at),
    });
    let results = sink.run(ops.map(|op| (SessionId(1), op)).collect());
    assert_eq!(results.len(), 20);
    for (op, result) in results {
        let at = op - 1_000;
        if at == 7 {
            assert!(result.is_err());
            continue;
        }
        let expected = Digest(*blake3::hash(&[at as u8; 9]).as_bytes());
        assert!(matches!(result, Ok(Done::Digest(digest)) if digest == expected));
    }
}

#[test]
fn rename_takes_the_first_free_number() {
    let mut sink = Sink::with(OnConflict::Rename);
    fs::create_dir(sink.out().join("d.txt")).unwrap();
    for (at, content) in [b"one", b"two"].into_iter().enumerate() {
        sink.receive((1, at as u32), "d.txt", content).unwrap();
    }
    assert_eq!(sink.read("d (1).txt"), b"one");
    assert_eq!(sink.read("d (2).txt"), b"two");
}

#[test]
fn overwrite_replaces_at_the_commit() {
    let mut sink = Sink::with(OnConflict::Overwrite);
    fs::write(sink.out().join("f"), b"old").unwrap();
    sink.prepare(K, &file("f", 5), false).unwrap();
    let digest = sink.fill(K, b"newer");
    assert_eq!(sink.read("f"), b"old");
    sink.commit(K, digest).unwrap();
    assert_eq!(sink.read("f"), b"newer");
    fs::create_dir(sink.out().join("d")).unwrap();
    assert_eq!(
        code(sink.prepare(K, &file("d", 5), false)),
        ErrorCode::CONFLICT
    );
}

#[test]
fn a_name_taken_midway_follows_the_policy() {
    for (policy, expected) in [
        (OnConflict::Refuse, Err(ErrorCode::CONFLICT)),
        (OnConflict::Rename, Ok("f (1)")),
        (OnConflict::Overwrite, Ok("f")),
    ] {
        let mut sink = Sink::with(policy);
        sink.prepare(K, &file("f", 3), false).unwrap();
        let digest = sink.fill(K, b"new");
        fs::write(sink.out().join("f"), b"mid").unwrap();
        let result = sink.commit(K, digest);
        match expected {
            Err(expected) => {
                let failure = result.unwrap_err();
                assert_eq!(failure.code, expected);
                assert_eq!(
                    failure.message, "`f` was created meanwhile",
                    "nobody compared them"
                );
                assert_eq!(sink.read("f"), b"mid");
                assert_eq!(sink.tree(), [".xfer-part", "f"]);
            }
            Ok(name) => assert_eq!(sink.read(name), b"new"),
        }
    }
}

#[test]
fn of_two_files_with_one_name_the_first_wins() {
    // SPEC: R-commit-4
    for policy in [OnConflict::Refuse, OnConflict::Overwrite] {
        let mut sink = Sink::with(policy);
        sink.prepare(K, &file("f", 4), false).unwrap();
        assert_eq!(
            code(sink.prepare(L, &file("f", 3), false)),
            ErrorCode::CONFLICT
        );
        sink.store().forget(SessionId(1));
        sink.receive(L, "f", b"two").unwrap();
        assert_eq!(sink.read("f"), b"two");
    }
}

#[test]
fn of_two_entries_with_one_name_the_first_wins() {
    // SPEC: R-commit-4
    const SECOND: (u64, u32) = (1, 1);
    for policy in [OnConflict::Refuse, OnConflict::Overwrite] {
        let mut sink = Sink::with(policy);
        let content = data(2 * LEAF_SIZE as usize);
        let entry = file("f", content.len() as u64);
        sink.prepare(K, &entry, false).unwrap();
        let digest = sink.fill(K, &content);
        let below = [file("f/x", 1), file("f/d/x", 1)];
        let directories = [directory("f"), directory("f/d")];
        for second in [entry].iter().chain(&below).chain(&directories) {
            for key in [SECOND, L] {
                if key == L && second.name == Name::new("f").unwrap() && second.size > 0 {
                    continue; // Another session goes on with it.
                }
                let failure = sink.prepare(key, second, false).unwrap_err();
                assert_eq!(failure.code, ErrorCode::CONFLICT);
                assert!(failure.message.starts_with("`f` is being received already"));
            }
        }
        sink.prepare(SECOND, &file("f2", 3), false).unwrap();
        sink.commit(K, digest).unwrap();
        assert_eq!(sink.read("f"), content);
    }
}

#[test]
fn under_rename_two_entries_with_one_name_both_arrive() {
    let mut sink = Sink::with(OnConflict::Rename);
    let content = data(2 * LEAF_SIZE as usize);
    let entry = file("f", content.len() as u64);
    let keys = [(1, 0), (1, 1)];
    for key in keys {
        sink.prepare(key, &entry, false).unwrap();
    }
    let digests = keys.map(|key| sink.fill(key, &content));
    for (key, digest) in keys.into_iter().zip(digests) {
        sink.commit(key, digest).unwrap();
    }
    assert_eq!(sink.tree(), [".xfer-part", "f", "f (1)"]);
}

#[test]
fn a_newer_session_of_the_same_file_goes_on_with_it() {
    // SPEC: R-commit-4
    for policy in [
        OnConflict::Refuse,
        OnConflict::Rename,
        OnConflict::Overwrite,
    ] {
        let mut sink = Sink::with(policy);
        let content = data(3 * LEAF_SIZE as usize);
        let entry = file("f", content.len() as u64);
        sink.prepare(K, &entry, false).unwrap();
        sink.write(K, 0, &content[..LEAF_SIZE as usize + 5])
            .unwrap();
        sink.hash(K, 0);
        sink.checkpoint(K, vec![leaf(&content, 0)]);
        let prepared = Prepared::Partial {
            leaves: vec![leaf(&content, 0)],
            is_same_source: true,
            is_unchanged: true,
        };
        assert_eq!(sink.prepare(L, &entry, false), Ok(prepared));
        // The older one has nothing any more, and what it does harms nobody.
        assert_eq!(code(sink.write(K, 0, b"late")), ErrorCode::CONFLICT);
        let digest = Digest(*blake3::hash(&content).as_bytes());
        assert_eq!(code(sink.commit(K, digest)), ErrorCode::CONFLICT);
        sink.discard(K, true);
        assert_eq!(sink.fill(L, &content), digest);
        sink.commit(L, digest).unwrap();
        assert_eq!(sink.tree(), [".xfer-part", "f"]);
        assert_eq!(sink.read("f"), content);
    }
}

#[test]
fn two_sources_with_one_name_both_arrive_under_rename() {
    let mut sink = Sink::with(OnConflict::Rename);
    let content = data(2 * LEAF_SIZE as usize);
    let entry = file("f", content.len() as u64);
    sink.prepare(K, &entry, false).unwrap();
    let other = Entry {
        identity: Some(2),
        ..entry
    };
    sink.prepare(L, &other, false).unwrap();
    let digest = sink.fill(L, &content);
    assert_eq!(sink.fill(K, &content), digest);
    sink.commit(L, digest).unwrap();
    sink.commit(K, digest).unwrap();
    assert_eq!(sink.tree(), [".xfer-part", "f", "f (1)"]);
    assert_eq!(sink.read("f (1)"), content);
}

#[test]
fn a_file_where_a_directory_is_needed_is_a_conflict() {
    let mut sink = Sink::with(OnConflict::Overwrite);
    fs::write(sink.out().join("f"), b"old").unwrap();
    assert_eq!(
        code(sink.prepare(K, &file("f/x", 1), false)),
        ErrorCode::CONFLICT
    );
    assert_eq!(
        code(sink.prepare(K, &directory("f"), false)),
        ErrorCode::CONFLICT
    );
    assert_eq!(sink.read("f"), b"old");
}
