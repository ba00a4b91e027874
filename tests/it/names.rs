//! Names, times and permissions of what is sent, and what is not sent.

use crate::support::{MODES, Receiver, Scratch, assert_same_tree, exit, send, write_file};
use std::fs;
use std::time::{Duration, SystemTime};

#[test]
fn directories_keep_their_relative_names() {
    let scratch = Scratch::new();
    write_file(&scratch.join("source/photos/a/b/c.txt"), b"c");
    write_file(&scratch.join("source/photos/top.txt"), b"top");
    fs::create_dir(scratch.join("source/photos/empty")).unwrap();
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    send(
        &scratch.join("source"),
        &["--to", &receiver.to()],
        &["photos/"],
    )
    .expect(0);
    assert_same_tree(&scratch.join("source"), receiver.out());
    assert!(receiver.out().join("photos/empty").is_dir());
}

#[test]
fn times_come_along() {
    let scratch = Scratch::new();
    let path = scratch.join("data");
    write_file(&path, b"x");
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
    send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
    let copy = fs::metadata(receiver.out().join("data")).unwrap();
    assert_eq!(copy.modified().unwrap(), modified);
    receiver.finish().expect(0);
}

#[cfg(unix)]
#[test]
fn permissions_come_along_without_setuid() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.join("data");
    write_file(&path, b"x");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
    send(scratch.path(), &["--to", &receiver.to()], &["data"]).expect(0);
    let mode = fs::metadata(receiver.out().join("data"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o750, "{mode:o}");
    receiver.finish().expect(0);
}

#[cfg(unix)]
#[test]
fn links_are_skipped_with_a_warning() {
    let scratch = Scratch::new();
    write_file(&scratch.join("tree/data"), b"x");
    write_file(&scratch.join("secret"), b"secret");
    std::os::unix::fs::symlink("../secret", scratch.join("tree/link")).unwrap();
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "1"]);
    let options = ["--to", &receiver.to()];
    let sent = send(scratch.path(), &options, &["tree"])
        .expect(0)
        .says("warning: ");
    assert!(sent.stderr.contains("link"), "{}", sent.stderr);
    assert!(receiver.out().join("tree/data").exists());
    assert!(!receiver.out().join("tree/link").exists());
    receiver.finish().expect(0);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_way_is_not_followed() {
    let scratch = Scratch::new();
    write_file(&scratch.join("tree/data"), b"new");
    let outside = scratch.dir("outside");
    let out = scratch.dir("out");
    std::os::unix::fs::symlink(&outside, out.join("tree")).unwrap();
    let receiver = Receiver::start(&out, &[]);
    let sent = send(scratch.path(), &["--to", &receiver.to()], &["tree"]);
    assert!(
        matches!(sent.status.code(), Some(exit::REFUSED | exit::STORAGE)),
        "{sent:#?}"
    );
    assert_eq!(
        fs::read_dir(&outside).unwrap().count(),
        0,
        "it was followed"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_arrive_and_print_escaped_in_every_mode() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let name = OsStr::from_bytes(b"a\xff\xe2\x80\xaeb");
    write_file(&scratch.join("tree/plain"), b"x");
    write_file(&scratch.join("tree").join(name), b"y");
    for mode in MODES {
        let receiver = Receiver::start(&scratch.join(mode), &["--exit-after", "2"]);
        let options = ["--mode", mode, "--to", &receiver.to()];
        let sent = send(scratch.path(), &options, &["tree"]).expect(0);
        let shown = "tree/a\\xff\\u{202e}b";
        assert!(sent.stdout.contains(shown), "{}", sent.stdout);
        let copy = receiver.out().join("tree").join(name);
        assert_eq!(fs::read(copy).unwrap(), b"y");
        receiver.finish().expect(0);
    }
}

#[test]
fn a_name_that_no_receiver_takes_stays_at_home() {
    // SPEC: R-names-1
    let scratch = Scratch::new();
    write_file(&scratch.join("tree/a\nb"), b"x");
    write_file(&scratch.join("tree/plain"), b"y");
    let receiver = Receiver::start(&scratch.join("out"), &[]);
    let sent = send(scratch.path(), &["--to", &receiver.to()], &["tree"]);
    // Whether it is left out with a warning or fails as unreadable, it must be told, and escaped.
    assert!(sent.stderr.contains("a\\nb"), "{sent:#?}");
    assert!(!sent.stderr.contains("panicked"), "{sent:#?}");
}

#[test]
fn names_that_do_not_fit_one_message_are_offered_in_several() {
    // SPEC: R-offer-2
    let scratch = Scratch::new();
    let part = "d".repeat(250);
    // Names of 3,500 bytes: what one message may hold is 18 of them, and so many lines are offered
    // at a time where they are short.
    let deep = [part.as_str(); 13].join("/");
    let dir = scratch.join("tree").join(deep);
    fs::create_dir_all(&dir).unwrap();
    for at in 0..32 {
        fs::write(dir.join(format!("{at:0>200}")), [at]).unwrap();
    }
    let receiver = Receiver::start(&scratch.join("out"), &["--exit-after", "32"]);
    send(scratch.path(), &["--to", &receiver.to()], &["tree"]).expect(0);
    assert_same_tree(&scratch.join("tree"), &receiver.out().join("tree"));
    receiver.finish().expect(0);
}
