//! A network, storage and clock that exist only in memory.
//!
//! The engine pair of `xfer-proto` runs here under a virtual clock: a seed makes a whole run,
//! faults included, and the same seed makes the same run again, byte for byte. [`schedule`] makes
//! scenarios from seeds, [`world`] runs them, [`oracle`] judges.

pub mod content;
pub mod cross;
pub mod explore;
pub mod fairness;
pub mod histogram;
pub mod host;
pub mod network;
pub mod oracle;
pub mod parallel;
mod path;
pub mod queue;
pub mod schedule;
pub mod steps;
pub mod storage;
mod stranger;
pub mod table;
pub mod throughput;
pub mod trace;
pub mod traitor;
pub mod whole;
pub mod world;
