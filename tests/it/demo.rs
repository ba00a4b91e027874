//! `xfer demo`, the main job.

use crate::support::{Scratch, run, xfer};
use std::fs;

#[test]
fn the_demo_verifies_every_copy_and_cleans_up() {
    let scratch = Scratch::new();
    let mut command = xfer(&["demo"]);
    command
        .current_dir(scratch.path())
        .env("TMPDIR", scratch.path());
    let finished = run(command).expect(0);
    let lines: Vec<_> = finished.stdout.lines().collect();
    // A heading, four modes by two paths by two receivers, and the verdict.
    assert_eq!(lines.len(), 1 + 16 + 1, "{}", finished.stdout);
    assert!(
        lines[1..17].iter().all(|line| line.ends_with("identical")),
        "{}",
        finished.stdout
    );
    assert!(
        lines[17].contains("32 copies are identical"),
        "{}",
        lines[17]
    );
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}
