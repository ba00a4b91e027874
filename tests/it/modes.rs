//! Every mode over a clean and a lossy path, to one and to two destinations.

use crate::relay::Relay;
use crate::support::{MODES, Receiver, Running, Scratch, images, send, write_file, xfer};
use crate::support::{assert_same_tree, noise};
use std::fs;
use std::sync::atomic::Ordering;

const PICTURES: [&str; 2] = ["1.png", "2.png"];

/// Sends both pictures to so many receivers and compares every copy.
fn pictures_arrive(mode: &str, loss_percent: u32, destinations: usize) {
    let scratch = Scratch::new();
    let receivers: Vec<_> = (0..destinations)
        .map(|at| Receiver::start(&scratch.join(&at.to_string()), &["--exit-after", "2"]))
        .collect();
    let relays: Vec<_> = receivers
        .iter()
        .map(|receiver| Relay::start(receiver.address(), loss_percent, 7).unwrap())
        .collect();
    let mut options = vec!["--json".into(), "--mode".into(), mode.into()];
    for relay in &relays {
        options.extend(["--to".into(), relay.address().to_string()]);
    }
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let sent = send(&images(), &options, &PICTURES).expect(0);

    let events = sent.events();
    assert_eq!(events.len(), 2 * destinations + 1);
    let summary = &events[2 * destinations];
    assert_eq!(summary["mode"], mode);
    assert_eq!(summary["files"], 2);
    assert_eq!(summary["destinations"], destinations);
    assert_eq!(summary["committed"], 2 * destinations);
    assert_eq!(summary["failed"], 0);
    for receiver in receivers {
        for name in PICTURES {
            let original = fs::read(images().join(name)).unwrap();
            assert!(
                fs::read(receiver.out().join(name)).unwrap() == original,
                "{name}"
            );
        }
        receiver.finish().expect(0);
    }
    if loss_percent > 0 {
        let ways = [relays[0].forward(), relays[0].backward()];
        let dropped = ways.map(|way| way.dropped.load(Ordering::Relaxed));
        assert!(dropped.iter().sum::<u64>() > 0, "nothing was lost");
    }
}

#[test]
fn process_over_a_clean_path() {
    pictures_arrive("process", 0, 1);
    pictures_arrive("process", 0, 2);
}

#[test]
fn process_over_a_lossy_path() {
    pictures_arrive("process", 5, 1);
    pictures_arrive("process", 5, 2);
}

#[test]
fn thread_over_a_clean_path() {
    pictures_arrive("thread", 0, 1);
    pictures_arrive("thread", 0, 2);
}

#[test]
fn thread_over_a_lossy_path() {
    pictures_arrive("thread", 5, 1);
    pictures_arrive("thread", 5, 2);
}

#[test]
fn process_async_over_a_clean_path() {
    pictures_arrive("process-async", 0, 1);
    pictures_arrive("process-async", 0, 2);
}

#[test]
fn process_async_over_a_lossy_path() {
    pictures_arrive("process-async", 5, 1);
    pictures_arrive("process-async", 5, 2);
}

#[test]
fn thread_async_over_a_clean_path() {
    pictures_arrive("thread-async", 0, 1);
    pictures_arrive("thread-async", 0, 2);
}

#[test]
fn thread_async_over_a_lossy_path() {
    pictures_arrive("thread-async", 5, 1);
    pictures_arrive("thread-async", 5, 2);
}

#[test]
fn one_receiver_serves_senders_of_all_modes_at_once() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for (at, mode) in MODES.iter().enumerate() {
        write_file(&source.join(mode).join("a"), &noise(700_000, at as u64));
        write_file(&source.join(mode).join("b"), &noise(1, at as u64));
    }
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "8"]);
    let senders: Vec<_> = MODES
        .iter()
        .map(|mode| {
            let mut command = xfer(&["send", "--mode", mode, "--to", &receiver.to(), mode]);
            command.current_dir(&source);
            Running::start(command)
        })
        .collect();
    for sender in senders {
        sender.finish().expect(0);
    }
    assert_same_tree(&source, receiver.out());
    receiver.finish().expect(0);
}

#[test]
fn more_workers_than_the_default_bring_the_same_files() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for at in 0..12 {
        write_file(
            &source.join(format!("dir/{at}")),
            &noise(40_000 * at, at as u64),
        );
    }
    for mode in MODES {
        let receiver = Receiver::start(&scratch.join(mode), &["--exit-after", "12"]);
        let to = receiver.to();
        send(
            &source,
            &["--mode", mode, "--jobs", "3", "--to", &to],
            &["dir"],
        )
        .expect(0);
        assert_same_tree(&source, receiver.out());
        receiver.finish().expect(0);
    }
}
