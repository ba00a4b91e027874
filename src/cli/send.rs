//! `xfer send`.

use super::args::SendArguments;
use super::error::{CliError, End, hint_for};
use super::exit::Exit;
use super::output::Output;
use super::output::escape::escape;
use super::output::json::Event;
use super::output::table::{Align, Table};
use super::settings::{self, label_with_port, show_destination};
use super::units::{bits_per_second, show_rate, show_share};
use std::collections::BTreeMap;
use xfer::{Destination, SendEvent, SendOptions, SendSummary, SentFile, SentStatus};
use xfer_proto::error::ErrorCode;

/// Errors of one kind at one destination that are printed one by one; the rest are only counted.
const MAX_ERRORS: u64 = 10;

/// Sends, tells what happened, and says how it ended.
pub(super) fn run(arguments: SendArguments) -> Exit {
    let mut output = Output::new(arguments.log, arguments.json);
    let settings = match settings::of_send(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            output.failure(&error);
            return output.finish(error.exit);
        }
    };
    if let Some(warning) = &settings.warning {
        output.security_warning(warning);
    }
    let mut report = Report::new(&settings.options, output);
    let result = xfer::send(&settings.options, &mut |event| report.handle(event));
    report.finish(result)
}

/// Gathers what happens to the files.
struct Report<'a> {
    options: &'a SendOptions,
    labels: Vec<String>,
    table: Table<7>,
    /// How many failed, by destination and code.
    failures: BTreeMap<(usize, u16), u64>,
    output: Output,
}

impl<'a> Report<'a> {
    fn new(options: &'a SendOptions, output: Output) -> Self {
        Self {
            options,
            labels: options.to.iter().map(label_with_port).collect(),
            table: Table::new([
                ("FILE", Align::Left),
                ("TO", Align::Left),
                ("BYTES", Align::Right),
                ("SECONDS", Align::Right),
                ("RATE", Align::Right),
                ("SENT AGAIN", Align::Right),
                ("STATUS", Align::Left),
            ]),
            failures: BTreeMap::new(),
            output,
        }
    }

    fn handle(&mut self, event: SendEvent) {
        match event {
            SendEvent::Warning(text) => self.output.warning(&escape(&text)),
            SendEvent::Planned { bytes, .. } => {
                let labels = self.labels.iter().map(String::as_str);
                self.output.progress().start(labels, bytes);
            }
            SendEvent::Progress {
                destination,
                worker,
                bytes,
            } => {
                self.output.progress().update(destination, worker, bytes);
            }
            SendEvent::File(file) => self.handle_file(&file),
        }
    }

    fn handle_file(&mut self, file: &SentFile) {
        let label = self
            .labels
            .get(file.destination)
            .map_or("?", String::as_str);
        if self.output.is_json() {
            self.output.event(&Event::sent(file, label));
        } else {
            self.table.push(&row(file, label));
        }
        let SentStatus::Failed(failure) = &file.status else {
            return;
        };
        let count = self
            .failures
            .entry((file.destination, failure.code.0))
            .or_default();
        *count += 1;
        if *count <= MAX_ERRORS {
            let to = self
                .options
                .to
                .get(file.destination)
                .map_or(label.into(), show_destination);
            let reason = escape(&failure.to_string());
            self.output
                .error(&format!("cannot send `{}` to {to}: {reason}", file.name));
        }
    }

    fn finish(mut self, result: Result<SendSummary, xfer::Error>) -> Exit {
        self.output.progress().clear();
        self.explain_failures(result.is_err());
        match result {
            Ok(summary) => {
                self.print_summary(&summary);
                let codes = self.failures.keys().map(|&(_, code)| ErrorCode(code));
                let exit = Exit::combine(codes.map(Exit::of_failure));
                // A failure that was only counted is a failure too.
                let counted = if summary.failed > 0 {
                    Exit::Other
                } else {
                    Exit::Success
                };
                let exit = if exit == Exit::Success { counted } else { exit };
                self.output.finish(exit)
            }
            Err(error) => {
                if !self.output.is_json() && !self.table.is_empty() {
                    let rows = self.rows();
                    self.output.result(rows);
                }
                let error = CliError::from_library(error, End::Sender);
                self.output.failure(&error);
                self.output.finish(error.exit)
            }
        }
    }

    /// The table by name: workers end in any order.
    fn rows(&mut self) -> String {
        self.table.sort();
        self.table.render()
    }

    fn print_summary(&mut self, summary: &SendSummary) {
        if self.output.is_json() {
            self.output
                .event(&Event::summary(self.options.mode, summary));
        } else {
            let text = self.rows() + &total_line(summary, &self.options.to);
            self.output.result(text);
        }
    }

    /// Counts what was not printed, and says once what may help; that it is us who stop, where
    /// `is_ended` says so, needs no help.
    fn explain_failures(&mut self, is_ended: bool) {
        for (&(destination, code), &count) in &self.failures {
            if let Some(more) = count.checked_sub(MAX_ERRORS).filter(|&more| more > 0) {
                let to = self
                    .options
                    .to
                    .get(destination)
                    .map_or("?".into(), show_destination);
                let code = ErrorCode(code);
                self.output
                    .error(&format!("cannot send {more} more files to {to}: {code}"));
            }
        }
        let mut hints: Vec<_> = self
            .failures
            .keys()
            .map(|&(_, code)| ErrorCode(code))
            .filter(|code| !is_ended || *code != ErrorCode::INTERRUPTED)
            .filter_map(hint_for)
            .collect();
        hints.sort_unstable();
        hints.dedup();
        hints.into_iter().for_each(|hint| self.output.hint(hint));
    }
}

fn row(file: &SentFile, label: &str) -> [String; 7] {
    let (status, rate) = match &file.status {
        SentStatus::Committed(_) => (
            "committed",
            show_rate(bits_per_second(file.bytes, file.seconds)),
        ),
        SentStatus::Skipped(_) => ("skipped", "-".into()),
        SentStatus::Failed(_) => ("failed", "-".into()),
    };
    [
        file.name.to_string(),
        label.into(),
        file.bytes.to_string(),
        format!("{:.3}", file.seconds),
        rate,
        show_share(file.retransmitted_bytes, file.bytes),
        status.into(),
    ]
}

fn total_line(summary: &SendSummary, to: &[Destination]) -> String {
    let rate = show_rate(bits_per_second(summary.bytes, summary.seconds));
    let plural = |count: u64, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    format!(
        "total: {} to {}: {} committed, {} skipped, {} failed; {} bytes in {:.3} s, {rate}\n",
        plural(summary.files, "file"),
        plural(to.len() as u64, "destination"),
        summary.committed,
        summary.skipped,
        summary.failed,
        summary.bytes,
        summary.seconds,
    )
}
