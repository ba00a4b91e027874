//! The receiver's directory: final names, partial files, and what a power cut leaves of both.

use super::partial::Partial;
use super::{Failures, OpFailure, OpKind};
use crate::content::Content;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use xfer_proto::digest::leaf_range;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::{Digest, FileIndex, SessionId};
use xfer_proto::manifest::{Entry, EntryKind, Name};
use xfer_proto::rng::Rng;
use xfer_proto::storage::{Done, Leaf, Prepared, ReadBlock, StorageOp};

/// What happens to a file whose name is taken by another content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is refused.
    #[default]
    Refuse,
    /// The old one is replaced.
    Overwrite,
    /// The new one gets another name.
    Rename,
}

/// Settings of a [`Disk`].
#[derive(Clone, Debug, Default)]
pub struct DiskConfig {
    /// For names that are taken.
    pub policy: Policy,
    /// Bytes of file content that fit; `None` for no limit.
    pub capacity: Option<u64>,
    /// Operations that fail.
    pub failures: Vec<OpFailure>,
    /// Whether wrong bytes may be written, to be found by their digest: only where the network
    /// repairs the checksum of what it damaged.
    pub tolerates_wrong_writes: bool,
    /// How often a power cut leaves a byte of a partial file wrong that was durable and on record.
    pub rot_per_million: u32,
}

/// A file under its final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Final {
    seed: u64,
    size: u64,
    digest: Digest,
}

#[derive(Debug)]
struct Open {
    name: Name,
    kind: EntryKind,
    content: usize,
    partial: Option<Partial>,
    /// A write failed: what was asked for behind it, before the engine knew, fails too.
    has_failed: bool,
    is_over: bool,
}

/// The directory. It outlives crashes of the receiver.
#[derive(Debug)]
pub struct Disk {
    config: DiskConfig,
    failures: Failures,
    sources: BTreeMap<SessionId, Rc<Vec<Content>>>,
    /// What liars should have offered.
    distrusted: BTreeMap<SessionId, Vec<Entry>>,
    finals: BTreeMap<Name, Final>,
    partials: BTreeMap<Name, Partial>,
    open: BTreeMap<(SessionId, FileIndex), Open>,
    commits: BTreeMap<(SessionId, FileIndex), Digest>,
    used: u64,
    written: u64,
    violations: Vec<String>,
}

impl Disk {
    /// An empty directory.
    pub fn new(config: DiskConfig) -> Self {
        Self {
            failures: Failures::new(config.failures.clone()),
            config,
            sources: BTreeMap::new(),
            distrusted: BTreeMap::new(),
            finals: BTreeMap::new(),
            partials: BTreeMap::new(),
            open: BTreeMap::new(),
            commits: BTreeMap::new(),
            used: 0,
            written: 0,
            violations: Vec::new(),
        }
    }

    /// Tells what the files of a session to come should contain.
    pub fn expect(&mut self, session: SessionId, files: Rc<Vec<Content>>) {
        self.sources.insert(session, files);
    }

    /// Tells that who speaks in `session` may lie about anything but the lines of `manifest`.
    pub fn distrust(&mut self, session: SessionId, manifest: Vec<Entry>) {
        self.distrusted.insert(session, manifest);
    }

    /// Whether somebody may lie in `session`.
    pub fn is_distrusted(&self, session: SessionId) -> bool {
        self.distrusted.contains_key(&session)
    }

    /// Puts a file of this content under its final name before the run.
    pub fn put(&mut self, name: Name, content: &Content) {
        let digest = content.root();
        let (seed, size) = (content.seed(), content.size());
        self.finals.insert(name, Final { seed, size, digest });
    }

    /// Puts a partial file with these whole leaves of `content` there before the run.
    pub fn put_partial(
        &mut self,
        name: Name,
        content: &Content,
        leaves: impl Iterator<Item = u64>,
    ) {
        self.partials
            .insert(name, Partial::with_leaves(content, leaves));
    }

    /// The digest of the file that `session` committed at `file`, if it did.
    pub fn committed(&self, session: SessionId, file: FileIndex) -> Option<Digest> {
        self.commits.get(&(session, file)).copied()
    }

    /// The digest of the file under `name`.
    pub fn digest_of(&self, name: &Name) -> Option<Digest> {
        self.finals.get(name).map(|file| file.digest)
    }

    /// Bytes of content that were written for the first time.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What the engine did that it must not do, and any wrong file.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    /// The machine of `session` is gone in order: nothing of it may be left open.
    pub fn on_session_done(&mut self, session: SessionId) {
        let mine = (session, FileIndex(0))..=(session, FileIndex(u32::MAX));
        for (&(_, file), open) in self.open.range_mut(mine) {
            if !open.is_over && open.partial.is_some() {
                self.violations
                    .push(format!("{file:?} was neither committed nor discarded"));
            }
            open.is_over = true;
        }
    }

    /// The power goes: what was not durable may be lost or torn.
    pub fn crash(&mut self, rng: &mut Rng) {
        for open in std::mem::take(&mut self.open).into_values() {
            if let Some(partial) = open.partial.filter(|_| !open.is_over) {
                self.partials.insert(open.name, partial);
            }
        }
        for partial in self.partials.values_mut() {
            partial.crash(rng);
            partial.rot(self.config.rot_per_million);
        }
        self.partials
            .retain(|_, partial| !partial.leaves().is_empty());
    }

    /// Carries `op` of `session` out. `None` only for a discard.
    pub fn execute(&mut self, session: SessionId, op: &StorageOp) -> Option<Result<Done, Failure>> {
        let failure = self.failures.check(OpKind::of(op));
        let result = match op {
            StorageOp::Discard { file, keep } => {
                self.discard(session, *file, *keep);
                return None;
            }
            StorageOp::Write {
                file, offset, data, ..
            } => self.write(session, *file, *offset, data, failure),
            _ if failure.is_some() => Ok(Err(failure?)),
            StorageOp::Prepare {
                file,
                entry,
                differs,
                ..
            } => self.prepare(session, *file, entry, *differs),
            StorageOp::DigestExisting { file, .. } => self.digest_existing(session, *file),
            StorageOp::ConfirmExisting { file, .. } => self.confirm_existing(session, *file),
            StorageOp::Hash { file, leaf, .. } => self.hash(session, *file, *leaf),
            StorageOp::Checkpoint { file, leaves, .. } => self.checkpoint(session, *file, leaves),
            StorageOp::Commit { file, digest, .. } => self.commit(session, *file, *digest),
            StorageOp::Read {
                file, offset, len, ..
            } => self.read_back(session, *file, *offset..*offset + u64::from(*len)),
            StorageOp::Finish { .. } => Err("a receiver asked to finish a source".into()),
        };
        Some(result.unwrap_or_else(|breach| {
            self.violations.push(breach.clone());
            Err(Failure::new(ErrorCode::INTERNAL, breach))
        }))
    }

    fn prepare(
        &mut self,
        session: SessionId,
        file: FileIndex,
        entry: &Entry,
        differs: bool,
    ) -> Outcome {
        let truth = self.distrusted.get(&session);
        if truth.is_some_and(|truth| truth.get(file.as_usize()) != Some(entry)) {
            // What it is made of is anybody's guess: the disk stands for none of it.
            return Ok(Err(Failure::from(ErrorCode::POLICY)));
        }
        let sources = self.sources.get(&session).ok_or("an unknown session")?;
        let content = sources
            .get(file.as_usize())
            .ok_or_else(|| format!("{file:?} was not offered"))?;
        if content.size() != entry.size {
            return Err(format!("{file:?} was offered with another size"));
        }
        if self.open.contains_key(&(session, file)) != differs {
            return Err(format!("{file:?} was prepared twice or not first"));
        }
        // A directory that is there already is as good as one that was made.
        let existing = self.finals.get(&entry.name);
        let existing = existing.filter(|_| entry.kind == EntryKind::File);
        let same_size = existing.is_some_and(|old| old.size == entry.size);
        let is_taken = existing.is_some() && (differs || !same_size);
        if is_taken && self.config.policy == Policy::Refuse {
            let code = ErrorCode::CONFLICT;
            return Ok(Err(Failure::new(code, "the name is taken")));
        }
        let is_there = existing.is_some() && !is_taken;
        let mut answer = Prepared::Fresh;
        let mut partial = None;
        if is_there {
            answer = Prepared::Existing;
        } else {
            let mut found = self.partials.remove(&entry.name);
            if let Some(found) = found.as_mut().filter(|found| !found.leaves().is_empty()) {
                // Only a source with an identity can be known again, and only where every leaf on
                // record is of it: a session may have gone on from leaves of another.
                let has_identity = entry.identity.is_some() && entry.modified.is_some();
                let is_same_source = has_identity
                    && (found.leaves().iter()).all(|it| it.value == content.leaf(it.index));
                let is_unchanged = found.unseal();
                found.adopt(content);
                answer = Prepared::Partial {
                    leaves: found.leaves().to_vec(),
                    is_same_source,
                    is_unchanged,
                };
            }
            partial = found.filter(|found| found.seed == content.seed());
            partial.get_or_insert_with(|| Partial::new(content));
        }
        let open = Open {
            name: entry.name.clone(),
            kind: entry.kind,
            content: file.as_usize(),
            partial,
            has_failed: false,
            is_over: false,
        };
        self.open.insert((session, file), open);
        Ok(Ok(Done::Prepared(answer)))
    }

    fn digest_existing(&mut self, session: SessionId, file: FileIndex) -> Outcome {
        let open = self.open.get(&(session, file)).ok_or("not prepared")?;
        if open.is_over || open.partial.is_some() {
            return Err(format!("{file:?} has no existing file to digest"));
        }
        Ok(match self.finals.get(&open.name) {
            Some(existing) => Ok(Done::Digest(existing.digest)),
            None => Err(Failure::new(ErrorCode::STORAGE_IO, "the file went away")),
        })
    }

    /// Nobody else writes to this disk: what was digested is there still.
    fn confirm_existing(&mut self, session: SessionId, file: FileIndex) -> Outcome {
        let digested = self.digest_existing(session, file)?;
        Ok(digested.map(|_| Done::Confirmed(true)))
    }

    fn write(
        &mut self,
        session: SessionId,
        file: FileIndex,
        offset: u64,
        data: &[u8],
        failure: Option<Failure>,
    ) -> Outcome {
        let (content, open) = writable(&self.sources, &mut self.open, session, file)?;
        let partial = open.partial.as_mut().ok_or("a write beside the partial")?;
        let end = offset + data.len() as u64;
        if data.is_empty() || end > content.size() {
            return Err(format!("write of {offset}..{end} to {file:?}"));
        }
        if let Some(failure) = failure {
            open.has_failed = true;
            partial.tear(offset..offset + data.len() as u64 / 2);
            return Ok(Err(failure));
        }
        if open.has_failed {
            return Ok(Err(Failure::from(ErrorCode::STORAGE_IO)));
        }
        let full = |capacity| self.used + data.len() as u64 > capacity;
        if self.config.capacity.is_some_and(full) {
            open.has_failed = true;
            return Ok(Err(Failure::new(ErrorCode::NO_SPACE, "the disk is full")));
        }
        let (new, is_wrong) = partial.write(content, offset, data);
        self.used += new;
        self.written += new;
        if is_wrong && !self.config.tolerates_wrong_writes {
            return Err(format!("wrong bytes in {offset}..{end} of {file:?}"));
        }
        Ok(Ok(Done::Written))
    }

    fn read_back(&mut self, session: SessionId, file: FileIndex, bytes: Range<u64>) -> Outcome {
        let (content, open) = writable(&self.sources, &mut self.open, session, file)?;
        let partial = open.partial.as_ref().ok_or("a read beside the partial")?;
        if open.has_failed {
            return Ok(Err(Failure::from(ErrorCode::STORAGE_IO)));
        }
        if bytes.is_empty() || !partial.has(bytes.clone()) {
            return Err(format!(
                "read of {bytes:?} of {file:?} before it was written"
            ));
        }
        let data = partial.read(content, bytes).into();
        Ok(Ok(Done::Read(ReadBlock { data, leaf: None })))
    }

    fn hash(&mut self, session: SessionId, file: FileIndex, leaf: u64) -> Outcome {
        let (content, open) = writable(&self.sources, &mut self.open, session, file)?;
        if open.has_failed {
            return Ok(Err(Failure::from(ErrorCode::STORAGE_IO)));
        }
        let partial = open.partial.as_ref().ok_or("a hash beside the partial")?;
        let (start, end) = leaf_range(content.size(), leaf);
        if !partial.has(start..end) {
            return Err(format!("hash of leaf {leaf} of {file:?} before its bytes"));
        }
        Ok(Ok(Done::Digest(partial.leaf(content, leaf))))
    }

    fn checkpoint(&mut self, session: SessionId, file: FileIndex, leaves: &[Leaf]) -> Outcome {
        let (content, open) = writable(&self.sources, &mut self.open, session, file)?;
        if open.has_failed {
            return Ok(Err(Failure::from(ErrorCode::STORAGE_IO)));
        }
        let partial = open
            .partial
            .as_mut()
            .ok_or("a checkpoint beside the partial")?;
        for leaf in leaves {
            let (start, end) = leaf_range(content.size(), leaf.index);
            if !partial.is_right(start..end) || leaf.value != content.leaf(leaf.index) {
                return Err(format!(
                    "checkpoint of a wrong leaf {} of {file:?}",
                    leaf.index
                ));
            }
        }
        partial.checkpoint(leaves);
        Ok(Ok(Done::Recorded))
    }

    fn commit(&mut self, session: SessionId, file: FileIndex, digest: Digest) -> Outcome {
        let (content, open) = writable(&self.sources, &mut self.open, session, file)?;
        let (seed, size, name) = (content.seed(), content.size(), open.name.clone());
        if open.kind == EntryKind::File {
            let partial = open.partial.as_ref().ok_or("a commit beside the partial")?;
            if !partial.is_right(0..size) {
                return Err(format!("commit of {file:?}, whose content is not whole"));
            }
        }
        if digest != content.root() {
            return Err(format!("commit of {file:?} with a wrong digest"));
        }
        let mut target = name.clone();
        let existing = self.finals.get(&name).map(|existing| existing.digest);
        if existing.is_some_and(|existing| existing != digest) {
            match self.config.policy {
                Policy::Refuse => {
                    let code = ErrorCode::CONFLICT;
                    return Ok(Err(Failure::new(code, "the name was taken meanwhile")));
                }
                Policy::Overwrite => {}
                Policy::Rename => {
                    let mut bytes = name.as_bytes().to_vec();
                    bytes.extend_from_slice(format!(".{session}").as_bytes());
                    target = Name::new(bytes).map_err(|error| error.to_string())?;
                }
            }
        }
        open.is_over = true;
        open.partial = None;
        self.commits.insert((session, file), digest);
        self.finals.insert(target, Final { seed, size, digest });
        Ok(Ok(Done::Committed))
    }

    fn discard(&mut self, session: SessionId, file: FileIndex, keep: bool) {
        let Some(open) = self.open.get_mut(&(session, file)) else {
            return;
        };
        if open.is_over {
            // A commit was under way when the session ended: it stands.
            return;
        }
        open.is_over = true;
        if let Some(mut partial) = open.partial.take().filter(|_| keep) {
            let content = self.sources.get(&session);
            if let Some(content) = content.and_then(|files| files.get(open.content)) {
                partial.seal(content.size());
            }
            self.partials.insert(open.name.clone(), partial);
        }
    }
}

/// What came of an operation; the outer error is a breach of the contract.
type Outcome = Result<Result<Done, Failure>, String>;

fn writable<'a>(
    sources: &'a BTreeMap<SessionId, Rc<Vec<Content>>>,
    open: &'a mut BTreeMap<(SessionId, FileIndex), Open>,
    session: SessionId,
    file: FileIndex,
) -> Result<(&'a Content, &'a mut Open), String> {
    let open = open
        .get_mut(&(session, file))
        .ok_or_else(|| format!("{file:?} was not prepared"))?;
    if open.is_over {
        return Err(format!("an operation on {file:?}, which is over"));
    }
    let content = sources
        .get(&session)
        .and_then(|files| files.get(open.content))
        .ok_or("an unknown session")?;
    Ok((content, open))
}
