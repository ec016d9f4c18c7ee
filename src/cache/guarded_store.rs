//! Wraps the store, so that a failing store never fails a request.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;
use parking_lot::Mutex;

use super::soft_purges::SoftPurges;
use super::tombstones::{Fetch, Resource, Sequence, Tombstones};
use crate::cache::fill::{BeginSpill, ContinueSpill};
use crate::message::purge::{Purge, Purged};
use crate::metrics::Stats;
use crate::policy::{Basis, Rules, RulesDigest, Stored, Validity, judge_again};
use crate::store::{Key, Store, StoreError, StoredResponse, Tier, Variants, url_of};

/// A store whose errors are counted, and logged once a minute. A failed read finds nothing, and a failed write stores nothing.
/// Responses that were invalidated after they were stored count as not stored.
#[derive(Clone)]
pub(crate) struct GuardedStore {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
    tombstones: Arc<Tombstones>,
    soft_purges: Arc<SoftPurges>,
    max_body: u64,
    /// The rules of the cache and their digest.
    rules: Option<Arc<(RulesDigest, Rules)>>,
    tier: Option<Below>,
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

/// The tier below the store in memory.
#[derive(Clone)]
struct Below {
    tier: Arc<dyn Tier>,
    /// Applies the invalidations of other processes to what is in memory.
    _listener: Arc<dyn Fn(&Purge) + Send + Sync>,
}

impl GuardedStore {
    /// Wraps a store, with an additional limit to the length of stored bodies.
    pub(crate) fn new(store: Arc<dyn Store>, stats: Arc<Stats>, max_body: u64) -> Self {
        let (tombstones, soft_purges, reported) = Default::default();
        Self { store, stats, tombstones, soft_purges, max_body, rules: None, tier: None, reported }
    }

    /// Sets the rules of the cache. Responses that were stored under other rules are judged again.
    pub(crate) fn with_rules(self, rules: &Rules) -> Self {
        Self { rules: Some(Arc::new((rules.digest(), rules.clone()))), ..self }
    }

    /// Adds a tier below the store.
    pub(crate) fn with_tier(self, tier: Arc<dyn Tier>) -> Self {
        // Later invalidations must have greater numbers than the stored responses, even if the clock was set back.
        self.tombstones.begin_after(tier.sequence());
        let above = self.clone();
        let listener: Arc<dyn Fn(&Purge) + Send + Sync> = Arc::new(move |purge: &Purge| {
            // The sequence ensures that the number is greater than those of all earlier fetches.
            above.purge(purge, purge.time().unwrap_or(SystemTime::UNIX_EPOCH));
        });
        tier.on_invalidation(Arc::downgrade(&listener));
        Self { tier: Some(Below { tier, _listener: listener }), ..self }
    }

    /// Returns the tier below the store in memory.
    pub(crate) fn tier(&self) -> Option<&Arc<dyn Tier>> {
        self.tier.as_ref().map(|below| &below.tier)
    }

    /// Whether the tier below memory may hold responses of the key. Never waits.
    pub(super) fn may_be_below(&self, key: &Key) -> bool {
        self.tier.as_ref().is_some_and(|below| below.tier.may_hold(key.as_str()))
    }

    /// Returns the responses of a key in all tiers. Bodies of lower tiers are not in memory. May block.
    pub(super) fn all(&self, key: &Key, in_memory: Variants, now: SystemTime) -> Variants {
        let Some(Below { tier, .. }) = self.tier.as_ref().filter(|_| self.may_be_below(key)) else {
            return in_memory;
        };
        let read = || self.answer("read", tier.find(key));
        let below = self.judged(|| self.valid(key.as_str(), read().into()));
        let is_newer_in = |others: &Variants, stored: &StoredResponse, is_equal_newer: bool| {
            let same = others.iter().find(|other| other.variant() == stored.variant());
            same.is_some_and(|other| {
                other.sequence() > stored.sequence()
                    || is_equal_newer && other.sequence() == stored.sequence()
            })
        };
        let above = in_memory.iter().filter(|stored| !is_newer_in(&below, stored, false)).cloned();
        let others = below.iter().filter(|stored| !is_newer_in(&in_memory, stored, true));
        above.chain(others.map(|stored| aged(stored, now))).collect()
    }

    /// Loads the body of a response and keeps the response in memory from now on. Returns `None` if the body is too
    /// large or does not match the stored one. May block.
    pub(super) fn raise(&self, fetch: &Fetch, stored: &Arc<StoredResponse>) -> Option<Arc<StoredResponse>> {
        let tier = &self.tier.as_ref()?.tier;
        let key = fetch.key();
        let loaded = self.answer("read", tier.load(key, stored).map(Some))?;
        let loaded = Arc::new(loaded);
        let write = |response: &Arc<StoredResponse>| self.insert_in_memory(fetch, response);
        if self.insert_by(fetch, &loaded, write) == Some(false) {
            self.answer("remove", self.store.remove(key).map(|_| ()));
        }
        Some(Arc::new(loaded.as_from_disk()))
    }

    /// Returns a response with its body, which a lower tier has. May block.
    pub(super) fn load(&self, key: &Key, stored: &Arc<StoredResponse>) -> Option<Arc<StoredResponse>> {
        let loaded = self.tier()?.load(key, stored).map(|loaded| Some(Arc::new(loaded)));
        self.answer("read", loaded)
    }

    /// Returns the function that opens a file of the lower tier for a body in transit.
    pub(super) fn begin_spill(&self) -> Option<BeginSpill> {
        let tier = Arc::clone(self.tier()?);
        Some(Box::new(move |length| tier.begin(length)))
    }

    /// Returns the function that opens the file of a stored beginning, to add the rest of the body.
    pub(super) fn continue_spill(
        &self,
        key: &Key,
        beginning: &Arc<StoredResponse>,
        length: Option<u64>,
    ) -> Option<ContinueSpill> {
        beginning.remote()?;
        let (tier, key, beginning) = (Arc::clone(self.tier()?), key.clone(), Arc::clone(beginning));
        Some(Box::new(move || tier.resume(&key, &beginning, length)))
    }

    /// Stores the beginning of a body whose transfer has ended early or still runs, unless an invalidation covers the
    /// fetch. Never waits.
    pub(super) fn insert_beginning(&self, fetch: &Fetch, part: &Arc<StoredResponse>, place: Place) {
        let key = fetch.key();
        let is_stored = self.insert_by(fetch, part, |part| match (&self.tier, place) {
            // A store that may block is not written to here.
            (_, Place::Memory) if self.store.variants_nonblocking(key.as_str()).is_none() => false,
            (below, Place::Memory) => {
                let is_in_memory = self.insert_in_memory(fetch, part);
                below.as_ref().is_some_and(|below| below.tier.put(key, part)) || is_in_memory
            }
            (Some(below), Place::File(number)) => {
                // The part in memory is shorter.
                self.answer("remove", self.store.remove(key).map(|_| ()));
                below.tier.put_spilled(key, part, number)
            }
            (Some(below), Place::GrowingFile(number)) => below.tier.put_growing(key, part, number),
            (None, Place::File(_) | Place::GrowingFile(_)) => false,
        });
        match (is_stored, place, self.tier()) {
            (None, Place::File(number), Some(tier)) => tier.discard_spilled(number),
            (Some(false), _, Some(tier)) => {
                let (store, key) = (self.clone(), key.clone());
                // If the tier has no thread for it, the tombstone still covers the part.
                drop(tier.spawn(Box::new(move || store.remove(&key))));
            }
            (Some(false), _, None) => self.remove(key),
            _ => {}
        }
    }

    /// Stores a response whose body a lower tier has taken, as [`insert`](Self::insert).
    pub(super) fn insert_spilled(&self, fetch: &Fetch, response: &Arc<StoredResponse>, number: u64) -> bool {
        let Some(Below { tier, .. }) = &self.tier else { return false };
        let is_taken = Cell::new(false);
        let is_stored = self.insert_by(fetch, response, |response| {
            if is_taken.replace(true) {
                return tier.put(fetch.key(), response);
            }
            // The response in memory is older.
            self.answer("remove", self.store.remove(fetch.key()).map(|_| ()));
            tier.put_spilled(fetch.key(), response, number)
        });
        match is_stored {
            Some(true) => self.stats.count_stored(),
            Some(false) => self.remove(fetch.key()),
            None if is_taken.get() => {}
            None => tier.discard_spilled(number),
        }
        is_stored == Some(true)
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
        Ok(self.all(key, in_memory, now))
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
        self.soft_purges.mark_all(key, variants, &self.tombstones)
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
        let resource = resource.into();
        !self.tombstones.covers_key(resource, sequence) && !self.soft_purges.covers_key(resource, sequence)
    }

    /// Stores the response of a fetch, unless an invalidation covers the fetch; returns whether it is stored. The
    /// response must have the sequence number of the fetch.
    pub(crate) fn insert(&self, fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        let is_stored = self.insert_by(fetch, response, |response| {
            let is_in_memory = response.remote().is_none() && self.insert_in_memory(fetch, response);
            let put = |below: &Below| below.tier.put(fetch.key(), response);
            self.tier.as_ref().is_some_and(put) || is_in_memory
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
        let stale = || self.soft_purges.mark(fetch.key().as_str(), response, &self.tombstones);
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
        let below = self.tier.as_ref().map(|below| below.tier.remove(key));
        let below = self.answer("remove", below.transpose().map(|_| true));
        self.answer("remove", self.store.remove(key).map(|_| true)) && below
    }

    /// Voids the responses that a purge selects, and removes them. Responses that the store cannot list, or fails to
    /// remove, count as not stored from then on.
    pub(super) fn purge(&self, purge: &Purge, now: SystemTime) -> Purged {
        if purge.is_soft() {
            let (purge, sequence) = self.soft_purges.add(purge, &self.tombstones, now);
            let purged = self.purge_all(&purge);
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
        let purged = self.purge_all(&purge.clone().before(tombstone));
        if purged.is_some() {
            self.tombstones.note_swept(tombstone);
        }
        purged.unwrap_or_else(Purged::uncounted)
    }

    /// Purges all tiers and returns the count; `None` if a tier cannot count.
    fn purge_all(&self, purge: &Purge) -> Option<Purged> {
        let below = self.tier.as_ref().map(|below| below.tier.purge(purge)).transpose();
        let below = self.answer("purge", below.map(|below| Some(below.unwrap_or_default())));
        let in_memory = self.answer("purge", self.store.purge(purge));
        let (in_memory, below) = in_memory.zip(below)?;
        // A response in memory is usually in the lower tier too.
        let responses = in_memory.responses.max(below.responses);
        Some(Purged { responses, ..in_memory.and(below) })
    }

    pub(crate) fn max_body(&self) -> u64 {
        self.store.max_body().max(self.tier().map_or(0, |tier| tier.max_body())).min(self.max_body)
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
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            warn!("the store failed to {what}: {error}{cause}");
            T::default()
        })
    }
}

/// Marks a response as stale if it lies in the future because the clock was set back: its age is unknown.
fn aged(stored: &Arc<StoredResponse>, now: SystemTime) -> Arc<StoredResponse> {
    const SKEW: Duration = Duration::from_secs(1);
    let validity = *stored.validity();
    match validity.response_time.wall().duration_since(now) {
        Ok(ahead) if ahead > SKEW => {
            let validity = Validity { response_time: now.into(), lifetime: Duration::ZERO, ..validity };
            Arc::new(stored.with_validity(validity))
        }
        _ => Arc::clone(stored),
    }
}
