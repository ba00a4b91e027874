//! Sessions that are driven by anything at all.
//!
//! Either one end is alone with a peer that knows the session's secrets and says what it likes, or
//! two ends talk to each other over a network that alters what it carries. Storage answers rightly,
//! wrongly, late or with a failure.

mod end;
mod incoming;
mod oracle;
mod outgoing;
mod pair;
mod storage;

use arbitrary::{Result, Unstructured};
use std::net::SocketAddr;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::SessionId;
use xfer_proto::manifest::{Entry, EntryKind, Name};

const ID: SessionId = SessionId(0x1d);
const TAG: u64 = 0x7a9;

/// No input makes a session panic, spin, ask for what it may not, or speak after its end.
pub fn session(data: &[u8]) {
    // There is nothing to see where the bytes do not suffice to say what happens.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=2)? {
        0 => incoming::run(u),
        1 => outgoing::run(u),
        _ => pair::run(u),
    }
}

fn sender_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1))
}

fn receiver_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 2))
}

fn failure(code: u8) -> Failure {
    Failure::new(ErrorCode(u16::from(code)), "made up")
}

fn entry(index: usize, size: u64, is_directory: bool) -> Entry {
    Entry {
        name: Name::new(format!("f{index}")).expect("a plain name"),
        kind: if is_directory {
            EntryKind::Directory
        } else {
            EntryKind::File
        },
        size: if is_directory { 0 } else { size },
        modified: None,
        mode: None,
        identity: None,
    }
}
