//! What a bounded cache knows of the cache inside: its keys, and what each takes.

use std::fmt;
use std::hash::RandomState;
use std::mem::size_of;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;

/// The keys in the order of use, each with what it takes.
pub(super) struct Index {
    pub(super) sizes: LruCache<Arc<str>, u64, RandomState>,
    pub(super) bytes: u64,
    pub(super) evictions: u64,
}

impl Index {
    pub(super) fn new() -> Self {
        Self { sizes: LruCache::unbounded_with_hasher(RandomState::new()), bytes: 0, evictions: 0 }
    }

    /// The key is used now, and takes this much.
    pub(super) fn account(&mut self, key: &str, size: u64) {
        let held = match self.sizes.get_mut(key) {
            Some(held) => std::mem::replace(held, size),
            None => self.sizes.put(key.into(), size).unwrap_or(0),
        };
        self.bytes = self.bytes - held + size;
    }

    /// The key is used now. Gives what it takes; nothing, where it is unknown.
    pub(super) fn touch(&mut self, key: &str) -> u64 {
        self.sizes.get(key).copied().unwrap_or(0)
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.bytes -= self.sizes.pop(key).unwrap_or(0);
    }

    /// What has to go first for `needed` more bytes to fit.
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

/// What a key takes. Its text counts twice: the index and the inner cache each keep it.
pub(super) fn size(key: &str, value: &Bytes) -> u64 {
    BOOKKEEPING + 2 * key.len() as u64 + value.len() as u64
}

/// A key's node in the list (the pair and two links), its slot in the table (two words and a byte, of
/// which up to half are empty), the counts of the shared key, and the allocator's two words for each
/// of node and key.
pub(super) const BOOKKEEPING: u64 =
    (size_of::<(Arc<str>, u64)>() + (2 + 2 * 2 + 1 + 2 + 2 * 2) * size_of::<usize>()) as u64;
