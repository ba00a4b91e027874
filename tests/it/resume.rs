//! A transfer that is cut off, and the same command again.

use crate::relay::Relay;
use crate::support::{
    Finished, MODES, Receiver, Running, Scratch, assert_same_tree, eventually, exit, hang_up,
    noise, write_file, xfer,
};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SIZE: usize = 12 << 20;
/// Bytes on their way when the cut comes.
const CUT: u64 = 9 << 20;
/// What both runs together may send. From the beginning again it were `SIZE + CUT` at least.
const MOST: u64 = 18 << 20;
/// Slow enough that the cut comes in time.
const RATE: &str = "200M";
/// What either end has to tell the other when it is told to stop.
const STOP_TIME: Duration = Duration::from_secs(2);

/// A file on its way through a relay that counts.
struct Transfer {
    scratch: Scratch,
    relay: Relay,
    mode: &'static str,
}

impl Transfer {
    fn new(scratch: Scratch, receiver: &Receiver, mode: &'static str) -> Self {
        write_file(&scratch.join("source/data"), &noise(SIZE, 21));
        let relay = Relay::start(receiver.address(), 0, 0).unwrap();
        Self {
            scratch,
            relay,
            mode,
        }
    }

    fn start(&self) -> Running {
        let to = self.relay.address().to_string();
        let mut command = xfer(&["send", "--mode", self.mode, "--rate", RATE, "--to", &to]);
        command.current_dir(self.scratch.join("source")).arg("data");
        Running::start(command)
    }

    /// Starts it and waits until much of it is on its way.
    fn start_and_wait(&self) -> Running {
        let sender = self.start();
        eventually("much is on its way", || self.sent() >= CUT);
        sender
    }

    fn again(&self) -> Finished {
        self.start().finish()
    }

    fn sent(&self) -> u64 {
        self.relay.forward().bytes.load(Ordering::Relaxed)
    }

    /// The copy is whole, nothing else is there, and little was sent twice.
    fn check(&self, receiver: Receiver) -> Finished {
        let out = receiver.out().to_owned();
        receiver.signal("INT");
        let finished = receiver.finish().expect(130);
        assert_same_tree(&self.scratch.join("source"), &out);
        assert!(!out.join(".xfer-part").exists(), "something is left");
        assert!(
            self.sent() < MOST,
            "{}: {} bytes sent",
            self.mode,
            self.sent()
        );
        finished
    }
}

fn receive_at(out: &Path, address: &str) -> Receiver {
    Receiver::start_command(xfer(&["recv", "--listen", address]), out)
}

#[test]
fn a_killed_sender_goes_on_where_it_stood_in_every_mode() {
    for mode in MODES {
        let scratch = Scratch::new();
        let receiver = Receiver::start(&scratch.join("out"), &[]);
        let transfer = Transfer::new(scratch, &receiver, mode);
        let sender = transfer.start_and_wait();
        sender.signal("KILL");
        drop(sender);
        // At once: the receiver still believes in the first session.
        transfer.again().expect(0);
        transfer.check(receiver);
    }
}

#[test]
fn a_killed_receiver_goes_on_where_it_stood_in_every_mode() {
    for mode in MODES {
        let scratch = Scratch::new();
        let out = scratch.join("out");
        let receiver = Receiver::start(&out, &[]);
        let transfer = Transfer::new(scratch, &receiver, mode);
        let sender = transfer.start_and_wait();
        let address = receiver.to();
        receiver.signal("KILL");
        receiver.finish();
        assert!(!out.join("data").exists());
        let receiver = receive_at(&out, &address);
        // It does not know the session, and says so.
        sender.finish().expect(exit::UNREACHABLE);
        transfer.again().expect(0);
        transfer
            .check(receiver)
            .says("1 unfinished file can be resumed");
    }
}

#[test]
fn an_interrupted_receiver_tells_its_sender_and_can_be_gone_on_with() {
    for (mode, (signal, status)) in
        MODES
            .into_iter()
            .zip([("INT", 130), ("TERM", 143), hang_up(), ("INT", 130)])
    {
        let scratch = Scratch::new();
        let out = scratch.join("out");
        let receiver = Receiver::start(&out, &[]);
        let transfer = Transfer::new(scratch, &receiver, mode);
        let sender = transfer.start_and_wait();
        let address = receiver.to();
        let started = Instant::now();
        receiver.signal(signal);
        receiver.finish().expect(status);
        sender
            .finish()
            .expect(exit::UNREACHABLE)
            .says("interrupted");
        assert!(started.elapsed() < STOP_TIME, "{:?}", started.elapsed());
        let receiver = receive_at(&out, &address);
        transfer.again().expect(0);
        transfer.check(receiver);
    }
}

#[test]
fn an_interrupted_sender_can_be_gone_on_with_in_every_mode() {
    for (mode, (signal, status)) in
        MODES
            .into_iter()
            .zip([("INT", 130), ("TERM", 143), hang_up(), ("INT", 130)])
    {
        let scratch = Scratch::new();
        let receiver = Receiver::start(&scratch.join("out"), &[]);
        let transfer = Transfer::new(scratch, &receiver, mode);
        let sender = transfer.start_and_wait();
        let started = Instant::now();
        sender.signal(signal);
        sender.finish().expect(status);
        // The receiver was told: it need not wait for a timeout.
        let event = receiver.next_event();
        assert_eq!(event["status"], "failed", "{event}");
        assert!(started.elapsed() < STOP_TIME, "{:?}", started.elapsed());
        transfer.again().expect(0);
        transfer.check(receiver);
    }
}

#[test]
fn what_is_there_already_is_not_sent_again() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let transfer = Transfer::new(scratch, &receiver, "thread");
    transfer.again().expect(0);
    let once = transfer.sent();
    let second = transfer.again().expect(0);
    assert!(second.stdout.contains("skipped"), "{}", second.stdout);
    // A first flight leaves before the receiver can say that it has everything.
    assert!(transfer.sent() - once < 1 << 20);
    transfer.check(receiver);
}

#[test]
fn a_changed_source_does_not_go_on_from_the_old_one() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let transfer = Transfer::new(scratch, &receiver, "thread");
    let sender = transfer.start_and_wait();
    sender.signal("INT");
    sender.finish().expect(130);
    assert_eq!(receiver.next_event()["status"], "failed");
    // The same size, other content, and a time of its own.
    let path = transfer.scratch.join("source/data");
    write_file(&path, &noise(SIZE, 22));
    transfer.again().expect(0);
    assert_same_tree(&transfer.scratch.join("source"), receiver.out());
}

#[test]
fn a_disk_that_forgot_a_byte_costs_its_leaf_in_every_mode() {
    // However the receiver ended: what it kept is looked at again where it may have changed.
    for (mode, signal) in MODES.into_iter().zip(["KILL", "INT", "INT", "KILL"]) {
        let scratch = Scratch::new();
        let out = scratch.join("out");
        let receiver = Receiver::start(&out, &[]);
        let transfer = Transfer::new(scratch, &receiver, mode);
        let sender = transfer.start_and_wait();
        let address = receiver.to();
        receiver.signal(signal);
        receiver.finish();
        sender.finish().expect(exit::UNREACHABLE);
        let kept = fs::read_dir(out.join(".xfer-part")).unwrap();
        let mut kept = kept.map(|entry| entry.unwrap().path());
        let part = kept
            .find(|path| path.extension() == Some(OsStr::new("part")))
            .unwrap();
        let file = File::options().read(true).write(true).open(part).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 500_000).unwrap();
        file.write_all_at(&[!byte[0]], 500_000).unwrap();
        let receiver = receive_at(&out, &address);
        transfer.again().expect(0);
        transfer.check(receiver);
    }
}
