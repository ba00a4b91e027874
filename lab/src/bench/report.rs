//! What was measured, as JSON and Markdown.

use super::scenario::Scenario;
use super::transfer::{Outcome, Sample};
use crate::control::Stats;
use crate::units;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A whole benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Processor, cores, memory, kernel and load.
    pub machine: String,
    /// The command that makes it again.
    pub command: String,
    /// One table each.
    pub tables: Vec<Table>,
}

/// Every tool on one link with one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The link and the size.
    pub scenario: Scenario,
    /// After so many seconds a run is not done.
    pub time_limit_s: f64,
    /// One tool each.
    pub rows: Vec<Row>,
    /// What the switch counted over all of them; `None` without a switch.
    pub switch: Option<Stats>,
}

/// One tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub tool: String,
    /// One outcome a run; none when it is not installed.
    pub outcomes: Vec<Outcome>,
    /// For each run, the seconds to recover from each step of the scenario, or none where it did
    /// not.
    pub recoveries: Vec<Vec<Option<f64>>>,
    /// System calls of sender and receiver, where they were asked for.
    pub system_calls: Option<(u64, u64)>,
}

/// The medians of the runs that were done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Bits of the files a second.
    pub goodput_bits: f64,
    /// The slowest run.
    pub worst_goodput_bits: f64,
    /// CPU seconds of both ends for 10^9 bytes of the file.
    pub cpu_seconds_a_gb: f64,
    /// The most memory of a process of the sender.
    pub sender_rss_bytes: f64,
    /// The most memory of a process of the receiver.
    pub receiver_rss_bytes: f64,
    /// Bytes of frames from the sender's host for each byte of the file.
    pub sent_ratio: f64,
    /// Bytes of frames back for each byte of frames forward.
    pub feedback_ratio: f64,
}

impl Row {
    /// The samples of the runs that were done.
    fn samples(&self) -> Vec<Sample> {
        let sample = |outcome: &Outcome| match outcome {
            Outcome::Done(sample) => Some(*sample),
            Outcome::NotDone(_) => None,
        };
        self.outcomes.iter().filter_map(sample).collect()
    }

    /// The medians, unless a run was not done: a tool that fails now and then has no speed.
    pub fn summary(&self, file_bytes: u64) -> Option<Summary> {
        let samples = self.samples();
        if samples.is_empty() || samples.len() < self.outcomes.len() {
            return None;
        }
        let of = |value: &dyn Fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        let bytes = file_bytes as f64;
        let slowest = samples
            .iter()
            .map(|sample| sample.seconds)
            .fold(0.0, f64::max);
        Some(Summary {
            goodput_bits: bytes * 8.0 / of(&|sample| sample.seconds),
            worst_goodput_bits: bytes * 8.0 / slowest,
            cpu_seconds_a_gb: of(&|sample| sample.cpu_seconds) / (bytes / 1e9),
            sender_rss_bytes: of(&|sample| sample.sender_rss_bytes as f64),
            receiver_rss_bytes: of(&|sample| sample.receiver_rss_bytes as f64),
            sent_ratio: of(&|sample| sample.sent_bytes as f64) / bytes,
            feedback_ratio: of(&|sample| {
                sample.feedback_bytes as f64 / sample.sent_bytes.max(1) as f64
            }),
        })
    }

    /// Why there is no summary.
    pub fn failure(&self) -> String {
        let done = self.samples().len();
        let why = self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::NotDone(why) => Some(why.as_str()),
            Outcome::Done(_) => None,
        });
        match why {
            None => "not installed".into(),
            Some(why) if done == 0 => why.to_owned(),
            Some(why) => format!("run {} of several: {why}", done + 1),
        }
    }
}

/// One run's recoveries, in the order of the steps.
fn recovery_text(run: &[Option<f64>]) -> String {
    let one = |seconds: &Option<f64>| match seconds {
        Some(seconds) => format!("{seconds:.2} s"),
        None => "never".to_owned(),
    };
    run.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The middle one, or the mean of the middle two; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

impl Report {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "Machine: {}\n\nCommand: `{}`\n\nGoodput is the file's bytes over the time from the \
             start of the sender to the file being there, verified by BLAKE3; medians, the worst \
             run in brackets. The limit is (1 - loss) × rate; the rate counts the bytes of \
             Ethernet frames (14 + IP). Delays are round-trip times; loss is that of each \
             direction.\n",
            self.machine, self.command
        );
        for table in &self.tables {
            text.push('\n');
            text.push_str(&table.markdown());
        }
        text
    }
}

impl Table {
    /// As Markdown.
    fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.scenario.title());
        let calls = self.rows.iter().any(|row| row.system_calls.is_some());
        text += "| tool | goodput, Mbit/s | share of the limit | CPU s/GB \
                 | memory, MiB: sender, receiver | sent/file | back/sent |";
        text += if calls {
            " calls/MB: sender, receiver |\n"
        } else {
            "\n"
        };
        text += "|---|---|---|---|---|---|---|";
        text += if calls { "---|\n" } else { "\n" };
        for row in &self.rows {
            self.row(&mut text, row, calls);
        }
        for row in self.rows.iter().filter(|row| !row.recoveries.is_empty()) {
            let runs: Vec<_> = row
                .recoveries
                .iter()
                .map(|run| recovery_text(run))
                .collect();
            let _ = writeln!(text, "\n{} recovered in: {}.", row.tool, runs.join("; "));
        }
        if let Some(switch) = &self.switch {
            let unwanted: u64 = switch
                .ports
                .iter()
                .map(|port| port.dropped_kernel + port.dropped_write + port.port.dropped_overload)
                .sum();
            let lateness = switch.lateness;
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "\nThe switch handed over {} frames, {} us late at the median and {} us at the \
                 99th percentile; {unwanted} frames were lost to the lab itself.",
                lateness.frames, lateness.median_us, lateness.p99_us
            );
        }
        text
    }

    fn row(&self, text: &mut String, row: &Row, calls: bool) {
        let bytes = self.scenario.total_bytes();
        let Some(summary) = row.summary(bytes) else {
            let empty = if calls {
                " | | | | | | |"
            } else {
                " | | | | | |"
            };
            let _ = writeln!(
                text,
                "| {} | {}{empty}",
                row.tool,
                row.failure().replace('|', "/")
            );
            return;
        };
        let share = self.scenario.limit_bits().map_or_else(
            || "-".to_owned(),
            |limit| {
                let worst = summary.worst_goodput_bits / limit;
                format!("{:.2} ({worst:.2})", summary.goodput_bits / limit)
            },
        );
        let _ = write!(
            text,
            "| {} | {} ({}) | {share} | {:.2} | {:.1}, {:.1} | {:.3} | {:.2} % |",
            row.tool,
            units::trim(summary.goodput_bits / 1e6),
            units::trim(summary.worst_goodput_bits / 1e6),
            summary.cpu_seconds_a_gb,
            summary.sender_rss_bytes / f64::from(1 << 20),
            summary.receiver_rss_bytes / f64::from(1 << 20),
            summary.sent_ratio,
            summary.feedback_ratio * 100.0,
        );
        if let Some((sender, receiver)) = row.system_calls {
            let a_mb = |calls: u64| calls as f64 / (bytes as f64 / 1e6);
            let _ = write!(text, " {:.1}, {:.1} |", a_mb(sender), a_mb(receiver));
        } else if calls {
            text.push_str(" |");
        }
        text.push('\n');
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::scenario::Preset;
    use super::*;

    fn sample(seconds: f64) -> Outcome {
        Outcome::Done(Sample {
            seconds,
            cpu_seconds: 0.016,
            sender_rss_bytes: 5 << 20,
            receiver_rss_bytes: 6 << 20,
            sent_bytes: 17_600_000,
            feedback_bytes: 176_000,
        })
    }

    /// A report with a tool that works, one that fails and one that is missing.
    pub(in super::super) fn report() -> Report {
        let row = |tool: &str, outcomes| Row {
            tool: tool.into(),
            outcomes,
            recoveries: vec![],
            system_calls: None,
        };
        Report {
            machine: "a machine".into(),
            command: "xfer-lab bench".into(),
            tables: vec![Table {
                scenario: Scenario {
                    link: Some(Preset::Near.profile()),
                    file_bytes: 16_000_000,
                    files: 1,
                    steps: vec![],
                },
                time_limit_s: 40.0,
                rows: vec![
                    row("works", vec![sample(2.0), sample(4.0), sample(1.6)]),
                    row(
                        "fails",
                        vec![sample(2.0), Outcome::NotDone("not done in 40 s".into())],
                    ),
                    row("missing", vec![]),
                ],
                switch: None,
            }],
        }
    }

    #[test]
    fn medians_and_the_worst_run_are_told() {
        let text = report().markdown();
        let row = "| works | 64 (32) | 0.64 (0.32) | 1.00 | 5.0, 6.0 | 1.100 | 1.00 % |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn a_failure_is_a_row_of_its_own() {
        let text = report().markdown();
        assert!(
            text.contains("| fails | run 2 of several: not done in 40 s |"),
            "{text}"
        );
        assert!(text.contains("| missing | not installed |"), "{text}");
    }

    #[test]
    fn json_says_it_all() {
        let json = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report());
    }

    #[test]
    fn the_median_of_an_even_count_is_between() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
