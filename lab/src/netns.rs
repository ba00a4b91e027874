//! Network namespaces, made and removed with iproute2.

use crate::hosts::{Host, MAX_EXTRA_HOSTS, NETWORK, PREFIX_BITS, hosts};
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the lab calls the device of a host, inside its namespace.
pub const DEVICE: &str = "eth0";

/// Frames that the kernel keeps for the switch at each port. A host can burst faster than the
/// switch reads, and a TAP device has no back-pressure: beyond this the kernel drops, and `stats`
/// says so.
const TAP_QUEUE_FRAMES: u32 = 20_000;

/// Bytes that fit one IP packet on the lab's Ethernet.
const MTU_BYTES: u32 = 1500;

/// Settings of every host. Without saved metrics one TCP run does not teach the next one.
const SYSCTLS: [&str; 5] = [
    "net/ipv4/tcp_no_metrics_save=1",
    "net/ipv4/icmp_ratelimit=0",
    "net/ipv4/icmp_echo_ignore_broadcasts=0",
    "net/ipv6/conf/all/accept_ra=0",
    "net/ipv6/conf/default/accept_dad=0",
];

/// Fails with a clear word unless we are root.
pub fn require_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the lab needs root: it makes network namespaces and TAP devices");
    }
    Ok(())
}

/// The device name of a port, before it moves into its host's namespace.
pub fn tap_name(port: usize) -> String {
    format!("xfer-tap{port}")
}

/// Makes the namespace of `host`, still without a device.
pub fn create(host: &Host) -> Result<()> {
    ip(&["netns", "add", &host.netns()])?;
    let settings = SYSCTLS.map(|setting| {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        format!("echo {value} > /proc/sys/{key}")
    });
    run(inside(host, "sh").args(["-ec", &settings.join("\n")]))
}

/// Moves the device `from` of our own namespace into that of `host` and makes it `host`'s `eth0`,
/// with the addresses and neighbours that belong there.
pub fn adopt_device(host: &Host, from: &str, all: &[Host]) -> Result<()> {
    let netns = host.netns();
    ip(&["link", "set", from, "netns", &netns, "name", DEVICE])?;
    let mut batch = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(batch, "{text}");
    };
    line(format_args!("link set lo up"));
    line(format_args!(
        "link set {DEVICE} address {} mtu {MTU_BYTES}",
        host.mac()
    ));
    line(format_args!(
        "link set {DEVICE} txqueuelen {TAP_QUEUE_FRAMES}"
    ));
    line(format_args!(
        "address add {}/{PREFIX_BITS} brd + dev {DEVICE}",
        host.address()
    ));
    line(format_args!("link set {DEVICE} up"));
    line(format_args!(
        "address add {}/64 dev {DEVICE} nodad",
        host.address_v6()
    ));
    line(format_args!("route add 224.0.0.0/4 dev {DEVICE}"));
    line(format_args!(
        "route add broadcast 255.255.255.255 dev {DEVICE}"
    ));
    // Permanent neighbours: a lost ARP request costs a second, which is not what is measured here.
    for other in all.iter().filter(|other| *other != host) {
        let mac = other.mac();
        line(format_args!(
            "neigh add {} lladdr {mac} dev {DEVICE} nud permanent",
            other.address()
        ));
        line(format_args!(
            "neigh add {} lladdr {mac} dev {DEVICE} nud permanent",
            other.address_v6()
        ));
    }
    ip_batch(&netns, &batch)?;
    write_hosts_file(host, all)
}

/// Joins two hosts by a veth pair, without a switch between them.
pub fn join_by_veth(pair: &[Host]) -> Result<()> {
    let [left, right] = pair else {
        bail!("a veth pair has two ends")
    };
    ip(&[
        "link",
        "add",
        "xfer-veth0",
        "type",
        "veth",
        "peer",
        "name",
        "xfer-veth1",
    ])?;
    adopt_device(left, "xfer-veth0", pair)?;
    adopt_device(right, "xfer-veth1", pair)
}

/// A command that will run `program` inside `host`.
pub fn inside(host: &Host, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &host.netns()]).arg(program);
    command
}

/// Makes `control` the TCP congestion control of `host` towards the others. It is set on the route,
/// since a namespace's own default can be restricted by what the whole machine allows.
pub fn set_congestion_control(host: &Host, control: &str) -> Result<()> {
    let (netns, address) = (host.netns(), host.address().to_string());
    let network = format!("{}/{PREFIX_BITS}", NETWORK);
    let route = [
        "-n", &netns, "route", "replace", &network, "dev", DEVICE, "proto", "kernel",
    ];
    ip(&[
        &route[..],
        &["scope", "link", "src", &address, "congctl", control],
    ]
    .concat())
}

/// A counter of the device of `host`, as `/sys` names it: `tx_bytes`, `tx_dropped`, ...
pub fn counter(host: &Host, name: &str) -> Result<u64> {
    let path = format!("/sys/class/net/{DEVICE}/statistics/{name}");
    // `ip netns exec` mounts the `/sys` of the namespace.
    let output = inside(host, "cat")
        .arg(&path)
        .output()
        .context("cannot run `ip`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .with_context(|| format!("cannot read `{path}` of `{}`", host.name))
}

/// Whether the namespace of `host` is there.
pub fn exists(host: &Host) -> bool {
    Path::new("/run/netns").join(host.netns()).exists()
}

/// Kills whatever runs inside `host`.
pub fn kill_inside(host: &Host) {
    let Ok(output) = Command::new("ip")
        .args(["netns", "pids", &host.netns()])
        .output()
    else {
        return;
    };
    for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended meanwhile, which is as good.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Removes every namespace that a lab can have left behind, with what runs in it and its device.
/// Returns how many there were.
pub fn remove_all() -> Result<usize> {
    let mut removed = 0;
    for host in hosts(MAX_EXTRA_HOSTS)? {
        let etc = etc_dir(&host);
        if etc.exists() {
            std::fs::remove_dir_all(&etc)
                .with_context(|| format!("cannot remove `{}`", etc.display()))?;
        }
        if exists(&host) {
            kill_inside(&host);
            ip(&["netns", "delete", &host.netns()])?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// `ip netns exec` shows the files of this directory as those of `/etc`.
fn etc_dir(host: &Host) -> PathBuf {
    Path::new("/etc/netns").join(host.netns())
}

/// Lets the hosts know each other by name.
fn write_hosts_file(host: &Host, all: &[Host]) -> Result<()> {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for other in all {
        let _ = writeln!(text, "{} {}", other.address(), other.name);
    }
    let dir = etc_dir(host);
    let file = dir.join("hosts");
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(&file, text))
        .with_context(|| format!("cannot write `{}`", file.display()))
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments))
}

fn ip_batch(netns: &str, lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-n", netns, "-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `ip` (is iproute2 installed?)")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(lines.as_bytes())
            .context("cannot write to `ip -batch`")?;
    }
    let output = child
        .wait_with_output()
        .context("cannot wait for `ip -batch`")?;
    if !output.status.success() {
        bail!(
            "`ip -n {netns} -batch` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}", text.trim());
    }
    Ok(())
}
