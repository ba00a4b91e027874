//! The throughput table: rate × round trip × loss × queue, several seeds a cell.

use crate::content::Content;
use crate::host::{ReceiverSpec, SenderSpec};
use crate::network::{Burst, LinkConfig, Policer};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::storage::Latency;
use crate::world::{Scenario, World};
use std::fmt::Write;
use std::rc::Rc;
use xfer_proto::config::SenderConfig;
use xfer_proto::manifest::{Entry, EntryKind, Name};

/// Size of a file that no run reaches the end of.
const ENDLESS: u64 = 1 << 36;
/// UDP payload of a full packet, and what is not of the file in it, in bytes.
pub const PACKET: u64 = 1_472;
const HEADER: u64 = 30;

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Bits a second.
    pub rate: u64,
    /// Round trip without queues.
    pub rtt: Nanos,
    /// Random loss in each direction, in parts per million.
    pub loss_ppm: u32,
    /// Queue, in per cent of rate times round trip; never less than 16 full packets.
    pub queue_per_cent: u64,
    /// Where this is not 0 a policer makes the rate, with a bucket as large as the queue would be,
    /// in front of a line that is so many times as fast.
    pub line: u64,
    /// Bits a second of the way back, with a queue of 20 full packets; 0 for the rate of the way
    /// there.
    pub back: u64,
    /// Mean length of the bursts in which packets get lost; 0 where each is lost by itself.
    pub burst: u32,
    /// Packets that arrive twice, in parts per million.
    pub duplicate_ppm: u32,
    /// Jitter in each direction, at most.
    pub jitter: Nanos,
    /// Whether jitter lets packets overtake each other.
    pub jitter_reorders: bool,
    /// Packets held back by 5 ms, in parts per million.
    pub reorder_ppm: u32,
    /// Bytes that each packet costs beyond its UDP payload.
    pub overhead: u64,
    /// Bytes of the largest UDP payload that the path carries.
    pub packet: u64,
}

/// What one seed of a cell gave. Shares are of rate × (1 - loss).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// File bytes that came after the warm-up.
    pub steady: f64,
    /// File bytes that came from the first packet on.
    pub whole: f64,
    /// 95th percentile of the time in the queue after the warm-up.
    pub queue_p95: Nanos,
    /// Packets dropped by the queue after the warm-up, of those offered.
    pub queue_drops: f64,
    /// Bytes sent back for a byte of file.
    pub feedback: f64,
    /// Chunks that came twice, of packets received.
    pub duplicates: f64,
}

/// All seeds of a cell.
#[derive(Clone, Debug)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// One for each seed, in order.
    pub samples: Vec<Sample>,
    /// Violations, each with its seed.
    pub violations: Vec<String>,
}

/// How long to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What does not count as steady.
    pub warm_up: Nanos,
    /// All of it.
    pub total: Nanos,
}

impl Cell {
    /// A link of `mbits` million bits a second and a round trip of `rtt_ms` that loses `loss_ppm`,
    /// with a queue of one product of both, and nothing else wrong with it.
    pub fn new(mbits: u64, rtt_ms: u64, loss_ppm: u32) -> Self {
        Self {
            rate: mbits * 1_000_000,
            rtt: rtt_ms * MILLISECOND,
            loss_ppm,
            queue_per_cent: 100,
            line: 0,
            back: 0,
            burst: 0,
            duplicate_ppm: 0,
            jitter: 0,
            jitter_reorders: false,
            reorder_ppm: 0,
            overhead: 0,
            packet: PACKET,
        }
    }

    /// Bytes that the queue takes.
    fn queue_limit(&self) -> u64 {
        let bdp = u128::from(self.rate) * u128::from(self.rtt) / 8 / u128::from(SECOND);
        ((bdp as u64) * self.queue_per_cent / 100).max(16 * 1_500)
    }

    /// The links, there and back.
    pub fn links(&self) -> Vec<LinkConfig> {
        let (rate, burst) = (self.rate, self.queue_limit());
        let is_policed = self.line > 0;
        let link = LinkConfig {
            rate: rate * self.line.max(1),
            queue_limit: burst * self.line.max(1),
            policer: is_policed.then_some(Policer { rate, burst }),
            delay: self.rtt / 2,
            jitter: self.jitter,
            jitter_reorders: self.jitter_reorders,
            reorder_ppm: self.reorder_ppm,
            reorder_delay: 5 * MILLISECOND,
            loss_ppm: if self.burst == 0 { self.loss_ppm } else { 0 },
            burst: (self.burst > 0).then(|| Burst::with_loss(self.loss_ppm, self.burst)),
            duplicate_ppm: self.duplicate_ppm,
            mtu: self.packet as usize,
            overhead: self.overhead,
            ..LinkConfig::default()
        };
        let mut back = link.clone();
        if self.back > 0 {
            back.rate = self.back;
            back.queue_limit = 20 * 1_500;
            back.policer = None;
        }
        vec![link, back]
    }

    /// A sender whose file does not end.
    pub fn sender(&self, at: u64, start: Nanos) -> SenderSpec {
        self.sender_of(at, start, ENDLESS)
    }

    /// A sender of one file of `size` bytes.
    pub fn sender_of(&self, at: u64, start: Nanos, size: u64) -> SenderSpec {
        let manifest = Name::new(format!("file-{at}"))
            .map(|name| Entry {
                name,
                kind: EntryKind::File,
                size,
                modified: None,
                mode: None,
                identity: None,
            })
            .into_iter()
            .collect();
        SenderSpec {
            start,
            manifest,
            files: Rc::new(vec![Content::new(at, size, true)]),
            config: SenderConfig {
                max_datagram: self.packet as usize,
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
            max_attempts: 1,
            retry_after: 0,
            timer_slack: 50_000,
        }
    }

    /// Runs one seed; the error names what went wrong.
    pub fn run(&self, seed: u64, span: Span) -> Result<Sample, String> {
        let mut world = World::new(Scenario {
            seed,
            links: self.links(),
            receiver: ReceiverSpec::default(),
            senders: vec![self.sender(0, 0)],
            deadline: span.total,
            ..Scenario::default()
        });
        world.run_until(span.warm_up);
        let before = file_bytes(&world, self.packet);
        let (in_before, dropped_before) = offered(&mut world);
        world.network_mut().reset_queueing(0);
        world.run_until(span.total);
        if let Some(violation) = world.violations().first() {
            return Err(format!("seed {seed}: {violation}"));
        }
        let after = file_bytes(&world, self.packet);
        let (in_after, dropped_after) = offered(&mut world);
        let received = world.receiver().stats();
        let queue_p95 = world.network_mut().stats(0).queueing.percentile(95);
        Ok(Sample {
            steady: self.share(after - before, span.total - span.warm_up),
            whole: self.share(after, span.total),
            queue_p95,
            queue_drops: ratio(dropped_after - dropped_before, in_after - in_before),
            feedback: ratio(received.sent_bytes, after),
            duplicates: ratio(received.duplicate_chunks, received.received_packets),
        })
    }

    fn share(&self, bytes: u64, time: Nanos) -> f64 {
        let possible = self.rate as f64 * (1.0 - f64::from(self.loss_ppm) / 1e6);
        bytes as f64 * 8.0 / (possible * time as f64 / 1e9)
    }
}

/// Bytes of the file that came, in whatever order, and each once. A few bytes of control packets
/// are among them. Full packets have `packet` bytes.
pub fn file_bytes(world: &World, packet: u64) -> u64 {
    let stats = world.receiver().stats();
    let other = stats.received_packets * HEADER + stats.duplicate_chunks * (packet - HEADER);
    stats.received_bytes.saturating_sub(other)
}

fn offered(world: &mut World) -> (u64, u64) {
    let stats = world.network_mut().stats(0);
    (stats.packets_in, stats.dropped_queue)
}

fn ratio(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

impl Row {
    /// Runs `seeds` of `cell`.
    pub fn measure(cell: Cell, seeds: std::ops::Range<u64>, span: Span) -> Self {
        let mut row = Self {
            cell,
            samples: Vec::new(),
            violations: Vec::new(),
        };
        for seed in seeds {
            match cell.run(seed, span) {
                Ok(sample) => row.samples.push(sample),
                Err(violation) => row.violations.push(violation),
            }
        }
        row
    }

    /// The mean of something over the seeds.
    pub fn mean(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let sum: f64 = self.samples.iter().map(of).sum();
        sum / self.samples.len().max(1) as f64
    }

    /// The lowest of something over the seeds.
    pub fn lowest(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    /// The highest of something over the seeds.
    pub fn highest(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(of).fold(0.0, f64::max)
    }
}

/// The table for people.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| Mbit/s | RTT ms | loss % | queue BDP | steady mean | worst | with start-up | worst \
         | queue p95 ms | queue drops % | feedback % | duplicates % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cell = &row.cell;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} | {:.3} | {:.3} | {:.3} | {:.3} \
             | {:.1} | {:.2} | {:.2} | {:.2} |{}",
            cell.rate / 1_000_000,
            cell.rtt / MILLISECOND,
            f64::from(cell.loss_ppm) / 1e4,
            cell.queue_per_cent as f64 / 100.0,
            row.mean(|sample| sample.steady),
            row.lowest(|sample| sample.steady),
            row.mean(|sample| sample.whole),
            row.lowest(|sample| sample.whole),
            row.highest(|sample| sample.queue_p95 as f64 / 1e6),
            row.highest(|sample| sample.queue_drops * 100.0),
            row.highest(|sample| sample.feedback * 100.0),
            row.highest(|sample| sample.duplicates * 100.0),
            row.violations.first().map_or("", String::as_str),
        );
    }
    text
}

/// The table for programs.
pub fn json(rows: &[Row]) -> String {
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let samples: Vec<String> = row
                .samples
                .iter()
                .map(|sample| {
                    format!(
                        "{{\"steady\":{:.4},\"whole\":{:.4},\"queue_p95_ns\":{},\
                         \"queue_drops\":{:.5},\"feedback\":{:.5},\"duplicates\":{:.5}}}",
                        sample.steady,
                        sample.whole,
                        sample.queue_p95,
                        sample.queue_drops,
                        sample.feedback,
                        sample.duplicates
                    )
                })
                .collect();
            format!(
                "{{\"rate\":{},\"rtt_ns\":{},\"loss_ppm\":{},\"queue_per_cent\":{},\
                 \"jitter_ns\":{},\"reorder_ppm\":{},\"failed\":{},\"samples\":[{}]}}",
                row.cell.rate,
                row.cell.rtt,
                row.cell.loss_ppm,
                row.cell.queue_per_cent,
                row.cell.jitter,
                row.cell.reorder_ppm,
                row.violations.len(),
                samples.join(",")
            )
        })
        .collect();
    format!("[{}]\n", lines.join(",\n "))
}
