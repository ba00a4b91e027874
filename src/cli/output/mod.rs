//! The only printer: results go to stdout, everything else to stderr.

pub(crate) mod escape;
pub(crate) mod json;
mod limit;
pub(crate) mod progress;
pub(crate) mod table;

use super::args::LogArguments;
use super::error::{CliError, system};
use super::exit::Exit;
use json::Event;
use limit::{Limiter, Verdict};
use progress::Progress;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Prints for one command.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
    progress: Progress,
    stdout: Stdout,
    limiter: Limiter,
}

/// Whether anybody still reads the results.
#[derive(Debug)]
enum Stdout {
    Open,
    /// The reader has left, as `head` does. That is its right: the transfer goes on without
    /// telling.
    Closed,
    /// The results could not be written, for example to a full disk.
    Failed,
}

impl Output {
    /// Sets up logs and progress as asked.
    pub(crate) fn new(log: LogArguments, json: bool) -> Self {
        start_logging(log);
        let terminal = is_capable_terminal();
        // Log lines would tear the bars apart, and JSON has a reader that is not a person.
        let bars = terminal && !json && !log.quiet && log.verbose == 0;
        Self {
            json,
            quiet: log.quiet,
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            progress: Progress::new(bars),
            stdout: Stdout::Open,
            limiter: Limiter::default(),
        }
    }

    /// For commands without options for logs.
    pub(crate) fn plain() -> Self {
        Self::new(LogArguments::default(), false)
    }

    /// Whether results are JSON events.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a reader of the results is left.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.stdout, Stdout::Open)
    }

    /// The bars on stderr.
    pub(crate) fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// A result for a person: whole lines, each ended.
    pub(crate) fn result(&mut self, lines: impl AsRef<[u8]>) {
        self.write_stdout(lines.as_ref());
    }

    /// A result for a program.
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        match event.to_line() {
            Ok(line) => self.write_stdout(&line),
            Err(error) => self.stdout_failed(&error),
        }
    }

    /// News for a person that are no result.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.write_stderr(&format!("{text}\n"));
        }
    }

    /// Something that a person should know; the command goes on.
    pub(crate) fn warning(&mut self, text: &str) {
        if !self.quiet {
            self.write_stderr(&format!("{} {text}\n", self.paint("33", "warning:")));
        }
    }

    /// A warning that a peer has caused: more than a few a second are only counted.
    pub(crate) fn peer_warning(&mut self, text: &str) {
        if !self.quiet && self.admit() {
            self.warning(text);
        }
    }

    /// The same for something that failed.
    pub(crate) fn peer_error(&mut self, text: &str) {
        if self.admit() {
            self.error(text);
        }
    }

    fn admit(&mut self) -> bool {
        let verdict = self.limiter.admit(Instant::now());
        if let Verdict::Print(suppressed @ 1..) = verdict {
            self.note(&limit::note(suppressed));
        }
        verdict != Verdict::Suppress
    }

    /// A warning that `--quiet` does not silence.
    pub(crate) fn security_warning(&mut self, text: &str) {
        self.write_stderr(&format!("{} {text}\n", self.paint("33", "warning:")));
    }

    /// Something that failed, without a hint.
    pub(crate) fn error(&mut self, text: &str) {
        self.write_stderr(&format!("{} {text}\n", self.paint("31", "error:")));
    }

    /// What may help, after the errors.
    pub(crate) fn hint(&mut self, text: &str) {
        self.write_stderr(&format!("\n{} {text}\n", self.paint("36", "hint:")));
    }

    /// The failure of the command as a whole.
    pub(crate) fn failure(&mut self, error: &CliError) {
        self.progress.clear();
        if self.json {
            self.event(&Event::error(error));
        }
        self.error(&error.message);
        if let Some(hint) = &error.hint {
            self.hint(hint);
        }
    }

    /// The status of the program: results that could not be written are a failure too.
    pub(crate) fn finish(mut self, exit: Exit) -> Exit {
        let suppressed = self.limiter.take_suppressed();
        if suppressed > 0 {
            self.note(&limit::note(suppressed));
        }
        match self.stdout {
            Stdout::Failed => Exit::combine([exit, Exit::Other]),
            Stdout::Open | Stdout::Closed => exit,
        }
    }

    fn paint(&self, colour: &str, word: &str) -> String {
        if self.colour {
            format!("\x1b[1;{colour}m{word}\x1b[0m")
        } else {
            word.into()
        }
    }

    fn write_stdout(&mut self, bytes: &[u8]) {
        if !self.is_read() {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        drop(stdout);
        if let Err(error) = written {
            self.stdout_failed(&error);
        }
    }

    fn stdout_failed(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.stdout = Stdout::Closed;
        } else {
            self.stdout = Stdout::Failed;
            self.error(&format!(
                "cannot write to standard output: {}",
                system(error)
            ));
        }
    }

    fn write_stderr(&self, text: &str) {
        // Nobody is left to tell when stderr is gone.
        self.progress
            .suspend(|| io::stderr().lock().write_all(text.as_bytes()))
            .unwrap_or_default();
    }
}

/// Whether stderr is a terminal that can redraw a line.
fn is_capable_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Sends logs to stderr, as `RUST_LOG` says, or as many as were asked for.
pub(crate) fn start_logging(log: LogArguments) {
    let default = match (log.quiet, log.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(default.into())
        .from_env_lossy();
    let set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .try_init();
    // Only a second call in one process fails, and then logs are set up already.
    set.unwrap_or_default();
}
