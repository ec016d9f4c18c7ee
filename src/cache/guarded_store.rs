//! Wraps the store, so that a failing store never fails a request.

use std::sync::Arc;

use std::time::SystemTime;

use log::warn;

use super::soft_purges::SoftPurges;
use super::tombstones::{Fetch, Resource, Sequence, Tombstones};
use crate::message::purge::{Purge, Purged};
use crate::message::stats::Stats;
use crate::store::{Key, Store, StoreError, StoredResponse, Variants};

/// A store whose errors are counted and logged. A failed read finds nothing, and a failed write stores nothing.
/// Responses that were invalidated after they were stored count as not stored.
#[derive(Clone)]
pub(crate) struct GuardedStore {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
    tombstones: Arc<Tombstones>,
    soft_purges: Arc<SoftPurges>,
    max_body: u64,
}

impl GuardedStore {
    /// Wraps a store, with an additional limit to the length of stored bodies.
    pub(crate) fn new(store: Arc<dyn Store>, stats: Arc<Stats>, max_body: u64) -> Self {
        Self { store, stats, tombstones: Arc::default(), soft_purges: Arc::default(), max_body }
    }

    /// Returns the tombstones of all invalidations.
    pub(crate) fn tombstones(&self) -> &Arc<Tombstones> {
        &self.tombstones
    }

    pub(crate) fn variants(&self, key: &Key) -> Variants {
        let read = || self.answer("read", self.store.variants(key));
        self.judged(|| Some(self.valid(key.as_str(), read()))).unwrap_or_default()
    }

    /// Like [`variants`](Self::variants), but does not count as a use of the responses.
    pub(crate) fn peek(&self, key: &Key) -> Result<Variants, StoreError> {
        self.judged(|| self.store.peek(key).map(|variants| self.valid(key.as_str(), variants)))
    }

    /// Like [`variants`](Self::variants), for the text of a key. Returns `None` if the store would block.
    pub(crate) fn at_once(&self, key: &str) -> Option<Variants> {
        self.judged(|| Some(self.valid(key, self.store.at_once(key)?)))
    }

    /// Repeats a read until no tombstone was retired between the read and its judgement.
    fn judged<T>(&self, read: impl Fn() -> T) -> T {
        loop {
            let before = self.tombstones.retirements();
            let found = read();
            if self.tombstones.retirements() == before {
                return found;
            }
        }
    }

    /// Whether a response that was found under a key is still valid.
    pub(crate) fn is_valid(&self, key: &Key, stored: &StoredResponse) -> bool {
        !self.tombstones.covers(key.as_str(), stored)
    }

    fn valid(&self, key: &str, variants: Variants) -> Variants {
        let variants = if variants.iter().any(|stored| self.tombstones.covers(key, stored)) {
            variants.iter().filter(|stored| !self.tombstones.covers(key, stored)).cloned().collect()
        } else {
            variants
        };
        self.soft_purges.mark_all(key, variants, &self.tombstones)
    }

    /// Whether later requests may share the fetch with this key, URL and number.
    pub(crate) fn is_joinable<'a>(&self, resource: impl Into<Resource<'a>>, sequence: Sequence) -> bool {
        let resource = resource.into();
        !self.tombstones.covers_key(resource, sequence) && !self.soft_purges.covers_key(resource, sequence)
    }

    /// Stores the response of a fetch, unless an invalidation covers the fetch; returns whether it is stored. The
    /// response must have the sequence number of the fetch.
    pub(crate) fn insert(&self, fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        if !self.may_insert(fetch, response) {
            return false;
        }
        let stale = || self.soft_purges.mark(fetch.key().as_str(), response, &self.tombstones);
        let write = |response| self.answer("write", self.store.insert(fetch.key(), response));
        let marked = stale();
        let is_marked = marked.is_some();
        if !write(marked.unwrap_or_else(|| Arc::clone(response))) {
            return false;
        }
        if !is_marked && let Some(marked) = stale() {
            write(marked);
        }
        // An invalidation during the write may have removed nothing, because the response was not yet stored.
        if !self.may_insert(fetch, response) {
            self.remove(fetch.key());
            return false;
        }
        self.stats.count_stored();
        true
    }

    fn may_insert(&self, fetch: &Fetch, response: &StoredResponse) -> bool {
        self.is_valid(fetch.key(), response) && !self.tombstones.is_unstorable(fetch.sequence())
    }

    /// Removes what is stored under a key.
    pub(crate) fn remove(&self, key: &Key) {
        self.try_remove(key);
    }

    /// Removes the responses under a key; returns whether the store succeeded.
    pub(super) fn try_remove(&self, key: &Key) -> bool {
        self.answer("remove", self.store.remove(key).map(|_| true))
    }

    /// Voids the responses that a purge selects, and removes them. Responses that the store cannot list, or fails to
    /// remove, count as not stored from then on.
    pub(super) fn purge(&self, purge: &Purge, now: SystemTime) -> Purged {
        if purge.is_soft() {
            let (purge, sequence) = self.soft_purges.add(purge, &self.tombstones, now);
            let purged = self.answer("purge", self.store.purge(&purge));
            if purged.is_some() {
                self.soft_purges.note_swept(sequence, &self.tombstones);
            }
            return purged.unwrap_or_else(Purged::uncounted);
        }
        let tombstone = self.tombstones.add_purge(purge, now);
        let purged = self.sweep(purge, tombstone);
        if !purged.is_counted
            && let Some(url) = purge.single_url()
        {
            self.remove(&Key::new(url));
        }
        purged
    }

    /// Removes the responses that a tombstone covers. The tombstone is retired if the store can list its responses.
    pub(super) fn sweep(&self, purge: &Purge, tombstone: Sequence) -> Purged {
        let purged = self.answer("purge", self.store.purge(&purge.clone().before(tombstone)));
        if purged.is_some() {
            self.tombstones.note_swept(tombstone);
        }
        purged.unwrap_or_else(Purged::uncounted)
    }

    pub(crate) fn max_body(&self) -> u64 {
        self.store.max_body().min(self.max_body)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn answer<T: Default>(&self, what: &str, result: Result<T, StoreError>) -> T {
        result.unwrap_or_else(|error| {
            self.stats.count_store_error();
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            warn!("the store failed to {what}: {error}{cause}");
            T::default()
        })
    }
}
