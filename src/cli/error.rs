//! What ends a command, in words for a person.

use super::exit::Exit;
use super::output::escape::escape;
use std::fmt;
use std::io;
use xfer_proto::error::{ErrorClass, ErrorCode};

/// A failure of a command as a whole.
#[derive(Debug)]
pub(crate) struct CliError {
    /// The status of the program.
    pub(crate) exit: Exit,
    /// One sentence, lower case, without a full stop; nothing in it can steer a terminal.
    pub(crate) message: String,
    /// What to try, where something helps.
    pub(crate) hint: Option<String>,
}

/// Which end of a transfer an error of the library comes from; the exit status depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `send`: paths are sources, sockets lead to destinations.
    Sender,
    /// `recv`: paths are the output directory, sockets are what was asked to listen on.
    Receiver,
}

impl CliError {
    /// An error with no hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Gives an error of the library its status, words and hint.
    pub(crate) fn from_library(error: xfer::Error, end: End) -> Self {
        match error {
            xfer::Error::Path {
                action,
                path,
                source,
            } => {
                let message = format!("cannot {action} `{path}`: {}", system(&source));
                match end {
                    End::Sender => Self::new(Exit::Source, message),
                    End::Receiver => out_error(message, &source),
                }
            }
            xfer::Error::Socket {
                action,
                address,
                source,
            } => {
                let message = format!("cannot {action} {address}: {}", system(&source));
                match end {
                    End::Sender => Self::new(Exit::Unreachable, message),
                    End::Receiver => listen_error(message, &source),
                }
            }
            xfer::Error::Resolve { host, source } => Self::new(
                match (end, source.kind()) {
                    (End::Receiver, _) | (_, io::ErrorKind::InvalidInput) => Exit::Usage,
                    _ => Exit::Unreachable,
                },
                format!("cannot resolve `{}`: {}", escape(&host), system(&source)),
            ),
            xfer::Error::Worker(message) => Self::new(Exit::Other, escape(&message)),
            xfer::Error::Interrupted(signal) => Self::new(Exit::Interrupted(signal), "interrupted"),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A directory that cannot be received into.
fn out_error(message: String, source: &io::Error) -> CliError {
    let error = CliError::new(Exit::Storage, message);
    match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            error.hint("`--out` takes a directory, and something else has that name")
        }
        _ => error,
    }
}

/// An address that cannot be listened on is a matter of the command line.
fn listen_error(message: String, source: &io::Error) -> CliError {
    let error = CliError::new(Exit::Usage, message);
    match source.kind() {
        io::ErrorKind::AddrInUse => error.hint(
            "another program listens there; choose another port with `--listen ADDR:PORT`, \
             or port 0 for any that is free",
        ),
        io::ErrorKind::AddrNotAvailable => {
            error.hint("`--listen` takes an address of this machine, such as 127.0.0.1")
        }
        io::ErrorKind::PermissionDenied => {
            error.hint("ports below 1024 are for root; choose another with `--listen ADDR:PORT`")
        }
        _ => error,
    }
}

/// What may help against a kind of failure of files, where something does.
pub(crate) fn hint_for(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::CONFLICT => Some(
            "where a different file is in the way, move it or start the receiver with \
             `--on-conflict rename` or `overwrite`; where another transfer is, try again later",
        ),
        ErrorCode::INTERRUPTED => {
            Some("the other end was told to stop; once it runs again, the same command goes on")
        }
        ErrorCode::QUOTA => Some("the receiver sets it with `--max-size` and `--max-total`"),
        ErrorCode::SOURCE_CHANGED => Some("send it again when nothing writes to it any more"),
        ErrorCode::TIMEOUT => Some(
            "is `xfer recv` running there, on that port, and does every firewall on the way \
             let UDP through?",
        ),
        _ if code.class() == ErrorClass::Storage => {
            Some("the receiver's own messages say more about its directory")
        }
        _ => None,
    }
}

/// What the system said, in the middle of a sentence: its first letter small, unless a name starts
/// there.
pub(crate) fn system(error: &io::Error) -> String {
    let text = escape(&error.to_string());
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && second.is_lowercase() => {
            format!("{}{}", first.to_ascii_lowercase(), &text[1..])
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_fit_into_a_sentence() {
        let denied = io::Error::from_raw_os_error(13);
        assert_eq!(system(&denied), "permission denied (os error 13)");
        assert_eq!(system(&io::Error::other("EOF")), "EOF");
        assert_eq!(system(&io::Error::other("")), "");
    }

    #[test]
    fn the_end_decides_the_status() {
        let path = || xfer::Error::Path {
            action: "open",
            path: "x".into(),
            source: io::Error::from_raw_os_error(2),
        };
        let error = CliError::from_library(path(), End::Sender);
        assert_eq!(error.exit, Exit::Source);
        assert_eq!(
            error.message,
            "cannot open `x`: no such file or directory (os error 2)"
        );
        assert_eq!(
            CliError::from_library(path(), End::Receiver).exit,
            Exit::Storage
        );
    }
}
