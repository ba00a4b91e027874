//! Requirements of SPEC.md, tried on one end of a session whose other end is this test.

mod handshake;
mod kept;
mod memory;
mod parity;
mod path;
mod progress;
mod receiver;
mod receiver_bench;
mod refusals;
mod resume;
mod sender;
mod sender_bench;
mod wire;
