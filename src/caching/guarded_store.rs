//! The store, whose trouble is never the client's.

use std::sync::Arc;

use log::warn;

use super::fetches::Fetch;
use crate::stats::Stats;
use crate::store::{Key, Store, StoreError, StoredResponse, Variants};

/// A store whose errors are counted and logged, and read as "nothing there" and "not stored".
#[derive(Clone, Debug)]
pub(crate) struct GuardedStore {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
}

impl GuardedStore {
    pub(crate) fn new(store: Arc<dyn Store>, stats: Arc<Stats>) -> Self {
        Self { store, stats }
    }

    pub(crate) fn variants(&self, key: &Key) -> Variants {
        self.answer("read", self.store.variants(key))
    }

    /// Stores what a fetch brought, unless something newer is known by now; says whether it is stored.
    pub(crate) fn insert(&self, fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        if !fetch.claim(response.variant()) {
            return false;
        }
        if !self.answer("write", self.store.insert(fetch.key(), Arc::clone(response))) {
            return false;
        }
        // While it was being written, the key may have been invalidated, or a newer response been stored
        // and then replaced by this one. To store nothing is right in both cases.
        if fetch.is_overtaken(response.variant()) {
            self.remove(fetch.key());
            return false;
        }
        self.stats.count_stored();
        true
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.answer("remove", self.store.remove(key));
    }

    pub(crate) fn max_body(&self) -> u64 {
        self.store.max_body()
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
