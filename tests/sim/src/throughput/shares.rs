//! Sections about several flows on one link.

use super::{Form, Line, Section, for_all_seeds, highest, lowest, mean, settle};
use crate::cross::CrossKind;
use crate::fairness::{Contest, Shares};
use crate::queue::{MILLISECOND, SECOND};
use crate::table::{Cell, Span};
use std::ops::Range;

/// Each flow starts so long after the one before.
const STAGGER: u64 = 700 * MILLISECOND;

/// Our own flows among themselves.
pub(super) const OWN: Section = Section {
    name: "own",
    title: "Several of our own flows",
    about: "100 Mbit/s and 50 ms, from 20 s to 80 s; each flow starts .7 s after the one before. \
            Jain's index is 1 where all\nget the same. Goal, worst seed: .9 for 2 and 5 flows, .85 \
            for 10.",
    columns: "| flows | loss % | queue | seeds | sum of shares | Jain, mean | Jain, worst \
              | queue p95 ms | drops % |",
    lines: |form, threads| measure(&own(form), threads, own_line),
};

/// Against models of others.
pub(super) const OTHERS: Section = Section {
    name: "others",
    title: "Against one CUBIC or one BBR",
    about: "From 30 s to 100 s, shares of the link; one of the two starts 5 s after the other, \
            which one is named last. CUBIC and\nBBR (version 1) are models with the rules of \
            RFC 9438 and of Linux. Goal against CUBIC with a queue of half a product\nor more: \
            every seed between .30 and .85. Without loss in the path.",
    columns: "| Mbit/s | RTT ms | queue | other | first | seeds | own, mean | lowest | highest \
              | other, mean | queue p95 ms | drops % |",
    lines: |form, threads| measure(&others(form), threads, others_line),
};

/// Who meets on a link, for how long and with which seeds.
type Study = ((Contest, Span), Range<u64>);

fn own(form: Form) -> Vec<Study> {
    let contest = |cell: Cell, own: u64, queue_per_cent: u64| Contest {
        cell: Cell {
            queue_per_cent,
            ..cell
        },
        own,
        others: Vec::new(),
        stagger: STAGGER,
        others_first: false,
    };
    let clean = |rate| Cell::new(rate, 50, 0);
    let (contests, span, seeds): (Vec<Contest>, _, _) = match form {
        Form::Full => {
            let mut contests = Vec::new();
            for count in [2, 5, 10] {
                let queues = [10, 50, 100, 400];
                contests.extend(queues.map(|queue| contest(clean(100), count, queue)));
                contests.push(contest(Cell::new(100, 50, 20_000), count, 100));
            }
            (contests, (20, 80), 1..5)
        }
        Form::Small => {
            let contests = [2, 3].map(|count| contest(clean(20), count, 100));
            (contests.into(), (10, 25), 1..3)
        }
    };
    let span = Span {
        warm_up: span.0 * SECOND,
        total: span.1 * SECOND,
    };
    let with = |contest| ((contest, span), seeds.clone());
    contests.into_iter().map(with).collect()
}

fn others(form: Form) -> Vec<Study> {
    let mut all = Vec::new();
    let (cells, queues, span, seeds): (_, &[u64], _, _) = match form {
        Form::Full => (
            vec![Cell::new(50, 20, 0), Cell::new(100, 50, 0)],
            &[10, 50, 100, 200, 400],
            (30, 100),
            1..5,
        ),
        Form::Small => (vec![Cell::new(20, 40, 0)], &[100], (10, 30), 1..3),
    };
    let span = Span {
        warm_up: span.0 * SECOND,
        total: span.1 * SECOND,
    };
    for kind in [CrossKind::Cubic, CrossKind::Bbr] {
        for &cell in &cells {
            for &queue_per_cent in queues {
                all.extend([false, true].map(|others_first| {
                    let contest = Contest {
                        cell: Cell {
                            queue_per_cent,
                            ..cell
                        },
                        own: 1,
                        others: vec![kind],
                        stagger: 5 * SECOND,
                        others_first,
                    };
                    ((contest, span), seeds.clone())
                }));
            }
        }
    }
    all
}

fn measure(
    studies: &[Study],
    threads: usize,
    line: impl Fn(&Contest, &Range<u64>, &[Shares]) -> Line,
) -> Vec<Line> {
    let results = for_all_seeds(studies, threads, |(contest, span), seed| {
        contest.run(seed, *span)
    });
    let both = studies.iter().zip(results);
    both.map(|(((contest, _), seeds), results)| match settle(results) {
        Ok(shares) => line(contest, seeds, &shares),
        Err(failure) => Line {
            failure: Some(failure),
            ..line(contest, seeds, &[])
        },
    })
    .collect()
}

/// What both sections say of the queue.
fn queueing(shares: &[Shares]) -> String {
    let queue = highest(shares.iter().map(|it| it.queue_p95 as f64 / 1e6));
    let drops = highest(shares.iter().map(|it| it.drops * 100.0));
    format!("{queue:.1} | {drops:.2} |")
}

fn own_line(contest: &Contest, seeds: &Range<u64>, shares: &[Shares]) -> Line {
    let all = mean(shares.iter().map(|it| it.own.iter().sum()));
    let worst = lowest(shares.iter().map(Shares::jain));
    let wanted = if contest.own > 5 { 0.85 } else { 0.9 };
    Line {
        text: format!(
            "| {} | {} | {} | {}-{} | {all:.3} | {:.3} | {worst:.3} | {}",
            contest.own,
            f64::from(contest.cell.loss_ppm) / 1e4,
            contest.cell.queue_per_cent as f64 / 100.0,
            seeds.start,
            seeds.end - 1,
            mean(shares.iter().map(Shares::jain)),
            queueing(shares),
        ),
        worst,
        shortfalls: Some(short(worst < wanted, "Jain")),
        failure: None,
    }
}

fn others_line(contest: &Contest, seeds: &Range<u64>, shares: &[Shares]) -> Line {
    let own = || shares.iter().flat_map(|it| it.own.iter().copied());
    let (low, high) = (lowest(own()), highest(own()));
    let is_cubic = contest.others.first() == Some(&CrossKind::Cubic);
    let has_goal = is_cubic && contest.cell.queue_per_cent >= 50;
    Line {
        text: format!(
            "| {} | {} | {} | {} | {} | {}-{} | {:.3} | {low:.3} | {high:.3} | {:.3} | {}",
            contest.cell.rate / 1_000_000,
            contest.cell.rtt / MILLISECOND,
            contest.cell.queue_per_cent as f64 / 100.0,
            if is_cubic { "CUBIC" } else { "BBR" },
            if contest.others_first { "other" } else { "own" },
            seeds.start,
            seeds.end - 1,
            mean(shares.iter().map(|it| it.own.iter().sum())),
            mean(shares.iter().map(|it| it.others.iter().sum())),
            queueing(shares),
        ),
        worst: low,
        shortfalls: has_goal.then(|| {
            let mut complaints = short(low < 0.3, "too little");
            complaints.extend(short(high > 0.85, "too much"));
            complaints
        }),
        failure: None,
    }
}

fn short(is_short: bool, name: &str) -> Vec<String> {
    is_short.then(|| name.to_owned()).into_iter().collect()
}
