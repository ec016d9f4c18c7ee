//! One memory account for a store, a cache and a server, with a single limit.
//!
//! Each allocation is recorded by a [`Hold`], whose `Drop` releases the bytes. If a reservation exceeds the limit, the
//! ledger first asks the store to evict ([`Evict`]) and refuses the reservation only if that frees too little.
//! Memory that cannot be refused is recorded with [`Ledger::hold`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::base::named::named;

named! {
    /// The purpose of a piece of memory.
    #[repr(usize)]
    pub(crate) enum MemoryUse: pub(crate) ALL {
        /// Keys, heads and bookkeeping of stored responses, and stored bodies that [`Ledger::share`] did not allocate.
        Entries = "entries",
        /// Bodies, stored or in transit, until their last holder drops them.
        Bodies = "bodies",
        /// Parts of unstored bodies in transit that some reader has not read yet.
        Windows = "windows",
        /// Request bodies that have not been forwarded yet.
        Content = "content",
        /// Incomplete request heads, and output that a client has not read yet.
        Connections = "connections",
        /// Buffers of connections to origins.
        Fetches = "fetches",
        /// Names of recent traffic for operators.
        Statistics = "statistics",
    }
}

/// Frees memory on request. The store implements it by evicting entries.
pub(crate) trait Evict: Send + Sync {
    /// Evicts until the ledger is within its limit or nothing is left to evict. The reserving thread calls this
    /// without holding a lock of the cache.
    fn make_room(&self);

    /// Returns the maximum number of bytes that eviction can free.
    fn max_evictable(&self) -> u64;
}

/// How often one reservation asks the store to evict. Another thread may take the freed memory first.
const MAX_ATTEMPTS: usize = 3;

/// A memory account in bytes. A store, a cache and a server share it, so all of them together stay within one limit.
///
/// ```
/// let ledger = forwardcache::store::Ledger::new(64 << 20);
/// assert_eq!((ledger.limit(), ledger.total()), (64 << 20, 0));
/// ```
pub struct Ledger {
    limit: u64,
    held: [AtomicU64; MemoryUse::ALL.len()],
    /// The number of fetches that were refused because memory was short.
    refused_fetches: AtomicU64,
    store: RwLock<Option<Weak<dyn Evict>>>,
}

impl Ledger {
    /// Creates an account with a limit in bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            held: Default::default(),
            refused_fetches: AtomicU64::new(0),
            store: RwLock::default(),
        })
    }

    /// Registers the store that evicts on demand. The first store stays registered while it exists; others are ignored.
    pub(crate) fn set_store(&self, store: Weak<dyn Evict>) {
        let mut own = self.store.write();
        if own.as_ref().is_none_or(|own| own.strong_count() == 0) {
            *own = Some(store);
        }
    }

    /// Returns the limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn held(&self, purpose: MemoryUse) -> u64 {
        self.held[purpose as usize].load(Ordering::Relaxed)
    }

    /// Returns the bytes held for all purposes together.
    pub fn total(&self) -> u64 {
        self.held.iter().map(|held| held.load(Ordering::Relaxed)).sum()
    }

    /// Returns the number of fetches that were refused because memory was short.
    pub(crate) fn refused_fetches(&self) -> u64 {
        self.refused_fetches.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.total() > self.limit
    }

    /// Returns whether the account stays over its limit although the store evicts.
    pub(crate) fn is_short(&self) -> bool {
        self.is_over() && !self.make_room(u64::MAX)
    }

    /// Returns whether the account is over its limit by more than the store can free. Evicts nothing.
    pub(crate) fn is_exhausted(&self) -> bool {
        let over = self.total().saturating_sub(self.limit);
        let store = || self.store.read().as_ref().and_then(Weak::upgrade);
        over > 0 && store().is_none_or(|store| over > store.max_evictable())
    }

    /// Reserves `bytes`. Returns `None` if they do not fit even after the store has evicted.
    pub(crate) fn reserve(self: &Arc<Self>, purpose: MemoryUse, bytes: u64) -> Option<Hold> {
        let mut hold = Hold { ledger: Arc::clone(self), purpose, bytes: 0 };
        hold.try_grow(bytes).then_some(hold)
    }

    /// Records `bytes` even if they exceed the limit.
    pub(crate) fn hold(self: &Arc<Self>, purpose: MemoryUse, bytes: u64) -> Hold {
        self.add(purpose, bytes);
        Hold { ledger: Arc::clone(self), purpose, bytes }
    }

    /// Returns shared bytes that are counted until their last holder drops them, even if they exceed the limit.
    pub(crate) fn share(self: &Arc<Self>, purpose: MemoryUse, bytes: Box<[u8]>) -> Bytes {
        self.count(purpose, bytes.len() as u64, bytes)
    }

    /// Like [`share`](Self::share), for a buffer of which `length` bytes are counted.
    pub(crate) fn count<T: AsRef<[u8]> + Send + 'static>(
        self: &Arc<Self>,
        purpose: MemoryUse,
        length: u64,
        bytes: T,
    ) -> Bytes {
        Bytes::from_owner(Counted { bytes, _hold: self.hold(purpose, length) })
    }

    /// Returns shared bytes that are counted until their last holder drops them, if they fit.
    ///
    /// # Errors
    ///
    /// Returns the unchanged bytes if they do not fit.
    pub(crate) fn try_share(
        self: &Arc<Self>,
        purpose: MemoryUse,
        bytes: Box<[u8]>,
    ) -> Result<Bytes, Box<[u8]>> {
        match self.reserve(purpose, bytes.len() as u64) {
            Some(hold) => Ok(Bytes::from_owner(Counted { bytes, _hold: hold })),
            None => Err(bytes),
        }
    }

    pub(crate) fn add(&self, purpose: MemoryUse, bytes: u64) {
        self.held[purpose as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, purpose: MemoryUse, bytes: u64) {
        self.held[purpose as usize].fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Lets the store evict for a reservation of `bytes` and returns whether the ledger is within its limit afterwards.
    /// Evicts nothing if the store cannot free enough.
    pub(crate) fn make_room(&self, bytes: u64) -> bool {
        let store = self.store.read().as_ref().and_then(Weak::upgrade);
        let Some(store) = store else { return false };
        for _ in 0..MAX_ATTEMPTS {
            let over = self.total().saturating_sub(self.limit);
            if over <= bytes && over > store.max_evictable() {
                break;
            }
            store.make_room();
            if !self.is_over() {
                return true;
            }
        }
        false
    }
}

/// Bytes that are counted while they exist.
struct Counted<T> {
    bytes: T,
    _hold: Hold,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A record in the ledger. Dropping it releases the bytes.
pub(crate) struct Hold {
    ledger: Arc<Ledger>,
    purpose: MemoryUse,
    bytes: u64,
}

impl Hold {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves `bytes` more. Returns `false` and changes nothing if they do not fit.
    pub(crate) fn try_grow(&mut self, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        self.ledger.add(self.purpose, bytes);
        if self.ledger.is_over() && !self.ledger.make_room(bytes) {
            self.ledger.subtract(self.purpose, bytes);
            if self.purpose == MemoryUse::Fetches {
                self.ledger.refused_fetches.fetch_add(1, Ordering::Relaxed);
            }
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Sets the number of held bytes, even if they exceed the limit.
    pub(crate) fn set(&mut self, bytes: u64) {
        if bytes > self.bytes {
            self.ledger.add(self.purpose, bytes - self.bytes);
        } else {
            self.ledger.subtract(self.purpose, self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.ledger.subtract(self.purpose, self.bytes);
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        map.entry(&"limit", &self.limit);
        for purpose in MemoryUse::ALL {
            map.entry(&purpose.name(), &self.held(purpose));
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests;
