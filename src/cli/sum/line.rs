//! One line of b3sum: 64 hexadecimal digits, two spaces, the path. A path with a backslash or a
//! line break is escaped, and a backslash at the start of the line says so.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use xfer_proto::id::Digest;

const HEX_DIGITS: usize = 64;
const SEPARATOR: &[u8] = b"  ";

/// A path and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
}

impl Line {
    /// Reads a line, with or without its end. `None` where it is none of ours.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (escaped, line) = match line.strip_prefix(b"\\") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (hex, rest) = line.split_at_checked(HEX_DIGITS)?;
        let path = rest.strip_prefix(SEPARATOR)?;
        if path.is_empty() || path.contains(&0) {
            return None;
        }
        let path = if escaped {
            unescape(path)?
        } else {
            path.to_vec()
        };
        Some(Self {
            path: path_from(path)?,
            digest: digest_from(hex)?,
        })
    }

    /// The path as this line shows it.
    pub(super) fn shown_path(&self) -> String {
        self.escaped_path().1
    }

    fn escaped_path(&self) -> (bool, String) {
        // As b3sum has it: what is not text becomes a replacement character, which cannot be read
        // back.
        let text = self.path.to_string_lossy();
        let shown = text
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        (shown != text, shown)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (escaped, path) = self.escaped_path();
        let mark = if escaped { "\\" } else { "" };
        write!(f, "{mark}{}  {path}", self.digest)
    }
}

fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

fn digest_from(hex: &[u8]) -> Option<Digest> {
    let mut digest = [0; HEX_DIGITS / 2];
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(Digest(digest))
}

/// Bytes are a path on Unix, whatever they are.
#[cfg(unix)]
fn path_from(bytes: Vec<u8>) -> Option<PathBuf> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes)).map(|path: OsString| path.into())
}

/// Elsewhere a path is text.
#[cfg(not(unix))]
fn path_from(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes)
        .ok()
        .map(|path| OsString::from(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn lines_read_back_as_they_were_printed() {
        for path in ["a", " a b", "a\\b", "a\nb\r", "-", "\\"] {
            let line = Line {
                path: path.into(),
                digest: digest_from(HEX.as_bytes()).unwrap(),
            };
            let printed = format!("{line}\n");
            assert_eq!(Line::parse(printed.as_bytes()), Some(line), "{path:?}");
        }
    }

    #[test]
    fn escapes_are_those_of_b3sum() {
        let digest = digest_from(HEX.as_bytes()).unwrap();
        let plain = Line {
            path: "a".into(),
            digest,
        };
        assert_eq!(plain.to_string(), format!("{HEX}  a"));
        let odd = Line {
            path: "a\\\n".into(),
            digest,
        };
        assert_eq!(odd.to_string(), format!("\\{HEX}  a\\\\\\n"));
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in [
            String::new(),
            "a".repeat(64),
            format!("{HEX} a"),
            format!("{HEX}  "),
            format!("{HEX}  a\0"),
            format!("{}  a", HEX.replace('a', "g")),
            format!("\\{HEX}  a\\x"),
            format!("\\{HEX}  a\\"),
        ] {
            assert_eq!(Line::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
