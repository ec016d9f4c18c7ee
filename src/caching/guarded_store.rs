//! The store, whose trouble is never the client's.

use std::sync::Arc;

use log::warn;

use super::fetches::Fetch;
use super::groups::Groups;
use crate::fill::Room;
use crate::stats::Stats;
use crate::store::{Key, Store, StoreError, StoredResponse, Variants};

/// A store whose errors are counted and logged, and read as "nothing there" and "not stored". So is what
/// belongs to a group that was invalidated since.
#[derive(Clone)]
pub(crate) struct GuardedStore {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
    groups: Arc<Groups>,
}

impl GuardedStore {
    pub(crate) fn new(store: Arc<dyn Store>, stats: Arc<Stats>) -> Self {
        Self { store, stats, groups: Arc::default() }
    }

    /// The groups that were invalidated.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn variants(&self, key: &Key) -> Variants {
        self.valid(key.url(), self.answer("read", self.store.variants(key)))
    }

    /// Without those that belong to a group which was invalidated since.
    fn valid(&self, url: &str, variants: Variants) -> Variants {
        let is_invalid = |stored: &Arc<StoredResponse>| self.groups.have_invalidated(url, stored);
        if !variants.iter().any(is_invalid) {
            return variants;
        }
        variants.iter().filter(|stored| !is_invalid(stored)).cloned().collect()
    }

    /// Stores what a fetch brought, unless something newer is known by now; says whether it is stored.
    pub(crate) fn insert(&self, fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        if self.is_of_the_past(fetch, response) || !fetch.claim(response.variant()) {
            return false;
        }
        if !self.answer("write", self.store.insert(fetch.key(), Arc::clone(response))) {
            return false;
        }
        // While it was being written, the key or a group may have been invalidated, or a newer response been stored
        // and then replaced by this one. To store nothing is right in both cases.
        if fetch.is_overtaken(response.variant()) || self.is_of_the_past(fetch, response) {
            self.remove(fetch.key());
            return false;
        }
        self.stats.count_stored();
        true
    }

    fn is_of_the_past(&self, fetch: &Fetch, response: &StoredResponse) -> bool {
        self.groups.have_overtaken_stored(fetch.key().url(), fetch.ticket(), response)
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.answer("remove", self.store.remove(key));
    }

    pub(crate) fn max_body(&self) -> u64 {
        self.store.max_body()
    }

    /// As [`variants`](Self::variants), found by the text of a key; `None` where somebody would have to wait.
    pub(crate) fn at_once(&self, key: &str) -> Option<Variants> {
        let variants = self.store.at_once(key)?;
        // A key's URL ends where a space begins its partition.
        let url = key.split(' ').next().unwrap_or(key);
        Some(self.valid(url, variants))
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn answer<T: Default>(&self, what: &str, result: Result<T, StoreError>) -> T {
        result.unwrap_or_else(|error| {
            self.stats.count_store_error();
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            warn!("the store cannot {what}: {error}{cause}");
            T::default()
        })
    }
}

impl Room for GuardedStore {
    fn reserve(&self, bytes: u64) -> bool {
        self.store.reserve(bytes)
    }

    fn release(&self, bytes: u64) {
        self.store.release(bytes);
    }
}
