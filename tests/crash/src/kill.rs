//! Either end killed at a random moment, then the same command again.

use crate::host::{MODES, Program, difference, eventually, half_file, noise, read_tree};
use crate::relay::{Direction, Relay};
use crate::say;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use xfer_proto::digest::LEAF_SIZE;
use xfer_proto::rng::Rng;
use xfer_proto::wire::packet::DATA_OVERHEAD;

/// Of the file's size, what may be sent again besides leaves that were not verified.
const SENT_AGAIN: f64 = 0.05;
/// Leaves that may be unverified when the end comes: one that is arriving, one that is being
/// written and hashed, and one whose announced value is still on its way.
const UNVERIFIED: f64 = 3.0;
/// A journal's header without the name, and its records: see `src/storage/journal.rs`.
const JOURNAL_HEADER: usize = 66;
const JOURNAL_RECORD: usize = 45;
const LEAF_RECORD: u8 = 1;

/// Options of the loop.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often
    #[arg(long, default_value_t = 200)]
    times: u64,
    /// Bytes of all files
    #[arg(long, default_value_t = 20 << 20)]
    size: usize,
    /// Files of equal size; of more than one it is not looked at how much is sent again
    #[arg(long, default_value_t = 1)]
    files: usize,
    /// Rate of the sender
    #[arg(long, default_value = "400M")]
    rate: String,
    /// Chooses the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the loop; answers how often a promise broke.
pub(crate) fn run(program: &Program, arguments: &Arguments) -> Result<u64> {
    let scratch = tempfile::tempdir()?;
    let mut rng = Rng::new(arguments.seed);
    let dir = scratch.path().join("source");
    fs::create_dir(&dir)?;
    if arguments.files == 1 {
        fs::write(dir.join("data"), noise(arguments.size, &mut rng))?;
    } else {
        fs::create_dir(dir.join("data"))?;
        for file in 0..arguments.files {
            let content = noise(arguments.size / arguments.files, &mut rng);
            fs::write(dir.join("data").join(file.to_string()), content)?;
        }
    }
    let expected = read_tree(&dir)?;
    let size = arguments.size as f64;
    let leaf = LEAF_SIZE as f64 / size;
    let (mut violations, mut most_unverified) = (0, 0);
    let (mut shares, mut beyond) = (Vec::new(), Vec::new());
    for time in 0..arguments.times {
        let round = Round {
            program,
            dir: &dir,
            scratch: scratch.path(),
            mode: MODES[rng.below(MODES.len() as u64) as usize],
            rate: &arguments.rate,
            kills_receiver: rng.below(2) == 0,
            after: rng.below(arguments.size as u64 + 1),
            pause: Duration::from_micros(rng.below(5_000)),
        };
        let (share, what) = match round.run(&expected) {
            Ok(outcome) => {
                let share = outcome.sent as f64 / size - 1.0;
                let rest = share - outcome.unverified as f64 * leaf;
                beyond.push(rest);
                most_unverified = most_unverified.max(outcome.unverified);
                let is_too_much = rest > SENT_AGAIN || share > SENT_AGAIN + UNVERIFIED * leaf;
                let is_too_much = arguments.files == 1 && is_too_much;
                let text = format!("too much, {} leaves unverified", outcome.unverified);
                (share, is_too_much.then_some(text))
            }
            Err(error) => (0.0, Some(format!("{error:#}"))),
        };
        shares.push(share);
        if let Some(what) = what {
            violations += 1;
            say(&format!("{time}: {round}: {share:.3} again: {what}"));
        }
    }
    let (shares, beyond) = (Shares::of(shares), Shares::of(beyond));
    say(&format!(
        "{} kills, {violations} violations; sent again, as a share of the files: median {:.3}, \
         19 of 20 at most {:.3}, most {:.3}; beyond unverified leaves, of which there were at \
         most {most_unverified}: most {:.3}, {SENT_AGAIN} is allowed",
        arguments.times,
        shares.at(0.5),
        shares.at(0.95),
        shares.at(1.0),
        beyond.at(1.0)
    ));
    Ok(violations)
}

/// Numbers in ascending order.
struct Shares(Vec<f64>);

impl Shares {
    fn of(mut shares: Vec<f64>) -> Self {
        shares.sort_by(f64::total_cmp);
        Self(shares)
    }

    fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1) as f64;
        self.0.get((last * share) as usize).copied().unwrap_or(0.0)
    }
}

/// What a round has cost.
struct Outcome {
    /// Bytes that both runs have sent, less what stands around the content of a data packet.
    sent: u64,
    /// Leaves of which something was sent and that the journal did not prove when the end came.
    unverified: u64,
}

/// Of the leaves that `sent` bytes of content have begun, those that no journal proves.
fn unverified(out: &Path, sent: u64) -> Result<u64> {
    if out.join("data").exists() {
        return Ok(0);
    }
    let mut verified = BTreeSet::new();
    // There is none before the first leaf is there.
    let hidden = fs::read_dir(out.join(".xfer-part"));
    for entry in hidden.into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "journal") {
            // A receiver that lives may take it away at any time.
            let journal = fs::read(path).unwrap_or_default();
            let records = journal.get(JOURNAL_HEADER + "data".len()..);
            for record in records.unwrap_or_default().chunks_exact(JOURNAL_RECORD) {
                if record[0] == LEAF_RECORD {
                    verified.insert(record[1..9].to_vec());
                }
            }
        }
    }
    let begun = sent.div_ceil(LEAF_SIZE);
    Ok(begun.saturating_sub(verified.len() as u64))
}

/// One transfer with one kill.
struct Round<'a> {
    program: &'a Program,
    dir: &'a Path,
    scratch: &'a Path,
    mode: &'static str,
    rate: &'a str,
    kills_receiver: bool,
    after: u64,
    pause: Duration,
}

impl std::fmt::Display for Round<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = if self.kills_receiver {
            "receiver"
        } else {
            "sender"
        };
        write!(
            f,
            "{} killed after {} bytes, {}",
            end, self.after, self.mode
        )
    }
}

impl Round<'_> {
    fn run(&self, expected: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Outcome> {
        let out = tempfile::tempdir_in(self.scratch)?;
        let out = out.path();
        let mut receiver = self.program.receive(out, "127.0.0.1:0", &[], &[])?;
        let address = receiver.address()?;
        let relay = Relay::start(address, 0, 0)?;
        let Direction {
            bytes, datagrams, ..
        } = relay.forward();
        let content = || {
            let around = datagrams.load(Ordering::Relaxed) * DATA_OVERHEAD as u64;
            bytes.load(Ordering::Relaxed).saturating_sub(around)
        };
        let options = ["--mode", self.mode, "--rate", self.rate];
        let send = || {
            self.program
                .send(self.dir, relay.address(), &options, &["data"], &[])
        };
        let mut sender = send()?;
        eventually(|| Ok(bytes.load(Ordering::Relaxed) >= self.after || sender.has_ended()?))?;
        let paused = Instant::now();
        while paused.elapsed() < self.pause {
            std::hint::spin_loop();
        }
        let left;
        if self.kills_receiver {
            receiver.process.signal(Signal::KILL);
            receiver.process.wait()?;
            left = unverified(out, content())?;
            if let Some(half) = half_file(expected, out)? {
                anyhow::bail!("after the kill {half}");
            }
            receiver = self
                .program
                .receive(out, &address.to_string(), &[], &[])
                .context("the second receiver")?;
        } else {
            sender.signal(Signal::KILL);
            left = unverified(out, content())?;
        }
        // The sender of a killed receiver is told by the new one, which does not know it.
        let first = sender.wait()?;
        ensure!(
            [0, 6, 128 + 9].contains(&first),
            "the first run gave {first}"
        );
        let (second, _) = send()?.finish()?;
        ensure!(second == 0, "the second run gave {second}");
        let stopped = receiver.stop()?;
        ensure!(stopped == 130, "the receiver ended with {stopped}");
        match difference(expected, out)? {
            Some(what) => anyhow::bail!("after the second run {what}"),
            None => Ok(Outcome {
                sent: content(),
                unverified: left,
            }),
        }
    }
}
