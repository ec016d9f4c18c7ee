//! A bound in bytes around any cache.

use bytes::Bytes;
use parking_lot::Mutex;

use super::lru_index::{BOOKKEEPING, Index, size};
use super::stripes::Stripes;
use super::{ByteStore, ByteStoreKeys, StoreError, Usage};

/// A cache that takes so many bytes and no more; the least recently used go when room is needed.
///
/// Keys, values and bookkeeping count. A value that cannot fit is not stored, and pushes nothing out.
///
/// What the inner cache already held, because it outlives the process, is found when it is asked for,
/// and counts from then on: until then this cannot know of it. A key that the inner cache forgot stops
/// to count when it is asked for.
///
/// Room is made before a value is set. When that fails, the value is not set: a backend that cannot
/// delete does not grow for ever.
///
/// ```
/// use bytes::Bytes;
/// use forwardcache::{ByteStore, Lru, MemoryByteStore};
///
/// let cache = Lru::new(MemoryByteStore::new(), 1 << 20);
/// assert!(cache.set("key", Bytes::from("value"))?);
/// assert!(!cache.set("large", Bytes::from(vec![0; 2 << 20]))?);
/// assert_eq!(cache.usage().keys, 1);
/// # Ok::<(), forwardcache::StoreError>(())
/// ```
#[derive(Debug)]
pub struct Lru<C> {
    cache: C,
    capacity: u64,
    /// What `cache` holds. Never held over a call of `cache`; always changed under the key's stripe,
    /// together with `cache`, so that the two agree.
    index: Mutex<Index>,
    stripes: Stripes,
}

impl<C: ByteStore> Lru<C> {
    /// Bounds `cache` to this many bytes.
    #[must_use]
    pub fn new(cache: C, capacity: u64) -> Self {
        Self { cache, capacity, index: Mutex::new(Index::new()), stripes: Stripes::new() }
    }

    /// The cache inside. What is set or deleted there directly is found out when it is asked for here.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.cache
    }

    /// Evicts until `needed` more bytes fit.
    fn make_room(&self, needed: u64) -> Result<(), StoreError> {
        let victim = || self.index.lock().victim(self.capacity, needed);
        while let Some(key) = victim() {
            let alone = self.stripes.alone(&key);
            // While this waited for the stripe, the key may have been used or removed.
            if victim().as_ref() != Some(&key) {
                continue;
            }
            if let Err(error) = self.cache.delete(&key) {
                // Still there, so it still counts; but another comes first the next time.
                self.index.lock().touch(&key);
                return Err(error);
            }
            let mut index = self.index.lock();
            index.forget(&key);
            index.evictions += 1;
            drop(index);
            drop(alone);
        }
        Ok(())
    }
}

impl<C: ByteStore> ByteStore for Lru<C> {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let unchanged = self.stripes.unchanged(key);
        let Some(value) = self.cache.get(key)? else {
            self.index.lock().forget(key);
            return Ok(None);
        };
        let size = size(key, &value);
        if size <= self.capacity {
            self.index.lock().account(key, size);
        }
        drop(unchanged);

        // Both change something only after the inner cache surprised us. The value was found all the
        // same: what fails here fails again, and is told, when something is set.
        let _ = if size > self.capacity { self.delete(key).map(drop) } else { self.make_room(0) };
        Ok(Some(value))
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        let size = size(key, &value);
        if size > self.capacity || value.len() as u64 > self.cache.max_value() {
            self.delete(key)?;
            return Ok(false);
        }
        // The key itself is made the last to go, as its old value is about to give up its room.
        let held = self.index.lock().touch(key);
        self.make_room(size.saturating_sub(held))?;

        let alone = self.stripes.alone(key);
        let is_stored = match self.cache.set(key, value) {
            Ok(is_stored) => is_stored,
            Err(error) => {
                // Old, new or nothing: make it nothing, or else count the larger of the two.
                let is_gone = self.cache.delete(key).is_ok();
                let mut index = self.index.lock();
                if is_gone {
                    index.forget(key);
                } else {
                    let held = index.touch(key);
                    index.account(key, size.max(held));
                }
                return Err(error);
            }
        };
        let mut index = self.index.lock();
        if is_stored {
            index.account(key, size);
        } else {
            index.forget(key);
        }
        drop(index);
        drop(alone);

        // Another thread may have filled the same room.
        self.make_room(0)?;
        Ok(is_stored)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let _alone = self.stripes.alone(key);
        let was_there = self.cache.delete(key)?;
        self.index.lock().forget(key);
        Ok(was_there)
    }

    /// Those of the cache inside: what that held before is not known here.
    fn keys(&self) -> Option<ByteStoreKeys<'_>> {
        self.cache.keys()
    }

    fn max_value(&self) -> u64 {
        self.cache.max_value().min(self.capacity.saturating_sub(BOOKKEEPING))
    }

    fn usage(&self) -> Usage {
        let index = self.index.lock();
        Usage {
            keys: index.sizes.len() as u64,
            bytes: index.bytes,
            capacity: self.capacity,
            evictions: index.evictions,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::store::MemoryByteStore;
    use crate::store::testing::{Failing, Random, with_seed};

    fn value(length: u64) -> Bytes {
        Bytes::from(vec![b'.'; usize::try_from(length).unwrap()])
    }

    /// What `count` keys of one letter with empty values take.
    fn room_for(count: u64) -> u64 {
        count * size("a", &Bytes::new())
    }

    fn keys_of(cache: &impl ByteStore, keys: &[&str]) -> String {
        keys.iter().filter(|key| cache.get(key).unwrap().is_some()).copied().collect()
    }

    /// The same promise kept in the simplest way: a list, the least recently used first.
    struct Twin {
        capacity: u64,
        entries: Vec<(String, Bytes)>,
        /// What the inner cache holds and nobody asked for yet.
        unknown: Vec<(String, Bytes)>,
        evictions: u64,
    }

    impl Twin {
        fn take(&mut self, key: &str) -> Option<Bytes> {
            for entries in [&mut self.entries, &mut self.unknown] {
                if let Some(at) = entries.iter().position(|(other, _)| other == key) {
                    return Some(entries.remove(at).1);
                }
            }
            None
        }

        fn put(&mut self, key: &str, value: Bytes) -> bool {
            self.take(key);
            if size(key, &value) > self.capacity {
                return false;
            }
            self.entries.push((key.to_owned(), value));
            while self.bytes() > self.capacity {
                self.entries.remove(0);
                self.evictions += 1;
            }
            true
        }

        fn bytes(&self) -> u64 {
            self.entries.iter().map(|(key, value)| size(key, value)).sum()
        }
    }

    #[test]
    fn it_does_what_a_naive_twin_does() {
        with_seed("it_does_what_a_naive_twin_does", |seed| {
            let mut random = Random::new(seed);
            let capacity = 1_000 + random.below(3_000);
            let mut twin = Twin { capacity, entries: Vec::new(), unknown: Vec::new(), evictions: 0 };
            let persistent = MemoryByteStore::new();
            for number in 0..6 {
                let value = value(random.below(capacity + 200));
                persistent.set(&number.to_string(), value.clone()).unwrap();
                twin.unknown.push((number.to_string(), value));
            }
            let lru = Lru::new(persistent, capacity);
            for _ in 0..2_000 {
                let key = random.below(12).to_string();
                match random.below(8) {
                    0 => assert_eq!(lru.delete(&key).unwrap(), twin.take(&key).is_some()),
                    1..4 => {
                        let expected = twin.take(&key);
                        assert_eq!(lru.get(&key).unwrap(), expected);
                        if let Some(value) = expected {
                            twin.put(&key, value);
                        }
                    }
                    _ => {
                        let length =
                            if random.below(20) == 0 { capacity } else { random.below(capacity / 3) };
                        let value = value(length);
                        assert_eq!(lru.set(&key, value.clone()).unwrap(), twin.put(&key, value));
                    }
                }
                let usage = lru.usage();
                assert_eq!((usage.keys, usage.bytes), (twin.entries.len() as u64, twin.bytes()));
                assert_eq!(usage.evictions, twin.evictions);
                assert!(usage.bytes <= capacity);
                let inner = lru.inner().usage().keys;
                assert_eq!(inner, (twin.entries.len() + twin.unknown.len()) as u64);
            }
        });
    }

    #[test]
    fn many_threads_leave_index_and_cache_agreeing() {
        with_seed("many_threads_leave_index_and_cache_agreeing", |seed| {
            let keys: Vec<String> = (0..4).map(|number| number.to_string()).collect();
            let persistent = MemoryByteStore::new();
            for key in &keys[..2] {
                persistent.set(key, key.clone().into()).unwrap();
            }
            let lru = Lru::new(Failing::new(persistent), 1_000);
            // Short rounds, as the next use of a key would heal what went wrong.
            for round in 0..200 {
                thread::scope(|scope| {
                    for thread in 0..4 {
                        let (lru, keys) = (&lru, &keys);
                        let mut random = Random::new(seed ^ (thread << 32) ^ (round << 40));
                        scope.spawn(move || (0..5).for_each(|_| use_at_random(lru, keys, &mut random)));
                    }
                });
                assert_agreeing(&lru, &keys);
            }
        });
    }

    fn use_at_random(lru: &impl ByteStore, keys: &[String], random: &mut Random) {
        let key = &keys[usize::try_from(random.below(keys.len() as u64)).unwrap()];
        match random.below(6) {
            0..2 => drop(lru.delete(key).unwrap()),
            2..4 => {
                let value = lru.get(key).unwrap();
                assert!(value.is_none_or(|value| value.starts_with(key.as_bytes())));
            }
            _ => {
                let value = key.repeat(2 + usize::try_from(random.below(300)).unwrap());
                assert!(lru.set(key, value.into()).unwrap());
            }
        }
    }

    /// What counts is there, and what is there counts, but for what was there from the beginning: the
    /// one value that is as short as its key.
    fn assert_agreeing(lru: &Lru<Failing<MemoryByteStore>>, keys: &[String]) {
        let index = lru.index.lock();
        for key in keys {
            let value = lru.inner().inner().get(key).unwrap();
            let accounted = index.sizes.peek(key.as_str()).copied();
            if accounted.is_some() || value.as_ref().is_some_and(|value| value != key.as_str()) {
                assert_eq!(accounted, value.map(|value| size(key, &value)));
            }
        }
        assert_eq!(index.bytes, index.sizes.iter().map(|(_, size)| size).sum::<u64>());
        assert!(index.bytes <= lru.capacity);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.set("b", value(0)).unwrap();
        lru.get("a").unwrap();
        lru.set("c", value(0)).unwrap();
        assert_eq!(keys_of(&lru, &["a", "b", "c"]), "ac");
        assert_eq!(lru.usage().evictions, 1);
    }

    #[test]
    fn a_value_that_cannot_fit_removes_only_its_own_key() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.set("b", value(0)).unwrap();
        assert!(!lru.set("a", value(room_for(2))).unwrap());
        assert_eq!(keys_of(lru.inner(), &["a", "b"]), "b");
        assert_eq!((lru.usage().bytes, lru.usage().evictions), (room_for(1), 0));
        assert!(lru.max_value() < room_for(2));
    }

    #[test]
    fn a_replaced_value_gives_its_room_back() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2) + 100);
        lru.set("a", value(100)).unwrap();
        lru.set("b", value(0)).unwrap();
        // Room for the difference is enough: nothing goes.
        lru.set("a", value(99)).unwrap();
        lru.set("a", value(100)).unwrap();
        assert_eq!(lru.usage().bytes, room_for(2) + 100);
        assert_eq!(lru.usage().evictions, 0);
    }

    #[test]
    fn what_a_persistent_cache_held_is_found_and_then_counts() {
        let persistent = MemoryByteStore::new();
        persistent.set("a", value(0)).unwrap();
        persistent.set("b", value(room_for(9))).unwrap();
        let lru = Lru::new(&persistent, room_for(2));
        assert_eq!(lru.usage().keys, 0);
        assert_eq!(lru.get("a").unwrap(), Some(value(0)));
        assert_eq!(lru.usage().bytes, room_for(1));
        // Too large to keep; given once, and gone.
        assert_eq!(lru.get("b").unwrap(), Some(value(room_for(9))));
        assert_eq!(lru.get("b").unwrap(), None);
        assert_eq!(lru.usage().bytes, room_for(1));
    }

    #[test]
    fn a_key_that_the_inner_cache_forgot_stops_to_count() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.inner().delete("a").unwrap();
        assert_eq!(lru.usage().keys, 1);
        assert_eq!(lru.get("a").unwrap(), None);
        assert_eq!((lru.usage().keys, lru.usage().bytes), (0, 0));
    }

    #[test]
    fn errors_are_errors_and_the_index_stays_true() {
        let lru = Lru::new(Failing::new(MemoryByteStore::new()), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.set("b", value(0)).unwrap();
        let full = lru.usage();

        lru.inner().fail("get");
        assert!(lru.get("a").is_err());
        lru.inner().fail("delete");
        assert!(lru.delete("a").is_err());
        // There is no room and none can be made: nothing is set, nothing is lost.
        assert!(lru.set("c", value(0)).is_err());
        assert_eq!(lru.usage(), full);
        assert_eq!(keys_of(lru.inner().inner(), &["a", "b", "c"]), "ab");

        // The one that could not be deleted is not tried first again.
        lru.inner().fail("");
        assert!(lru.set("c", value(0)).unwrap());
        assert_eq!(keys_of(lru.inner().inner(), &["a", "b", "c"]), "ac");

        // What may be half written is deleted.
        lru.inner().fail("set");
        assert!(lru.set("a", value(0)).is_err());
        assert_eq!(keys_of(lru.inner().inner(), &["a", "b", "c"]), "c");
        assert_eq!(lru.usage().bytes, room_for(1));

        // Or else it counts as the larger of what it was and might be.
        lru.inner().fail("set delete");
        assert!(lru.set("c", value(50)).is_err());
        assert_eq!(lru.usage().bytes, room_for(1) + 50);
        lru.inner().fail("");
        lru.get("c").unwrap();
        assert_eq!(lru.usage().bytes, room_for(1));
    }
}
