//! The directories beneath the receiver's directory: opened part by part, no link followed, a few
//! kept open. What is kept is looked at again in each [`Tree::turn`], for a directory may be moved
//! away or removed while we hold it, and what we put there then would not be under its name.

use crate::storage::fault::sink_failure;
use crate::storage::lru::Lru;
use crate::storage::sys::{Dir, Kind};
use std::collections::BTreeSet;
use std::io;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::manifest::Name;

/// From so many directories on, one sync of the file system is cheaper than one of each.
const SYNC_ALL_ABOVE: usize = 8;

/// The receiver's directory. Paths in it are those of names: parts joined by `/`, empty for the
/// root.
pub(super) struct Tree {
    root: Dir,
    device: u64,
    open: Lru<Vec<u8>, Opened>,
    turn: u64,
    /// Directories with names in them that are not yet durable.
    unsynced: BTreeSet<Vec<u8>>,
}

/// A directory that is kept open.
struct Opened {
    dir: Dir,
    /// Its device and inode.
    identity: (u64, u64),
    /// The turn in which it was last seen under its name.
    seen: u64,
}

impl Tree {
    pub(super) fn new(root: Dir, open_dirs: usize) -> io::Result<Self> {
        Ok(Self {
            device: root.stat_self()?.device,
            root,
            // Opening needs the parent while the child is opened.
            open: Lru::new(open_dirs.max(2)),
            turn: 0,
            unsynced: BTreeSet::new(),
        })
    }

    /// From here on what was seen before may not be there any more.
    pub(super) fn turn(&mut self) {
        self.turn += 1;
    }

    pub(super) fn root(&self) -> &Dir {
        &self.root
    }

    /// The directory at `path`, made with its parents where it is missing. `name` is for messages.
    pub(super) fn directory(&mut self, path: &[u8], name: &Name) -> Result<&Dir, Failure> {
        self.make(path, name)?;
        self.opened(path)
            .map_err(|error| sink_failure("open the directory of", name, &error))
    }

    /// Makes the directory at `path` with its parents; true where it was missing.
    pub(super) fn make(&mut self, path: &[u8], name: &Name) -> Result<bool, Failure> {
        let mut made = false;
        let is_seen = self
            .open
            .get_mut(path)
            .is_some_and(|it| it.seen == self.turn);
        if path.is_empty() || is_seen {
            return Ok(made);
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in ends.map(|(at, _)| at).chain([path.len()]) {
            let prefix = path.get(..end).unwrap_or_default();
            made = !self.stands(prefix) && self.open_or_make(prefix, name)?;
        }
        Ok(made)
    }

    /// Whether the directory at `path` is kept open and still there. Its parent is.
    fn stands(&mut self, path: &[u8]) -> bool {
        let turn = self.turn;
        let identity = match self.open.get_mut(path) {
            None => return false,
            Some(opened) if opened.seen == turn => return true,
            Some(opened) => opened.identity,
        };
        let (parent, part) = split(path);
        let found = self.opened(parent).and_then(|above| above.stat(part));
        let is_same = found.is_ok_and(|found| {
            found.kind == Kind::Directory && (found.device, found.inode) == identity
        });
        match self.open.get_mut(path) {
            Some(opened) if is_same => opened.seen = turn,
            _ => drop(self.open.remove(path)),
        }
        is_same
    }

    /// Opens one directory whose parent is open, or makes it.
    fn open_or_make(&mut self, path: &[u8], name: &Name) -> Result<bool, Failure> {
        let (parent, part) = split(path);
        let device = self.device;
        let failure = |error: &io::Error| sink_failure("open the directory of", name, error);
        let above = self.opened(parent).map_err(|error| failure(&error))?;
        let mut made = false;
        let opened = match above.open_dir(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match above.make_dir(part, 0o777) {
                    Ok(()) => made = true,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => {
                        return Err(sink_failure("make the directory of", name, &error));
                    }
                }
                above.open_dir(part)
            }
            other => other,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                return Err(match above.stat(part).map(|found| found.kind) {
                    Ok(Kind::Directory) | Err(_) => failure(&error),
                    Ok(kind) => not_a_directory(name, kind),
                });
            }
        };
        let found = opened.stat_self().map_err(|error| failure(&error))?;
        if !made && found.device != device {
            // Moving into place in one step works only within one file system.
            let text = format!(
                "the directory of `{name}` is on another file system than the received files"
            );
            return Err(Failure::new(ErrorCode::POLICY, text));
        }
        let opened = Opened {
            dir: opened,
            identity: (found.device, found.inode),
            seen: self.turn,
        };
        self.open.insert(path.to_vec(), opened);
        // A directory that is there already may come from a run that was killed before it could
        // make its name durable.
        self.touch(parent);
        Ok(made)
    }

    fn opened(&mut self, path: &[u8]) -> io::Result<&Dir> {
        if path.is_empty() {
            return Ok(&self.root);
        }
        let opened = self.open.get_mut(path);
        opened
            .map(|opened| &opened.dir)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Names in the directory at `path` have changed.
    pub(super) fn touch(&mut self, path: &[u8]) {
        if !self.unsynced.contains(path) {
            self.unsynced.insert(path.to_vec());
        }
    }

    /// Makes every name durable that changed since the last call.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let paths = std::mem::take(&mut self.unsynced);
        if paths.len() > SYNC_ALL_ABOVE
            && let Some(result) = self.root.sync_filesystem()
        {
            return result;
        }
        paths.iter().try_for_each(|path| self.sync_one(path))
    }

    fn sync_one(&mut self, path: &[u8]) -> io::Result<()> {
        if let Ok(dir) = self.opened(path) {
            return dir.sync();
        }
        let mut parts = path.split(|byte| *byte == b'/');
        let first = self.root.open_dir(parts.next().unwrap_or_default());
        match parts.try_fold(first, |dir, part| io::Result::Ok(dir?.open_dir(part))) {
            Ok(Ok(dir)) => dir.sync(),
            // Somebody removed it with all that was in it: nothing is left to be made durable.
            Ok(Err(error)) | Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(Err(error)) | Err(error) => Err(error),
        }
    }

    /// Closes what is kept open, because handles ran out or what they show is gone.
    pub(super) fn close_all(&mut self) {
        self.open.retain(|_| false);
    }
}

/// The path of the directory and the last part.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => {
            let (parent, rest) = path.split_at(at);
            (parent, rest.get(1..).unwrap_or_default())
        }
        None => (&[], path),
    }
}

fn not_a_directory(name: &Name, kind: Kind) -> Failure {
    let code = match kind {
        Kind::File => ErrorCode::CONFLICT,
        _ => ErrorCode::NAME_REFUSED,
    };
    Failure::new(
        code,
        format!("`{name}` needs a directory where {} is", kind.as_str()),
    )
}
