//! What a partial file already holds, written down so that it survives the process and a power cut.
//!
//! A journal is a header that names the file exactly, then records of equal length, each under a
//! CRC-32 that also covers the header. Reading stops at the first record that is not right: a torn
//! tail, a flipped bit and the journal of another file prove nothing.
//!
//! Records are written as soon as a leaf is verified, and that alone costs next to nothing. They
//! are trusted as far as the last *sync mark*, which is written once the data before it is on
//! stable storage. Beyond the mark they are trusted only in the boot of the machine that wrote
//! them: then the page cache still has the data, however the process ended.
//!
//! The last record may be a *seal*: the state of the partial file when all on record was verified
//! and nothing was to be written any more. Where the file is in that state still, nobody has
//! written to it since.

use std::collections::BTreeMap;
use std::io::{self, Read};
use xfer_proto::digest::leaf_count;
use xfer_proto::id::Digest;
use xfer_proto::manifest::{Entry, Timestamp};
use xfer_proto::storage::Leaf;

const MAGIC: &[u8; 8] = b"xferjnl1";
const RECORD: usize = 45;
/// The header up to what names the file: magic, boot, identity of the source.
const VARIABLE: usize = 33;
const LEAF: u8 = 1;
const SYNC: u8 = 2;
const SEAL: u8 = 3;

/// Writes the journal of one file: makes the bytes, its caller puts them on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    seed: u32,
}

impl Writer {
    /// The header for `entry`, and the writer of what follows it.
    pub(crate) fn start(entry: &Entry, boot: Option<[u8; 16]>) -> (Self, Vec<u8>) {
        let mut bytes = header(entry, boot);
        let seed = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&seed.to_le_bytes());
        (Self { seed }, bytes)
    }

    /// The record of a verified leaf.
    pub(crate) fn leaf(self, leaf: &Leaf) -> [u8; RECORD] {
        self.record(LEAF, leaf.index, &leaf.value.0)
    }

    /// The mark that says: what the records before tell is on stable storage.
    pub(crate) fn sync_mark(self) -> [u8; RECORD] {
        self.record(SYNC, 0, &[0; 32])
    }

    /// The mark that says: all on record is in a file in this state.
    pub(crate) fn seal(self, seal: &Seal) -> [u8; RECORD] {
        self.record(SEAL, seal.inode, &seal.rest)
    }

    fn record(self, kind: u8, index: u64, value: &[u8; 32]) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[0] = kind;
        record[1..9].copy_from_slice(&index.to_le_bytes());
        record[9..41].copy_from_slice(value);
        let sum = checksum(self.seed, &record[..41]);
        record[41..].copy_from_slice(&sum.to_le_bytes());
        record
    }
}

/// What a journal proves of exactly one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proven {
    /// In ascending order.
    pub(crate) leaves: Vec<Leaf>,
    /// It was of the same source: the leaves are those of the source as it is.
    pub(crate) is_same_source: bool,
    /// What the partial file looked like when all on record was verified, if the record ends with
    /// that.
    pub(crate) seal: Option<Seal>,
}

/// What changes when a file is written to, however soon its time of modification is set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    inode: u64,
    rest: [u8; 32],
}

impl Seal {
    /// Of a file with this size and these times of modification and of change.
    pub(crate) fn new(inode: u64, size: u64, modified: Timestamp, changed: Timestamp) -> Self {
        let mut rest = [0; 32];
        rest[..8].copy_from_slice(&size.to_le_bytes());
        rest[8..16].copy_from_slice(&modified.seconds.to_le_bytes());
        rest[16..20].copy_from_slice(&modified.nanos.to_le_bytes());
        rest[20..28].copy_from_slice(&changed.seconds.to_le_bytes());
        rest[28..].copy_from_slice(&changed.nanos.to_le_bytes());
        Self { inode, rest }
    }
}

/// What the journal proves of exactly this file; nothing where it is of another or torn.
///
/// # Errors
/// Whatever reading says. A journal that ends early is no error.
pub(crate) fn read(
    mut journal: impl Read,
    entry: &Entry,
    boot: Option<[u8; 16]>,
) -> io::Result<Proven> {
    let (_, expected) = Writer::start(entry, None);
    let mut found = vec![0; expected.len()];
    if !fill(&mut journal, &mut found)? {
        return Ok(Proven::default());
    }
    let (body, sum) = found.split_at(expected.len() - 4);
    let written_in = &body[8..24];
    let seed = crc32fast::hash(body);
    let is_ours = body[..8] == expected[..8] && body[VARIABLE..] == expected[VARIABLE..body.len()];
    if !is_ours || sum != seed.to_le_bytes() {
        return Ok(Proven::default());
    }
    // Zeros stand for a boot that the system does not name: no two of those are the same one.
    let same_boot = boot.is_some_and(|boot| boot == written_in && boot != [0; 16]);
    let is_same_source = entry.modified.is_some()
        && entry.identity.is_some()
        && body[24..VARIABLE] == expected[24..VARIABLE];
    let (leaves, seal) = records(journal, Writer { seed }, leaf_count(entry.size), same_boot)?;
    Ok(Proven {
        leaves,
        is_same_source,
        seal,
    })
}

/// The leaves that records prove, and the seal behind them.
fn records(
    mut journal: impl Read,
    writer: Writer,
    count: u64,
    same_boot: bool,
) -> io::Result<(Vec<Leaf>, Option<Seal>)> {
    let mut proven = BTreeMap::new();
    let mut unsynced = Vec::new();
    let mut seal = None;
    let mut record = [0; RECORD];
    while fill(&mut journal, &mut record)? {
        let (body, sum) = record.split_at(41);
        seal = None;
        if sum != checksum(writer.seed, body).to_le_bytes() {
            break;
        }
        let mut index = [0; 8];
        index.copy_from_slice(&body[1..9]);
        let index = u64::from_le_bytes(index);
        let mut value = [0; 32];
        value.copy_from_slice(&body[9..]);
        match body[0] {
            LEAF if index < count => unsynced.push((index, Digest(value))),
            SYNC => proven.extend(unsynced.drain(..)),
            SEAL => {
                let (inode, rest) = (index, value);
                seal = Some(Seal { inode, rest });
            }
            _ => break,
        }
    }
    if same_boot {
        proven.extend(unsynced);
    }
    let leaves = proven.into_iter();
    let leaves = leaves.map(|(index, value)| Leaf { index, value });
    Ok((leaves.collect(), seal))
}

fn header(entry: &Entry, boot: Option<[u8; 16]>) -> Vec<u8> {
    let name = entry.name.as_bytes();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&boot.unwrap_or_default());
    bytes.push(u8::from(entry.identity.is_some()));
    bytes.extend_from_slice(&entry.identity.unwrap_or_default().to_le_bytes());
    bytes.extend_from_slice(&identity(entry));
    bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
    bytes.extend_from_slice(name);
    bytes
}

/// What besides the name makes a file the same file: its size and its modification time.
fn identity(entry: &Entry) -> [u8; 21] {
    let mut bytes = [0; 21];
    bytes[..8].copy_from_slice(&entry.size.to_le_bytes());
    if let Some(modified) = entry.modified {
        bytes[8] = 1;
        bytes[9..17].copy_from_slice(&modified.seconds.to_le_bytes());
        bytes[17..].copy_from_slice(&modified.nanos.to_le_bytes());
    }
    bytes
}

/// Names the partial file of an entry: equal for equal name, size and modification time, whoever
/// sends it.
pub(crate) fn partial_id(entry: &Entry) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&identity(entry));
    hasher.update(entry.name.as_bytes());
    let hex = hasher.finalize().to_hex();
    hex.chars().take(32).collect()
}

fn checksum(seed: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(body);
    hasher.finalize()
}

/// Fills `buffer`; false where the input ends before.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_proto::digest::LEAF_SIZE;
    use xfer_proto::manifest::{EntryKind, Name};

    const BOOT: Option<[u8; 16]> = Some([7; 16]);

    fn entry() -> Entry {
        Entry {
            name: Name::new("dir/data.bin").unwrap(),
            kind: EntryKind::File,
            size: 10 * LEAF_SIZE,
            modified: Some(Timestamp {
                seconds: 5,
                nanos: 6,
            }),
            mode: None,
            identity: Some(9),
        }
    }

    fn leaf(index: u64) -> Leaf {
        let value = Digest([index as u8; 32]);
        Leaf { index, value }
    }

    /// Leaves 3 and 1, a sync mark, leaf 2.
    fn journal() -> Vec<u8> {
        let (writer, mut bytes) = Writer::start(&entry(), BOOT);
        bytes.extend(writer.leaf(&leaf(3)));
        bytes.extend(writer.leaf(&leaf(1)));
        bytes.extend(writer.sync_mark());
        bytes.extend(writer.leaf(&leaf(2)));
        bytes
    }

    fn indices(bytes: &[u8], entry: &Entry, boot: Option<[u8; 16]>) -> Vec<u64> {
        let leaves = read(bytes, entry, boot).unwrap().leaves;
        assert!(leaves.iter().all(|got| *got == leaf(got.index)));
        leaves.iter().map(|leaf| leaf.index).collect()
    }

    #[test]
    fn only_synced_leaves_outlive_the_boot() {
        assert_eq!(indices(&journal(), &entry(), BOOT), [1, 2, 3]);
        assert_eq!(indices(&journal(), &entry(), Some([8; 16])), [1, 3]);
        assert_eq!(indices(&journal(), &entry(), None), [1, 3]);
    }

    #[test]
    fn a_boot_without_a_name_is_no_boot() {
        let (writer, mut bytes) = Writer::start(&entry(), None);
        bytes.extend(writer.leaf(&leaf(3)));
        assert!(indices(&bytes, &entry(), Some([0; 16])).is_empty());
    }

    #[test]
    fn a_torn_tail_is_ignored() {
        let whole = journal();
        let records = whole.len() - 4 * RECORD;
        for len in 0..whole.len() {
            let left = match len.saturating_sub(records) / RECORD {
                0 => vec![],
                1 => vec![3],
                _ => vec![1, 3],
            };
            assert_eq!(indices(&whole[..len], &entry(), BOOT), left, "{len} bytes");
        }
    }

    #[test]
    fn no_flipped_bit_proves_anything_new() {
        let whole = journal();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let left = indices(&flipped, &entry(), BOOT);
            assert!(left.len() < 3, "bit {bit}: {left:?}");
        }
    }

    #[test]
    fn another_file_has_another_journal() {
        let mut others = vec![entry(); 4];
        others[0].name = Name::new("dir/data.bim").unwrap();
        others[1].size += 1;
        others[2].modified = None;
        others[3].modified = Some(Timestamp {
            seconds: 5,
            nanos: 7,
        });
        for other in others {
            assert_eq!(indices(&journal(), &other, BOOT), [0; 0]);
            assert_ne!(partial_id(&other), partial_id(&entry()));
        }
        let mut mode = entry();
        mode.mode = Some(0o600);
        assert_eq!(partial_id(&mode), partial_id(&entry()));
        assert!(read(&journal()[..], &mode, BOOT).unwrap().is_same_source);
        // SPEC: R-resume-2
        for identity in [None, Some(8)] {
            let changed = Entry {
                identity,
                ..entry()
            };
            assert_eq!(indices(&journal(), &changed, BOOT), [1, 2, 3]);
            assert!(!read(&journal()[..], &changed, BOOT).unwrap().is_same_source);
        }
    }

    #[test]
    fn a_leaf_beyond_the_file_ends_the_journal() {
        let (writer, mut bytes) = Writer::start(&entry(), BOOT);
        bytes.extend(writer.leaf(&leaf(10)));
        bytes.extend(writer.leaf(&leaf(1)));
        assert_eq!(indices(&bytes, &entry(), BOOT), [0; 0]);
    }
}
