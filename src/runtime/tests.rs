//! Whole transfers over the loopback, in the modes that need no other process.

use super::*;
use crate::api::{
    Congestion, Destination, Error, Mode, OnConflict, RecvEvent, RecvOptions, SendEvent,
    SendOptions, SendSummary, SentStatus,
};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use xfer_proto::error::ErrorCode;

/// A receiver on a thread of its own.
struct Host {
    address: SocketAddr,
    stop: Stop,
    events: Receiver<RecvEvent>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Host {
    fn start(out: &Path, exit_after: Option<u64>) -> Self {
        let stop = Stop::new();
        let options = RecvOptions {
            out: out.to_owned(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            exit_after,
            on_conflict: OnConflict::Refuse,
            max_size: None,
            max_total: None,
            max_sessions: None,
            confine: false,
            stop: stop.clone(),
        };
        let (tell, events) = channel();
        let thread = std::thread::spawn(move || {
            receive(&options, &mut |event| {
                let _ = tell.send(event);
            })
        });
        let Ok(RecvEvent::Listening(address)) = events.recv() else {
            panic!("it does not listen");
        };
        Self {
            address,
            stop,
            events,
            thread,
        }
    }

    fn destination(&self) -> Destination {
        Destination {
            label: self.address.to_string(),
            address: self.address,
        }
    }
}

fn options(mode: Mode, paths: &[&Path], to: Vec<Destination>) -> SendOptions {
    SendOptions {
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        to,
        mode,
        jobs: None,
        rate: None,
        congestion: Congestion::default(),
        timeout: Duration::from_secs(10),
        stop: Stop::new(),
    }
}

/// Statuses at two receivers of a directory with an empty, a small and a larger file, sent twice.
fn transfer_to_two(mode: Mode) -> [SendSummary; 2] {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    let contents = [("empty", vec![]), ("small", vec![7]), ("large", large)];
    for (name, content) in &contents {
        fs::write(source.join(name), content).unwrap();
    }
    let outs = [dir.path().join("a"), dir.path().join("b")];
    let hosts = [Host::start(&outs[0], None), Host::start(&outs[1], None)];
    let to = hosts.iter().map(Host::destination).collect();
    let options = options(mode, &[&source], to);
    let summaries = [(); 2].map(|()| send(&options, &mut |_| ()).unwrap());
    for (name, content) in &contents {
        for out in &outs {
            assert_eq!(&fs::read(out.join("source").join(name)).unwrap(), content);
        }
    }
    for host in hosts {
        host.stop.stop();
        host.thread.join().unwrap().unwrap();
        let files = host
            .events
            .iter()
            .filter(|event| matches!(event, RecvEvent::File { .. }));
        assert_eq!(files.count(), 6);
    }
    summaries
}

#[test]
fn threads_deliver_to_every_destination_and_skip_what_is_there() {
    for mode in [Mode::Thread, Mode::ThreadAsync] {
        let [first, second] = transfer_to_two(mode);
        assert_eq!((first.files, first.destinations), (3, 2));
        assert_eq!((first.committed, first.skipped, first.failed), (6, 0, 0));
        assert_eq!(first.bytes, 2 * 3_000_001);
        assert!(first.sent_bytes > first.bytes && first.sent_packets > 0);
        assert_eq!((second.committed, second.skipped, second.failed), (0, 6, 0));
    }
}

#[test]
fn a_receiver_ends_after_enough_files_with_the_sender_satisfied() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("x");
    fs::write(&source, "content").unwrap();
    let host = Host::start(&dir.path().join("out"), Some(1));
    let options = options(Mode::Thread, &[&source], vec![host.destination()]);
    let summary = send(&options, &mut |_| ()).unwrap();
    assert_eq!((summary.committed, summary.failed), (1, 0));
    host.thread.join().unwrap().unwrap();
}

#[test]
fn a_stop_ends_a_call_that_would_wait_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("x");
    fs::write(&source, "content").unwrap();
    // A socket that nobody reads.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let to = Destination {
        label: address.to_string(),
        address,
    };
    for mode in [Mode::Thread, Mode::ThreadAsync] {
        let mut options = options(mode, &[&source], vec![to.clone()]);
        options.timeout = Duration::from_secs(1_000);
        let stop = options.stop.clone();
        let mut failures = Vec::new();
        let result = send(&options, &mut |event| match event {
            SendEvent::Planned { files, bytes } => {
                assert_eq!((files, bytes), (1, 7));
                stop.stop();
            }
            SendEvent::File(file) => failures.push(file.status),
            _ => {}
        });
        assert!(matches!(result, Err(Error::Interrupted(0))));
        let [SentStatus::Failed(failure)] = failures.as_slice() else {
            panic!("{failures:?}");
        };
        assert_eq!(failure.code, ErrorCode::INTERRUPTED);
    }
}

#[test]
fn a_silent_peer_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("x");
    fs::write(&source, "content").unwrap();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let label = address.to_string();
    let mut options = options(
        Mode::Thread,
        &[&source],
        vec![Destination { label, address }],
    );
    options.timeout = Duration::from_millis(200);
    let mut codes = Vec::new();
    let summary = send(&options, &mut |event| {
        if let SendEvent::File(file) = event
            && let SentStatus::Failed(failure) = file.status
        {
            codes.push(failure.code);
        }
    });
    assert_eq!(summary.unwrap().failed, 1);
    assert_eq!(codes, [ErrorCode::TIMEOUT]);
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = RecvOptions {
        out: dir.path().to_owned(),
        listen: vec![taken.local_addr().unwrap()],
        exit_after: None,
        on_conflict: OnConflict::Refuse,
        max_size: None,
        max_total: None,
        max_sessions: None,
        confine: false,
        stop: Stop::new(),
    };
    let error = receive(&options, &mut |_| ()).unwrap_err().to_string();
    let start = format!("cannot listen on {}: ", taken.local_addr().unwrap());
    assert!(error.starts_with(&start), "{error}");
}
