//! Reads and writes the tiers below the store in memory.

use std::cell::Cell;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::DATE;

use super::{AttachedTier, GuardedStore, Place};
use crate::cache::fill::{BeginSpill, ContinueSpill};
use crate::cache::tombstones::Fetch;
use crate::message::header::date;
use crate::policy::Validity;
use crate::store::{Key, Position, StoredResponse, Tier, Variants, Work};

/// The tiers that a lookup asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Below {
    /// All that may hold the key: memory has no response for the request.
    All,
    /// Those in which another process may have stored a newer response than the one in memory.
    Newer,
}

impl GuardedStore {
    /// Returns the tier that has the body of a response; `None` if it is in memory.
    fn holder(&self, response: &StoredResponse) -> Option<&Arc<dyn Tier>> {
        let remote = response.remote()?;
        self.tiers().find(|tier| tier.name() == remote.tier)
    }

    /// Returns the tiers that may hold responses of the key. Never waits.
    fn candidates(&self, key: &Key, below: Below) -> impl Iterator<Item = &AttachedTier> {
        self.tiers.iter().filter(move |attached| match below {
            Below::All => attached.tier.may_hold(key.as_str()),
            Below::Newer => attached.tier.may_hold_newer(key.as_str()),
        })
    }

    /// Whether one of these tiers may hold responses of the key. Never waits.
    pub(in crate::cache) fn may_be_in_tiers(&self, key: &Key, below: Below) -> bool {
        self.candidates(key, below).next().is_some()
    }

    /// Returns the responses of a key in the fastest tier that has them without a wait. Never waits.
    pub(in crate::cache) fn at_hand(&self, key: &str, now: SystemTime) -> Option<Variants> {
        let find = || self.tiers().find_map(|tier| tier.find_now(key));
        let found = self.judged(|| find().map(|found| self.valid(key, found)))?;
        Some(if found.iter().any(|stored| is_ahead(stored, now)) {
            found.iter().map(|stored| aged(stored, now)).collect()
        } else {
            found
        })
    }

    /// Starts a lookup of the key on a thread that may wait for a lower tier. Returns how long to wait for it; `None` if no
    /// thread is available.
    pub(in crate::cache) fn spawn_tier_lookup(
        &self,
        key: &Key,
        below: Below,
        work: Work,
    ) -> Option<Duration> {
        let mut candidates = self.candidates(key, below).map(|attached| &attached.tier);
        let first = candidates.next()?;
        let (mut max_wait, mut is_lookup) = (first.max_wait(), true);
        for other in candidates {
            max_wait += other.max_wait();
            is_lookup = false;
        }
        first.spawn(work, is_lookup).ok().map(|()| max_wait)
    }

    /// Returns the last invalidation that is known of a shared tier, for a fetch of the key that begins.
    pub(in crate::cache) fn position(&self, key: &Key) -> Option<Position> {
        self.tiers().find_map(|tier| tier.position(key.as_str()))
    }

    /// Returns the responses of a key in these tiers, down to the one that makes them enough. Bodies of lower tiers are not in
    /// memory. May block.
    pub(in crate::cache) fn all(
        &self,
        key: &Key,
        in_memory: Variants,
        now: SystemTime,
        below: Below,
        is_enough: impl Fn(&Variants) -> bool,
    ) -> Variants {
        let mut all = in_memory;
        for attached in self.candidates(key, below) {
            all = self.with_those_of(attached, key, &all, now);
            if is_enough(&all) {
                break;
            }
        }
        all
    }

    /// Like [`all`](Self::all), without the tiers that other processes share.
    pub(in crate::cache) fn all_of_process(
        &self,
        key: &Key,
        in_memory: Variants,
        now: SystemTime,
    ) -> Variants {
        let own = self.candidates(key, Below::All).filter(|attached| !attached.tier.is_shared());
        own.fold(in_memory, |all, attached| self.with_those_of(attached, key, &all, now))
    }

    /// Adds the responses of a lower tier. Of two for the same variant, the newer one stays.
    fn with_those_of(
        &self,
        attached: &AttachedTier,
        key: &Key,
        above: &Variants,
        now: SystemTime,
    ) -> Variants {
        let read = || self.answer("read", attached.tier.find(key));
        let below = self.judged(|| self.valid(key.as_str(), read().into()));
        let is_shared = attached.tier.is_shared();
        let is_newer = |stored: &StoredResponse, other: &StoredResponse| {
            if is_shared { date_of(stored) > date_of(other) } else { stored.sequence() > other.sequence() }
        };
        let is_replaced = |stored: &StoredResponse| {
            same_in(&below, stored).is_some_and(|other| is_better(other, stored, is_newer))
        };
        let left = above.iter().filter(|stored| !is_replaced(stored)).cloned();
        let added = below
            .iter()
            .filter(|stored| same_in(above, stored).is_none_or(|other| is_better(stored, other, is_newer)));
        let mut all: Vec<_> = left.chain(added.map(|stored| aged(stored, now))).collect();
        // Another process may have stored newer variants below.
        if is_shared {
            all.sort_by_key(|stored| Reverse(date_of(stored)));
        } else {
            all.sort_by_key(|stored| Reverse(stored.sequence()));
        }
        all.into()
    }

    /// Loads the body of a response and keeps the response in all faster tiers from now on. Returns `None` if the body is too
    /// large or does not match the stored one. May block.
    pub(in crate::cache) fn raise(
        &self,
        fetch: &Fetch,
        stored: &Arc<StoredResponse>,
    ) -> Option<Arc<StoredResponse>> {
        let (key, tier) = (fetch.key(), self.holder(stored)?);
        let faster = self.tiers.iter().take_while(|attached| attached.tier.name() != tier.name()).cloned();
        let faster: Vec<AttachedTier> = faster.collect();
        let loaded = self.answer("read", tier.load(key, stored).map(Some))?;
        // The numbers of another machine mean nothing here.
        let loaded = if tier.is_shared() { loaded.with_sequence(fetch.sequence()) } else { loaded };
        let loaded = Arc::new(loaded);
        let write = |response: &Arc<StoredResponse>| {
            self.put(&faster, fetch, response) | self.insert_in_memory(fetch, response)
        };
        if self.insert_by(fetch, &loaded, write) == Some(false) {
            self.remove_from(&faster, key);
        }
        Some(Arc::new(loaded.read_from(tier.name())))
    }

    /// Drops what memory has of a key, because a lower tier has something newer that is too large for memory.
    pub(in crate::cache) fn forget_in_memory(&self, key: &Key) {
        self.answer("remove", self.store.remove(key).map(|_| ()));
    }

    /// Returns a response with its body, which a lower tier has. May block.
    pub(in crate::cache) fn load(
        &self,
        key: &Key,
        stored: &Arc<StoredResponse>,
    ) -> Option<Arc<StoredResponse>> {
        let tier = self.holder(stored)?;
        let loaded = self.answer("read", tier.load(key, stored).map(Some))?;
        Some(Arc::new(loaded.read_from(tier.name())))
    }

    /// Returns the function that opens a file of the lower tier for a body in transit.
    pub(in crate::cache) fn begin_spill(&self) -> Option<BeginSpill> {
        let (tiers, most): (Vec<_>, _) = (self.tiers().cloned().collect(), self.max_body);
        (!tiers.is_empty()).then(|| -> BeginSpill {
            Box::new(move |length| tiers.iter().find_map(|tier| tier.begin(length, most)))
        })
    }

    /// Returns the function that opens the file of a stored beginning, to add the rest of the body.
    pub(in crate::cache) fn continue_spill(
        &self,
        key: &Key,
        beginning: &Arc<StoredResponse>,
        length: Option<u64>,
    ) -> Option<ContinueSpill> {
        let tier = Arc::clone(self.holder(beginning)?);
        let (key, beginning, most) = (key.clone(), Arc::clone(beginning), self.max_body);
        Some(Box::new(move || tier.resume(&key, &beginning, length, most)))
    }

    /// Stores the beginning of a body whose transfer has ended early or still runs, unless an invalidation covers the
    /// fetch. Never waits.
    pub(in crate::cache) fn insert_beginning(&self, fetch: &Fetch, part: &Arc<StoredResponse>, place: Place) {
        let key = fetch.key();
        let holder = self.holder(part);
        let is_stored = self.insert_by(fetch, part, |part| match (holder, place) {
            // A store that may block is not written to here.
            (_, Place::Memory) if self.store.variants_nonblocking(key.as_str()).is_none() => false,
            (_, Place::Memory) => {
                let is_in_memory = self.insert_in_memory(fetch, part);
                // Other processes have no use for the beginning.
                let own = self.tiers().filter(|tier| !tier.is_shared());
                own.filter(|tier| tier.put(key, part, fetch.position())).count() > 0 || is_in_memory
            }
            (Some(tier), Place::File(number)) => {
                // The part in memory is shorter.
                self.forget_in_memory(key);
                tier.put_spilled(key, part, number)
            }
            (Some(tier), Place::GrowingFile(number)) => tier.put_growing(key, part, number),
            (None, Place::File(_) | Place::GrowingFile(_)) => false,
        });
        match (is_stored, place, holder.or_else(|| self.tiers().next())) {
            (None, Place::File(number), Some(tier)) => tier.discard_spilled(number),
            (Some(false), _, Some(tier)) => {
                let (store, key) = (self.clone(), key.clone());
                // If the tier has no thread for it, the tombstone still covers the part.
                drop(tier.spawn(Box::new(move || store.remove(&key)), false));
            }
            (Some(false), _, None) => self.remove(key),
            _ => {}
        }
    }

    /// Stores a response whose body a lower tier has taken, as [`insert`](Self::insert).
    pub(in crate::cache) fn insert_spilled(
        &self,
        fetch: &Fetch,
        response: &Arc<StoredResponse>,
        number: u64,
    ) -> bool {
        let Some(tier) = self.holder(response) else { return false };
        let is_taken = Cell::new(false);
        let is_stored = self.insert_by(fetch, response, |response| {
            if is_taken.replace(true) {
                return tier.put(fetch.key(), response, fetch.position());
            }
            // The response in memory is older.
            self.forget_in_memory(fetch.key());
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

    /// Puts a response into these tiers; returns whether one of them takes it.
    pub(super) fn put(&self, tiers: &[AttachedTier], fetch: &Fetch, response: &Arc<StoredResponse>) -> bool {
        let put = |attached: &AttachedTier| attached.tier.put(fetch.key(), response, fetch.position());
        tiers.iter().filter(|attached| put(attached)).count() > 0
    }
}

/// Returns the response with the same variant.
fn same_in<'a>(others: &'a Variants, stored: &StoredResponse) -> Option<&'a Arc<StoredResponse>> {
    others.iter().find(|other| other.variant() == stored.variant())
}

/// Whether a response replaces another with the same variant: it is newer, and no part in place of a whole.
fn is_better(
    new: &StoredResponse,
    old: &StoredResponse,
    is_newer: impl Fn(&StoredResponse, &StoredResponse) -> bool,
) -> bool {
    let is_part = |stored: &StoredResponse| stored.status() == StatusCode::PARTIAL_CONTENT;
    is_newer(new, old) && (is_part(old) || !is_part(new))
}

/// Returns when the origin sent a response (RFC 9111 section 4). It is known of each stored response.
fn date_of(stored: &StoredResponse) -> Option<SystemTime> {
    date::parse(stored.field(&DATE)?)
}

/// Marks a response as stale if it lies in the future because the clock was set back: its age is unknown, so it is validated
/// before it is served.
fn aged(stored: &Arc<StoredResponse>, now: SystemTime) -> Arc<StoredResponse> {
    if !is_ahead(stored, now) {
        return Arc::clone(stored);
    }
    let (lifetime, stale_while_revalidate) = (Duration::ZERO, Duration::ZERO);
    let response_time = now.into();
    let validity = Validity { response_time, lifetime, stale_while_revalidate, ..*stored.validity() };
    Arc::new(stored.with_validity(validity))
}

/// Whether a response lies in the future.
fn is_ahead(stored: &StoredResponse, now: SystemTime) -> bool {
    const SKEW: Duration = Duration::from_secs(1);
    let ahead = stored.validity().response_time.wall().duration_since(now);
    ahead.is_ok_and(|ahead| ahead > SKEW)
}
