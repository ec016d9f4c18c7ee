//! The responses that lookups found last: their heads in memory and their files open, so that a lookup reads nothing.

use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;

use crate::base::memory_limit::{Hold, Ledger, MemoryUse};
use crate::store::Variants;

/// How many responses are at hand at most. Each may have an open file.
const MOST: u64 = 4096;

/// One part in this many of the process's limit of open files is for them.
const FILES_PART: u64 = 4;

/// One part in this many of the memory limit is for them.
const MEMORY_PART: u64 = 4;

/// Of the lookups, one in this many counts as a use: to note one takes longer than the lookup.
const USES: u64 = 8;

/// What an entry takes besides its key and its responses, in bytes.
const OVERHEAD: u64 = 192;

#[derive(Default)]
pub(super) struct AtHand {
    state: Mutex<State>,
    most: OnceLock<u64>,
}

struct State {
    entries: LruCache<u64, Entry>,
    responses: u64,
    bytes: u64,
    lookups: u64,
    /// Counts the changes, so that no result of an older lookup is added.
    changes: u64,
}

/// The responses of one key.
struct Entry {
    key: Box<str>,
    responses: Variants,
    hold: Hold,
}

impl Default for State {
    fn default() -> Self {
        Self { entries: LruCache::unbounded(), responses: 0, bytes: 0, lookups: 0, changes: 0 }
    }
}

impl State {
    fn add(&mut self, hash: u64, entry: Entry) -> Option<Entry> {
        self.responses += entry.responses.len() as u64;
        self.bytes += entry.hold.bytes();
        let replaced = self.entries.put(hash, entry);
        replaced.inspect(|entry| self.subtract(entry))
    }

    fn remove(&mut self, hash: u64) -> Option<Entry> {
        let removed = self.entries.pop(&hash);
        removed.inspect(|entry| self.subtract(entry))
    }

    fn remove_oldest(&mut self) -> Option<Entry> {
        let removed = self.entries.pop_lru();
        removed.map(|(_, entry)| entry).inspect(|entry| self.subtract(entry))
    }

    fn subtract(&mut self, entry: &Entry) {
        self.responses -= entry.responses.len() as u64;
        self.bytes -= entry.hold.bytes();
    }
}

impl AtHand {
    /// Returns the number of changes so far, before a lookup.
    pub(super) fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Returns the responses of a key, if they are at hand.
    pub(super) fn get(&self, hash: u64, key: &str) -> Option<Variants> {
        let mut state = self.state.lock();
        state.lookups += 1;
        let is_use = state.lookups.is_multiple_of(USES);
        let entry = if is_use { state.entries.get(&hash) } else { state.entries.peek(&hash) };
        entry.filter(|entry| *entry.key == *key).map(|entry| entry.responses.clone())
    }

    /// Keeps what a lookup found, unless something has changed since its beginning.
    pub(super) fn keep(&self, since: u64, hash: u64, key: &str, responses: Variants, ledger: &Arc<Ledger>) {
        let sizes = responses.iter().map(|response| response.size()).sum::<u64>();
        let bytes = OVERHEAD + key.len() as u64 + sizes;
        let most = *self.most.get_or_init(|| MOST.min(open_files() / FILES_PART));
        let most_bytes = ledger.limit() / MEMORY_PART;
        if responses.len() as u64 > most || bytes > most_bytes {
            return;
        }
        let Some(hold) = ledger.reserve(MemoryUse::Entries, bytes) else { return };
        let entry = Entry { key: key.into(), responses, hold };
        let mut removed = Vec::new();
        let mut state = self.state.lock();
        if state.changes == since {
            removed.extend(state.add(hash, entry));
            while state.responses > most || state.bytes > most_bytes {
                removed.extend(state.remove_oldest());
            }
        }
        drop(state);
        // Closing files takes time.
        drop(removed);
    }

    /// Forgets keys that have changed.
    pub(super) fn forget(&self, hashes: impl IntoIterator<Item = u64>) {
        let mut state = self.state.lock();
        state.changes += 1;
        let removed: Vec<Entry> = hashes.into_iter().filter_map(|hash| state.remove(hash)).collect();
        drop(state);
        drop(removed);
    }

    /// Forgets all keys.
    pub(super) fn forget_all(&self) {
        let mut state = self.state.lock();
        let changes = state.changes + 1;
        let before = std::mem::replace(&mut *state, State { changes, ..State::default() });
        drop(state);
        drop(before);
    }
}

/// Returns how many files the process may open.
#[cfg(unix)]
pub(super) fn open_files() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
pub(super) fn open_files() -> u64 {
    512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::response;

    fn kept(at_hand: &AtHand, ledger: &Arc<Ledger>, hash: u64) -> bool {
        at_hand.keep(at_hand.changes(), hash, "key", [response("a", hash)].into(), ledger);
        at_hand.get(hash, "key").is_some()
    }

    #[test]
    fn entries_are_counted_and_leave_when_they_change() {
        let (at_hand, ledger) = (AtHand::default(), Ledger::new(1 << 20));
        let before = at_hand.changes();
        assert!(kept(&at_hand, &ledger, 1) && kept(&at_hand, &ledger, 2));
        assert!(at_hand.get(1, "another key").is_none() && ledger.held(MemoryUse::Entries) > 0);
        at_hand.forget([1]);
        assert!(at_hand.get(1, "key").is_none() && at_hand.get(2, "key").is_some());
        at_hand.keep(before, 1, "key", [response("a", 1)].into(), &ledger);
        assert!(at_hand.get(1, "key").is_none(), "the lookup began before the change");
        at_hand.forget_all();
        assert!(at_hand.get(2, "key").is_none() && ledger.held(MemoryUse::Entries) == 0);
    }

    #[test]
    fn the_least_recently_used_entries_make_room() {
        let (at_hand, ledger) = (AtHand::default(), Ledger::new(64 << 10));
        (0..1000).for_each(|hash| assert!(kept(&at_hand, &ledger, hash)));
        assert!(at_hand.get(0, "key").is_none() && at_hand.get(998, "key").is_some());
        assert!(ledger.held(MemoryUse::Entries) <= (64 << 10) / MEMORY_PART);
        let (at_hand, ledger) = (AtHand::default(), Ledger::new(1 << 30));
        (0..2 * MOST).for_each(|hash| assert!(kept(&at_hand, &ledger, hash)));
        assert!(at_hand.state.lock().responses <= MOST);
    }

    #[test]
    fn entries_in_use_stay() {
        let (at_hand, ledger) = (AtHand::default(), Ledger::new(64 << 10));
        assert!(kept(&at_hand, &ledger, 0));
        for hash in 1..1000 {
            (0..USES).for_each(|_| assert!(at_hand.get(0, "key").is_some(), "{hash}"));
            assert!(kept(&at_hand, &ledger, hash));
        }
    }
}
