//! One shard of a [`MemoryStore`](super::MemoryStore), and its eviction order.
//!
//! The order is that of S3-FIFO (Yang and others, SOSP 2023):
//!
//! ```text
//!               new                    used since
//!    insert ─────────────▶ probation ──────────────────▶ proven ◀──┐ used since
//!      │                       │                           │ └─────┘
//!      │ evicted recently      └── not used: evicted, and  └── not used: evicted
//!      └───────▶ proven            remembered for a while
//! ```
//!
//! An entry that is used once passes through probation, a tenth of the store, and evicts nothing that is used
//! again. An entry that returns soon after its eviction becomes proven at once. Without that memory, a cycle
//! of requests longer than probation would never hit. A use moves no entry; it only increments a counter.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::iter;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use ::lru::LruCache;

use super::allocated::allocated;
use super::{StoredResponse, Variants, url_of};
use crate::base::memory_limit::{Ledger, MemoryUse};
use crate::message::purge::Purge;

/// The queue of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Probation,
    Proven,
}

/// The responses stored under one key.
pub(super) struct Entry {
    text: Box<str>,
    pub(super) variants: Variants,
    /// The logical time when the entry entered its queue.
    since: u64,
    /// The number of uses since then, up to [`MOST_USES`]. Two concurrent increments may count as one, which
    /// does no harm.
    uses: AtomicU8,
}

impl Entry {
    fn size(&self) -> Size {
        Size { all: entry_size(&self.text, &self.variants), counted: self.counted() }
    }

    /// Returns the bytes of this entry that the ledger counts separately.
    pub(super) fn counted(&self) -> u64 {
        self.variants.iter().map(|response| response.counted()).sum()
    }

    fn is_to_be_purged(&self, purge: &Purge) -> bool {
        #[cfg(test)]
        LOOKS.set(LOOKS.get() + 1);
        let url = url_of(&self.text);
        purge.may_be_about(url) && self.variants.iter().any(|response| purge.changes(url, response))
    }
}

#[cfg(test)]
std::thread_local! {
    /// The number of entries that this thread has matched against a purge.
    pub(super) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The size of an entry in bytes, and the part of it in bodies that the ledger counts separately.
#[derive(Clone, Copy)]
struct Size {
    all: u64,
    counted: u64,
}

/// The purged responses of a key, to be dropped without a lock.
pub(super) struct PurgedVariants {
    /// All responses before the purge, kept only until they are dropped.
    _before: Variants,
    pub(super) responses: usize,
    pub(super) bytes: u64,
}

/// The limit of the use counter. Higher counts do not predict the next use better.
pub(super) const MOST_USES: u8 = 3;

/// Entries by the keyed hash of their key. Two keys with the same hash are practically impossible, by chance
/// or by attack. If there were two, the later entry would replace the earlier one and never be returned for
/// its key.
pub(super) struct Shard {
    probation: Queue,
    proven: Queue,
    departed: GhostQueue,
    /// The keys with a partition, as pairs of the hash of the URL and the hash of the key. All keys of a URL
    /// are in one shard.
    partitions: BTreeSet<(u64, u64)>,
    /// The hasher of the store.
    hasher: RandomState,
}

/// Entries in the order of insertion; `LruCache` calls the oldest one the least recently used. The number of
/// entries is not limited, because their bytes are.
type Queue = LruCache<u64, Entry, BuildHasherDefault<IsHash>>;

/// The size of all shards in bytes. It changes only under the lock of the shard whose entry changes, so it
/// misses none. Bytes that the ledger does not count separately are added to the ledger here, and removed
/// again when this is dropped.
pub(super) struct ShardBytes {
    ledger: Arc<Ledger>,
    all: AtomicU64,
    on_probation: AtomicU64,
    entered: AtomicU64,
}

impl ShardBytes {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, all: AtomicU64::new(0), on_probation: AtomicU64::new(0), entered: AtomicU64::new(0) }
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub(super) fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    pub(super) fn on_probation(&self) -> u64 {
        self.on_probation.load(Ordering::Relaxed)
    }

    fn add(&self, place: Place, Size { all, counted }: Size) {
        self.all.fetch_add(all, Ordering::Relaxed);
        if place == Place::Probation {
            self.on_probation.fetch_add(all, Ordering::Relaxed);
        }
        self.entered.fetch_add(all - counted, Ordering::Relaxed);
        self.ledger.add(MemoryUse::Entries, all - counted);
    }

    fn subtract(&self, place: Place, Size { all, counted }: Size) {
        self.all.fetch_sub(all, Ordering::Relaxed);
        if place == Place::Probation {
            self.on_probation.fetch_sub(all, Ordering::Relaxed);
        }
        self.entered.fetch_sub(all - counted, Ordering::Relaxed);
        self.ledger.subtract(MemoryUse::Entries, all - counted);
    }
}

impl Drop for ShardBytes {
    fn drop(&mut self) {
        self.ledger.subtract(MemoryUse::Entries, *self.entered.get_mut());
    }
}

impl Shard {
    /// Creates an empty shard. `hasher` is the hasher of the store.
    pub(super) fn new(hasher: RandomState) -> Self {
        let queue = || LruCache::unbounded_with_hasher(BuildHasherDefault::default());
        let (departed, partitions) = (GhostQueue::default(), BTreeSet::new());
        Self { probation: queue(), proven: queue(), departed, partitions, hasher }
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.probation.len() + self.proven.len()
    }

    fn queue(&mut self, place: Place) -> &mut Queue {
        match place {
            Place::Probation => &mut self.probation,
            Place::Proven => &mut self.proven,
        }
    }

    fn of_hash(&self, hash: u64) -> Option<&Entry> {
        self.proven.peek(&hash).or_else(|| self.probation.peek(&hash))
    }

    fn entry(&self, hash: u64, key: &str) -> Option<&Entry> {
        self.of_hash(hash).filter(|entry| *entry.text == *key)
    }

    /// Returns the pair for a key with a partition, by which it can be found from its URL.
    fn partition(&self, hash: u64, key: &str) -> Option<(u64, u64)> {
        let url = url_of(key);
        (url.len() < key.len()).then(|| (self.hasher.hash_one(url), hash))
    }

    fn forget_partition(&mut self, hash: u64, key: &str) {
        if let Some(partition) = self.partition(hash, key) {
            self.partitions.remove(&partition);
        }
    }

    /// Returns the responses of the key without counting a use.
    pub(super) fn peek(&self, hash: u64, key: &str) -> Option<&Variants> {
        self.entry(hash, key).map(|entry| &entry.variants)
    }

    /// Returns the responses of the key and counts a use.
    pub(super) fn used(&self, hash: u64, key: &str) -> Option<&Variants> {
        let entry = self.entry(hash, key)?;
        let uses = entry.uses.load(Ordering::Relaxed);
        // Do not write to an entry that is used all the time, because threads would contend for its cache
        // line.
        if uses < MOST_USES {
            entry.uses.store(uses + 1, Ordering::Relaxed);
        }
        Some(&entry.variants)
    }

    /// Replaces the responses of the key and makes its entry the newest of its queue. Returns the old entry,
    /// to be dropped without a lock.
    pub(super) fn put(
        &mut self,
        hash: u64,
        text: Box<str>,
        variants: Variants,
        now: u64,
        held: &ShardBytes,
    ) -> Option<Entry> {
        let known = [Place::Proven, Place::Probation]
            .into_iter()
            .find_map(|place| Some((place, *self.queue(place).peek_mut(&hash)?.uses.get_mut())));
        let (place, uses) = match known {
            // A new insert counts as a use.
            Some((place, uses)) => (place, (uses + 1).min(MOST_USES)),
            None if self.departed.is_remembered(hash) => (Place::Proven, 0),
            None => (Place::Probation, 0),
        };
        let new = Entry { text, variants, since: now, uses: uses.into() };
        held.add(place, new.size());
        let partition = self.partition(hash, &new.text);
        let old = self.queue(place).put(hash, new);
        if let Some(old) = &old {
            held.subtract(place, old.size());
            self.forget_partition(hash, &old.text);
        }
        self.partitions.extend(partition);
        old
    }

    /// Removes and returns the entry of the key.
    pub(super) fn remove(&mut self, hash: u64, key: &str, held: &ShardBytes) -> Option<Entry> {
        self.peek(hash, key)?;
        [Place::Proven, Place::Probation].into_iter().find_map(|place| {
            let old = self.queue(place).pop(&hash)?;
            held.subtract(place, old.size());
            self.forget_partition(hash, &old.text);
            Some(old)
        })
    }

    /// Returns the hashes of the keys that the purge changes. For a single URL, `own_hash` is its hash.
    pub(super) fn to_purge(&self, purge: &Purge, own_hash: Option<u64>) -> Vec<u64> {
        if let Some(own) = own_hash {
            let partitions = self.partitions.range((own, 0)..=(own, u64::MAX)).map(|(_, hash)| *hash);
            let is_found = |hash: &u64| self.of_hash(*hash).is_some_and(|entry| entry.is_to_be_purged(purge));
            return iter::once(own).chain(partitions).filter(is_found).collect();
        }
        let entries = self.probation.iter().chain(self.proven.iter());
        entries.filter(|(_, entry)| entry.is_to_be_purged(purge)).map(|(hash, _)| *hash).collect()
    }

    /// Purges the responses of this key. The remaining ones stay where they are.
    pub(super) fn purge(&mut self, hash: u64, purge: &Purge, held: &ShardBytes) -> Option<PurgedVariants> {
        [Place::Proven, Place::Probation].into_iter().find_map(|place| {
            let entry = self.queue(place).peek_mut(&hash)?;
            let (stay, responses) = purge.apply(url_of(&entry.text), &entry.variants)?;
            let size = entry.size();
            let is_empty = stay.is_empty();
            let before = std::mem::replace(&mut entry.variants, stay);
            let mut gone = size;
            if !is_empty {
                let left = entry.size();
                gone = Size {
                    all: size.all.saturating_sub(left.all),
                    counted: size.counted.saturating_sub(left.counted),
                };
            } else if let Some(empty) = self.queue(place).pop(&hash) {
                self.forget_partition(hash, &empty.text);
            }
            held.subtract(place, gone);
            Some(PurgedVariants { _before: before, responses, bytes: gone.all })
        })
    }

    /// Returns the logical time of the oldest entry of each queue.
    pub(super) fn oldest(&self) -> [Option<u64>; 2] {
        [&self.probation, &self.proven].map(|queue| Some(queue.peek_lru()?.1.since))
    }

    /// Removes the oldest entry of a queue and returns it. If it was used and `has_chance` is set, moves it
    /// to the proven queue instead and returns `None`.
    pub(super) fn evict_or_requeue(
        &mut self,
        place: Place,
        has_chance: bool,
        now: u64,
        held: &ShardBytes,
    ) -> Option<Entry> {
        let (hash, mut oldest) = self.queue(place).pop_lru()?;
        let size = oldest.size();
        held.subtract(place, size);
        let uses = oldest.uses.get_mut();
        if *uses > 0 && has_chance {
            // Leaving probation resets the counter; leaving the proven queue decrements it.
            *uses = if place == Place::Probation { 0 } else { *uses - 1 };
            oldest.since = now;
            held.add(Place::Proven, size);
            self.proven.put(hash, oldest);
            return None;
        }
        if place == Place::Probation {
            let most = self.len();
            self.departed.remember(hash, most);
        }
        self.forget_partition(hash, &oldest.text);
        Some(oldest)
    }
}

/// The hashes of the keys that recently left probation without a use.
#[derive(Default)]
struct GhostQueue {
    order: VecDeque<u64>,
    hashes: HashSet<u64, BuildHasherDefault<IsHash>>,
}

impl GhostQueue {
    fn is_remembered(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    /// Remembers a key, and forgets the oldest ones so that at most `most` remain.
    fn remember(&mut self, hash: u64, most: usize) {
        if self.hashes.insert(hash) {
            self.order.push_back(hash);
        }
        while self.order.len() > most
            && let Some(first) = self.order.pop_front()
        {
            self.hashes.remove(&first);
        }
    }
}

/// A hasher for values that are hashes already. The high half selects the shard, the low half the slot.
#[derive(Default)]
struct IsHash(u64);

impl Hasher for IsHash {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Returns the size of an entry in bytes.
///
/// It consists of the node in a queue, the key's text, the responses and their list. Two slots are counted,
/// because tables do not shrink and the entry may have left one in the other queue. One remembered key is
/// counted, because at most as many keys are remembered as entries exist. A key with a partition also has a
/// node in a tree.
pub(super) fn entry_size(key: &str, variants: &[Arc<StoredResponse>]) -> u64 {
    const LINKS: usize = 2 * size_of::<usize>();
    const NODE: usize = allocated(size_of::<(u64, Entry)>() + LINKS);
    /// Two words and a byte; an eighth to a half of the slots are empty.
    const SLOT: usize = (2 * size_of::<usize>() + 1) * 3 / 2;
    const REMEMBERED: usize = (2 * size_of::<u64>() + 1) * 3 / 2;
    const COUNTS: usize = 2 * size_of::<usize>();
    /// Up to half of the leaf may be empty; includes a share of the inner nodes.
    const PARTITION: usize = 3 * size_of::<(u64, u64)>();
    let partition = if url_of(key).len() < key.len() { PARTITION } else { 0 };
    let set = allocated(COUNTS + size_of_val(variants));
    let own = NODE + 2 * SLOT + REMEMBERED + allocated(key.len()) + partition + set;
    own as u64 + variants.iter().map(|response| response.size()).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;
    use crate::store::testing::response;

    fn new() -> (Shard, ShardBytes) {
        (Shard::new(RandomState::new()), ShardBytes::new(Ledger::new(u64::MAX)))
    }

    fn put(shard: &mut Shard, hash: u64, key: &str, held: &ShardBytes) -> Option<Entry> {
        shard.put(hash, key.into(), [response("", 1)].into(), 0, held)
    }

    #[test]
    fn keys_with_the_same_hash_are_not_confused() {
        let (mut shard, held) = new();
        assert!(put(&mut shard, 7, "one", &held).is_none());
        assert!(shard.used(7, "other").is_none());
        assert!(shard.remove(7, "other", &held).is_none());
        assert!(put(&mut shard, 7, "other", &held).is_some());
        assert!(shard.peek(7, "one").is_none());
        assert!(shard.peek(7, "other").is_some());
        let size = entry_size("other", &[response("", 1)]);
        assert_eq!((shard.len(), held.all(), held.ledger.total()), (1, size, size));
        let ledger = Arc::clone(held.ledger());
        drop(held);
        assert_eq!(ledger.total(), 0);
    }

    #[test]
    fn all_keys_of_a_url_are_found_without_visiting_others() {
        let (mut shard, held) = new();
        let (url, other) = (Key::new("http://h/"), Key::new("http://h/2"));
        let of = |number: u128| Key::partitioned(url.url(), number);
        let hasher = shard.hasher.clone();
        let hash_of = |key: &Key| hasher.hash_one(key.as_str());
        for key in [url.clone(), of(7), of(8), of(7), other.clone()] {
            put(&mut shard, hash_of(&key), key.as_str(), &held);
        }
        assert_eq!(shard.partitions.len(), 2);
        let purge = Purge::url(url.url()).unwrap();
        let found = |shard: &Shard, url: &Key| {
            LOOKS.set(0);
            let found = shard.to_purge(&Purge::of_key(url.url()), Some(hash_of(url)));
            (found.len(), LOOKS.get())
        };
        assert_eq!(found(&shard, &url), (3, 3));
        assert_eq!(found(&shard, &other), (1, 1));
        assert!(shard.remove(hash_of(&of(7)), of(7).as_str(), &held).is_some());
        assert!(shard.purge(hash_of(&of(8)), &purge, &held).is_some());
        assert!(shard.partitions.is_empty());
        assert_eq!(found(&shard, &url), (1, 1));
        put(&mut shard, hash_of(&of(7)), of(7).as_str(), &held);
        while shard.len() > 0 {
            shard.evict_or_requeue(Place::Probation, false, 0, &held);
        }
        assert_eq!((shard.partitions.len(), held.all(), held.ledger.total()), (0, 0, 0));
    }

    #[test]
    fn number_of_remembered_keys_is_bounded() {
        let mut departed = GhostQueue::default();
        for hash in [1, 2, 1, 3, 4] {
            departed.remember(hash, 3);
        }
        let remembered: Vec<u64> = (0..6).filter(|hash| departed.is_remembered(*hash)).collect();
        assert_eq!(remembered, [2, 3, 4]);
        departed.remember(5, 1);
        assert_eq!((departed.order.len(), departed.hashes.len()), (1, 1));
    }
}
