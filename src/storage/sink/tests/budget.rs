//! What is promised to one session is not promised to another.

use super::*;

const K: (u64, u32) = (1, 0);
const L: (u64, u32) = (2, 0);

fn limited(bytes: u64) -> Sink {
    let mut sink = Sink::new();
    sink.store().limit_total(bytes);
    sink
}

#[test]
fn the_total_holds_over_all_sessions() {
    let mut sink = limited(10);
    sink.receive(K, "a", b"four").unwrap();
    sink.prepare(L, &file("b", 4), false).unwrap();
    assert_eq!(
        code(sink.prepare((3, 0), &file("c", 3), false)),
        ErrorCode::QUOTA
    );
    sink.receive((3, 1), "d", b"ok").unwrap();
    // What fails gives its share back, what is committed does not.
    sink.discard(L, false);
    sink.receive((4, 0), "e", b"four").unwrap();
    assert_eq!(
        code(sink.prepare((5, 0), &file("f", 1), false)),
        ErrorCode::QUOTA
    );
    assert_eq!(
        sink.prepare((5, 1), &file("a", 4), false),
        Ok(Prepared::Existing)
    );
}

#[test]
fn a_session_that_goes_away_gives_its_share_back() {
    let mut sink = limited(10);
    sink.prepare(K, &file("a", 10), false).unwrap();
    sink.write(K, 0, b"12345").unwrap();
    sink.store().forget(SessionId(1));
    sink.receive(L, "b", b"0123456789").unwrap();
}

const LEAF: usize = LEAF_SIZE as usize;

/// Receives one leaf of a file of `leaves` and goes away.
fn leave(sink: &mut Sink, session: u64, name: &str, leaves: usize) -> Result<Prepared, ErrorCode> {
    let content = data(leaves * LEAF);
    let entry = file(name, content.len() as u64);
    let prepared = sink.prepare((session, 0), &entry, false);
    let prepared = prepared.map_err(|failure| failure.code)?;
    sink.write((session, 0), 0, &content[..LEAF]).unwrap();
    sink.hash((session, 0), 0);
    sink.checkpoint((session, 0), vec![leaf(&content, 0)]);
    sink.store().forget(SessionId(session));
    Ok(prepared)
}

#[test]
fn partial_files_that_stay_count_as_far_as_they_go() {
    let mut sink = limited(5 * LEAF as u64 + LEAF as u64 / 2);
    for (session, name) in (0..3).zip(["a", "b", "c"]) {
        assert_eq!(leave(&mut sink, session, name, 3), Ok(Prepared::Fresh));
    }
    // Three leaves are on the disk: a file of three has no room.
    let failure = sink.prepare(K, &file("d", 3 * LEAF as u64), false);
    let failure = failure.unwrap_err();
    assert_eq!(failure.code, ErrorCode::QUOTA);
    assert!(failure.message.contains(".xfer-part"), "{failure:?}");
    // To go on with one of them costs what is missing of it.
    let resumed = leave(&mut sink, 4, "b", 3);
    assert!(matches!(resumed, Ok(Prepared::Partial { .. })));
    let content = data(3 * LEAF);
    sink.prepare(K, &file("b", 3 * LEAF as u64), false).unwrap();
    let digest = sink.fill(K, &content);
    sink.commit(K, digest).unwrap();
    assert_eq!(leave(&mut sink, 5, "e", 2), Err(ErrorCode::QUOTA));
    // What somebody has removed does not count.
    fs::remove_dir_all(sink.out().join(".xfer-part")).unwrap();
    sink.store().budget.forget_space();
    sink.prepare(L, &file("e", 2 * LEAF as u64), false).unwrap();
}

#[test]
fn what_earlier_runs_left_does_not_count() {
    let mut sink = Sink::new();
    leave(&mut sink, 1, "a", 3).unwrap();
    sink.reopen_as(OnConflict::Refuse);
    sink.store().limit_total(3 * LEAF as u64);
    sink.prepare(K, &file("b", 3 * LEAF as u64), false).unwrap();
    sink.discard(K, false);
    assert!(matches!(
        leave(&mut sink, 2, "a", 3),
        Ok(Prepared::Partial { .. })
    ));
    // What this run goes on with is this run's.
    let b = file("b", 3 * LEAF as u64);
    assert_eq!(code(sink.prepare(K, &b, false)), ErrorCode::QUOTA);
}

#[test]
fn the_same_file_in_two_sessions_counts_once() {
    let mut sink = limited(10);
    sink.prepare(K, &file("a", 10), false).unwrap();
    sink.receive(L, "a", b"0123456789").unwrap();
}

#[test]
fn promised_space_stays_promised() {
    let mut sink = Sink::new();
    let (free, total) = Dir::open_path(&sink.out()).unwrap().space().unwrap();
    // Others use the disk, too: a margin that no test run fills.
    let margin = total / 16;
    let Some(most) = free
        .checked_sub(2 * margin)
        .filter(|most| *most > 2 * margin)
    else {
        return;
    };
    sink.prepare(K, &file("a", most), false).unwrap();
    let second = file("b", 4 * margin);
    let failure = sink.prepare(L, &second, false).unwrap_err();
    assert_eq!(failure.code, ErrorCode::NO_SPACE);
    // The disk is not full, and the text does not say so.
    let promised = format!("free, {most} of them promised");
    assert!(failure.message.contains(&promised), "{failure:?}");
    // Also when the system, which knows nothing of promises, is asked again.
    sink.store().budget.forget_space();
    assert_eq!(code(sink.prepare(L, &second, false)), ErrorCode::NO_SPACE);
    sink.discard(K, false);
    sink.store().budget.forget_space();
    sink.prepare(L, &second, false).unwrap();
}
