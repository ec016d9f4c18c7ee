//! One account of the memory that a cache holds, by use, against one limit.
//!
//! Whatever is kept is entered here by a [`Hold`], which takes it off when it is dropped. A reservation that would pass
//! the limit first asks the store to evict ([`MakeRoom`]); only when that does not help is it refused. What has to be
//! counted but cannot be refused is entered by [`Ledger::hold`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::base::named::named;

named! {
    /// What memory is used for.
    #[repr(usize)]
    pub(crate) enum Use: pub(crate) ALL {
        /// Keys, heads and bookkeeping of stored responses, and stored bodies that were not made by [`Ledger::share`].
        Entries = "entries",
        /// Bodies, stored or on their way, until their last holder drops them.
        Bodies = "bodies",
        /// Parts of bodies that pass through and have not been read by everybody.
        Windows = "windows",
        /// Content of requests that has not been passed on.
        Content = "content",
        /// Input that is not a whole head yet, and output that a client has not taken.
        Connections = "connections",
        /// Buffers of exchanges with origins.
        Fetches = "fetches",
    }
}

/// Whoever can give memory back: the store, by evicting.
pub(crate) trait MakeRoom: Send + Sync {
    /// Evicts until the ledger is within its limit, or as far as the store goes. Called by the thread that reserves,
    /// which holds no lock of the cache.
    fn make_room(&self);

    /// How many bytes it can give back at most.
    fn most_room(&self) -> u64;
}

/// How often the store is asked for one reservation. Other threads may take the room that it made.
const ATTEMPTS: usize = 3;

/// An account of memory in bytes, which a store, a cache and a server share: what one of them holds, the others cannot.
///
/// ```
/// let ledger = forwardcache::Ledger::new(64 << 20);
/// assert_eq!((ledger.limit(), ledger.total()), (64 << 20, 0));
/// ```
pub struct Ledger {
    limit: u64,
    held: [AtomicU64; Use::ALL.len()],
    /// How often a fetch could not start for want of memory.
    unstarted: AtomicU64,
    store: RwLock<Option<Weak<dyn MakeRoom>>>,
}

impl Ledger {
    /// An account with a limit in bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            held: Default::default(),
            unstarted: AtomicU64::new(0),
            store: RwLock::default(),
        })
    }

    /// Who is asked to evict: the first one, for as long as it lives. A second store of one ledger is not asked.
    pub(crate) fn set_store(&self, store: Weak<dyn MakeRoom>) {
        let mut own = self.store.write();
        if own.as_ref().is_none_or(|own| own.strong_count() == 0) {
            *own = Some(store);
        }
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn held(&self, by: Use) -> u64 {
        self.held[by as usize].load(Ordering::Relaxed)
    }

    /// How many bytes are held for all uses together.
    pub fn total(&self) -> u64 {
        self.held.iter().map(|held| held.load(Ordering::Relaxed)).sum()
    }

    /// What changes whenever a fetch cannot start for want of memory.
    pub(crate) fn unstarted(&self) -> u64 {
        self.unstarted.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.total() > self.limit
    }

    /// Whether more is held than the limit, and the store cannot give enough of it back. Evicts nothing.
    pub(crate) fn is_exhausted(&self) -> bool {
        let over = self.total().saturating_sub(self.limit);
        let store = || self.store.read().as_ref().and_then(Weak::upgrade);
        over > 0 && store().is_none_or(|store| over > store.most_room())
    }

    /// Reserves so many bytes; `None` when they do not fit, also after the store has evicted what it can.
    pub(crate) fn reserve(self: &Arc<Self>, by: Use, bytes: u64) -> Option<Hold> {
        let mut hold = Hold { ledger: Arc::clone(self), by, bytes: 0 };
        hold.try_grow(bytes).then_some(hold)
    }

    /// Counts so many bytes, whether or not they fit.
    pub(crate) fn hold(self: &Arc<Self>, by: Use, bytes: u64) -> Hold {
        self.add(by, bytes);
        Hold { ledger: Arc::clone(self), by, bytes }
    }

    /// Shared bytes that count until their last holder drops them.
    pub(crate) fn share(self: &Arc<Self>, by: Use, bytes: Box<[u8]>) -> Bytes {
        let hold = self.hold(by, bytes.len() as u64);
        Bytes::from_owner(Counted { bytes, _hold: hold })
    }

    /// The same if they fit.
    ///
    /// # Errors
    ///
    /// The bytes, if they do not.
    pub(crate) fn try_share(self: &Arc<Self>, by: Use, bytes: Box<[u8]>) -> Result<Bytes, Box<[u8]>> {
        match self.reserve(by, bytes.len() as u64) {
            Some(hold) => Ok(Bytes::from_owner(Counted { bytes, _hold: hold })),
            None => Err(bytes),
        }
    }

    pub(crate) fn add(&self, by: Use, bytes: u64) {
        self.held[by as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, by: Use, bytes: u64) {
        self.held[by as usize].fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Lets the store evict for so many new bytes; says whether the ledger is within its limit then. Nothing is evicted
    /// for what cannot fit.
    pub(crate) fn make_room(&self, bytes: u64) -> bool {
        let store = self.store.read().as_ref().and_then(Weak::upgrade);
        let Some(store) = store else { return false };
        for _ in 0..ATTEMPTS {
            let over = self.total().saturating_sub(self.limit);
            if over <= bytes && over > store.most_room() {
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

/// Bytes that count for as long as they are held.
struct Counted {
    bytes: Box<[u8]>,
    _hold: Hold,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An entry of the ledger, taken off when it is dropped.
pub(crate) struct Hold {
    ledger: Arc<Ledger>,
    by: Use,
    bytes: u64,
}

impl Hold {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves so many more; `false` when they do not fit, and then nothing has changed.
    pub(crate) fn try_grow(&mut self, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        self.ledger.add(self.by, bytes);
        if self.ledger.is_over() && !self.ledger.make_room(bytes) {
            self.ledger.subtract(self.by, bytes);
            if self.by == Use::Fetches {
                self.ledger.unstarted.fetch_add(1, Ordering::Relaxed);
            }
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Sets how many bytes are held, whether or not they fit.
    pub(crate) fn set(&mut self, bytes: u64) {
        if bytes > self.bytes {
            self.ledger.add(self.by, bytes - self.bytes);
        } else {
            self.ledger.subtract(self.by, self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.ledger.subtract(self.by, self.bytes);
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        map.entry(&"limit", &self.limit);
        for by in Use::ALL {
            map.entry(&by.name(), &self.held(by));
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_taken_off() {
        let ledger = Ledger::new(100);
        let mut hold = ledger.reserve(Use::Windows, 60).unwrap();
        assert!(ledger.reserve(Use::Content, 41).is_none());
        assert!(hold.try_grow(40) && !hold.try_grow(1));
        let over = ledger.hold(Use::Content, 7);
        assert!(ledger.is_over());
        assert_eq!((ledger.total(), ledger.held(Use::Windows), hold.bytes()), (107, 100, 100));
        hold.set(10);
        assert_eq!(ledger.total(), 17);
        drop((hold, over));
        assert_eq!(ledger.total(), 0);
    }

    #[test]
    fn shared_bytes_count_until_the_last_holder_drops_them() {
        let ledger = Ledger::new(100);
        let bytes = ledger.share(Use::Bodies, vec![7; 50].into());
        let part = bytes.slice(1..2);
        drop(bytes);
        assert_eq!(ledger.held(Use::Bodies), 50);
        let refused = ledger.try_share(Use::Bodies, vec![7; 51].into()).unwrap_err();
        assert_eq!((refused.len(), ledger.total()), (51, 50));
        drop(ledger.try_share(Use::Bodies, vec![7; 50].into()).unwrap());
        drop(part);
        assert_eq!(ledger.held(Use::Bodies), 0);
    }

    #[test]
    fn the_store_is_asked_to_evict_before_a_reservation_is_refused() {
        struct Store(parking_lot::Mutex<Vec<Hold>>);
        impl MakeRoom for Store {
            fn make_room(&self) {
                drop(self.0.lock().pop());
            }

            fn most_room(&self) -> u64 {
                self.0.lock().iter().map(Hold::bytes).sum()
            }
        }
        let ledger = Ledger::new(100);
        let store = Arc::new(Store(parking_lot::Mutex::default()));
        let weak: Weak<Store> = Arc::downgrade(&store);
        ledger.set_store(weak);
        store.0.lock().push(ledger.hold(Use::Entries, 90));
        assert!(ledger.reserve(Use::Fetches, 101).is_none());
        assert_eq!(ledger.total(), 90, "nothing is evicted for what cannot fit");
        let hold = ledger.reserve(Use::Fetches, 50).unwrap();
        assert_eq!(ledger.total(), 50);
        assert!(ledger.reserve(Use::Fetches, 51).is_none());
        drop(hold);
        store.0.lock().push(ledger.hold(Use::Entries, 60));
        let held = ledger.hold(Use::Content, 100);
        assert!(ledger.is_over() && !ledger.is_exhausted(), "the store can give it back");
        let more = ledger.hold(Use::Content, 1);
        assert!(ledger.is_exhausted());
        drop((held, more));
        assert!(!ledger.is_exhausted());
    }
}
