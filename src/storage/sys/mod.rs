//! What the file system is asked, in the few words that storage needs; one file for each kind of
//! system.
//!
//! Nothing here takes a path of more than one part beneath a [`Dir`], and nothing follows a
//! symbolic link there: that is what keeps every received name inside the receiver's directory.

mod unix;

pub(crate) use unix::{
    Dir, advise_sequential, boot_id, identity, identity_of, machine_id, name_bytes,
    name_from_bytes, open_file_limit, open_source, read_exact_at, set_mode, write_all_at,
    write_pieces_at,
};

use xfer_proto::manifest::Timestamp;

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Special,
}

impl Kind {
    /// In words, for messages: `a directory`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Special => "a special file",
        }
    }
}

/// What tells two states of a file apart. `changed` is the time of the last change to content or
/// attributes, which no user can set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Names that the file has.
    pub(crate) links: u64,
}
