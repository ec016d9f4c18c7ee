//! The keys of an [`Lru`](super::Lru) and their sizes.

use std::fmt;
use std::hash::RandomState;
use std::mem::size_of;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;

/// The keys in the order of use, with the size of each.
pub(super) struct Index {
    pub(super) sizes: LruCache<Arc<str>, u64, RandomState>,
    pub(super) bytes: u64,
    pub(super) evictions: u64,
}

impl Index {
    pub(super) fn new() -> Self {
        Self { sizes: LruCache::unbounded_with_hasher(RandomState::new()), bytes: 0, evictions: 0 }
    }

    /// Marks the key as used now and sets its size.
    pub(super) fn account(&mut self, key: &str, size: u64) {
        let held = match self.sizes.get_mut(key) {
            Some(held) => std::mem::replace(held, size),
            None => self.sizes.put(key.into(), size).unwrap_or(0),
        };
        self.bytes = self.bytes - held + size;
    }

    /// Marks the key as used now. Returns its size, or 0 if it is not in the index.
    pub(super) fn touch(&mut self, key: &str) -> u64 {
        self.sizes.get(key).copied().unwrap_or(0)
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.bytes -= self.sizes.pop(key).unwrap_or(0);
    }

    /// Returns the next key to evict if `needed` more bytes do not fit.
    pub(super) fn victim(&self, capacity: u64, needed: u64) -> Option<Arc<str>> {
        let is_over = self.bytes.saturating_add(needed) > capacity;
        if is_over { self.sizes.peek_lru().map(|(key, _)| Arc::clone(key)) } else { None }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("keys", &self.sizes.len()).field("bytes", &self.bytes).finish()
    }
}

/// Returns the size of a key and its value. The key's text counts twice, because the index and the backend
/// each store it.
pub(super) fn size(key: &str, value: &Bytes) -> u64 {
    BOOKKEEPING + 2 * key.len() as u64 + value.len() as u64
}

/// The key's node in the list (the pair and two links), its slot in the table (two words and a byte; up to
/// half of the slots are empty), the reference counts of the shared key, and two words of the allocator for
/// both node and key.
pub(super) const BOOKKEEPING: u64 =
    (size_of::<(Arc<str>, u64)>() + (2 + 2 * 2 + 1 + 2 + 2 * 2) * size_of::<usize>()) as u64;
