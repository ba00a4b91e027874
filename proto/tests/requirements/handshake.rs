//! How a sender gets in: its waits, and tokens that are not taken.

use crate::sender_bench::{Bench, TOKEN};
use std::collections::BTreeSet;
use std::time::Duration;
use xfer_proto::config::SenderConfig;
use xfer_proto::wire::header::Kind;

const MS: Duration = Duration::from_millis(1);

/// Milliseconds from one round of probes to the next, for the first rounds of a sender.
fn waits(seed: u64) -> Vec<u32> {
    let config = SenderConfig {
        seed,
        ..SenderConfig::default()
    };
    let mut bench = Bench::start_with(config, &[5_000], "");
    let mut waits = Vec::new();
    let mut waited = 0;
    while waits.len() < 4 {
        let before = bench.sizes.len();
        bench.wait(MS);
        waited += 1;
        if bench.sizes.len() > before {
            waits.push(waited);
            waited = 0;
        }
    }
    waits
}

#[test]
fn a_crowd_that_starts_together_does_not_come_back_together() {
    // SPEC: R-handshake-12
    let mut firsts = BTreeSet::new();
    for seed in 0..64 {
        let waits_of_seed = waits(seed);
        assert_eq!(waits_of_seed, waits(seed), "the seed decides");
        for (wait, middle) in waits_of_seed.iter().zip([300, 600, 1_200, 2_000]) {
            let range = middle * 3 / 4..=middle * 5 / 4 + 1;
            assert!(range.contains(wait), "{wait} of {middle}");
        }
        firsts.insert(waits_of_seed[0]);
    }
    assert!(firsts.len() > 32, "{firsts:?}");
    assert!(firsts.first() < Some(&240) && firsts.last() > Some(&360));
}

#[test]
fn a_token_that_is_refused_gives_way_to_a_newer_one() {
    // SPEC: R-handshake-8
    let mut bench = Bench::start(&[1 << 20]);
    bench.wait(MS * 10);
    bench.retry(TOKEN, 1_200);
    let hellos = |bench: &Bench| {
        let all = bench.seen.headers.iter();
        all.filter(|header| header.kind == Kind::Hello).count()
    };
    // The answers to both copies of the `Hello` come a round trip later, like those to late probes.
    bench.wait(MS * 10);
    let before = hellos(&bench);
    bench.retry(b"newer", 1_200);
    bench.retry(b"newest", 1_200);
    assert_eq!(hellos(&bench), before, "not sooner than its time");
    bench.seen.tokens.clear();
    bench.wait(MS * 80);
    assert!(!bench.seen.tokens.is_empty());
    assert!(bench.seen.tokens.iter().all(|token| token == b"newest"));
    // What was repeated is answered at once, once for each round trip.
    let before = hellos(&bench);
    bench.wait(MS * 10);
    bench.retry(b"latest", 1_200);
    bench.retry(b"last", 1_200);
    assert_eq!(hellos(&bench), before + 2);
    assert_eq!(bench.seen.tokens.last().unwrap(), b"latest");
}
