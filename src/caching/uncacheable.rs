//! What turned out not to be for sharing, so that nobody waits for it in vain.
//!
//! Whoever follows a fetch whose answer is then not storable has waited for nothing. The next requests for
//! such a key go to the origin at once, side by side, until an answer is stored or the key is forgotten.

use lru::LruCache;
use parking_lot::Mutex;

use crate::store::Key;

/// How many keys are remembered.
const CAPACITY: usize = 4096;

/// The keys whose last answer could not be shared; the ones that were asked for last.
pub(super) struct Uncacheable {
    keys: Mutex<LruCache<Key, ()>>,
}

impl Default for Uncacheable {
    fn default() -> Self {
        Self { keys: Mutex::new(LruCache::unbounded()) }
    }
}

impl Uncacheable {
    pub(super) fn remember(&self, key: &Key) {
        let mut keys = self.keys.lock();
        keys.put(key.clone(), ());
        let forgotten = if keys.len() > CAPACITY { keys.pop_lru() } else { None };
        drop(keys);
        drop(forgotten);
    }

    pub(super) fn forget(&self, key: &Key) {
        let forgotten = self.keys.lock().pop_entry(key);
        drop(forgotten);
    }

    pub(super) fn holds(&self, key: &Key) -> bool {
        self.keys.lock().get(key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let uncacheable = Uncacheable::default();
        let key = |number: usize| Key::new(&format!("http://h/{number}"));
        (0..CAPACITY).for_each(|number| uncacheable.remember(&key(number)));
        assert!(uncacheable.holds(&key(0)));
        uncacheable.remember(&key(CAPACITY));
        assert!(uncacheable.holds(&key(0)) && !uncacheable.holds(&key(1)));
        uncacheable.forget(&key(0));
        assert!(!uncacheable.holds(&key(0)));
    }
}
