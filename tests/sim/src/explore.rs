//! Small cases explored exhaustively: every way to lose, copy or hold back a few packets of a short
//! transfer, and every moment at which an end can crash.
//!
//! A run is determined by its script up to the first packet that the script does not reach, so
//! going on from every packet behind the last fault of a script, and from nowhere else, meets every
//! script exactly once.

use crate::content::Content;
use crate::host::SenderSpec;
use crate::network::{Fate, LinkConfig};
use crate::queue::{MILLISECOND, SECOND};
use crate::storage::Latency;
use crate::world::{Fault, FaultKind, Outcome, Scenario, When, World};
use std::rc::Rc;
use xfer_proto::config::{MIN_DATAGRAM, SenderConfig};
use xfer_proto::manifest::{Entry, EntryKind, Name};

/// What can happen to a packet.
const FATES: [Fate; 3] = [Fate::Drop, Fate::Duplicate, Fate::Hold];

/// How much to explore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of each file.
    pub sizes: Vec<u64>,
    /// Most packets that something happens to, in one run.
    pub max_faults: usize,
    /// Nothing happens to packets behind this one.
    pub max_packets: u64,
    /// Whether a crash of one end at every event comes on top.
    pub crashes: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs in all.
    pub runs: u64,
    /// Scripts that led to a violation, with the first one.
    pub failures: Vec<(Script, String)>,
}

/// What happens in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Packets by the order in which they were sent.
    pub fates: Vec<(u64, Fate)>,
    /// Which node crashes before which event.
    pub crash: Option<(u32, u64)>,
}

impl Space {
    /// Goes through all of it. `found` is asked after each run whether to go on.
    pub fn explore(&self, go_on: &mut dyn FnMut(&Report) -> bool) -> Report {
        let mut report = Report::default();
        let quiet = self.extend(&Script::default(), &mut report, go_on);
        if !self.crashes {
            return report;
        }
        for node in 0..2 {
            for event in 1..=quiet {
                let script = Script {
                    crash: Some((node, event)),
                    ..Script::default()
                };
                self.judge(&script, &mut report);
                if !go_on(&report) {
                    return report;
                }
            }
        }
        report
    }

    /// Runs `script` and everything that goes on from it; answers how many events it had itself.
    fn extend(
        &self,
        script: &Script,
        report: &mut Report,
        go_on: &mut dyn FnMut(&Report) -> bool,
    ) -> u64 {
        let outcome = self.judge(script, report);
        if script.fates.len() == self.max_faults {
            return outcome.events;
        }
        let from = script.fates.last().map_or(0, |last| last.0 + 1);
        let packets: u64 = outcome.links.iter().map(|link| link.packets_in).sum();
        for packet in from..packets.min(self.max_packets) {
            for fate in FATES {
                if !go_on(report) {
                    return outcome.events;
                }
                let mut longer = script.clone();
                longer.fates.push((packet, fate));
                self.extend(&longer, report, go_on);
            }
        }
        outcome.events
    }

    fn judge(&self, script: &Script, report: &mut Report) -> Outcome {
        let outcome = self.run(script, false);
        report.runs += 1;
        if let Some(violation) = outcome.violations.first() {
            report.failures.push((script.clone(), violation.clone()));
        }
        outcome
    }

    /// Runs one script.
    pub fn run(&self, script: &Script, keeps_lines: bool) -> Outcome {
        let link = LinkConfig {
            delay: 10 * MILLISECOND,
            ..LinkConfig::default()
        };
        let mut world = World::new(Scenario {
            seed: 1,
            links: vec![link.clone(), link],
            senders: vec![self.sender()],
            faults: script
                .crash
                .map(|(node, event)| Fault {
                    when: When::Event(event),
                    node,
                    kind: FaultKind::Crash {
                        restart_after: 100 * MILLISECOND,
                    },
                })
                .into_iter()
                .collect(),
            deadline: 200 * SECOND,
            must_succeed: true,
            keeps_lines,
            ..Scenario::default()
        });
        world.network_mut().set_script(script.fates.clone());
        world.run()
    }

    fn sender(&self) -> SenderSpec {
        let names = (0..self.sizes.len()).filter_map(|at| Name::new(format!("file-{at}")).ok());
        let manifest = names.zip(&self.sizes).map(|(name, &size)| Entry {
            name,
            kind: EntryKind::File,
            size,
            modified: None,
            mode: None,
            identity: None,
        });
        let contents = (1..).zip(&self.sizes);
        SenderSpec {
            start: 0,
            manifest: manifest.collect(),
            files: Rc::new(
                contents
                    .map(|(seed, &size)| Content::new(seed, size, false))
                    .collect(),
            ),
            config: SenderConfig {
                max_datagram: MIN_DATAGRAM,
                ..SenderConfig::default()
            },
            forward: 0,
            ingress: None,
            is_evil: false,
            reverse: 1,
            extra_delay: 0,
            max_segments: 64,
            latency: Latency::default(),
            failures: Vec::new(),
            max_attempts: 4,
            retry_after: 100 * MILLISECOND,
            timer_slack: 0,
        }
    }
}
