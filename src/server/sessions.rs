//! TLS sessions that clients may resume. Finding, adding and removing one costs the same however many there are.

use std::collections::HashMap;
use std::fmt;

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;

/// How many sessions are kept at least, if they are no larger than `BYTES`: the last ones. Twice as many at most.
const SESSIONS: usize = 10_000;

/// How many bytes they may have, and twice as many at most: a session holds the certificates of its client.
const BYTES: usize = 8 << 20;

/// What a session costs beside its key and its value, about.
const OVERHEAD: usize = 64;

/// The sessions of a front that began with the same files.
#[derive(Default)]
pub(super) struct Sessions {
    generations: Mutex<Generations>,
}

/// When the young ones are many enough they become the old ones, and those that were old are gone.
#[derive(Default)]
struct Generations {
    young: HashMap<Vec<u8>, Vec<u8>>,
    old: HashMap<Vec<u8>, Vec<u8>>,
    /// Of the young ones, since they are that.
    bytes: usize,
}

impl Sessions {
    /// No session of before can be resumed.
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
        // Thousands of them: nobody waits for that.
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

/// Without what is secret.
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
    fn the_last_ten_thousand_are_kept_and_no_more_than_twice_as_many() {
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
    fn large_ones_are_fewer() {
        let sessions = Sessions::default();
        (0..1000).for_each(|number| put(&sessions, number, 60_000));
        let kept = (0..1000).filter(|number| has(&sessions, *number)).count();
        assert!(kept * 60_000 <= 2 * BYTES && (BYTES / 60_100..).contains(&kept));
        assert!((990..1000).all(|number| has(&sessions, number)));
    }
}
