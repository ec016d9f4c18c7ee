//! Wraps the store, so that a failing store never fails a request.

mod tiers;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;
use parking_lot::Mutex;

pub(super) use self::tiers::Below;
use super::tombstones::{Fetch, Resource, Sequence, Tombstones};
use crate::message::purge::{Purge, Purged};
use crate::metrics::Stats;
use crate::policy::{Basis, Rules, RulesDigest, Stored, judge_again};
use crate::store::{Key, Store, StoreError, StoredResponse, Tier, Variants, url_of};

/// A store whose errors are counted, and logged once a minute. A failed read finds nothing, and a failed write stores nothing.
/// Responses that were invalidated after they were stored count as not stored.
#[derive(Clone)]
pub(crate) struct GuardedStore {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
    tombstones: Arc<Tombstones>,
    max_body: u64,
    /// The rules of the cache and their digest.
    rules: Option<Arc<(RulesDigest, Rules)>>,
    /// The tiers below the store in memory, the fastest first.
    tiers: Vec<AttachedTier>,
    /// When a failure of the store was last logged.
    reported: Arc<Mutex<Option<Instant>>>,
}

/// The least time between two log messages about a failing store.
const BETWEEN_REPORTS: Duration = Duration::from_secs(60);

/// Where the beginning of a body is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Memory,
    /// In the file with this number.
    File(u64),
    /// In a file that is still written.
    GrowingFile(u64),
}

/// A tier below the store in memory.
#[derive(Clone)]
struct AttachedTier {
    tier: Arc<dyn Tier>,
    /// Applies the invalidations of other processes to what is in memory.
    _listener: Arc<dyn Fn(&Purge) + Send + Sync>,
}

impl GuardedStore {
    /// Wraps a store, with an additional limit to the length of stored bodies.
    pub(crate) fn new(store: Arc<dyn Store>, stats: Arc<Stats>, max_body: u64) -> Self {
        let (tombstones, reported) = Default::default();
        Self { store, stats, tombstones, max_body, rules: None, tiers: Vec::new(), reported }
    }

    /// Sets the rules of the cache. Responses that were stored under other rules are judged again.
    pub(crate) fn with_rules(self, rules: &Rules) -> Self {
        Self { rules: Some(Arc::new((rules.digest(), rules.clone()))), ..self }
    }

    /// Adds a tier below the others.
    pub(crate) fn with_tier(mut self, tier: Arc<dyn Tier>) -> Self {
        // Later invalidations must have greater numbers than the stored responses, even if the clock was set back.
        self.tombstones.begin_after(tier.sequence());
        let above = self.clone();
        let listener: Arc<dyn Fn(&Purge) + Send + Sync> = Arc::new(move |purge: &Purge| {
            // The sequence ensures that the number is greater than those of all earlier fetches.
            above.purge(purge, purge.time().unwrap_or(SystemTime::UNIX_EPOCH));
        });
        tier.on_invalidation(Arc::downgrade(&listener));
        self.tiers.push(AttachedTier { tier, _listener: listener });
        self
    }

    /// Returns the tiers below the store in memory, the fastest first.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Arc<dyn Tier>> {
        self.tiers.iter().map(|attached| &attached.tier)
    }

    /// Returns the tombstones of all invalidations.
    pub(crate) fn tombstones(&self) -> &Arc<Tombstones> {
        &self.tombstones
    }

    pub(crate) fn variants(&self, key: &Key) -> Variants {
        let read = || self.answer("read", self.store.variants(key));
        self.judged(|| Some(self.valid(key.as_str(), read()))).unwrap_or_default()
    }

    /// The same for one who only looks, in all tiers.
    pub(crate) fn peek(&self, key: &Key, now: SystemTime) -> Result<Variants, StoreError> {
        let in_memory =
            self.judged(|| self.store.peek(key).map(|variants| self.valid(key.as_str(), variants)))?;
        Ok(self.all(key, in_memory, now, Below::All, |_| false))
    }

    /// Like [`variants`](Self::variants), for the text of a key. Returns `None` if the store would block.
    pub(crate) fn variants_nonblocking(&self, key: &str) -> Option<Variants> {
        self.judged(|| Some(self.valid(key, self.store.variants_nonblocking(key)?)))
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
        let variants = self.judged_again(key, variants);
        self.tombstones.mark_all(key, variants)
    }

    /// Judges responses again that were stored under other rules, and drops those that the rules would not have stored.
    fn judged_again(&self, key: &str, variants: Variants) -> Variants {
        let Some((digest, rules)) = self.rules.as_deref() else { return variants };
        if variants.iter().all(|stored| stored.basis().is_of(*digest)) {
            return variants;
        }
        let judge = |stored: &Arc<StoredResponse>| {
            if stored.basis().is_of(*digest) {
                return Some(Arc::clone(stored));
            }
            let response = Stored {
                url: stored.url().unwrap_or_else(|| url_of(key)),
                is_partitioned: url_of(key).len() < key.len(),
                status: stored.status(),
                headers: &stored.headers(),
                variant: stored.variant(),
                validity: stored.validity(),
                basis: stored.basis(),
            };
            let validity = judge_again(response, rules, stored.sequence())?;
            let basis = Basis { rules: *digest, ..stored.basis() };
            Some(Arc::new(stored.with_validity(validity).with_basis(basis)))
        };
        variants.iter().filter_map(judge).collect()
    }

    /// Whether later requests may share the fetch with this key, URL and number.
    pub(crate) fn is_joinable<'a>(&self, resource: impl Into<Resource<'a>>, sequence: Sequence) -> bool {
        self.tombstones.is_joinable(resource, sequence)
    }

    /// Stores the response of a fetch, unless an invalidation covers the fetch; returns whether it is stored. The
    /// response must have the sequence number of the fetch.
    pub(crate) fn insert(&self, fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        let is_stored = self.insert_by(fetch, response, |response| {
            let is_in_memory = response.remote().is_none() && self.insert_in_memory(fetch, response);
            self.put(&self.tiers, fetch, response) || is_in_memory
        });
        if is_stored == Some(true) {
            self.stats.count_stored();
        } else if is_stored == Some(false) {
            self.remove(fetch.key());
        }
        is_stored == Some(true)
    }

    fn insert_in_memory(&self, fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        self.answer("write", self.store.insert(fetch.key(), Arc::clone(response)))
    }

    /// Writes a response, marked as stale if a soft purge covers it. Returns whether it is still valid afterwards;
    /// `None` if it was not written.
    fn insert_by(
        &self,
        fetch: &Fetch,
        response: &Arc<StoredResponse>,
        write: impl Fn(&Arc<StoredResponse>) -> bool,
    ) -> Option<bool> {
        if !self.may_insert(fetch, response) {
            return None;
        }
        let stale = || self.tombstones.mark(fetch.key().as_str(), response);
        let marked = stale();
        if !write(marked.as_ref().unwrap_or(response)) {
            return None;
        }
        if marked.is_none()
            && let Some(marked) = stale()
        {
            write(&marked);
        }
        // An invalidation during the write may have removed nothing, because the response was not yet stored.
        Some(self.may_insert(fetch, response))
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
        self.remove_from(&self.tiers, key)
    }

    /// Removes the responses under a key from these tiers, the lowest first, and from memory.
    fn remove_from(&self, tiers: &[AttachedTier], key: &Key) -> bool {
        let remove = |attached: &AttachedTier| self.answer("remove", attached.tier.remove(key).map(|_| true));
        let failures = tiers.iter().rev().filter(|attached| !remove(attached)).count();
        self.answer("remove", self.store.remove(key).map(|_| true)) && failures == 0
    }

    /// Voids the responses that a purge selects, and removes them; a soft purge marks them as stale. Responses that the
    /// store cannot list, or fails to remove, count as not stored from then on.
    pub(super) fn purge(&self, purge: &Purge, now: SystemTime) -> Purged {
        let tombstone = self.tombstones.add_purge(purge, now);
        if purge.is_soft() {
            return self.sweep(&purge.clone().at(now), tombstone);
        }
        let purged = self.sweep(purge, tombstone);
        if !purged.is_counted
            && let Some(url) = purge.single_url()
        {
            self.remove(&Key::new(url));
        }
        purged
    }

    /// Removes or marks the responses that a tombstone covers. The tombstone is retired if the store can list its responses.
    pub(super) fn sweep(&self, purge: &Purge, tombstone: Sequence) -> Purged {
        let purged = self.purge_all(&purge.clone().before(tombstone));
        if purged.is_some() {
            self.tombstones.note_swept(tombstone);
        }
        purged.unwrap_or_else(Purged::uncounted)
    }

    /// Purges all tiers, the lowest first, and returns the count; `None` if a tier cannot count.
    fn purge_all(&self, purge: &Purge) -> Option<Purged> {
        let below = self
            .tiers
            .iter()
            .rev()
            .map(|attached| self.answer("purge", attached.tier.purge(purge).map(Some)));
        let below: Vec<Option<Purged>> = below.collect();
        let in_memory = self.answer("purge", self.store.purge(purge))?;
        below.into_iter().try_fold(in_memory, |all, below| {
            // A response in one tier is usually in the lower tiers too.
            let responses = all.responses.max(below?.responses);
            Some(Purged { responses, ..all.and(below?) })
        })
    }

    pub(crate) fn max_body(&self) -> u64 {
        let of_tiers = self.tiers().map(|tier| tier.max_body()).max();
        self.store.max_body().max(of_tiers.unwrap_or(0)).min(self.max_body)
    }

    /// The largest body that is stored in memory.
    pub(super) fn max_body_in_memory(&self) -> u64 {
        self.store.max_body().min(self.max_body)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn answer<T: Default>(&self, what: &str, result: Result<T, StoreError>) -> T {
        result.unwrap_or_else(|error| {
            self.stats.count_store_error();
            let now = Instant::now();
            let mut last = self.reported.lock();
            let is_recent = |last: Instant| now.saturating_duration_since(last) < BETWEEN_REPORTS;
            if last.is_some_and(is_recent) {
                return T::default();
            }
            *last = Some(now);
            drop(last);
            warn!("the store failed to {what}: {error:#}");
            T::default()
        })
    }
}
