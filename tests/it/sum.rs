//! `xfer sum`.

use crate::support::{Scratch, exit, images, noise, run, write_file, xfer};
use std::fs::File;
use std::process::Stdio;

#[test]
fn sums_are_printed_as_by_b3sum() {
    let scratch = Scratch::new();
    let content = noise(3_000_000, 17);
    write_file(&scratch.join("data"), &content);
    write_file(&scratch.join("empty"), b"");
    let mut command = xfer(&["sum", "data", "empty"]);
    command.current_dir(scratch.path());
    let expected = format!(
        "{}  data\naf1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262  empty\n",
        blake3::hash(&content)
    );
    assert_eq!(run(command).expect(0).stdout, expected);
}

#[test]
fn standard_input_is_summed() {
    let scratch = Scratch::new();
    write_file(&scratch.join("data"), b"abc");
    for arguments in [&["sum"][..], &["sum", "-"]] {
        let mut command = xfer(arguments);
        command.stdin(Stdio::from(File::open(scratch.join("data")).unwrap()));
        let expected = format!("{}  -\n", blake3::hash(b"abc"));
        assert_eq!(run(command).expect(0).stdout, expected);
    }
}

#[test]
fn the_pictures_have_their_sums() {
    let mut command = xfer(&["sum", "--check", "B3SUMS"]);
    command.current_dir(images());
    assert_eq!(run(command).expect(0).stdout, "1.png: OK\n2.png: OK\n");
}

#[test]
fn a_changed_file_fails_the_check() {
    let scratch = Scratch::new();
    write_file(&scratch.join("a"), b"a");
    let sums = format!("{}  a\n{}  absent\n", blake3::hash(b"b"), blake3::hash(b""));
    write_file(
        &scratch.join("sums"),
        sums.lines().next().unwrap().as_bytes(),
    );
    let check = || {
        let mut command = xfer(&["sum", "--check", "sums"]);
        command.current_dir(scratch.path());
        command
    };
    assert_eq!(run(check()).expect(exit::INTEGRITY).stdout, "a: FAILED\n");
    write_file(&scratch.join("sums"), sums.as_bytes());
    run(check()).expect(exit::OTHER).says("absent");
    write_file(&scratch.join("sums"), b"no sum\n");
    run(check()).expect(exit::INTEGRITY).says("line 1");
    write_file(&scratch.join("sums"), b"");
    run(check()).expect(exit::INTEGRITY);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_summed() {
    let scratch = Scratch::new();
    write_file(&scratch.join("a"), b"a");
    let mut command = xfer(&["sum", "absent", "a"]);
    command.current_dir(scratch.path());
    let finished = run(command).expect(exit::SOURCE).says("`absent`");
    assert_eq!(finished.stdout, format!("{}  a\n", blake3::hash(b"a")));
}
