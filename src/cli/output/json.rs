//! The JSON events of `--json`, one a line (README, "JSON events"). Fields are only ever added.

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::settings::mode_name;
use crate::cli::units::bits_per_second;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use std::io::{self, Write};
use std::net::SocketAddr;
use xfer::{Mode, SendSummary, SentFile, SentStatus};
use xfer_proto::error::Failure;
use xfer_proto::manifest::{Entry, Name};

/// A line on stdout.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event<'a> {
    /// `recv` is ready on this address.
    Listening {
        /// With the port that the system chose, where 0 was asked.
        address: SocketAddr,
    },
    /// A file has its final status: of `send` with `to`, of `recv` with `from`.
    File(FileEvent<'a>),
    /// The end of `send`.
    Summary(SummaryEvent),
    /// The command as a whole failed; comes last.
    Error(ErrorEvent),
}

/// How one file fared.
#[derive(Debug, Serialize)]
pub(crate) struct FileEvent<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<SocketAddr>,
    bytes: u64,
    #[serde(flatten)]
    sent: Option<SentFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorEvent>,
}

#[derive(Debug, Serialize)]
struct SentFigures {
    seconds: f64,
    rate: u64,
    retransmitted_bytes: u64,
}

/// The totals of `send`.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryEvent {
    mode: &'static str,
    files: u64,
    destinations: usize,
    bytes: u64,
    seconds: f64,
    committed: u64,
    skipped: u64,
    failed: u64,
    sent_bytes: u64,
    sent_packets: u64,
}

/// Why a file or a command failed.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorEvent {
    code: u8,
    message: String,
}

impl<'a> Event<'a> {
    /// A file of `send`; `label` is its destination as the user wrote it, with the port.
    pub(crate) fn sent(file: &SentFile, label: &'a str) -> Self {
        let (status, blake3, error) = status_fields(&file.status);
        // What was there already did not travel.
        let moved = if status == "committed" { file.bytes } else { 0 };
        Self::File(FileEvent {
            path: path_text(&file.name),
            to: Some(label),
            from: None,
            bytes: file.bytes,
            sent: Some(SentFigures {
                seconds: file.seconds,
                rate: bits_per_second(moved, file.seconds) as u64,
                retransmitted_bytes: file.retransmitted_bytes,
            }),
            blake3,
            status,
            error,
        })
    }

    /// A file of `recv`.
    pub(crate) fn received(from: SocketAddr, entry: &Entry, status: &SentStatus) -> Self {
        let (status, blake3, error) = status_fields(status);
        Self::File(FileEvent {
            path: path_text(&entry.name),
            to: None,
            from: Some(from),
            bytes: entry.size,
            sent: None,
            blake3,
            status,
            error,
        })
    }

    /// The totals of `send`.
    pub(crate) fn summary(mode: Mode, summary: &SendSummary) -> Self {
        Self::Summary(SummaryEvent {
            mode: mode_name(mode),
            files: summary.files,
            destinations: summary.destinations,
            bytes: summary.bytes,
            seconds: summary.seconds,
            committed: summary.committed,
            skipped: summary.skipped,
            failed: summary.failed,
            sent_bytes: summary.sent_bytes,
            sent_packets: summary.sent_packets,
        })
    }

    /// The failure of the command as a whole.
    pub(crate) fn error(error: &CliError) -> Self {
        Self::Error(ErrorEvent {
            code: error.exit.code(),
            message: error.message.clone(),
        })
    }

    /// The event as one line of ASCII, ended.
    pub(crate) fn to_line(&self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.serialize(&mut serde_json::Serializer::with_formatter(
            &mut line, Ascii,
        ))?;
        line.push(b'\n');
        Ok(line)
    }
}

fn status_fields(status: &SentStatus) -> (&'static str, Option<String>, Option<ErrorEvent>) {
    match status {
        SentStatus::Committed(digest) => ("committed", Some(digest.to_string()), None),
        SentStatus::Skipped(digest) => ("skipped", Some(digest.to_string()), None),
        SentStatus::Failed(failure) => ("failed", None, Some(error_of(failure))),
    }
}

fn error_of(failure: &Failure) -> ErrorEvent {
    ErrorEvent {
        code: Exit::of_failure(failure.code).code(),
        message: failure.to_string(),
    }
}

/// A name exactly, where it is text: JSON escapes it. Otherwise in its printed form.
fn path_text(name: &Name) -> String {
    match str::from_utf8(name.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => name.to_string(),
    }
}

/// Writes nothing but printable ASCII, so that a line of JSON cannot steer a terminal either.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for c in fragment.chars() {
            if c.is_ascii() && !c.is_ascii_control() {
                CompactFormatter.write_string_fragment(writer, c.encode_utf8(&mut [0; 4]))?;
            } else {
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_proto::error::ErrorCode;
    use xfer_proto::id::Digest;

    fn line(event: &Event<'_>) -> String {
        String::from_utf8(event.to_line().unwrap()).unwrap()
    }

    #[test]
    fn a_sent_file_has_the_fields_of_the_contract() {
        let file = SentFile {
            name: Name::new("1.png").unwrap(),
            destination: 0,
            bytes: 1_000,
            seconds: 0.5,
            retransmitted_bytes: 7,
            status: SentStatus::Committed(Digest([0xab; 32])),
        };
        let expected = format!(
            "{{\"event\":\"file\",\"path\":\"1.png\",\"to\":\"127.0.0.1:10000\",\"bytes\":1000,\
             \"seconds\":0.5,\"rate\":16000,\"retransmitted_bytes\":7,\"blake3\":\"{}\",\
             \"status\":\"committed\"}}\n",
            "ab".repeat(32)
        );
        assert_eq!(line(&Event::sent(&file, "127.0.0.1:10000")), expected);
    }

    #[test]
    fn a_failed_file_carries_its_exit_status() {
        let entry = Entry {
            name: Name::new("\u{202e}a\u{1f600}".as_bytes()).unwrap(),
            kind: xfer_proto::manifest::EntryKind::File,
            size: 3,
            modified: None,
            mode: None,
            identity: None,
        };
        let status = SentStatus::Failed(Failure::new(ErrorCode::CONFLICT, "\x1b[2J\x7f"));
        let from = "127.0.0.1:5".parse().unwrap();
        let line = line(&Event::received(from, &entry, &status));
        assert_eq!(
            line,
            "{\"event\":\"file\",\"path\":\"\\u202ea\\ud83d\\ude00\",\"from\":\"127.0.0.1:5\",\
             \"bytes\":3,\"status\":\"failed\",\"error\":{\"code\":4,\"message\":\
             \"the name is taken: \\u001b[2J\\u007f\"}}\n"
        );
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["path"], "\u{202e}a\u{1f600}");
    }

    #[test]
    fn names_that_are_no_text_are_escaped() {
        assert_eq!(path_text(&Name::new(vec![b'a', 0xff]).unwrap()), "a\\xff");
    }
}
