//! Disks that are full, directories that go away, handles that run out.

use crate::relay::Relay;
use crate::support::{
    MODES, Receiver, Running, Scratch, assert_same_tree, eventually, exit, noise, send, write_file,
    xfer,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

/// Starts a sender of `data` that is slow enough to be met on its way, and waits until it is.
fn start_slow(scratch: &Scratch, mode: &str, relay: &Relay) -> Running {
    let to = relay.address().to_string();
    let mut command = xfer(&["send", "--mode", mode, "--rate", "24M", "--to", &to, "data"]);
    command.current_dir(scratch.path());
    let sender = Running::start(command);
    eventually("the transfer begins", || {
        relay.forward().bytes.load(Ordering::Relaxed) > 300_000
    });
    sender
}

/// A small file system that goes with the test.
struct Small(PathBuf);

impl Small {
    /// `None`, with a printed reason, where this process may not mount.
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", options, "xfer-test"];
        let mounted = Command::new("mount").args(options).arg(&at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        {
            eprintln!("skipped: mounting a tmpfs needs root");
        }
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Whether something is left of files that did not arrive.
fn has_partials(out: &Path) -> bool {
    fs::read_dir(out.join(".xfer-part")).is_ok_and(|mut entries| entries.next().is_some())
}

#[test]
fn a_disk_that_fills_up_fails_the_file_and_serves_the_next_in_every_mode() {
    for mode in MODES {
        let scratch = Scratch::new();
        let Some(small) = Small::mount(scratch.join("out"), "size=4m") else {
            return;
        };
        write_file(&scratch.join("huge"), &noise(8 << 20, 31));
        write_file(&scratch.join("data"), &noise(3 << 20, 32));
        write_file(&scratch.join("tiny"), b"tiny");
        let receiver = Receiver::start(&small.0, &[]);
        let options = ["--mode", mode, "--to", &receiver.to()];
        // Too large to begin with: refused before a byte of it is written.
        send(scratch.path(), &options, &["huge"])
            .expect(exit::STORAGE)
            .says("no space left at the destination");
        // Large enough to fit, until somebody else takes the space.
        let relay = Relay::start(receiver.address(), 0, 0).unwrap();
        let sender = start_slow(&scratch, mode, &relay);
        let _ = fs::write(small.0.join("filler"), noise(4 << 20, 33));
        sender
            .finish()
            .expect(exit::STORAGE)
            .says("No space left on device (os error 28)");
        assert!(!small.0.join("data").exists());
        eventually("the space is given back", || !has_partials(&small.0));
        fs::remove_file(small.0.join("filler")).unwrap();
        send(scratch.path(), &options, &["tiny"]).expect(0);
        receiver.signal("INT");
        receiver.finish().expect(130);
    }
}

#[test]
fn a_read_only_file_system_is_said_at_once() {
    let scratch = Scratch::new();
    let Some(small) = Small::mount(scratch.join("out"), "ro,size=1m") else {
        return;
    };
    let mut command = xfer(&["recv", "--listen", "127.0.0.1:0", "--out"]);
    command.arg(&small.0);
    crate::support::run(command)
        .expect(exit::STORAGE)
        .says("read-only file system (os error 30)");
}

#[test]
fn a_directory_that_goes_away_fails_the_file_in_every_mode() {
    std::thread::scope(|scope| {
        for mode in MODES {
            scope.spawn(move || {
                let scratch = Scratch::new();
                write_file(&scratch.join("data"), &noise(3 << 20, 34));
                let receiver = Receiver::start(&scratch.join("out"), &[]);
                let relay = Relay::start(receiver.address(), 0, 0).unwrap();
                let sender = start_slow(&scratch, mode, &relay);
                fs::remove_dir_all(receiver.out()).unwrap();
                sender.finish().expect(exit::STORAGE).says("data");
                receiver.signal("INT");
                receiver.finish().expect(130);
                assert!(!scratch.join("out").exists());
            });
        }
    });
}

#[test]
fn partials_that_somebody_removes_fail_one_file_and_not_the_next() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(3 << 20, 35));
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let relay = Relay::start(receiver.address(), 0, 0).unwrap();
    let sender = start_slow(&scratch, "thread", &relay);
    eventually("something is written", || has_partials(receiver.out()));
    fs::remove_dir_all(receiver.out().join(".xfer-part")).unwrap();
    sender.finish().expect(exit::STORAGE).says("data");
    assert!(!receiver.out().join("data").exists());
    send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
}

#[test]
fn few_handles_are_enough_for_many_files_in_every_mode() {
    const FILES: usize = 1_200;
    let scratch = Scratch::new();
    for file in 0..FILES {
        let path = format!("source/tree/{}/{file}", file % 100);
        write_file(&scratch.join(&path), &noise(file % 700, file as u64));
    }
    let limited = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_xfer"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    for mode in MODES {
        let command = limited(&["recv", "-q", "--listen", "127.0.0.1:0"]);
        let receiver = Receiver::start_command(command, &scratch.join(mode));
        let mut command = limited(&["send", "--mode", mode, "--to", &receiver.to(), "tree"]);
        command.current_dir(scratch.join("source"));
        crate::support::run(command).expect(0);
        assert_same_tree(&scratch.join("source"), receiver.out());
    }
}

#[test]
fn a_source_that_is_touched_is_noticed_in_every_mode() {
    type Touch = (&'static str, fn(&Path));
    let touches: [Touch; 4] = [
        ("truncated", |path| {
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(1 << 20)
                .unwrap();
        }),
        ("replaced", |path| {
            let other = path.with_extension("new");
            fs::write(&other, noise(20 << 20, 37)).unwrap();
            fs::rename(&other, path).unwrap();
        }),
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("rewritten", |path| {
            use std::os::unix::fs::FileExt;
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(b"other", (20 << 20) - 100).unwrap();
        }),
    ];
    std::thread::scope(|scope| {
        for (mode, (what, touch)) in MODES.into_iter().zip(touches) {
            scope.spawn(move || {
                let scratch = Scratch::new();
                write_file(&scratch.join("data"), &noise(20 << 20, 36));
                let receiver = Receiver::start(&scratch.join("out"), &[]);
                let relay = Relay::start(receiver.address(), 0, 0).unwrap();
                let to = relay.address().to_string();
                let options = ["send", "--mode", mode, "--rate", "60M", "--to", &to, "data"];
                let mut command = xfer(&options);
                command.current_dir(scratch.path());
                let sender = Running::start(command);
                eventually("the transfer begins", || {
                    relay.forward().bytes.load(Ordering::Relaxed) > 300_000
                });
                touch(&scratch.join("data"));
                let sent = sender.finish().expect(exit::SOURCE);
                assert!(sent.stderr.contains("changed"), "{what}: {sent:#?}");
                assert!(!receiver.out().join("data").exists(), "{what}");
                eventually("what has come is removed", || !has_partials(receiver.out()));
            });
        }
    });
}
