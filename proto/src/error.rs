//! Reasons why a file or a session failed, as they travel on the wire and as the driver reports
//! them.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Longest text that a peer may attach to a failure, in bytes.
pub const MAX_MESSAGE: usize = 256;

/// Why something failed (SPEC.md, `error-codes`). Unknown codes are kept and belong to
/// [`ErrorClass::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ErrorCode(pub u16);

/// Who or what is to blame; the command line maps each class to one exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The sender's file could not be read, or changed while it was sent.
    Source,
    /// The destination refused: name, conflict, policy, quota.
    Refused,
    /// The destination's storage failed.
    Storage,
    /// The peer did not answer, or went away.
    Unreachable,
    /// The peer is not authenticated or not authorised.
    Unauthorised,
    /// Content or protocol is not what it has to be.
    Integrity,
    /// A person or the system asked to stop.
    Interrupted,
    /// Everything else.
    Other,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $class:ident, $text:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Every code of this version, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Who or what is to blame.
            pub const fn class(self) -> ErrorClass {
                match self.0 {
                    $($value => ErrorClass::$class,)*
                    _ => ErrorClass::Other,
                }
            }

            /// The code in words, lower case, without a full stop.
            pub const fn as_str(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

codes! {
    /// A source file could not be opened or read.
    SOURCE_UNREADABLE = 1, Source, "the source could not be read";
    /// A source file is not what was offered any more.
    SOURCE_CHANGED = 2, Source, "the source changed while it was sent";
    /// The name breaks the rules for names.
    NAME_REFUSED = 10, Refused, "the name was refused";
    /// Another file of that name is there, is on its way, or goes on in a newer session.
    CONFLICT = 11, Refused, "the name is taken";
    /// A size limit of the receiver would be exceeded.
    QUOTA = 12, Refused, "the receiver's quota would be exceeded";
    /// The receiver's policy forbids it.
    POLICY = 13, Refused, "the receiver's policy forbids it";
    /// More files, or a longer manifest, than the receiver takes.
    TOO_MANY_FILES = 14, Refused, "too many files in one transfer";
    /// The receiver serves as many sessions as it can.
    BUSY = 15, Refused, "the receiver is busy";
    /// No space left at the destination.
    NO_SPACE = 20, Storage, "no space left at the destination";
    /// The destination's storage reported an input or output error.
    STORAGE_IO = 21, Storage, "the destination's storage failed";
    /// The destination cannot be written.
    READ_ONLY = 22, Storage, "the destination is read-only";
    /// The destination's permissions forbid it.
    STORAGE_DENIED = 23, Storage, "permission denied at the destination";
    /// The content does not have the announced digest, also after it was sent again.
    INTEGRITY = 30, Integrity, "the content does not match its digest";
    /// The peer broke the protocol.
    PROTOCOL = 31, Integrity, "the peer broke the protocol";
    /// No common protocol version.
    VERSION = 32, Integrity, "no common protocol version";
    /// The peer was silent for too long.
    TIMEOUT = 40, Unreachable, "timed out";
    /// The peer does not know the session any more.
    PEER_LOST = 41, Unreachable, "the peer lost the session";
    /// The peer was asked to stop.
    INTERRUPTED = 42, Interrupted, "interrupted";
    /// Authentication is missing or wrong.
    UNAUTHORISED = 50, Unauthorised, "not authorised";
    /// A fault of the program itself.
    INTERNAL = 60, Other, "internal error";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A code with the words that explain this case. The text may come from a peer: print it escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Failure {
    /// What went wrong.
    pub code: ErrorCode,
    /// Details for a person, possibly empty, at most [`MAX_MESSAGE`] bytes.
    pub message: String,
}

/// A failure as it travels. A longer text than allowed must not get in: it would not fit where the
/// failure is passed on.
#[derive(Deserialize)]
struct Unchecked {
    code: ErrorCode,
    message: String,
}

impl TryFrom<Unchecked> for Failure {
    type Error = &'static str;

    fn try_from(Unchecked { code, message }: Unchecked) -> Result<Self, Self::Error> {
        if message.len() > MAX_MESSAGE {
            return Err("the text of a failure is too long");
        }
        Ok(Self { code, message })
    }
}

impl Failure {
    /// A failure with details; text over [`MAX_MESSAGE`] bytes is cut.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > MAX_MESSAGE {
            let cut = (0..=MAX_MESSAGE)
                .rev()
                .find(|&at| message.is_char_boundary(at));
            message.truncate(cut.unwrap_or(0));
        }
        Self { code, message }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: String::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "{}", self.code)
        } else {
            write!(f, "{}: {}", self.code, self.message)
        }
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        // SPEC: R-failure-1
        let failure = Failure::new(ErrorCode::CONFLICT, "é".repeat(MAX_MESSAGE));
        assert_eq!(failure.message.len(), MAX_MESSAGE);
        let odd = Failure::new(
            ErrorCode::CONFLICT,
            alloc::format!("a{}", "é".repeat(MAX_MESSAGE)),
        );
        assert_eq!(odd.message.len(), MAX_MESSAGE - 1);
    }

    #[test]
    fn codes_are_distinct() {
        for (at, code) in ErrorCode::ALL.iter().enumerate() {
            assert!(
                ErrorCode::ALL
                    .iter()
                    .skip(at + 1)
                    .all(|other| other != code)
            );
        }
    }
}
