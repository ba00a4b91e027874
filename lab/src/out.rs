//! The only place that prints.

use std::io::Write;

/// A line of results, on standard output.
pub fn line(text: impl std::fmt::Display) {
    // Nobody reads any more: there is no one to tell.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line about what is going on, on standard error.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// What went wrong, with its causes.
pub fn error(error: &anyhow::Error) {
    note(format_args!("error: {error:#}"));
}
