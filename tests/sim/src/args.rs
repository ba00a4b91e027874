//! The command line of the simulator.

use std::path::PathBuf;
use std::str::FromStr;
use xfer_sim::cross::CrossKind;
use xfer_sim::explore::Space;
use xfer_sim::fairness::Contest;
use xfer_sim::queue::{MILLISECOND, SECOND};
use xfer_sim::schedule::Profile;
use xfer_sim::table::{Cell, PACKET, Span};
use xfer_sim::throughput::{self, Form};
use xfer_sim::whole::Course;

/// What `--help` would say.
pub const USAGE: &str = "\
xfer-sim seeds [--from N] [--count N] [--profile quick|full|evil] [--threads N] [--show N]
xfer-sim replay SEED [--profile quick|full|evil] [--trace]
xfer-sim explore [--sizes 0,3000] [--faults N] [--packets N] [--crashes] [--show N]
xfer-sim throughput [--section NAME,...] [--out FILE] [--small] [--threads N]: the committed table
xfer-sim table [--rates 10,100] [--rtts 10,100] [--losses 0,1] [--queues 0.25,1] [--burst PACKETS]
               [--duplicate PER_CENT] [--jitter MS] [--overtakes] [--reorder PER_CENT]
               [--policed LINE_OVER_RATE] [--back MBITS] [--overhead BYTES] [--packet BYTES]
               [--seconds N] [--warm-up N]
               [--from N] [--seeds N] [--threads N] [--json]
xfer-sim whole [--sizes 16,64] and the options of table: MiB from the first packet to the status
xfer-sim fair  [--own N] [--cubic N] [--bbr N] [--others-first] [--stagger MS]
               and the options of table";

/// The whole command line.
pub struct Args {
    /// What to do.
    pub command: Command,
}

/// What to do.
pub enum Command {
    /// Run many seeds.
    Seeds(SeedsArgs),
    /// Run one and tell about it.
    Replay {
        /// Which.
        seed: u64,
        /// How much goes wrong in it.
        profile: Profile,
        /// A line for every packet.
        trace: bool,
    },
    /// Go through a small case exhaustively.
    Explore {
        /// The case.
        space: Space,
        /// Failures to print at most.
        show: usize,
    },
    /// Make the committed table, or some sections of it, anew.
    Throughput(ThroughputArgs),
    /// Measure throughput.
    Table(TableArgs),
    /// Measure whole transfers.
    Whole(WholeArgs),
    /// Measure shares of a link.
    Fair(FairArgs),
}

/// Of `throughput`.
pub struct ThroughputArgs {
    /// Names of sections; none for all of them.
    pub sections: Vec<String>,
    /// The file in which they are replaced.
    pub out: PathBuf,
    /// How much of it.
    pub form: Form,
    /// At once.
    pub threads: usize,
}

impl ThroughputArgs {
    fn new(rest: &mut Rest, threads: usize) -> Result<Self, String> {
        let form = match rest.flag("--small") {
            true => Form::Small,
            false => Form::Full,
        };
        let sections: Vec<String> = rest
            .text("--section")?
            .map(|names| names.split(',').map(String::from).collect())
            .unwrap_or_default();
        let known = throughput::SECTIONS.map(|section| section.name);
        if let Some(unknown) = sections.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("no section `{unknown}`; there are {known:?}"));
        }
        Ok(Self {
            sections,
            out: rest.value("--out", form.path().into())?,
            form,
            threads: rest.value("--threads", threads)?,
        })
    }
}

/// Of `whole`.
pub struct WholeArgs {
    sizes: Vec<f64>,
    /// Links, seeds.
    pub table: TableArgs,
}

impl WholeArgs {
    /// Every size over every link of the table.
    pub fn courses(&self) -> Vec<Course> {
        let cells = self.table.cells();
        let sizes = self.sizes.iter();
        sizes
            .flat_map(|size| {
                let size = (size * f64::from(1 << 20)) as u64;
                cells.iter().map(move |&cell| Course { cell, size })
            })
            .collect()
    }
}

/// Of `fair`.
pub struct FairArgs {
    own: u64,
    cubic: usize,
    bbr: usize,
    others_first: bool,
    stagger: f64,
    /// Links, times, seeds.
    pub table: TableArgs,
}

impl FairArgs {
    /// One contest for every cell of the table.
    pub fn contests(&self) -> Vec<Contest> {
        let mut others = vec![CrossKind::Cubic; self.cubic];
        others.extend(vec![CrossKind::Bbr; self.bbr]);
        let cells = self.table.cells().into_iter();
        cells
            .map(|cell| Contest {
                cell,
                own: self.own,
                others: others.clone(),
                stagger: (self.stagger * MILLISECOND as f64) as u64,
                others_first: self.others_first,
            })
            .collect()
    }
}

/// Of `seeds`.
pub struct SeedsArgs {
    /// The first.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// How much goes wrong.
    pub profile: Profile,
    /// At once.
    pub threads: usize,
    /// Failures to print at most.
    pub show: usize,
}

impl SeedsArgs {
    /// The profile as it was named.
    pub fn profile_name(&self) -> &'static str {
        match self.profile {
            Profile::Quick => "quick",
            Profile::Full => "full",
            Profile::Evil => "evil",
        }
    }
}

/// Of `table`.
pub struct TableArgs {
    rates: Vec<f64>,
    rtts: Vec<f64>,
    losses: Vec<f64>,
    queues: Vec<f64>,
    burst: u32,
    line: u64,
    back: f64,
    duplicate: f64,
    jitter: f64,
    overtakes: bool,
    reorder: f64,
    overhead: u64,
    packet: u64,
    seconds: f64,
    warm_up: f64,
    /// The first seed.
    pub from: u64,
    /// Seeds a cell.
    pub seeds: u64,
    /// At once.
    pub threads: usize,
    /// For programs.
    pub json: bool,
}

impl TableArgs {
    /// Every combination, losses fastest.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for rate in &self.rates {
            for rtt in &self.rtts {
                for queue in &self.queues {
                    cells.extend(self.losses.iter().map(|loss| Cell {
                        rate: (rate * 1e6) as u64,
                        rtt: (rtt * MILLISECOND as f64) as u64,
                        loss_ppm: (loss * 1e4) as u32,
                        queue_per_cent: (queue * 100.0).round() as u64,
                        burst: self.burst,
                        line: self.line,
                        back: (self.back * 1e6) as u64,
                        duplicate_ppm: (self.duplicate * 1e4) as u32,
                        jitter: (self.jitter * MILLISECOND as f64) as u64,
                        jitter_reorders: self.overtakes,
                        reorder_ppm: (self.reorder * 1e4) as u32,
                        overhead: self.overhead,
                        packet: self.packet,
                    }));
                }
            }
        }
        cells
    }

    /// How long each run is.
    pub fn span(&self) -> Span {
        Span {
            warm_up: (self.warm_up * SECOND as f64) as u64,
            total: (self.seconds * SECOND as f64) as u64,
        }
    }
}

impl Args {
    /// Reads the arguments behind the program's name.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut rest = Rest(arguments.collect());
        let command = match rest.0.is_empty() {
            true => String::new(),
            false => rest.0.remove(0),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let command = match command.as_str() {
            "seeds" => Command::Seeds(SeedsArgs {
                from: rest.value("--from", 0)?,
                count: rest.value("--count", 10_000)?,
                profile: rest.profile()?,
                threads: rest.value("--threads", threads)?,
                show: rest.value("--show", 20)?,
            }),
            "replay" => {
                let (profile, trace) = (rest.profile()?, rest.flag("--trace"));
                let seed = rest.0.pop().ok_or("replay needs a seed")?;
                let seed = seed.parse().map_err(|_| format!("no seed: {seed}"))?;
                Command::Replay {
                    seed,
                    profile,
                    trace,
                }
            }
            "explore" => Command::Explore {
                space: Space {
                    sizes: rest
                        .list("--sizes", &[2_500.0])?
                        .into_iter()
                        .map(|size| size as u64)
                        .collect(),
                    max_faults: rest.value("--faults", 2)?,
                    max_packets: rest.value("--packets", 60)?,
                    crashes: rest.flag("--crashes"),
                },
                show: rest.value("--show", 10)?,
            },
            "throughput" => Command::Throughput(ThroughputArgs::new(&mut rest, threads)?),
            "table" => Command::Table(rest.table(threads)?),
            "whole" => Command::Whole(WholeArgs {
                sizes: rest.list("--sizes", &[16.0])?,
                table: rest.table(threads)?,
            }),
            "fair" => Command::Fair(FairArgs {
                own: rest.value("--own", 2)?,
                cubic: rest.value("--cubic", 0)?,
                bbr: rest.value("--bbr", 0)?,
                others_first: rest.flag("--others-first"),
                stagger: rest.value("--stagger", 700.0)?,
                table: rest.table(threads)?,
            }),
            other => return Err(format!("unknown command `{other}`")),
        };
        match rest.0.first() {
            Some(left) => Err(format!("unexpected `{left}`")),
            None => Ok(Self { command }),
        }
    }
}

/// Arguments not read yet.
struct Rest(Vec<String>);

impl Rest {
    fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|argument| argument == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else {
            return Ok(None);
        };
        if at + 1 == self.0.len() {
            return Err(format!("{name} needs a value"));
        }
        self.0.remove(at);
        Ok(Some(self.0.remove(at)))
    }

    fn value<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, String> {
        match self.text(name)? {
            Some(text) => text
                .parse()
                .map_err(|_| format!("{name}: bad value `{text}`")),
            None => Ok(default),
        }
    }

    fn list(&mut self, name: &str, default: &[f64]) -> Result<Vec<f64>, String> {
        let Some(text) = self.text(name)? else {
            return Ok(default.to_vec());
        };
        let parts = text.split(',').map(|part| {
            let number = part.parse();
            number.map_err(|_| format!("{name}: bad number `{part}`"))
        });
        parts.collect()
    }

    fn table(&mut self, threads: usize) -> Result<TableArgs, String> {
        Ok(TableArgs {
            rates: self.list("--rates", &[10.0, 100.0])?,
            rtts: self.list("--rtts", &[10.0, 50.0, 100.0, 300.0])?,
            losses: self.list("--losses", &[0.0, 1.0, 5.0, 10.0])?,
            queues: self.list("--queues", &[1.0])?,
            burst: self.value("--burst", 0)?,
            line: self.value("--policed", 0)?,
            back: self.value("--back", 0.0)?,
            duplicate: self.value("--duplicate", 0.0)?,
            jitter: self.value("--jitter", 0.0)?,
            overtakes: self.flag("--overtakes"),
            reorder: self.value("--reorder", 0.0)?,
            overhead: self.value("--overhead", 0)?,
            packet: self.value("--packet", PACKET)?,
            seconds: self.value("--seconds", 60.0)?,
            warm_up: self.value("--warm-up", 15.0)?,
            from: self.value("--from", 1)?,
            seeds: self.value("--seeds", 8)?,
            threads: self.value("--threads", threads)?,
            json: self.flag("--json"),
        })
    }

    fn profile(&mut self) -> Result<Profile, String> {
        match self.text("--profile")?.as_deref() {
            None | Some("quick") => Ok(Profile::Quick),
            Some("full") => Ok(Profile::Full),
            Some("evil") => Ok(Profile::Evil),
            Some(other) => Err(format!("unknown profile `{other}`")),
        }
    }
}
