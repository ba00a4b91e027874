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
    assert_eq!(code(sink.prepare(L, &second, false)), ErrorCode::NO_SPACE);
    // Also when the system, which knows nothing of promises, is asked again.
    sink.store().budget.forget_space();
    assert_eq!(code(sink.prepare(L, &second, false)), ErrorCode::NO_SPACE);
    sink.discard(K, false);
    sink.store().budget.forget_space();
    sink.prepare(L, &second, false).unwrap();
}
