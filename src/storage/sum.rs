//! BLAKE3 digests of files, in the line format of `b3sum`.
//!
//! A line is the digest in hexadecimal, two spaces and the path. Where the path has a backslash or
//! a line break, the line starts with a backslash and these are written `\\`, `\n` and `\r`. Paths
//! are kept byte for byte where the system allows it, also where they are not UTF-8.

use crate::storage::pool::make_room;
use crate::storage::sys;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use xfer_proto::id::Digest;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Why a line of a checksum file means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not start with 64 hexadecimal digits, possibly after a backslash.
    #[error("the line does not start with a BLAKE3 digest of 64 hexadecimal digits")]
    Digest,
    /// After the digest there are no two spaces and a path.
    #[error("the digest is not followed by two spaces and a path")]
    Path,
    /// A backslash in the path is followed by something that is no escape.
    #[error("the path has an unknown escape")]
    Escape,
}

/// The digest of a file's content.
///
/// # Errors
/// Whatever opening or reading says.
pub fn digest_path(path: &Path) -> io::Result<Digest> {
    let file = File::open(path)?;
    sys::advise_sequential(&file);
    digest_reader(file)
}

/// The digest of everything that `reader` has left.
///
/// # Errors
/// The first error of the reader other than an interruption.
pub fn digest_reader(mut reader: impl Read) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    let start = make_room(&mut buffer, BLOCK);
    buffer.resize(start + BLOCK, 0);
    let block = buffer.get_mut(start..).unwrap_or_default();
    loop {
        match reader.read(block) {
            Ok(0) => return Ok(Digest(*hasher.finalize().as_bytes())),
            Ok(len) => {
                hasher.update(block.get(..len).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The line for a path, without the line break.
pub fn format_line(digest: Digest, path: &Path) -> Vec<u8> {
    let name = sys::name_bytes(path.as_os_str());
    let is_escaped = name
        .iter()
        .any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    let mut line = Vec::with_capacity(name.len() + 67);
    if is_escaped {
        line.push(b'\\');
    }
    line.extend_from_slice(digest.to_string().as_bytes());
    line.extend_from_slice(b"  ");
    for &byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            _ => line.push(byte),
        }
    }
    line
}

/// The digest and the path of a line, with or without its line break.
///
/// # Errors
/// When the line is not of this format.
pub fn parse_line(line: impl AsRef<[u8]>) -> Result<(Digest, PathBuf), ParseError> {
    let line = line.as_ref();
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (line, is_escaped) = match line.strip_prefix(b"\\") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (hex, rest) = line.split_at_checked(64).ok_or(ParseError::Digest)?;
    let hash = blake3::Hash::from_hex(hex).map_err(|_| ParseError::Digest)?;
    let name = rest.strip_prefix(b"  ").ok_or(ParseError::Path)?;
    let name = if is_escaped {
        unescape(name)?
    } else {
        name.to_vec()
    };
    if name.is_empty() || name.contains(&0) {
        return Err(ParseError::Path);
    }
    let path = PathBuf::from(sys::name_from_bytes(name));
    Ok((Digest(*hash.as_bytes()), path))
}

fn unescape(name: &[u8]) -> Result<Vec<u8>, ParseError> {
    let mut bytes = name.iter();
    let mut plain = Vec::with_capacity(name.len());
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => return Err(ParseError::Escape),
            },
            _ => byte,
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    // What b3sum 1.2.0 prints for files that hold one `x`.
    const X: &str = "3ae7d805f6789a6402acb70ad4096a85a56bf6804eaf25c0493ac697548d30b5";

    #[test]
    fn lines_are_those_of_b3sum() {
        let digest = digest_reader(&b"x"[..]).unwrap();
        for (path, line) in [
            ("plain", format!("{X}  plain")),
            ("a\\b", format!("\\{X}  a\\\\b")),
            ("n\nl", format!("\\{X}  n\\nl")),
            ("c\rr", format!("\\{X}  c\\rr")),
            ("two  spaces", format!("{X}  two  spaces")),
        ] {
            assert_eq!(format_line(digest, Path::new(path)), line.as_bytes());
            let parsed = parse_line(&line);
            assert_eq!(parsed, Ok((digest, PathBuf::from(path))), "{line}");
            assert_eq!(parse_line(line + "\r\n"), parsed);
        }
        let upper = X.to_uppercase() + "  a";
        assert_eq!(parse_line(upper), Ok((digest, PathBuf::from("a"))));
    }

    #[test]
    #[cfg(unix)]
    fn paths_that_are_not_utf8_survive() {
        let path = PathBuf::from(sys::name_from_bytes(b"u\xff\\".to_vec()));
        let line = format_line(xfer_proto::digest::empty(), &path);
        assert_eq!(parse_line(line), Ok((xfer_proto::digest::empty(), path)));
    }

    #[test]
    fn other_lines_are_refused() {
        for (line, error) in [
            (String::new(), ParseError::Digest),
            (X[1..].to_string() + "  a", ParseError::Digest),
            (X.replace('3', "g") + "  a", ParseError::Digest),
            (X.to_string() + "  ", ParseError::Path),
            (X.to_string() + " a", ParseError::Path),
            (X.to_string() + "  \0", ParseError::Path),
            (format!("\\{X}  a\\t"), ParseError::Escape),
            (format!("\\{X}  a\\"), ParseError::Escape),
        ] {
            assert_eq!(parse_line(&line), Err(error), "{line:?}");
        }
    }

    #[test]
    fn a_file_has_the_standard_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let data: Vec<u8> = (0..BLOCK + 5).map(|at| at as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let digest = Digest(*blake3::hash(&data).as_bytes());
        assert_eq!(digest_path(&path).unwrap(), digest);
        assert!(digest_path(&dir.path().join("none")).is_err());
    }
}
