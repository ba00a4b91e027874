//! The binary as a child process that cannot hang a test.

use serde_json::Value;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nothing that is waited for here takes so long unless it hangs.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(120);
/// Between two looks at something that gives no sign when it happens. Only the speed of a test
/// depends on it.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The binary with these arguments, and nothing of the environment that changes what it says.
pub(crate) fn xfer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xfer"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts a command and waits for its end.
pub(crate) fn run(command: Command) -> Finished {
    Running::start(command).finish()
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < WATCHDOG, "waited in vain: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// A child process; it is killed if the test lets go of it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// How a child process ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// A child whose stdout is read by someone else.
    pub(crate) fn of_child(mut child: Child) -> Self {
        let stderr = child.stderr.take().map(collect);
        Self {
            child,
            stdout: None,
            stderr,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `INT`, `TERM`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Finished {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > WATCHDOG {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                panic!("hung; {}", self.words());
            }
            thread::sleep(POLL_INTERVAL);
        };
        let stdout = self.stdout.take().map(join).unwrap_or_default();
        let stderr = self.stderr.take().map(join).unwrap_or_default();
        Finished {
            status,
            stdout,
            stderr,
        }
    }

    fn words(&mut self) -> String {
        let stdout = self.stdout.take().map(join).unwrap_or_default();
        let stderr = self.stderr.take().map(join).unwrap_or_default();
        format!("stdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in every test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Fails the test, with all that was said, unless the status is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    /// Fails the test unless stderr has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in {self:#?}");
        self
    }

    /// The lines of stdout as JSON.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Sends a signal to a process by its number.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -s {name} {id}")])
        .status()
        .unwrap();
    assert!(status.success(), "kill -s {name} {id}");
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}

fn join(thread: JoinHandle<String>) -> String {
    thread.join().unwrap()
}

/// SIGHUP and its status; another signal where these tests run under `nohup`, for what ignores it
/// is inherited, and kept.
pub(crate) fn hang_up() -> (&'static str, i32) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    match mask.unwrap_or(0) & 1 {
        0 => ("HUP", 129),
        _ => ("TERM", 143),
    }
}
