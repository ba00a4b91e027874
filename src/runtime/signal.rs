//! Signals: the first one asks to stop in order, the second one ends the process at once.

use super::stop::Stop;
use std::io;
use std::time::Duration;

/// A process that has not ended so long after the first signal is stuck, in output that nobody
/// reads or in its disk, and is ended. What it has on disk is fit for that at any moment.
const PATIENCE: Duration = Duration::from_secs(5);

impl Stop {
    /// A handle that SIGINT, SIGTERM and SIGHUP ask to stop; SIGHUP where it is not ignored, as
    /// under `nohup`. A second signal, or 5 s after the first, ends the process at once with status
    /// 128 + its number. For programs; a library that is embedded elsewhere takes [`Stop::new`]
    /// instead.
    ///
    /// # Errors
    ///
    /// When the system refuses the handlers or the thread that listens.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::new();
        imp::exit_on_second()?;
        imp::listen(stop.clone(), Some(PATIENCE))?;
        Ok(stop)
    }

    /// The same for a worker process: it never ends at once. The death of a parent with several
    /// threads comes as several signals, and the parent has a say in how long a worker takes.
    pub(crate) fn on_signals_of_worker() -> io::Result<Self> {
        let stop = Self::new();
        imp::listen(stop.clone(), None)?;
        Ok(stop)
    }
}

#[cfg(unix)]
mod imp {
    use crate::runtime::stop::{Stop, StopReason};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

    /// A shell lets what it starts in the background ignore SIGINT, which `kill -INT` is meant to
    /// end all the same: only `nohup` counts.
    fn signals() -> impl Iterator<Item = i32> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is_ignored = ignores(&status, SIGHUP);
        let all = SIGNALS.into_iter();
        all.filter(move |signal| *signal != SIGHUP || !is_ignored)
    }

    /// Whether a process of this status (see proc(5)) ignores a signal.
    fn ignores(status: &str, signal: i32) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.unwrap_or(0) >> (signal - 1) & 1 == 1
    }

    pub(super) fn exit_on_second() -> io::Result<()> {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in signals() {
            // In this order: the first signal finds the flag unset, and sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
        }
        Ok(())
    }

    pub(super) fn listen(stop: Stop, patience: Option<Duration>) -> io::Result<()> {
        let mut signals = Signals::new(signals())?;
        std::thread::Builder::new()
            .name("xfer-signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    stop.stop_for(StopReason::Signal(signal));
                    if let Some(patience) = patience {
                        std::thread::sleep(patience);
                        std::process::exit(128 + signal);
                    }
                }
            })?;
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_mask_tells_what_is_ignored() {
            let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
            assert!(ignores(status, SIGHUP) && ignores(status, 13));
            assert!(!ignores(status, SIGINT) && !ignores("", SIGHUP));
        }
    }
}

#[cfg(not(unix))]
mod imp {
    use crate::runtime::stop::{Stop, StopReason};
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];
    /// There is nothing to block on here: the flags are looked at so often.
    const INTERVAL: Duration = Duration::from_millis(50);

    pub(super) fn exit_on_second() -> io::Result<()> {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
        }
        Ok(())
    }

    pub(super) fn listen(stop: Stop, patience: Option<Duration>) -> io::Result<()> {
        let mut flags = Vec::new();
        for signal in SIGNALS {
            let seen = Arc::new(AtomicBool::new(false));
            flag::register(signal, Arc::clone(&seen))?;
            flags.push((signal, seen));
        }
        std::thread::Builder::new()
            .name("xfer-signals".to_owned())
            .spawn(move || {
                while !stop.is_stopped() {
                    let seen = flags.iter().find(|(_, seen)| seen.load(Ordering::SeqCst));
                    match seen {
                        Some((signal, _)) => {
                            stop.stop_for(StopReason::Signal(*signal));
                            if let Some(patience) = patience {
                                std::thread::sleep(patience);
                                std::process::exit(128 + *signal);
                            }
                        }
                        None => std::thread::sleep(INTERVAL),
                    }
                }
            })?;
        Ok(())
    }
}
