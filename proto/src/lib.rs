//! The protocol engine of xfer, sans-IO.
//!
//! This crate turns bytes, times and completions of storage operations into datagrams, storage
//! operations, events and deadlines. It opens no socket and no file, reads no clock, starts no
//! thread and draws no randomness: its driver does all of that, and so the same engine runs
//! blocking, asynchronous and under the virtual clock of a simulator.
//!
//! [`machine::Machine`] is the door. SPEC.md at the root of the repository is the protocol; each
//! module names the sections it implements.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::get_unwrap,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "its own counts, of what was checked; tests and fuzzing stop at overflows"
)]
pub mod congestion;
pub mod digest;
pub mod error;
pub mod fec;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "its own counts, of what was checked; tests and fuzzing stop at overflows"
)]
pub mod file;
pub mod id;
pub mod machine;
pub mod manifest;
pub mod memory;
pub mod range_set;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "its own counts, of what was checked; tests and fuzzing stop at overflows"
)]
pub mod recovery;
pub mod rng;
pub mod router;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "its own counts, of what was checked; tests and fuzzing stop at overflows"
)]
pub mod rtt;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "its own counts, of what was checked; tests and fuzzing stop at overflows"
)]
pub mod session;
pub mod storage;
pub mod time;
pub mod timer;
pub mod transmit;
pub mod wire;
