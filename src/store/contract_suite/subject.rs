//! What a store does for its tests.

use std::sync::Arc;

use crate::message::purge::{Purge, Purged};
use crate::message::stored_bytes::Spill;
use crate::store::{Key, Store, StoredResponse};

/// A store under test.
pub(crate) trait Subject {
    /// Stores a response with a greater sequence than all before. Returns whether it is stored.
    fn insert(&self, key: &Key, response: &StoredResponse) -> bool;

    /// Finds the responses of a key, the newest first. Bodies need not be in memory.
    fn find(&self, key: &Key) -> Vec<Arc<StoredResponse>>;

    /// Removes the responses of a key.
    fn remove(&self, key: &Key);

    fn purge(&self, purge: &Purge) -> Purged;

    /// Begins to take a body while it arrives; `None` if the store does not do that.
    fn begin(&self, length: Option<u64>) -> Option<Arc<dyn Spill>> {
        let _ = length;
        None
    }

    /// Stores a response whose body it has taken.
    fn insert_spilled(&self, key: &Key, response: &StoredResponse, number: u64) -> bool {
        let _ = (key, response, number);
        false
    }

    /// Does what a restart of the process does. Returns whether the responses survive it.
    fn restart(&mut self) -> bool {
        true
    }

    /// Begins two fetches, stores the response of the second, and then that of the first.
    fn insert_late(&self, key: &Key, second: &StoredResponse, first: &StoredResponse);

    /// Another process that shares the store; `None` if no process can.
    fn other_process(&self) -> Option<Box<dyn Subject>> {
        None
    }

    /// Whether the newest response comes first also if another process stored it.
    fn orders_processes(&self) -> bool {
        true
    }

    /// Writes what waits to be written, and learns what other processes wrote.
    fn catch_up(&self) {}

    /// Whether the store counts the responses that this purge removes. A store on a network counts only those of one key.
    fn counts(&self, purge: &Purge) -> bool {
        let _ = purge;
        true
    }

    /// Whether the store keeps responses at all.
    fn keeps(&self) -> bool {
        true
    }
}

/// A [`Store`] under test.
pub(crate) struct StoreSubject<S> {
    store: S,
    sequence: std::sync::atomic::AtomicU64,
    keeps: bool,
}

impl<S: Store> StoreSubject<S> {
    /// For a store that keeps nothing.
    pub(crate) fn keeping_nothing(store: S) -> Self {
        Self { keeps: false, ..Self::new(store) }
    }

    pub(crate) fn new(store: S) -> Self {
        Self { store, sequence: std::sync::atomic::AtomicU64::new(1), keeps: true }
    }
}

impl<S: Store> Subject for StoreSubject<S> {
    fn insert(&self, key: &Key, response: &StoredResponse) -> bool {
        let sequence = self.sequence.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.store.insert(key, Arc::new(response.clone().with_sequence(sequence))).unwrap()
    }

    fn insert_late(&self, key: &Key, second: &StoredResponse, first: &StoredResponse) {
        for (response, sequence) in [(second, 20), (first, 10)] {
            self.store.insert(key, Arc::new(response.clone().with_sequence(sequence))).unwrap();
        }
    }

    fn find(&self, key: &Key) -> Vec<Arc<StoredResponse>> {
        self.store.variants(key).unwrap().to_vec()
    }

    fn remove(&self, key: &Key) {
        self.store.remove(key).unwrap();
    }

    fn purge(&self, purge: &Purge) -> Purged {
        self.store.purge(purge).unwrap().unwrap()
    }

    fn keeps(&self) -> bool {
        self.keeps
    }
}
