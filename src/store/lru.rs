//! A size limit around any [`ByteStore`].

use bytes::Bytes;
use parking_lot::Mutex;

use super::lru_index::{BOOKKEEPING, Index, size};
use super::stripes::Stripes;
use super::{ByteStore, ByteStoreKeys, StoreError, Usage};

/// A [`ByteStore`] with a size limit in bytes. It evicts the least recently used keys when it needs space.
///
/// Keys, values and bookkeeping count. A value that cannot fit is not stored and evicts nothing.
///
/// A persistent backend may contain values from earlier processes. Such a value is found when it is read, and
/// counts from then on. A key that the backend forgot stops counting when it is read.
///
/// Space is freed before a value is set. If that fails, the value is not set, so a backend that cannot delete
/// does not grow without limit.
///
/// ```
/// use bytes::Bytes;
/// use forwardcache::store::{ByteStore, Lru, MemoryByteStore};
///
/// let cache = Lru::new(MemoryByteStore::new(), 1 << 20);
/// assert!(cache.set("key", Bytes::from("value"))?);
/// assert!(!cache.set("large", Bytes::from(vec![0; 2 << 20]))?);
/// assert_eq!(cache.usage().keys, 1);
/// # Ok::<(), forwardcache::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct Lru<C> {
    cache: C,
    capacity: u64,
    /// The keys in `cache`. The lock is never held during a call of `cache`. Both change together under the
    /// key's stripe, so that they agree.
    index: Mutex<Index>,
    stripes: Stripes,
}

impl<C: ByteStore> Lru<C> {
    /// Limits `cache` to this many bytes.
    #[must_use]
    pub fn new(cache: C, capacity: u64) -> Self {
        Self { cache, capacity, index: Mutex::new(Index::new()), stripes: Stripes::new() }
    }

    /// Returns the backend. `Lru` notices a value that is set or deleted there directly when its key is next
    /// read.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.cache
    }

    /// Evicts keys until `needed` more bytes fit.
    fn make_room(&self, needed: u64) -> Result<(), StoreError> {
        let victim = || self.index.lock().victim(self.capacity, needed);
        while let Some(key) = victim() {
            let guard = self.stripes.alone(&key);
            // The key may have been used or removed while this thread waited for the stripe.
            if victim().as_ref() != Some(&key) {
                continue;
            }
            if let Err(error) = self.cache.delete(&key) {
                // The value is still stored, so it still counts. The touch makes another key the next
                // candidate.
                self.index.lock().touch(&key);
                return Err(error);
            }
            let mut index = self.index.lock();
            index.forget(&key);
            index.evictions += 1;
            drop(index);
            drop(guard);
        }
        Ok(())
    }
}

impl<C: ByteStore> ByteStore for Lru<C> {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let guard = self.stripes.unchanged(key);
        let Some(value) = self.cache.get(key)? else {
            self.index.lock().forget(key);
            return Ok(None);
        };
        let size = size(key, &value);
        if size <= self.capacity {
            self.index.lock().account(key, size);
        }
        drop(guard);

        // Only an unexpected value in the backend makes this necessary. A failure here is ignored because the
        // value was found; the next `set` fails for the same reason and reports it.
        let _ = if size > self.capacity { self.delete(key).map(drop) } else { self.make_room(0) };
        Ok(Some(value))
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        let size = size(key, &value);
        if size > self.capacity || value.len() as u64 > self.cache.max_value() {
            self.delete(key)?;
            return Ok(false);
        }
        // The touch makes the key itself the last candidate for eviction, because its old value is about to
        // be replaced.
        let held = self.index.lock().touch(key);
        self.make_room(size.saturating_sub(held))?;

        let guard = self.stripes.alone(key);
        let is_stored = match self.cache.set(key, value) {
            Ok(is_stored) => is_stored,
            Err(error) => {
                // The backend may contain the old value, the new one, or nothing. Delete it, or else count
                // the larger of the two.
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
        drop(guard);

        // Another thread may have used the same space.
        self.make_room(0)?;
        Ok(is_stored)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let _guard = self.stripes.alone(key);
        let was_there = self.cache.delete(key)?;
        self.index.lock().forget(key);
        Ok(was_there)
    }

    /// Returns the keys of the backend, including those that are not counted yet.
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

    /// Returns the size of `count` keys of one letter with empty values.
    fn room_for(count: u64) -> u64 {
        count * size("a", &Bytes::new())
    }

    fn keys_of(cache: &impl ByteStore, keys: &[&str]) -> String {
        keys.iter().filter(|key| cache.get(key).unwrap().is_some()).copied().collect()
    }

    /// A simple reference model: a list, the least recently used key first.
    struct Model {
        capacity: u64,
        entries: Vec<(String, Bytes)>,
        /// Values in the backend that were not read yet.
        unknown: Vec<(String, Bytes)>,
        evictions: u64,
    }

    impl Model {
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
    fn store_agrees_with_the_reference_model() {
        with_seed("store_agrees_with_the_reference_model", |seed| {
            let mut random = Random::new(seed);
            let capacity = 1_000 + random.below(3_000);
            let mut model = Model { capacity, entries: Vec::new(), unknown: Vec::new(), evictions: 0 };
            let persistent = MemoryByteStore::new();
            for number in 0..6 {
                let value = value(random.below(capacity + 200));
                persistent.set(&number.to_string(), value.clone()).unwrap();
                model.unknown.push((number.to_string(), value));
            }
            let lru = Lru::new(persistent, capacity);
            for _ in 0..2_000 {
                let key = random.below(12).to_string();
                match random.below(8) {
                    0 => assert_eq!(lru.delete(&key).unwrap(), model.take(&key).is_some()),
                    1..4 => {
                        let expected = model.take(&key);
                        assert_eq!(lru.get(&key).unwrap(), expected);
                        if let Some(value) = expected {
                            model.put(&key, value);
                        }
                    }
                    _ => {
                        let length =
                            if random.below(20) == 0 { capacity } else { random.below(capacity / 3) };
                        let value = value(length);
                        assert_eq!(lru.set(&key, value.clone()).unwrap(), model.put(&key, value));
                    }
                }
                let usage = lru.usage();
                assert_eq!((usage.keys, usage.bytes), (model.entries.len() as u64, model.bytes()));
                assert_eq!(usage.evictions, model.evictions);
                assert!(usage.bytes <= capacity);
                let inner = lru.inner().usage().keys;
                assert_eq!(inner, (model.entries.len() + model.unknown.len()) as u64);
            }
        });
    }

    #[test]
    fn concurrent_use_keeps_index_and_backend_consistent() {
        with_seed("concurrent_use_keeps_index_and_backend_consistent", |seed| {
            let keys: Vec<String> = (0..4).map(|number| number.to_string()).collect();
            let persistent = MemoryByteStore::new();
            for key in &keys[..2] {
                persistent.set(key, key.clone().into()).unwrap();
            }
            let lru = Lru::new(Failing::new(persistent), 1_000);
            // Short rounds, because the next use of a key would repair an inconsistency.
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

    /// Checks that exactly the stored values count. Only values from before the start, which are as short as
    /// their keys, need not count.
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
    fn least_recently_used_key_is_evicted_first() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.set("b", value(0)).unwrap();
        lru.get("a").unwrap();
        lru.set("c", value(0)).unwrap();
        assert_eq!(keys_of(&lru, &["a", "b", "c"]), "ac");
        assert_eq!(lru.usage().evictions, 1);
    }

    #[test]
    fn too_large_value_removes_only_its_own_key() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.set("b", value(0)).unwrap();
        assert!(!lru.set("a", value(room_for(2))).unwrap());
        assert_eq!(keys_of(lru.inner(), &["a", "b"]), "b");
        assert_eq!((lru.usage().bytes, lru.usage().evictions), (room_for(1), 0));
        assert!(lru.max_value() < room_for(2));
    }

    #[test]
    fn replaced_value_frees_its_space() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2) + 100);
        lru.set("a", value(100)).unwrap();
        lru.set("b", value(0)).unwrap();
        // Space for the difference suffices: nothing is evicted.
        lru.set("a", value(99)).unwrap();
        lru.set("a", value(100)).unwrap();
        assert_eq!(lru.usage().bytes, room_for(2) + 100);
        assert_eq!(lru.usage().evictions, 0);
    }

    #[test]
    fn persistent_values_are_found_and_then_counted() {
        let persistent = MemoryByteStore::new();
        persistent.set("a", value(0)).unwrap();
        persistent.set("b", value(room_for(9))).unwrap();
        let lru = Lru::new(&persistent, room_for(2));
        assert_eq!(lru.usage().keys, 0);
        assert_eq!(lru.get("a").unwrap(), Some(value(0)));
        assert_eq!(lru.usage().bytes, room_for(1));
        // A value that is too large is returned once and then deleted.
        assert_eq!(lru.get("b").unwrap(), Some(value(room_for(9))));
        assert_eq!(lru.get("b").unwrap(), None);
        assert_eq!(lru.usage().bytes, room_for(1));
    }

    #[test]
    fn key_forgotten_by_the_backend_stops_counting() {
        let lru = Lru::new(MemoryByteStore::new(), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.inner().delete("a").unwrap();
        assert_eq!(lru.usage().keys, 1);
        assert_eq!(lru.get("a").unwrap(), None);
        assert_eq!((lru.usage().keys, lru.usage().bytes), (0, 0));
    }

    #[test]
    fn backend_errors_keep_the_index_consistent() {
        let lru = Lru::new(Failing::new(MemoryByteStore::new()), room_for(2));
        lru.set("a", value(0)).unwrap();
        lru.set("b", value(0)).unwrap();
        let full = lru.usage();

        lru.inner().fail("get");
        assert!(lru.get("a").is_err());
        lru.inner().fail("delete");
        assert!(lru.delete("a").is_err());
        // No space can be freed, so nothing is set and nothing is lost.
        assert!(lru.set("c", value(0)).is_err());
        assert_eq!(lru.usage(), full);
        assert_eq!(keys_of(lru.inner().inner(), &["a", "b", "c"]), "ab");

        // The key that could not be deleted is not the first candidate again.
        lru.inner().fail("");
        assert!(lru.set("c", value(0)).unwrap());
        assert_eq!(keys_of(lru.inner().inner(), &["a", "b", "c"]), "ac");

        // A value that may be incomplete is deleted.
        lru.inner().fail("set");
        assert!(lru.set("a", value(0)).is_err());
        assert_eq!(keys_of(lru.inner().inner(), &["a", "b", "c"]), "c");
        assert_eq!(lru.usage().bytes, room_for(1));

        // If it cannot be deleted, the larger of the old and the new size counts.
        lru.inner().fail("set delete");
        assert!(lru.set("c", value(50)).is_err());
        assert_eq!(lru.usage().bytes, room_for(1) + 50);
        lru.inner().fail("");
        lru.get("c").unwrap();
        assert_eq!(lru.usage().bytes, room_for(1));
    }
}
