//! Keys whose last response could not be shared, so that later requests do not wait for a shared fetch.
//!
//! A follower of a fetch gains nothing if the response is not storable. For a while, later requests for such a key go
//! to the origin in parallel (Varnish calls this hit-for-miss). Only the response itself counts: a failure, or a
//! field of the request, does not predict the next response.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::key_table::KeyTable;
use crate::store::Key;

/// How many keys are remembered.
const CAPACITY: usize = 4096;

/// How long a key is remembered.
const LIFETIME: Duration = Duration::from_secs(120);

/// The keys whose last response could not be shared; least recently requested keys are dropped first.
pub(super) struct Uncacheable {
    keys: Mutex<KeyTable<SystemTime>>,
}

impl Default for Uncacheable {
    fn default() -> Self {
        Self { keys: Mutex::new(KeyTable::new(CAPACITY)) }
    }
}

impl Uncacheable {
    pub(super) fn remember(&self, key: &Key, now: SystemTime) {
        self.keys.lock().put(key.as_str(), now);
    }

    pub(super) fn forget(&self, key: &Key) {
        self.keys.lock().remove(key.as_str());
    }

    pub(super) fn contains(&self, key: &Key, now: SystemTime) -> bool {
        let is_recent = |since: &SystemTime| now.duration_since(*since).is_ok_and(|past| past < LIFETIME);
        self.keys.lock().get(key.as_str()).is_some_and(is_recent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_least_recently_used_key_is_forgotten_first() {
        let uncacheable = Uncacheable::default();
        let key = |number: usize| Key::new(&format!("http://h/{number}"));
        (0..CAPACITY).for_each(|number| uncacheable.remember(&key(number), UNIX_EPOCH));
        assert!(uncacheable.contains(&key(0), UNIX_EPOCH));
        uncacheable.remember(&key(CAPACITY), UNIX_EPOCH);
        assert!(uncacheable.contains(&key(0), UNIX_EPOCH) && !uncacheable.contains(&key(1), UNIX_EPOCH));
        uncacheable.forget(&key(0));
        assert!(!uncacheable.contains(&key(0), UNIX_EPOCH));
    }

    #[test]
    fn keys_are_forgotten_after_the_lifetime() {
        let (uncacheable, key) = (Uncacheable::default(), Key::new("http://h/"));
        uncacheable.remember(&key, UNIX_EPOCH);
        assert!(uncacheable.contains(&key, UNIX_EPOCH + LIFETIME - Duration::from_secs(1)));
        assert!(!uncacheable.contains(&key, UNIX_EPOCH + LIFETIME));
    }
}
