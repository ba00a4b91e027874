//! What a person sees, and what happens when nobody looks.

use crate::support::{MODES, Receiver, Running, Scratch, exit, noise, run, send, write_file, xfer};
use std::fs::{self, File};
use std::process::Stdio;

#[test]
fn a_table_and_a_total_end_a_transfer() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(10_000, 15));
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
    let sent = send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
    let lines: Vec<_> = sent.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", sent.stdout);
    let heading: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(
        heading.join(" "),
        "FILE TO BYTES SECONDS RATE SENT AGAIN STATUS"
    );
    let row: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(row[..3], ["data", &receiver.to(), "10000"]);
    assert_eq!(row.last(), Some(&"committed"));
    assert!(
        lines[2].starts_with("total: 1 file to 1 destination: 1 committed"),
        "{}",
        lines[2]
    );
    // No terminal: no bars, no colours, nothing at all to say on stderr.
    assert_eq!(sent.stderr, "");
    receiver.finish().expect(0);
}

#[test]
fn a_receiver_prints_a_line_a_file() {
    let scratch = Scratch::new();
    let content = noise(10_000, 16);
    write_file(&scratch.join("data"), &content);
    // Without JSON no event tells the port, so one is taken that was free a moment ago.
    let port = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let out = scratch.join("out");
    let arguments = [
        "recv",
        "--exit-after",
        "1",
        "--listen",
        &port.to_string(),
        "--out",
    ];
    let mut command = xfer(&arguments);
    command.arg(&out);
    let receiver = Running::start(command);
    // A sender repeats itself until the receiver is there.
    send(scratch.path(), &["--to", &port.to_string()], &["data"]).expect(0);
    let finished = receiver
        .finish()
        .expect(0)
        .says(&format!("listening on {port}"));
    let line = format!(
        "data 10000 bytes {} from 127.0.0.1:",
        blake3::hash(&content)
    );
    assert!(finished.stdout.starts_with(&line), "{}", finished.stdout);
    assert_eq!(finished.stdout.lines().count(), 1);
}

#[test]
fn quiet_and_verbose_change_only_stderr() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    for option in ["-q", "-v"] {
        let receiver = Receiver::start(&scratch.join(option), &["--exit-after", "1"]);
        let sent = send(scratch.path(), &[option, "--to", &receiver.to()], &["data"]).expect(0);
        assert_eq!(sent.stdout.lines().count(), 3, "{}", sent.stdout);
        receiver.finish().expect(0);
    }
}

#[test]
fn a_reader_that_leaves_does_not_stop_a_transfer_in_any_mode() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    let each = MODES
        .into_iter()
        .map(|mode| ["--json", "-q"].map(|option| (mode, option)));
    for (mode, option) in each.flatten() {
        let out = scratch.join(mode).join(option);
        let receiver = Receiver::start(&out, &["--exit-after", "1"]);
        let to = receiver.to();
        let mut command = xfer(&["send", "--mode", mode, option, "--to", &to, "data"]);
        command.current_dir(scratch.path());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        Running::of_child(child).finish().expect(0);
        assert_eq!(fs::read(receiver.out().join("data")).unwrap(), b"x");
        receiver.finish().expect(0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = xfer(&["sum", "data"]);
    command
        .current_dir(scratch.path())
        .stdout(Stdio::from(full));
    run(command)
        .expect(exit::OTHER)
        .says("cannot write to standard output: no space left");
}
