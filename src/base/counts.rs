//! [`Counts`]: how many of something each key has.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts by key. A key that has none takes no memory.
#[derive(Debug)]
pub(crate) struct Counts<K>(HashMap<K, usize>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// Returns how many a key has.
    pub(crate) fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or(0)
    }

    /// Adds one.
    pub(crate) fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    /// Removes one.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    /// Returns the keys that have some, and how many.
    #[cfg(feature = "peer")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, usize)> {
        self.0.iter().map(|(key, count)| (key, *count))
    }

    #[cfg(all(test, feature = "peer"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
