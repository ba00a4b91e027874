//! The program as processes: senders, receivers, what they leave behind.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use xfer_proto::rng::Rng;

/// The modes in the words of the command line.
pub(crate) const MODES: [&str; 4] = ["process", "thread", "process-async", "thread-async"];
/// Nothing that is waited for takes so long unless it hangs.
const WATCHDOG: Duration = Duration::from_secs(300);
/// A receiver listens after so long, or not at all.
const START_TIME: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The program under test.
#[derive(Debug)]
pub(crate) struct Program(PathBuf);

impl Program {
    /// The one that was named, or the one beside this program.
    pub(crate) fn find(named: Option<PathBuf>) -> Result<Self> {
        let path = match named {
            Some(path) => path,
            None => std::env::current_exe()?.with_file_name("xfer"),
        };
        ensure!(
            path.is_file(),
            "there is no `{}`; build it, or name it with --xfer",
            path.display()
        );
        Ok(Self(path.canonicalize()?))
    }

    /// A command line, run by `wrapper` where there is one.
    fn command(&self, wrapper: &[String]) -> Command {
        match wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.0);
                command
            }
            None => Command::new(&self.0),
        }
    }

    /// Starts a receiver and waits until it listens.
    pub(crate) fn receive(
        &self,
        out: &Path,
        listen: &str,
        options: &[&str],
        wrapper: &[String],
    ) -> Result<Receiver> {
        let mut command = self.command(wrapper);
        command
            .args(["recv", "--json", "-q", "--listen", listen, "--out"])
            .arg(out)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start a receiver")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (tell, lines) = mpsc::channel();
        // Whatever else it says is read away, so that it never waits for us.
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines();
            lines.map_while(Result::ok).for_each(|line| {
                let _ = tell.send(line);
            });
        });
        let address = lines
            .recv_timeout(START_TIME)
            .ok()
            .and_then(|line| serde_json::from_str::<Value>(&line).ok())
            .and_then(|event| event["address"].as_str()?.parse().ok());
        Ok(Receiver {
            process: Process {
                child,
                output: None,
            },
            address,
        })
    }

    /// Starts a sender of `paths` in `dir`.
    pub(crate) fn send(
        &self,
        dir: &Path,
        to: SocketAddr,
        options: &[&str],
        paths: &[&str],
        wrapper: &[String],
    ) -> Result<Process> {
        let mut command = self.command(wrapper);
        command
            .current_dir(dir)
            .args(["send", "--json", "-q", "--to", &to.to_string()])
            .args(options)
            .args(paths)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start a sender")?;
        let output = child.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut text = String::new();
                let _ = stdout.read_to_string(&mut text);
                text
            })
        });
        Ok(Process { child, output })
    }
}

/// A receiver; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) process: Process,
    address: Option<SocketAddr>,
}

impl Receiver {
    /// Where it listens; `None` if it did not say so in time.
    pub(crate) fn listens_on(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        self.address.context("the receiver did not start")
    }

    /// Stops it in order; its status.
    pub(crate) fn stop(mut self) -> Result<i32> {
        self.process.signal(Signal::INT);
        self.process.wait()
    }
}

/// A child; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Reads away what it says, so that it never waits for us.
    output: Option<JoinHandle<String>>,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            // It may have ended already.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills what runs beneath a tracer, and with it the tracer's reason to live.
    pub(crate) fn kill_children(&self) {
        self.signal_children(Signal::KILL);
    }

    /// Has what runs beneath a tracer end in order.
    pub(crate) fn interrupt_children(&self) {
        self.signal_children(Signal::INT);
    }

    fn signal_children(&self, signal: Signal) {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            if let Some(pid) = child.parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the end: its status, or 128 and the signal.
    pub(crate) fn wait(&mut self) -> Result<i32> {
        use std::os::unix::process::ExitStatusExt;
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let signal = status.signal().map(|signal| 128 + signal);
                return Ok(status.code().or(signal).unwrap_or(-1));
            }
            if started.elapsed() > WATCHDOG {
                self.child.kill()?;
                bail!("hung: process {}", self.child.id());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits for the end: its status, and its last event.
    pub(crate) fn finish(mut self) -> Result<(i32, Value)> {
        let status = self.wait()?;
        let text = self.output.take().and_then(|reader| reader.join().ok());
        let last = text.as_deref().and_then(|text| text.lines().last());
        let event = last.and_then(|line| serde_json::from_str(line).ok());
        Ok((status, event.unwrap_or(Value::Null)))
    }

    /// Kibibytes of its memory: what `/proc` calls `field`.
    pub(crate) fn memory_kib(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("no {field}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !condition()? {
        ensure!(started.elapsed() < WATCHDOG, "waited in vain");
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Bytes without a pattern.
pub(crate) fn noise(size: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(rng.next_u64().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Files by their path beneath `root`.
pub(crate) fn read_tree(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut tree = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let content = fs::read(&path)?;
                tree.insert(path.strip_prefix(root)?.to_owned(), content);
            }
        }
    }
    Ok(tree)
}

/// What is wrong with `out` after a run that was told a success: it has to be `expected` and
/// nothing else.
pub(crate) fn difference(
    expected: &BTreeMap<PathBuf, Vec<u8>>,
    out: &Path,
) -> Result<Option<String>> {
    let found = read_tree(out)?;
    let names: Vec<_> = found.keys().collect();
    if !names.iter().copied().eq(expected.keys()) {
        return Ok(Some(format!("it holds {names:?}")));
    }
    let differs = expected
        .iter()
        .find(|(name, content)| found[*name] != **content);
    Ok(differs.map(|(name, _)| format!("`{}` differs", name.display())))
}

/// What is wrong with `out` at any time: under a final name is the whole right content or nothing.
pub(crate) fn half_file(
    expected: &BTreeMap<PathBuf, Vec<u8>>,
    out: &Path,
) -> Result<Option<String>> {
    if !out.exists() {
        return Ok(None);
    }
    for (name, content) in read_tree(out)? {
        if !name.starts_with(".xfer-part") && expected.get(&name) != Some(&content) {
            return Ok(Some(format!("`{}` is not what was sent", name.display())));
        }
    }
    Ok(None)
}
