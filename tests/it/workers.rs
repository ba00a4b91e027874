//! Worker processes that die, and parents that do.

use crate::relay::Relay;
use crate::support::{Receiver, Running, Scratch, eventually, exit, noise, write_file, xfer};
use std::fs;
use std::sync::atomic::Ordering;

const MODES: [&str; 2] = ["process", "process-async"];

/// The processes whose parent is `parent` and that have not ended.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    processes
        .filter(|&id| state_of(id).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// State and parent of a process that has not ended.
fn state_of(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in brackets may hold anything, so the fields count from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != 'Z').then_some((state, parent))
}

/// Starts a slow transfer to these addresses and waits until its content is on the way to all of
/// them.
fn start_slow(scratch: &Scratch, mode: &str, relays: &[&Relay]) -> Running {
    let mut command = xfer(&["send", "--json", "--mode", mode, "--rate", "12M"]);
    for relay in relays {
        command.args(["--to", &relay.address().to_string()]);
    }
    command.arg("data").current_dir(scratch.path());
    let sender = Running::start(command);
    for relay in relays {
        let bytes = &relay.forward().bytes;
        eventually("the transfer begins", || {
            bytes.load(Ordering::Relaxed) > 50_000
        });
    }
    sender
}

#[test]
fn a_worker_that_dies_is_reported_and_the_others_finish() {
    for mode in MODES {
        let scratch = Scratch::new();
        let content = noise(3 << 20, 11);
        write_file(&scratch.join("data"), &content);
        let outs = ["a", "b"].map(|name| scratch.join(name));
        let receivers = outs.each_ref().map(|out| Receiver::start(out, &[]));
        let relays = receivers
            .each_ref()
            .map(|to| Relay::start(to.address(), 0, 0).unwrap());
        let sender = start_slow(&scratch, mode, &[&relays[0], &relays[1]]);
        let workers = children(sender.id());
        assert_eq!(workers.len(), 2, "{mode}");
        crate::support::signal(workers[0], "KILL");
        let sent = sender.finish().expect(exit::OTHER).says("error: ");
        let summary = sent.events().pop().unwrap();
        assert_eq!(
            (&summary["committed"], &summary["failed"]),
            (&1.into(), &1.into()),
            "{mode}"
        );
        let arrived = outs.iter().filter(|out| out.join("data").exists());
        let arrived: Vec<_> = arrived
            .map(|out| fs::read(out.join("data")).unwrap())
            .collect();
        assert!(arrived.len() == 1 && arrived[0] == content, "{mode}");
    }
}

#[test]
fn no_worker_outlives_its_parent() {
    for mode in MODES {
        let scratch = Scratch::new();
        write_file(&scratch.join("data"), &noise(8 << 20, 12));
        let receiver = Receiver::start(&scratch.join("out"), &[]);
        let relay = Relay::start(receiver.address(), 0, 0).unwrap();
        let sender = start_slow(&scratch, mode, &[&relay]);
        let workers = children(sender.id());
        assert!(!workers.is_empty(), "{mode}");
        sender.signal("KILL");
        assert_eq!(sender.finish().status.code(), None);
        eventually("the workers end", || {
            workers.iter().all(|&id| state_of(id).is_none())
        });
        assert!(!receiver.out().join("data").exists());
    }
}
