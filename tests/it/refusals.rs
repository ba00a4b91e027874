//! What a receiver refuses, and what it takes in spite of an older file.

use crate::support::{MODES, Receiver, Scratch, exit, noise, send, write_file};
use std::fs;

#[test]
fn a_conflict_leaves_the_old_file_untouched_in_every_mode() {
    // SPEC: R-commit-3
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"new content");
    write_file(&scratch.join("other"), b"other");
    for mode in MODES {
        let out = scratch.dir(mode);
        // Of the same size, so that only its content tells that it differs.
        write_file(&out.join("data"), b"old content");
        let receiver = Receiver::start(&out, &[]);
        let options = ["--json", "--mode", mode, "--to", &receiver.to()];
        let sent = send(scratch.path(), &options, &["data", "other"]).expect(exit::REFUSED);
        assert!(sent.stderr.contains("hint: "), "{}", sent.stderr);
        let summary = sent.events().pop().unwrap();
        assert_eq!(
            (&summary["committed"], &summary["failed"]),
            (&1.into(), &1.into())
        );
        assert_eq!(fs::read(out.join("data")).unwrap(), b"old content");
        assert_eq!(fs::read(out.join("other")).unwrap(), b"other");
    }
}

#[test]
fn a_conflict_of_sizes_is_a_conflict_too() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"new");
    write_file(&scratch.join("out/data"), b"");
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(exit::REFUSED);
    assert_eq!(fs::read(receiver.out().join("data")).unwrap(), b"");
}

#[test]
fn rename_keeps_both_files() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data.txt"), b"new");
    write_file(&scratch.join("out/data.txt"), b"old");
    let options = ["--on-conflict", "rename", "--exit-after", "1"];
    let receiver = Receiver::start(&scratch.join("out"), &options);
    send(scratch.path(), &["--to", &receiver.to()], &["data.txt"]).expect(0);
    assert_eq!(fs::read(receiver.out().join("data.txt")).unwrap(), b"old");
    assert_eq!(
        fs::read(receiver.out().join("data (1).txt")).unwrap(),
        b"new"
    );
    receiver.finish().expect(0);
}

#[test]
fn overwrite_replaces_the_file() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"new");
    write_file(&scratch.join("out/data"), b"old");
    let options = ["--on-conflict", "overwrite", "--exit-after", "1"];
    let receiver = Receiver::start(&scratch.join("out"), &options);
    send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
    assert_eq!(fs::read(receiver.out().join("data")).unwrap(), b"new");
    receiver.finish().expect(0);
}

#[test]
fn an_identical_file_is_skipped_in_every_mode() {
    let scratch = Scratch::new();
    let content = noise(2_500_000, 3);
    write_file(&scratch.join("data"), &content);
    write_file(&scratch.join("out/data"), &content);
    for mode in MODES {
        let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
        let options = ["--json", "--mode", mode, "--to", &receiver.to()];
        let events = send(scratch.path(), &options, &["data"]).expect(0).events();
        assert_eq!(events[0]["status"], "skipped");
        assert_eq!(events[0]["blake3"], blake3::hash(&content).to_string());
        assert_eq!(events[1]["skipped"], 1);
        assert_eq!(receiver.next_event()["status"], "skipped");
        receiver.finish().expect(0);
    }
}

#[test]
fn quotas_refuse_what_is_too_large() {
    let scratch = Scratch::new();
    write_file(&scratch.join("small"), &noise(1_000, 4));
    write_file(&scratch.join("large"), &noise(1_001, 5));
    let receiver = Receiver::start(&scratch.join("size"), &["--max-size", "1K"]);
    send(
        scratch.path(),
        &["--to", &receiver.to()],
        &["small", "large"],
    )
    .expect(exit::REFUSED);
    assert!(receiver.out().join("small").exists());
    assert!(!receiver.out().join("large").exists());

    // This quota is one of a session, and several workers have several sessions.
    let receiver = Receiver::start(&scratch.join("total"), &["--max-total", "2000"]);
    send(
        scratch.path(),
        &["--jobs", "1", "--to", &receiver.to()],
        &["small", "large"],
    )
    .expect(exit::REFUSED);
    let both = ["small", "large"]
        .iter()
        .all(|name| receiver.out().join(name).exists());
    assert!(!both, "more than the quota was taken");
}

#[test]
fn plain_text_stays_on_this_machine_unless_allowed() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"x");
    // An address for documentation: nobody is there, wherever this runs.
    let far = ["--timeout", "1", "--to", "192.0.2.1:10000"];
    send(scratch.path(), &far, &["data"])
        .expect(exit::UNAUTHORISED)
        .says("\n\nhint: `--insecure`");
    let allowed = [&far[..], &["--insecure"]].concat();
    let sent = send(scratch.path(), &allowed, &["data"]).expect(exit::UNREACHABLE);
    assert_eq!(
        sent.stderr.matches("warning: ").count(),
        1,
        "{}",
        sent.stderr
    );
}

#[test]
fn several_kinds_of_failure_give_the_common_status() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"new");
    write_file(&scratch.join("out/data"), b"old");
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = silent.local_addr().unwrap().to_string();
    let options = ["--timeout", "1", "--to", &receiver.to(), "--to", &dead];
    send(scratch.path(), &options, &["data"]).expect(exit::OTHER);
}
