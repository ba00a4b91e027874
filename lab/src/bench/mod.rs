//! Side-by-side transfers of the same file by every tool, on the same links, in one go.

mod args;
mod content;
pub mod measure;
mod plot;
mod report;
mod scenario;
mod steps;
mod tools;
mod transfer;

use crate::control::{self, Request};
use crate::hosts::{Host, hosts};
use crate::link::Change;
use crate::{netns, out, ready};
use anyhow::{Context, Result, bail};
pub use args::BenchArgs;
use content::TouchedMemory;
use report::{Report, Row, Table};
use scenario::Scenario;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use tools::{FILE_NAME, Places, Plan, Tool};
use transfer::{Outcome, Stage};

/// TCP congestion controls that are compared, where the kernel has them; the best one first.
const CONTROLS: [&str; 2] = ["bbr", "cubic"];

/// Everything that a table needs and that stays the same from one to the next.
struct Bench<'a> {
    args: &'a BenchArgs,
    tools: Vec<Tool>,
    xfer: PathBuf,
    work_dir: PathBuf,
    sender: Host,
    receiver: Host,
}

/// Runs the benchmark and writes its report after each table, so that a break loses one at most.
pub fn run(args: &BenchArgs) -> Result<()> {
    netns::require_root()?;
    let bench = Bench::new(args)?;
    let mut report = Report {
        machine: machine(),
        command: command_line(),
        tables: Vec::new(),
    };
    for scenario in args.scenarios() {
        out::note(format_args!("{}", scenario.title()));
        let table = bench.table(scenario)?;
        report.tables.push(table);
        bench.write_report(&report)?;
    }
    out::line(report.markdown());
    // What is left in the work directory is of no use to anyone.
    let _ = std::fs::remove_dir_all(&bench.work_dir);
    Ok(())
}

impl<'a> Bench<'a> {
    fn new(args: &'a BenchArgs) -> Result<Self> {
        let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
            .unwrap_or_default();
        let controls: Vec<_> = CONTROLS
            .into_iter()
            .filter(|name| known.split_whitespace().any(|k| k == *name))
            .collect();
        let mut tools = Tool::all(&controls, args.files);
        tools.retain(|tool| {
            let name = tool.name();
            args.tools.is_empty()
                || args
                    .tools
                    .iter()
                    .any(|wanted| name.contains(wanted.as_str()))
        });
        if tools.is_empty() {
            bail!("no tool has a name with {:?} in it", args.tools);
        }
        let mut all = hosts(0)?.into_iter();
        let (Some(sender), Some(receiver)) = (all.next(), all.next()) else {
            bail!("the lab has no hosts");
        };
        let work_dir = args.work_dir();
        std::fs::create_dir_all(&work_dir)
            .with_context(|| format!("cannot create `{}`", work_dir.display()))?;
        Ok(Self {
            tools,
            xfer: args.xfer_program()?,
            work_dir,
            sender,
            receiver,
            args,
        })
    }

    fn table(&self, scenario: Scenario) -> Result<Table> {
        let source = self.work_dir.join(FILE_NAME);
        content::make(&source, scenario.files, scenario.file_bytes)?;
        let target_dir = self.work_dir.join("target");
        let _touched = TouchedMemory::new(&self.work_dir, scenario.total_bytes())?;
        let _lab = Lab::start(&scenario, self.args.seed)?;
        let limit = self
            .args
            .limit
            .unwrap_or_else(|| scenario.default_time_limit());
        let stage = Stage {
            sender: &self.sender,
            receiver: &self.receiver,
            target_dir: &target_dir,
            work_dir: &self.work_dir,
            total_bytes: scenario.total_bytes(),
            digest: content::digest(&source)?,
            limit,
        };
        let places = Places {
            source: &source,
            target_dir: &target_dir,
            work_dir: &self.work_dir,
            to: self.receiver.address(),
            xfer: &self.xfer,
        };
        let mut rows = Vec::new();
        for tool in &self.tools {
            rows.push(self.row(tool, &scenario, &stage, &places)?);
        }
        let switch = if scenario.link.is_some() {
            Some(control::stats()?)
        } else {
            None
        };
        Ok(Table {
            scenario,
            time_limit_s: limit.as_secs_f64(),
            rows,
            switch,
        })
    }

    fn row(
        &self,
        tool: &Tool,
        scenario: &Scenario,
        stage: &Stage<'_>,
        places: &Places<'_>,
    ) -> Result<Row> {
        let mut row = Row {
            tool: tool.name(),
            outcomes: Vec::new(),
            recoveries: Vec::new(),
            system_calls: None,
        };
        if !self.is_installed(tool) {
            out::note(format_args!("  {}: not installed", row.tool));
            return Ok(row);
        }
        let (plan, config) = tool.plan(scenario, places);
        if let Some((path, text)) = config {
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        if let Some(control) = plan.congestion_control {
            for host in [stage.sender, stage.receiver] {
                netns::set_congestion_control(host, control)?;
            }
        }
        for _ in 0..self.args.runs.max(1) {
            let (outcome, recoveries) = self.run_once(stage, &plan, scenario)?;
            row.recoveries.extend(recoveries);
            note_outcome(&row.tool, &outcome, scenario);
            let done = matches!(outcome, Outcome::Done(_));
            row.outcomes.push(outcome);
            if !done {
                // One failure decides the row, and each costs the whole time limit.
                return Ok(row);
            }
        }
        if self.args.strace {
            row.system_calls = self.count_system_calls(stage, &plan)?;
        }
        Ok(row)
    }

    /// One transfer, with the steps of the scenario on the way. The second value is how soon the
    /// tool recovered from each.
    fn run_once(
        &self,
        stage: &Stage<'_>,
        plan: &Plan,
        scenario: &Scenario,
    ) -> Result<(Outcome, Option<Vec<Option<f64>>>)> {
        let (Some(link), false) = (&scenario.link, scenario.steps.is_empty()) else {
            return Ok((stage.run(plan, None, || ())?, None));
        };
        steps::reset(link)?;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut follower = None;
            let outcome = stage.run(plan, None, || {
                let follow = || steps::follow(&scenario.steps, &stage.receiver.name, &stop);
                follower = Some(scope.spawn(follow));
            });
            stop.store(true, Ordering::Relaxed);
            let timeline = match follower.map(std::thread::ScopedJoinHandle::join) {
                Some(Ok(timeline)) => timeline?,
                Some(Err(_)) => bail!("the changes of the link could not be made"),
                None => Vec::new(),
            };
            Ok((outcome?, Some(scenario.recoveries(&timeline))))
        })
    }

    /// A run of its own, since counting slows it down.
    fn count_system_calls(&self, stage: &Stage<'_>, plan: &Plan) -> Result<Option<(u64, u64)>> {
        if !in_path("strace") {
            return Ok(None);
        }
        let (sender, receiver) = (
            self.work_dir.join("sender.calls"),
            self.work_dir.join("receiver.calls"),
        );
        let outcome = stage.run(plan, Some((&sender, &receiver)), || ())?;
        let calls = |path: &Path| total_calls(&std::fs::read_to_string(path).ok()?);
        Ok(match outcome {
            Outcome::Done(_) => calls(&sender).zip(calls(&receiver)),
            Outcome::NotDone(_) => None,
        })
    }

    fn is_installed(&self, tool: &Tool) -> bool {
        match tool {
            Tool::Xfer(_) => self.xfer.exists(),
            _ => tool.programs().iter().all(|program| in_path(program)),
        }
    }

    fn write_report(&self, report: &Report) -> Result<()> {
        let Some(dir) = &self.args.out else {
            return Ok(());
        };
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot create `{}`", dir.display()))?;
        for (name, text) in [
            ("bench.md", report.markdown()),
            ("bench.json", serde_json::to_string_pretty(report)?),
            ("bench.svg", plot::svg(report)),
        ] {
            let path = dir.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(())
    }
}

fn note_outcome(tool: &str, outcome: &Outcome, scenario: &Scenario) {
    match outcome {
        Outcome::NotDone(why) => out::note(format_args!("  {tool}: {why}")),
        Outcome::Done(sample) => {
            let bits = scenario.total_bytes() as f64 * 8.0 / sample.seconds;
            let share = scenario.limit_bits().map_or(String::new(), |limit| {
                format!(", {:.2} of the limit", bits / limit)
            });
            out::note(format_args!(
                "  {tool}: {:.2} s, {:.1} Mbit/s{share}",
                sample.seconds,
                bits / 1e6
            ));
        }
    }
}

/// A lab of our own. It ends with us, however we end: it holds the other end of a pipe.
struct Lab(Child);

impl Lab {
    fn start(scenario: &Scenario, seed: u64) -> Result<Self> {
        let ourselves = std::env::current_exe().context("cannot find our own program")?;
        let mut command = Command::new(ourselves);
        command.args(["up", "--until-eof", "--seed", &seed.to_string()]);
        if scenario.link.is_none() {
            command.arg("--veth");
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a lab")?;
        let mut lab = Self(child);
        if let Err(error) = ready::wait_until_ready(&mut lab.0) {
            let mut why = String::new();
            if let Some(mut stderr) = lab.0.stderr.take() {
                // Without its words the error stands alone.
                let _ = std::io::Read::read_to_string(&mut stderr, &mut why);
            }
            return Err(error.context(why.trim().to_owned()));
        }
        if let Some(link) = &scenario.link {
            control::ask(&Request::Set {
                hosts: Vec::new(),
                change: Change::from(link),
            })?;
        }
        Ok(lab)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It removes its hosts before it ends; the next one needs their names.
        let _ = self.0.wait();
    }
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The sum in a summary of `strace -c -U calls,name`.
fn total_calls(summary: &str) -> Option<u64> {
    let line = summary
        .lines()
        .rfind(|line| line.trim().ends_with("total"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn command_line() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    format!("xfer-lab {}", arguments.join(" "))
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into());
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = read("/proc/loadavg");
    format!(
        "{processor}, {cores} cores, memory {memory}, Linux {}, load {} at the start",
        read("/proc/sys/kernel/osrelease").trim(),
        load.split_whitespace().next().unwrap_or("unknown")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_trace_is_read() {
        let summary = "    calls syscall\n--------- ----\n      120 read\n        3 write\n\
                       --------- ----\n      123 total\n";
        assert_eq!(total_calls(summary), Some(123));
        assert_eq!(total_calls("nothing"), None);
    }
}
