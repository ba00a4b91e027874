//! A set of `u64` kept as sorted, disjoint, non-adjacent half-open ranges.

use alloc::vec::Vec;
use core::ops::Range;

/// The set. Costs 16 bytes a range; appending at the end costs constant time, anything else a
/// binary search and a move of the ranges behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<(u64, u64)>,
    count: u64,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self {
            ranges: Vec::new(),
            count: 0,
        }
    }

    /// How many numbers are in the set.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How many ranges the set has.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// True when nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The end of the last range: one past the largest number, 0 for the empty set.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.1)
    }

    /// The smallest number not in the set.
    pub fn first_missing(&self) -> u64 {
        self.ranges
            .first()
            .filter(|range| range.0 == 0)
            .map_or(0, |range| range.1)
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.1 <= number);
        self.ranges.get(at).is_some_and(|range| range.0 <= number)
    }

    /// Whether every number of `range` is in the set.
    pub fn contains_range(&self, range: Range<u64>) -> bool {
        let at = self.ranges.partition_point(|have| have.1 <= range.start);
        range.is_empty()
            || self
                .ranges
                .get(at)
                .is_some_and(|have| have.0 <= range.start && have.1 >= range.end)
    }

    /// Adds `range`; answers how many numbers were new.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        match self.ranges.last_mut() {
            Some(last) if last.1 == range.start => {
                last.1 = range.end;
                return self.added(range.end.saturating_sub(range.start));
            }
            Some(last) if last.1 > range.start => {}
            _ => {
                self.ranges.push((range.start, range.end));
                return self.added(range.end.saturating_sub(range.start));
            }
        }
        // Everything from `from` to `to` touches or overlaps the new range and becomes one with it.
        let from = self.ranges.partition_point(|have| have.1 < range.start);
        let to = self.ranges.partition_point(|have| have.0 <= range.end);
        let mut merged = (range.start, range.end);
        let mut old = 0_u64;
        for have in self.ranges.get(from..to).unwrap_or_default() {
            merged = (merged.0.min(have.0), merged.1.max(have.1));
            old = old.saturating_add(have.1.saturating_sub(have.0));
        }
        self.ranges.splice(from..to, [merged]);
        self.added(merged.1.saturating_sub(merged.0).saturating_sub(old))
    }

    fn added(&mut self, count: u64) -> u64 {
        self.count = self.count.saturating_add(count);
        count
    }

    /// Takes `range` out; answers how many numbers went.
    pub fn remove(&mut self, range: Range<u64>) -> u64 {
        let from = self.ranges.partition_point(|have| have.1 <= range.start);
        let to = self.ranges.partition_point(|have| have.0 < range.end);
        if range.is_empty() || from >= to {
            return 0;
        }
        let touched = self.ranges.get(from..to).unwrap_or_default();
        let mut removed = 0_u64;
        let mut rest: [Option<(u64, u64)>; 2] = [None, None];
        for have in touched {
            let cut = (have.0.max(range.start), have.1.min(range.end));
            removed = removed.saturating_add(cut.1.saturating_sub(cut.0));
            if have.0 < cut.0 {
                rest[0] = Some((have.0, cut.0));
            }
            if cut.1 < have.1 {
                rest[1] = Some((cut.1, have.1));
            }
        }
        self.ranges.splice(from..to, rest.into_iter().flatten());
        self.count = self.count.saturating_sub(removed);
        removed
    }

    /// The smallest number in the set that is `from` or more.
    pub fn first_from(&self, from: u64) -> Option<u64> {
        let at = self.ranges.partition_point(|have| have.1 <= from);
        self.ranges.get(at).map(|have| have.0.max(from))
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|&(start, end)| start..end)
    }

    /// The ranges of `within` that are not in the set, in ascending order.
    pub fn gaps(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let from = self.ranges.partition_point(|have| have.1 <= within.start);
        let have = self.ranges.get(from..).unwrap_or_default();
        let end = within.end;
        let mut at = within.start;
        let mut have = have.iter().take_while(move |have| have.0 < end);
        core::iter::from_fn(move || {
            while at < end {
                let Some(&(start, stop)) = have.next() else {
                    return Some(core::mem::replace(&mut at, end)..end);
                };
                let gap = at..start;
                at = stop;
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec;
    use proptest::prelude::*;

    fn numbers(set: &RangeSet) -> BTreeSet<u64> {
        set.iter().flatten().collect()
    }

    #[test]
    fn in_order_insertion_stays_one_range() {
        let mut set = RangeSet::new();
        for at in 0..100 {
            assert_eq!(set.insert(at..at + 1), 1);
        }
        assert_eq!(
            (set.range_count(), set.count(), set.first_missing()),
            (1, 100, 100)
        );
        assert_eq!(set.insert(50..60), 0);
    }

    #[test]
    fn a_hole_in_the_middle_splits() {
        let mut set = RangeSet::new();
        set.insert(0..10);
        assert_eq!(set.remove(3..5), 2);
        assert_eq!(set.iter().collect::<Vec<_>>(), vec![0..3, 5..10]);
        assert_eq!(set.gaps(0..12).collect::<Vec<_>>(), vec![3..5, 10..12]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0_u64..60, 0_u64..12), 0..60),
            from in 0_u64..70, len in 0_u64..70,
        ) {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            for (insert, start, len) in steps {
                let range = start..start + len;
                let changed = if insert {
                    let changed = range.clone().filter(|&n| model.insert(n)).count();
                    prop_assert_eq!(set.insert(range), changed as u64);
                    changed
                } else {
                    let changed = range.clone().filter(|n| model.remove(n)).count();
                    prop_assert_eq!(set.remove(range), changed as u64);
                    changed
                };
                prop_assert!(changed <= 12);
                prop_assert_eq!(&numbers(&set), &model);
                prop_assert_eq!(set.count(), model.len() as u64);
                let sorted = set.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
                prop_assert!(sorted, "adjacent or unsorted: {:?}", set);
            }
            let within = from..from + len;
            let gaps: Vec<u64> = set.gaps(within.clone()).flatten().collect();
            let expected: Vec<u64> = within.clone().filter(|n| !model.contains(n)).collect();
            prop_assert_eq!(gaps, expected);
            prop_assert_eq!(set.first_missing(), (0..).find(|n| !model.contains(n)).unwrap());
            prop_assert_eq!(set.first_from(from), model.range(from..).next().copied());
            prop_assert_eq!(set.contains(from), model.contains(&from));
            prop_assert_eq!(
                set.contains_range(within.clone()),
                within.into_iter().all(|n| model.contains(&n))
            );
        }
    }
}
