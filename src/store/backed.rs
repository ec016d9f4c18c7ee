//! A [`Store`] over any [`ByteStore`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::stripes::Stripes;
use super::variants::{is_outdated, merged, without};
use super::{ByteStore, Key, Store, StoreError, StoredResponse, Usage, Variants, record, url_of};
use crate::message::purge::{Purge, Purged};
use crate::metrics::{Eviction, Observer, Watcher};

/// A [`Store`] that keeps its responses in a [`ByteStore`]: one record for each key, with a version and a
/// checksum.
///
/// A lookup of an unreadable record fails, and the next insert under its key overwrites it. Inserts and
/// removals of the same key run one after the other in this process. If two processes insert under the same
/// key of a shared backend at the same time, one insert may be lost.
///
/// ```
/// use forwardcache::store::{BackedStore, Lru, MemoryByteStore, Store};
///
/// let store = BackedStore::new(Lru::new(MemoryByteStore::new(), 64 << 20)).with_max_body(1 << 20);
/// assert_eq!(store.usage().capacity, 64 << 20);
/// assert_eq!(store.max_body(), 1 << 20);
/// ```
#[derive(Debug)]
pub struct BackedStore<C> {
    cache: C,
    max_body: u64,
    /// Held from reading a record until it is written back.
    stripes: Stripes,
    watcher: OnceLock<Watcher>,
    /// The evictions of the backend that were reported.
    reported: AtomicU64,
}

const MAX_BODY: u64 = 64 << 20;

impl<C: ByteStore> BackedStore<C> {
    /// Creates a store over `cache`. The largest body is 64 MiB, or the largest value of the backend if that
    /// is smaller.
    #[must_use]
    pub fn new(cache: C) -> Self {
        let (watcher, reported) = Default::default();
        Self { cache, max_body: MAX_BODY, stripes: Stripes::new(), watcher, reported }
    }

    /// Sets the largest body that is stored, in bytes.
    #[must_use]
    pub fn with_max_body(self, bytes: u64) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// Returns the backend.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.cache
    }

    fn read(&self, key: &Key) -> Result<Option<Result<Variants, StoreError>>, StoreError> {
        let record = self.cache.get(key.as_str())?;
        Ok(record.map(|record| record::decode(key.as_str(), &record)))
    }

    /// Removes the responses of one backend key that match the purge.
    fn purge_key(&self, key: &str, purge: &Purge) -> Result<Purged, StoreError> {
        let url = url_of(key);
        if !purge.may_be_about(url) {
            return Ok(Purged::default());
        }
        let _guard = self.stripes.alone(key);
        let Some(record) = self.cache.get(key)? else { return Ok(Purged::default()) };
        let length = (key.len() + record.len()) as u64;
        let Ok(stored) = record::decode(key, &record) else {
            // An unreadable record cannot be matched. It serves no request and takes space, so it is deleted.
            self.cache.delete(key)?;
            return Ok(Purged::new(0, length));
        };
        let Some((stay, responses)) = purge.apply(url, &stored) else {
            return Ok(Purged::default());
        };
        let responses = responses as u64;
        if stay.is_empty() {
            self.cache.delete(key)?;
            return Ok(Purged::new(responses, length));
        }
        let bytes = (record.len() as u64).saturating_sub(record::length(key, &stay));
        if !self.cache.set(key, record::encode(key, &stay))? {
            // The smaller record was refused, and a backend that refuses a value keeps nothing under the key.
            return Ok(Purged::new(stored.len() as u64, length));
        }
        Ok(Purged::new(responses, bytes))
    }

    /// Inserts a response into the record of its key.
    fn replace(&self, key: &Key, response: &Arc<StoredResponse>) -> Result<bool, StoreError> {
        let body_fits = response.body_length() as u64 <= self.max_body;
        let most = self.cache.max_value();
        let fit = |all: &[Arc<StoredResponse>]| body_fits && record::length(key.as_str(), all) <= most;

        let _guard = self.stripes.alone(key.as_str());
        let read = self.read(key)?;
        let is_held = read.is_some();
        // An unreadable record is lost already.
        let stored = read.and_then(Result::ok).unwrap_or_default();
        if is_outdated(&stored, response) {
            return Ok(false);
        }
        if let Some(all) = merged(&stored, response, fit) {
            return self.cache.set(key.as_str(), record::encode(key.as_str(), &all));
        }
        let others = without(&stored, response.variant());
        if others.is_empty() && is_held {
            self.cache.delete(key.as_str())?;
        } else if others.len() < stored.len() {
            self.cache.set(key.as_str(), record::encode(key.as_str(), &others))?;
        }
        Ok(false)
    }

    /// Reports what the backend has evicted since the last report.
    fn report_evictions(&self) {
        let Some(watcher) = self.watcher.get() else { return };
        let evictions = self.cache.usage().evictions;
        let keys = evictions.saturating_sub(self.reported.fetch_max(evictions, Ordering::Relaxed));
        if keys > 0 {
            watcher.tell(|observer| observer.evicted(&Eviction { tier: "memory", keys }));
        }
    }
}

impl<C: ByteStore> Store for BackedStore<C> {
    fn variants(&self, key: &Key) -> Result<Variants, StoreError> {
        self.read(key)?.unwrap_or_else(|| Ok(Variants::default()))
    }

    fn insert(&self, key: &Key, response: Arc<StoredResponse>) -> Result<bool, StoreError> {
        let inserted = self.replace(key, &response);
        // Not under the lock of the key.
        self.report_evictions();
        inserted
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let _guard = self.stripes.alone(key.as_str());
        self.cache.delete(key.as_str())
    }

    /// Purges if the backend can list its [keys](ByteStore::keys); otherwise returns `None`. The counted
    /// bytes are those of the keys and records. If one key fails, the others are still purged.
    fn purge(&self, purge: &Purge) -> Result<Option<Purged>, StoreError> {
        let Some(keys) = self.cache.keys() else { return Ok(None) };
        let mut purged = Purged::default();
        let mut failure = None;
        for key in keys {
            match key.and_then(|key| self.purge_key(&key, purge)) {
                Ok(more) => purged = purged.and(more),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(Some(purged)), Err)
    }

    fn max_body(&self) -> u64 {
        self.max_body.min(self.cache.max_value())
    }

    fn usage(&self) -> Usage {
        self.cache.usage()
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.reported.store(self.cache.usage().evictions, Ordering::Relaxed);
        let _ = self.watcher.set(Watcher::new(observer));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::testing::{Failing, body_numbers, key, response, response_of};
    use crate::store::{Lru, MemoryByteStore};

    #[test]
    fn unreadable_record_is_an_error_until_it_is_overwritten() {
        let store = BackedStore::new(MemoryByteStore::new());
        store.inner().set(key(1).as_str(), Bytes::from_static(b"nonsense")).unwrap();
        assert!(store.variants(&key(1)).is_err());
        assert!(store.insert(&key(1), response("a", 1)).unwrap());
        assert_eq!(body_numbers(&store.variants(&key(1)).unwrap()), [1]);
    }

    #[test]
    fn unreadable_record_is_deleted_even_if_the_new_response_does_not_fit() {
        let store = BackedStore::new(MemoryByteStore::new()).with_max_body(10);
        store.inner().set(key(1).as_str(), Bytes::from_static(b"nonsense")).unwrap();
        assert!(!store.insert(&key(1), response_of("a", 1, 11)).unwrap());
        assert!(store.variants(&key(1)).unwrap().is_empty());
    }

    #[test]
    fn record_under_the_wrong_key_is_rejected() {
        let store = BackedStore::new(MemoryByteStore::new());
        store.insert(&key(1), response("a", 1)).unwrap();
        let record = store.inner().get(key(1).as_str()).unwrap().unwrap();
        store.inner().set(key(2).as_str(), record).unwrap();
        assert!(store.variants(&key(2)).is_err());
    }

    #[test]
    fn backend_errors_are_reported() {
        let store = BackedStore::new(Failing::new(MemoryByteStore::new()));
        store.insert(&key(1), response("a", 1)).unwrap();
        store.inner().fail("get");
        assert!(store.variants(&key(1)).is_err());
        assert!(store.insert(&key(1), response("b", 2)).is_err());
        store.inner().fail("set");
        assert!(store.insert(&key(1), response("b", 2)).is_err());
        assert_eq!(body_numbers(&store.variants(&key(1)).unwrap()), [1]);
        store.inner().fail("delete");
        assert!(store.remove(&key(1)).is_err());
        assert_eq!(body_numbers(&store.variants(&key(1)).unwrap()), [1]);
    }

    #[test]
    fn oldest_variants_are_dropped_if_the_record_is_too_large() {
        let store = BackedStore::new(Lru::new(MemoryByteStore::new(), 3_000));
        for number in 0..4 {
            assert!(store.insert(&key(1), response_of(&number.to_string(), number, 1_000)).unwrap());
        }
        assert_eq!(body_numbers(&store.variants(&key(1)).unwrap()), [3, 2]);
    }

    #[test]
    fn failed_purge_of_one_key_does_not_stop_the_others() {
        let of_first = Purge::url(key(1).url()).unwrap();
        for (calls, left) in [("keys", 0), ("get", 2), ("delete", 2)] {
            let store = BackedStore::new(Failing::new(MemoryByteStore::new()));
            for number in [1, 2] {
                store.insert(&key(number), response("a", number)).unwrap();
            }
            store.inner().fail(calls);
            assert!(store.purge(&Purge::all()).is_err(), "{calls}");
            assert_eq!(store.usage().keys, left, "{calls}");
            store.inner().fail("");
            assert_eq!(store.purge(&of_first).unwrap().unwrap().responses, left / 2);
        }
    }

    #[test]
    fn unreadable_record_is_purged() {
        let store = BackedStore::new(MemoryByteStore::new());
        store.inner().set(key(1).as_str(), Bytes::from_static(b"nonsense")).unwrap();
        let purged = store.purge(&Purge::prefix("http://a/").unwrap()).unwrap().unwrap();
        assert_eq!((purged.responses, purged.bytes > 0, store.usage().keys), (0, true, 0));
    }
}
