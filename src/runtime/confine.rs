//! A second wall around what a receiver may touch, where the system can build one.
//!
//! The first is in the storage floor: every name is opened part by part beneath the directory, no
//! link followed. This one is the kernel's, and holds even where the first has a hole.

use std::io;
use std::path::Path;

/// Keeps the calling thread, and every thread that it starts from then on, from opening files
/// outside `out`. False where the system cannot do it.
///
/// # Errors
///
/// When the system can, but refuses.
#[cfg(target_os = "linux")]
pub(crate) fn confine(out: &Path) -> io::Result<bool> {
    use landlock::{
        ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetStatus,
    };
    // Before the second version no file could be moved to another directory at all.
    const NEEDED: ABI = ABI::V2;
    const KNOWN: ABI = ABI::V5;
    let restrict = || {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(NEEDED))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .create()?;
        let everything = AccessFs::from_all(KNOWN) & !AccessFs::Execute;
        let reading = AccessFs::ReadFile | AccessFs::ReadDir;
        ruleset
            .add_rule(PathBeneath::new(PathFd::new(out)?, everything))?
            // The kernel tells there how many datagrams it dropped.
            .add_rule(PathBeneath::new(PathFd::new("/proc")?, reading))?
            .restrict_self()
            .map_err(Refusal::from)
    };
    match restrict() {
        Ok(status) => Ok(status.ruleset != RulesetStatus::NotEnforced),
        // A kernel without Landlock, or with too old a version of it.
        Err(Refusal::Ruleset(landlock::RulesetError::HandleAccesses(_))) => Ok(false),
        Err(Refusal::Ruleset(error)) => Err(io::Error::other(error)),
        Err(Refusal::Path(error)) => Err(io::Error::other(error)),
    }
}

/// Why the system refused.
#[cfg(target_os = "linux")]
enum Refusal {
    Ruleset(landlock::RulesetError),
    Path(landlock::PathFdError),
}

#[cfg(target_os = "linux")]
impl From<landlock::RulesetError> for Refusal {
    fn from(error: landlock::RulesetError) -> Self {
        Self::Ruleset(error)
    }
}

#[cfg(target_os = "linux")]
impl From<landlock::PathFdError> for Refusal {
    fn from(error: landlock::PathFdError) -> Self {
        Self::Path(error)
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn confine(_: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_outside_can_be_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let (out, other) = (scratch.path().join("out"), scratch.path().join("other"));
        fs::create_dir(&out).unwrap();
        fs::write(&other, b"secret").unwrap();
        // On a thread of its own, which is all that it holds for.
        let confined = std::thread::spawn(move || {
            if !confine(&out).unwrap() {
                return false;
            }
            let denied = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            };
            denied(fs::read(&other).map(drop));
            denied(fs::write(&other, b"x"));
            denied(fs::write(out.join("../new"), b"x"));
            fs::create_dir_all(out.join("a/b")).unwrap();
            fs::write(out.join("x"), b"y").unwrap();
            fs::rename(out.join("x"), out.join("a/b/x")).unwrap();
            denied(fs::rename(out.join("a/b/x"), out.join("../x")));
            assert!(fs::read("/proc/net/udp").is_ok());
            true
        });
        if !confined.join().unwrap() {
            #[expect(clippy::print_stderr, reason = "a skipped test says why")]
            {
                eprintln!("skipped: this kernel has no Landlock");
            }
        }
        assert_eq!(fs::read(scratch.path().join("other")).unwrap(), b"secret");
    }
}
