//! Lines that a peer can cause, few enough to be read and to do no harm.

use std::time::{Duration, Instant};

/// Lines in one [`WINDOW`].
const MAX_LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Lets so many lines a second through, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    since: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is printed, after the number of those that were not, where there are any.
    Print(u64),
    /// It is only counted.
    Suppress,
}

impl Limiter {
    /// Decides about a line that is to be printed at `now`.
    pub(crate) fn admit(&mut self, now: Instant) -> Verdict {
        let is_new = self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= WINDOW);
        if is_new {
            self.since = Some(now);
            self.lines = 0;
        }
        if self.lines >= MAX_LINES {
            self.suppressed += 1;
            return Verdict::Suppress;
        }
        // The number itself is a line, too.
        self.lines += if self.suppressed > 0 { 2 } else { 1 };
        Verdict::Print(self.take_suppressed())
    }

    /// The lines that were only counted since the last one that was printed.
    pub(crate) fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

/// Says that lines are missing.
pub(crate) fn note(suppressed: u64) -> String {
    match suppressed {
        1 => "suppressed 1 line".to_owned(),
        _ => format!("suppressed {suppressed} lines"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_pass_and_the_others_are_counted() {
        let start = Instant::now();
        let mut limiter = Limiter::default();
        let printed = |limiter: &mut Limiter, now: Instant| {
            (0..100)
                .filter(|_| limiter.admit(now) != Verdict::Suppress)
                .count()
        };
        assert_eq!(printed(&mut limiter, start), 10);
        assert_eq!(printed(&mut limiter, start + WINDOW / 2), 0);
        assert_eq!(limiter.admit(start + WINDOW), Verdict::Print(190));
        // The count took a line.
        assert_eq!(printed(&mut limiter, start + WINDOW), 8);
        assert_eq!(limiter.take_suppressed(), 92);
        assert_eq!(limiter.admit(start + 2 * WINDOW), Verdict::Print(0));
    }
}
