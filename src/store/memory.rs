//! The default store: parsed responses in memory, within a byte budget.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::mem::size_of;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::lru::LruCache;
use parking_lot::Mutex;

use super::variants::{merged, without};
use super::{Key, Store, StoreError, StoredResponse, Usage, Variants, default_capacity};

/// Stored responses in memory; the least recently used go when room is needed.
///
/// The budget covers keys, heads, bodies and bookkeeping, counted and not guessed. A response that
/// cannot fit is not stored, and pushes nothing out. A hit parses nothing and copies no body: it
/// gives a reference to what is stored.
///
/// The budget is one for the whole store, so that a body may be larger than a shard's share of it.
/// Only the locks are sharded. What goes first is therefore the oldest of the whole store, as exact
/// as the order of its inserts: of two keys last used between the same two inserts either may go.
///
/// ```
/// use forwardcache::{MemoryStore, Store};
///
/// let store = MemoryStore::new(64 << 20).with_max_body(1 << 20);
/// assert_eq!(store.usage().capacity, 64 << 20);
/// assert_eq!(store.max_body(), 1 << 20);
/// ```
pub struct MemoryStore {
    shards: Box<[Shard]>,
    /// Chooses the shard. Random, because URLs are chosen by strangers.
    hasher: RandomState,
    capacity: u64,
    max_body: u64,
    /// Changed only under the lock of the shard whose entry changes, so it never misses one.
    bytes: AtomicU64,
    evictions: AtomicU64,
    /// The number of inserts so far: the time in which "recently" is meant.
    inserts: AtomicU64,
    /// Held while entries are evicted, so that two threads do not both make the same room.
    evicting: Mutex<()>,
}

/// In the order of use. Unbounded, because it is bytes that are bounded.
type Shard = Mutex<LruCache<Key, Entry, RandomState>>;

struct Entry {
    variants: Variants,
    size: u64,
    /// What `inserts` was when this was last used.
    used: u64,
}

const SHARDS: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
const MOST_BODY: u64 = 64 << 20;

impl MemoryStore {
    /// A store that takes this many bytes, in 16 shards. It takes bodies of up to 64 MiB or a quarter
    /// of the capacity, whichever is less.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            shards: shards(SHARDS),
            hasher: RandomState::new(),
            capacity: bytes,
            max_body: MOST_BODY.min(bytes / 4),
            bytes: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            inserts: AtomicU64::new(0),
            evicting: Mutex::new(()),
        }
    }

    /// With this many shards: how many threads can look things up at the same time. To be said before
    /// anything is stored, as what was stored is dropped.
    #[must_use]
    pub fn with_shards(self, count: NonZeroUsize) -> Self {
        Self { shards: shards(count), bytes: AtomicU64::new(0), ..self }
    }

    /// With this many bytes as the largest body that is stored.
    #[must_use]
    pub fn with_max_body(self, bytes: u64) -> Self {
        Self { max_body: bytes, ..self }
    }

    fn shard(&self, key: &str) -> &Shard {
        let hash = self.hasher.hash_one(key);
        let index = hash % self.shards.len() as u64;
        &self.shards[usize::try_from(index).expect("less than the number of shards")]
    }

    /// Puts `variants` in place of what the key has, and gives that back to be dropped without a lock.
    fn replace(
        &self,
        shard: &mut LruCache<Key, Entry, RandomState>,
        key: &Key,
        variants: Variants,
    ) -> Option<Entry> {
        if variants.is_empty() {
            let old = shard.pop(key)?;
            self.bytes.fetch_sub(old.size, Ordering::Relaxed);
            return Some(old);
        }
        let size = entry_size(key, &variants);
        let used = self.inserts.fetch_add(1, Ordering::Relaxed) + 1;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let old = shard.put(key.clone(), Entry { variants, size, used });
        if let Some(old) = &old {
            self.bytes.fetch_sub(old.size, Ordering::Relaxed);
        }
        old
    }

    fn used(&self, key: &str) -> Variants {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.get_mut(key) else { return Variants::default() };
        entry.used = self.inserts.load(Ordering::Relaxed);
        Arc::clone(&entry.variants)
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.capacity
    }

    /// Evicts until the budget is kept.
    fn make_room(&self) {
        if !self.is_over() {
            return;
        }
        let mut evicted = Vec::new();
        let evicting = self.evicting.lock();
        let oldest_of = |index: usize| self.shards[index].lock().peek_lru().map(|(_, entry)| entry.used);
        let mut oldest: BinaryHeap<Reverse<(u64, usize)>> =
            (0..self.shards.len()).filter_map(|index| Some(Reverse((oldest_of(index)?, index)))).collect();
        while self.is_over()
            && let Some(Reverse((_, index))) = oldest.pop()
        {
            let mut shard = self.shards[index].lock();
            if let Some((key, entry)) = shard.pop_lru() {
                self.bytes.fetch_sub(entry.size, Ordering::Relaxed);
                evicted.push((key, entry));
            }
            if let Some((_, next)) = shard.peek_lru() {
                oldest.push(Reverse((next.used, index)));
            }
        }
        drop(evicting);
        // Megabytes are given back here, where nobody waits for it.
        self.evictions.fetch_add(evicted.len() as u64, Ordering::Relaxed);
    }
}

/// Of the capacity that [`default_capacity`] gives.
impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(default_capacity())
    }
}

impl Store for MemoryStore {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        Ok(self.used(key.as_str()))
    }

    fn at_once(&self, key: &str) -> Option<Variants> {
        Some(self.used(key))
    }

    fn peek(&self, key: &Key) -> Result<Variants, StoreError> {
        let shard = self.shard(key.as_str()).lock();
        Ok(shard.peek(key).map(|entry| Arc::clone(&entry.variants)).unwrap_or_default())
    }

    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError> {
        let body_fits = response.body().len() as u64 <= self.max_body;
        let fit = |all: &[Arc<StoredResponse>]| body_fits && entry_size(key, all) <= self.capacity;

        let mut shard = self.shard(key.as_str()).lock();
        let stored = shard.peek(key).map(|entry| Arc::clone(&entry.variants)).unwrap_or_default();
        let merged = merged(&stored, &response, fit);
        let is_stored = merged.is_some();
        let variants = merged.unwrap_or_else(|| without(&stored, response.variant()));
        let replaced = self.replace(&mut shard, key, variants);
        drop(shard);
        drop((replaced, stored));

        // Only now: the bytes are in memory anyway, and one shard's lock is held at a time.
        self.make_room();
        Ok(is_stored)
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let mut shard = self.shard(key.as_str()).lock();
        let removed = self.replace(&mut shard, key, Variants::default());
        drop(shard);
        Ok(removed.is_some())
    }

    fn max_body(&self) -> u64 {
        self.max_body.min(self.capacity)
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.shards.iter().map(|shard| shard.lock().len() as u64).sum(),
            bytes: self.bytes.load(Ordering::Relaxed),
            capacity: self.capacity,
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("shards", &self.shards.len())
            .field("max_body", &self.max_body)
            .field("usage", &self.usage())
            .finish()
    }
}

fn shards(count: NonZeroUsize) -> Box<[Shard]> {
    (0..count.get()).map(|_| Mutex::new(LruCache::unbounded_with_hasher(RandomState::new()))).collect()
}

/// What a key with these responses takes.
fn entry_size(key: &Key, variants: &[Arc<StoredResponse>]) -> u64 {
    let responses: u64 = variants.iter().map(|response| response.size()).sum();
    KEY_BOOKKEEPING + key.as_str().len() as u64 + responses
}

/// A key's node in the list (the pair and two links), its slot in the table (two words and a byte, of
/// which up to half are empty), the counts of the shared slice, and the allocator's two words for each
/// of node, key text and slice.
const KEY_BOOKKEEPING: u64 =
    (size_of::<(Key, Entry)>() + (2 + 2 * 2 + 1 + 2 + 3 * 2) * size_of::<usize>()) as u64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;
    use crate::store::testing::{Random, body_numbers, key, response, response_of, with_seed};

    fn one_shard(capacity: u64) -> MemoryStore {
        MemoryStore::new(capacity).with_shards(NonZeroUsize::MIN).with_max_body(capacity)
    }

    /// The same promise kept in the simplest way: a list, the least recently used first.
    struct Twin {
        capacity: u64,
        entries: Vec<(Key, Vec<Arc<StoredResponse>>)>,
        evictions: u64,
    }

    impl Twin {
        fn take(&mut self, key: &Key) -> Option<Vec<Arc<StoredResponse>>> {
            let at = self.entries.iter().position(|(other, _)| other == key)?;
            Some(self.entries.remove(at).1)
        }

        fn variants(&mut self, key: &Key) -> Vec<u64> {
            let Some(variants) = self.take(key) else { return Vec::new() };
            let numbers = body_numbers(&variants);
            self.entries.push((key.clone(), variants));
            numbers
        }

        fn insert(&mut self, key: &Key, response: Arc<StoredResponse>) -> bool {
            let before = self.take(key).unwrap_or_default();
            let mut all: Vec<_> =
                before.into_iter().filter(|old| old.variant() != response.variant()).collect();
            let fits = entry_size(key, &[Arc::clone(&response)]) <= self.capacity;
            if fits {
                all.insert(0, response);
                while entry_size(key, &all) > self.capacity {
                    all.pop();
                }
            }
            if !all.is_empty() {
                self.entries.push((key.clone(), all));
            }
            while self.bytes() > self.capacity {
                self.entries.remove(0);
                self.evictions += 1;
            }
            fits
        }

        fn bytes(&self) -> u64 {
            self.entries.iter().map(|(key, all)| entry_size(key, all)).sum()
        }
    }

    #[test]
    fn it_does_what_a_naive_twin_does() {
        with_seed("it_does_what_a_naive_twin_does", |seed| {
            let mut random = Random::new(seed);
            let capacity = 3_000 + random.below(6_000);
            let store = one_shard(capacity);
            let mut twin = Twin { capacity, entries: Vec::new(), evictions: 0 };
            for number in 0..2_000 {
                let key = key(random.below(12));
                match random.below(8) {
                    0 => assert_eq!(store.remove(&key).unwrap(), twin.take(&key).is_some()),
                    1..4 => assert_eq!(body_numbers(&store.variants(&key).unwrap()), twin.variants(&key)),
                    _ => {
                        let size = if random.below(20) == 0 { capacity } else { random.below(capacity / 3) };
                        let new = response_of(&random.below(3).to_string(), number, size);
                        assert_eq!(store.insert(&key, Arc::clone(&new)).unwrap(), twin.insert(&key, new));
                    }
                }
                let usage = store.usage();
                assert_eq!((usage.keys, usage.bytes), (twin.entries.len() as u64, twin.bytes()));
                assert_eq!(usage.evictions, twin.evictions);
                assert!(usage.bytes <= capacity);
            }
        });
    }

    #[test]
    fn what_is_oldest_in_the_whole_store_goes_first_whatever_its_shard() {
        let size = entry_size(&key(0), &[response("", 10)]);
        let store = MemoryStore::new(10 * size).with_max_body(size);
        for number in 0..30 {
            assert!(store.insert(&key(number), response("", number)).unwrap());
            // Used after every insert, it is never the oldest.
            assert_eq!(store.variants(&key(0)).unwrap().len(), 1);
        }
        let left: HashSet<u64> =
            (0..30).filter(|number| !store.variants(&key(*number)).unwrap().is_empty()).collect();
        assert_eq!(left, (21..30).chain([0]).collect());
        assert_eq!(store.usage().evictions, 20);
    }

    #[test]
    fn a_look_is_no_use() {
        let size = entry_size(&key(0), &[response("", 10)]);
        let store = MemoryStore::new(3 * size).with_max_body(size);
        assert!(store.peek(&key(0)).unwrap().is_empty());
        for number in 0..4 {
            assert!(store.insert(&key(number), response("", number)).unwrap());
            assert_eq!(store.peek(&key(0)).unwrap().len(), usize::from(number < 3));
        }
        assert_eq!(body_numbers(&store.peek(&key(3)).unwrap()), [3]);
    }

    #[test]
    fn a_hit_shares_what_is_stored() {
        let store = MemoryStore::new(1 << 20);
        let new = response("", 1);
        store.insert(&key(1), Arc::clone(&new)).unwrap();
        let first = store.variants(&key(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &store.variants(&key(1)).unwrap()));
        assert!(Arc::ptr_eq(&first[0], &new));
    }

    #[test]
    fn what_is_too_large_pushes_nothing_out_but_the_one_it_replaces() {
        let store = one_shard(4_000);
        store.insert(&key(1), response("a", 1)).unwrap();
        store.insert(&key(1), response("b", 2)).unwrap();
        store.insert(&key(2), response("a", 3)).unwrap();
        assert!(!store.insert(&key(1), response_of("a", 4, 5_000)).unwrap());
        assert_eq!(body_numbers(&store.variants(&key(1)).unwrap()), [2]);
        assert!(!store.insert(&key(2), response_of("a", 5, 5_000)).unwrap());
        assert_eq!(body_numbers(&store.variants(&key(2)).unwrap()), [0; 0]);
        let usage = store.usage();
        assert_eq!((usage.keys, usage.evictions), (1, 0));
        assert_eq!(usage.bytes, entry_size(&key(1), &[response("b", 2)]));
    }

    #[test]
    fn a_body_past_its_limit_is_not_stored_though_it_would_fit() {
        let store = MemoryStore::new(1 << 20).with_max_body(100);
        assert!(store.insert(&key(1), response_of("", 1, 100)).unwrap());
        assert!(!store.insert(&key(1), response_of("", 2, 101)).unwrap());
        assert_eq!(store.usage().keys, 0);
    }

    #[test]
    fn the_largest_body_is_a_quarter_at_most_and_fits_by_default() {
        assert_eq!(MemoryStore::new(256 << 20).max_body(), 64 << 20);
        assert_eq!(MemoryStore::new(1000).max_body(), 250);
        assert_eq!(MemoryStore::new(1 << 40).max_body(), 64 << 20);
        assert_eq!(MemoryStore::new(1000).with_max_body(5000).max_body(), 1000);
        let store = MemoryStore::new(256 << 20);
        assert!(store.insert(&key(1), response_of("", 1, 64 << 20)).unwrap());
        assert_eq!(store.usage().keys, 1);
    }

    #[test]
    fn many_threads_leave_a_consistent_count() {
        with_seed("many_threads_leave_a_consistent_count", |seed| {
            let store = MemoryStore::new(20_000);
            thread::scope(|scope| {
                for thread in 0..4 {
                    let store = &store;
                    scope.spawn(move || {
                        let mut random = Random::new(seed ^ thread);
                        for number in 0..500 {
                            let key = key(random.below(40));
                            match random.below(6) {
                                0 => drop(store.remove(&key).unwrap()),
                                1..3 => drop(store.variants(&key).unwrap()),
                                _ => {
                                    let size = random.below(5_000);
                                    store.insert(&key, response_of("", number, size)).unwrap();
                                }
                            }
                        }
                    });
                }
            });
            let held: u64 = (0..40)
                .map(|number| (key(number), store.variants(&key(number)).unwrap()))
                .filter(|(_, all)| !all.is_empty())
                .map(|(key, all)| entry_size(&key, &all))
                .sum();
            assert_eq!(store.usage().bytes, held);
            assert!(held <= 20_000);
        });
    }
}
