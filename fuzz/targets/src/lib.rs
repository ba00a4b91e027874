//! What the fuzzers try, each as a function of bytes that panics where something does not hold.
//!
//! `fuzz/bins/` wraps each of them for libFuzzer; `tests/corpus.rs` runs them over the committed
//! corpus on stable. A packet's checksum is repaired before it is decoded, so that both see the
//! same.

mod control;
mod frame;
mod journal;
mod names;
mod packets;
mod router;
mod session;
mod sum;

pub use control::control_messages;
pub use frame::frame_decode;
pub use journal::journal;
pub use names::names;
pub use router::router;
pub use session::session;
pub use sum::sum_line;

/// A target: it panics where what it tries does not hold.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also that of its directory in `fuzz/corpus/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("control_messages", control_messages),
    ("frame_decode", frame_decode),
    ("journal", journal),
    ("names", names),
    ("router", router),
    ("session", session),
    ("sum_line", sum_line),
];
