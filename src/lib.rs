//! Moves files over UDP, whole and fast, to one host or to many.

mod api;
mod net;
mod runtime;
#[allow(dead_code, reason = "the runtime that drives it is a floor above")]
mod storage;
mod stub;

pub use api::*;
pub use storage::sum;
pub use stub::*;
