//! Either end killed at a random moment, then the same command again.

use crate::host::{MODES, Program, difference, eventually, half_file, noise};
use crate::relay::Relay;
use crate::say;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use xfer_proto::digest::LEAF_SIZE;
use xfer_proto::rng::Rng;

/// Of the file's size, what may be sent again besides leaves that were not verified.
const SENT_AGAIN: f64 = 0.05;
/// Leaves that may be unverified when the end comes: one that is arriving, one that is being
/// written and hashed, and one whose announced value is still on its way.
const UNVERIFIED: f64 = 3.0;

/// Options of the loop.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often
    #[arg(long, default_value_t = 200)]
    times: u64,
    /// Bytes of the file
    #[arg(long, default_value_t = 20 << 20)]
    size: usize,
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
    let content = noise(arguments.size, &mut rng);
    fs::write(scratch.path().join("data"), &content)?;
    let expected = BTreeMap::from([(PathBuf::from("data"), content)]);
    let size = arguments.size as f64;
    let leaf = LEAF_SIZE as f64 / size;
    let (mut violations, mut shares) = (0, Vec::new());
    for time in 0..arguments.times {
        let round = Round {
            program,
            dir: scratch.path(),
            mode: MODES[rng.below(MODES.len() as u64) as usize],
            rate: &arguments.rate,
            kills_receiver: rng.below(2) == 0,
            after: rng.below(arguments.size as u64 + 1),
            pause: Duration::from_micros(rng.below(5_000)),
        };
        let sent = round.run(&expected);
        let again = sent.as_ref().map_or(0.0, |sent| *sent as f64 / size - 1.0);
        let what = match sent {
            Ok(_) if again > SENT_AGAIN + UNVERIFIED * leaf => {
                Some("too much was sent again".to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(format!("{error:#}")),
        };
        shares.push(again);
        if let Some(what) = what {
            violations += 1;
            say(&format!("{time}: {round}: {:.3} again: {what}", again));
        }
    }
    shares.sort_by(f64::total_cmp);
    let at = |share: f64| shares[((shares.len() - 1) as f64 * share) as usize];
    say(&format!(
        "{} kills, {violations} violations; sent again, as a share of the file: median {:.3}, \
         19 of 20 at most {:.3}, most {:.3}",
        arguments.times,
        at(0.5),
        at(0.95),
        at(1.0)
    ));
    Ok(violations)
}

/// One transfer with one kill.
struct Round<'a> {
    program: &'a Program,
    dir: &'a std::path::Path,
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
    /// Bytes that both runs have sent.
    fn run(&self, expected: &BTreeMap<PathBuf, Vec<u8>>) -> Result<u64> {
        let out = tempfile::tempdir_in(self.dir)?;
        let out = out.path();
        let mut receiver = self.program.receive(out, "127.0.0.1:0", &[], &[])?;
        let address = receiver.address()?;
        let relay = Relay::start(address, 0, 0)?;
        let bytes = &relay.forward().bytes;
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
        if self.kills_receiver {
            receiver.process.signal(Signal::KILL);
            receiver.process.wait()?;
            if let Some(half) = half_file(expected, out)? {
                anyhow::bail!("after the kill {half}");
            }
            receiver = self
                .program
                .receive(out, &address.to_string(), &[], &[])
                .context("the second receiver")?;
        } else {
            sender.signal(Signal::KILL);
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
            None => Ok(bytes.load(Ordering::Relaxed)),
        }
    }
}
