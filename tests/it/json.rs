//! The events of `--json` are a contract.

use crate::support::{Receiver, Scratch, exit, noise, run, send, write_file, xfer};
use serde_json::Value;

#[track_caller]
fn assert_keys(event: &Value, expected: &[&str]) {
    let mut keys: Vec<_> = event
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = expected.to_vec();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected, "{event}");
}

#[test]
fn events_of_both_ends_agree() {
    let scratch = Scratch::new();
    let content = noise(123_456, 14);
    let digest = blake3::hash(&content).to_string();
    write_file(&scratch.join("tree/data"), &content);
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
    let to = receiver.to();
    let sent = send(
        scratch.path(),
        &["--json", "--mode", "thread", "--to", &to],
        &["tree"],
    );
    let events = sent.expect(0).events();
    assert_eq!(events.len(), 2);

    let file = &events[0];
    let keys = [
        "event",
        "path",
        "to",
        "bytes",
        "seconds",
        "rate",
        "retransmitted_bytes",
        "blake3",
    ];
    assert_keys(file, &[&keys[..], &["status"]].concat());
    assert_eq!(file["event"], "file");
    assert_eq!(file["path"], "tree/data");
    assert_eq!(file["to"], to);
    assert_eq!(file["bytes"], 123_456);
    assert_eq!(file["blake3"], digest);
    assert_eq!(file["status"], "committed");
    assert!(file["seconds"].is_f64() && file["rate"].is_u64());
    assert!(file["retransmitted_bytes"].is_u64());

    let summary = &events[1];
    let contract = [
        "event",
        "mode",
        "files",
        "destinations",
        "bytes",
        "seconds",
        "committed",
        "skipped",
    ];
    assert_keys(
        summary,
        &[&contract[..], &["failed", "sent_bytes", "sent_packets"]].concat(),
    );
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["mode"], "thread");
    assert_eq!(summary["bytes"], 123_456);

    let received = receiver.next_event();
    assert_keys(
        &received,
        &["event", "path", "from", "bytes", "blake3", "status"],
    );
    assert_eq!(received["event"], "file");
    assert_eq!(received["path"], "tree/data");
    assert_eq!(received["bytes"], 123_456);
    assert_eq!(received["blake3"], digest);
    assert_eq!(received["status"], "committed");
    let from = received["from"].as_str().unwrap();
    assert!(from.starts_with("127.0.0.1:"), "{from}");
    receiver.finish().expect(0);
}

#[test]
fn a_failed_file_tells_why() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"new");
    write_file(&scratch.join("out/data"), b"old");
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let sent = send(
        scratch.path(),
        &["--json", "--to", &receiver.to()],
        &["data"],
    );
    let events = sent.expect(exit::REFUSED).events();
    assert_eq!(events[0]["status"], "failed");
    assert_keys(&events[0]["error"], &["code", "message"]);
    assert_eq!(events[0]["error"]["code"], exit::REFUSED);
    assert_eq!(events[1]["failed"], 1);
    let received = receiver.next_event();
    assert_eq!(received["status"], "failed");
    assert_eq!(received["error"]["code"], exit::REFUSED);
}

#[test]
fn an_error_of_the_whole_is_an_event_too() {
    let arguments = ["send", "--json", "--to", "192.0.2.1", "absent"];
    let sent = run(xfer(&arguments))
        .expect(exit::UNAUTHORISED)
        .says("error: ");
    let events = sent.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event"], "error");
    assert_eq!(events[0]["code"], exit::UNAUTHORISED);
}
