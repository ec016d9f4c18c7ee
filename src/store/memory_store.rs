//! The default store: parsed responses in memory, within a limit in bytes.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};

use super::shard::{Entry, Place, Shard, ShardBytes, entry_size};
use super::variants::{is_outdated, merged, without};
use super::{Key, Store, StoreError, StoredResponse, Usage, Variants, default_capacity, url_of};
use crate::base::memory_limit::{Evict, Ledger};
use crate::message::purge::{Purge, Purged};
use crate::metrics::{Eviction, Observer, Watcher};

/// A store in memory. It evicts entries that were used once before entries that were used again, so that a
/// scan over many URLs does not empty it.
///
/// The limit is that of a [`Ledger`], which counts the memory of other users too. The store uses the memory
/// that they leave. It evicts entries when they need more, but keeps at least a quarter of the limit. Keys,
/// heads, bodies and bookkeeping are counted exactly.
///
/// A response that cannot fit is not stored and evicts nothing. A hit parses nothing and copies no body: it
/// returns a reference to the stored response.
///
/// The limit applies to the whole store, so a body may be larger than one shard's part of it. Only the locks
/// are sharded; eviction removes the oldest entry of the whole store.
///
/// ```
/// use forwardcache::store::{MemoryStore, Store};
///
/// let store = MemoryStore::new(64 << 20).with_max_body(1 << 20);
/// assert_eq!(store.usage().capacity, 64 << 20);
/// assert_eq!(store.max_body(), 1 << 20);
/// ```
pub struct MemoryStore {
    table: Arc<Table>,
    max_body: u64,
}

/// The entries of the store. The ledger asks the table to evict.
struct Table {
    shards: Box<[RwLock<Shard>]>,
    /// Hashes keys. It is keyed randomly, because clients choose the URLs.
    hasher: RandomState,
    held: ShardBytes,
    /// The bytes of evicted bodies that the ledger still counts until they are dropped.
    leaving: AtomicU64,
    evictions: AtomicU64,
    watcher: OnceLock<Watcher>,
    /// A logical clock that advances whenever an entry enters a queue. It orders entries by age.
    time: AtomicU64,
    /// Held during eviction, so that two threads do not both evict for the same need.
    evicting: Mutex<()>,
}

const SHARDS: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
const MAX_BODY: u64 = 64 << 20;

/// Entries that were not used again get one part in this many of the limit.
const PROBATION_PART: u64 = 10;

/// The number of used entries that an eviction may pass over. If all entries are in use, a longer search
/// would cost more than the loss of an entry.
const MAX_PASSED_OVER: u32 = 16;

/// The number of keys that a purge handles under one lock.
const PURGE_BATCH: usize = 256;

/// The store always keeps one part in this many of the limit.
const KEPT_PART: u64 = 4;

impl MemoryStore {
    /// Creates a store with this capacity in bytes and 16 shards. The largest body is 64 MiB or a quarter of
    /// the capacity, whichever is less.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self::with_ledger(Ledger::new(bytes))
    }

    /// Creates a store that uses the memory that other users of the ledger leave, and at least a quarter of
    /// its limit.
    ///
    /// A ledger asks only one store to evict: the first one. A second store evicts only for its own inserts.
    #[must_use]
    pub fn with_ledger(ledger: Arc<Ledger>) -> Self {
        let max_body = MAX_BODY.min(ledger.limit() / 4);
        Self { table: Table::new(ledger, SHARDS), max_body }
    }

    /// Sets the number of shards. Each has a lock of its own, so more shards let more threads use the store
    /// at the same time. Call this before anything is stored, because it drops all entries.
    #[must_use]
    pub fn with_shards(self, count: NonZeroUsize) -> Self {
        let ledger = Arc::clone(self.table.ledger());
        // Drop the old table first, so that the ledger registers the new one.
        drop(self.table);
        Self { table: Table::new(ledger, count), max_body: self.max_body }
    }

    /// Sets the largest body that is stored, in bytes.
    #[must_use]
    pub fn with_max_body(self, bytes: u64) -> Self {
        Self { max_body: bytes, ..self }
    }
}

impl Table {
    fn new(ledger: Arc<Ledger>, count: NonZeroUsize) -> Arc<Self> {
        let hasher = RandomState::new();
        let table = Arc::new(Self {
            shards: (0..count.get()).map(|_| RwLock::new(Shard::new(hasher.clone()))).collect(),
            hasher,
            held: ShardBytes::new(ledger),
            leaving: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            watcher: OnceLock::new(),
            time: AtomicU64::new(0),
            evicting: Mutex::new(()),
        });
        let weak: Weak<Self> = Arc::downgrade(&table);
        table.ledger().set_store(weak);
        table
    }

    fn ledger(&self) -> &Arc<Ledger> {
        self.held.ledger()
    }

    fn limit(&self) -> u64 {
        self.ledger().limit()
    }

    /// Returns the key's hash, and the shard of all keys with the same URL.
    fn place(&self, key: &str) -> (u64, &RwLock<Shard>) {
        let hash = self.hasher.hash_one(key);
        let url = url_of(key);
        let hash_of_url = if url.len() < key.len() { self.hasher.hash_one(url) } else { hash };
        // The low half of the hash selects the slot in the shard's tables, so it must differ between the keys
        // of a shard.
        let index = (hash_of_url >> 32) % self.shards.len() as u64;
        (hash, &self.shards[usize::try_from(index).expect("less than the number of shards")])
    }

    fn used(&self, key: &str) -> Variants {
        let (hash, shard) = self.place(key);
        shard.read().used(hash, key).cloned().unwrap_or_default()
    }

    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the bytes that the ledger counts, without those of evicted entries.
    fn total(&self) -> u64 {
        self.ledger().total().saturating_sub(self.leaving.load(Ordering::Relaxed))
    }

    /// Returns the limit for all entries together. `own` is the number of bytes of a new entry that the
    /// ledger counts already.
    fn target(&self, own: u64) -> u64 {
        let rest = self.total().saturating_sub(self.held.all() + own);
        self.limit().saturating_sub(rest).max(self.limit() / KEPT_PART)
    }

    fn must_evict(&self) -> bool {
        self.total() > self.limit() && self.held.all() > self.limit() / KEPT_PART
    }

    /// Evicts until the entries are within their limit. The body of an evicted entry counts as long as it is
    /// being read, so more entries may have to be evicted.
    fn evict(&self, size_of_new: u64) {
        while self.must_evict() {
            let evicted = self.evict_some(size_of_new);
            self.evictions.fetch_add(evicted.entries.len() as u64, Ordering::Relaxed);
            if evicted.entries.is_empty() {
                break;
            }
            if let Some(watcher) = self.watcher.get() {
                let keys = evicted.entries.len() as u64;
                watcher.tell(|observer| observer.evicted(&Eviction { tier: "memory", keys }));
            }
            // The evicted entries are dropped here, without a lock, because freeing megabytes takes time.
        }
    }

    /// Evicts as if no evicted body were being read. Probation is extended by `size_of_new`, the size of the
    /// entry that was just inserted. Otherwise an entry larger than probation could never be stored.
    fn evict_some(&self, size_of_new: u64) -> Evicted<'_> {
        let mut evicted = Evicted { entries: Vec::new(), leaving: Leaving { of: &self.leaving, bytes: 0 } };
        let evicting = self.evicting.lock();
        let share = (self.limit() / PROBATION_PART).saturating_add(size_of_new);
        let mut oldest: Vec<[Option<u64>; 2]> =
            self.shards.iter().map(|shard| shard.read().oldest()).collect();
        let mut chances = MAX_PASSED_OVER;
        while self.must_evict() {
            let oldest_of = |place: Place| {
                let since = |index: usize| Some((oldest[index][place as usize]?, index));
                (0..oldest.len()).filter_map(since).min().map(|(_, index)| (place, index))
            };
            let first = if self.held.on_probation() > share { Place::Probation } else { Place::Proven };
            let Some((place, index)) =
                oldest_of(first).or_else(|| oldest_of(Place::Probation)).or_else(|| oldest_of(Place::Proven))
            else {
                break;
            };
            let mut shard = self.shards[index].write();
            let out = shard.evict_or_requeue(place, chances > 0, self.now(), &self.held);
            oldest[index] = shard.oldest();
            drop(shard);
            chances = if out.is_some() { MAX_PASSED_OVER } else { chances.saturating_sub(1) };
            if let Some(entry) = out {
                evicted.leaving.add(entry.counted());
                evicted.entries.push(entry);
            }
        }
        drop(evicting);
        evicted
    }

    /// Removes the response again, if it is still stored.
    fn remove_response(&self, key: &str, response: &Arc<StoredResponse>) {
        let (hash, shard) = self.place(key);
        let text = key.into();
        let mut shard = shard.write();
        let stored = shard.peek(hash, key).cloned().unwrap_or_default();
        if !stored.iter().any(|one| Arc::ptr_eq(one, response)) {
            return;
        }
        let replaced = self.put(&mut shard, hash, text, without(&stored, response.variant()));
        drop(shard);
        drop((replaced, stored));
    }

    fn put(&self, shard: &mut Shard, hash: u64, text: Box<str>, variants: Variants) -> Option<Entry> {
        if variants.is_empty() {
            shard.remove(hash, &text, &self.held)
        } else {
            shard.put(hash, text, variants, self.now(), &self.held)
        }
    }

    /// Purges a shard in batches, so that its lock is never held for long.
    fn purge(&self, shard: &RwLock<Shard>, purge: &Purge, own_hash: Option<u64>) -> Purged {
        let hashes = shard.read().to_purge(purge, own_hash);
        let mut purged = Purged::default();
        for hashes in hashes.chunks(PURGE_BATCH) {
            let mut gone = Vec::with_capacity(hashes.len());
            let mut locked = shard.write();
            gone.extend(hashes.iter().filter_map(|hash| locked.purge(*hash, purge, &self.held)));
            drop(locked);
            purged =
                gone.iter().fold(purged, |sum, gone| sum.and(Purged::new(gone.responses as u64, gone.bytes)));
        }
        purged
    }
}

impl Evict for Table {
    fn make_room(&self) {
        self.evict(0);
    }

    fn max_evictable(&self) -> u64 {
        let leaving = self.leaving.load(Ordering::Relaxed);
        self.held.all().saturating_sub(self.limit() / KEPT_PART) + leaving
    }
}

/// Evicted entries, to be dropped without a lock, and before `leaving`.
struct Evicted<'a> {
    entries: Vec<Entry>,
    leaving: Leaving<'a>,
}

/// The bytes in `Table::leaving` that belong to one eviction.
struct Leaving<'a> {
    of: &'a AtomicU64,
    bytes: u64,
}

impl Leaving<'_> {
    fn add(&mut self, bytes: u64) {
        self.of.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Creates a store with the capacity [`default_capacity`].
impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(default_capacity())
    }
}

impl Store for MemoryStore {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        Ok(self.table.used(key.as_str()))
    }

    fn variants_nonblocking(&self, key: &str) -> Option<Variants> {
        Some(self.table.used(key))
    }

    fn peek(&self, key: &Key) -> Result<Variants, StoreError> {
        let (hash, shard) = self.table.place(key.as_str());
        Ok(shard.read().peek(hash, key.as_str()).cloned().unwrap_or_default())
    }

    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError> {
        let (table, text) = (&*self.table, key.as_str());
        let room = table.target(response.counted());
        let body_fits = response.body_length() as u64 <= self.max_body;
        let fit = |all: &[Arc<StoredResponse>]| body_fits && entry_size(text, all) <= room;
        let (hash, shard) = table.place(text);
        let own_text = text.into();

        let mut shard = shard.write();
        let stored = shard.peek(hash, text).cloned().unwrap_or_default();
        if is_outdated(&stored, &response) {
            return Ok(false);
        }
        let merged = merged(&stored, &response, fit);
        let is_stored = merged.is_some();
        let variants = merged.unwrap_or_else(|| without(&stored, response.variant()));
        let size = entry_size(text, &variants);
        let replaced = table.put(&mut shard, hash, own_text, variants);
        drop(shard);
        drop((replaced, stored));

        // Evict after the insert: the bytes are in memory anyway, and only one shard is locked at a time.
        table.evict(size);
        if is_stored && table.total() > table.limit() {
            // The entries are at their guaranteed minimum, and the other users need the rest.
            table.remove_response(text, &response);
            return Ok(false);
        }
        Ok(is_stored)
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let (hash, shard) = self.table.place(key.as_str());
        let removed = shard.write().remove(hash, key.as_str(), &self.table.held);
        Ok(removed.is_some())
    }

    /// Purges shard by shard, in batches. All keys of one URL are in the same shard.
    fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let table = &*self.table;
        Ok(Some(match purge.single_url().map(|url| table.place(url)) {
            Some((hash, shard)) => table.purge(shard, purge, Some(hash)),
            None => table
                .shards
                .iter()
                .fold(Purged::default(), |sum, shard| sum.and(table.purge(shard, purge, None))),
        }))
    }

    fn max_body(&self) -> u64 {
        self.max_body.min(self.table.limit())
    }

    fn usage(&self) -> Usage {
        let table = &*self.table;
        Usage {
            keys: table.shards.iter().map(|shard| shard.read().len() as u64).sum(),
            bytes: table.held.all(),
            capacity: table.limit(),
            evictions: table.evictions.load(Ordering::Relaxed),
        }
    }

    fn ledger(&self) -> Option<Arc<Ledger>> {
        Some(Arc::clone(self.table.ledger()))
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        // The first observer stays: another cache that shares the store does not replace it.
        let _ = self.table.watcher.set(Watcher::new(observer));
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("shards", &self.table.shards.len())
            .field("max_body", &self.max_body)
            .field("usage", &self.usage())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;
    use crate::store::shard::MOST_USES;
    use crate::store::testing::{Random, body_numbers, key, response, response_of, with_seed};

    fn one_shard(capacity: u64) -> MemoryStore {
        MemoryStore::new(capacity).with_shards(NonZeroUsize::MIN).with_max_body(capacity)
    }

    /// A simple reference model: two lists, the oldest entry first.
    #[derive(Default)]
    struct Model {
        capacity: u64,
        probation: Vec<ModelEntry>,
        proven: Vec<ModelEntry>,
        departed: Vec<Key>,
        evictions: u64,
    }

    struct ModelEntry {
        key: Key,
        all: Vec<Arc<StoredResponse>>,
        uses: u8,
    }

    impl ModelEntry {
        fn size(&self) -> u64 {
            entry_size(self.key.as_str(), &self.all)
        }
    }

    fn bytes_of(entries: &[ModelEntry]) -> u64 {
        entries.iter().map(ModelEntry::size).sum()
    }

    impl Model {
        fn list_with(&mut self, key: &Key) -> Option<(&mut Vec<ModelEntry>, usize)> {
            [&mut self.probation, &mut self.proven].into_iter().find_map(|list| {
                let at = list.iter().position(|entry| entry.key == *key)?;
                Some((list, at))
            })
        }

        fn remove(&mut self, key: &Key) -> bool {
            self.list_with(key).map(|(list, at)| list.remove(at)).is_some()
        }

        fn variants(&mut self, key: &Key) -> Vec<u64> {
            let Some((list, at)) = self.list_with(key) else { return Vec::new() };
            list[at].uses = MOST_USES.min(list[at].uses + 1);
            body_numbers(&list[at].all)
        }

        fn insert(&mut self, key: &Key, response: Arc<StoredResponse>) -> bool {
            let room = self.capacity;
            let is_remembered = self.departed.contains(key);
            let new = || ModelEntry { key: key.clone(), all: Vec::new(), uses: 0 };
            let (list, mut entry) = match self.list_with(key) {
                Some((list, at)) => {
                    let old = list.remove(at);
                    (list, ModelEntry { uses: MOST_USES.min(old.uses + 1), ..old })
                }
                None if is_remembered => (&mut self.proven, new()),
                None => (&mut self.probation, new()),
            };
            entry.all.retain(|old| old.variant() != response.variant());
            let fits = entry_size(key.as_str(), &[Arc::clone(&response)]) <= room;
            if fits {
                entry.all.insert(0, response);
                while entry.size() > room {
                    entry.all.pop();
                }
            }
            let size = entry.size();
            if !entry.all.is_empty() {
                list.push(entry);
            }
            self.make_room(size);
            fits
        }

        fn make_room(&mut self, size_of_new: u64) {
            let mut chances = MAX_PASSED_OVER;
            while self.bytes() > self.capacity {
                let is_full = bytes_of(&self.probation) > self.capacity / 10 + size_of_new;
                let from_probation = is_full || self.proven.is_empty();
                let list = if from_probation { &mut self.probation } else { &mut self.proven };
                let mut oldest = list.remove(0);
                if oldest.uses > 0 && chances > 0 {
                    oldest.uses = if from_probation { 0 } else { oldest.uses - 1 };
                    self.proven.push(oldest);
                    chances -= 1;
                    continue;
                }
                if from_probation {
                    if !self.departed.contains(&oldest.key) {
                        self.departed.push(oldest.key);
                    }
                    let most = self.probation.len() + self.proven.len();
                    self.departed.drain(..self.departed.len().saturating_sub(most));
                }
                self.evictions += 1;
                chances = MAX_PASSED_OVER;
            }
        }

        fn bytes(&self) -> u64 {
            bytes_of(&self.probation) + bytes_of(&self.proven)
        }
    }

    #[test]
    fn store_agrees_with_the_reference_model() {
        with_seed("store_agrees_with_the_reference_model", |seed| {
            let mut random = Random::new(seed);
            let capacity = 3_000 + random.below(20_000);
            let store = one_shard(capacity);
            let mut model = Model { capacity, ..Model::default() };
            for number in 0..2_000 {
                let key = key(random.below(20));
                match random.below(10) {
                    0 => assert_eq!(store.remove(&key).unwrap(), model.remove(&key)),
                    1..4 => assert_eq!(body_numbers(&store.variants(&key).unwrap()), model.variants(&key)),
                    _ => {
                        let size = if random.below(20) == 0 { capacity } else { random.below(capacity / 3) };
                        let new = response_of(&random.below(3).to_string(), number, size);
                        assert_eq!(store.insert(&key, Arc::clone(&new)).unwrap(), model.insert(&key, new));
                    }
                }
                let usage = store.usage();
                let keys = (model.probation.len() + model.proven.len()) as u64;
                assert_eq!((usage.keys, usage.bytes), (keys, model.bytes()));
                assert_eq!(usage.evictions, model.evictions);
                assert!(usage.bytes <= capacity);
            }
        });
    }

    #[test]
    fn oldest_entry_of_all_shards_is_evicted_first() {
        let size = entry_size(key(0).as_str(), &[response("", 10)]);
        let store = MemoryStore::new(10 * size).with_max_body(size);
        for number in 0..30 {
            assert!(store.insert(&key(number), response("", number)).unwrap());
            // Key 0 is used after every insert, so it is never the oldest.
            assert_eq!(store.variants(&key(0)).unwrap().len(), 1);
        }
        let left: HashSet<u64> =
            (0..30).filter(|number| !store.variants(&key(*number)).unwrap().is_empty()).collect();
        assert_eq!(left, (21..30).chain([0]).collect());
        assert_eq!(store.usage().evictions, 20);
    }

    #[test]
    fn entries_used_once_do_not_evict_reused_ones() {
        let size = entry_size(key(0).as_str(), &[response("", 10)]);
        let store = MemoryStore::new(20 * size).with_max_body(size);
        for number in 0..10 {
            assert!(store.insert(&key(number), response("", number)).unwrap());
            store.variants(&key(number)).unwrap();
        }
        for number in 100..900 {
            assert!(store.insert(&key(number), response("", number)).unwrap());
        }
        for number in 0..10 {
            assert_eq!(body_numbers(&store.peek(&key(number)).unwrap()), [number]);
        }
    }

    #[test]
    fn cycle_that_fits_hits_in_a_store_full_of_old_entries() {
        let size = entry_size(key(0).as_str(), &[response("", 10)]);
        let store = one_shard(20 * size);
        for number in (100..120).chain(100..120) {
            if store.variants(&key(number)).unwrap().is_empty() {
                store.insert(&key(number), response("", number)).unwrap();
            }
        }
        let mut hits = 0;
        for number in (0..10).cycle().take(100) {
            if store.variants(&key(number)).unwrap().is_empty() {
                store.insert(&key(number), response("", number)).unwrap();
            } else {
                hits += 1;
            }
        }
        assert!(hits >= 50, "{hits}");
    }

    #[test]
    fn new_entry_larger_than_probation_is_kept() {
        let store = MemoryStore::new(100_000);
        for number in 0..30 {
            store.insert(&key(number), response_of("", number, 3_000)).unwrap();
            store.variants(&key(number)).unwrap();
        }
        assert!(store.insert(&key(99), response_of("", 99, 25_000)).unwrap());
        assert_eq!(body_numbers(&store.peek(&key(99)).unwrap()), [99]);
    }

    #[test]
    fn an_entry_is_evicted_even_if_all_are_in_use() {
        let store = MemoryStore::new(1_000_000);
        for number in 0..900 {
            store.insert(&key(number), response_of("", number, 2_000)).unwrap();
            for earlier in 0..=number {
                store.variants(&key(earlier)).unwrap();
            }
            assert!(store.usage().bytes <= 1_000_000);
            assert_eq!(body_numbers(&store.peek(&key(number)).unwrap()), [number]);
        }
    }

    #[test]
    fn peek_does_not_count_as_a_use() {
        let size = entry_size(key(0).as_str(), &[response("", 10)]);
        let store = MemoryStore::new(3 * size).with_max_body(size);
        assert!(store.peek(&key(0)).unwrap().is_empty());
        for number in 0..4 {
            assert!(store.insert(&key(number), response("", number)).unwrap());
            assert_eq!(store.peek(&key(0)).unwrap().len(), usize::from(number < 3));
        }
        assert_eq!(body_numbers(&store.peek(&key(3)).unwrap()), [3]);
    }

    #[test]
    fn hit_shares_the_stored_response() {
        let store = MemoryStore::new(1 << 20);
        let new = response("", 1);
        store.insert(&key(1), Arc::clone(&new)).unwrap();
        let first = store.variants(&key(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &store.variants(&key(1)).unwrap()));
        assert!(Arc::ptr_eq(&first[0], &new));
    }

    #[test]
    fn too_large_response_evicts_only_the_replaced_variant() {
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
        assert_eq!(usage.bytes, entry_size(key(1).as_str(), &[response("b", 2)]));
    }

    #[test]
    fn body_over_max_body_is_not_stored() {
        let store = MemoryStore::new(1 << 20).with_max_body(100);
        assert!(store.insert(&key(1), response_of("", 1, 100)).unwrap());
        assert!(!store.insert(&key(1), response_of("", 2, 101)).unwrap());
        assert_eq!(store.usage().keys, 0);
    }

    #[test]
    fn default_max_body_is_at_most_a_quarter() {
        assert_eq!(MemoryStore::new(256 << 20).max_body(), 64 << 20);
        assert_eq!(MemoryStore::new(1000).max_body(), 250);
        assert_eq!(MemoryStore::new(1 << 40).max_body(), 64 << 20);
        assert_eq!(MemoryStore::new(1000).with_max_body(5000).max_body(), 1000);
        let store = MemoryStore::new(256 << 20);
        assert!(store.insert(&key(1), response_of("", 1, 64 << 20)).unwrap());
        assert_eq!(store.usage().keys, 1);
    }

    #[test]
    fn concurrent_use_keeps_usage_consistent() {
        with_seed("concurrent_use_keeps_usage_consistent", |seed| {
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
                .map(|(key, all)| entry_size(key.as_str(), &all))
                .sum();
            assert_eq!(store.usage().bytes, held);
            assert!(held <= 20_000);
        });
    }
}
