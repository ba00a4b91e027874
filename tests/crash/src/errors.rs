//! System calls of the receiver that fail.

use crate::host::{Program, difference, half_file};
use crate::points::{Arguments, End, Place, calls_of, file_count, forget, tries};
use crate::{say, strace};
use anyhow::{Result, ensure};

/// What fails, and how.
const FAULTS: [(&str, &[&str]); 12] = [
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("write", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO"]),
    ("syncfs", &["EIO"]),
    ("rename", &["EIO"]),
    ("renameat", &["EIO"]),
    ("renameat2", &["EIO", "ENOSPC"]),
    ("openat", &["EIO", "EMFILE", "ENOSPC"]),
    ("mkdirat", &["EIO", "ENOSPC"]),
    ("fchmod", &["EIO"]),
    ("utimensat", &["EIO"]),
];
/// Calls whose failure no success may follow.
const SYNCS: [&str; 3] = ["fsync", "fdatasync", "syncfs"];

/// Runs the loop; answers how often a promise broke.
pub(crate) fn run(program: &Program, arguments: &Arguments) -> Result<u64> {
    if let Some(why) = strace::is_missing() {
        say(&format!("skipped: {why}"));
        return Ok(0);
    }
    let place = Place::new()?;
    let calls = calls_of(End::Receiver, program, &place, arguments)?;
    let (mut faults, mut hits, mut told, mut violations) = (0, 0, 0, 0);
    for (name, errors) in FAULTS {
        let count = calls.get(name).copied().unwrap_or(0);
        for error in errors {
            for when in tries(name, count, arguments) {
                faults += 1;
                match fail(program, &place, arguments, name, error, when) {
                    Ok((is_hit, is_told)) => {
                        hits += u64::from(is_hit);
                        told += u64::from(is_told);
                    }
                    Err(what) => {
                        violations += 1;
                        say(&format!("{name} {when} {error}: {what:#}"));
                    }
                }
            }
        }
    }
    say(&format!(
        "{faults} faults, {hits} of them reached, {told} failed a file; {violations} violations"
    ));
    Ok(violations)
}

/// One fault and a run after it; answers whether it was reached and whether the sender was told of
/// a failure.
fn fail(
    program: &Program,
    place: &Place,
    arguments: &Arguments,
    name: &str,
    error: &str,
    when: u64,
) -> Result<(bool, bool)> {
    let out = place.out()?;
    let log = place.log();
    forget(&log);
    let wrapper = strace::inject(name, &format!("error={error}"), when, &log);
    let files = file_count();
    let options = ["--exit-after", &files];
    let mut receiver = program.receive(&out, "127.0.0.1:0", &options, &wrapper)?;
    let mut status = 5;
    if let Some(to) = receiver.listens_on() {
        status = place.send(program, to, &arguments.mode)?;
    }
    receiver.process.kill_children();
    receiver.process.wait()?;
    let injected = strace::injected(&log)?;
    if let Some(half) = half_file(&place.expected, &out)? {
        anyhow::bail!("with status {status}, {half}");
    }
    if status == 0 {
        let whole = [".xfer-part"];
        let mut found = crate::host::read_tree(&out)?;
        found.retain(|path, _| !whole.iter().any(|skip| path.starts_with(skip)));
        ensure!(found == place.expected, "status 0, and files are missing");
        let is_final = |line: &String| SYNCS.contains(&name) && !line.contains(".journal");
        if let Some(line) = injected.iter().find(|line| is_final(line)) {
            anyhow::bail!("status 0 after {line}");
        }
    }
    let receiver = program.receive(&out, "127.0.0.1:0", &[], &[])?;
    let second = place.send(program, receiver.address()?, &arguments.mode)?;
    ensure!(second == 0, "the second run gave {second}");
    receiver.stop()?;
    match difference(&place.expected, &out)? {
        Some(what) => anyhow::bail!("after the second run {what}"),
        None => Ok((!injected.is_empty(), status != 0)),
    }
}
