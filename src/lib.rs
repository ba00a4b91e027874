//! Moves files over UDP, whole and fast, to one host or to many.
//!
//! [`send`] and [`receive`] are the two calls; both block, tell what happens through a callback,
//! and can be ended early through a [`Stop`].

mod api;
mod net;
mod runtime;
mod storage;

pub use api::*;
pub use net::resolve;
pub use runtime::{Stop, WORKER_ARGUMENT, receive, send, worker_main};
pub use storage::sum;
