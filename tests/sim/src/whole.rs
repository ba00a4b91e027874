//! Whole transfers: how long one file takes from the first packet to its status at the sender.

use crate::host::ReceiverSpec;
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::table::Cell;
use crate::world::{Scenario, World};
use std::fmt::Write;

/// A transfer that takes longer than this many times the shortest possible has failed.
const MAX_SLOWNESS: u64 = 20;
/// How finely the end is looked for.
const STEP: Nanos = MILLISECOND / 4;

/// One file over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The link.
    pub cell: Cell,
    /// Bytes of the file.
    pub size: u64,
}

/// What came of all seeds: for each, the share of rate × (1 - loss) and the time.
#[derive(Clone, Debug, Default)]
pub struct Finishes {
    /// One for each seed that worked.
    pub shares: Vec<f64>,
    /// Bytes sent for a byte of the file, less one.
    pub extra: Vec<f64>,
    /// What went wrong, each with its seed.
    pub failures: Vec<String>,
}

impl Course {
    /// The time that rate and loss allow.
    fn shortest(&self) -> Nanos {
        let possible = self.cell.rate as f64 * (1.0 - f64::from(self.cell.loss_ppm) / 1e6);
        (self.size as f64 * 8.0 / possible * SECOND as f64) as Nanos
    }

    /// Runs one seed; answers the share, and how much more than the file was sent.
    pub fn run(&self, seed: u64) -> Result<(f64, f64), String> {
        let deadline = self.shortest() * MAX_SLOWNESS + 10 * self.cell.rtt;
        let mut world = World::new(Scenario {
            seed,
            links: self.cell.links(),
            receiver: ReceiverSpec::default(),
            senders: vec![self.cell.sender_of(0, 0, self.size)],
            deadline: deadline + SECOND,
            ..Scenario::default()
        });
        let mut now = self.shortest();
        while !world.sender(0).is_some_and(|sender| sender.has_status(0)) {
            if let Some(violation) = world.violations().first() {
                return Err(format!("seed {seed}: {violation}"));
            }
            if now > deadline {
                return Err(format!("seed {seed}: not done in {} s", deadline / SECOND));
            }
            now += STEP;
            world.run_until(now);
        }
        let sent = world
            .sender(0)
            .map_or(0, |sender| sender.stats().sent_bytes);
        let extra = sent as f64 / self.size as f64 - 1.0;
        Ok((self.shortest() as f64 / now as f64, extra))
    }

    /// Runs `seeds`.
    pub fn measure(&self, seeds: std::ops::Range<u64>) -> Finishes {
        let mut finishes = Finishes::default();
        for seed in seeds {
            match self.run(seed) {
                Ok((share, extra)) => {
                    finishes.shares.push(share);
                    finishes.extra.push(extra);
                }
                Err(failure) => finishes.failures.push(failure),
            }
        }
        finishes
    }
}

/// The table for people.
pub fn markdown(rows: &[(Course, Finishes)]) -> String {
    let mut text = String::from(
        "| MiB | Mbit/s | RTT ms | loss % | queue BDP | mean | worst | sent beyond the file % |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (course, finishes) in rows {
        let cell = &course.cell;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let worst = finishes
            .shares
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let _ = writeln!(
            text,
            "| {:.2} | {} | {} | {} | {:.2} | {:.3} | {:.3} | {:.1} |{}",
            course.size as f64 / f64::from(1 << 20),
            cell.rate / 1_000_000,
            cell.rtt / MILLISECOND,
            f64::from(cell.loss_ppm) / 1e4,
            cell.queue_per_cent as f64 / 100.0,
            mean(&finishes.shares),
            worst,
            mean(&finishes.extra) * 100.0,
            finishes.failures.first().map_or("", String::as_str),
        );
    }
    text
}
