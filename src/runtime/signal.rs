//! Signals: the first one asks to stop in order, the second one ends the process at once.

use super::stop::Stop;
use std::io;

impl Stop {
    /// A handle that SIGINT, SIGTERM and SIGHUP ask to stop. A second signal ends the process at
    /// once with status 128 + its number. For programs; a library that is embedded elsewhere
    /// takes [`Stop::new`] instead.
    ///
    /// # Errors
    ///
    /// When the system refuses the handlers or the thread that listens.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::new();
        imp::exit_on_second()?;
        imp::listen(stop.clone())?;
        Ok(stop)
    }

    /// The same for a worker process: it never ends at once. The death of a parent with several
    /// threads comes as several signals, and the parent has a say in how long a worker takes.
    pub(crate) fn on_signals_of_worker() -> io::Result<Self> {
        let stop = Self::new();
        imp::listen(stop.clone())?;
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

    const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

    pub(super) fn exit_on_second() -> io::Result<()> {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            // In this order: the first signal finds the flag unset, and sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
        }
        Ok(())
    }

    pub(super) fn listen(stop: Stop) -> io::Result<()> {
        let mut signals = Signals::new(SIGNALS)?;
        std::thread::Builder::new()
            .name("xfer-signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    stop.stop_for(StopReason::Signal(signal));
                }
            })?;
        Ok(())
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

    pub(super) fn listen(stop: Stop) -> io::Result<()> {
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
                        Some((signal, _)) => stop.stop_for(StopReason::Signal(*signal)),
                        None => std::thread::sleep(INTERVAL),
                    }
                }
            })?;
        Ok(())
    }
}
