//! Frames and their lists of runs.

use super::*;

proptest! {
    #[test]
    fn every_frame_comes_back(
        material in material(), report in report(), failure in prop::option::of(failure()),
    ) {
        for frame in every_frame(&material, &report, &failure) {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let mut rest = bytes.as_slice();
            let (kind, body) = tlv::split(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            let decoded = Frame::decode(kind, body).unwrap();
            prop_assert_eq!(decoded, Some(frame));
        }
    }

    #[test]
    fn a_frame_cut_or_prolonged_is_malformed(
        material in material(), report in report(), failure in prop::option::of(failure()),
    ) {
        for frame in every_frame(&material, &report, &failure) {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let (kind, body) = (bytes[0], content(&bytes));
            let malformed = Err(DecodeError::Malformed(kind));
            for len in 0..body.len() {
                prop_assert_eq!(Frame::decode(kind, &body[..len]), malformed.clone());
            }
            let longer = [body, &[0]].concat();
            prop_assert_eq!(Frame::decode(kind, &longer), malformed);
        }
    }

    #[test]
    fn what_is_read_of_a_frame_is_what_was_written(
        kind in 0_u8..0x80, body in list(any::<u8>(), 0..64),
    ) {
        if let Ok(Some(frame)) = Frame::decode(kind, &body) {
            let mut again = Vec::new();
            frame.encode(&mut again);
            prop_assert_eq!((again[0], content(&again)), (kind, body.as_slice()));
        }
    }

    #[test]
    fn ranges_are_what_the_runs_say(
        runs in list((1_u64..50, 1_u64..50), 0..20), start in number(), slack in 0_u64..10,
    ) {
        let runs: Vec<_> = runs.into_iter().map(|(gap, run)| GapRun { gap, run }).collect();
        let length: u64 = runs.iter().map(|run| run.gap + run.run).sum();
        let Some(end) = start.checked_add(length) else {
            prop_assert_eq!(ranges(&runs, start, u64::MAX), None);
            return Ok(());
        };
        let found = ranges(&runs, start, end.saturating_add(slack)).unwrap();
        prop_assert_eq!(found.len(), runs.len());
        let mut at = start;
        for (range, run) in found.iter().zip(&runs) {
            prop_assert_eq!(range.start, at + run.gap);
            prop_assert_eq!(range.end - range.start, run.run);
            at = range.end;
        }
        if end > start {
            prop_assert_eq!(ranges(&runs, start, end - 1), None);
        }
    }

    #[test]
    fn wild_runs_overflow_nothing(runs in gap_runs(), start in number(), end in number()) {
        if let Some(found) = ranges(&runs, start, end) {
            prop_assert!(found.iter().all(|range| start <= range.start && range.end <= end));
            prop_assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}

#[test]
fn malformed_lists_of_runs_are_refused() {
    let run = |gap, run| GapRun { gap, run };
    assert_eq!(ranges(&[], 5, 5), Some(vec![]));
    assert_eq!(ranges(&[], 6, 5), None, "it starts behind its end");
    assert_eq!(
        ranges(&[run(0, 1)], 0, 1),
        Some(core::iter::once(0..1).collect())
    );
    assert_eq!(ranges(&[run(0, 0)], 0, 9), None, "an empty run");
    assert_eq!(
        ranges(&[run(3, 0)], 0, 9),
        None,
        "an empty run behind a gap"
    );
    assert_eq!(
        ranges(&[run(0, 1), run(0, 1)], 0, 9),
        None,
        "runs that touch"
    );
    assert_eq!(
        ranges(&[run(0, 1), run(1, 1)], 0, 9),
        Some(vec![0..1, 2..3])
    );
    assert_eq!(ranges(&[run(0, 2)], 0, 1), None, "beyond the end");
    assert_eq!(ranges(&[run(u64::MAX, 1)], 0, u64::MAX), None);
    assert_eq!(ranges(&[run(1, u64::MAX)], 0, u64::MAX), None);
    assert_eq!(ranges(&[run(1, 1)], u64::MAX, u64::MAX), None);
    let all = ranges(&[run(0, u64::MAX)], 0, u64::MAX);
    assert_eq!(all, Some(core::iter::once(0..u64::MAX).collect()));
}

#[test]
fn overlong_numbers_are_malformed() {
    let ping = Frame::Ping(Ping {
        sent_end: 300,
        interval_us: 7,
    });
    let ack = Frame::Ack(Ack {
        largest: 1 << 40,
        delay_us: 0,
        blocks: BlockAck {
            next: 1,
            end: 128,
            missing: vec![GapRun { gap: 0, run: 3 }],
        },
    });
    let report = Frame::Report(Report {
        largest: u64::MAX,
        missing: vec![GapRun { gap: 127, run: 128 }],
        ..Report::default()
    });
    let close = Frame::Close(Close {
        failure: Some(ErrorCode::BUSY.into()),
    });
    for frame in [ping, ack, report, close] {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let kind = bytes[0];
        let mut tried = 0;
        for long in overlong(content(&bytes)) {
            let decoded = Frame::decode(kind, &long);
            assert_eq!(decoded, Err(DecodeError::Malformed(kind)), "{long:?}");
            tried += 1;
        }
        assert!(tried >= 2);
    }
}

#[test]
fn unknown_frames_are_skipped_only_where_they_may_be() {
    for kind in 0x08..0x80 {
        assert_eq!(Frame::decode(kind, b"x"), Err(DecodeError::Unknown(kind)));
    }
    for kind in 0x80..=0xff {
        assert_eq!(Frame::decode(kind, b"x"), Ok(None));
    }
    assert_eq!(Frame::decode(Frame::PADDING, &[0; 9]), Ok(None));
    let marked = Frame::decode(Frame::PADDING, &[0, 1]);
    assert_eq!(marked, Err(DecodeError::Malformed(Frame::PADDING)));
}

#[test]
fn a_failure_with_more_words_than_allowed_is_malformed() {
    let close = |len: usize| {
        let failure = Failure {
            code: ErrorCode::QUOTA,
            message: "m".repeat(len),
        };
        let mut bytes = Vec::new();
        let frame = Frame::Close(Close {
            failure: Some(failure),
        });
        frame.encode(&mut bytes);
        Frame::decode(bytes[0], content(&bytes)).is_ok()
    };
    assert!(close(MAX_MESSAGE));
    assert!(!close(MAX_MESSAGE + 1));
}
