//! A bounded set of open handles, the least recently used of which makes room.

use std::collections::HashMap;
use std::hash::Hash;

/// At most `capacity` values. Finding the oldest is a walk over all of them, which for the few
/// hundred handles that a process may have costs less than the system call it stands beside.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    values: HashMap<K, (u64, V)>,
    capacity: usize,
    clock: u64,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// Room for `capacity` values, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            values: HashMap::new(),
            capacity: capacity.max(1),
            clock: 0,
        }
    }

    /// The value, which counts as used.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.clock += 1;
        let (used, value) = self.values.get_mut(key)?;
        *used = self.clock;
        Some(value)
    }

    /// Adds a value; the one that had to make room comes back.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        let full = self.values.len() >= self.capacity && !self.values.contains_key(&key);
        let evicted = if full { self.pop_oldest() } else { None };
        self.clock += 1;
        self.values.insert(key, (self.clock, value));
        evicted
    }

    /// Takes a value out.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.values.remove(key).map(|(_, value)| value)
    }

    /// Takes the least recently used value out.
    pub(crate) fn pop_oldest(&mut self) -> Option<(K, V)> {
        let oldest = self.values.iter().min_by_key(|(_, (used, _))| *used);
        let key = oldest.map(|(key, _)| key.clone())?;
        self.remove(&key).map(|value| (key, value))
    }

    /// Takes every value out whose key does not pass.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.values.retain(|key, _| keep(key));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut lru = Lru::new(2);
        assert_eq!(lru.insert("a", 1), None);
        assert_eq!(lru.insert("b", 2), None);
        assert_eq!(lru.get_mut("a"), Some(&mut 1));
        assert_eq!(lru.insert("c", 3), Some(("b", 2)));
        assert_eq!(lru.insert("c", 4), None, "replaced, nobody had to go");
        assert_eq!((lru.len(), lru.get_mut("b")), (2, None));
        lru.retain(|key| *key == "c");
        assert_eq!((lru.remove("a"), lru.remove("c")), (None, Some(4)));
    }
}
