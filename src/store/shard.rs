//! A share of what a [`MemoryStore`](super::MemoryStore) holds, and the order in which it goes.
//!
//! The order is that of S3-FIFO (Yang and others, SOSP 2023):
//!
//! ```text
//!             new                        used since
//! insert ─────────────▶ on probation ──────────────────▶ proven ◀──┐ used since
//!    │                        │                            │ └─────┘
//!    │ left lately            └── not used: evicted, and   └── not used: evicted
//!    └───────▶ proven             remembered for a while
//! ```
//!
//! What is asked for once passes through probation, a tenth of the store, and pushes out nothing that is
//! asked for again. Who comes back soon after it left belongs to the proven at once: without that memory,
//! a round of requests that is longer than probation would never hit. A use moves nothing, it is counted.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use ::lru::LruCache;

use super::allocated::allocated;
use super::{StoredResponse, Variants, url_of};
use crate::purge::Purge;

/// Which of the two queues an entry waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Probation,
    Proven,
}

/// What is stored under one key.
pub(super) struct Entry {
    text: Box<str>,
    pub(super) variants: Variants,
    /// When it was put where it is.
    since: u64,
    /// How often it was used since then, up to [`MOST_USES`]. One use less than there were, when two
    /// threads count theirs at the same time, does no harm.
    uses: AtomicU8,
}

impl Entry {
    fn size(&self) -> u64 {
        entry_size(&self.text, &self.variants)
    }

    /// As a number: 0 or 1.
    fn partitioned(&self) -> usize {
        usize::from(url_of(&self.text).len() < self.text.len())
    }

    fn is_to_be_purged(&self, purge: &Purge) -> bool {
        purge.covers(url_of(&self.text)) && self.variants.iter().any(|response| purge.is_about(response))
    }
}

/// What was purged of a key, to be dropped without a lock.
pub(super) struct Gone {
    /// What was stored, with what stays. It is here to be dropped.
    _before: Variants,
    pub(super) responses: usize,
    pub(super) bytes: u64,
}

/// More uses than this say nothing about the next one.
pub(super) const MOST_USES: u8 = 3;

/// Found by the keyed hash of their text. No two texts with one hash are ever met by chance or found by
/// a stranger; were there any, the later would take the place of the earlier, and never answer for it.
pub(super) struct Shard {
    probation: Queue,
    proven: Queue,
    departed: Departed,
    /// How many keys are of somebody's partition. Where there are none, a URL has one key.
    partitioned: usize,
}

/// In the order in which they came; the oldest is what this type calls the least recently used.
/// Unbounded, because it is bytes that are bounded.
type Queue = LruCache<u64, Entry, BuildHasherDefault<IsHash>>;

/// How many bytes all shards hold. Changed only under the lock of the shard whose entry changes, so they
/// never miss one.
#[derive(Default)]
pub(super) struct Held {
    all: AtomicU64,
    on_probation: AtomicU64,
}

impl Held {
    pub(super) fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    pub(super) fn on_probation(&self) -> u64 {
        self.on_probation.load(Ordering::Relaxed)
    }

    fn add(&self, place: Place, size: u64) {
        self.all.fetch_add(size, Ordering::Relaxed);
        if place == Place::Probation {
            self.on_probation.fetch_add(size, Ordering::Relaxed);
        }
    }

    fn subtract(&self, place: Place, size: u64) {
        self.all.fetch_sub(size, Ordering::Relaxed);
        if place == Place::Probation {
            self.on_probation.fetch_sub(size, Ordering::Relaxed);
        }
    }
}

impl Shard {
    pub(super) fn new() -> Self {
        let queue = || LruCache::unbounded_with_hasher(BuildHasherDefault::default());
        Self { probation: queue(), proven: queue(), departed: Departed::default(), partitioned: 0 }
    }

    /// How many keys it holds.
    pub(super) fn len(&self) -> usize {
        self.probation.len() + self.proven.len()
    }

    fn queue(&mut self, place: Place) -> &mut Queue {
        match place {
            Place::Probation => &mut self.probation,
            Place::Proven => &mut self.proven,
        }
    }

    fn entry(&self, hash: u64, key: &str) -> Option<&Entry> {
        let entry = self.proven.peek(&hash).or_else(|| self.probation.peek(&hash))?;
        (*entry.text == *key).then_some(entry)
    }

    /// What is stored under the key. It is no use of it.
    pub(super) fn peek(&self, hash: u64, key: &str) -> Option<&Variants> {
        self.entry(hash, key).map(|entry| &entry.variants)
    }

    /// What is stored under the key, which is used now.
    pub(super) fn used(&self, hash: u64, key: &str) -> Option<&Variants> {
        let entry = self.entry(hash, key)?;
        let uses = entry.uses.load(Ordering::Relaxed);
        // What is used all the time is not written to: threads would take turns for it.
        if uses < MOST_USES {
            entry.uses.store(uses + 1, Ordering::Relaxed);
        }
        Some(&entry.variants)
    }

    /// Puts the responses in place of what the key has, and gives that back to be dropped without a lock.
    /// The key is the newest of its queue then.
    pub(super) fn put(
        &mut self,
        hash: u64,
        text: Box<str>,
        variants: Variants,
        now: u64,
        held: &Held,
    ) -> Option<Entry> {
        let known = [Place::Proven, Place::Probation]
            .into_iter()
            .find_map(|place| Some((place, *self.queue(place).peek_mut(&hash)?.uses.get_mut())));
        let (place, uses) = match known {
            // One that is stored anew is in use.
            Some((place, uses)) => (place, (uses + 1).min(MOST_USES)),
            None if self.departed.is_remembered(hash) => (Place::Proven, 0),
            None => (Place::Probation, 0),
        };
        let new = Entry { text, variants, since: now, uses: uses.into() };
        held.add(place, new.size());
        self.partitioned += new.partitioned();
        let old = self.queue(place).put(hash, new);
        if let Some(old) = &old {
            held.subtract(place, old.size());
            self.partitioned -= old.partitioned();
        }
        old
    }

    /// Takes out what the key has.
    pub(super) fn remove(&mut self, hash: u64, key: &str, held: &Held) -> Option<Entry> {
        self.peek(hash, key)?;
        [Place::Proven, Place::Probation].into_iter().find_map(|place| {
            let old = self.queue(place).pop(&hash)?;
            held.subtract(place, old.size());
            self.partitioned -= old.partitioned();
            Some(old)
        })
    }

    /// The hashes of the keys of which something is to be purged. A single URL comes with its own hash.
    pub(super) fn to_purge(&self, purge: &Purge, own_hash: Option<u64>) -> Vec<u64> {
        if let Some(hash) = own_hash.filter(|_| self.partitioned == 0) {
            let entries = [&self.probation, &self.proven].map(|queue| queue.peek(&hash));
            return entries
                .iter()
                .flatten()
                .filter(|entry| entry.is_to_be_purged(purge))
                .map(|_| hash)
                .collect();
        }
        let entries = self.probation.iter().chain(self.proven.iter());
        entries.filter(|(_, entry)| entry.is_to_be_purged(purge)).map(|(hash, _)| *hash).collect()
    }

    /// Takes out what of this key is to be purged. What stays of the key stays where it is.
    pub(super) fn purge(&mut self, hash: u64, purge: &Purge, held: &Held) -> Option<Gone> {
        [Place::Proven, Place::Probation].into_iter().find_map(|place| {
            let entry = self.queue(place).peek_mut(&hash)?;
            if !purge.covers(url_of(&entry.text)) {
                return None;
            }
            let stay = purge.those_that_stay(&entry.variants)?;
            let size = entry.size();
            let responses = entry.variants.len() - stay.len();
            let is_empty = stay.is_empty();
            let before = std::mem::replace(&mut entry.variants, stay);
            let bytes = if is_empty { size } else { size - entry.size() };
            if is_empty && let Some(empty) = self.queue(place).pop(&hash) {
                self.partitioned -= empty.partitioned();
            }
            held.subtract(place, bytes);
            Some(Gone { _before: before, responses, bytes })
        })
    }

    /// Since when the oldest of each queue has been there.
    pub(super) fn oldest(&self) -> [Option<u64>; 2] {
        [&self.probation, &self.proven].map(|queue| Some(queue.peek_lru()?.1.since))
    }

    /// Takes out the oldest of a queue, or lets it stay among the proven because it was used, where it
    /// may have that chance.
    pub(super) fn pass_over_or_evict(
        &mut self,
        place: Place,
        has_chance: bool,
        now: u64,
        held: &Held,
    ) -> Option<Entry> {
        let (hash, mut oldest) = self.queue(place).pop_lru()?;
        held.subtract(place, oldest.size());
        let uses = oldest.uses.get_mut();
        if *uses > 0 && has_chance {
            // On the way out of probation the uses are spent at once, later one at a time.
            *uses = if place == Place::Probation { 0 } else { *uses - 1 };
            oldest.since = now;
            held.add(Place::Proven, oldest.size());
            self.proven.put(hash, oldest);
            return None;
        }
        if place == Place::Probation {
            let most = self.len();
            self.departed.remember(hash, most);
        }
        self.partitioned -= oldest.partitioned();
        Some(oldest)
    }
}

/// Which keys left probation lately without having been used: their hashes.
#[derive(Default)]
struct Departed {
    order: VecDeque<u64>,
    hashes: HashSet<u64, BuildHasherDefault<IsHash>>,
}

impl Departed {
    fn is_remembered(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    /// Remembers one more, and no more than `most` of them.
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

/// The hash of what is a hash already. Its high half chooses the shard, its low half the slot.
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

/// What a key with these responses takes: its node in a queue, its text, its responses and their set; its
/// slots in the tables, one of a queue that it may have left, as tables do not shrink; and what is
/// remembered of another key, since no more are remembered than there are here.
pub(super) fn entry_size(key: &str, variants: &[Arc<StoredResponse>]) -> u64 {
    const LINKS: usize = 2 * size_of::<usize>();
    const NODE: usize = allocated(size_of::<(u64, Entry)>() + LINKS);
    /// Two words and a byte, of which an eighth to a half are empty.
    const SLOT: usize = (2 * size_of::<usize>() + 1) * 3 / 2;
    const REMEMBERED: usize = (2 * size_of::<u64>() + 1) * 3 / 2;
    const COUNTS: usize = 2 * size_of::<usize>();
    let set = allocated(COUNTS + size_of_val(variants));
    let own = NODE + 2 * SLOT + REMEMBERED + allocated(key.len()) + set;
    own as u64 + variants.iter().map(|response| response.size()).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::response;

    fn put(shard: &mut Shard, hash: u64, key: &str, held: &Held) -> Option<Entry> {
        shard.put(hash, key.into(), [response("", 1)].into(), 0, held)
    }

    #[test]
    fn a_key_never_answers_for_another_of_the_same_hash() {
        let (mut shard, held) = (Shard::new(), Held::default());
        assert!(put(&mut shard, 7, "one", &held).is_none());
        assert!(shard.used(7, "other").is_none());
        assert!(shard.remove(7, "other", &held).is_none());
        assert!(put(&mut shard, 7, "other", &held).is_some());
        assert!(shard.peek(7, "one").is_none());
        assert!(shard.peek(7, "other").is_some());
        assert_eq!((shard.len(), held.all()), (1, entry_size("other", &[response("", 1)])));
    }

    #[test]
    fn it_knows_whether_it_holds_anybodys_own_copies() {
        let (mut shard, held) = (Shard::new(), Held::default());
        for (hash, key) in [(1, "http://h/"), (2, "http://h/ 07"), (3, "http://h/ 08"), (2, "http://h/ 07")] {
            put(&mut shard, hash, key, &held);
        }
        assert_eq!(shard.partitioned, 2);
        let url = Purge::url("http://h/").unwrap();
        let mut found = shard.to_purge(&url, Some(1));
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3]);
        assert!(shard.remove(2, "http://h/ 07", &held).is_some());
        assert!(shard.purge(3, &url, &held).is_some());
        assert_eq!(shard.partitioned, 0);
        assert_eq!(shard.to_purge(&url, Some(1)), [1]);
        assert!(shard.to_purge(&Purge::url("http://h/2").unwrap(), Some(1)).is_empty());
        put(&mut shard, 2, "http://h/ 07", &held);
        while shard.len() > 0 {
            shard.pass_over_or_evict(Place::Probation, false, 0, &held);
        }
        assert_eq!((shard.partitioned, held.all()), (0, 0));
    }

    #[test]
    fn what_left_is_remembered_for_as_long_as_the_shard_is_full() {
        let mut departed = Departed::default();
        for hash in [1, 2, 1, 3, 4] {
            departed.remember(hash, 3);
        }
        let remembered: Vec<u64> = (0..6).filter(|hash| departed.is_remembered(*hash)).collect();
        assert_eq!(remembered, [2, 3, 4]);
        departed.remember(5, 1);
        assert_eq!((departed.order.len(), departed.hashes.len()), (1, 1));
    }
}
