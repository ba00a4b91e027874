//! A histogram of how late the switch handed frames over.

use crate::control::Lateness;

/// Buckets of a microsecond; what is later counts in the last.
const BUCKETS: usize = 10_000;

/// Counts of lateness by microsecond.
pub struct LatenessHistogram {
    buckets: Vec<u64>,
    frames: u64,
    max_us: u64,
}

impl LatenessHistogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            frames: 0,
            max_us: 0,
        }
    }

    /// A frame was handed over `late_ns` after its time.
    pub fn add(&mut self, late_ns: u64) {
        let late_us = late_ns / 1000;
        self.buckets[(late_us as usize).min(BUCKETS - 1)] += 1;
        self.frames += 1;
        self.max_us = self.max_us.max(late_us);
    }

    /// The figures that people read.
    pub fn summary(&self) -> Lateness {
        Lateness {
            frames: self.frames,
            median_us: self.quantile(50),
            p99_us: self.quantile(99),
            max_us: self.max_us,
        }
    }

    fn quantile(&self, percent: u64) -> u64 {
        let wanted = self.frames * percent / 100;
        let mut seen = 0;
        for (late_us, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen > wanted {
                return late_us as u64;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_counts() {
        let mut histogram = LatenessHistogram::new();
        for late_us in 0..100 {
            histogram.add(late_us * 1000 + 1);
        }
        let summary = histogram.summary();
        assert_eq!(
            (summary.median_us, summary.p99_us, summary.max_us),
            (50, 99, 99)
        );
        assert_eq!(LatenessHistogram::new().summary(), Lateness::default());
    }
}
