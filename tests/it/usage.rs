//! Command lines that ask for what cannot be.

use crate::support::{exit, run, xfer};

#[test]
fn mistakes_are_usage_errors() {
    for arguments in [
        &[][..],
        &["send"],
        &["recv"],
        &["fetch"],
        &["send", "--no-such-flag", "x"],
        &["send", "--mode", "fork", "x"],
        &["send", "--rate", "fast", "x"],
        &["send", "--timeout", "0", "x"],
        &["send", "--to", "127.0.0.1:99999", "x"],
        &["send", "--to", "", "x"],
        &["recv", "--out", "d", "--max-size", "-1"],
        &["sum", "--check", "x", "y"],
    ] {
        let finished = run(xfer(arguments)).expect(exit::USAGE);
        assert_eq!(finished.stdout, "", "{arguments:?}");
        assert!(!finished.stderr.is_empty(), "{arguments:?}");
        assert!(finished.stderr.lines().count() <= 20, "{}", finished.stderr);
    }
}

#[test]
fn a_near_miss_is_suggested() {
    let arguments = ["send", "--mode", "thread-asinc", "x"];
    run(xfer(&arguments))
        .expect(exit::USAGE)
        .says("thread-async");
}

#[test]
fn a_name_that_does_not_resolve_is_unreachable() {
    // The top level name `invalid` is reserved for this.
    let arguments = ["send", "--to", "host.invalid", "x"];
    run(xfer(&arguments))
        .expect(exit::UNREACHABLE)
        .says("host.invalid");
}

#[test]
fn help_and_version_are_results() {
    for arguments in [["--help"], ["--version"]] {
        let finished = run(xfer(&arguments)).expect(0);
        assert!(finished.stdout.contains("xfer"));
        assert_eq!(finished.stderr, "");
    }
}
