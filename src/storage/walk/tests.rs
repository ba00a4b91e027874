use super::*;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use tempfile::TempDir;

fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("photos");
    fs::create_dir_all(top.join("b/empty")).unwrap();
    fs::write(top.join("z.png"), b"zz").unwrap();
    fs::write(top.join("a.png"), b"a").unwrap();
    fs::write(top.join("b/c"), b"ccc").unwrap();
    dir
}

fn names(plan: &Plan) -> Vec<String> {
    assert_eq!(plan.sources.len(), plan.entries.len());
    plan.entries
        .iter()
        .map(|entry| entry.name.to_string())
        .collect()
}

const ALL: [&str; 4] = [
    "photos/a.png",
    "photos/b/c",
    "photos/b/empty",
    "photos/z.png",
];

#[test]
fn a_directory_keeps_its_name() {
    let dir = tree();
    for path in ["photos", "photos/", "photos/.", "photos/b/.."] {
        let plan = walk(&[dir.path().join(path)]);
        assert_eq!(names(&plan), ALL, "{path}");
        assert!(plan.errors.is_empty() && plan.warnings.is_empty());
        assert_eq!(plan.entries[2].kind, EntryKind::Directory);
        assert_eq!((plan.entries[1].size, plan.entries[2].size), (3, 0));
        assert_eq!(fs::read(&plan.sources[1]).unwrap(), b"ccc");
    }
}

#[test]
fn a_file_goes_under_its_file_name() {
    let dir = tree();
    let path = dir.path().join("photos/b/c");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(UNIX_EPOCH - std::time::Duration::from_millis(1500))
        .unwrap();
    let plan = walk(&[path]);
    assert_eq!(names(&plan), ["c"]);
    assert_eq!(plan.entries[0].mode, Some(0o751));
    let modified = Timestamp {
        seconds: -2,
        nanos: 500_000_000,
    };
    assert_eq!(plan.entries[0].modified, Some(modified));
}

#[test]
fn links_and_special_files_are_left_out() {
    let dir = tree();
    let top = dir.path().join("photos");
    symlink("a.png", top.join("link")).unwrap();
    symlink(".", top.join("loop")).unwrap();
    let fifo = top.join("fi\x1bfo");
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    let plan = walk(&[top.clone(), top.join("link")]);
    assert_eq!(names(&plan), ALL);
    assert_eq!(plan.warnings.len(), 4);
    assert!(plan.errors.is_empty());
    let all = plan.warnings.join(" ");
    assert!(all.contains("fi\\u{1b}fo`: it is a special file"), "{all}");
    assert!(all.contains("loop`: it is a symbolic link"), "{all}");
}

#[test]
fn errors_are_of_one_path_each() {
    let dir = tree();
    let top = dir.path().join("photos");
    fs::write(top.join("new\nline"), b"").unwrap();
    fs::create_dir(top.join("hidden\t")).unwrap();
    fs::write(top.join("hidden\t/x"), b"").unwrap();
    let missing = dir.path().join("missing");
    let plan = walk(&[missing.clone(), top.clone(), top.join("a.png")]);
    let mut paths: Vec<&PathBuf> = plan.errors.iter().map(|(path, _)| path).collect();
    paths.sort();
    assert_eq!(
        paths,
        [&missing, &top.join("hidden\t"), &top.join("new\nline")]
    );
    assert_eq!(names(&plan).len(), ALL.len() + 1);
}

#[test]
fn one_name_for_two_files_is_an_error() {
    let dir = tree();
    fs::write(dir.path().join("c"), b"other").unwrap();
    let paths = [dir.path().join("c"), dir.path().join("photos/b/c")];
    let plan = walk(&paths);
    assert_eq!(names(&plan), ["c"]);
    assert_eq!(plan.errors[0].0, paths[1]);
    assert_eq!(plan.errors[0].1.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn a_tree_that_is_too_deep_ends_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let deep: PathBuf = (0..200).map(|_| "d").collect();
    fs::create_dir_all(dir.path().join(deep)).unwrap();
    let plan = walk(&[dir.path().join("d")]);
    assert_eq!((plan.entries.len(), plan.errors.len()), (0, 1));
}

#[test]
fn names_that_are_not_utf8_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(sys::name_from_bytes(b"x\xff".to_vec()));
    fs::write(&path, b"").unwrap();
    let plan = walk(&[path]);
    assert_eq!(plan.entries[0].name.as_bytes(), b"x\xff");
}
