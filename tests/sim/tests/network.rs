//! The network model itself: what goes in must come out as the settings say.

use std::net::SocketAddr;
use xfer_sim::network::{LinkChange, LinkConfig, Network, Policer};
use xfer_sim::queue::{Event, EventQueue, MILLISECOND, Nanos, SECOND};

/// Sends packets of `len` bytes at the given times; answers number and time of each that comes out.
fn run(config: LinkConfig, len: usize, times: &[Nanos]) -> (Vec<(u32, Nanos)>, Network) {
    let mut queue = EventQueue::default();
    let mut network = Network::new(vec![config], 7, &mut queue);
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut out = Vec::new();
    let mut sent = 0;
    loop {
        let next_send = times.get(sent).copied().unwrap_or(Nanos::MAX);
        let next_event = queue.next_at().unwrap_or(Nanos::MAX);
        if next_send == Nanos::MAX && next_event == Nanos::MAX {
            return (out, network);
        }
        if next_send < next_event {
            let id = network.allocate(address, address, 0);
            let packet = network.packet_mut(id);
            packet.len = len;
            packet.data.resize(len, 0);
            packet.cross = Some((0, sent as u32));
            network.send(next_send, 0, id, &mut queue);
            sent += 1;
            continue;
        }
        let Some((now, event)) = queue.pop() else {
            continue;
        };
        let arrived = match event {
            Event::Departure(link) => {
                network.on_departure(now, link, &mut queue);
                None
            }
            Event::LinkChange(link) => {
                network.on_link_change(now, link, &mut queue);
                None
            }
            Event::Arrival(link) => network.on_arrival(now, link, &mut queue),
            Event::Stray(_, packet) => Some(packet),
            other => panic!("{other:?}"),
        };
        if let Some(id) = arrived {
            let (_, number) = network.packet(id).cross.unwrap();
            out.push((number, now));
            network.release(id);
        }
    }
}

fn burst(count: usize) -> Vec<Nanos> {
    vec![0; count]
}

fn evenly(count: u64, gap: Nanos) -> Vec<Nanos> {
    (0..count).map(|at| at * gap).collect()
}

#[test]
fn a_packet_takes_its_time_on_the_wire_and_the_delay() {
    let config = LinkConfig {
        rate: 8_000_000,
        delay: 10 * MILLISECOND,
        overhead: 42,
        ..LinkConfig::default()
    };
    let (out, _) = run(config, 958, &burst(3));
    let expected = [11, 12, 13].map(|at| at * MILLISECOND);
    assert_eq!(out.iter().map(|it| it.1).collect::<Vec<_>>(), expected);
}

#[test]
fn the_queue_drops_what_does_not_fit() {
    let config = LinkConfig {
        rate: 8_000_000,
        queue_limit: 10_000,
        ..LinkConfig::default()
    };
    let (out, network) = run(config, 1_000, &burst(25));
    assert_eq!(out.len(), 10);
    assert_eq!(network.stats(0).dropped_queue, 15);
    assert_eq!(network.stats(0).queueing.max(), 9 * MILLISECOND);
    assert_eq!(network.stats(0).bytes_out, 10_000);
}

#[test]
fn random_loss_is_near_its_rate() {
    let config = LinkConfig {
        loss_ppm: 100_000,
        ..LinkConfig::default()
    };
    let (out, network) = run(config, 100, &evenly(100_000, 1_000));
    assert!((89_500..90_500).contains(&out.len()), "{}", out.len());
    let lost = network.stats(0).dropped_loss as usize;
    assert_eq!(lost + out.len(), 100_000);
}

#[test]
fn jitter_keeps_the_order_unless_it_may_not() {
    let mut config = LinkConfig {
        delay: MILLISECOND,
        jitter: 5 * MILLISECOND,
        ..LinkConfig::default()
    };
    let (out, _) = run(config.clone(), 100, &evenly(2_000, 100_000));
    assert!(out.windows(2).all(|pair| pair[0].0 < pair[1].0));
    config.jitter_reorders = true;
    let (out, _) = run(config, 100, &evenly(2_000, 100_000));
    let turned = out.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    assert!(turned > 500, "{turned}");
    for (number, at) in out {
        let delay = at - Nanos::from(number) * 100_000;
        assert!((MILLISECOND..=6 * MILLISECOND).contains(&delay));
    }
}

#[test]
fn reordering_duplication_and_damage_happen_as_often_as_set() {
    let config = LinkConfig {
        reorder_ppm: 10_000,
        reorder_delay: 5 * MILLISECOND,
        duplicate_ppm: 50_000,
        corrupt_ppm: 20_000,
        ..LinkConfig::default()
    };
    let (out, network) = run(config, 100, &evenly(100_000, 10_000));
    let stats = network.stats(0);
    assert!((4_700..5_300).contains(&stats.duplicated));
    assert!((1_800..2_200).contains(&stats.corrupted));
    assert_eq!(out.len() as u64, 100_000 + stats.duplicated);
    let turned = out.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    assert!((900..1_150).contains(&turned), "{turned}");
}

#[test]
fn black_holes_swallow_by_size_and_by_time() {
    let config = LinkConfig {
        mtu: 1_280,
        ..LinkConfig::default()
    };
    assert_eq!(run(config.clone(), 1_281, &burst(5)).0.len(), 0);
    assert_eq!(run(config, 1_280, &burst(5)).0.len(), 5);
    let config = LinkConfig {
        blackouts: vec![(10, 20), (30, 31)],
        ..LinkConfig::default()
    };
    let (out, network) = run(config, 10, &evenly(40, 1));
    assert_eq!(out.len(), 29);
    assert_eq!(network.stats(0).dropped_blackout, 11);
}

#[test]
fn a_change_of_the_rate_counts_for_what_is_queued() {
    // 100 packets of 1 ms each; after 50 ms the rate halves, then doubles back after 20 ms more.
    let change = |at, rate| LinkChange {
        at: at * MILLISECOND,
        rate: Some(rate),
        ..LinkChange::default()
    };
    let config = LinkConfig {
        rate: 8_000_000,
        changes: vec![change(50, 4_000_000), change(70, 8_000_000)],
        ..LinkConfig::default()
    };
    let (out, _) = run(config, 1_000, &burst(100));
    assert_eq!(out.len(), 100);
    assert_eq!(out[49].1, 50 * MILLISECOND);
    assert_eq!(out[59].1, 70 * MILLISECOND);
    assert_eq!(out[99].1, 110 * MILLISECOND);
}

#[test]
fn throughput_is_the_rate() {
    let config = LinkConfig {
        rate: 100_000_000,
        queue_limit: 100_000,
        delay: 5 * MILLISECOND,
        ..LinkConfig::default()
    };
    // Twice as much as fits, for a second.
    let (out, _) = run(config, 1_250, &evenly(20_000, 50_000));
    let until = SECOND + 5 * MILLISECOND;
    let arrived = out.iter().filter(|it| it.1 <= until).count();
    assert!((9_990..=10_000).contains(&arrived), "{arrived}");
}

#[test]
fn a_policer_lets_its_rate_pass_and_delays_nothing() {
    let config = LinkConfig {
        delay: MILLISECOND,
        policer: Some(Policer {
            rate: 8_000_000,
            burst: 10_000,
        }),
        ..LinkConfig::default()
    };
    // Twice as much as it lets pass, in packets of 1,000 bytes.
    let (out, network) = run(config, 1_000, &evenly(2_000, 500_000));
    assert!(out.iter().all(|(number, at)| {
        let sent = Nanos::from(*number) * 500_000;
        *at == sent + MILLISECOND
    }));
    let passed = out.len() as u64;
    assert_eq!(passed + network.stats(0).dropped_queue, 2_000);
    assert!((1_005..=1_015).contains(&passed), "{passed}");
}
