//! Runs seeds, replays one, measures the throughput table.

mod args;

use args::{Args, Command, FairArgs, SeedsArgs, TableArgs, ThroughputArgs, WholeArgs};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;
use xfer_sim::explore::Space;
use xfer_sim::fairness::Contest;
use xfer_sim::parallel::in_parallel;
use xfer_sim::queue::MILLISECOND;
use xfer_sim::schedule::{self, Profile};
use xfer_sim::table::{self, Row};
use xfer_sim::throughput::{self, SECTIONS};
use xfer_sim::whole;

fn main() -> ExitCode {
    let mut out = io::stdout();
    let result = match Args::parse(std::env::args().skip(1)) {
        Ok(Args { command }) => match command {
            Command::Seeds(args) => seeds(&args, &mut out),
            Command::Replay {
                seed,
                profile,
                trace,
            } => replay(seed, profile, trace, &mut out),
            Command::Explore { space, show } => explore(&space, show, &mut out),
            Command::Throughput(args) => make_throughput(&args, &mut out),
            Command::Table(args) => measure_table(&args, &mut out),
            Command::Whole(args) => measure_whole(&args, &mut out),
            Command::Fair(args) => measure_shares(&args, &mut out),
        },
        Err(message) => {
            let _ = writeln!(io::stderr(), "{message}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot write the result: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seeds(args: &SeedsArgs, out: &mut impl Write) -> io::Result<bool> {
    let next = AtomicU64::new(args.from);
    let end = args.from.saturating_add(args.count);
    let (events, retried) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let (violations, count, again) = judge(seed, args.profile);
                    events.fetch_add(count, Ordering::Relaxed);
                    retried.fetch_add(again, Ordering::Relaxed);
                    if let (Some(first), Ok(mut failed)) =
                        (violations.into_iter().next(), failed.lock())
                    {
                        failed.push((seed, first));
                    }
                }
            });
        }
    });
    let elapsed = started.elapsed().as_secs_f64();
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_unstable();
    let profile = args.profile_name();
    for (seed, violation) in failed.iter().take(args.show) {
        writeln!(out, "seed {seed}: {violation}")?;
        writeln!(
            out,
            "  cargo run --release -p xfer-sim -- replay {seed} --profile {profile} --trace"
        )?;
    }
    writeln!(
        out,
        "{} seeds ({profile}), {} failed, {} sessions tried again, {} events, {elapsed:.1} s: \
         {:.0} seeds a second",
        args.count,
        failed.len(),
        retried.into_inner(),
        events.into_inner(),
        args.count as f64 / elapsed,
    )?;
    Ok(failed.is_empty())
}

/// Runs a seed; a panic of the engine is a violation like any other.
fn judge(seed: u64, profile: Profile) -> (Vec<String>, u64, u64) {
    match std::panic::catch_unwind(|| schedule::run(seed, profile, false)) {
        Ok(outcome) => {
            let attempts: usize = outcome.senders.iter().map(Vec::len).sum();
            let again = attempts.saturating_sub(outcome.senders.len());
            (outcome.violations, outcome.events, again as u64)
        }
        Err(_) => (vec!["panic".into()], 0, 0),
    }
}

fn replay(seed: u64, profile: Profile, trace: bool, out: &mut impl Write) -> io::Result<bool> {
    let plan = schedule::plan(seed, profile);
    for (at, link) in plan.scenario.links.iter().enumerate() {
        writeln!(out, "link {at}: {link:?}")?;
    }
    for sender in &plan.scenario.senders {
        let sizes: Vec<u64> = sender.manifest.iter().map(|entry| entry.size).collect();
        writeln!(out, "sender from {} ns: sizes {sizes:?}", sender.start)?;
    }
    writeln!(out, "faults: {:?}", plan.scenario.faults)?;
    writeln!(out, "receiver: {:?}", plan.scenario.receiver)?;
    let outcome = schedule::run(seed, profile, trace);
    for line in &outcome.lines {
        writeln!(out, "{line}")?;
    }
    for attempt in outcome.senders.iter().flatten() {
        writeln!(out, "{attempt:?}")?;
    }
    for session in &outcome.receiver.sessions {
        writeln!(out, "{session:?}")?;
    }
    for violation in &outcome.violations {
        writeln!(out, "violation: {violation}")?;
    }
    writeln!(
        out,
        "seed {seed}: {} events, {} ns, trace {:016x}, {} violations",
        outcome.events,
        outcome.finished_at,
        outcome.trace_hash,
        outcome.violations.len()
    )?;
    Ok(outcome.violations.is_empty())
}

fn explore(space: &Space, show: usize, out: &mut impl Write) -> io::Result<bool> {
    let started = Instant::now();
    let report = space.explore(&mut |report| report.failures.len() < show);
    for (script, violation) in &report.failures {
        writeln!(out, "{script:?}: {violation}")?;
    }
    writeln!(
        out,
        "{} runs, {} failed, {:.1} s",
        report.runs,
        report.failures.len(),
        started.elapsed().as_secs_f64()
    )?;
    Ok(report.failures.is_empty())
}

/// Measures section by section, and writes the file after each, so that what was done stays.
fn make_throughput(args: &ThroughputArgs, out: &mut impl Write) -> io::Result<bool> {
    let is_wanted =
        |name: &str| args.sections.is_empty() || args.sections.iter().any(|it| it == name);
    for section in SECTIONS.iter().filter(|section| is_wanted(section.name)) {
        let started = Instant::now();
        let measured = section.measure(args.form, args.threads);
        let old = std::fs::read_to_string(&args.out).unwrap_or_default();
        std::fs::write(
            &args.out,
            throughput::replace(&old, args.form, section, &measured),
        )?;
        let elapsed = started.elapsed().as_secs_f64();
        writeln!(out, "{}: {elapsed:.1} s", section.name)?;
        for line in measured.iter().filter_map(|line| line.failure.as_deref()) {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(true)
}

fn measure_table(args: &TableArgs, out: &mut impl Write) -> io::Result<bool> {
    let cells = args.cells();
    let rows = in_parallel(&cells, args.threads, |&cell| {
        Row::measure(cell, args.from..args.from + args.seeds, args.span())
    });
    let text = if args.json {
        table::json(&rows)
    } else {
        table::markdown(&rows)
    };
    out.write_all(text.as_bytes())?;
    Ok(rows.iter().all(|row| row.violations.is_empty()))
}

fn measure_whole(args: &WholeArgs, out: &mut impl Write) -> io::Result<bool> {
    let seeds = args.table.from..args.table.from + args.table.seeds;
    let courses = args.courses();
    let results = in_parallel(&courses, args.table.threads, |course| {
        course.measure(seeds.clone())
    });
    let rows: Vec<_> = courses.into_iter().zip(results).collect();
    out.write_all(whole::markdown(&rows).as_bytes())?;
    Ok(rows.iter().all(|row| row.1.failures.is_empty()))
}

fn measure_shares(args: &FairArgs, out: &mut impl Write) -> io::Result<bool> {
    let seeds = args.table.from..args.table.from + args.table.seeds;
    let runs: Vec<(Contest, u64)> = args
        .contests()
        .into_iter()
        .flat_map(|contest| seeds.clone().map(move |seed| (contest.clone(), seed)))
        .collect();
    let span = args.table.span();
    let results = in_parallel(&runs, args.table.threads, |(contest, seed)| {
        contest.run(*seed, span)
    });
    writeln!(
        out,
        "| Mbit/s | RTT ms | loss % | queue BDP | seed | own | others | Jain \
         | queue p95 ms | drops % |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    )?;
    let mut worked = true;
    for ((contest, seed), result) in runs.iter().zip(results) {
        let cell = &contest.cell;
        write!(
            out,
            "| {} | {} | {} | {:.2} | {seed} |",
            cell.rate / 1_000_000,
            cell.rtt / MILLISECOND,
            f64::from(cell.loss_ppm) / 1e4,
            cell.queue_per_cent as f64 / 100.0,
        )?;
        match result {
            Ok(shares) => writeln!(
                out,
                " {:.3?} | {:.3?} | {:.3} | {:.1} | {:.2} |",
                shares.own,
                shares.others,
                shares.jain(),
                shares.queue_p95 as f64 / 1e6,
                shares.drops * 100.0
            )?,
            Err(violation) => {
                worked = false;
                writeln!(out, " {violation} |")?;
            }
        }
    }
    Ok(worked)
}
