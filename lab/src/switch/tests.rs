//! The switch in virtual time: no devices, no root, no clock.

use super::*;
use std::time::Duration;

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER1: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BROADCAST: [u8; 6] = [0xff; 6];
const MULTICAST: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const SECOND: u64 = 1_000_000_000;

/// A frame of `len` bytes whose payload starts with `number`.
fn frame(to: [u8; 6], from: [u8; 6], number: u32, len: usize) -> Vec<u8> {
    let mut bytes = [&to[..], &from, &[8, 0], &number.to_be_bytes()].concat();
    bytes.resize(len, 0);
    bytes
}

/// Port, number and due time of everything that is delivered up to `now`.
fn deliveries(fabric: &mut Fabric, now: u64) -> Vec<(usize, u32, u64)> {
    let mut all = Vec::new();
    fabric.advance(now, |port, frame, due| {
        let number = frame[14..18].try_into().map(u32::from_be_bytes).unwrap();
        all.push((port, number, due));
    });
    all
}

/// A fabric of three ports that knows where `SERVER1` is (port 1).
fn fabric(profile: Profile, seed: u64) -> Fabric {
    let mut fabric = Fabric::new(vec![Profile::default(); 3], seed);
    fabric.ingress(0, 1, &frame(CLIENT, SERVER1, 0, 60));
    deliveries(&mut fabric, 0);
    for port in &mut fabric.ports {
        port.up.set_link(profile.up());
        port.down.set_link(profile.down());
        port.profile = profile.clone();
    }
    fabric
}

fn profile() -> Profile {
    Profile {
        rate: Some(100_000_000),
        delay: Duration::from_millis(50),
        queue: Some(1 << 30),
        ..Profile::default()
    }
}

#[test]
fn a_known_address_goes_to_its_port_alone_and_groups_to_all_others() {
    let mut fabric = fabric(Profile::default(), 1);
    fabric.ingress(0, 0, &frame(SERVER1, CLIENT, 1, 60));
    fabric.ingress(0, 0, &frame(BROADCAST, CLIENT, 2, 60));
    fabric.ingress(0, 0, &frame(MULTICAST, CLIENT, 3, 60));
    fabric.ingress(0, 2, &frame(CLIENT, BROADCAST, 4, 60));
    let delivered = deliveries(&mut fabric, 0);
    let mut ports: Vec<_> = delivered
        .iter()
        .map(|(port, number, _)| (*number, *port))
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 0)]);
}

#[test]
fn a_frame_for_the_port_it_came_from_is_filtered() {
    let mut fabric = fabric(Profile::default(), 1);
    fabric.ingress(0, 1, &frame(SERVER1, SERVER1, 1, 60));
    assert_eq!(deliveries(&mut fabric, SECOND), []);
}

#[test]
fn delay_is_half_a_round_trip_and_two_serialisations() {
    let mut fabric = fabric(profile(), 1);
    fabric.ingress(0, 0, &frame(SERVER1, CLIENT, 7, 1250));
    // 1250 bytes take 100 us at 100 Mbit/s.
    assert_eq!(fabric.deadline(), Some(100_000));
    assert_eq!(deliveries(&mut fabric, 25_199_999), []);
    assert_eq!(deliveries(&mut fabric, SECOND), [(1, 7, 25_200_000)]);
}

#[test]
fn the_rate_holds_though_the_driver_comes_late() {
    let mut fabric = fabric(profile(), 1);
    for number in 0..1000 {
        fabric.ingress(0, 0, &frame(SERVER1, CLIENT, number, 1250));
    }
    let all = deliveries(&mut fabric, SECOND);
    assert_eq!(all.len(), 1000);
    assert_eq!(all[999].2 - all[0].2, 999 * 100_000);
    assert!(all.iter().map(|(_, number, _)| *number).eq(0..1000));
}

#[test]
fn the_queue_is_drop_tail_and_counted_in_bytes() {
    let mut fabric = fabric(
        Profile {
            queue: Some(3000),
            ..profile()
        },
        1,
    );
    for number in 0..10 {
        fabric.ingress(0, 0, &frame(SERVER1, CLIENT, number, 1000));
    }
    assert_eq!(fabric.waiting_bytes(0), (3000, 0));
    // One is on the wire and three wait.
    let numbers: Vec<_> = deliveries(&mut fabric, SECOND)
        .iter()
        .map(|(_, n, _)| *n)
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let up = fabric.stats(0).up;
    assert_eq!((up.frames_in, up.frames_out, up.dropped_queue), (10, 4, 6));
    assert_eq!(up.queue_peak_bytes, 3000);
}

#[test]
fn a_new_rate_serves_what_waits() {
    let mut fabric = fabric(profile(), 1);
    for number in 0..3 {
        fabric.ingress(0, 0, &frame(SERVER1, CLIENT, number, 1250));
    }
    let slow = Change {
        rate: Some(Some(10_000_000)),
        ..Change::default()
    };
    fabric.change(0, 0, &slow);
    let all = deliveries(&mut fabric, SECOND);
    // The first was on the wire already; the second takes ten times as long.
    assert_eq!(all[1].2 - all[0].2, 1_000_000);
    assert_eq!(all[2].2 - all[1].2, 1_000_000);
}

#[test]
fn loss_upwards_is_common_and_downwards_each_receiver_has_its_own() {
    let lost = |profile: Profile| {
        let mut fabric = fabric(profile, 7);
        for number in 0..20_000 {
            fabric.ingress(0, 0, &frame(BROADCAST, CLIENT, number, 60));
            fabric.advance(0, |_, _, _| {});
        }
        let mut seen = [vec![false; 20_000], vec![false; 20_000]];
        for (port, number, _) in deliveries(&mut fabric, 100 * SECOND) {
            seen[port - 1][number as usize] = true;
        }
        seen
    };
    let share = |seen: &[bool]| seen.iter().filter(|s| !**s).count() as f64 / seen.len() as f64;

    let [first, second] = lost(Profile {
        loss: 100_000,
        ..profile()
    });
    assert_eq!(first, second);
    assert!((share(&first) - 0.1).abs() < 0.01, "{}", share(&first));

    let [first, second] = lost(Profile {
        down_loss: 100_000,
        ..profile()
    });
    let both = first
        .iter()
        .zip(&second)
        .filter(|(a, b)| !**a && !**b)
        .count() as f64
        / 20_000.0;
    assert!((share(&first) - 0.1).abs() < 0.01, "{}", share(&first));
    assert!((share(&second) - 0.1).abs() < 0.01, "{}", share(&second));
    assert!((both - 0.01).abs() < 0.004, "{both}");
}

#[test]
fn the_same_seed_has_the_same_fate() {
    let run = |seed| {
        let bad = Profile {
            loss: 50_000,
            down_loss: 50_000,
            duplicate: 20_000,
            reorder: 20_000,
            reorder_by: Duration::from_millis(3),
            jitter: Duration::from_millis(1),
            ..profile()
        };
        let mut fabric = fabric(bad, seed);
        for number in 0..2000 {
            fabric.ingress(
                u64::from(number) * 100_000,
                0,
                &frame(SERVER1, CLIENT, number, 1250),
            );
        }
        deliveries(&mut fabric, 10 * SECOND)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn jitter_spreads_and_keeps_the_order_and_reordering_breaks_it() {
    let order = |profile: Profile| {
        let mut fabric = fabric(profile, 5);
        for number in 0..1000u32 {
            let now = u64::from(number) * 200_000;
            fabric.advance(now, |_, _, _| {});
            fabric.ingress(now, 0, &frame(SERVER1, CLIENT, number, 1250));
        }
        let delivered = deliveries(&mut fabric, 10 * SECOND);
        delivered
            .iter()
            .map(|(_, number, _)| *number)
            .collect::<Vec<_>>()
    };
    let jitter = Profile {
        jitter: Duration::from_millis(20),
        delay: Duration::from_secs(2),
        ..profile()
    };
    assert!(order(jitter.clone()).is_sorted());

    let reorder = Profile {
        reorder: 10_000,
        reorder_by: Duration::from_millis(3),
        ..jitter
    };
    let numbers = order(reorder);
    let late = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((1..40).contains(&late), "{late}");
    assert_eq!(numbers.len(), 1000);
}

#[test]
fn duplicates_arrive_twice() {
    let mut fabric = fabric(
        Profile {
            duplicate: 1_000_000,
            ..profile()
        },
        1,
    );
    fabric.ingress(0, 0, &frame(SERVER1, CLIENT, 9, 100));
    let numbers: Vec<_> = deliveries(&mut fabric, SECOND)
        .iter()
        .map(|(_, n, _)| *n)
        .collect();
    assert_eq!(numbers, [9, 9]);
    assert_eq!(fabric.stats(0).up.duplicated, 1);
}

#[test]
fn nothing_passes_in_a_blackout_and_everything_after_it() {
    let mut fabric = fabric(profile(), 1);
    let blackout = Change {
        blackout: Some(Duration::from_secs(2)),
        ..Change::default()
    };
    fabric.change(0, 0, &blackout);
    for half_second in 0..5 {
        let now = half_second * SECOND / 2;
        assert_eq!(deliveries(&mut fabric, now), [], "at {now}");
        fabric.ingress(now, 0, &frame(SERVER1, CLIENT, half_second as u32, 1250));
    }
    let numbers: Vec<_> = deliveries(&mut fabric, 10 * SECOND)
        .iter()
        .map(|(_, n, _)| *n)
        .collect();
    assert_eq!(numbers, [4]);
    assert_eq!(fabric.stats(0).up.dropped_blackout, 4);
}

#[test]
fn a_runt_is_counted() {
    let mut fabric = fabric(profile(), 1);
    fabric.ingress(0, 2, &[0; 13]);
    assert_eq!(fabric.stats(2).dropped_runt, 1);
}
