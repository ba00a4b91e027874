//! The exit status, a promise to scripts (README, "Exit status").

use std::process::ExitCode;
use xfer_proto::error::{ErrorClass, ErrorCode};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Exit {
    /// Every file is committed, or was identical, at every destination.
    Success,
    /// Several kinds of failure, or one without a status of its own.
    Other,
    /// The command line asks for something that cannot be done.
    Usage,
    /// A source could not be read, or changed while it was sent.
    Source,
    /// The destination refused: name, conflict, policy, quota.
    Refused,
    /// The destination's storage failed.
    Storage,
    /// Unreachable or timed out.
    Unreachable,
    /// Not authenticated or not authorised.
    Unauthorised,
    /// Integrity or protocol error.
    Integrity,
    /// Stopped by the signal of this number.
    Interrupted(i32),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::Source => 3,
            Self::Refused => 4,
            Self::Storage => 5,
            Self::Unreachable => 6,
            Self::Unauthorised => 7,
            Self::Integrity => 8,
            // The shell's own convention; signal numbers stay below 128.
            Self::Interrupted(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        }
    }

    /// The status for failures of single files.
    pub(crate) fn of_failure(code: ErrorCode) -> Self {
        match code.class() {
            ErrorClass::Source => Self::Source,
            ErrorClass::Refused => Self::Refused,
            ErrorClass::Storage => Self::Storage,
            // A signal to this process ends the whole call; in a file's failure it was the peer's,
            // who left.
            ErrorClass::Unreachable | ErrorClass::Interrupted => Self::Unreachable,
            ErrorClass::Unauthorised => Self::Unauthorised,
            ErrorClass::Integrity => Self::Integrity,
            ErrorClass::Other => Self::Other,
        }
    }

    /// The status of a whole from those of its parts: one kind of failure gives its own, several
    /// give [`Exit::Other`]. Success counts for nothing beside a failure.
    pub(crate) fn combine(parts: impl IntoIterator<Item = Self>) -> Self {
        let failure = |whole: Self, part: Self| match (whole, part) {
            (Self::Success, other) | (other, Self::Success) => other,
            (one, other) if one == other => one,
            _ => Self::Other,
        };
        parts.into_iter().fold(Self::Success, failure)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_the_status_of_the_contract() {
        for (code, status) in [
            (ErrorCode::SOURCE_CHANGED, 3),
            (ErrorCode::CONFLICT, 4),
            (ErrorCode::NO_SPACE, 5),
            (ErrorCode::TIMEOUT, 6),
            (ErrorCode::UNAUTHORISED, 7),
            (ErrorCode::PROTOCOL, 8),
            (ErrorCode::INTERNAL, 1),
            (ErrorCode(9_999), 1),
        ] {
            assert_eq!(Exit::of_failure(code).code(), status, "{code}");
        }
        assert_eq!(Exit::Interrupted(2).code(), 130);
        assert_eq!(Exit::Interrupted(15).code(), 143);
    }

    #[test]
    fn one_kind_keeps_its_own_status_and_several_do_not() {
        use Exit::{Other, Refused, Storage, Success};
        assert_eq!(Exit::combine([]), Success);
        assert_eq!(Exit::combine([Success, Refused, Success, Refused]), Refused);
        assert_eq!(Exit::combine([Refused, Storage]), Other);
        assert_eq!(Exit::combine([Refused, Storage, Refused]), Other);
    }
}
