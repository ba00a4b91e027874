//! Paths that lose a lot, or everything.

use crate::relay::Relay;
use crate::support::{MODES, Receiver, Scratch, exit, noise, send, write_file};
use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn thirty_per_cent_both_ways_costs_at_most_1_8_times_the_size() {
    let scratch = Scratch::new();
    let content = noise(3 << 20, 30);
    write_file(&scratch.join("data"), &content);
    for mode in ["thread", "thread-async"] {
        let receiver = Receiver::start(&scratch.join(mode), &["--exit-after", "1"]);
        let relay = Relay::start(receiver.address(), 30, 30).unwrap();
        let to = relay.address().to_string();
        send(scratch.path(), &["--mode", mode, "--to", &to], &["data"]).expect(0);
        assert!(fs::read(receiver.out().join("data")).unwrap() == content);
        receiver.finish().expect(0);
        let sent = relay.forward().bytes.load(Ordering::Relaxed);
        let share = sent as f64 / content.len() as f64;
        assert!(share <= 1.8, "{mode}: sent {share:.2} times the size");
        assert!(relay.forward().dropped.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn a_path_that_loses_everything_is_given_up_in_time() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(100_000, 1));
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let relay = Relay::start(receiver.address(), 100, 1).unwrap();
    let to = relay.address().to_string();
    let started = Instant::now();
    // The default timeout is part of the promise.
    send(scratch.path(), &["--to", &to], &["data"])
        .expect(exit::UNREACHABLE)
        .says(&to);
    assert!(
        started.elapsed() < Duration::from_secs(12),
        "{:?}",
        started.elapsed()
    );
    assert!(!receiver.out().join("data").exists());
}

#[test]
fn nobody_there_is_said_in_every_mode() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    // The port is taken, and nobody answers there.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = silent.local_addr().unwrap().to_string();
    for mode in MODES {
        let options = ["--json", "--timeout", "1", "--mode", mode, "--to", &to];
        let sent = send(scratch.path(), &options, &["data"])
            .expect(exit::UNREACHABLE)
            .says(&to);
        let events = sent.events();
        assert_eq!(events[0]["status"], "failed");
        assert_eq!(events[0]["error"]["code"], exit::UNREACHABLE);
        assert_eq!(events[1]["failed"], 1);
    }
}

#[test]
fn one_dead_destination_does_not_harm_the_other() {
    let scratch = Scratch::new();
    let content = noise(300_000, 2);
    write_file(&scratch.join("data"), &content);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = silent.local_addr().unwrap().to_string();
    for mode in MODES {
        let receiver = Receiver::start(&scratch.join(mode), &["--exit-after", "1"]);
        let to = receiver.to();
        let options = ["--timeout", "1", "--mode", mode, "--to", &dead, "--to", &to];
        send(scratch.path(), &options, &["data"])
            .expect(exit::UNREACHABLE)
            .says(&dead);
        assert!(fs::read(receiver.out().join("data")).unwrap() == content);
        receiver.finish().expect(0);
    }
}
