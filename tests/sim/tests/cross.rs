//! The models of competing senders: known figures of the real ones, roughly.

use xfer_sim::cross::{CrossKind, CrossSpec};
use xfer_sim::network::LinkConfig;
use xfer_sim::queue::{MILLISECOND, Nanos, SECOND};
use xfer_sim::world::{Scenario, World};

const RATE: u64 = 50_000_000;

fn flow(kind: CrossKind, start: Nanos) -> CrossSpec {
    CrossSpec {
        kind,
        start,
        stop: Nanos::MAX,
        link: 0,
        extra_delay: 0,
        return_delay: 20 * MILLISECOND,
    }
}

/// Shares of the link that each flow got from 10 s to 40 s, on 50 Mbit/s and 40 ms.
fn shares(loss_ppm: u32, queue_bdp: f64, flows: &[CrossSpec]) -> Vec<f64> {
    let mut world = World::new(Scenario {
        seed: 5,
        links: vec![LinkConfig {
            rate: RATE,
            queue_limit: (250_000.0 * queue_bdp) as u64,
            delay: 20 * MILLISECOND,
            loss_ppm,
            ..LinkConfig::default()
        }],
        cross: flows.to_vec(),
        ..Scenario::default()
    });
    let bytes = |world: &World| -> Vec<u64> {
        let count = 0..flows.len();
        count
            .filter_map(|at| world.cross(at).map(|cross| cross.delivered_bytes()))
            .collect()
    };
    world.run_until(10 * SECOND);
    let before = bytes(&world);
    world.run_until(40 * SECOND);
    let possible = RATE as f64 / 8.0 * 30.0;
    let both = before.iter().zip(bytes(&world));
    both.map(|(before, after)| (after - before) as f64 / possible)
        .collect()
}

#[test]
fn cubic_fills_a_clean_link_and_collapses_under_loss() {
    let clean = shares(0, 1.0, &[flow(CrossKind::Cubic, 0)]);
    assert!(clean[0] > 0.95, "{clean:?}");
    let lossy = shares(10_000, 1.0, &[flow(CrossKind::Cubic, 0)]);
    assert!(lossy[0] < 0.2, "{lossy:?}");
}

#[test]
fn bbr_fills_a_link_with_loss_too() {
    let clean = shares(0, 1.0, &[flow(CrossKind::Bbr, 0)]);
    assert!(clean[0] > 0.9, "{clean:?}");
    let lossy = shares(50_000, 1.0, &[flow(CrossKind::Bbr, 0)]);
    assert!(lossy[0] > 0.8, "{lossy:?}");
}

#[test]
fn equals_share_and_bbr_takes_more_than_cubic_in_a_shallow_buffer() {
    let two = [
        flow(CrossKind::Cubic, 0),
        flow(CrossKind::Cubic, SECOND / 2),
    ];
    let equal = shares(0, 1.0, &two);
    assert!(equal.iter().all(|&share| share > 0.25), "{equal:?}");
    let mixed = [flow(CrossKind::Cubic, 0), flow(CrossKind::Bbr, SECOND / 2)];
    let mixed = shares(0, 0.5, &mixed);
    assert!(mixed[1] > 0.5 && mixed[0] > 0.02, "{mixed:?}");
}
