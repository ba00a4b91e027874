//! Many sessions that share little memory.

use std::rc::Rc;
use xfer_proto::config::{MAX_DATAGRAM, ReceiverConfig, SenderConfig};
use xfer_proto::manifest::{Entry, EntryKind, Name};
use xfer_proto::memory::{GUARANTEE, MemoryPool};
use xfer_sim::content::Content;
use xfer_sim::host::{ReceiverSpec, SenderSpec};
use xfer_sim::network::LinkConfig;
use xfer_sim::queue::{MILLISECOND, SECOND};
use xfer_sim::storage::Latency;
use xfer_sim::world::{Outcome, Scenario, World};

const SIZE: u64 = 1 << 20;

fn sender(at: u64, max_datagram: usize) -> SenderSpec {
    let entry = Entry {
        name: Name::new(format!("file-{at}")).unwrap(),
        kind: EntryKind::File,
        size: SIZE,
        modified: None,
        mode: None,
        identity: None,
    };
    SenderSpec {
        start: 0,
        manifest: vec![entry],
        files: Rc::new(vec![Content::new(at, SIZE, false)]),
        config: SenderConfig {
            max_datagram,
            ..SenderConfig::default()
        },
        forward: 0,
        ingress: None,
        is_evil: false,
        reverse: 1,
        extra_delay: 0,
        max_segments: 64,
        latency: Latency::default(),
        failures: Vec::new(),
        max_attempts: 1,
        retry_after: SECOND,
        timer_slack: 0,
    }
}

/// So many senders at once to a receiver with a pool of `pool` bytes.
fn crowd(senders: u64, pool: u64, max_datagram: usize, loss_ppm: u32) -> Outcome {
    let memory = MemoryPool::new(pool);
    let link = LinkConfig {
        delay: 100_000,
        loss_ppm,
        ..LinkConfig::default()
    };
    let world = World::new(Scenario {
        seed: senders,
        links: vec![link.clone(), link],
        receiver: ReceiverSpec {
            config: ReceiverConfig {
                memory: memory.clone(),
                ..ReceiverConfig::default()
            },
            latency: Latency {
                base: MILLISECOND / 10,
                ..Latency::default()
            },
            ..ReceiverSpec::default()
        },
        senders: (0..senders).map(|at| sender(at, max_datagram)).collect(),
        deadline: 60 * SECOND,
        must_succeed: true,
        ..Scenario::default()
    });
    let outcome = world.run();
    assert_eq!(memory.held(), 0, "everything was given back");
    outcome
}

#[test]
fn what_is_guaranteed_is_enough_to_go_on_with() {
    for (datagram, loss) in [(1_200, 0), (MAX_DATAGRAM, 0), (MAX_DATAGRAM, 50_000)] {
        let outcome = crowd(1, 0, datagram, loss);
        assert_eq!(outcome.violations, [""; 0], "{datagram} bytes, {loss}");
        assert!(outcome.receiver.peak_bytes <= GUARANTEE);
        let seconds = outcome.finished_at as f64 / 1e9;
        assert!(seconds < 5.0, "{datagram} bytes, {loss}: {seconds} s");
    }
}

#[test]
fn a_crowd_shares_the_memory() {
    let (senders, pool) = (20, 256 << 10);
    let outcome = crowd(senders, pool, MAX_DATAGRAM, 1_000);
    assert_eq!(outcome.violations, [""; 0]);
    let most = pool + senders * GUARANTEE;
    assert!(outcome.receiver.peak_bytes <= most);
}
