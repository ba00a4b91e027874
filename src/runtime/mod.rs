//! Where sessions live and what drives them.
//!
//! A mode is a placement and a readiness. The placements are in `place`; the readiness is one of
//! two loops, [`blocking`] and [`async_loop`], which do the same steps of the same [`driver`]. A
//! job ([`job`]) is the unit of work of a sender; a receiver ([`receiver`]) runs one blocking loop
//! for each of its addresses.

mod async_loop;
mod blocking;
mod clock;
mod collect;
mod confine;
mod deadlines;
mod driver;
mod intake;
mod ipc;
mod job;
mod place;
mod random;
mod receiver;
mod send;
mod sender;
mod shard;
mod shedding;
mod signal;
mod sources;
mod stop;
mod storage_thread;
mod waiter;
mod worker;

pub use receiver::receive;
pub use send::send;
pub use stop::Stop;
pub use worker::{WORKER_ARGUMENT, worker_main};

#[cfg(test)]
mod tests;
