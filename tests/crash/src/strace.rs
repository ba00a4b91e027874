//! System calls counted and tampered with, by `strace`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
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
