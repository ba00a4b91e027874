//! Many senders at once, and what one receiver takes from all of them together.

use crate::relay::Relay;
use crate::support::{
    MODES, Receiver, Running, Scratch, assert_same_tree, eventually, exit, noise, send, write_file,
    xfer,
};
use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::Ordering;

#[test]
fn a_hundred_sessions_at_once_bring_their_files() {
    let scratch = Scratch::new();
    for file in 0..100 {
        let path = scratch.join(&format!("source/tree/{file}"));
        write_file(&path, &noise(50_000 + file, file as u64));
    }
    for mode in ["thread", "thread-async"] {
        let receiver = Receiver::start(&scratch.join(mode), &["--exit-after", "100"]);
        let options = ["--mode", mode, "--jobs", "100", "--to", &receiver.to()];
        send(&scratch.join("source"), &options, &["tree"]).expect(0);
        assert_same_tree(&scratch.join("source"), receiver.out());
        receiver.finish().expect(0);
    }
}

#[test]
fn one_session_too_many_is_told_and_the_others_go_on_in_every_mode() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(6 << 20, 41));
    write_file(&scratch.join("other"), b"other");
    let receiver = Receiver::start(&scratch.join("out"), &["--max-sessions", "1"]);
    let relay = Relay::start(receiver.address(), 0, 0).unwrap();
    let to = relay.address().to_string();
    let mut command = xfer(&["send", "--rate", "8M", "--to", &to, "data"]);
    command.current_dir(scratch.path());
    let first = Running::start(command);
    eventually("the first session is there", || {
        relay.forward().bytes.load(Ordering::Relaxed) > 50_000
    });
    // They wait for a place until their time is up.
    std::thread::scope(|scope| {
        for mode in MODES {
            let (scratch, to) = (&scratch, receiver.to());
            scope.spawn(move || {
                let options = ["--timeout", "1", "--mode", mode, "--to", &to];
                send(scratch.path(), &options, &["other"])
                    .expect(exit::REFUSED)
                    .says("the receiver is busy");
            });
        }
    });
    first.finish().expect(0);
    assert_eq!(receiver.next_event()["path"], "data");
}

#[test]
fn the_total_holds_over_all_senders() {
    let scratch = Scratch::new();
    for (name, size) in [("a", 40_000), ("b", 40_000), ("c", 20_000), ("d", 1)] {
        write_file(&scratch.join(name), &noise(size, size as u64 + 1));
    }
    let receiver = Receiver::start(&scratch.join("out"), &["--max-total", "100K"]);
    for mode in MODES {
        let options = ["--mode", mode, "--to", &receiver.to()];
        // In two sessions, where the mode has two workers; again, where they are there already.
        send(scratch.path(), &options, &["a", "c"]).expect(0);
    }
    let options = ["--to", &receiver.to()];
    send(scratch.path(), &options, &["b"]).expect(0);
    send(scratch.path(), &options, &["d"])
        .expect(exit::REFUSED)
        .says("--max-total");
    assert!(!receiver.out().join("d").exists());
}

#[test]
fn of_two_different_files_with_one_name_one_wins() {
    for mode in MODES {
        let scratch = Scratch::new();
        write_file(&scratch.join("one/data"), &noise(2 << 20, 42));
        write_file(&scratch.join("two/data"), &noise((2 << 20) + 1, 43));
        let receiver = Receiver::start(&scratch.join("out"), &[]);
        let relay = Relay::start(receiver.address(), 0, 0).unwrap();
        let to = relay.address().to_string();
        let mut command = xfer(&["send", "--mode", mode, "--rate", "8M", "--to", &to, "data"]);
        command.current_dir(scratch.join("one"));
        let first = Running::start(command);
        eventually("the first is under way", || {
            relay.forward().bytes.load(Ordering::Relaxed) > 100_000
        });
        let options = ["--mode", mode, "--to", &receiver.to()];
        send(&scratch.join("two"), &options, &["data"])
            .expect(exit::REFUSED)
            .says("being received already");
        first.finish().expect(0);
        assert_same_tree(&scratch.join("one"), receiver.out());
    }
}

#[test]
fn garbage_during_a_transfer_harms_nothing() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(4 << 20, 44));
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
    let to = receiver.to();
    let mut command = xfer(&["send", "--rate", "40M", "--to", &to, "data"]);
    command.current_dir(scratch.path());
    let sender = Running::start(command);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut bytes_out = 0;
    for at in 0..20_000_u64 {
        let garbage = noise((at * 7 % 1_500) as usize, at);
        bytes_out += garbage.len();
        // A full buffer is a lost datagram, as anywhere.
        let _ = socket.send_to(&garbage, receiver.address());
    }
    sender.finish().expect(0);
    assert!(fs::read(receiver.out().join("data")).unwrap() == noise(4 << 20, 44));
    receiver.finish().expect(0);
    // Some of it looks like another version of the protocol; answers are few and small.
    socket.set_nonblocking(true).unwrap();
    let mut bytes_back = 0;
    while let Ok(len) = socket.recv(&mut [0; 1_500]) {
        bytes_back += len;
    }
    assert!(bytes_back < bytes_out / 20, "{bytes_back} for {bytes_out}");
}

#[test]
fn what_peers_cause_is_told_a_few_times_a_second() {
    let scratch = Scratch::new();
    for file in 0..500 {
        write_file(&scratch.join(&format!("tree/{file}")), b"new content");
        write_file(&scratch.join(&format!("out/tree/{file}")), b"old");
    }
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    send(scratch.path(), &["--to", &receiver.to()], &["tree"]).expect(exit::REFUSED);
    receiver.signal("INT");
    let finished = receiver.finish().expect(130);
    let lines = finished.stderr.lines().count();
    assert!(lines < 100, "{lines} lines");
    assert!(finished.stderr.contains("suppressed"), "{finished:#?}");
}

#[cfg(unix)]
#[test]
fn a_planted_link_is_neither_followed_nor_replaced_in_any_mode() {
    let policies = ["refuse", "overwrite", "rename"];
    for (policy, mode) in policies.into_iter().cycle().zip(MODES.repeat(3)) {
        let scratch = Scratch::new();
        write_file(&scratch.join("data"), b"new");
        write_file(&scratch.join("victim"), b"old");
        let out = scratch.dir("out");
        std::os::unix::fs::symlink("../victim", out.join("data")).unwrap();
        let receiver = Receiver::start(&out, &["--on-conflict", policy]);
        let options = ["--mode", mode, "--to", &receiver.to()];
        let sent = send(scratch.path(), &options, &["data"]);
        match policy {
            "rename" => assert_eq!(fs::read(out.join("data (1)")).unwrap(), b"new"),
            _ => drop(sent.expect(exit::REFUSED)),
        }
        assert_eq!(fs::read(scratch.join("victim")).unwrap(), b"old");
        assert!(out.join("data").is_symlink());
    }
}
