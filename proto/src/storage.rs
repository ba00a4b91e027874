//! Storage as an effect: the engine asks by [`StorageOp`], the driver answers by [`Completion`].
//!
//! The driver may carry operations out in any order, on any thread, with these exceptions:
//! operations on the same file take effect in the order in which they were asked, and
//! [`StorageOp::Discard`] is the last on its file. Every operation but `Discard` gets exactly one
//! completion. Durability is the driver's word: it answers [`StorageOp::Commit`] only when the
//! file, its name and its metadata would survive a power cut.

use crate::error::Failure;
use crate::id::{Digest, FileIndex};
use crate::manifest::Entry;
use alloc::vec::Vec;
use bytes::Bytes;

/// Names an operation until its completion; never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// The value of one leaf of a file's BLAKE3 tree; see [`crate::digest::leaf_value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Which leaf of the file, from 0.
    pub index: u64,
    /// Its chaining value, or the file's digest where the file has only one leaf.
    pub value: Digest,
}

/// What the engine asks of the driver.
#[derive(Clone, Debug)]
pub enum StorageOp {
    /// Sender: read `len` bytes of a source at `offset`; all of them exist in the file that was
    /// offered. With `digest`, the range is exactly one leaf and its value is wanted too.
    ///
    /// Receiver: read them from the partial file, where all of them are written or kept from an
    /// earlier session; never with `digest`. A failure costs nothing but a round trip.
    Read {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
        /// Bytes from the start of the file.
        offset: u64,
        /// Bytes, at most one leaf.
        len: u32,
        /// Whether the leaf's value is wanted.
        digest: bool,
    },
    /// Sender: the first pass over the file is over; answer whether the source still is what was
    /// offered.
    Finish {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
    },
    /// Receiver: check the name and get ready to write. A directory is made here.
    Prepare {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
        /// What was offered.
        entry: Entry,
        /// Set in the second `Prepare` of a file that exists with another content: answer
        /// [`Prepared::Fresh`] or [`Prepared::Partial`] where the policy is to rename or
        /// overwrite, a conflict otherwise.
        differs: bool,
    },
    /// Receiver: the digest of the file that exists under the final name.
    DigestExisting {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
    },
    /// Receiver: whether the file that was digested is still what stands under the final name, and
    /// nothing has written to it since.
    ConfirmExisting {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
    },
    /// Receiver: write into the partial file.
    Write {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
        /// Bytes from the start of the file.
        offset: u64,
        /// The content.
        data: Bytes,
    },
    /// Receiver: the value of one leaf of the partial file, whose bytes are all written.
    Hash {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
        /// Which leaf, from 0.
        leaf: u64,
        /// Set for a leaf that was kept from an earlier session: the value on record.
        kept: Option<Digest>,
    },
    /// Receiver: these leaves are written and verified; sync the data, then record them for a
    /// resume. The record may be put off or left out: it is an optimisation, and its completion
    /// says nothing.
    Checkpoint {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
        /// Leaves that became complete since the last checkpoint.
        leaves: Vec<Leaf>,
    },
    /// Receiver: the content is whole and has this digest: sync, rename into place without
    /// replacing, sync the directory.
    Commit {
        /// Names the completion.
        op: OpId,
        /// Which file of the manifest.
        file: FileIndex,
        /// The whole file's digest; that of no bytes for a directory.
        digest: Digest,
    },
    /// Receiver: this file will not be committed in this session. `keep` where a later session may
    /// go on from what has arrived. There is no completion.
    Discard {
        /// Which file of the manifest.
        file: FileIndex,
        /// Whether the partial file stays for a resume.
        keep: bool,
    },
}

/// What [`StorageOp::Prepare`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// Nothing to go on from.
    Fresh,
    /// A partial file of the same name and size whose journal proves these leaves.
    Partial {
        /// In ascending order.
        leaves: Vec<Leaf>,
        /// The journal is of an offer with the same modification time and the same identity, and
        /// both were given: the leaves are those of the source as it is.
        is_same_source: bool,
        /// Nothing has written to the partial file since all that is on record was verified. Where
        /// that is not known each leaf is hashed again before the file is committed.
        is_unchanged: bool,
    },
    /// A file of that name and size is there; whether it is identical is not known yet.
    Existing,
}

/// The content of a [`StorageOp::Read`].
#[derive(Clone, Debug)]
pub struct ReadBlock {
    /// Exactly the bytes that were asked for.
    pub data: Bytes,
    /// The leaf's value, where it was wanted.
    pub leaf: Option<Digest>,
}

/// How one operation ended.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The operation.
    pub op: OpId,
    /// What came of it; of the kind that belongs to the operation.
    pub result: Result<Done, Failure>,
}

/// The result of an operation that worked.
#[derive(Clone, Debug)]
pub enum Done {
    /// Of [`StorageOp::Read`].
    Read(ReadBlock),
    /// Of [`StorageOp::Finish`].
    Finished,
    /// Of [`StorageOp::Prepare`].
    Prepared(Prepared),
    /// Of [`StorageOp::DigestExisting`] and [`StorageOp::Hash`].
    Digest(Digest),
    /// Of [`StorageOp::ConfirmExisting`].
    Confirmed(bool),
    /// Of [`StorageOp::Write`].
    Written,
    /// Of [`StorageOp::Checkpoint`].
    Recorded,
    /// Of [`StorageOp::Commit`].
    Committed,
}
