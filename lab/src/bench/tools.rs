//! The programs that are compared, and how each is told to move one file.

use super::scenario::Scenario;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The name of the file or directory that is sent, and under which it is to arrive.
pub const FILE_NAME: &str = "data.bin";

/// Modes of xfer, as its command line names them.
const XFER_MODES: [&str; 4] = ["process", "thread", "process-async", "thread-async"];

/// Fixed-rate tools are told this share of the link in percent, since they know neither its headers
/// nor its other direction.
const FIXED_RATE_PERCENT: u64 = 95;

const XFER_PORT: u16 = 10000;
const SOCAT_PORT: u16 = 10001;
const RSYNC_PORT: u16 = 10002;
const SRT_PORT: u16 = 10003;
const IPERF_PORT: u16 = 10004;
const UDPCAST_PORT: u16 = 10006;
const UFTP_PORT: u16 = 1044;

/// A program and a way to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    /// xfer in one of its modes.
    Xfer(&'static str),
    /// A file through one TCP connection, under a congestion control.
    Socat(&'static str),
    /// A daemon at the receiver, under a congestion control.
    Rsync(&'static str),
    /// The same, told to make every file durable.
    RsyncDurable(&'static str),
    /// Multicast with NAKs, at a fixed rate.
    Uftp,
    /// Multicast in slices, at a fixed rate.
    Udpcast,
    /// SRT's file mode.
    Srt,
    /// TCP from memory to memory: nothing to verify. Its own word is taken for what was received,
    /// since it ends with much of the data still in the socket.
    Iperf(&'static str),
}

/// When the receiver is ready for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It listens on this TCP port.
    Tcp(u16),
    /// It is bound to this UDP port.
    Udp(u16),
}

/// How a tool moves the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The command of the receiver.
    pub receiver: Vec<OsString>,
    /// When the sender may start.
    pub ready: Ready,
    /// The receiver ends when the file is there; a daemon does not, and the sender's end counts.
    pub receiver_ends: bool,
    /// The command of the sender.
    pub sender: Vec<OsString>,
    /// A file arrives and is verified. Otherwise the sender tells the rate, as iperf3's JSON.
    pub moves_file: bool,
    /// The TCP congestion control of both hosts.
    pub congestion_control: Option<&'static str>,
}

/// Where everything is.
pub struct Places<'a> {
    /// The file or directory to send.
    pub source: &'a Path,
    /// The directory in which it is to arrive as [`FILE_NAME`].
    pub target_dir: &'a Path,
    /// A directory for configuration.
    pub work_dir: &'a Path,
    /// The receiver's address.
    pub to: Ipv4Addr,
    /// The `xfer` program.
    pub xfer: &'a Path,
}

impl Tool {
    /// Every tool that can send `files` files, in the order of the table. `controls` are the
    /// kernel's TCP congestion controls.
    pub fn all(controls: &[&'static str], files: u32) -> Vec<Self> {
        let best = controls.first().copied().unwrap_or("cubic");
        let mut tools: Vec<_> = XFER_MODES.into_iter().map(Self::Xfer).collect();
        if files > 1 {
            tools.extend([Self::Rsync(best), Self::RsyncDurable(best)]);
            return tools;
        }
        tools.extend(controls.iter().copied().map(Self::Socat));
        tools.extend([Self::Rsync(best), Self::Uftp, Self::Udpcast, Self::Srt]);
        tools.extend(controls.iter().copied().map(Self::Iperf));
        tools
    }

    /// As the table names it.
    pub fn name(&self) -> String {
        match self {
            Self::Xfer(mode) => format!("xfer {mode}"),
            Self::Socat(control) => format!("socat TCP {control}"),
            Self::Rsync(control) => format!("rsync daemon, TCP {control}"),
            Self::RsyncDurable(control) => format!("rsync daemon --fsync, TCP {control}"),
            Self::Uftp => "UFTP, fixed rate".into(),
            Self::Udpcast => "udpcast, fixed rate".into(),
            Self::Srt => "srt-file-transmit".into(),
            Self::Iperf(control) => format!("iperf3 TCP {control} (memory)"),
        }
    }

    /// The programs that it needs.
    pub fn programs(&self) -> &'static [&'static str] {
        match self {
            Self::Xfer(_) => &[],
            Self::Socat(_) => &["socat"],
            Self::Rsync(_) | Self::RsyncDurable(_) => &["rsync"],
            Self::Uftp => &["uftp", "uftpd"],
            Self::Udpcast => &["udp-sender", "udp-receiver"],
            Self::Srt => &["srt-file-transmit"],
            Self::Iperf(_) => &["iperf3"],
        }
    }

    /// How it moves the file. The second value is a configuration file to write first.
    pub fn plan(
        &self,
        scenario: &Scenario,
        places: &Places<'_>,
    ) -> (Plan, Option<(PathBuf, String)>) {
        let plan = match self {
            Self::Xfer(mode) => xfer(mode, places),
            Self::Socat(control) => socat(control, places),
            Self::Rsync(control) => return rsync(control, "", places),
            Self::RsyncDurable(control) => return rsync(control, "--fsync", places),
            Self::Uftp => uftp(scenario, places),
            Self::Udpcast => udpcast(scenario, places),
            Self::Srt => srt(places),
            Self::Iperf(control) => iperf(control, scenario, places),
        };
        (plan, None)
    }
}

/// The first word and the rest, split at white space; paths are appended by the caller.
fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

/// `prefix` and a path as one argument.
fn joined(prefix: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(path);
    argument
}

fn xfer(mode: &str, places: &Places<'_>) -> Plan {
    let to = places.to;
    let mut receiver = vec![places.xfer.into(), "recv".into(), "--out".into()];
    receiver.push(places.target_dir.into());
    receiver.extend(words(&format!(
        "--listen {to}:{XFER_PORT} --insecure --json"
    )));
    let mut sender = vec![places.xfer.into()];
    sender.extend(words(&format!(
        "send --mode {mode} --to {to}:{XFER_PORT} --insecure --json"
    )));
    sender.push(places.source.into());
    Plan {
        receiver,
        ready: Ready::Udp(XFER_PORT),
        receiver_ends: false,
        sender,
        moves_file: true,
        congestion_control: None,
    }
}

fn socat(control: &'static str, places: &Places<'_>) -> Plan {
    let mut receiver = words(&format!(
        "socat -u -b 262144 TCP-LISTEN:{SOCAT_PORT},reuseaddr"
    ));
    receiver.push(joined("CREATE:", &places.target_dir.join(FILE_NAME)));
    let mut sender = words("socat -u -b 262144");
    sender.push(joined("OPEN:", places.source));
    sender.push(format!("TCP:{}:{SOCAT_PORT}", places.to).into());
    Plan {
        receiver,
        ready: Ready::Tcp(SOCAT_PORT),
        receiver_ends: true,
        sender,
        moves_file: true,
        congestion_control: Some(control),
    }
}

fn rsync(
    control: &'static str,
    option: &str,
    places: &Places<'_>,
) -> (Plan, Option<(PathBuf, String)>) {
    let config = places.work_dir.join("rsyncd.conf");
    let text = format!(
        "use chroot = no\nuid = 0\ngid = 0\nlog file = /dev/null\n\
         [out]\npath = {}\nread only = no\n",
        places.target_dir.display()
    );
    let mut receiver = words(&format!("rsync --daemon --no-detach --port={RSYNC_PORT}"));
    receiver.push(joined("--config=", &config));
    let mut sender = words(&format!("rsync --recursive --whole-file {option}"));
    sender.push(places.source.into());
    sender.push(format!("rsync://{}:{RSYNC_PORT}/out/", places.to).into());
    let plan = Plan {
        receiver,
        ready: Ready::Tcp(RSYNC_PORT),
        receiver_ends: false,
        sender,
        moves_file: true,
        congestion_control: Some(control),
    };
    (plan, Some((config, text)))
}

/// The rate that a fixed-rate tool is told, in kbit/s.
fn fixed_rate_kbit(scenario: &Scenario) -> Option<u64> {
    let rate = scenario.link.as_ref()?.rate?;
    Some(rate * FIXED_RATE_PERCENT / 100 / 1000)
}

fn uftp(scenario: &Scenario, places: &Places<'_>) -> Plan {
    let mut receiver = words("uftpd -d -I eth0 -D");
    receiver.push(places.target_dir.into());
    let rate = fixed_rate_kbit(scenario).map_or_else(|| "-1".into(), |rate| rate.to_string());
    // A receiver's name is its address in hexadecimal; knowing it saves the wait for others.
    let name = format!("0x{:08X}", u32::from(places.to));
    let mut sender = words(&format!("uftp -I eth0 -R {rate} -H {name}"));
    sender.push(places.source.into());
    Plan {
        receiver,
        ready: Ready::Udp(UFTP_PORT),
        receiver_ends: false,
        sender,
        moves_file: true,
        congestion_control: None,
    }
}

fn udpcast(scenario: &Scenario, places: &Places<'_>) -> Plan {
    let common = format!("--nokbd --no-progress --interface eth0 --portbase {UDPCAST_PORT}");
    let mut receiver = words(&format!("udp-receiver {common} --nosync --file"));
    receiver.push(places.target_dir.join(FILE_NAME).into());
    let mut sender = words(&format!(
        "udp-sender {common} --full-duplex --min-receivers 1 --rexmit-hello-interval 500"
    ));
    if let Some(rate) = fixed_rate_kbit(scenario) {
        sender.extend(words(&format!("--max-bitrate {rate}k")));
    }
    sender.extend([OsString::from("--file"), places.source.into()]);
    Plan {
        receiver,
        ready: Ready::Udp(UDPCAST_PORT),
        receiver_ends: true,
        sender,
        moves_file: true,
        congestion_control: None,
    }
}

fn srt(places: &Places<'_>) -> Plan {
    let mut target = joined("file://", places.target_dir);
    target.push("/");
    let listener = format!("srt://:{SRT_PORT}?mode=listener");
    let caller = format!("srt://{}:{SRT_PORT}", places.to);
    Plan {
        receiver: vec![
            "srt-file-transmit".into(),
            "-q".into(),
            listener.into(),
            target,
        ],
        ready: Ready::Udp(SRT_PORT),
        receiver_ends: true,
        sender: vec![
            "srt-file-transmit".into(),
            "-q".into(),
            joined("file://", places.source),
            caller.into(),
        ],
        moves_file: true,
        congestion_control: None,
    }
}

fn iperf(control: &'static str, scenario: &Scenario, places: &Places<'_>) -> Plan {
    let sender = format!(
        "iperf3 --client {} --port {IPERF_PORT} --bytes {} --congestion {control} --json",
        places.to,
        scenario.total_bytes()
    );
    Plan {
        receiver: words(&format!("iperf3 --server --one-off --port {IPERF_PORT}")),
        ready: Ready::Tcp(IPERF_PORT),
        receiver_ends: false,
        sender: words(&sender),
        moves_file: false,
        congestion_control: Some(control),
    }
}
