//! The lab as a whole. It needs root, TAP devices and `ping`, and skips with a reason without them.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const LAB: &str = env!("CARGO_BIN_EXE_xfer-lab");

fn lab(arguments: &[&str]) -> Output {
    Command::new(LAB).args(arguments).output().unwrap()
}

/// Why the lab cannot be tested here.
fn missing() -> Option<&'static str> {
    let can = |program: &str, argument| {
        Command::new(program)
            .arg(argument)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !rustix::process::geteuid().is_root() {
        Some("not root")
    } else if !Path::new("/dev/net/tun").exists() {
        Some("no /dev/net/tun")
    } else if !can("ip", "-V") || !can("ping", "-V") {
        Some("no `ip` or no `ping`")
    } else if lab(&["stats"]).status.success() {
        Some("a lab is up already")
    } else {
        None
    }
}

/// Starts a lab in the foreground; `None` when another one came first.
fn up(arguments: &[&str]) -> Option<Child> {
    let mut child = Command::new(LAB)
        .arg("up")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    if line == "ready\n" {
        return Some(child);
    }
    child.wait().unwrap();
    None
}

fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

#[test]
fn hosts_reach_each_other_and_nothing_stays_behind() {
    if let Some(why) = missing() {
        return skip(why);
    }
    let Some(mut first) = up(&["--until-eof", "--delay", "20ms"]) else {
        return skip("another lab came up first");
    };
    let ping = lab(&[
        "exec", "client", "--", "ping", "-c", "2", "-i", "0.05", "server1",
    ]);
    let text = String::from_utf8_lossy(&ping.stdout).into_owned();
    assert!(ping.status.success(), "{text}");
    let fastest = text
        .rsplit_once("= ")
        .and_then(|(_, times)| times.split('/').next());
    assert!(fastest.unwrap().parse::<f64>().unwrap() >= 20.0, "{text}");

    assert!(lab(&["set", "--loss", "100%"]).status.success());
    let lost = lab(&[
        "exec", "client", "--", "ping", "-c", "1", "-W", "0.1", "server2",
    ]);
    assert!(!lost.status.success());
    let refused = lab(&["set", "--host", "nobody", "--loss", "0"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no host `nobody`"));
    let stats = lab(&["stats"]).stdout;
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(stats["ports"][0]["host"], "client");
    assert!(
        stats["ports"][0]["port"]["up"]["dropped_loss"]
            .as_u64()
            .unwrap()
            >= 1
    );

    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    assert!(!Path::new("/run/netns/xfer-client").exists());

    // A lab that is killed cannot clean up; `down` does.
    let Some(mut second) = up(&[]) else {
        return skip("another lab came up in between");
    };
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(Path::new("/run/netns/xfer-client").exists());
    assert!(lab(&["down"]).status.success());
    assert!(!Path::new("/run/netns/xfer-client").exists());
    assert!(!Path::new("/etc/netns/xfer-client").exists());
}
