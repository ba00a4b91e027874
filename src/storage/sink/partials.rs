//! The hidden directory of files that are not complete.
//!
//! Its lock belongs to one receiver at a time. That one resumes, cleans up and writes journals; a
//! second receiver on the same directory only makes private files of its own. One lock for the
//! directory and not one for each file: a lock lives in an open handle, and handles are closed when
//! there are too many.

use crate::storage::journal::{self, Seal, partial_id};
use crate::storage::sys::{self, Dir, Identity, Kind};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xfer_proto::digest::{LEAF_SIZE, leaf_range};
use xfer_proto::manifest::{Entry, MODE_MASK, PARTIAL_DIR};
use xfer_proto::storage::{Leaf, Prepared};

/// A partial file that nobody went on with for so long is removed.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A receiver that runs looks no more often than this for such files.
const CLEAN_INTERVAL: Duration = Duration::from_secs(60 * 60);
const DATA: &str = ".part";
const JOURNAL: &str = ".journal";
const NEW_JOURNAL: &str = ".journal-new";
const OWNER: &str = "tmp-";
const GUEST: &str = "guest-";

/// One partial file.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its name in the directory.
    pub(super) data: Vec<u8>,
    /// The name of its journal, where it may be resumed.
    pub(super) journal: Option<Vec<u8>>,
}

pub(super) struct Partials {
    dir: Option<Dir>,
    is_owner: bool,
    /// Distinguishes private files of this run from those of any other.
    run: u64,
    next: u64,
    in_use: HashSet<Vec<u8>>,
    resumable: usize,
    cleaned_at: SystemTime,
    boot: Option<[u8; 16]>,
}

impl Partials {
    /// Looks at what earlier runs left; `now` decides what is too old.
    pub(super) fn open(root: &Dir, now: SystemTime) -> io::Result<Self> {
        let mut partials = Self {
            dir: None,
            is_owner: false,
            run: getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?,
            next: 0,
            in_use: HashSet::new(),
            resumable: 0,
            cleaned_at: now,
            boot: sys::boot_id(),
        };
        match root.make_dir(PARTIAL_DIR.as_bytes(), 0o700) {
            // Making it has shown that the directory can be written; it comes back with the first
            // file.
            Ok(()) => root.remove_dir(PARTIAL_DIR.as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                partials.attach(root)?;
                partials.clean(now)?;
            }
            Err(error) => return Err(error),
        }
        Ok(partials)
    }

    /// Files that were found and can be gone on with.
    pub(super) fn resumable(&self) -> usize {
        self.resumable
    }

    /// What names this boot in journals.
    pub(super) fn boot(&self) -> Option<[u8; 16]> {
        self.boot
    }

    /// The directory, once something is in it.
    pub(super) fn dir(&self) -> io::Result<&Dir> {
        self.dir
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn attach(&mut self, root: &Dir) -> io::Result<()> {
        let name = PARTIAL_DIR.as_bytes();
        match root.make_dir(name, 0o700) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let dir = root.open_dir(name).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot open {PARTIAL_DIR}: {error}"))
        })?;
        if !dir.is_ours()? {
            let text = format!("{PARTIAL_DIR} belongs to another user");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        if dir.stat_self()?.mode & 0o077 != 0 {
            dir.set_own_mode(0o700)?;
        }
        // A file system without locks makes everyone a guest: no resume, but nothing is mixed up
        // either.
        self.is_owner = dir.try_lock().unwrap_or(false);
        self.dir = Some(dir);
        Ok(())
    }

    /// Makes the partial file of `entry`. Its permissions are those of the entry as far as the
    /// umask lets them through, and such that we can open it again.
    pub(super) fn create(&mut self, root: &Dir, entry: &Entry) -> io::Result<(Part, File)> {
        if self.dir.is_none() {
            self.attach(root)?;
        }
        match self.create_in(entry) {
            // Another receiver found the directory empty and removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.attach(root)?;
                self.create_in(entry)
            }
            other => other,
        }
    }

    fn create_in(&mut self, entry: &Entry) -> io::Result<(Part, File)> {
        let id = partial_id(entry);
        let part = part(&id);
        let dir = self.dir()?;
        if self.is_owner && entry.size > LEAF_SIZE && !self.in_use.contains(&part.data) {
            // What has this name without being in use proved nothing when it was looked at.
            for old in part.journal.iter().chain([&part.data]) {
                ignore_missing(dir.remove_file(old))?;
            }
            // All bits that the umask allows; the commit takes away what the entry does not have.
            let file = dir.create(&part.data, 0o777)?;
            self.in_use.insert(part.data.clone());
            return Ok((part, file));
        }
        let prefix = if self.is_owner { OWNER } else { GUEST };
        let data = format!("{prefix}{:016x}-{}", self.run, self.next).into_bytes();
        let file = dir.create(&data, entry.mode.unwrap_or(0o666) & MODE_MASK | 0o600)?;
        self.next += 1;
        Ok((
            Part {
                data,
                journal: None,
            },
            file,
        ))
    }

    /// The partial file that an earlier session left of exactly this entry, and what is proven of
    /// it. Its data is on stable storage when this returns.
    pub(super) fn find(&mut self, entry: &mut Entry) -> Option<(Part, File, Prepared)> {
        let part = part(&partial_id(entry));
        let dir = self.dir.as_ref().filter(|_| self.is_owner)?;
        if entry.size <= LEAF_SIZE || self.in_use.contains(&part.data) {
            return None;
        }
        let old = dir.open_read(part.journal.as_ref()?).ok()?;
        let mut proven = journal::read(BufReader::new(old), entry, self.boot).ok()?;
        let file = dir.open_rw(&part.data).ok()?;
        let found = sys::identity(&file).ok()?;
        let is_unchanged = proven.seal == Some(seal(&found));
        let leaves = &mut proven.leaves;
        leaves.retain(|leaf| leaf_range(entry.size, leaf.index).1 <= found.size);
        // A second name means that it was about to be moved into place: writing here would change
        // the file there.
        let is_ours = found.kind == Kind::File && found.links == 1 && found.size <= entry.size;
        if leaves.is_empty() || !is_ours {
            return None;
        }
        // Leaves of this boot may not be on stable storage yet. Where that fails they are worth
        // nothing.
        file.sync_data().ok()?;
        if !proven.is_same_source {
            // What is written on is of two sources, so no later session may take it for one of
            // them.
            entry.identity = None;
        }
        self.restart_journal(entry, &part, &proven.leaves).ok()?;
        self.in_use.insert(part.data.clone());
        let prepared = Prepared::Partial {
            leaves: proven.leaves,
            is_same_source: proven.is_same_source,
            is_unchanged,
        };
        Some((part, file, prepared))
    }

    /// Replaces the journal by one of this boot with just these leaves, in one step.
    fn restart_journal(&self, entry: &Entry, part: &Part, leaves: &[Leaf]) -> io::Result<()> {
        let dir = self.dir()?;
        let new = format!("{}{NEW_JOURNAL}", partial_id(entry)).into_bytes();
        let (writer, mut bytes) = journal::Writer::start(entry, self.boot);
        for leaf in leaves {
            bytes.extend_from_slice(&writer.leaf(leaf));
        }
        bytes.extend_from_slice(&writer.sync_mark());
        ignore_missing(dir.remove_file(&new))?;
        let file = dir.create(&new, 0o600)?;
        sys::write_all_at(&file, &bytes, 0)?;
        file.sync_data()?;
        match &part.journal {
            Some(journal) => dir.rename_over(&new, dir, journal)?,
            None => dir.remove_file(&new)?,
        }
        dir.sync()
    }

    /// Bytes that a partial file takes; none where it is gone.
    pub(super) fn allocated(&self, data: &[u8]) -> u64 {
        let dir = self.dir.as_ref();
        dir.and_then(|dir| dir.allocated(data).ok()).unwrap_or(0)
    }

    /// The file is not ours any more: moved into place, or kept for a later session.
    pub(super) fn release(&mut self, part: &Part) {
        self.in_use.remove(&part.data);
    }

    /// The file has moved into place: its journal has no use any more.
    pub(super) fn placed(&mut self, part: &Part) {
        self.release(part);
        if let (Some(dir), Some(journal)) = (&self.dir, &part.journal) {
            // It need not be there, and what stays is cleaned up by the next run.
            let _ = dir.remove_file(journal);
        }
    }

    /// Removes what a partial file consists of, as far as it is there.
    pub(super) fn remove(&mut self, part: &Part) {
        self.release(part);
        if let Some(dir) = &self.dir {
            // Data first: a journal alone proves nothing. What cannot be removed is cleaned up by
            // age.
            let _ = dir.remove_file(&part.data);
            if let Some(journal) = &part.journal {
                let _ = dir.remove_file(journal);
            }
        }
    }

    /// Removes what nobody can go on with, and counts the rest. Files of other programs stay.
    fn clean(&mut self, now: SystemTime) -> io::Result<()> {
        let dir = self.dir()?;
        let names = dir.names()?;
        let known: HashSet<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut resumable = 0;
        for name in &names {
            let Ok(text) = str::from_utf8(name) else {
                continue;
            };
            let is_old = || is_old(dir, name, now);
            let has = |id: &str, other: &str| known.contains(format!("{id}{other}").as_bytes());
            let is_useless = if let Some(id) = text.strip_suffix(DATA) {
                let is_useless = !has(id, JOURNAL) || is_old();
                resumable += usize::from(self.is_owner && !is_useless);
                self.is_owner && is_useless
            } else if let Some(id) = text.strip_suffix(JOURNAL) {
                self.is_owner && (!has(id, DATA) || is_old())
            } else {
                // Private files of an owner have none any more: its lock is ours.
                self.is_owner
                    && (text.starts_with(OWNER)
                        || text.ends_with(NEW_JOURNAL)
                        || (text.starts_with(GUEST) && is_old()))
            };
            if is_useless {
                ignore_missing(dir.remove_file(name))?;
            }
        }
        self.resumable = resumable;
        Ok(())
    }

    /// Removes what has become too old while the receiver runs. What cannot be removed now is tried
    /// again.
    pub(super) fn clean_again(&mut self, now: SystemTime) {
        let Some(dir) = self.dir.as_ref().filter(|_| self.is_owner) else {
            return;
        };
        let since = now.duration_since(self.cleaned_at).unwrap_or_default();
        if since < CLEAN_INTERVAL {
            return;
        }
        self.cleaned_at = now;
        for name in dir.names().unwrap_or_default() {
            let id = [DATA, JOURNAL]
                .iter()
                .find_map(|end| name.strip_suffix(end.as_bytes()));
            let is_in_use = |id: &[u8]| self.in_use.contains(&[id, DATA.as_bytes()].concat());
            if id.is_some_and(|id| !is_in_use(id)) && is_old(dir, &name, now) {
                let _ = dir.remove_file(&name);
            }
        }
    }

    /// Gives the lock up and touches nothing more, as a crash does.
    #[cfg(test)]
    pub(super) fn abandon(&mut self) {
        self.dir = None;
    }

    /// Removes the directory where nothing is in it.
    pub(super) fn close(&mut self, root: &Dir) {
        if self.dir.take().is_some() {
            // Fails where something is left for a later session, and that is right.
            let _ = root.remove_dir(PARTIAL_DIR.as_bytes());
        }
    }
}

/// Whether nobody has touched the file for too long. The time of its last change tells, and not
/// that of modification, which is set to the source's.
fn is_old(dir: &Dir, name: &[u8], now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    dir.stat(name).is_ok_and(|found| {
        let changed = u64::try_from(found.changed.seconds).unwrap_or(0);
        now.saturating_sub(changed) > MAX_AGE.as_secs()
    })
}

/// What tells whether a partial file was written to.
pub(super) fn seal(found: &Identity) -> Seal {
    Seal::new(found.inode, found.size, found.modified, found.changed)
}

fn part(id: &str) -> Part {
    Part {
        data: format!("{id}{DATA}").into_bytes(),
        journal: Some(format!("{id}{JOURNAL}").into_bytes()),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
