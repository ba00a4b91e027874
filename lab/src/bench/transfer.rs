//! One transfer by one tool: both ends started, watched, ended and verified.

use super::content;
use super::measure::Usage;
use super::tools::{FILE_NAME, Plan, Ready};
use crate::hosts::Host;
use crate::netns;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A receiver that is not ready after so long is not going to be.
const READY_PATIENCE: Duration = Duration::from_secs(5);

/// So long a program has to end after it was asked to.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether something has happened. The times that count are not taken here.
const POLL: Duration = Duration::from_millis(2);

/// What a transfer that completed took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// From the start of the sender to the file being there.
    pub seconds: f64,
    /// CPU seconds of both ends.
    pub cpu_seconds: f64,
    /// The most memory of a process of the sender.
    pub sender_rss_bytes: u64,
    /// The most memory of a process of the receiver.
    pub receiver_rss_bytes: u64,
    /// Bytes of frames from the sender's host.
    pub sent_bytes: u64,
    /// Bytes of frames from the receiver's host.
    pub feedback_bytes: u64,
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The file is there and identical.
    Done(Sample),
    /// It is not, and why.
    NotDone(String),
}

/// The two hosts and where their programs write.
pub struct Stage<'a> {
    /// The sender's host.
    pub sender: &'a Host,
    /// The receiver's host.
    pub receiver: &'a Host,
    /// Where the file arrives.
    pub target_dir: &'a Path,
    /// Where reports and logs go.
    pub work_dir: &'a Path,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// The digest that what arrives must have.
    pub digest: blake3::Hash,
    /// A run that takes longer is given up.
    pub limit: Duration,
}

struct End {
    child: Child,
    report: PathBuf,
    log: PathBuf,
}

impl Stage<'_> {
    /// Runs `plan` once. `traces` are files for the system calls of sender and receiver.
    /// `on_start` is called as the sender starts.
    pub fn run(
        &self,
        plan: &Plan,
        traces: Option<(&Path, &Path)>,
        on_start: impl FnOnce(),
    ) -> Result<Outcome> {
        empty_dir(self.target_dir)?;
        settle(self.target_dir)?;
        let (sender_trace, receiver_trace) = traces.unzip();
        let mut receiver = self.start(self.receiver, "receiver", &plan.receiver, receiver_trace)?;
        let outcome = if wait_until_ready(&mut receiver, plan.ready) {
            on_start();
            self.transfer(plan, &mut receiver, sender_trace)
        } else {
            Ok(Outcome::NotDone(format!(
                "the receiver did not get ready: {}",
                receiver.last_words()
            )))
        };
        receiver.end(self.receiver)?;
        outcome
    }

    fn transfer(&self, plan: &Plan, receiver: &mut End, trace: Option<&Path>) -> Result<Outcome> {
        let before = self.sent_bytes()?;
        let deadline = Instant::now() + self.limit;
        let mut sender = self.start(self.sender, "sender", &plan.sender, trace)?;
        let sender_ended = sender.wait_until(deadline)?;
        // A sender that failed leaves a receiver that may wait for ever.
        let failed = sender_ended && !sender.usage().is_some_and(|usage| usage.success);
        let patience = if failed {
            deadline.min(Instant::now() + END_PATIENCE)
        } else {
            deadline
        };
        let receiver_ended = !plan.receiver_ends || receiver.wait_until(patience)?;
        sender.end(self.sender)?;
        receiver.end(self.receiver)?;
        if !receiver_ended || (!sender_ended && !plan.receiver_ends) {
            return Ok(Outcome::NotDone(if failed {
                format!("the sender failed: {}", sender.last_words())
            } else {
                format!("not done in {} s", self.limit.as_secs())
            }));
        }
        if plan.moves_file && !self.arrived()? {
            let words = if failed {
                sender.last_words()
            } else {
                receiver.last_words()
            };
            return Ok(Outcome::NotDone(format!(
                "the file did not arrive whole: {words}"
            )));
        }
        let (Some(sent), Some(received)) = (sender.usage(), receiver.usage()) else {
            return Ok(Outcome::NotDone("an end could not be measured".into()));
        };
        let after = self.sent_bytes()?;
        let seconds = match (plan.moves_file, plan.receiver_ends) {
            (false, _) => match sender.told_bits_a_second() {
                Some(bits) if bits > 0.0 => self.total_bytes as f64 * 8.0 / bits,
                _ => return Ok(Outcome::NotDone("the sender told no rate".into())),
            },
            (true, true) => received.ended - sent.started,
            (true, false) => sent.ended - sent.started,
        };
        Ok(Outcome::Done(Sample {
            seconds,
            cpu_seconds: sent.cpu_seconds + received.cpu_seconds,
            sender_rss_bytes: sent.max_rss_bytes,
            receiver_rss_bytes: received.max_rss_bytes,
            sent_bytes: after.0 - before.0,
            feedback_bytes: after.1 - before.1,
        }))
    }

    /// Bytes of frames that the hosts of sender and receiver have sent so far.
    fn sent_bytes(&self) -> Result<(u64, u64)> {
        let sent = |host| netns::counter(host, "tx_bytes");
        Ok((sent(self.sender)?, sent(self.receiver)?))
    }

    fn start(
        &self,
        host: &Host,
        role: &str,
        command: &[OsString],
        trace: Option<&Path>,
    ) -> Result<End> {
        let report = self.work_dir.join(format!("{role}.json"));
        let log = self.work_dir.join(format!("{role}.log"));
        // The last run's report is not this one's.
        let _ = std::fs::remove_file(&report);
        let output =
            File::create(&log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let ourselves = std::env::current_exe().context("cannot find our own program")?;
        let mut wrapped = netns::inside(host, ourselves);
        wrapped
            .arg("measure")
            .arg("--report")
            .arg(&report)
            .arg("--");
        if let Some(trace) = trace {
            wrapped
                .args(["strace", "-f", "-c", "-U", "calls,name", "-o"])
                .arg(trace)
                .arg("--");
        }
        let child = wrapped
            .args(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot run `ip`")?;
        Ok(End { child, report, log })
    }

    fn arrived(&self) -> Result<bool> {
        let path = self.target_dir.join(FILE_NAME);
        if !path.exists() {
            return Ok(false);
        }
        Ok(content::digest(&path)? == self.digest)
    }
}

impl End {
    /// Waits for the program; true when it has ended in time.
    fn wait_until(&mut self, deadline: Instant) -> Result<bool> {
        loop {
            if self
                .child
                .try_wait()
                .context("cannot wait for a program")?
                .is_some()
            {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends the program: it is asked first, so that it is accounted for.
    fn end(&mut self, host: &Host) -> Result<()> {
        if self.wait_until(Instant::now())? {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may just have ended.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if !self.wait_until(Instant::now() + END_PATIENCE)? {
            netns::kill_inside(host);
            if !self.wait_until(Instant::now() + END_PATIENCE)? {
                bail!("a program inside `{}` cannot be ended", host.name);
            }
        }
        Ok(())
    }

    fn usage(&self) -> Option<Usage> {
        serde_json::from_slice(&std::fs::read(&self.report).ok()?).ok()
    }

    /// What iperf3 says that its receiver received.
    fn told_bits_a_second(&self) -> Option<f64> {
        let report: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&self.log).ok()?).ok()?;
        report["end"]["sum_received"]["bits_per_second"].as_f64()
    }

    /// The last line that the program printed.
    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("no word")
            .trim()
            .to_owned()
    }
}

fn wait_until_ready(receiver: &mut End, ready: Ready) -> bool {
    let deadline = Instant::now() + READY_PATIENCE;
    while Instant::now() < deadline {
        // The wrapper is in the receiver's network, so its tables are the receiver's.
        if is_bound(receiver.child.id(), ready) {
            return true;
        }
        if !matches!(receiver.wait_until(Instant::now()), Ok(false)) {
            return false;
        }
        std::thread::sleep(POLL);
    }
    false
}

fn is_bound(pid: u32, ready: Ready) -> bool {
    let (tables, port, state) = match ready {
        Ready::Tcp(port) => (["tcp", "tcp6"], port, Some("0A")),
        Ready::Udp(port) => (["udp", "udp6"], port, None),
    };
    tables.iter().any(|table| {
        std::fs::read_to_string(format!("/proc/{pid}/net/{table}"))
            .is_ok_and(|text| has_port(&text, port, state))
    })
}

/// Whether a table of the kernel's sockets has one on `port`, in `state` if that matters.
fn has_port(table: &str, port: u16, state: Option<&str>) -> bool {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let bound = columns.next().is_some_and(|local| local.ends_with(&suffix));
        bound && state.is_none_or(|wanted| columns.nth(1) == Some(wanted))
    })
}

fn empty_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)
            .with_context(|| format!("cannot remove `{}`", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))
}

/// What others have written goes to the disk before, not during the run that is measured.
fn settle(dir: &Path) -> Result<()> {
    let sync = || -> std::io::Result<()> { Ok(rustix::fs::syncfs(File::open(dir)?)?) };
    sync().with_context(|| format!("cannot sync `{}`", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
        0: 0100007F:2711 00000000:0000 0A 00000000:00000000\n   \
        1: DF7AA8C0:2710 487AA8C0:C001 01 00000000:00000000\n";

    #[test]
    fn a_port_is_found_in_the_state_that_counts() {
        assert!(has_port(TABLE, 10001, Some("0A")));
        assert!(!has_port(TABLE, 10000, Some("0A")));
        assert!(has_port(TABLE, 10000, None));
        assert!(!has_port(TABLE, 10002, None));
    }
}
