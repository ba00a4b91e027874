//! Sources and destinations that fail.

use crate::relay::Relay;
use crate::support::{MODES, Receiver, Running, Scratch, eventually, exit, noise, run, send};
use crate::support::{write_file, xfer};
use std::fs;
use std::io::Write;
use std::sync::atomic::Ordering;

/// Slow enough that a transfer of [`LARGE`] bytes is under way for seconds.
const SLOW: &str = "8M";
const LARGE: usize = 6 << 20;

/// Waits until file content is on its way.
fn wait_until_under_way(relay: &Relay) {
    let bytes = &relay.forward().bytes;
    eventually("the transfer begins", || {
        bytes.load(Ordering::Relaxed) > 100_000
    });
}

#[test]
fn a_missing_source_is_named() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    for mode in MODES {
        let options = ["--mode", mode, "--to", &receiver.to()];
        send(scratch.path(), &options, &["absent"])
            .expect(exit::SOURCE)
            .says("absent")
            .says("no such file or directory (os error 2)");
    }
}

#[test]
fn a_source_that_changes_is_noticed_in_every_mode() {
    // SPEC: R-sender-5
    // At once, because each takes seconds of waiting for a slow sender.
    std::thread::scope(|scope| {
        for mode in MODES {
            scope.spawn(move || change_while_sending(mode));
        }
    });
}

fn change_while_sending(mode: &str) {
    /// Several times what a sender reads ahead: what was read before the change may be sent.
    const SIZE: usize = 20 << 20;
    let scratch = Scratch::new();
    let path = scratch.join("data");
    write_file(&path, &noise(SIZE, 6));
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let relay = Relay::start(receiver.address(), 0, 0).unwrap();
    let to = relay.address().to_string();
    let mut command = xfer(&["send", "--mode", mode, "--rate", "40M", "--to", &to, "data"]);
    command.current_dir(scratch.path());
    let sender = Running::start(command);
    wait_until_under_way(&relay);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"more").unwrap();
    drop(file);
    sender.finish().expect(exit::SOURCE).says("changed");
    assert!(!receiver.out().join("data").exists());
}

#[test]
fn a_receiver_that_dies_is_noticed() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(LARGE, 7));
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let relay = Relay::start(receiver.address(), 0, 0).unwrap();
    let to = relay.address().to_string();
    let options = [
        "send",
        "--rate",
        SLOW,
        "--timeout",
        "1",
        "--to",
        &to,
        "data",
    ];
    let mut command = xfer(&options);
    command.current_dir(scratch.path());
    let sender = Running::start(command);
    wait_until_under_way(&relay);
    receiver.signal("KILL");
    sender.finish().expect(exit::UNREACHABLE).says(&to);
    assert!(!receiver.out().join("data").exists());
}

#[test]
fn out_must_be_a_directory() {
    let scratch = Scratch::new();
    write_file(&scratch.join("file"), b"x");
    let out = scratch.join("file");
    let mut command = xfer(&["recv", "--listen", "127.0.0.1:0", "--out"]);
    command.arg(&out);
    run(command)
        .expect(exit::STORAGE)
        .says(out.to_str().unwrap())
        .says("hint: `--out` takes a directory");
    assert_eq!(fs::read(&out).unwrap(), b"x");
}

#[test]
fn out_is_made_where_it_is_missing() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    let receiver = Receiver::start(&scratch.join("a/b/c"), &["--exit-after", "1"]);
    send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
    assert_eq!(fs::read(scratch.join("a/b/c/data")).unwrap(), b"x");
    receiver.finish().expect(0);
}

#[cfg(unix)]
#[test]
fn a_full_disk_fails_the_file_and_not_the_receiver() {
    use std::process::{Command, Stdio};
    let scratch = Scratch::new();
    write_file(&scratch.join("large"), &noise(2 << 20, 8));
    write_file(&scratch.join("small"), &noise(1_000, 9));
    // A limit on the size of files is a disk that is full for large files only; no mount, no root.
    // The signal that comes with it is ignored, so that the write reports an error.
    let script = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_xfer"),
            "recv",
            "--listen",
            "127.0.0.1:0",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let receiver = Receiver::start_command(command, &scratch.join("out"));
    send(scratch.path(), &["--to", &receiver.to()], &["large"])
        .expect(exit::STORAGE)
        .says("large");
    send(scratch.path(), &["--to", &receiver.to()], &["small"]).expect(0);
    assert!(!receiver.out().join("large").exists());
    assert!(receiver.out().join("small").exists());
}

#[cfg(unix)]
#[test]
fn a_directory_that_becomes_read_only_fails_the_file_in_every_mode() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    let out = scratch.dir("out");
    let mut command = xfer(&["recv", "--listen", "127.0.0.1:0"]);
    if rustix::process::geteuid().is_root() {
        // Permissions do not bind root, so the receiver runs as nobody, from a copy that nobody can
        // reach.
        let copy = scratch.join("xfer");
        fs::copy(env!("CARGO_BIN_EXE_xfer"), &copy).unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&out, Some(NOBODY), Some(NOBODY)).unwrap();
        let plain = xfer(&["recv", "--listen", "127.0.0.1:0"]);
        command = std::process::Command::new(copy);
        command
            .args(plain.get_args())
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
    }
    let receiver = Receiver::start_command(command, &out);
    fs::set_permissions(&out, fs::Permissions::from_mode(0o555)).unwrap();
    for mode in MODES {
        let options = ["--mode", mode, "--to", &receiver.to()];
        send(scratch.path(), &options, &["data"])
            .expect(exit::STORAGE)
            .says("data");
        assert!(!out.join("data").exists());
    }
}
