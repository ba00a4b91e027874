//! Sections about what is not steady: links that change, and transfers from the first packet to
//! the last.

use super::{Form, Line, Section, for_all_seeds, highest, lowest, mean, settle};
use crate::queue::{MILLISECOND, SECOND};
use crate::steps::{Change, Recovery, Step};
use crate::table::Cell;
use crate::whole::Course;
use std::ops::Range;

/// Links that change.
pub(super) const STEPS: Section = Section {
    name: "steps",
    title: "Changes of the link",
    about: "The link changes after 15 s, and again 15 s later where two changes are named; the \
            last counts. *Recovery* is the time\nfrom then (from the end of a black-out) to the \
            first half second, or four round trips, in which at least .9 of what\nthe link then \
            carries came; *share* is over the 10 s from then. Goal: every seed \
            within 2 s or 20 round\ntrips.",
    columns: "| change | RTT ms | loss % | seeds | recovery, mean s | worst s | share, mean \
              | worst | drops % |",
    lines: |form, threads| measure_steps(&steps(form), threads),
};

/// Whole transfers.
pub(super) const WHOLE: Section = Section {
    name: "whole",
    title: "Whole transfers",
    about: "One file, from the first packet to its status at the sender: handshake, start-up, last \
            repairs and commit included. Here rates\ncount Ethernet frames: 42 bytes for each \
            packet on top of the UDP payload, so that .952 is the most. *Sent* is bytes of UDP\n\
            payload for a byte of the file. Goals as the mean of the seeds; seeds from 1,001 on \
            were not tuned on.",
    columns: "| MiB | Mbit/s | RTT ms | loss % | seeds | mean | worst | its seed | sent |",
    lines: |form, threads| measure_courses(&courses(form), threads),
};

/// Bytes of a frame that are not UDP payload: Ethernet, IPv4, UDP.
const FRAME_OVERHEAD: u64 = 14 + 20 + 8;

/// A change in words.
type Named = (&'static str, Step);

fn steps(form: Form) -> Vec<(Named, Range<u64>)> {
    let (rate, cells, seeds) = match form {
        Form::Full => {
            let mut cells = vec![Cell::new(100, 50, 20_000)];
            cells.extend([20, 50, 100, 300].map(|rtt| Cell::new(100, rtt, 0)));
            (100, cells, 1..9)
        }
        Form::Small => (10, vec![Cell::new(10, 50, 0)], 1..3),
    };
    let half = Change::Rate(rate * 500_000);
    let full = Change::Rate(rate * 1_000_000);
    let changes = [
        ("rate to a half", vec![half]),
        ("rate to a half and back", vec![half, full]),
        ("loss to 5 %", vec![Change::Loss(50_000)]),
        (
            "loss to 5 % and back",
            vec![Change::Loss(50_000), Change::Loss(0)],
        ),
        ("2 s black-out", vec![Change::Dark(2 * SECOND)]),
    ];
    let mut all = Vec::new();
    for (name, changes) in &changes {
        all.extend(cells.iter().map(|&cell| {
            let step = Step {
                cell,
                changes: changes.clone(),
            };
            ((*name, step), seeds.clone())
        }));
    }
    all
}

fn measure_steps(steps: &[(Named, Range<u64>)], threads: usize) -> Vec<Line> {
    let results = for_all_seeds(steps, threads, |(_, step), seed| step.run(seed));
    let both = steps.iter().zip(results);
    both.map(|(((name, step), seeds), results)| {
        let start = format!(
            "| {name} | {} | {} | {}-{} |",
            step.cell.rtt / MILLISECOND,
            f64::from(step.cell.loss_ppm) / 1e4,
            seeds.start,
            seeds.end - 1,
        );
        match settle(results) {
            Ok(recoveries) => step_line(step, &start, &recoveries),
            Err(failure) => Line {
                text: start + " | | | | |",
                failure: Some(failure),
                ..Line::default()
            },
        }
    })
    .collect()
}

fn step_line(step: &Step, start: &str, recoveries: &[Recovery]) -> Line {
    let seconds = |recovery: &Recovery| {
        let after = recovery.after.map(|after| after as f64 / 1e9);
        after.unwrap_or(f64::INFINITY)
    };
    let slowest = highest(recoveries.iter().map(seconds));
    let worst = lowest(recoveries.iter().map(|recovery| recovery.share));
    let is_slow = slowest > step.limit() as f64 / 1e9;
    Line {
        text: format!(
            "{start} {:.2} | {slowest:.2} | {:.3} | {worst:.3} | {:.2} |",
            mean(recoveries.iter().map(seconds)),
            mean(recoveries.iter().map(|recovery| recovery.share)),
            highest(recoveries.iter().map(|recovery| recovery.drops)) * 100.0,
        ),
        worst,
        shortfalls: Some(is_slow.then(|| "recovery".into()).into_iter().collect()),
        failure: None,
    }
}

/// A course and the mean that is wanted, where there is a goal.
type Wanted = (Course, Option<f64>);

fn courses(form: Form) -> Vec<(Wanted, Range<u64>)> {
    let link = |rate, rtt, loss| Cell {
        overhead: FRAME_OVERHEAD,
        ..Cell::new(rate, rtt, loss)
    };
    let course = |mib: u64, cell, goal| {
        (
            Course {
                cell,
                size: mib << 20,
            },
            goal,
        )
    };
    match form {
        Form::Full => {
            let links = [
                (link(100, 1, 0), 0.92, 0.94),
                (link(100, 50, 10_000), 0.86, 0.92),
                (link(100, 100, 50_000), 0.78, 0.90),
                (link(50, 200, 100_000), 0.68, 0.85),
            ];
            let small = links.map(|(cell, goal, _)| course(16, cell, Some(goal)));
            let large = links.map(|(cell, _, goal)| course(64, cell, Some(goal)));
            let tiny = links.map(|(cell, ..)| course(1, cell, None));
            let all = small.into_iter().chain(large).chain(tiny);
            all.flat_map(|course| [(course, 1..33), (course, 1_001..1_033)])
                .collect()
        }
        Form::Small => [link(100, 1, 0), link(50, 50, 10_000), link(20, 100, 50_000)]
            .map(|cell| (course(2, cell, None), 1..3))
            .into(),
    }
}

fn measure_courses(courses: &[(Wanted, Range<u64>)], threads: usize) -> Vec<Line> {
    let results = for_all_seeds(courses, threads, |(course, _), seed| course.run(seed));
    let both = courses.iter().zip(results);
    both.map(|(((course, goal), seeds), results)| {
        let start = format!(
            "| {} | {} | {} | {} | {}-{} |",
            course.size >> 20,
            course.cell.rate / 1_000_000,
            course.cell.rtt / MILLISECOND,
            f64::from(course.cell.loss_ppm) / 1e4,
            seeds.start,
            seeds.end - 1,
        );
        match settle(results) {
            Ok(finishes) => course_line(&start, seeds, &finishes, *goal),
            Err(failure) => Line {
                text: start + " | | | |",
                failure: Some(failure),
                ..Line::default()
            },
        }
    })
    .collect()
}

fn course_line(
    start: &str,
    seeds: &Range<u64>,
    finishes: &[(f64, f64)],
    goal: Option<f64>,
) -> Line {
    let average = mean(finishes.iter().map(|finish| finish.0));
    let worst = lowest(finishes.iter().map(|finish| finish.0));
    Line {
        text: format!(
            "{start} {average:.3} | {worst:.3} | {} | {:.3} |",
            seeds.start + finishes.iter().position(|it| it.0 == worst).unwrap_or(0) as u64,
            1.0 + mean(finishes.iter().map(|finish| finish.1)),
        ),
        worst,
        shortfalls: goal.map(|goal| match average < goal {
            true => vec![format!("mean below {goal}")],
            false => Vec::new(),
        }),
        failure: None,
    }
}
