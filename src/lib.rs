//! Moves files over UDP, whole and fast, to one host or to many.

mod api;
mod net;
mod runtime;
mod storage;
mod stub;

pub use api::*;
pub use stub::*;
