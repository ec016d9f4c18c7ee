//! The last response of a URL that was not stored, and the reason.

use std::time::SystemTime;

use http::StatusCode;
use parking_lot::Mutex;

use super::key_table::KeyTable;
use crate::policy::NotStored;
use crate::store::Key;

/// How many keys are remembered.
const CAPACITY: usize = 1024;

/// A response that was fetched and not stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastFetch {
    pub(super) why: NotStored,
    pub(super) status: StatusCode,
    pub(super) at: SystemTime,
}

/// The keys whose last response was not stored; least recently fetched keys are dropped first.
pub(super) struct Unstored(Mutex<KeyTable<LastFetch>>);

impl Default for Unstored {
    fn default() -> Self {
        Self(Mutex::new(KeyTable::new(CAPACITY)))
    }
}

impl Unstored {
    pub(super) fn remember(&self, key: &Key, why: NotStored, status: StatusCode, at: SystemTime) {
        self.0.lock().put(key.as_str(), LastFetch { why, status, at });
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key.as_str());
    }

    pub(super) fn get(&self, key: &Key) -> Option<LastFetch> {
        self.0.lock().peek(key.as_str()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn only_the_most_recent_keys_are_remembered() {
        let unstored = Unstored::default();
        let key = |number: usize| Key::new(&format!("http://h/{number}"));
        for number in 0..=CAPACITY {
            unstored.remember(&key(number), NotStored::NoStore, StatusCode::OK, UNIX_EPOCH);
        }
        assert!(unstored.get(&key(0)).is_none() && unstored.get(&key(1)).is_some());
        unstored.forget(&key(1));
        assert!(unstored.get(&key(1)).is_none());
    }
}
