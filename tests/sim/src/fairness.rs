//! Several flows through one bottleneck: our own among themselves, and against models of others.

use crate::cross::{CrossKind, CrossSpec};
use crate::host::{ReceiverSpec, SenderHost};
use crate::queue::{Nanos, SECOND};
use crate::table::{Cell, Span};
use crate::world::{Scenario, World};

/// Who is on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The link. Its round trip is that of every flow.
    pub cell: Cell,
    /// How many flows are ours.
    pub own: u64,
    /// The others.
    pub others: Vec<CrossKind>,
    /// How long after the one before each flow starts.
    pub stagger: Nanos,
    /// Whether the others come first.
    pub others_first: bool,
}

/// What each got, as a share of the link.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// Of our own flows, file bytes.
    pub own: Vec<f64>,
    /// Of the others, payload bytes.
    pub others: Vec<f64>,
    /// 95th percentile of the time in the queue.
    pub queue_p95: Nanos,
    /// Packets dropped by the queue, of those offered.
    pub drops: f64,
}

impl Shares {
    /// Jain's index of our own flows: 1 where all are equal.
    pub fn jain(&self) -> f64 {
        let sum: f64 = self.own.iter().sum();
        let squares: f64 = self.own.iter().map(|share| share * share).sum();
        sum * sum / (self.own.len() as f64 * squares).max(f64::MIN_POSITIVE)
    }
}

impl Contest {
    /// Runs one seed; the error names what went wrong.
    pub fn run(&self, seed: u64, span: Span) -> Result<Shares, String> {
        let mut world = World::new(self.scenario(seed, span));
        world.run_until(span.warm_up);
        let before = self.bytes(&world);
        let (in_before, dropped_before) = {
            let stats = world.network_mut().stats(0);
            (stats.packets_in, stats.dropped_queue)
        };
        world.network_mut().reset_queueing(0);
        world.run_until(span.total);
        if let Some(violation) = world.violations().first() {
            return Err(format!("seed {seed}: {violation}"));
        }
        let possible =
            self.cell.rate as f64 / 8.0 * (span.total - span.warm_up) as f64 / SECOND as f64;
        let both = before.iter().zip(self.bytes(&world));
        let mut own: Vec<f64> = both
            .map(|(before, after)| after.saturating_sub(*before) as f64 / possible)
            .collect();
        let others = own.split_off(self.own as usize);
        let stats = world.network_mut().stats(0);
        let offered = (stats.packets_in - in_before).max(1);
        Ok(Shares {
            own,
            others,
            queue_p95: stats.queueing.percentile(95),
            drops: (stats.dropped_queue - dropped_before) as f64 / offered as f64,
        })
    }

    fn scenario(&self, seed: u64, span: Span) -> Scenario {
        let others = self.others.len() as u64;
        let (own_from, others_from) = if self.others_first {
            (others, 0)
        } else {
            (0, self.own)
        };
        let start = |at: u64| at * self.stagger;
        Scenario {
            seed,
            links: self.cell.links(),
            receiver: ReceiverSpec::default(),
            senders: (0..self.own)
                .map(|at| self.cell.sender(at, start(own_from + at)))
                .collect(),
            cross: (others_from..)
                .zip(&self.others)
                .map(|(at, &kind)| CrossSpec {
                    kind,
                    start: start(at),
                    stop: Nanos::MAX,
                    link: 0,
                    extra_delay: 0,
                    return_delay: self.cell.rtt / 2,
                })
                .collect(),
            deadline: span.total,
            ..Scenario::default()
        }
    }

    fn bytes(&self, world: &World) -> Vec<u64> {
        let own = (0..self.own as usize).filter_map(|at| world.sender(at));
        let own = own.map(|sender: &SenderHost| sender.stats().delivered_bytes);
        let others = (0..self.others.len()).filter_map(|at| world.cross(at));
        own.chain(others.map(|cross| cross.delivered_bytes()))
            .collect()
    }
}
