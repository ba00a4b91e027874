//! What the loops over system calls share: a small transfer, and which calls to try.

use crate::host::{Program, noise, read_tree};
use crate::strace;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use xfer_proto::rng::Rng;

/// Three leaves, less than a leaf, nothing.
const FILES: [(&str, usize); 3] = [("big", 2_600_000), ("mid", 40_000), ("sub/empty", 0)];
/// A sender whose receiver hangs is not waited for longer.
pub(crate) const TIMEOUT: [&str; 2] = ["--timeout", "3"];

/// Options of the loops.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Tries of one system call, spread over all of its calls
    #[arg(long, default_value_t = 1_000)]
    most: u64,
    /// Only this system call
    #[arg(long)]
    call: Option<String>,
    /// The sender's mode
    #[arg(long, default_value = "thread")]
    pub(crate) mode: String,
}

/// A source tree and a place for what is received.
pub(crate) struct Place {
    scratch: TempDir,
    pub(crate) expected: BTreeMap<PathBuf, Vec<u8>>,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let source = scratch.path().join("source");
        let mut rng = Rng::new(1);
        for (name, size) in FILES {
            let path = source.join("tree").join(name);
            fs::create_dir_all(path.parent().unwrap_or(&source))?;
            fs::write(path, noise(size, &mut rng))?;
        }
        let expected = read_tree(&source)?;
        Ok(Self { scratch, expected })
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.scratch.path().join("source")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// An empty directory to receive into.
    pub(crate) fn out(&self) -> Result<PathBuf> {
        let out = self.scratch.path().join("out");
        if out.exists() {
            fs::remove_dir_all(&out)?;
        }
        Ok(out)
    }

    /// Sends the tree by a sender that nothing is done to; its status.
    pub(crate) fn send(&self, program: &Program, to: SocketAddr, mode: &str) -> Result<i32> {
        let options = ["--mode", mode, TIMEOUT[0], TIMEOUT[1]];
        let sender = program.send(&self.source(), to, &options, &["tree"], &[])?;
        Ok(sender.finish()?.0)
    }
}

/// Which of its ends is tampered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Receiver,
    Sender,
}

/// The calls of one end in a run where nothing goes wrong.
pub(crate) fn calls_of(
    end: End,
    program: &Program,
    place: &Place,
    arguments: &Arguments,
) -> Result<BTreeMap<String, u64>> {
    let wrapper = strace::count(&place.log());
    let (around_receiver, around_sender) = match end {
        End::Receiver => (wrapper.as_slice(), [].as_slice()),
        End::Sender => ([].as_slice(), wrapper.as_slice()),
    };
    let out = place.out()?;
    let files = FILES.len().to_string();
    let mut receiver = program.receive(
        &out,
        "127.0.0.1:0",
        &["--exit-after", &files],
        around_receiver,
    )?;
    let to = receiver.address()?;
    let options = ["--mode", &arguments.mode];
    let sender = program.send(&place.source(), to, &options, &["tree"], around_sender)?;
    let (status, _) = sender.finish()?;
    ensure!(status == 0, "a run without a fault gave {status}");
    receiver.process.wait()?;
    strace::calls(&place.log())
}

/// The tries for a call that a thread makes `count` times.
pub(crate) fn tries(name: &str, count: u64, arguments: &Arguments) -> Vec<u64> {
    if arguments.call.as_deref().is_some_and(|only| only != name) {
        return Vec::new();
    }
    let step = count.div_ceil(arguments.most.max(1)).max(1);
    (1..=count).step_by(step as usize).collect()
}

/// Number of files of the tree, as an option's value.
pub(crate) fn file_count() -> String {
    FILES.len().to_string()
}

/// Removes what an earlier try left of its log.
pub(crate) fn forget(log: &Path) {
    let _ = fs::remove_file(log);
}
