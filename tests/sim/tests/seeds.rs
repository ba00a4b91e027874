//! The engine pair under random schedules.

use xfer_sim::schedule::{Profile, run};

/// Seeds that once showed a fault: profile, seed, what it was. They stay for ever.
const REGRESSIONS: &[(Profile, u64, &str)] = &[
    (
        Profile::Full,
        194,
        "a copy of a chunk whose file had come to an end was read for ever",
    ),
    (
        Profile::Full,
        3366,
        "copies were read again each, from leaf after leaf",
    ),
    (
        Profile::Full,
        35_189,
        "a queue shorter than a chunk dropped the same parts of it for ever",
    ),
    (
        Profile::Full,
        44_693,
        "a part filled a block, whose write was never asked for, and the session stayed",
    ),
    (
        Profile::Full,
        81_894,
        "what had come damaged before a resume was written over verified leaves",
    ),
    (
        Profile::Full,
        162_326,
        "a packet larger than a batch was alone in flight, whatever the window",
    ),
    (
        Profile::Full,
        5_446_842,
        "the judge did not wait for a receiver that started again after its senders had given up",
    ),
    (
        Profile::Full,
        6_237_068,
        "chunks were recovered from a kept leaf whose content was another",
    ),
    (
        Profile::Evil,
        304,
        "the message that others waited for was refused for want of memory",
    ),
    (
        Profile::Evil,
        706_661,
        "a session that trickled was excused by the writes that it caused",
    ),
];

fn check(profile: Profile, seed: u64, why: &str) {
    let outcome = run(seed, profile, false);
    assert!(
        outcome.violations.is_empty(),
        "{profile:?} seed {seed} {why}: {:?}",
        outcome.violations
    );
}

#[test]
fn the_same_seed_makes_the_same_run() {
    for seed in 0..42 {
        let profile = match seed % 3 {
            0 => Profile::Quick,
            1 => Profile::Full,
            _ => Profile::Evil,
        };
        let (one, two) = (run(seed, profile, false), run(seed, profile, true));
        assert_eq!(one.trace_hash, two.trace_hash, "seed {seed}");
        assert_eq!(one.events, two.events, "seed {seed}");
        assert_eq!(one.finished_at, two.finished_at, "seed {seed}");
    }
}

#[test]
fn what_once_failed_works() {
    for &(profile, seed, why) in REGRESSIONS {
        check(profile, seed, why);
    }
}

#[test]
fn a_bad_network_does_no_harm() {
    (0..250).for_each(|seed| check(Profile::Quick, seed, ""));
}

#[test]
fn bad_storage_and_crashes_do_no_harm() {
    // SPEC: R-commit-1, R-commit-2
    (0..250).for_each(|seed| check(Profile::Full, seed, ""));
}

#[test]
fn a_liar_does_no_harm_to_others() {
    (0..100).for_each(|seed| check(Profile::Evil, seed, ""));
}
