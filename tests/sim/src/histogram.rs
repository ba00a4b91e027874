//! A histogram with a bounded relative error, for delays.

/// Sub-buckets in each power of two, as a power of two: a relative error of at most 1/32.
const BITS: u32 = 5;
const BUCKETS: usize = (64 - BITS as usize + 1) << BITS;

/// Counts values by magnitude; takes memory only once there is a value.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.total = 0;
        self.max = 0;
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// A value that at least `per_cent` of 100 values do not exceed; 0 without values.
    pub fn percentile(&self, per_cent: u64) -> u64 {
        let wanted = (self.total * per_cent).div_ceil(100);
        let mut seen = 0;
        for (at, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted && count > 0 {
                return upper(at).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    let bits = 64 - value.leading_zeros();
    if bits <= BITS {
        return value as usize;
    }
    let shift = bits - BITS - 1;
    (((shift + 1) as usize) << BITS) + ((value >> shift) as usize & ((1 << BITS) - 1))
}

fn upper(bucket: usize) -> u64 {
    let high = (bucket >> BITS) as u32;
    let low = (bucket & ((1 << BITS) - 1)) as u64;
    if high == 0 {
        return low;
    }
    let base = ((1_u64 << BITS) + low) << (high - 1);
    base + ((1_u64 << (high - 1)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_values() {
        for value in (0..10_000).chain([u64::MAX, u64::MAX / 3, 1 << 40]) {
            let upper = upper(bucket(value));
            assert!(upper >= value, "{value} above its bucket's end {upper}");
            assert!(upper - value <= value / 32, "{value} far from {upper}");
        }
    }

    #[test]
    fn percentiles_are_close() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(95), 0);
        (1..=1_000).for_each(|value| histogram.record(value * 1_000));
        assert!((950_000..=980_000).contains(&histogram.percentile(95)));
        assert_eq!(histogram.percentile(100), 1_000_000);
        assert!((500_000..=516_000).contains(&histogram.percentile(50)));
    }
}
