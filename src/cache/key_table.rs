//! [`KeyTable`]: what is known of the keys that were used last, in little memory.

use std::hash::{BuildHasher, RandomState};

use lru::LruCache;

/// Values of a limited number of keys. The least recently used keys are dropped first.
///
/// A key is kept as a hash with a random seed, so a key of 8 KiB takes no more memory than a short one. Two keys of a table
/// have the same hash with a probability below 2^-40, and a client cannot search for such keys.
pub(super) struct KeyTable<V> {
    values: LruCache<u64, V>,
    hasher: RandomState,
    capacity: usize,
}

impl<V> KeyTable<V> {
    /// Creates a table of this many keys. It takes memory only for the keys that it has.
    pub(super) fn new(capacity: usize) -> Self {
        Self { values: LruCache::unbounded(), hasher: RandomState::new(), capacity }
    }

    /// Sets the value of a key, which becomes the last used.
    pub(super) fn put(&mut self, key: &str, value: V) {
        self.values.put(self.hasher.hash_one(key), value);
        if self.values.len() > self.capacity {
            self.values.pop_lru();
        }
    }

    /// Returns the value of a key, which becomes the last used.
    pub(super) fn get(&mut self, key: &str) -> Option<&V> {
        self.values.get(&self.hasher.hash_one(key))
    }

    /// Returns the value of a key, and leaves the order.
    pub(super) fn peek(&self, key: &str) -> Option<&V> {
        self.values.peek(&self.hasher.hash_one(key))
    }

    /// Removes a key and returns its value.
    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        self.values.pop(&self.hasher.hash_one(key))
    }

    /// Removes the least recently used keys while this returns true for their values.
    pub(super) fn remove_oldest_while(&mut self, is_old: impl Fn(&V) -> bool) {
        while self.values.peek_lru().is_some_and(|(_, value)| is_old(value)) {
            self.values.pop_lru();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_key_is_dropped_first() {
        let mut table = KeyTable::new(2);
        table.put("a", 1);
        table.put("b", 2);
        assert_eq!(table.get("a"), Some(&1));
        assert_eq!(table.peek("b"), Some(&2));
        table.put("c", 3);
        assert_eq!((table.peek("a"), table.peek("b"), table.peek("c")), (Some(&1), None, Some(&3)));
        table.put("a", 4);
        assert_eq!((table.remove("a"), table.remove("a")), (Some(4), None));
    }

    #[test]
    fn oldest_keys_are_removed_by_their_values() {
        let mut table = KeyTable::new(10);
        for number in [1, 2, 5, 3] {
            table.put(&number.to_string(), number);
        }
        table.remove_oldest_while(|number| *number < 4);
        assert!(table.peek("2").is_none() && table.peek("3").is_some());
        table.remove_oldest_while(|_| true);
        assert!(table.is_empty());
    }
}
