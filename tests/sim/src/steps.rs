//! A link that changes under a sender in its steady state, and how soon it is used again.

use crate::host::ReceiverSpec;
use crate::network::LinkChange;
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::table::{Cell, file_bytes};
use crate::world::{Scenario, World};

/// A change comes after so long, and the next one so much later.
pub const SETTLING: Nanos = 15 * SECOND;
/// How long the link is watched behind the last change.
pub const WATCHED: Nanos = 10 * SECOND;
/// The share of what the link then carries that counts as used.
pub const USED: f64 = 0.9;
/// How often the receiver is looked at.
const TICK: Nanos = 20 * MILLISECOND;

/// What happens to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The rate becomes so many bits a second.
    Rate(u64),
    /// So many packets in a million get lost.
    Loss(u32),
    /// Nothing passes for so long, in either direction.
    Dark(Nanos),
}

/// A link and what happens to it, one after the other. The last change is the one that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The link at first.
    pub cell: Cell,
    /// Each comes [`SETTLING`] after the one before.
    pub changes: Vec<Change>,
}

/// How a sender came through the last change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recovery {
    /// From the end of the change to the first half second (or four round trips) in which at least
    /// [`USED`] of the new rate came; nothing where that never happened.
    pub after: Option<Nanos>,
    /// The share of the new rate over all of [`WATCHED`].
    pub share: f64,
    /// Packets dropped by the queue in that time, of those offered.
    pub drops: f64,
}

impl Step {
    /// Recovery has to take no longer.
    pub fn limit(&self) -> Nanos {
        (2 * SECOND).max(20 * self.cell.rtt)
    }

    /// The link as it is in the end.
    fn last(&self) -> Cell {
        self.changes
            .iter()
            .fold(self.cell, |cell, change| match *change {
                Change::Rate(rate) => Cell { rate, ..cell },
                Change::Loss(loss_ppm) => Cell { loss_ppm, ..cell },
                Change::Dark(_) => cell,
            })
    }

    fn scenario(&self, seed: u64, deadline: Nanos) -> Scenario {
        let mut links = self.cell.links();
        for (change, at) in self
            .changes
            .iter()
            .zip((SETTLING..).step_by(SETTLING as usize))
        {
            let at_once = match *change {
                Change::Rate(rate) => LinkChange {
                    at,
                    rate: Some(rate),
                    ..LinkChange::default()
                },
                Change::Loss(loss_ppm) => LinkChange {
                    at,
                    loss_ppm: Some(loss_ppm),
                    ..LinkChange::default()
                },
                Change::Dark(time) => {
                    links
                        .iter_mut()
                        .for_each(|link| link.blackouts.push((at, at + time)));
                    continue;
                }
            };
            links.iter_mut().for_each(|link| link.changes.push(at_once));
        }
        Scenario {
            seed,
            links,
            receiver: ReceiverSpec::default(),
            senders: vec![self.cell.sender(0, 0)],
            deadline,
            ..Scenario::default()
        }
    }

    /// Runs one seed; the error names what went wrong.
    pub fn run(&self, seed: u64) -> Result<Recovery, String> {
        let dark = match self.changes.last() {
            Some(&Change::Dark(time)) => time,
            _ => 0,
        };
        let from = SETTLING * self.changes.len() as u64 + dark;
        let mut world = World::new(self.scenario(seed, from + WATCHED));
        world.run_until(from);
        let offered = |world: &mut World| {
            let stats = world.network_mut().stats(0);
            (stats.packets_in, stats.dropped_queue)
        };
        let before = offered(&mut world);
        let mut arrived = vec![file_bytes(&world, self.cell.packet)];
        while world.now() < from + WATCHED {
            world.run_until(world.now() + TICK);
            arrived.push(file_bytes(&world, self.cell.packet));
        }
        if let Some(violation) = world.violations().first() {
            return Err(format!("seed {seed}: {violation}"));
        }
        let after = offered(&mut world);
        let last = self.last();
        let possible = last.rate as f64 / 8.0 * (1.0 - f64::from(last.loss_ppm) / 1e6);
        let window = ((SECOND / 2).max(4 * last.rtt) / TICK) as usize;
        let wanted = USED * possible * window as f64 * TICK as f64 / 1e9;
        let enough = |bytes: &[u64]| (bytes[window] - bytes[0]) as f64 >= wanted;
        let at = arrived.windows(window + 1).position(enough);
        let all = arrived.last().unwrap_or(&0) - arrived[0];
        Ok(Recovery {
            after: at.map(|at| at as Nanos * TICK),
            share: all as f64 / (possible * WATCHED as f64 / 1e9),
            drops: (after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64,
        })
    }
}
