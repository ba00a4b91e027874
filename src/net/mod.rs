//! UDP sockets: options, batches, offload, and what the system tells about them.
//!
//! Everything here is nonblocking and knows nothing of sessions; how to wait for a socket is the
//! runtime's business.

mod batch;
mod drops;
mod mtu;
mod resolve;
mod sieve;
mod socket;

pub(crate) use batch::{Arrival, Progress};
pub(crate) use drops::KernelDrops;
pub(crate) use mtu::max_datagram;
pub use resolve::resolve;
pub(crate) use sieve::{ALL, Class, Share, Sieve};
pub(crate) use socket::{ReceiveBuffers, Socket};
