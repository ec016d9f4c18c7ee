//! The store, whose trouble is never the client's.

use std::sync::Arc;

use std::time::SystemTime;

use log::warn;
use parking_lot::RwLock;

use super::fetches::Fetch;
use super::groups::Groups;
use super::purges::Purges;
use crate::purge::{Purge, Purged};
use crate::stats::Stats;
use crate::store::{Key, Store, StoreError, StoredResponse, Variants, url_of};

/// A store whose errors are counted and logged, and read as "nothing there" and "not stored". So is what
/// belongs to a group that was invalidated since, and what was purged and could not be removed.
#[derive(Clone)]
pub(crate) struct GuardedStore {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
    groups: Arc<Groups>,
    purges: Arc<Purges>,
    /// Shared while something is stored, from before it is claimed: see [`wait_for_inserts`]. It is held over a
    /// call of the store; that is what it is for, and nobody who holds another lock waits for it.
    ///
    /// [`wait_for_inserts`]: Self::wait_for_inserts
    inserting: Arc<RwLock<()>>,
}

impl GuardedStore {
    pub(crate) fn new(store: Arc<dyn Store>, stats: Arc<Stats>) -> Self {
        Self { store, stats, groups: Arc::default(), purges: Arc::default(), inserting: Arc::default() }
    }

    /// The groups that were invalidated.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The purges.
    pub(crate) fn purges(&self) -> &Purges {
        &self.purges
    }

    pub(crate) fn variants(&self, key: &Key) -> Variants {
        self.valid(key.url(), self.answer("read", self.store.variants(key)))
    }

    /// The same for one who only looks.
    pub(crate) fn peek(&self, key: &Key) -> Result<Variants, StoreError> {
        Ok(self.valid(key.url(), self.store.peek(key)?))
    }

    /// Without those that belong to a group which was invalidated since, or were purged.
    fn valid(&self, url: &str, variants: Variants) -> Variants {
        let purged = self.purges.last_of(url);
        let is_invalid = |stored: &Arc<StoredResponse>| {
            // Within one tick of the clock nobody knows what was first.
            purged.is_some_and(|purged| stored.validity().response_time <= purged)
                || self.groups.have_invalidated(url, stored)
        };
        if !variants.iter().any(is_invalid) {
            return variants;
        }
        variants.iter().filter(|stored| !is_invalid(stored)).cloned().collect()
    }

    /// Stores what a fetch brought, unless something newer is known by now; says whether it is stored.
    pub(crate) fn insert(&self, fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        let _inserting = self.inserting.read();
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

    /// Waits for everything that is being stored at this moment. What is stored later knows of what was
    /// invalidated before.
    pub(super) fn wait_for_inserts(&self) {
        drop(self.inserting.write());
    }

    /// Removes what is to be purged. What cannot be removed because the store cannot find it, or fails, counts
    /// as not stored up to `now`.
    pub(super) fn purge(&self, purge: &Purge, now: impl Fn() -> SystemTime) -> Purged {
        let result = self.store.purge(purge);
        if matches!(result, Err(_) | Ok(None)) {
            // First remembered, so that at no moment it is neither this nor that.
            self.purges.remember(purge, now());
            if let Some(url) = purge.single_url() {
                self.remove(&Key::new(url));
            }
        }
        self.answer("purge", result).unwrap_or_else(Purged::uncounted)
    }

    pub(crate) fn max_body(&self) -> u64 {
        self.store.max_body()
    }

    /// As [`variants`](Self::variants), found by the text of a key; `None` where somebody would have to wait.
    pub(crate) fn at_once(&self, key: &str) -> Option<Variants> {
        let variants = self.store.at_once(key)?;
        Some(self.valid(url_of(key), variants))
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
