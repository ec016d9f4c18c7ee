//! Bytes in memory without a limit.

use std::collections::HashMap;
use std::fmt;
use std::mem::size_of;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{ByteStore, ByteStoreKeys, StoreError, Usage};

/// A [`ByteStore`] in memory without a size limit: for tests, for small amounts of data, and as the backend
/// of [`Lru`](super::Lru). [`MemoryStore`](super::MemoryStore) is the faster store for serving requests.
///
/// ```
/// use bytes::Bytes;
/// use forwardcache::store::{ByteStore, MemoryByteStore};
///
/// let cache = MemoryByteStore::default();
/// cache.set("key", Bytes::from("value"))?;
/// assert_eq!(cache.get("key")?, Some(Bytes::from("value")));
/// # Ok::<(), forwardcache::store::StoreError>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryByteStore {
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    values: HashMap<Box<str>, Bytes>,
    bytes: u64,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("keys", &self.values.len()).field("bytes", &self.bytes).finish()
    }
}

impl MemoryByteStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The pair, and the overhead of the table and the allocator.
const BOOKKEEPING: u64 = (2 * size_of::<(Box<str>, Bytes)>() + 4 * size_of::<usize>()) as u64;

fn size(key: &str, value: &Bytes) -> u64 {
    BOOKKEEPING + key.len() as u64 + value.len() as u64
}

impl ByteStore for MemoryByteStore {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.held.read().values.get(key).cloned())
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        let size_of_new = size(key, &value);
        let mut held = self.held.write();
        let old = held.values.insert(key.into(), value);
        held.bytes += size_of_new;
        held.bytes -= old.as_ref().map_or(0, |old| size(key, old));
        drop(held);
        // The old value is dropped here, after the lock.
        Ok(true)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let mut held = self.held.write();
        let old = held.values.remove(key);
        held.bytes -= old.as_ref().map_or(0, |old| size(key, old));
        drop(held);
        Ok(old.is_some())
    }

    /// Returns the keys at the time of the call.
    fn keys(&self) -> Option<ByteStoreKeys<'_>> {
        let keys: Vec<String> = self.held.read().values.keys().map(|key| key.as_ref().to_owned()).collect();
        Some(Box::new(keys.into_iter().map(Ok)))
    }

    fn usage(&self) -> Usage {
        let held = self.held.read();
        Usage { keys: held.values.len() as u64, bytes: held.bytes, capacity: u64::MAX, evictions: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_follows_set_and_delete() {
        let cache = MemoryByteStore::new();
        cache.set("a", Bytes::from_static(b"12345")).unwrap();
        let five = cache.usage().bytes;
        cache.set("a", Bytes::from_static(b"12")).unwrap();
        assert_eq!(cache.usage().bytes, five - 3);
        cache.set("b", Bytes::new()).unwrap();
        assert_eq!(cache.usage().keys, 2);
        assert!(cache.delete("a").unwrap());
        assert!(!cache.delete("a").unwrap());
        assert!(cache.delete("b").unwrap());
        assert_eq!((cache.usage().keys, cache.usage().bytes), (0, 0));
    }
}
