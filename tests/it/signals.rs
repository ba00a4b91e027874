//! Interruption of either end.

use crate::relay::Relay;
use crate::support::{
    MODES, Receiver, Running, Scratch, eventually, noise, signal, write_file, xfer,
};
use std::io::Read;
use std::process::{Command, Stdio};
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

#[test]
fn output_that_nobody_reads_does_not_keep_a_process() {
    let scratch = Scratch::new();
    let many = scratch.dir("many");
    for at in 0..2_000 {
        write_file(&many.join(format!("a-file-with-a-name-{at:04}")), b"x");
    }
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let mut command = xfer(&["send", "--to", &receiver.to(), "many"]);
    command.current_dir(scratch.path());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut sender = command.spawn().unwrap();
    // The first byte of its table is there, and the rest is more than a pipe takes.
    let mut stdout = sender.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    signal(sender.id(), "TERM");
    assert_eq!(sender.wait().unwrap().code(), Some(143));
}

#[test]
fn nohup_protects() {
    let scratch = Scratch::new();
    let inner = xfer(&["recv", "--listen", "127.0.0.1:0"]);
    let mut command = Command::new("nohup");
    command.arg(inner.get_program()).args(inner.get_args());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let receiver = Receiver::start_command(command, &scratch.join("out"));
    receiver.signal("HUP");
    write_file(&scratch.join("data"), b"after the terminal has gone");
    let mut command = xfer(&["send", "--to", &receiver.to(), "data"]);
    command.current_dir(scratch.path());
    Running::start(command).finish().expect(0);
    receiver.signal("TERM");
    receiver.finish().expect(143);
}
