//! From the paths that a user gave to the manifest.

use crate::storage::sys;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use xfer_proto::manifest::{Entry, EntryKind, MAX_FILE_SIZE, MODE_MASK, Name, Timestamp};

/// What there is to send. `sources` and `entries` run in parallel.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Where each entry is read from.
    pub(crate) sources: Vec<PathBuf>,
    /// What is offered, in the order of the arguments, names sorted within each.
    pub(crate) entries: Vec<Entry>,
    /// What was left out on purpose, fit to print.
    pub(crate) warnings: Vec<String>,
    /// What could not be taken along; the rest of the plan is good without it.
    pub(crate) errors: Vec<(PathBuf, io::Error)>,
}

/// Collects files and directories, these recursively. Symbolic links and special files are left out
/// with a warning. Reads no file content.
pub(crate) fn walk(paths: &[PathBuf]) -> Plan {
    let mut walk = Walk::default();
    for path in paths {
        if let Err(error) = walk.argument(path) {
            walk.plan.errors.push((path.clone(), error));
        }
    }
    walk.plan
}

#[derive(Default)]
struct Walk {
    plan: Plan,
    names: HashSet<Name>,
}

impl Walk {
    fn argument(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let canonical;
        // `.`, `..` and `/` name a directory without saying how it is called.
        let name = match path.file_name() {
            Some(name) => Some(name),
            None => {
                canonical = fs::canonicalize(path)?;
                canonical.file_name()
            }
        };
        match name {
            Some(name) => self.entry(path, sys::name_bytes(name).to_vec(), &metadata),
            None => self.children(path, Vec::new()).map(drop),
        }
    }

    /// Takes one file or directory along under `name`.
    fn entry(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if kind.is_symlink() {
            self.leave_out(path, "symbolic link");
            return Ok(());
        }
        if !kind.is_dir() && !kind.is_file() {
            self.leave_out(path, "special file");
            return Ok(());
        }
        // Before the descent: a name that is too deep already ends it.
        let name = Name::new(name)
            .map_err(|error| invalid(format!("its name cannot be sent: {error}")))?;
        let kind = if kind.is_dir() {
            if self.children(path, name.as_bytes().to_vec())? > 0 {
                return Ok(());
            }
            EntryKind::Directory
        } else {
            EntryKind::File
        };
        if !self.names.insert(name.clone()) {
            let text = format!("the name `{name}` is already taken by another argument");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let size = match kind {
            EntryKind::File => metadata.len(),
            EntryKind::Directory => 0,
        };
        if size > MAX_FILE_SIZE {
            return Err(invalid("it is too large".to_string()));
        }
        self.plan.sources.push(path.to_path_buf());
        self.plan.entries.push(Entry {
            name,
            kind,
            size,
            modified: modified(metadata),
            mode: mode(metadata),
            identity: identity(metadata),
        });
        Ok(())
    }

    /// Takes along what a directory has; answers how many entries it has, whatever became of them.
    fn children(&mut self, path: &Path, prefix: Vec<u8>) -> io::Result<usize> {
        let mut names = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        for name in &names {
            let child = path.join(name);
            let result = fs::symlink_metadata(&child)
                .and_then(|metadata| self.entry(&child, join(&prefix, name), &metadata));
            if let Err(error) = result {
                self.plan.errors.push((child, error));
            }
        }
        Ok(names.len())
    }

    fn leave_out(&mut self, path: &Path, what: &str) {
        let path = printable(path);
        let text = format!("skipping `{path}`: it is a {what}");
        self.plan.warnings.push(text);
    }
}

/// A path fit to print: whatever could steer a terminal is escaped.
pub(crate) fn printable(path: &Path) -> String {
    let mut text = String::new();
    for chunk in sys::name_bytes(path.as_os_str()).utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_alphanumeric() || (c.is_ascii() && !c.is_ascii_control()) {
                text.push(c);
            } else {
                text.extend(c.escape_default());
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The modification time in the manifest's terms.
pub(crate) fn modified(metadata: &Metadata) -> Option<Timestamp> {
    metadata.modified().ok().map(timestamp)
}

fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        },
        Err(before) => {
            // Nanoseconds count upwards within the second, also before 1970.
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
            match before.subsec_nanos() {
                0 => Timestamp { seconds, nanos: 0 },
                nanos => Timestamp {
                    seconds: seconds.saturating_sub(1),
                    nanos: 1_000_000_000 - nanos,
                },
            }
        }
    }
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(metadata.mode() & MODE_MASK)
}

#[cfg(not(unix))]
fn mode(_: &Metadata) -> Option<u32> {
    None
}

/// The change time moves with every change of the content, and no program can set it back.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let parts = [
        metadata.dev(),
        metadata.ino(),
        metadata.ctime() as u64,
        metadata.ctime_nsec() as u64,
    ];
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    let hash = blake3::hash(&bytes);
    hash.as_bytes()
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<u64> {
    None
}

fn join(prefix: &[u8], name: &OsStr) -> Vec<u8> {
    let name = sys::name_bytes(name);
    if prefix.is_empty() {
        name.to_vec()
    } else {
        [prefix, b"/", name].concat()
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests;
