//! What the tests share: the binary under a watchdog, a receiver on a port of its own, trees of
//! files.

mod files;
mod process;
pub(crate) mod raw;
mod receiver;

pub(crate) use files::{Scratch, assert_same_tree, noise, write_file};
pub(crate) use process::{Finished, Running, WATCHDOG, eventually, hang_up, run, signal, xfer};
pub(crate) use receiver::Receiver;

use std::path::{Path, PathBuf};

/// The modes in the words of the command line.
pub(crate) const MODES: [&str; 4] = ["process", "thread", "process-async", "thread-async"];

/// Statuses of the contract.
pub(crate) mod exit {
    pub(crate) const OTHER: i32 = 1;
    pub(crate) const USAGE: i32 = 2;
    pub(crate) const SOURCE: i32 = 3;
    pub(crate) const REFUSED: i32 = 4;
    pub(crate) const STORAGE: i32 = 5;
    pub(crate) const UNREACHABLE: i32 = 6;
    pub(crate) const UNAUTHORISED: i32 = 7;
    pub(crate) const INTEGRITY: i32 = 8;
}

/// The directory with the pictures.
pub(crate) fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("images")
}

/// Sends `paths`, relative to `dir`, and waits for the end.
pub(crate) fn send(dir: &Path, options: &[&str], paths: &[&str]) -> Finished {
    let mut command = xfer(&["send"]);
    command.current_dir(dir).args(options).arg("--").args(paths);
    run(command)
}
