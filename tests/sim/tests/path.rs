//! A path that changes under a running session: what it carries, and the sender's address.

use std::rc::Rc;
use xfer_proto::config::SenderConfig;
use xfer_proto::manifest::{Entry, EntryKind, Name};
use xfer_sim::content::Content;
use xfer_sim::host::{ReceiverSpec, SenderSpec};
use xfer_sim::network::{LinkChange, LinkConfig};
use xfer_sim::queue::{MILLISECOND, Nanos, SECOND};
use xfer_sim::storage::Latency;
use xfer_sim::world::{Fault, FaultKind, Outcome, Scenario, When, World};

/// A path that silently carries less is used again after so long.
const MAX_BLACK_HOLE: Nanos = 3 * SECOND;

const MAX_SIZE: u64 = 40 << 20;

/// A way there and back.
#[derive(Clone, Copy, Debug)]
struct Way {
    rate: u64,
    rtt: Nanos,
    loss_ppm: u32,
    max_datagram: usize,
}

const WAYS: [Way; 4] = [
    Way {
        rate: 100_000_000,
        rtt: 20 * MILLISECOND,
        loss_ppm: 0,
        max_datagram: 8_952,
    },
    Way {
        rate: 100_000_000,
        rtt: 100 * MILLISECOND,
        loss_ppm: 20_000,
        max_datagram: 1_472,
    },
    Way {
        rate: 10_000_000,
        rtt: 200 * MILLISECOND,
        loss_ppm: 50_000,
        max_datagram: 1_472,
    },
    Way {
        rate: 1_000_000_000,
        rtt: MILLISECOND,
        loss_ppm: 0,
        max_datagram: 1_452,
    },
];

impl Way {
    fn link(&self) -> LinkConfig {
        let bdp = self.rate / 8 * self.rtt / SECOND;
        LinkConfig {
            rate: self.rate,
            queue_limit: bdp.max(100_000),
            delay: self.rtt / 2,
            loss_ppm: self.loss_ppm,
            overhead: 42,
            ..LinkConfig::default()
        }
    }

    /// What takes the link `time` at its full rate; on a fast one less, for the test's sake.
    fn bytes(&self, time: Nanos) -> u64 {
        (self.rate / 8 * time / SECOND).min(MAX_SIZE)
    }

    /// One file of so many bytes, one try, with these changes on the way there and these faults.
    fn run(&self, size: u64, changes: Vec<LinkChange>, faults: Vec<Fault>) -> Outcome {
        let forward = LinkConfig {
            changes,
            ..self.link()
        };
        self.run_over(forward, size, faults)
    }

    fn run_over(&self, forward: LinkConfig, size: u64, faults: Vec<Fault>) -> Outcome {
        let content = Content::new(3, size, false);
        World::new(Scenario {
            seed: 11,
            links: vec![forward, self.link()],
            receiver: ReceiverSpec::default(),
            senders: vec![SenderSpec {
                start: 0,
                manifest: vec![Entry {
                    name: Name::new("file").unwrap(),
                    kind: EntryKind::File,
                    size,
                    modified: None,
                    mode: None,
                    identity: None,
                }],
                files: Rc::new(vec![content]),
                is_evil: false,
                config: SenderConfig {
                    max_datagram: self.max_datagram,
                    ..SenderConfig::default()
                },
                forward: 0,
                ingress: None,
                reverse: 1,
                extra_delay: 0,
                max_segments: 64,
                latency: Latency::default(),
                failures: Vec::new(),
                max_attempts: 1,
                retry_after: SECOND,
                timer_slack: 0,
            }],
            faults,
            must_succeed: true,
            deadline: 3_000 * SECOND,
            ..Scenario::default()
        })
        .run()
    }
}

fn ended(outcome: &Outcome) -> Nanos {
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    outcome.senders[0][0].ended.unwrap()
}

#[test]
fn a_black_hole_that_opens_midway_costs_seconds_and_not_the_transfer() {
    // SPEC: R-black-hole-1, R-black-hole-2
    for way in WAYS {
        let size = way.bytes(4 * SECOND);
        let plain = ended(&way.run(size, Vec::new(), Vec::new()));
        for mtu in [1_200, 1_280, 1_400] {
            let change = LinkChange {
                at: plain / 2,
                mtu: Some(mtu),
                ..LinkChange::default()
            };
            let outcome = way.run(size, vec![change], Vec::new());
            let took = ended(&outcome);
            assert!(outcome.links[0].dropped_mtu > 0, "{way:?} {mtu}");
            // Beside the hole itself: the second half in parts, which cost a little, and from which
            // the loss of one repeats the others.
            let allowed = plain + plain / 4 + MAX_BLACK_HOLE;
            assert!(took <= allowed, "{way:?} {mtu}: {took} after {plain}");
        }
    }
}

#[test]
fn a_black_hole_on_a_slow_path_is_found_while_the_window_is_still_being_filled() {
    // SPEC: R-probes-1
    let way = WAYS[2];
    let size = way.bytes(4 * SECOND);
    let plain = ended(&way.run(size, Vec::new(), Vec::new()));
    let change = LinkChange {
        at: plain / 4,
        mtu: Some(1_200),
        ..LinkChange::default()
    };
    // Filling the window at a rate that silence halves takes longer each time: 13 s in all.
    let took = ended(&way.run(size, vec![change], Vec::new()));
    assert!(took <= plain + 6 * SECOND, "{took} after {plain}");
}

#[test]
fn loss_alone_is_no_black_hole() {
    for loss_ppm in [100_000, 300_000] {
        let way = Way {
            loss_ppm,
            ..WAYS[1]
        };
        let outcome = way.run(way.bytes(SECOND), Vec::new(), Vec::new());
        ended(&outcome);
        // The largest probe may be lost, too; parts would be smaller than all of them.
        let size = outcome.senders[0][0].stats.packet_size;
        assert!(size >= 1_200, "{loss_ppm}: {size}");
    }
}

#[test]
fn a_black_out_is_no_black_hole() {
    let way = WAYS[1];
    let lost = |at, loss_ppm| LinkChange {
        at,
        loss_ppm: Some(loss_ppm),
        ..LinkChange::default()
    };
    let changes = vec![lost(SECOND, 1_000_000), lost(3 * SECOND, 0)];
    let outcome = way.run(way.bytes(3 * SECOND), changes, Vec::new());
    ended(&outcome);
    assert_eq!(outcome.senders[0][0].stats.packet_size, 1_472);
}

#[test]
fn a_sender_whose_address_changes_goes_on() {
    // SPEC: R-address-2, R-address-4, R-address-5
    for way in WAYS {
        let size = way.bytes(4 * SECOND);
        let plain = ended(&way.run(size, Vec::new(), Vec::new()));
        let rebind = |at| Fault {
            when: When::At(at),
            node: 1,
            kind: FaultKind::Rebind,
        };
        let faults = vec![rebind(plain / 3), rebind(plain / 3 * 2)];
        let took = ended(&way.run(size, Vec::new(), faults));
        let silence = 3 * SECOND;
        assert!(
            took < plain * 2 + 2 * silence,
            "{way:?}: {took} after {plain}"
        );
    }
}

#[test]
fn a_sweep_of_repairs_over_a_path_that_got_slow_is_progress() {
    // SPEC: R-progress-4
    let way = Way {
        rate: 100_000_000,
        rtt: 200 * MILLISECOND,
        loss_ppm: 1_000,
        max_datagram: 1_472,
    };
    let change = LinkChange {
        at: SECOND,
        rate: Some(300_000),
        loss_ppm: Some(50_000),
        ..LinkChange::default()
    };
    // What is in flight by then is lost for the most part, and takes minutes at the new rate.
    let forward = LinkConfig {
        changes: vec![change],
        queue_limit: 64_000,
        ..way.link()
    };
    let took = ended(&way.run_over(forward, MAX_SIZE, Vec::new()));
    assert!(took > 300 * SECOND, "{took}");
}
