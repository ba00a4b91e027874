//! Moves files over UDP, whole and fast, to one host or to many.

mod api;
mod net;
mod runtime;
mod storage;

pub use api::*;
