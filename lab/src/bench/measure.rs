//! Runs one end of a transfer inside its host and says what it took.
//!
//! It is a process of its own around the program: the kernel accounts CPU time and memory of ended
//! children to their parent, which is exact and needs no sampling.

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What one end took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds since 1970, when the program was started.
    pub started: f64,
    /// Seconds since 1970, when it had ended.
    pub ended: f64,
    /// It ended with status 0.
    pub success: bool,
    /// CPU seconds, user and system, of the program and its children.
    pub cpu_seconds: f64,
    /// The most memory that one of its processes had.
    pub max_rss_bytes: u64,
}

/// Runs `command`, and writes its [`Usage`] to `report`. A signal to end is passed on.
pub fn run(report: &Path, command: &[OsString]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    // A daemon's workers outlive it for a moment, and would go unaccounted.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let started = seconds_since_1970();
    let mut child = Command::new(program)
        .args(arguments)
        // A group of its own, so that a signal reaches its children too.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{}`", program.display()))?;
    pass_signals_on(child.id())?;
    let status = child.wait().context("cannot wait for the program")?;
    let ended = seconds_since_1970();
    // Until no child is left, which is an error.
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read the usage")?;
    let cpu_us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let usage = Usage {
        started,
        ended,
        success: status.success(),
        cpu_seconds: cpu_us as f64 / 1e6,
        // Linux counts in KiB.
        max_rss_bytes: usage.max_rss() as u64 * 1024,
    };
    write_whole(report, &serde_json::to_vec(&usage)?)
}

/// Whoever waits for the file must not see half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut partial = PathBuf::from(path);
    partial.set_extension("partial");
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

fn pass_signals_on(child: u32) -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let group = i32::try_from(child)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if let Some(group) = group {
                // It may have ended by itself.
                let signal = rustix::process::Signal::TERM;
                let _ = rustix::process::kill_process_group(group, signal);
            }
        }
    });
    Ok(())
}

fn seconds_since_1970() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_measured_and_its_failure_told() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report.json");
        run(&report, &["sh".into(), "-c".into(), "exit 3".into()]).unwrap();
        let usage: Usage = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        assert!(!usage.success);
        assert!(usage.ended >= usage.started);
        assert!(usage.max_rss_bytes > 0);
    }
}
