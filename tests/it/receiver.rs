//! The receiver itself: when it ends, where it listens, what it survives.

use crate::support::{Receiver, Scratch, exit, noise, run, send, write_file, xfer};
use std::fs;
use std::net::UdpSocket;

#[test]
fn it_ends_after_so_many_files() {
    let scratch = Scratch::new();
    write_file(&scratch.join("a"), b"a");
    write_file(&scratch.join("b"), b"b");
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "2"]);
    send(scratch.path(), &["--to", &receiver.to()], &["a"]).expect(0);
    assert_eq!(receiver.next_event()["path"], "a");
    send(scratch.path(), &["--to", &receiver.to()], &["b"]).expect(0);
    assert_eq!(receiver.next_event()["path"], "b");
    receiver.finish().expect(0);
}

#[test]
fn it_refuses_to_listen_to_the_world_unless_allowed() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    let arguments = [
        "recv",
        "--listen",
        "0.0.0.0:0",
        "--out",
        out.to_str().unwrap(),
    ];
    run(xfer(&arguments))
        .expect(exit::UNAUTHORISED)
        .says("\n\nhint: `--insecure`");
    assert!(!out.exists());

    write_file(&scratch.join("data"), b"x");
    let mut command = xfer(&[
        "recv",
        "--listen",
        "0.0.0.0:0",
        "--insecure",
        "--exit-after",
        "1",
    ]);
    command.arg("-q");
    let receiver = Receiver::start_command(command, &out);
    let to = format!("127.0.0.1:{}", receiver.address().port());
    send(scratch.path(), &["--to", &to], &["data"]).expect(0);
    let finished = receiver.finish().expect(0);
    assert_eq!(
        finished.stderr.matches("warning: ").count(),
        1,
        "{}",
        finished.stderr
    );
}

#[test]
fn a_port_in_use_is_named() {
    let scratch = Scratch::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let out = scratch.join("out");
    let arguments = ["recv", "--listen", &address, "--out", out.to_str().unwrap()];
    run(xfer(&arguments))
        .expect(exit::USAGE)
        .says(&address)
        .says("hint: ");
}

#[test]
fn it_listens_on_several_addresses() {
    let scratch = Scratch::new();
    write_file(&scratch.join("a"), b"a");
    write_file(&scratch.join("b"), b"b");
    let options = ["--listen", "127.0.0.1:0", "--exit-after", "2"];
    let receiver = Receiver::start(&scratch.join("out"), &options);
    let second = receiver.next_event();
    assert_eq!(second["event"], "listening");
    send(scratch.path(), &["--to", &receiver.to()], &["a"]).expect(0);
    let second = second["address"].as_str().unwrap();
    send(scratch.path(), &["--to", second], &["b"]).expect(0);
    receiver.finish().expect(0);
}

#[test]
fn names_and_ipv6_reach_it() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    if UdpSocket::bind("[::1]:0").is_ok() {
        let mut command = xfer(&["recv", "--listen", "[::1]:0", "--exit-after", "1"]);
        command.arg("-q");
        let receiver = Receiver::start_command(command, &scratch.join("v6"));
        send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
        receiver.finish().expect(0);
    }
    let receiver = Receiver::start(&scratch.join("v4"), &["--exit-after", "1"]);
    let to = format!("localhost:{}", receiver.address().port());
    let sent = send(
        scratch.path(),
        &["--json", "--timeout", "2", "--to", &to],
        &["data"],
    );
    // Where the name means only ::1, nobody listens; the label is the user's word in either case.
    assert_eq!(sent.events()[0]["to"], to);
    if sent.status.success() {
        receiver.finish().expect(0);
    }
}

#[test]
fn garbage_does_not_stop_it() {
    let scratch = Scratch::new();
    let content = noise(500_000, 13);
    write_file(&scratch.join("data"), &content);
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in 0..=64_usize {
        for content in [
            vec![0; length],
            vec![0xff; length],
            noise(length, length as u64),
        ] {
            socket.send_to(&content, receiver.address()).unwrap();
        }
    }
    for at in 0..500 {
        let garbage = noise(at * 17 % 9_000, at as u64);
        socket.send_to(&garbage, receiver.address()).unwrap();
    }
    send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
    assert!(fs::read(receiver.out().join("data")).unwrap() == content);
    receiver.finish().expect(0);
}
