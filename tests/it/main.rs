//! The real binary, from outside: files, exit statuses, words and events.
//!
//! Nothing here sleeps to be right: a test waits for an event or an exit, and a watchdog ends the
//! wait. Paths that lose datagrams are relays with a seed, so a run that failed can be had again.

#[path = "../../src/cli/demo/relay.rs"]
mod relay;

mod support;

mod crowds;
mod demo;
#[cfg(unix)]
mod disk;
mod failures;
#[cfg(unix)]
mod hostile;
mod json;
mod loss;
mod modes;
mod names;
mod output;
mod receiver;
mod refusals;
#[cfg(unix)]
mod resume;
mod signals;
mod sizes;
mod sum;
mod usage;
#[cfg(target_os = "linux")]
mod workers;
