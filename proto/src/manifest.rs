//! What a transfer consists of: names, sizes, times and permission bits (SPEC.md, `manifest`).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Longest name, in bytes, separators included.
pub const MAX_NAME: usize = 4096;
/// Longest part of a name between separators, in bytes.
pub const MAX_COMPONENT: usize = 255;
/// Most parts that a name may have.
pub const MAX_DEPTH: usize = 128;
/// Largest file, in bytes: what a signed 64-bit file offset can reach.
pub const MAX_FILE_SIZE: u64 = i64::MAX as u64;
/// Directory beside the received files that holds what is not complete. No name may start with it.
pub const PARTIAL_DIR: &str = ".xfer-part";
/// Permission bits that travel: no setuid, setgid or sticky bit.
pub const MODE_MASK: u32 = 0o777;

/// A relative path: parts joined by `/`, in bytes, not necessarily UTF-8.
///
/// A value of this type has passed the rules of SPEC.md, `names`; there is no other way to make
/// one. Clones share the bytes: a receiver remembers each of a million names in several places.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Name(Arc<[u8]>);

/// The rule that a name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No bytes at all, or an empty part (`a//b`, a leading or a trailing `/`).
    Empty,
    /// A part is `.` or `..`.
    Dots,
    /// A NUL or another control character.
    Control,
    /// Longer than [`MAX_NAME`], [`MAX_COMPONENT`] or [`MAX_DEPTH`] allow.
    TooLong,
    /// The first part is [`PARTIAL_DIR`].
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is absolute or has an empty part",
            Self::Dots => "a part of it is `.` or `..`",
            Self::Control => "it has a control character",
            Self::TooLong => "it is too long or too deep",
            Self::Reserved => "its first part is reserved for partial files",
        })
    }
}

impl core::error::Error for NameError {}

impl Name {
    /// Checks `bytes` against the rules.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        let mut depth = 0_usize;
        for part in bytes.split(|&byte| byte == b'/') {
            depth = depth.saturating_add(1);
            match part {
                b"" => return Err(NameError::Empty),
                b"." | b".." => return Err(NameError::Dots),
                _ if part.len() > MAX_COMPONENT => return Err(NameError::TooLong),
                _ if part.iter().any(|byte| byte.is_ascii_control()) => {
                    return Err(NameError::Control);
                }
                _ if depth == 1 && part.eq_ignore_ascii_case(PARTIAL_DIR.as_bytes()) => {
                    return Err(NameError::Reserved);
                }
                _ => {}
            }
        }
        if depth > MAX_DEPTH {
            return Err(NameError::TooLong);
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes, parts joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The parts in order. At least one.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }
}

/// Maps with names as keys can be asked for bytes.
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Name {
    type Error = NameError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NameError> {
        Self::new(bytes)
    }
}

impl From<Name> for Vec<u8> {
    fn from(name: Name) -> Self {
        name.0.to_vec()
    }
}

/// Printable everywhere: control, non-ASCII and non-UTF-8 bytes and bidirectional marks come out
/// escaped, other Unicode letters as they are.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_alphanumeric() || (c.is_ascii() && !c.is_ascii_control()) {
                    write!(f, "{c}")?;
                } else {
                    write!(f, "{}", c.escape_default())?;
                }
            }
            chunk
                .invalid()
                .iter()
                .try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory; only empty ones need an entry, the others follow from the names of their files.
    Directory,
}

/// A modification time: seconds since 1970-01-01 00:00 UTC and nanoseconds within the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Where it goes, relative to the receiver's directory.
    pub name: Name,
    /// File or directory.
    pub kind: EntryKind,
    /// Bytes, at most [`MAX_FILE_SIZE`]; 0 for a directory.
    pub size: u64,
    /// Modification time, where the sender's system has one.
    pub modified: Option<Timestamp>,
    /// Unix permission bits within [`MODE_MASK`], where the sender's system has them.
    pub mode: Option<u32>,
    /// Fingerprint of the source's identity where the sender's system has one that changes with
    /// every change of the content (on Unix device, inode and change time): an equal one lets
    /// a receiver go on from what it kept without a look at the source. Opaque to the
    /// receiver.
    pub identity: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn good_names_pass() {
        for name in ["a", "a/b", "~/x", "C:\\x", "..a", "a..", "é", " ", "-rf"] {
            assert_eq!(Name::new(name).unwrap().as_bytes(), name.as_bytes());
        }
        assert!(Name::new([0xff, 0xfe].to_vec()).is_ok());
        assert!(Name::new("x".repeat(MAX_COMPONENT)).is_ok());
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "x".repeat(MAX_COMPONENT + 1);
        let deep = "x/".repeat(MAX_DEPTH) + "x";
        for (name, error) in [
            ("", NameError::Empty),
            ("/etc/passwd", NameError::Empty),
            ("a//b", NameError::Empty),
            ("a/", NameError::Empty),
            ("..", NameError::Dots),
            ("a/../b", NameError::Dots),
            ("./a", NameError::Dots),
            ("a\0", NameError::Control),
            ("a\n", NameError::Control),
            ("\x1b[2J", NameError::Control),
            ("\x7f", NameError::Control),
            (".xfer-part/x", NameError::Reserved),
            (".XFER-part", NameError::Reserved),
            (&long, NameError::TooLong),
            (&deep, NameError::TooLong),
        ] {
            assert_eq!(Name::new(name), Err(error), "{name:?}");
        }
    }

    #[test]
    fn names_print_escaped() {
        let name = Name::new(b"a\xff \xe2\x80\xae\xc3\xa9".to_vec()).unwrap();
        assert_eq!(name.to_string(), "a\\xff \\u{202e}\u{e9}");
    }
}
