//! `xfer recv` on a port that the system chooses.

use super::process::{Finished, Running, WATCHDOG, xfer};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver as Channel};
use std::thread;

/// A receiver that is ready.
#[derive(Debug)]
pub(crate) struct Receiver {
    running: Running,
    events: Channel<Value>,
    address: SocketAddr,
    out: PathBuf,
}

impl Receiver {
    /// Receives into `out` on loopback.
    pub(crate) fn start(out: &Path, options: &[&str]) -> Self {
        let mut command = xfer(&["recv", "--listen", "127.0.0.1:0"]);
        command.args(options);
        Self::start_command(command, out)
    }

    /// Starts a command line of `recv` that lacks `--json` and `--out`.
    pub(crate) fn start_command(mut command: Command, out: &Path) -> Self {
        command.arg("--json").arg("--out").arg(out);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let running = Running::of_child(child);
        let Ok(event) = events.recv_timeout(WATCHDOG) else {
            panic!("no receiver: {:#?}", running.finish());
        };
        assert_eq!(event["event"], "listening", "{event}");
        let address = event["address"].as_str().unwrap().parse().unwrap();
        Self {
            running,
            events,
            address,
            out: out.to_owned(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as an argument for `--to`.
    pub(crate) fn to(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn out(&self) -> &Path {
        &self.out
    }

    pub(crate) fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn next_event(&self) -> Value {
        self.events
            .recv_timeout(WATCHDOG)
            .expect("no event of the receiver")
    }

    /// Waits for the end, which something else brings about.
    pub(crate) fn finish(self) -> Finished {
        self.running.finish()
    }
}
