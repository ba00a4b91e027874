//! Interruption of either end.

use crate::relay::Relay;
use crate::support::{MODES, Receiver, Running, Scratch, eventually, noise, write_file, xfer};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SIGNALS: [(&str, i32); 2] = [("INT", 130), ("TERM", 143)];

#[test]
fn a_receiver_that_is_told_to_stop_says_which_signal_it_was() {
    for (signal, status) in SIGNALS {
        let scratch = Scratch::new();
        let receiver = Receiver::start(&scratch.join("out"), &[]);
        receiver.signal(signal);
        receiver.finish().expect(status);
    }
}

#[test]
fn a_sender_stops_within_two_seconds_in_every_mode() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(6 << 20, 10));
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    for (at, mode) in MODES.into_iter().enumerate() {
        let (signal, status) = SIGNALS[at % SIGNALS.len()];
        let relay = Relay::start(receiver.address(), 0, 0).unwrap();
        let to = relay.address().to_string();
        let options = ["send", "--mode", mode, "--rate", "8M", "--to", &to, "data"];
        let mut command = xfer(&options);
        command.current_dir(scratch.path());
        let sender = Running::start(command);
        let bytes = &relay.forward().bytes;
        eventually("the transfer begins", || {
            bytes.load(Ordering::Relaxed) > 100_000
        });
        let started = Instant::now();
        sender.signal(signal);
        sender.finish().expect(status).says("interrupted");
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{mode}: {:?}",
            started.elapsed()
        );
        assert!(!receiver.out().join("data").exists());
    }
}
