//! What happened in a run: always a hash of it, on demand a line for each step.

use crate::queue::Nanos;
use std::fmt;

/// The running hash, and the lines where they are wanted.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Keeps a line for each step too.
    pub fn with_lines() -> Self {
        Self {
            hash: 0,
            lines: Some(Vec::new()),
        }
    }

    /// Notes one step: a few numbers for the hash, words for the line.
    pub fn note(&mut self, now: Nanos, parts: [u64; 3], line: impl FnOnce() -> String) {
        for part in [now, parts[0], parts[1], parts[2]] {
            self.hash = (self.hash.rotate_left(5) ^ part).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:12.6} {}", now as f64 / 1e9, line()));
        }
    }

    /// Notes bytes: their length and a sample of them.
    pub fn note_bytes(
        &mut self,
        now: Nanos,
        what: u64,
        bytes: &[u8],
        line: impl FnOnce() -> String,
    ) {
        let mut sum = bytes.len() as u64;
        for word in bytes[..bytes.len().min(64)].as_chunks::<8>().0 {
            sum = (sum.rotate_left(7) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4b);
        }
        self.note(now, [what, bytes.len() as u64, sum], line);
    }

    /// The hash of everything noted.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, where they were kept.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// A time as a person reads it.
pub struct Seconds(pub Nanos);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0 as f64 / 1e9)
    }
}
