//! How `set`, `stats` and `down` talk to the process that holds the lab: one JSON line each way
//! over a Unix socket.

use crate::hosts::{MAX_EXTRA_HOSTS, hosts};
use crate::link::{Change, Profile};
use crate::netns;
use crate::switch::PortStats;
use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Where the socket and the lock are.
pub const RUN_DIR: &str = "/run/xfer-lab";

/// A client that says nothing for so long is let go.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// The longest request that is read.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;

/// What can be asked of a running lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// The counters of every port.
    Stats,
    /// Changes the links of the hosts named, or of all when none is.
    Set {
        /// Names as in `up`.
        hosts: Vec<String>,
        /// What changes.
        change: Change,
    },
    /// Ends the lab.
    Down,
}

/// What a running lab answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Response {
    /// It is done.
    Done,
    /// It cannot be done, and why.
    Refused(String),
    /// The counters.
    Stats(Box<Stats>),
}

/// The counters of a lab.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// How late frames were handed over, against the time that their links gave them.
    pub lateness: Lateness,
    /// One entry a port.
    pub ports: Vec<HostStats>,
}

/// How late the switch was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// Frames that were handed over.
    pub frames: u64,
    /// Half of the frames were at most so late.
    pub median_us: u64,
    /// 99 of 100 were at most so late.
    pub p99_us: u64,
    /// The worst.
    pub max_us: u64,
}

/// The counters of one port, under its host's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostStats {
    /// The host.
    pub host: String,
    /// What its port does at the moment.
    pub profile: Profile,
    /// What its port did.
    pub port: PortStats,
    /// Frames that the kernel dropped before the switch could read them.
    pub dropped_kernel: u64,
    /// Frames that the host did not take.
    pub dropped_write: u64,
    /// Bytes that wait at the moment, up and down.
    pub waiting_bytes: (u64, u64),
}

/// A request and where its answer goes.
pub type Call = (Request, mpsc::Sender<Response>);

/// The path of the control socket.
pub fn socket_path() -> PathBuf {
    Path::new(RUN_DIR).join("control")
}

/// Asks the running lab.
pub fn ask(request: &Request) -> Result<Response> {
    let stream = UnixStream::connect(socket_path())
        .context("no lab is up (start one with `xfer-lab up`)")?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    (&stream)
        .write_all(line.as_bytes())
        .context("cannot write to the lab")?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .context("cannot read from the lab")?;
    match serde_json::from_str(&answer).context("the lab gave no answer")? {
        Response::Refused(why) => Err(anyhow!(why)),
        response => Ok(response),
    }
}

/// The counters of the running lab, with those that the kernel keeps.
pub fn stats() -> Result<Stats> {
    let Response::Stats(mut stats) = ask(&Request::Stats)? else {
        return Err(anyhow!("the lab did not answer with its counters"));
    };
    let all = hosts(MAX_EXTRA_HOSTS)?;
    for port in &mut stats.ports {
        if let Some(host) = all.iter().find(|host| host.name == port.host) {
            // The TAP device drops when its queue to the switch is full.
            port.dropped_kernel = netns::counter(host, "tx_dropped")?;
        }
    }
    Ok(*stats)
}

/// Listens, and passes every call on to `calls`; `wake` tells the other end to look.
pub fn serve(calls: mpsc::Sender<Call>, wake: impl Fn() + Send + 'static) -> Result<()> {
    let path = socket_path();
    // Left by a lab that was killed; the lock says that no other one lives.
    let _ = std::fs::remove_file(&path);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("cannot bind `{}`", path.display()))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away or sends nonsense is its own loss.
            let _ = answer(&stream, &calls, &wake);
        }
    });
    Ok(())
}

fn answer(stream: &UnixStream, calls: &mpsc::Sender<Call>, wake: &impl Fn()) -> Result<()> {
    stream.set_read_timeout(Some(CLIENT_PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_REQUEST_BYTES)).read_line(&mut line)?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => {
            let (sender, receiver) = mpsc::channel();
            calls.send((request, sender))?;
            wake();
            receiver.recv()?
        }
        Err(error) => Response::Refused(format!("not a request: {error}")),
    };
    let mut text = serde_json::to_string(&response)?;
    text.push('\n');
    (&*stream).write_all(text.as_bytes())?;
    Ok(())
}
