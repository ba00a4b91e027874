//! Storage that holds nothing: contents are zeros, and the value of a leaf is made up from its
//! place.

use super::failure;
use arbitrary::Arbitrary;
use xfer_proto::digest::{self, LEAF_SIZE, leaf_count};
use xfer_proto::error::Failure;
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::storage::{Completion, Done, Leaf, OpId, Prepared, ReadBlock, StorageOp};

static ZEROS: [u8; LEAF_SIZE as usize] = [0; LEAF_SIZE as usize];
/// Files of more leaves have a digest that is made up too: merging would take too long.
const MAX_MERGED: u64 = 64;

/// How storage answers.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Answer {
    Right,
    Partial {
        first: u8,
        count: u8,
        is_true: bool,
        is_same_source: bool,
    },
    Existing,
    /// The right kind, with a content that is not.
    Lie,
    /// The kind that belongs to another operation.
    Wrong(u8),
    Fail(u8),
}

/// The value of a leaf.
pub(super) fn value(file: FileIndex, leaf: u64) -> Digest {
    let mut bytes = [file.0.to_le_bytes()[0]; 32];
    for (to, from) in bytes.iter_mut().zip(leaf.to_le_bytes()) {
        *to = from;
    }
    Digest(bytes)
}

/// The digest of a file, as its leaves give it.
pub(super) fn digest(file: FileIndex, size: u64) -> Digest {
    match leaf_count(size) {
        _ if size == 0 => digest::empty(),
        count if count <= MAX_MERGED => {
            digest::root(&(0..count).map(|leaf| value(file, leaf)).collect::<Vec<_>>())
        }
        _ => Digest([0xdd; 32]),
    }
}

/// The operation's own name; `Discard` has none, and gets no answer.
pub(super) fn id(op: &StorageOp) -> Option<OpId> {
    match op {
        StorageOp::Read { op, .. }
        | StorageOp::Finish { op, .. }
        | StorageOp::Prepare { op, .. }
        | StorageOp::DigestExisting { op, .. }
        | StorageOp::ConfirmExisting { op, .. }
        | StorageOp::Write { op, .. }
        | StorageOp::Hash { op, .. }
        | StorageOp::Checkpoint { op, .. }
        | StorageOp::Commit { op, .. } => Some(*op),
        StorageOp::Discard { .. } => None,
    }
}

/// The completion of `op`; files have these sizes.
pub(super) fn complete(op: &StorageOp, answer: Answer, sizes: &[u64]) -> Option<Completion> {
    let result = match answer {
        Answer::Fail(code) => Err(failure(code)),
        Answer::Wrong(kind) => Ok(wrong(kind)),
        _ => done(op, answer, sizes),
    };
    Some(Completion {
        op: id(op)?,
        result,
    })
}

fn done(op: &StorageOp, answer: Answer, sizes: &[u64]) -> Result<Done, Failure> {
    let is_lie = matches!(answer, Answer::Lie);
    let size = |file: FileIndex| sizes.get(file.as_usize()).copied().unwrap_or(0);
    let told = |digest: Digest| if is_lie { Digest([1; 32]) } else { digest };
    Ok(match op {
        StorageOp::Read {
            file, offset, len, ..
        } => {
            let data = ZEROS
                .get(..*len as usize)
                .expect("more than a leaf is read");
            Done::Read(ReadBlock {
                data: data.into(),
                leaf: Some(told(value(*file, offset / LEAF_SIZE))),
            })
        }
        StorageOp::Finish { .. } => Done::Finished,
        StorageOp::Prepare { file, .. } => Done::Prepared(prepared(*file, answer)),
        StorageOp::DigestExisting { file, .. } => Done::Digest(told(digest(*file, size(*file)))),
        StorageOp::Hash { file, leaf, .. } => Done::Digest(told(value(*file, *leaf))),
        StorageOp::ConfirmExisting { .. } => Done::Confirmed(true),
        StorageOp::Write { .. } => Done::Written,
        StorageOp::Checkpoint { .. } | StorageOp::Discard { .. } => Done::Recorded,
        StorageOp::Commit { .. } => Done::Committed,
    })
}

fn prepared(file: FileIndex, answer: Answer) -> Prepared {
    match answer {
        Answer::Partial {
            first,
            count,
            is_true,
            is_same_source,
        } => {
            let leaves = (u64::from(first)..).take(usize::from(count));
            let leaf = |index: u64| Leaf {
                index,
                value: value(file, if is_true { index } else { index ^ 1 << 40 }),
            };
            Prepared::Partial {
                leaves: leaves.map(leaf).collect(),
                is_same_source,
                is_unchanged: first % 2 == 0,
            }
        }
        Answer::Existing => Prepared::Existing,
        _ => Prepared::Fresh,
    }
}

fn wrong(kind: u8) -> Done {
    match kind % 6 {
        0 => Done::Finished,
        1 => Done::Prepared(Prepared::Fresh),
        2 => Done::Digest(Digest([2; 32])),
        3 => Done::Written,
        4 => Done::Recorded,
        _ => Done::Committed,
    }
}
