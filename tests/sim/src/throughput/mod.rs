//! The committed table: what the default controller reaches on many links, section by section.
//!
//! A section is a heading, a sentence about what is measured, and a table. The full form is what
//! `throughput.md` has; the small form takes seconds, so that a test can make it again and compare.

mod changes;
mod shares;
mod steady;

use std::fmt::Write;

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everything: about ten minutes on two cores.
    Full,
    /// A few lines of each section over slow links and for a short time.
    Small,
}

impl Form {
    /// Where the table of this form is committed, from the root of the repository.
    pub fn path(self) -> &'static str {
        match self {
            Self::Full => "tests/sim/throughput.md",
            Self::Small => "tests/sim/throughput-small.md",
        }
    }

    /// The command that makes the table of this form again.
    pub fn command(self) -> &'static str {
        match self {
            Self::Full => "cargo run --release -p xfer-sim -- throughput",
            Self::Small => "cargo run --release -p xfer-sim -- throughput --small",
        }
    }

    fn preface(self) -> String {
        let text = match self {
            Self::Full => {
                "Everything runs in virtual time, so that the same code gives the same figures on \
                 any machine.\nA link loses packets at random in both directions; its queue drops \
                 at the tail and holds one product\nof rate and round trip where nothing else is \
                 said. Rates count UDP payload. A *share* is of what the\nlink can carry, (1 - \
                 loss) × rate, in bytes of the file: 30 of 1,472 bytes are headers, so .98 is the\n\
                 most. *Worst* is the lowest seed's. The last column says what falls short of the \
                 goal of the section."
            }
            Self::Small => {
                "A short form of throughput.md, over slow links and for a short time: a test makes \
                 it again and\ncompares. Its figures are there to show changes and not to be \
                 compared with those of the long form."
            }
        };
        format!(
            "# Throughput in the simulator\n\nMade by `{}`; one section again by `--section \
             NAME`.\n\n{text}\n",
            self.command()
        )
    }
}

/// One line of a section.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The cells of the table, each with a bar before it.
    pub text: String,
    /// The worst seed's share, index or sum of shares: what a test sets a floor for.
    pub worst: f64,
    /// What falls short of the goal: nothing where it is met, no list where there is no goal.
    pub shortfalls: Option<Vec<String>>,
    /// What went wrong, with its seed.
    pub failure: Option<String>,
}

/// A table with what is said about it.
#[derive(Debug)]
pub struct Section {
    /// The word for `--section`.
    pub name: &'static str,
    title: &'static str,
    about: &'static str,
    columns: &'static str,
    lines: fn(Form, usize) -> Vec<Line>,
}

/// All sections, in the order of the file.
pub const SECTIONS: [Section; 9] = [
    steady::STEADY,
    steady::GIGABIT,
    steady::HELD_OUT,
    steady::QUEUES,
    steady::JITTER,
    shares::OWN,
    shares::OTHERS,
    changes::STEPS,
    changes::WHOLE,
];

impl Section {
    /// Measures all lines, with so many threads.
    pub fn measure(&self, form: Form, threads: usize) -> Vec<Line> {
        (self.lines)(form, threads)
    }

    fn heading(&self) -> String {
        format!("## {} ({})", self.title, self.name)
    }

    /// The section as it stands in the file.
    fn text(&self, form: Form, lines: &[Line]) -> String {
        let bars = self.columns.matches('|').count().saturating_sub(1);
        let mut text = format!("{}\n\n", self.heading());
        if form == Form::Full {
            let _ = writeln!(text, "{}\n{}", self.about, summary(lines));
        }
        let _ = writeln!(
            text,
            "{} goal |\n{}|",
            self.columns,
            "|---".repeat(bars + 1)
        );
        for line in lines {
            let verdict = match (&line.failure, &line.shortfalls) {
                (Some(failure), _) => failure.clone(),
                (None, None) => String::new(),
                (None, Some(shortfalls)) if shortfalls.is_empty() => "met".into(),
                (None, Some(shortfalls)) => shortfalls.join(", "),
            };
            let _ = writeln!(text, "{} {verdict} |", line.text);
        }
        text
    }
}

fn summary(lines: &[Line]) -> String {
    let judged = lines.iter().filter(|line| line.shortfalls.is_some());
    let met = |line: &&Line| line.failure.is_none() && line.shortfalls == Some(Vec::new());
    let (all, met) = (judged.clone().count(), judged.filter(met).count());
    let worst = lines.iter().map(|line| line.worst);
    let worst = worst.fold(f64::INFINITY, f64::min);
    match all {
        0 => String::new(),
        all => format!("{met} of {all} lines with a goal meet it; the lowest is {worst:.3}.\n"),
    }
}

/// Puts a section into the text of the file in place of what it had, the other sections untouched.
pub fn replace(file: &str, form: Form, section: &Section, lines: &[Line]) -> String {
    let mut text = form.preface();
    for each in &SECTIONS {
        let part = if each.name == section.name {
            section.text(form, lines)
        } else {
            match part_of(file, each) {
                Some(part) => part,
                None => continue,
            }
        };
        text.push('\n');
        text.push_str(&part);
    }
    text
}

/// What the file has of a section, its heading included.
fn part_of(file: &str, section: &Section) -> Option<String> {
    let heading = section.heading();
    let mut lines = file.lines().skip_while(|line| *line != heading);
    let first = lines.next()?;
    let rest = lines.take_while(|line| !line.starts_with("## "));
    let text = rest.fold(String::from(first), |text, line| text + "\n" + line);
    Some(text.trim_end().to_owned() + "\n")
}

/// Every seed of every item, on several threads; the results item by item, in the order of seeds.
fn for_all_seeds<T: Sync, R: Send>(
    items: &[(T, std::ops::Range<u64>)],
    threads: usize,
    run: impl Fn(&T, u64) -> R + Sync,
) -> Vec<Vec<R>> {
    let jobs: Vec<(&T, u64)> = items
        .iter()
        .flat_map(|(item, seeds)| seeds.clone().map(move |seed| (item, seed)))
        .collect();
    let mut results =
        crate::parallel::in_parallel(&jobs, threads, |&(item, seed)| run(item, seed)).into_iter();
    items
        .iter()
        .map(|(_, seeds)| results.by_ref().take(seeds.clone().count()).collect())
        .collect()
}

/// What all seeds gave, or the first failure.
fn settle<R>(results: Vec<Result<R, String>>) -> Result<Vec<R>, String> {
    results.into_iter().collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

fn lowest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}
