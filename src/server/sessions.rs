//! The TLS session cache. The cost of each operation does not depend on the number of sessions.

use std::collections::HashMap;
use std::fmt;

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;

/// Number of most recent sessions to keep, if they are smaller than `BYTES`. The cache holds at most twice as
/// many.
const SESSIONS: usize = 10_000;

/// Size of the most recent sessions to keep, in bytes. The cache holds at most twice as much. A session
/// contains the client's certificates.
const BYTES: usize = 8 << 20;

/// Approximate memory of a session in addition to its key and value, in bytes.
const OVERHEAD: usize = 64;

/// The sessions that started with the same certificate files.
#[derive(Default)]
pub(super) struct Sessions {
    generations: Mutex<Generations>,
}

/// Two generations. When the young generation is full it replaces the old one, whose sessions are discarded.
#[derive(Default)]
struct Generations {
    young: HashMap<Vec<u8>, Vec<u8>>,
    old: HashMap<Vec<u8>, Vec<u8>>,
    /// Size of the young generation.
    bytes: usize,
}

impl Sessions {
    /// Discards all sessions.
    pub(super) fn clear(&self) {
        let before = std::mem::take(&mut *self.generations.lock());
        drop(before);
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let size = key.len() + value.len() + OVERHEAD;
        let mut generations = self.generations.lock();
        let is_full = generations.young.len() >= SESSIONS || generations.bytes + size > BYTES;
        let before = is_full.then(|| {
            generations.bytes = 0;
            let young = std::mem::take(&mut generations.young);
            std::mem::replace(&mut generations.old, young)
        });
        generations.bytes += size;
        generations.young.insert(key, value);
        drop(generations);
        // Freeing thousands of sessions must not happen under the lock.
        drop(before);
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let generations = self.generations.lock();
        generations.young.get(key).or_else(|| generations.old.get(key)).cloned()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut generations = self.generations.lock();
        generations.young.remove(key).or_else(|| generations.old.remove(key))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Omits the sessions, which contain secrets.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(sessions: &Sessions, number: usize, length: usize) {
        assert!(sessions.put(number.to_be_bytes().to_vec(), vec![0; length]));
    }

    fn has(sessions: &Sessions, number: usize) -> bool {
        sessions.get(&number.to_be_bytes()).is_some()
    }

    #[test]
    fn the_last_ten_thousand_sessions_are_kept_and_at_most_twice_as_many() {
        let sessions = Sessions::default();
        (0..5 * SESSIONS / 2).for_each(|number| put(&sessions, number, 200));
        assert!((3 * SESSIONS / 2..5 * SESSIONS / 2).all(|number| has(&sessions, number)));
        assert!(!(0..SESSIONS / 2).any(|number| has(&sessions, number)));
        let key = (2 * SESSIONS).to_be_bytes();
        assert!(sessions.take(&key).is_some() && sessions.take(&key).is_none());
        sessions.clear();
        assert!(!(0..5 * SESSIONS / 2).any(|number| has(&sessions, number)));
    }

    #[test]
    fn the_size_of_all_sessions_is_limited() {
        let sessions = Sessions::default();
        (0..1000).for_each(|number| put(&sessions, number, 60_000));
        let kept = (0..1000).filter(|number| has(&sessions, *number)).count();
        assert!(kept * 60_000 <= 2 * BYTES && (BYTES / 60_100..).contains(&kept));
        assert!((990..1000).all(|number| has(&sessions, number)));
    }
}
