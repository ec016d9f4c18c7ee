//! Tombstones: one ordered list of all invalidations, by purges, soft purges and responses.
//!
//! Fetches and invalidations share one sequence of numbers. A stored response has the number of its fetch, and is
//! void if a later tombstone covers it. The cache checks this at each lookup and again before it stores a response.
//! Therefore a response that was requested before an invalidation is neither served nor stored after it. A soft purge makes
//! responses stale instead: they are kept for validation and for a failing origin.
//!
//! A tombstone is retired when the store has removed (or marked) the responses that it covers and no older fetch is under way.
//! The list is bounded: beyond the bound, a tombstone for everything of the same age or older replaces the oldest.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use parking_lot::RwLock;

use super::incoming::Incoming;
pub(crate) use super::tombstone_list::Sequence;
use super::tombstone_list::{Scope, Tombstone, TombstoneList};
use crate::message::header::cache_groups::{self, CACHE_GROUPS};
use crate::message::purge::Purge;
use crate::message::url::CanonicalUrl;
use crate::store::{Key, Position, StoredResponse, Variants, url_of};

static CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// How many tombstones are listed.
const MAX_TOMBSTONES: usize = 10_000;

/// How many tombstones may be for prefixes. Each lookup compares its URL with all of them.
const MAX_PREFIXES: usize = 100;

/// How many soft purges are listed. Beyond this number, the two oldest become one purge of everything.
const MAX_SOFT_PURGES: usize = 64;

/// The tombstones of a cache.
pub(crate) struct Tombstones {
    /// The number of the last listed tombstone. A response with a higher number need not be compared.
    newest: AtomicU64,
    /// The number of the last tombstone, listed or retired.
    latest: AtomicU64,
    /// How often tombstones were retired.
    retirements: AtomicU64,
    state: RwLock<TombstoneList>,
    digest: RandomState,
    max_tombstones: usize,
    max_prefixes: usize,
}

/// A key, and the URL of the response that is stored or fetched under the key.
#[derive(Clone, Copy)]
pub(crate) struct Resource<'a> {
    pub(super) key: &'a str,
    pub(super) url: &'a str,
}

impl<'a> From<&'a str> for Resource<'a> {
    /// Takes the URL from the key.
    fn from(key: &'a str) -> Self {
        Self { key, url: url_of(key) }
    }
}

impl<'a> From<&'a Incoming> for Resource<'a> {
    fn from(incoming: &'a Incoming) -> Self {
        Self { key: incoming.key.as_str(), url: incoming.target.as_str() }
    }
}

impl<'a> From<(&'a Key, &'a CanonicalUrl)> for Resource<'a> {
    fn from((key, target): (&'a Key, &'a CanonicalUrl)) -> Self {
        Self { key: key.as_str(), url: target.as_str() }
    }
}

/// A fetch that is under way until this value is dropped.
pub(crate) struct Fetch {
    tombstones: Arc<Tombstones>,
    key: Key,
    sequence: Sequence,
    position: Option<Position>,
}

impl Fetch {
    /// Returns the key that is fetched.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Sets the position in the shared tier. It was read before this fetch began or while nothing was requested yet.
    pub(super) fn after(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// Returns the last invalidation in the shared tier that was known when the fetch began.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut state = self.tombstones.state.write();
        state.fetches.remove(&self.sequence);
        self.tombstones.retire(&mut state);
    }
}

impl Default for Tombstones {
    fn default() -> Self {
        Self::with_limits(MAX_TOMBSTONES, MAX_PREFIXES)
    }
}

impl Tombstones {
    fn with_limits(max_tombstones: usize, max_prefixes: usize) -> Self {
        let [newest, latest, retirements] = [const { AtomicU64::new(0) }; 3];
        let state = RwLock::default();
        Self { newest, latest, retirements, state, digest: RandomState::new(), max_tombstones, max_prefixes }
    }

    /// Returns the number of the last invalidation. If it is the same before a lookup and after the start of a fetch,
    /// the result of the lookup is still valid.
    pub(super) fn latest(&self) -> Sequence {
        self.latest.load(Ordering::SeqCst)
    }

    /// Returns how often tombstones were retired. A response that was read from the store before a retirement and is
    /// judged after it must be read again: the store may have removed it since, and no tombstone covers it any more.
    pub(super) fn retirements(&self) -> u64 {
        self.retirements.load(Ordering::SeqCst)
    }

    /// Makes all later numbers greater than this one.
    pub(super) fn begin_after(&self, sequence: Sequence) {
        let mut state = self.state.write();
        state.last = state.last.max(sequence);
    }

    /// Registers a fetch that begins now.
    pub(crate) fn begin(self: &Arc<Self>, key: &Key, now: SystemTime) -> Fetch {
        let mut state = self.state.write();
        let sequence = state.next(now);
        state.fetches.insert(sequence);
        drop(state);
        Fetch { tombstones: Arc::clone(self), key: key.clone(), sequence, position: None }
    }

    /// Voids the responses under a key; returns the number of the tombstone.
    pub(super) fn add_key(&self, key: &Key, now: SystemTime) -> Sequence {
        self.add(Scope::Exact(self.of_key(key.as_str())), now)
    }

    /// Voids the responses of the URL's origin in this group; returns the number of the tombstone.
    pub(super) fn add_group(&self, url: &str, name: &[u8], now: SystemTime) -> Sequence {
        self.add(Scope::Group(self.of_group(url, name), self.of_origin(url)), now)
    }

    /// Voids the responses that a purge selects, or makes them stale; returns the number of the tombstone.
    pub(super) fn add_purge(&self, purge: &Purge, now: SystemTime) -> Sequence {
        if purge.is_soft() {
            return self.add(Scope::Soft(Box::new(purge.clone().at(now))), now);
        }
        let scope =
            match (purge.single_url(), purge.common_prefix(), purge.group_origin(), purge.group_name()) {
                (Some(url), ..) => Scope::Exact(self.of_url(url)),
                (_, Some(prefix), ..) => Scope::Prefix(prefix.into()),
                (_, _, Some(origin), Some(name)) => {
                    Scope::Group(self.of_group(origin, name.as_bytes()), self.of_origin(origin))
                }
                _ => Scope::All,
            };
        self.add(scope, now)
    }

    /// Notes that the store has removed the responses that this tombstone covers.
    pub(super) fn note_swept(&self, sequence: Sequence) {
        let mut state = self.state.write();
        if let Some(swept) = state.list.iter_mut().find(|tombstone| tombstone.sequence == sequence) {
            swept.is_swept = true;
        }
        self.retire(&mut state);
    }

    /// Whether a tombstone voids a stored response.
    pub(super) fn covers(&self, key: &str, response: &StoredResponse) -> bool {
        let resource = Resource { key, url: response.url().unwrap_or_else(|| url_of(key)) };
        self.covers_fetched(resource, response.sequence(), || {
            cache_groups::names(response.values(&CACHE_GROUPS))
        })
    }

    /// Whether a tombstone voids the response of the fetch with this number. Its fields give its groups.
    pub(super) fn covers_fields<'a>(
        &self,
        resource: impl Into<Resource<'a>>,
        sequence: Sequence,
        fields: &HeaderMap,
    ) -> bool {
        self.covers_fetched(resource.into(), sequence, || groups_of(fields, &CACHE_GROUPS))
    }

    /// Whether later requests must not share the fetch with this key and number.
    pub(super) fn covers_key<'a>(&self, resource: impl Into<Resource<'a>>, sequence: Sequence) -> bool {
        self.covers_fetched(resource.into(), sequence, Vec::new)
    }

    /// Whether later requests may share the fetch with this key and number: no tombstone covers it, and no soft purge.
    pub(super) fn is_joinable<'a>(&self, resource: impl Into<Resource<'a>>, sequence: Sequence) -> bool {
        let resource = resource.into();
        let url_for =
            |purge: &Purge| if purge.matches_by_key() { url_of(resource.key) } else { resource.url };
        let is_covered = |(purge, at): &(Purge, Sequence)| {
            sequence <= *at && purge.group_name().is_none() && purge.covers(url_for(purge))
        };
        sequence > self.newest.load(Ordering::SeqCst)
            || !(self.covers_key(resource, sequence) || self.state.read().soft.iter().any(is_covered))
    }

    /// Returns the response marked as stale if a soft purge covers it; `None` if it stays as it is.
    pub(super) fn mark(&self, key: &str, response: &StoredResponse) -> Option<Arc<StoredResponse>> {
        if response.sequence() > self.newest.load(Ordering::SeqCst) {
            return None;
        }
        let state = self.state.read();
        let mut covering = state.soft.iter().filter(|(purge, _)| purge.is_about(url_of(key), response));
        covering.find_map(|(purge, _)| purge.stale(response))
    }

    /// Marks all responses that a soft purge covers as stale.
    pub(super) fn mark_all(&self, key: &str, variants: Variants) -> Variants {
        let newest = self.newest.load(Ordering::SeqCst);
        if variants.iter().all(|response| response.sequence() > newest) {
            return variants;
        }
        let mark_or_keep =
            |response: &Arc<StoredResponse>| self.mark(key, response).unwrap_or_else(|| Arc::clone(response));
        variants.iter().map(mark_or_keep).collect()
    }

    /// Whether the fetch with this number must not store its response, whatever that is.
    pub(super) fn is_unstorable(&self, sequence: Sequence) -> bool {
        sequence <= self.newest.load(Ordering::SeqCst) && sequence <= self.state.read().unstorable
    }

    fn covers_fetched(
        &self,
        Resource { key, url }: Resource<'_>,
        sequence: Sequence,
        groups: impl FnOnce() -> Vec<Vec<u8>>,
    ) -> bool {
        if sequence > self.newest.load(Ordering::SeqCst) {
            return false;
        }
        let state = self.state.read();
        let is_later = |digest: u64| state.exact.get(&digest).is_some_and(|tombstone| *tombstone > sequence);
        sequence <= state.all
            || (!state.origins.is_empty()
                && state.origins.get(&self.of_origin(url)).is_some_and(|upto| sequence <= *upto))
            || is_later(self.of_url(url_of(key)))
            || is_later(self.of_key(key))
            || state.prefixes.iter().any(|(prefix, at)| *at > sequence && url.starts_with(&**prefix))
            || groups().iter().any(|name| is_later(self.of_group(url, name)))
    }

    fn add(&self, scope: Scope, now: SystemTime) -> Sequence {
        let mut state = self.state.write();
        let sequence = state.next(now);
        match &scope {
            Scope::Exact(digest) | Scope::Group(digest, _) => drop(state.exact.insert(*digest, sequence)),
            Scope::Prefix(prefix) => state.prefixes.push((prefix.clone(), sequence)),
            Scope::All => state.all = sequence,
            Scope::Soft(purge) => state.soft.push((Purge::clone(purge).before(sequence), sequence)),
        }
        state.list.push_back(Tombstone { sequence, scope, is_swept: false });
        if state.list.len() > self.max_tombstones || state.prefixes.len() > self.max_prefixes {
            self.retirements.fetch_add(1, Ordering::SeqCst);
            state.remove_retirable();
        }
        while state.list.len() > self.max_tombstones || state.prefixes.len() > self.max_prefixes {
            state.widen_oldest();
        }
        if state.soft.len() > MAX_SOFT_PURGES {
            state.widen_oldest_soft(now);
        }
        self.newest.store(sequence, Ordering::SeqCst);
        self.latest.store(sequence, Ordering::SeqCst);
        self.retire(&mut state);
        sequence
    }

    /// Retires tombstones that can no longer cover any response.
    fn retire(&self, state: &mut TombstoneList) {
        let first = state.list.front();
        if !first.is_some_and(|tombstone| state.is_retirable(tombstone))
            && state.list.len() <= state.search_threshold
        {
            return;
        }
        self.retirements.fetch_add(1, Ordering::SeqCst);
        state.remove_retirable();
        let newest = state.list.back().map_or(0, |tombstone| tombstone.sequence);
        let of_origins = state.origins.values().copied().max().unwrap_or(0);
        let of_soft = state.soft.last().map_or(0, |(_, sequence)| *sequence);
        let newest = newest.max(state.all).max(state.unstorable).max(of_origins).max(of_soft);
        self.newest.store(newest, Ordering::SeqCst);
    }

    fn of_url(&self, url: &str) -> u64 {
        self.digest.hash_one((0_u8, url))
    }

    fn of_key(&self, key: &str) -> u64 {
        self.digest.hash_one((1_u8, key))
    }

    fn of_origin(&self, url: &str) -> u64 {
        self.digest.hash_one((3_u8, origin(url)))
    }

    fn of_group(&self, url: &str, name: &[u8]) -> u64 {
        self.digest.hash_one((2_u8, origin(url), name))
    }
}

/// Returns the groups that a response to this method invalidates (RFC 9875 section 3): none if the method is safe.
pub(crate) fn invalidated_groups(method: &Method, headers: &HeaderMap) -> Vec<Vec<u8>> {
    if method.is_safe() { Vec::new() } else { groups_of(headers, &CACHE_GROUP_INVALIDATION) }
}

fn groups_of(headers: &HeaderMap, field: &HeaderName) -> Vec<Vec<u8>> {
    cache_groups::names(headers.get_all(field).into_iter().map(HeaderValue::as_bytes))
}

/// Returns the scheme and authority of a canonical URL.
fn origin(url: &str) -> &str {
    let path = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
    &url[..path]
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("key", &self.key)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
