//! From the paths of a transfer to what its jobs send.

use super::job::SourceFile;
use crate::api::Error;
use crate::storage::Store;
use crate::storage::source::SourceStore;
use crate::storage::walk::walk;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::manifest::Name;

/// Characters of a part of a name that stands for one which cannot be sent.
const MAX_STAND_IN: usize = 60;

/// What the paths of a transfer lead to.
pub(crate) struct Sources {
    /// Files and empty directories, in order.
    pub(crate) files: Vec<SourceFile>,
    /// What was left out and why, for a person.
    pub(crate) warnings: Vec<String>,
    /// What should be sent and cannot be read, by the names that it would have had.
    pub(crate) unreadable: Vec<(Name, Failure)>,
}

/// Looks at `paths`, directories recursively.
///
/// # Errors
///
/// [`Error::Path`] when there is nothing at all that can be sent, because of this path.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Sources, Error> {
    let plan = walk(paths);
    let mut errors = plan.errors;
    if plan.entries.is_empty() && !errors.is_empty() {
        let (path, source) = errors.swap_remove(0);
        return Err(path_error("open", &path, source));
    }
    if plan.entries.is_empty()
        && let Some(path) = paths.first()
    {
        let text = "links and special files are skipped, and nothing else is there";
        let source = io::Error::new(io::ErrorKind::InvalidInput, text);
        return Err(path_error("send", path, source));
    }
    let unreadable = errors.into_iter().map(|(path, error)| {
        let failure = Failure::new(ErrorCode::SOURCE_UNREADABLE, error.to_string());
        let name = name_of(&path, paths).unwrap_or_else(|| stand_in(&path, paths));
        (name, failure)
    });
    let files = plan.sources.into_iter().zip(plan.entries);
    let files = files.map(|(path, entry)| SourceFile {
        path: path.into(),
        entry,
    });
    Ok(Sources {
        files: files.collect(),
        warnings: plan.warnings,
        unreadable: unreadable.collect(),
    })
}

/// A store that reads these files.
pub(crate) fn open_sources(files: &[SourceFile]) -> Box<dyn Store> {
    let files = files
        .iter()
        .map(|file| (PathBuf::from(&file.path), file.entry.clone()));
    Box::new(SourceStore::new(files.collect()))
}

/// The name that `path`, found under one of `arguments`, would have had at the receiver.
fn name_of(path: &Path, arguments: &[PathBuf]) -> Option<Name> {
    let parts: Vec<&[u8]> = parts_of(path, arguments)
        .map(OsStr::as_encoded_bytes)
        .collect();
    Name::new(parts.join(&b'/')).ok()
}

/// What a file is called in events whose own name cannot be sent: the same, escaped, and of what is
/// too long the end.
fn stand_in(path: &Path, arguments: &[PathBuf]) -> Name {
    let parts = parts_of(path, arguments);
    let mut parts: Vec<String> = parts.map(|part| printable(Path::new(part))).collect();
    for part in &mut parts {
        *part = part.chars().take(MAX_STAND_IN).collect();
    }
    let ends = (0..parts.len()).map(|at| parts.get(at..).unwrap_or_default().join("/"));
    ends.filter_map(|end| Name::new(end).ok())
        .next()
        .unwrap_or_else(|| Name::new("(unnamed)").expect("a plain name"))
}

/// The parts of a path from the argument on beneath which it was found.
fn parts_of<'a>(path: &'a Path, arguments: &[PathBuf]) -> impl Iterator<Item = &'a OsStr> {
    let base = arguments
        .iter()
        .find(|argument| path.starts_with(argument))
        .and_then(|argument| argument.parent());
    let relative = base.map_or(path, |base| path.strip_prefix(base).unwrap_or(path));
    relative.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part),
        _ => None,
    })
}

/// A path for messages: what is not printable comes out escaped.
fn printable(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// An error about one of our paths.
pub(crate) fn path_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Path {
        action,
        path: printable(path),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_argument() {
        let arguments = [PathBuf::from("/home/x/photos/"), PathBuf::from("a.txt")];
        let name = |path: &str| name_of(Path::new(path), &arguments).map(|name| name.to_string());
        assert_eq!(
            name("/home/x/photos/1/a.jpg").as_deref(),
            Some("photos/1/a.jpg")
        );
        assert_eq!(name("a.txt").as_deref(), Some("a.txt"));
        assert_eq!(name("/etc/x").as_deref(), Some("etc/x"));
        assert_eq!(name("/"), None);
    }

    #[test]
    fn a_name_that_cannot_be_sent_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good"), dir.path().join("d"));
        std::fs::write(&good, "x").unwrap();
        std::fs::create_dir(&bad).unwrap();
        std::fs::write(bad.join("a\nb"), "x").unwrap();
        let sources = find(&[good, bad]).unwrap();
        assert!(sources.warnings.is_empty());
        let [(name, failure)] = sources.unreadable.as_slice() else {
            panic!("{:?}", sources.unreadable);
        };
        assert_eq!(name.as_bytes(), b"d/a\\nb");
        assert!(failure.message.contains("cannot be sent"), "{failure:?}");
    }

    #[test]
    #[cfg(unix)]
    fn nothing_to_send_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("gone", &link).unwrap();
        let Err(Error::Path {
            action: "send",
            path,
            ..
        }) = find(std::slice::from_ref(&link))
        else {
            panic!("a link alone is nothing");
        };
        assert!(path.ends_with("link"));
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let sources = find(&[link, dir.path().join("file")]).unwrap();
        assert_eq!((sources.files.len(), sources.warnings.len()), (1, 1));
    }

    #[test]
    fn what_cannot_be_read_does_not_keep_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (here, gone) = (dir.path().join("here"), dir.path().join("gone"));
        std::fs::write(&here, "x").unwrap();
        let sources = find(&[here.clone(), gone.clone()]).unwrap();
        assert_eq!(sources.files.len(), 1);
        let [(name, failure)] = sources.unreadable.as_slice() else {
            panic!("{:?}", sources.unreadable);
        };
        assert_eq!(name.as_bytes(), b"gone");
        assert_eq!(failure.code, ErrorCode::SOURCE_UNREADABLE);
        assert!(matches!(find(&[gone]), Err(Error::Path { .. })));
    }
}
