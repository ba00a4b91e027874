//! Peers that speak the protocol and mean no good, against the real binary.

use crate::support::raw::{RawReceiver, RawSender};
use crate::support::{MODES, Receiver, Running, Scratch, exit, noise, send, write_file, xfer};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use xfer_proto::error::ErrorCode;
use xfer_proto::id::FileIndex;
use xfer_proto::manifest::EntryKind;
use xfer_proto::wire::frame::{BlockAck, Report};
use xfer_proto::wire::message::{Verdict, WireEntry};

/// A dead peer is given up after 10 s; the rest is for starting and ending.
const GIVEN_UP: Duration = Duration::from_secs(12);
const CONTENT: &[u8] = b"what was meant";

fn entry(name: &[u8], kind: EntryKind, size: u64) -> WireEntry {
    WireEntry {
        name: name.to_vec(),
        kind,
        size,
        modified: None,
        mode: Some(0o6777),
        identity: None,
    }
}

/// An honest transfer to a receiver that somebody was bad to.
fn assert_serves(receiver: &Receiver, scratch: &Scratch) {
    let content = noise(100_000, 1);
    write_file(&scratch.join("honest"), &content);
    send(scratch.path(), &["--to", &receiver.to()], &["honest"]).expect(0);
    assert!(fs::read(receiver.out().join("honest")).unwrap() == content);
}

/// Every name beneath, whatever it is, but for what is hidden.
fn names(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".xfer-part" {
                continue;
            }
            let path = entry.path();
            let relative = path.strip_prefix(root).unwrap().to_string_lossy();
            names.push(relative.into_owned());
            if entry.file_type().unwrap().is_dir() {
                dirs.push(path);
            }
        }
    }
    names.sort();
    names
}

#[test]
fn a_sender_that_is_made_by_hand_can_bring_a_file() {
    // The others prove nothing unless this works.
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.dir("out"), &[]);
    let mut sender = RawSender::connect(receiver.address());
    let size = CONTENT.len() as u64;
    sender.offer(vec![entry(b"f", EntryKind::File, size)]);
    sender.content(0, 0, CONTENT);
    assert_eq!(sender.verdicts(1), [(FileIndex(0), Verdict::Committed)]);
    assert_eq!(fs::read(receiver.out().join("f")).unwrap(), CONTENT);
}

#[test]
fn no_name_leads_outside() {
    // SPEC: R-names-1
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.dir("out"), &[]);
    std::os::unix::fs::symlink("..", scratch.join("out/up")).unwrap();
    let deep = [b"d/".repeat(200), b"x".to_vec()].concat();
    let long = [b'l'; 256];
    let longer = b"abcdefgh/".repeat(500);
    let bad: [&[u8]; 20] = [
        b"..",
        b".",
        b"../escaped",
        b"a/../../escaped",
        b"a/./b",
        b"/escaped",
        b"//escaped",
        b"",
        b"a//b",
        b"a/",
        b"a\0b",
        b"a\nb",
        b"a\rb",
        b"\x1b[2J",
        b"a\x7fb",
        b".xfer-part",
        b".xfer-part/x",
        &deep,
        &long,
        &longer,
    ];
    let files = bad.map(|name| entry(name, EntryKind::File, 0)).to_vec();
    let directories = bad.map(|name| entry(name, EntryKind::Directory, 0));
    let through_link = entry(b"up/escaped", EntryKind::File, 0);
    let entries = [files, directories.to_vec(), vec![through_link]].concat();
    let count = entries.len();
    let mut sender = RawSender::connect(receiver.address());
    sender.offer(entries);
    for file in 0..count as u32 {
        sender.end_of_file(file, b"");
    }
    for (file, verdict) in sender.verdicts(count) {
        let Verdict::Failed(failure) = verdict else {
            panic!("{file:?} of {bad:?}: {verdict:?}");
        };
        assert_eq!(
            failure.code,
            ErrorCode::NAME_REFUSED,
            "{file:?} {failure:?}"
        );
    }
    assert_serves(&receiver, &scratch);
    assert_eq!(
        names(scratch.path()),
        ["honest", "out", "out/honest", "out/up"]
    );
}

#[test]
fn what_is_in_the_way_of_itself_is_never_mixed_up() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.dir("out"), &[]);
    let mut sender = RawSender::connect(receiver.address());
    let size = CONTENT.len() as u64;
    let other = b"something else";
    assert_eq!(other.len() as u64, size);
    sender.offer(vec![
        entry(b"twice", EntryKind::File, size),
        entry(b"twice", EntryKind::File, size),
        entry(b"both", EntryKind::File, size),
        entry(b"both/beneath", EntryKind::File, size),
    ]);
    for (file, content) in [CONTENT, other, CONTENT, other].into_iter().enumerate() {
        sender.content(file as u32, file as u64, content);
    }
    let verdicts = sender.verdicts(4);
    let committed = |of: &[usize]| {
        let is_good = |at: &&usize| verdicts[**at].1 == Verdict::Committed;
        of.iter().filter(is_good).count()
    };
    assert!(committed(&[0, 1]) == 1, "{verdicts:?}");
    assert!(committed(&[2, 3]) == 1, "{verdicts:?}");
    let expected = if verdicts[0].1 == Verdict::Committed {
        CONTENT
    } else {
        other
    };
    assert_eq!(fs::read(receiver.out().join("twice")).unwrap(), expected);
    assert_serves(&receiver, &scratch);
}

#[test]
fn sizes_that_cannot_be_cost_nothing() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.dir("out"), &[]);
    for size in [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 50] {
        let mut sender = RawSender::connect(receiver.address());
        sender.offer(vec![entry(b"huge", EntryKind::File, size)]);
        let failure = sender.failure(0);
        let expected = [ErrorCode::NO_SPACE, ErrorCode::QUOTA, ErrorCode::PROTOCOL];
        assert!(expected.contains(&failure.code), "{size}: {failure:?}");
    }
    assert_serves(&receiver, &scratch);
    assert_eq!(names(receiver.out()), ["honest"]);
}

#[test]
fn two_sessions_of_one_name_are_not_mixed_up() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.dir("out"), &[]);
    let mut first = RawSender::connect(receiver.address());
    let size = CONTENT.len() as u64;
    first.offer(vec![entry(b"f", EntryKind::File, size)]);
    // The same session and even the same tag, from another address.
    let mut second = first.twin();
    second.offer(vec![entry(b"g", EntryKind::File, size)]);
    second.content(0, 0, b"by somebody  e");
    second.goodbye();
    first.content(0, 0, CONTENT);
    assert_eq!(first.verdicts(1), [(FileIndex(0), Verdict::Committed)]);
    assert_eq!(fs::read(receiver.out().join("f")).unwrap(), CONTENT);
    assert!(!receiver.out().join("g").exists());
    assert_serves(&receiver, &scratch);
}

#[test]
fn packets_that_are_cut_or_stretched_change_nothing() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.dir("out"), &[]);
    let mut sender = RawSender::connect(receiver.address());
    let size = CONTENT.len() as u64;
    sender.offer(vec![entry(b"f", EntryKind::File, size)]);
    for packet in sender.packets.clone() {
        for len in 0..packet.len() {
            sender.send_raw(&packet[..len]);
        }
        for extra in 1..=64 {
            sender.send_raw(&[packet.as_slice(), &vec![0xa5; extra]].concat());
        }
    }
    sender.content(0, 0, CONTENT);
    assert_eq!(sender.verdicts(1), [(FileIndex(0), Verdict::Committed)]);
    assert_serves(&receiver, &scratch);
}

#[test]
fn nothing_is_sent_to_an_address_that_is_not_proven() {
    let scratch = Scratch::new();
    let receiver = Receiver::start(&scratch.dir("out"), &[]);
    let (sent, received) = RawSender::ask_for_tokens(receiver.address(), 200);
    assert!(received > 0, "no token at all");
    assert!(received * 10 < sent, "{received} bytes for {sent}");
    assert_serves(&receiver, &scratch);
}

/// A sender in each mode, and how it ends with a receiver that does `lie` at its first data.
fn with_a_receiver_that(
    lie: impl Fn(u64) -> Option<Report> + Send + Clone + 'static,
    status: i32,
    says: &str,
) {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), &noise(3_000_000, 3));
    let started = Instant::now();
    let senders: Vec<_> = MODES
        .iter()
        .map(|mode| {
            let to = RawReceiver::start(lie.clone());
            let mut command = xfer(&["send", "--mode", mode, "--to", &to.to_string(), "data"]);
            command.current_dir(scratch.path());
            Running::start(command)
        })
        .collect();
    for sender in senders {
        sender.finish().expect(status).says(says);
    }
    assert!(started.elapsed() < GIVEN_UP, "{:?}", started.elapsed());
}

#[test]
fn a_receiver_that_acknowledges_what_was_never_sent_is_left_in_every_mode() {
    let lie = |largest: u64| {
        Some(Report {
            largest: largest + 1_000_000,
            received: largest + 1_000_000,
            window: 1 << 20,
            ..Report::default()
        })
    };
    with_a_receiver_that(lie, exit::INTEGRITY, "never sent");
}

#[test]
fn a_receiver_that_has_chunks_that_were_never_sent_is_left_in_every_mode() {
    let lie = |largest: u64| {
        Some(Report {
            largest,
            received: largest,
            window: 1 << 20,
            first_missing: 1 << 40,
            end: 1 << 40,
            page_start: 1 << 40,
            page_end: 1 << 40,
            blocks: BlockAck::default(),
            ..Report::default()
        })
    };
    with_a_receiver_that(lie, exit::INTEGRITY, "chunk");
}

#[test]
fn a_receiver_that_falls_silent_is_given_up_in_time_in_every_mode() {
    with_a_receiver_that(|_| None, exit::UNREACHABLE, "");
}
