//! System calls counted and tampered with, by `strace`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether `strace` works here; where it does not, in words why.
pub(crate) fn is_missing() -> Option<String> {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("strace does not work here ({status})")),
        Err(error) => Some(format!("strace cannot be started: {error}")),
    }
}

/// A wrapper that logs every system call with its paths.
pub(crate) fn count(log: &Path) -> Vec<String> {
    words(&["strace", "-f", "-y", "-o", &log.to_string_lossy()])
}

/// A wrapper that tampers with the `when`th call of `name` that a thread makes.
pub(crate) fn inject(name: &str, what: &str, when: u64, log: &Path) -> Vec<String> {
    let trace = format!("trace={name}");
    let inject = format!("inject={name}:{what}:when={when}");
    let log = log.to_string_lossy();
    words(&[
        "strace", "-f", "-y", "-o", &log, "-e", &trace, "-e", &inject,
    ])
}

/// A wrapper that logs, in hexadecimal, what [`events`] reads.
pub(crate) fn record(log: &Path) -> Vec<String> {
    let trace = "trace=sendmsg,sendmmsg,fsync,fdatasync,syncfs,mkdirat,write,pwrite64,pwritev,\
                 pwritev2,renameat,renameat2,linkat";
    let log = log.to_string_lossy();
    words(&[
        "strace", "-f", "-y", "-xx", "-s", "2048", "-o", &log, "-e", trace,
    ])
}

/// One system call of a log by [`record`].
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// What is behind its handles, in order.
    pub(crate) paths: Vec<PathBuf>,
    /// Its strings and buffers, in order.
    pub(crate) texts: Vec<Vec<u8>>,
    pub(crate) succeeded: bool,
}

/// A moment of a log.
#[derive(Debug)]
pub(crate) enum Event {
    Starts(Call),
    Ends(Call),
}

/// What happened, in order. A call that waits is two events with others between.
pub(crate) fn events(log: &Path) -> Result<Vec<Event>> {
    let text = fs::read(log).with_context(|| format!("no `{}`", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let mut waiting: BTreeMap<&str, &str> = BTreeMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let Some((thread, line)) = line.split_once(' ') else {
            continue;
        };
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix("<unfinished ...>") {
            waiting.insert(thread, start);
            events.extend(call(start).map(Event::Starts));
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            let start = waiting.remove(thread).unwrap_or_default();
            events.extend(call(&format!("{start}{end}")).map(Event::Ends));
        } else {
            events.extend(call(line).map(Event::Starts));
            events.extend(call(line).map(Event::Ends));
        }
    }
    Ok(events)
}

/// The bytes of a name as a path.
pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let (mut paths, mut texts) = (Vec::new(), Vec::new());
    let mut rest = rest;
    while let Some(at) = rest.find(['<', '"']) {
        let (start, end) = if rest[at..].starts_with('<') {
            (at + 1, '>')
        } else {
            (at + 1, '"')
        };
        let len = rest[start..].find(end)?;
        let bytes = unescape(&rest[start..start + len]);
        match end {
            '>' => paths.push(path(&bytes)),
            _ => texts.push(bytes),
        }
        rest = &rest[start + len + 1..];
    }
    let result = line.rsplit_once(" = ").map(|(_, result)| result);
    is_name.then(|| Call {
        name: name.to_owned(),
        paths,
        texts,
        succeeded: result.is_some_and(|result| !result.starts_with('-') && result != "?"),
    })
}

/// Bytes that `strace -xx` writes as `\x2f\x74`.
fn unescape(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits
        .map_while(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok())
        .collect()
}

/// From a log: the most calls of each name that one thread made.
pub(crate) fn calls(log: &Path) -> Result<BTreeMap<String, u64>> {
    let text = fs::read(log).with_context(|| format!("no `{}`", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let mut by_thread: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(word)) = (words.next(), words.next()) else {
            continue;
        };
        if let Some((name, _)) = word.split_once('(')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            *by_thread.entry((thread, name)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, name), count) in by_thread {
        let entry = most.entry(name.to_owned()).or_default();
        *entry = count.max(*entry);
    }
    Ok(most)
}

/// From a log: the calls that were tampered with.
pub(crate) fn injected(log: &Path) -> Result<Vec<String>> {
    let text = fs::read(log)?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| line.contains("(INJECTED)"));
    Ok(lines.map(str::to_owned).collect())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
