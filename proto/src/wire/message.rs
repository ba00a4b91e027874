//! Messages of the control stream: what both ends must learn, in order and without loss (SPEC.md,
//! `messages`).

use super::{DecodeError, tlv};
use crate::error::Failure;
use crate::id::{Digest, FileIndex};
use crate::manifest::{Entry, EntryKind, MODE_MASK, Name, NameError, Timestamp};
use crate::storage::Leaf;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Largest content of one message, in bytes.
pub const MAX_MESSAGE_LEN: usize = u16::MAX as usize;
/// Most leaf values in one message.
pub const MAX_LEAVES: usize = 256;

/// A line of a manifest as it travels: like [`Entry`], but the name has not been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireEntry {
    /// Any bytes; [`Name`] has the rules.
    pub name: Vec<u8>,
    /// File or directory.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Option<Timestamp>,
    /// Unix permission bits.
    pub mode: Option<u32>,
    /// Fingerprint of the source's identity.
    pub identity: Option<u64>,
}

impl From<&Entry> for WireEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            name: entry.name.as_bytes().to_vec(),
            kind: entry.kind,
            size: entry.size,
            modified: entry.modified,
            mode: entry.mode,
            identity: entry.identity,
        }
    }
}

impl WireEntry {
    /// Whether its numbers are such as can be: a time has less than a second of nanoseconds.
    pub fn is_possible(&self) -> bool {
        self.modified.is_none_or(|time| time.nanos < 1_000_000_000)
    }

    /// The line with its name checked and its permission bits cut down to those that may travel.
    pub fn into_entry(self) -> Result<Entry, NameError> {
        Ok(Entry {
            name: Name::new(self.name)?,
            kind: self.kind,
            size: self.size,
            modified: self.modified,
            mode: self.mode.map(|mode| mode & MODE_MASK),
            identity: self.identity,
        })
    }
}

/// How a file ended at the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Verified, durable, under its own name.
    Committed,
    /// An identical file was there.
    Skipped,
    /// It will not be committed in this session.
    Failed(Failure),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Sender: lines of the manifest, in order.
    Offer {
        /// Index of the first.
        first: FileIndex,
        /// At least one.
        entries: Vec<WireEntry>,
    },
    /// Sender: the manifest is complete.
    OfferEnd {
        /// How many lines it has.
        files: u32,
    },
    /// Receiver: every file below is answered. One that had no `Hold` or `Resume` before is wanted
    /// whole.
    Answer {
        /// One past the last file that is answered.
        through: u32,
    },
    /// Receiver: a file of that name and size exists; send the EOF first and no data until `Want`.
    Hold {
        /// Which file.
        file: FileIndex,
    },
    /// Receiver: data of a held file is wanted.
    Want {
        /// Which file.
        file: FileIndex,
    },
    /// Receiver: these leaves of the file are there, verified against what was offered then. May
    /// come in several parts, before the `Answer` or the `Want` of the file.
    Resume {
        /// Which file.
        file: FileIndex,
        /// The source had the same identity then. Otherwise the sender compares the values with
        /// its own before it relies on them.
        is_same_source: bool,
        /// At most [`MAX_LEAVES`].
        leaves: Vec<(u64, Digest)>,
    },
    /// Sender: values of the leaves of a file that has more than one.
    Leaves {
        /// Which file.
        file: FileIndex,
        /// Index of the first.
        first: u64,
        /// At most [`MAX_LEAVES`].
        values: Vec<Digest>,
    },
    /// Sender: the end of a file. Comes once for each file that is not abandoned.
    Eof {
        /// Which file.
        file: FileIndex,
        /// Its size in bytes: that of the offer.
        size: u64,
        /// How many chunks it has.
        chunks: u64,
        /// BLAKE3 of its content.
        digest: Digest,
    },
    /// Sender: the file cannot be sent.
    Abandon {
        /// Which file.
        file: FileIndex,
        /// Why.
        failure: Failure,
    },
    /// Receiver: files that are through.
    Status {
        /// At least one.
        files: Vec<(FileIndex, Verdict)>,
    },
}

impl From<Leaf> for (u64, Digest) {
    fn from(leaf: Leaf) -> Self {
        (leaf.index, leaf.value)
    }
}

// postcard has no names on the wire: a struct variant and a tuple of its fields are the same bytes.
impl Message {
    const OFFER: u8 = 0x01;
    const OFFER_END: u8 = 0x02;
    const ANSWER: u8 = 0x03;
    const HOLD: u8 = 0x04;
    const WANT: u8 = 0x05;
    const RESUME: u8 = 0x06;
    const LEAVES: u8 = 0x07;
    const EOF: u8 = 0x08;
    const ABANDON: u8 = 0x09;
    const STATUS: u8 = 0x0a;

    /// Appends the message: type, length, content.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Offer { first, entries } => tlv::encode(out, Self::OFFER, &(first, entries)),
            Self::OfferEnd { files } => tlv::encode(out, Self::OFFER_END, files),
            Self::Answer { through } => tlv::encode(out, Self::ANSWER, through),
            Self::Hold { file } => tlv::encode(out, Self::HOLD, file),
            Self::Want { file } => tlv::encode(out, Self::WANT, file),
            Self::Resume {
                file,
                is_same_source,
                leaves,
            } => {
                tlv::encode(out, Self::RESUME, &(file, is_same_source, leaves));
            }
            Self::Leaves {
                file,
                first,
                values,
            } => {
                tlv::encode(out, Self::LEAVES, &(file, first, values));
            }
            Self::Eof {
                file,
                size,
                chunks,
                digest,
            } => {
                tlv::encode(out, Self::EOF, &(file, size, chunks, digest));
            }
            Self::Abandon { file, failure } => tlv::encode(out, Self::ABANDON, &(file, failure)),
            Self::Status { files } => tlv::encode(out, Self::STATUS, files),
        }
    }

    /// Takes the next message off the front of `bytes`. `Ok(None)` where the rest of it has not
    /// come yet, `Ok(Some(None))` for an unknown ignorable one.
    pub fn take(bytes: &mut &[u8]) -> Result<Option<Option<Self>>, DecodeError> {
        let Ok((kind, body)) = tlv::split(bytes) else {
            return Ok(None);
        };
        Self::decode(kind, body).map(Some)
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            Self::OFFER => {
                let (first, entries) = tlv::decode(kind, body)?;
                Self::Offer { first, entries }
            }
            Self::OFFER_END => Self::OfferEnd {
                files: tlv::decode(kind, body)?,
            },
            Self::ANSWER => Self::Answer {
                through: tlv::decode(kind, body)?,
            },
            Self::HOLD => Self::Hold {
                file: tlv::decode(kind, body)?,
            },
            Self::WANT => Self::Want {
                file: tlv::decode(kind, body)?,
            },
            Self::RESUME => {
                let (file, is_same_source, leaves) = tlv::decode(kind, body)?;
                Self::Resume {
                    file,
                    is_same_source,
                    leaves,
                }
            }
            Self::LEAVES => {
                let (file, first, values) = tlv::decode(kind, body)?;
                Self::Leaves {
                    file,
                    first,
                    values,
                }
            }
            Self::EOF => {
                let (file, size, chunks, digest) = tlv::decode(kind, body)?;
                Self::Eof {
                    file,
                    size,
                    chunks,
                    digest,
                }
            }
            Self::ABANDON => {
                let (file, failure) = tlv::decode(kind, body)?;
                Self::Abandon { file, failure }
            }
            Self::STATUS => Self::Status {
                files: tlv::decode(kind, body)?,
            },
            _ if kind & tlv::IGNORABLE != 0 => return Ok(None),
            _ => return Err(DecodeError::Unknown(kind)),
        }))
    }
}
