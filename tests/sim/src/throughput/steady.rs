//! Sections about one sender that has its link for itself.

use super::{Form, Line, Section, for_all_seeds, highest, lowest, mean, settle};
use crate::queue::{MILLISECOND, SECOND};
use crate::table::{Cell, Sample, Span};
use std::ops::Range;

const COLUMNS: &str = "| Mbit/s | RTT ms | loss % | path | seeds | mean | worst | queue p95 ms \
                       | drops % | came twice % | feedback % |";
const LOSSES: [u32; 5] = [0, 10_000, 20_000, 50_000, 100_000];

/// Clean links but for random loss.
pub(super) const STEADY: Section = Section {
    name: "steady",
    title: "Steady state",
    about: "From 15 s to 50 s. Goal: mean .95 to 100 ms, \
            .93 at 300 ms; worst seed\n.93 and .85; 95th percentile of the time in the queue at \
            most 15 ms or a quarter of the round trip; no drops by\nthe queue; feedback at most \
            .5 % of the bytes of the file.",
    columns: COLUMNS,
    lines: |form, threads| measure(&steady(form), threads, &CLEAN),
};

/// The same, only fast: a second of it is dear, so that there are fewer of them.
pub(super) const GIGABIT: Section = Section {
    name: "gigabit",
    title: "Steady state at 1,000 Mbit/s",
    about: "The same from 8 s to 20 s, and with two seeds: a second of such a link takes long to \
            simulate.",
    columns: COLUMNS,
    lines: |form, threads| measure(&gigabit(form), threads, &CLEAN),
};

/// Links and seeds that nothing was tuned on.
pub(super) const HELD_OUT: Section = Section {
    name: "held-out",
    title: "Steady state, other links and seeds",
    about: "The same over links and seeds that no constant was tuned on, from 15 s to 40 s. No \
            goal for more than 10 % loss.",
    columns: COLUMNS,
    lines: |form, threads| measure(&held_out(form), threads, &CLEAN),
};

/// Short and long queues.
pub(super) const QUEUES: Section = Section {
    name: "queues",
    title: "Queues",
    about: "The same from 15 s to 40 s with queues of other sizes, in products of rate and round \
            trip (never less than 16\npackets).",
    columns: COLUMNS,
    lines: |form, threads| measure(&queues(form), threads, &CLEAN),
};

/// Everything else that may be wrong with a path.
pub(super) const JITTER: Section = Section {
    name: "jitter",
    title: "Jitter, reordering, bursts, copies",
    about: "From 10 s to 30 s. Jitter is uniform from 0 to what is named, both ways; 1 % of the \
            packets come 5 ms late\nand are overtaken. Goal: mean .90; what comes twice less than \
            1 % of the packets that come. Below them, without a\ngoal: jitter by which packets \
            overtake each other, loss in bursts of 8 packets on average, and 1 % of the packets\n\
            copied by the path.",
    columns: COLUMNS,
    lines: |form, threads| measure(&jitter(form), threads, &ROUGH),
};

/// A link, how long it is measured and with which seeds.
type Study = ((Cell, Span), Range<u64>);

/// What a section wants of a line.
struct Goal {
    mean: fn(&Cell) -> Option<f64>,
    worst: fn(&Cell) -> f64,
    judges_queue: bool,
    max_duplicates: f64,
}

/// Where more is lost there is no goal.
const MAX_LOSS: u32 = 100_000;

const CLEAN: Goal = Goal {
    mean: |cell| {
        let wanted = if is_long(cell) { 0.93 } else { 0.95 };
        (cell.loss_ppm <= MAX_LOSS).then_some(wanted)
    },
    worst: |cell| if is_long(cell) { 0.85 } else { 0.93 },
    judges_queue: true,
    max_duplicates: 1.0,
};

const ROUGH: Goal = Goal {
    mean: |cell| {
        let is_odd = cell.jitter_reorders || cell.burst > 0 || cell.duplicate_ppm > 0;
        (!is_odd).then_some(0.9)
    },
    worst: |_| 0.0,
    judges_queue: false,
    max_duplicates: 0.01,
};

fn is_long(cell: &Cell) -> bool {
    cell.rtt > 100 * MILLISECOND
}

fn span(warm_up: u64, total: u64) -> Span {
    Span {
        warm_up: warm_up * SECOND,
        total: total * SECOND,
    }
}

/// Every rate with every round trip and every loss.
fn grid(rates: &[u64], rtts: &[u64], losses: &[u32]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &rate in rates {
        for &rtt in rtts {
            cells.extend(losses.iter().map(|&loss| Cell::new(rate, rtt, loss)));
        }
    }
    cells
}

fn studies(cells: Vec<Cell>, span: Span, seeds: Range<u64>) -> Vec<Study> {
    let with = |cell| ((cell, span), seeds.clone());
    cells.into_iter().map(with).collect()
}

const ROUND_TRIPS: [u64; 4] = [10, 50, 100, 300];

fn steady(form: Form) -> Vec<Study> {
    match form {
        Form::Full => {
            let cells = grid(&[10, 100], &ROUND_TRIPS, &LOSSES);
            studies(cells, span(15, 50), 1..9)
        }
        Form::Small => {
            let cells = grid(&[10], &ROUND_TRIPS, &[0, 50_000]);
            studies(cells, span(10, 20), 1..3)
        }
    }
}

fn gigabit(form: Form) -> Vec<Study> {
    match form {
        Form::Full => {
            let cells = grid(&[1_000], &ROUND_TRIPS, &LOSSES);
            studies(cells, span(8, 20), 1..3)
        }
        Form::Small => studies(vec![Cell::new(100, 50, 20_000)], span(4, 8), 1..2),
    }
}

fn held_out(form: Form) -> Vec<Study> {
    match form {
        Form::Full => {
            let losses = [5_000, 30_000, 70_000, 100_000];
            let mut cells = grid(&[20, 100], &[15, 30, 80, 200], &losses);
            cells.extend(grid(&[5, 300], &[40], &losses));
            cells.extend(grid(&[20, 100], &[20, 100], &[200_000, 300_000]));
            studies(cells, span(15, 40), 1_001..1_009)
        }
        Form::Small => {
            let cells = vec![Cell::new(8, 30, 30_000), Cell::new(20, 40, 200_000)];
            studies(cells, span(10, 20), 1_001..1_003)
        }
    }
}

fn queues(form: Form) -> Vec<Study> {
    let sized = |cells: Vec<Cell>, sizes: &[u64]| {
        let mut all = Vec::new();
        for cell in cells {
            all.extend(sizes.iter().map(|&queue_per_cent| Cell {
                queue_per_cent,
                ..cell
            }));
        }
        all
    };
    match form {
        Form::Full => {
            let mut cells = grid(&[100], &[50], &[0, 20_000]);
            cells.extend(grid(&[50], &[200], &[0, 20_000]));
            let sizes = [2, 5, 10, 50, 400];
            studies(sized(cells, &sizes), span(15, 40), 1..9)
        }
        Form::Small => {
            let cells = sized(vec![Cell::new(20, 100, 20_000)], &[5, 50]);
            studies(cells, span(10, 20), 1..3)
        }
    }
}

fn jitter(form: Form) -> Vec<Study> {
    let (rates, rtts, losses): (&[u64], &[u64], &[u32]) = match form {
        Form::Full => (
            &[10, 100],
            &[10, 50, 100, 300],
            &[0, 10_000, 50_000, 100_000],
        ),
        Form::Small => (&[10], &[50], &[0, 50_000]),
    };
    let mut cells = Vec::new();
    for cell in grid(rates, rtts, losses) {
        cells.extend([0, 5, 20].map(|jitter| Cell {
            jitter: jitter * MILLISECOND,
            reorder_ppm: 10_000,
            ..cell
        }));
    }
    for cell in odd(form) {
        cells.extend(grid_of_odds(cell));
    }
    if let Form::Small = form {
        // Jitter that looks like a queue beside loss: seed 2 stayed at a fifth of the rate.
        cells.push(Cell {
            jitter: 20 * MILLISECOND,
            reorder_ppm: 10_000,
            ..Cell::new(100, 50, 100_000)
        });
    }
    match form {
        Form::Full => studies(cells, span(10, 30), 1..9),
        Form::Small => studies(cells, span(10, 20), 1..3),
    }
}

fn odd(form: Form) -> Vec<Cell> {
    match form {
        Form::Full => grid(&[100], &[50, 100], &[10_000, 50_000]),
        Form::Small => vec![Cell::new(10, 50, 20_000)],
    }
}

fn grid_of_odds(cell: Cell) -> [Cell; 3] {
    let overtaken = Cell {
        jitter: 5 * MILLISECOND,
        jitter_reorders: true,
        ..cell
    };
    let bursts = Cell { burst: 8, ..cell };
    let copies = Cell {
        duplicate_ppm: 10_000,
        ..cell
    };
    [overtaken, bursts, copies]
}

fn measure(studies: &[Study], threads: usize, goal: &Goal) -> Vec<Line> {
    let results = for_all_seeds(studies, threads, |(cell, span), seed| cell.run(seed, *span));
    let both = studies.iter().zip(results);
    both.map(|(((cell, _), seeds), results)| {
        let start = start_of(cell, seeds);
        match settle(results) {
            Ok(samples) => line(cell, start, &samples, goal),
            Err(failure) => Line {
                text: start + " | | | | | |",
                failure: Some(failure),
                ..Line::default()
            },
        }
    })
    .collect()
}

fn start_of(cell: &Cell, seeds: &Range<u64>) -> String {
    format!(
        "| {} | {} | {} | {} | {}-{} |",
        cell.rate / 1_000_000,
        cell.rtt / MILLISECOND,
        f64::from(cell.loss_ppm) / 1e4,
        path(cell),
        seeds.start,
        seeds.end - 1,
    )
}

/// What is special about the path, in words.
fn path(cell: &Cell) -> String {
    let mut words = Vec::new();
    if cell.queue_per_cent != 100 {
        words.push(format!("queue {}", cell.queue_per_cent as f64 / 100.0));
    }
    if cell.jitter > 0 {
        let overtakes = if cell.jitter_reorders {
            ", overtakes"
        } else {
            ""
        };
        words.push(format!("jitter {}{overtakes}", cell.jitter / MILLISECOND));
    }
    if cell.reorder_ppm > 0 {
        words.push(format!("{} % late", f64::from(cell.reorder_ppm) / 1e4));
    }
    if cell.burst > 0 {
        words.push(format!("bursts of {}", cell.burst));
    }
    if cell.duplicate_ppm > 0 {
        words.push(format!("{} % copied", f64::from(cell.duplicate_ppm) / 1e4));
    }
    words.join(", ")
}

fn line(cell: &Cell, start: String, samples: &[Sample], goal: &Goal) -> Line {
    let average = mean(samples.iter().map(|sample| sample.steady));
    let worst = lowest(samples.iter().map(|sample| sample.steady));
    let queue_ms = highest(samples.iter().map(|sample| sample.queue_p95 as f64 / 1e6));
    let drops = highest(samples.iter().map(|sample| sample.queue_drops));
    let duplicates = highest(samples.iter().map(|sample| sample.duplicates));
    let feedback = highest(samples.iter().map(|sample| sample.feedback));
    let shortfalls = (goal.mean)(cell).map(|wanted| {
        let most_queue = (cell.rtt as f64 / 4e6).max(15.0);
        let complaints = [
            ("mean", average < wanted),
            ("worst", worst < (goal.worst)(cell)),
            ("queue", goal.judges_queue && queue_ms > most_queue),
            ("drops", goal.judges_queue && drops > 0.0),
            ("came twice", duplicates >= goal.max_duplicates),
            ("feedback", goal.judges_queue && feedback > 0.005),
        ];
        let short = complaints.iter().filter(|(_, is_short)| *is_short);
        short.map(|(name, _)| (*name).to_owned()).collect()
    });
    Line {
        text: format!(
            "{start} {average:.3} | {worst:.3} | {queue_ms:.1} | {:.2} | {:.2} | {:.2} |",
            drops * 100.0,
            duplicates * 100.0,
            feedback * 100.0
        ),
        worst,
        shortfalls,
        failure: None,
    }
}
