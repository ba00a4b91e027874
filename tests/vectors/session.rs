//! The session of the appendix, played to the implementation's receiver.

use crate::support::{bytes, number, text, vectors};
use serde_json::Value;
use std::net::SocketAddr;
use xfer_proto::id::Digest;
use xfer_proto::machine::{Event, FileStatus, Input, Machine, Output, Received};
use xfer_proto::router::{Route, Router, RouterConfig};
use xfer_proto::session::IncomingSession;
use xfer_proto::storage::{Completion, Done, Prepared, StorageOp};
use xfer_proto::time::Instant;
use xfer_proto::transmit::{Ecn, TransmitBuf};
use xfer_proto::wire::frame::Frame;
use xfer_proto::wire::packet::Packet;

/// What the receiver sent and did.
#[derive(Default)]
struct Seen {
    datagrams: Vec<Vec<u8>>,
    written: Vec<u8>,
    events: Vec<Event>,
}

/// Lets the session do everything that it can do now, with a storage that always works.
fn run(session: &mut IncomingSession, now: Instant, seen: &mut Seen) {
    let mut bytes = Vec::new();
    loop {
        let mut out = TransmitBuf::new(&mut bytes, 1);
        match session.poll(now, &mut out) {
            Output::Transmit(transmit) => seen.datagrams.push(bytes[..transmit.len].to_vec()),
            Output::Event(event) => seen.events.push(event),
            Output::Wait(_) | Output::Done => return,
            Output::Storage(op) => {
                let (op, done) = match op {
                    StorageOp::Prepare { op, .. } => (op, Done::Prepared(Prepared::Fresh)),
                    StorageOp::Write { op, data, .. } => {
                        seen.written.extend_from_slice(&data);
                        (op, Done::Written)
                    }
                    StorageOp::Hash { op, .. } => {
                        let hash = blake3::hash(&seen.written);
                        (op, Done::Digest(Digest(*hash.as_bytes())))
                    }
                    StorageOp::Commit { op, .. } => (op, Done::Committed),
                    other => panic!("{other:?}"),
                };
                let result = Ok(done);
                session.handle(now, Input::Storage(Completion { op, result }));
            }
        }
    }
}

fn sent_by(vectors: &[Value], end: &str) -> Vec<Vec<u8>> {
    vectors
        .iter()
        .filter(|vector| text(vector, "from") == end)
        .map(|vector| bytes(text(vector, "hex")))
        .collect()
}

#[test]
fn a_sender_made_from_the_spec_alone_is_understood() {
    // SPEC: R-handshake-2, R-handshake-4, R-handshake-10, R-status-1, R-closing-4
    let vectors = vectors("session");
    let from_receiver = sent_by(&vectors, "receiver");
    let source = SocketAddr::from(([192, 168, 122, 72], 40_000));
    let mut router = Router::new(RouterConfig::new([7; 32]));
    let (mut session, mut seen) = (None::<Box<IncomingSession>>, Seen::default());
    for (step, data) in (0..).zip(sent_by(&vectors, "sender")) {
        let now = Instant::from_millis(5 + step * 10);
        let received = Received {
            source,
            ecn: Ecn::NotEct,
            data: &data,
        };
        let peer = session.as_ref().map(|session| session.peer());
        let mut reply = Vec::new();
        let mut out = TransmitBuf::new(&mut reply, 1);
        match router.route(now, &received, |_| peer, &mut out) {
            Route::Reply(transmit) | Route::Full(transmit, _) => {
                assert!(transmit.len <= data.len());
                assert_eq!(reply, from_receiver[0], "the Retry, token and all");
                continue;
            }
            Route::Incoming(opened) => session = Some(opened),
            Route::Session(_) => {}
            Route::Drop(reason) => panic!("step {step}: {reason:?}"),
        }
        let session = session.as_mut().unwrap();
        session.handle(now, Input::Datagram(received));
        let before = seen.datagrams.len();
        run(session, now, &mut seen);
        assert!(
            step != 1 || seen.datagrams.len() > before,
            "a report at once after the Hello"
        );
    }
    assert_eq!(seen.written, b"Hello, world\n");
    assert!(matches!(
        &seen.events[..],
        [
            Event::File {
                status: FileStatus::Committed(_),
                ..
            },
            Event::Closed(Ok(()))
        ]
    ));
    let last = seen.datagrams.last().unwrap();
    let Ok(Packet::Frames { frames, .. }) = Packet::decode(last) else {
        panic!("no frames")
    };
    assert!(matches!(&frames[..], [Frame::Close(close)] if close.failure.is_none()));
    assert_eq!(number(&vectors[0]["fields"], "number"), 0);
}
