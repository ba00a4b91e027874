//! Many sessions at once to one receiver.

use crate::host::{Program, difference, noise, read_tree};
use crate::say;
use anyhow::{Result, ensure};
use std::fs;
use std::time::Instant;
use xfer_proto::rng::Rng;

/// Memory that a receiver may have: a base, and so much for each session.
const BASE_KIB: u64 = 64 << 10;
const SESSION_KIB: u64 = 64;

/// Options of the crowd.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Sessions at once, one file each
    #[arg(long, default_value_t = 1_000)]
    sessions: u64,
    /// Bytes of each file
    #[arg(long, default_value_t = 1 << 20)]
    size: usize,
}

/// Runs the crowd; answers how often a promise broke.
pub(crate) fn run(program: &Program, arguments: &Arguments) -> Result<u64> {
    let scratch = tempfile::tempdir()?;
    let (source, out) = (scratch.path().join("source"), scratch.path().join("out"));
    fs::create_dir_all(source.join("tree"))?;
    let mut rng = Rng::new(1);
    for file in 0..arguments.sessions {
        let path = source.join("tree").join(file.to_string());
        fs::write(path, noise(arguments.size, &mut rng))?;
    }
    let receiver = program.receive(&out, "127.0.0.1:0", &[], &[])?;
    let jobs = arguments.sessions.to_string();
    let options = ["--jobs", &jobs, "--timeout", "60"];
    let started = Instant::now();
    let sender = program.send(&source, receiver.address()?, &options, &["tree"], &[])?;
    let (status, summary) = sender.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    let memory = receiver.process.memory_kib("VmHWM")?;
    let allowed = BASE_KIB + SESSION_KIB * arguments.sessions;
    say(&format!(
        "{} sessions of {} bytes: status {status}, {} committed, {} failed in {seconds:.1} s; \
         the receiver had {:.1} MiB at most, {:.1} are allowed",
        arguments.sessions,
        arguments.size,
        summary["committed"],
        summary["failed"],
        memory as f64 / 1024.0,
        allowed as f64 / 1024.0
    ));
    ensure!(receiver.stop()? == 130, "the receiver did not end in order");
    let mut violations = u64::from(memory > allowed);
    let expected = read_tree(&source)?;
    if status == 0 {
        if let Some(what) = difference(&expected, &out)? {
            say(&format!("status 0, and {what}"));
            violations += 1;
        }
    } else if let Some(half) = crate::host::half_file(&expected, &out)? {
        say(&half);
        violations += 1;
    }
    Ok(violations)
}
