//! Scenarios from seeds: files, links, storage and faults, all drawn from one number.

mod evil;

use crate::content::Content;
use crate::host::{ReceiverSpec, SenderSpec};
use crate::network::{Burst, LinkChange, LinkConfig};
use crate::path;
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::storage::{DiskConfig, Latency, OpFailure, OpKind, Policy};
use crate::world::{Fault, FaultKind, Outcome, Scenario, When, World};
use std::rc::Rc;
use xfer_proto::config::{MAX_DATAGRAM, MIN_DATAGRAM, SenderConfig};
use xfer_proto::digest::{LEAF_SIZE, leaf_count};
use xfer_proto::error::ErrorCode;
use xfer_proto::manifest::{Entry, EntryKind, Name, Timestamp};
use xfer_proto::rng::Rng;

/// How much goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A bad network.
    #[default]
    Quick,
    /// A bad network, bad storage, files that are there already, crashes and interruptions.
    Full,
    /// A bad network, and one end of a session that breaks the protocol on purpose.
    Evil,
}

/// Something on the disk before the run.
#[derive(Clone, Debug)]
enum Existing {
    /// The file itself.
    Same { sender: usize, file: usize },
    /// Another file of that name and of this size.
    Other {
        sender: usize,
        file: usize,
        size: u64,
    },
    /// A partial file with every second leaf; of another content where `is_foreign`.
    Partial {
        sender: usize,
        file: usize,
        is_foreign: bool,
    },
}

/// A scenario and what is on the disk before it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run.
    pub scenario: Scenario,
    existing: Vec<Existing>,
}

/// Makes the plan of `seed` and runs it.
pub fn run(seed: u64, profile: Profile, keeps_lines: bool) -> Outcome {
    let mut plan = plan(seed, profile);
    plan.scenario.keeps_lines = keeps_lines;
    plan.run()
}

impl Plan {
    /// Runs it.
    pub fn run(self) -> Outcome {
        let senders = self.scenario.senders.clone();
        let seed = self.scenario.seed;
        let mut world = World::new(self.scenario);
        let disk = world.disk_mut();
        for existing in &self.existing {
            let (&sender, &file) = match existing {
                Existing::Same { sender, file }
                | Existing::Other { sender, file, .. }
                | Existing::Partial { sender, file, .. } => (sender, file),
            };
            let spec = &senders[sender];
            let (name, content) = (spec.manifest[file].name.clone(), &spec.files[file]);
            match *existing {
                Existing::Same { .. } => disk.put(name, content),
                Existing::Other { size, .. } => disk.put(name, &Content::new(!seed, size, false)),
                Existing::Partial { is_foreign, .. } => {
                    let other = Content::new(!seed, content.size(), false);
                    let there = if is_foreign { &other } else { content };
                    let leaves = (0..leaf_count(content.size())).step_by(2);
                    disk.put_partial(name, there, leaves);
                }
            }
        }
        world.run()
    }
}

/// The plan of `seed`.
pub fn plan(seed: u64, profile: Profile) -> Plan {
    let mut draw = Draw(Rng::new(seed ^ 0x5eed_0000_0000_0000));
    let mut links = vec![draw.link(), draw.link()];
    // The way back is as often like the way there as not.
    if draw.one_in(2) {
        links[1] = LinkConfig {
            loss_ppm: links[0].loss_ppm / (1 + draw.below(4) as u32),
            ..links[0].clone()
        };
    }
    let count = if draw.one_in(8) { 2 + draw.below(2) } else { 1 };
    let mut senders: Vec<SenderSpec> = (0..count).map(|at| draw.sender(at)).collect();
    let mut ingress = None;
    if draw.one_in(6) {
        links.push(draw.socket());
        ingress = Some(2);
        senders
            .iter_mut()
            .for_each(|sender| sender.ingress = ingress);
    }
    let mut plan = Plan {
        scenario: Scenario {
            seed,
            receiver: ReceiverSpec {
                latency: draw.latency(),
                timer_slack: draw.slack(),
                ingress,
                ..ReceiverSpec::default()
            },
            must_succeed: true,
            polls_eagerly: draw.one_in(2),
            links,
            senders,
            ..Scenario::default()
        },
        existing: Vec::new(),
    };
    if draw.one_in(8) {
        plan.scenario.stranger_ppm = draw.spread(10_000, 500_000) as u32;
    }
    if profile == Profile::Full {
        draw.misfortune(&mut plan);
    }
    if profile == Profile::Evil {
        draw.treason(&mut plan);
        plan.scenario.deadline = deadline(&plan.scenario);
    } else if draw.one_in(100) {
        draw.dead_host(&mut plan.scenario);
    } else {
        path::change(&mut draw.0, &mut plan.scenario);
        plan.scenario.deadline = deadline(&plan.scenario);
    }
    plan
}

/// By when a run must be over: the last fault, then for every attempt the time-outs of both ends
/// and a generous time for the bytes.
fn deadline(scenario: &Scenario) -> Nanos {
    let healed = scenario
        .links
        .iter()
        .flat_map(|link| link.blackouts.iter().map(|dark| dark.1))
        .max()
        .unwrap_or(0);
    let bytes: u64 = scenario
        .senders
        .iter()
        .flat_map(|sender| sender.manifest.iter().map(|entry| entry.size))
        .sum();
    let rate = scenario.links.iter().map(|link| link.rate);
    let slowest = rate.filter(|&rate| rate > 0).min().unwrap_or(1_000_000_000);
    let moving = (u128::from(bytes) * 8 * 20 * u128::from(SECOND) / u128::from(slowest)) as Nanos;
    let attempts = scenario.senders.iter().map(|sender| sender.max_attempts);
    let attempts = Nanos::from(attempts.max().unwrap_or(1));
    healed + attempts * (60 * SECOND + moving) + 60 * SECOND
}

/// Random choices.
struct Draw(Rng);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Uniform in the logarithm, from `low` to `high`.
    fn spread(&mut self, low: u64, high: u64) -> u64 {
        let steps = (high / low.max(1)).max(1).ilog2() + 1;
        let base = low << self.below(u64::from(steps));
        (base + self.below(base.max(1))).min(high)
    }

    fn link(&mut self) -> LinkConfig {
        let delay = self.spread(10_000, 150 * MILLISECOND);
        let mut link = LinkConfig {
            delay,
            overhead: 42,
            ..LinkConfig::default()
        };
        if !self.one_in(3) {
            link.rate = self.spread(1_000_000, 1_000_000_000);
            link.queue_limit = self.spread(6_000, 1_000_000);
        }
        if self.one_in(2) {
            link.loss_ppm = self.below(300_000) as u32;
        } else if self.one_in(3) {
            let (loss, length) = (self.below(100_000) as u32, 2 + self.below(20) as u32);
            link.burst = Some(Burst::with_loss(loss, length));
        }
        if self.one_in(3) {
            link.jitter = self.below(delay.min(20 * MILLISECOND));
            link.jitter_reorders = self.one_in(2);
        }
        if self.one_in(4) {
            link.reorder_ppm = self.below(50_000) as u32;
            link.reorder_delay = self.spread(10_000, 50 * MILLISECOND);
        }
        if self.one_in(4) {
            link.duplicate_ppm = self.below(200_000) as u32;
        }
        if self.one_in(4) {
            link.corrupt_ppm = self.below(50_000) as u32;
        }
        if self.one_in(4) {
            link.mtu = MIN_DATAGRAM + self.below(300) as usize;
        }
        if self.one_in(6) {
            let from = self.below(2 * SECOND);
            let length = self.below(3 * SECOND);
            link.blackouts.push((from, from + length));
        }
        if link.rate > 0 && self.one_in(8) {
            link.changes.push(LinkChange {
                at: self.below(SECOND),
                rate: Some(link.rate / (1 + self.below(4)) + 500_000),
                ..LinkChange::default()
            });
        }
        link
    }

    /// The buffer of a socket on a slow host.
    fn socket(&mut self) -> LinkConfig {
        LinkConfig {
            rate: self.spread(8_000_000, 1_000_000_000),
            queue_limit: self.spread(20_000, 1_000_000),
            overhead: 700,
            ..LinkConfig::default()
        }
    }

    fn latency(&mut self) -> Latency {
        if self.one_in(2) {
            return Latency::default();
        }
        Latency {
            base: self.below(MILLISECOND),
            spread: self.below(10 * MILLISECOND),
            per_kib: self.below(10_000),
            stall_ppm: self.below(10_000) as u32,
            stall: self.below(SECOND),
        }
    }

    fn slack(&mut self) -> Nanos {
        match self.below(3) {
            0 => 0,
            1 => 100_000,
            _ => 4 * MILLISECOND,
        }
    }

    fn size(&mut self) -> u64 {
        match self.below(16) {
            0 => 0,
            1 => 1,
            // Around whole packets, whatever the header costs.
            2..=5 => {
                let packet = [1_100, 1_160, 1_200, 1_452, 1_472][self.below(5) as usize];
                packet * (1 + self.below(4)) - 40 + self.below(80)
            }
            6..=12 => self.below(20_000),
            13..=14 => self.below(150_000),
            _ if self.one_in(6) => LEAF_SIZE - 3 + self.below(LEAF_SIZE / 2),
            _ => self.below(400_000),
        }
    }

    fn files(&mut self, sender: u64) -> (Vec<Entry>, Vec<Content>) {
        let count = match self.below(10) {
            0..=4 => 1,
            5..=8 => 2 + self.below(4),
            _ => 5 + self.below(40),
        };
        let mut manifest = Vec::new();
        let mut files = Vec::new();
        for at in 0..count {
            let is_directory = self.one_in(20);
            let size = match count {
                _ if is_directory => 0,
                0..=5 => self.size(),
                _ => self.below(4_000),
            };
            // The names are plain, so that this never fails.
            let Ok(name) = Name::new(format!("s{sender}/file-{at}")) else {
                continue;
            };
            let seed = self.0.next_u64();
            let has_identity = self.one_in(2);
            manifest.push(Entry {
                name,
                kind: match is_directory {
                    true => EntryKind::Directory,
                    false => EntryKind::File,
                },
                size,
                modified: Some(Timestamp {
                    seconds: 1_000_000_000,
                    nanos: 0,
                }),
                mode: None,
                identity: has_identity.then_some(seed),
            });
            files.push(Content::new(seed, size, false));
        }
        (manifest, files)
    }

    fn sender(&mut self, at: u64) -> SenderSpec {
        let (manifest, files) = self.files(at);
        let sizes = [MIN_DATAGRAM, 1_452, 1_472, MAX_DATAGRAM];
        SenderSpec {
            start: if at == 0 { 0 } else { self.below(SECOND) },
            manifest,
            files: Rc::new(files),
            config: SenderConfig {
                max_datagram: sizes[self.below(4) as usize],
                ..SenderConfig::default()
            },
            forward: 0,
            ingress: None,
            is_evil: false,
            reverse: 1,
            extra_delay: if at == 0 { 0 } else { self.below(MILLISECOND) },
            max_segments: if self.one_in(2) { 1 } else { 64 },
            latency: self.latency(),
            failures: Vec::new(),
            // A session may die of heavy loss; the command that is run again must then succeed.
            max_attempts: 4,
            retry_after: 100 * MILLISECOND,
            timer_slack: self.slack(),
        }
    }

    /// Storage that fails, files that are there, crashes, interruptions.
    fn misfortune(&mut self, plan: &mut Plan) {
        plan.scenario.receiver.disk.rot_per_million = 200_000;
        if self.one_in(4) {
            self.disk_failures(plan);
        }
        if self.one_in(16) {
            self.large_file(plan);
            self.existing(plan);
        } else if self.one_in(4) {
            self.existing(plan);
        }
        if self.one_in(8) {
            for link in &mut plan.scenario.links {
                link.corrupt_ppm = self.0.below(20_000) as u32;
                link.repaired_ppm = 200_000;
            }
            plan.scenario.receiver.disk.tolerates_wrong_writes = true;
            plan.scenario.must_succeed = false;
        }
        let nodes = plan.scenario.senders.len() as u64 + 1;
        if self.one_in(4) {
            for _ in 0..=self.below(2) {
                plan.scenario.faults.push(Fault {
                    when: When::Event(1 + self.spread(1, 4_000)),
                    node: self.below(nodes) as u32,
                    kind: FaultKind::Crash {
                        restart_after: self.spread(MILLISECOND, 5 * SECOND),
                    },
                });
            }
            for sender in &mut plan.scenario.senders {
                sender.max_attempts = 8;
            }
        } else if self.one_in(8) {
            plan.scenario.faults.push(Fault {
                when: When::Event(1 + self.spread(1, 4_000)),
                node: self.below(nodes) as u32,
                kind: FaultKind::Abort,
            });
            plan.scenario.must_succeed = false;
        }
    }

    /// One file of a few leaves instead of what there was.
    fn large_file(&mut self, plan: &mut Plan) {
        let spec = &mut plan.scenario.senders[0];
        let size = LEAF_SIZE + self.below(7 * LEAF_SIZE);
        if self.one_in(2) {
            // The least that is allowed: most of the file does not fit.
            spec.config.read_buffer = 3 * LEAF_SIZE as usize;
        }
        let content = Content::new(self.0.next_u64(), size, false);
        spec.files = Rc::new(vec![content]);
        spec.manifest.truncate(1);
        for entry in &mut spec.manifest {
            (entry.kind, entry.size) = (EntryKind::File, size);
            entry.identity = entry.identity.map(|old| !old);
        }
    }

    fn disk_failures(&mut self, plan: &mut Plan) {
        plan.scenario.must_succeed = false;
        if self.one_in(4) {
            let bytes = self.below(200_000);
            plan.scenario.receiver.disk.capacity = Some(bytes);
            return;
        }
        let kinds = [
            (OpKind::Write, ErrorCode::STORAGE_IO),
            (OpKind::Prepare, ErrorCode::STORAGE_DENIED),
            (OpKind::DigestExisting, ErrorCode::STORAGE_IO),
            (OpKind::Hash, ErrorCode::STORAGE_IO),
            (OpKind::Checkpoint, ErrorCode::STORAGE_IO),
            (OpKind::Commit, ErrorCode::STORAGE_IO),
            (OpKind::Read, ErrorCode::SOURCE_UNREADABLE),
            (OpKind::Finish, ErrorCode::SOURCE_CHANGED),
        ];
        for _ in 0..=self.below(2) {
            let (kind, code) = kinds[self.below(kinds.len() as u64) as usize];
            let nth = self.below(6) as u32;
            let failure = OpFailure { kind, nth, code };
            if matches!(kind, OpKind::Read | OpKind::Finish) {
                plan.scenario.senders[0].failures.push(failure);
            } else {
                plan.scenario.receiver.disk.failures.push(failure);
            }
        }
    }

    fn existing(&mut self, plan: &mut Plan) {
        let policy = [Policy::Refuse, Policy::Overwrite, Policy::Rename][self.below(3) as usize];
        plan.scenario.receiver.disk = DiskConfig {
            policy,
            ..plan.scenario.receiver.disk.clone()
        };
        for (sender, spec) in plan.scenario.senders.iter().enumerate() {
            for (file, entry) in spec.manifest.iter().enumerate() {
                if entry.kind == EntryKind::Directory || !self.one_in(2) {
                    continue;
                }
                let is_foreign = self.one_in(4);
                // A file of one leaf is never on record before it is whole.
                let has_leaves = leaf_count(entry.size) > 1;
                plan.existing.push(match self.below(3) {
                    0 => Existing::Same { sender, file },
                    1 | 2 if has_leaves => Existing::Partial {
                        sender,
                        file,
                        is_foreign,
                    },
                    _ => {
                        plan.scenario.must_succeed &= policy != Policy::Refuse;
                        let size = entry.size + self.below(2);
                        Existing::Other { sender, file, size }
                    }
                });
            }
        }
    }

    /// Nothing ever comes back: every sender must give up in good time.
    fn dead_host(&mut self, scenario: &mut Scenario) {
        let dead = self.below(2) as usize;
        scenario.links[dead].loss_ppm = 1_000_000;
        scenario.must_succeed = false;
        let mut last = 0;
        for sender in &mut scenario.senders {
            sender.max_attempts = 1;
            last = last.max(sender.start);
        }
        // The receiver may hold a session that it cannot answer for as long as its idle timeout.
        let patience = if dead == 0 { 12 } else { 45 };
        // A run is over once every machine is up again.
        let down = scenario.faults.iter().map(|fault| match fault.kind {
            FaultKind::Crash { restart_after } if fault.node == 0 => restart_after,
            _ => 0,
        });
        scenario.deadline = last + patience * SECOND + down.sum::<Nanos>();
    }
}
