//! Journals of partial files: torn, flipped, foreign.

// The library keeps its journal to itself, and so its source is read here instead.
#[path = "../../../src/storage/journal.rs"]
mod format;

use arbitrary::{Arbitrary, Result, Unstructured};
use std::collections::BTreeMap;
use xfer_proto::digest::{LEAF_SIZE, leaf_count};
use xfer_proto::id::Digest;
use xfer_proto::manifest::{Entry, EntryKind, Name, Timestamp};
use xfer_proto::storage::Leaf;

/// A file, as far as a journal tells it from others.
#[derive(Arbitrary, Clone, Debug)]
struct File {
    name: u8,
    size: u8,
    modified: Option<(i64, u32)>,
    identity: Option<u64>,
}

impl File {
    fn entry(&self) -> Entry {
        Entry {
            name: Name::new(format!("dir/{}", self.name)).expect("a plain name"),
            kind: EntryKind::File,
            size: u64::from(self.size) * LEAF_SIZE,
            modified: self
                .modified
                .map(|(seconds, nanos)| Timestamp { seconds, nanos }),
            mode: None,
            identity: self.identity,
        }
    }
}

/// What was written.
#[derive(Arbitrary, Debug)]
enum Step {
    Leaf(u8, u8),
    Sync,
    /// Anything at all: the reader must stop before it, or at the latest behind it.
    Garbage([u8; 45]),
    /// The state of the partial file, told by a byte.
    Seal(u8),
}

/// A journal proves the leaves that were written for exactly this file, and nothing else.
pub fn journal(data: &[u8]) {
    // There is nothing to see where the bytes do not suffice to say what happens.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let (written_for, read_for): (File, Option<File>) = u.arbitrary()?;
    let (written_in, read_in): (Option<[u8; 16]>, Option<[u8; 16]>) = u.arbitrary()?;
    let steps: Vec<Step> = u.arbitrary()?;
    let cut: Option<u16> = u.arbitrary()?;
    let flip: Option<u16> = u.arbitrary()?;
    let entry = written_for.entry();
    let (writer, mut bytes) = format::Writer::start(&entry, written_in);
    let mut expected = Expected::default();
    let last_seal = match steps.last() {
        Some(Step::Seal(byte)) => Some(seal(*byte)),
        _ => None,
    };
    for step in steps {
        match step {
            Step::Leaf(index, value) => {
                let (index, value) = (u64::from(index), Digest([value; 32]));
                bytes.extend(writer.leaf(&Leaf { index, value }));
                expected.leaf(index, value, leaf_count(entry.size));
            }
            Step::Sync => {
                bytes.extend(writer.sync_mark());
                expected.sync();
            }
            Step::Garbage(garbage) => {
                bytes.extend(garbage);
                expected.has_ended = true;
            }
            Step::Seal(byte) => bytes.extend(writer.seal(&seal(byte))),
        }
    }
    let is_whole = cut.is_none() && flip.is_none();
    if let Some(bit) = flip {
        let bit = usize::from(bit) % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    bytes.truncate(cut.map_or(usize::MAX, usize::from));
    let target = read_for.unwrap_or(written_for).entry();
    // Zeros are what an unknown boot is written as.
    let same_boot = read_in.is_some_and(|boot| boot != [0; 16]) && read_in == written_in;
    let found = format::read(bytes.as_slice(), &target, read_in).expect("memory can be read");
    let (leaves, is_same_source) = (found.leaves, found.is_same_source);
    // A cut or a flip may leave an older seal, which then is the last record; it seals no file that
    // was written to behind it.
    assert!(leaves.windows(2).all(|pair| pair[0].index < pair[1].index));
    if is_whole && format::partial_id(&entry) == format::partial_id(&target) {
        let identity = entry.identity.is_some() && entry.modified.is_some();
        assert_eq!(
            is_same_source,
            identity && entry.identity == target.identity
        );
        assert_eq!(pairs(&leaves), expected.proven(same_boot));
        assert_eq!(found.seal, last_seal.filter(|_| !expected.has_ended));
    } else if format::partial_id(&entry) != format::partial_id(&target) {
        assert!(leaves.is_empty(), "the journal of another file");
    } else {
        let possible = expected.proven(true);
        // A cut may leave an older value of a leaf that was written twice.
        assert!(leaves.iter().all(|leaf| possible.contains_key(&leaf.index)));
    }
    Ok(())
}

fn seal(byte: u8) -> format::Seal {
    let time = |nanos| Timestamp {
        seconds: i64::from(byte),
        nanos,
    };
    format::Seal::new(u64::from(byte), 1, time(2), time(3))
}

fn pairs(leaves: &[Leaf]) -> BTreeMap<u64, Digest> {
    leaves.iter().map(|leaf| (leaf.index, leaf.value)).collect()
}

/// What a reader has to find.
#[derive(Default)]
struct Expected {
    synced: BTreeMap<u64, Digest>,
    unsynced: BTreeMap<u64, Digest>,
    has_ended: bool,
}

impl Expected {
    fn leaf(&mut self, index: u64, value: Digest, count: u64) {
        self.has_ended |= index >= count;
        if !self.has_ended {
            self.unsynced.insert(index, value);
        }
    }

    fn sync(&mut self) {
        if !self.has_ended {
            self.synced.append(&mut self.unsynced);
        }
    }

    fn proven(&self, same_boot: bool) -> BTreeMap<u64, Digest> {
        let mut proven = self.synced.clone();
        if same_boot {
            proven.extend(&self.unsynced);
        }
        proven
    }
}
