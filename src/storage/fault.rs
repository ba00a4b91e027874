//! From what the system says to what travels on the wire and what a person reads.

use std::io;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::manifest::Name;

/// An action at the receiver that failed: `cannot write `a/b` at byte 4096: No space left (os error
/// 28)`.
pub(crate) fn sink_failure(action: &str, name: &Name, error: &io::Error) -> Failure {
    Failure::new(
        sink_code(error),
        format!("cannot {action} `{name}`: {error}"),
    )
}

/// Which code an error of the receiver's file system has.
pub(crate) fn sink_code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorCode::NO_SPACE
        }
        io::ErrorKind::ReadOnlyFilesystem => ErrorCode::READ_ONLY,
        io::ErrorKind::PermissionDenied => ErrorCode::STORAGE_DENIED,
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => ErrorCode::NAME_REFUSED,
        _ => ErrorCode::STORAGE_IO,
    }
}

/// A bug of ours: the engine asked for something about a file that storage does not know.
pub(crate) fn internal(what: &str) -> Failure {
    Failure::new(ErrorCode::INTERNAL, format!("storage was asked to {what}"))
}

/// Whether the process or the system has no handle left; closing some of ours helps.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    // EMFILE and ENFILE have the same numbers on every Unix; the library has no `ErrorKind` for
    // them.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn system_errors_have_their_codes() {
        for (errno, code) in [
            (28, ErrorCode::NO_SPACE),
            (122, ErrorCode::NO_SPACE),
            (30, ErrorCode::READ_ONLY),
            (13, ErrorCode::STORAGE_DENIED),
            (1, ErrorCode::STORAGE_DENIED),
            (36, ErrorCode::NAME_REFUSED),
            (5, ErrorCode::STORAGE_IO),
        ] {
            assert_eq!(sink_code(&io::Error::from_raw_os_error(errno)), code);
        }
        assert!(is_out_of_handles(&io::Error::from_raw_os_error(24)));
    }
}
