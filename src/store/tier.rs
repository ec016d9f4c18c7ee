//! The trait of the tier below the store in memory, which is larger, slower, and survives a restart.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

#[cfg(any(feature = "disk", feature = "redis"))]
use http::{StatusCode, header::SET_COOKIE};

#[cfg(any(feature = "disk", feature = "redis"))]
use super::url_of;
use super::{Key, StoreError, StoredResponse, Variants};
use crate::base::memory_limit::Ledger;
use crate::message::purge::{Purge, Purged};
use crate::message::stored_bytes::Spill;
use crate::metrics::Observer;

/// How full a tier is, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TierUsage {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) capacity: u64,
    pub(crate) evictions: u64,
    /// Responses that were not written: not allowed, no room, or no time.
    pub(crate) skipped: u64,
    /// Entries that were damaged, and were removed.
    pub(crate) corrupt: u64,
    /// Operations that were answered, and those that failed or took too long. Only of a shared tier.
    pub(crate) answers: u64,
    pub(crate) errors: u64,
    /// How often nothing was looked up for a while, after an error or because it is slow. Only of a shared tier.
    pub(crate) failures: u64,
    /// The state of the circuit breaker. Only of a shared tier.
    pub(crate) circuit: &'static str,
    /// Whether responses are looked up at the moment. Only of a shared tier.
    pub(crate) is_up: bool,
}

/// The last invalidation in a shared tier that was known when a fetch began.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only Redis is a shared tier"))]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    /// When the fetch began.
    pub(crate) at: Instant,
}

/// Work for a thread of a tier.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// A function that applies an invalidation by another process.
pub(crate) type TierListener = Weak<dyn Fn(&Purge) + Send + Sync>;

/// A second tier below a store in memory.
///
/// Responses are written in the background: a crash loses at most the last second. Removals and purges are durable when
/// the call returns. If the tier fails, its lookups find nothing, which costs a request to the origin.
///
/// A lookup reads heads only. Each reader of a body reads it in blocks, which are compared with their checksums.
pub(crate) trait Tier: fmt::Debug + Send + Sync {
    /// The name in `Cache-Status` and in the names of metrics.
    fn name(&self) -> &'static str;

    /// Whether several processes write to it through a network. A response that was just missed is not looked up there again.
    fn is_shared(&self) -> bool {
        false
    }

    /// How long a request waits for a lookup before it continues as if the tier were empty.
    fn max_wait(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The last invalidation that is known of the part of a shared tier that holds the key. A fetch that begins now passes it
    /// to [`put`](Self::put). `None` if the tier is not shared, or nothing is known. Never waits.
    fn position(&self, key: &str) -> Option<Position> {
        let _ = key;
        None
    }

    /// Whether something may be stored under the [text](Key::as_str) of a key. Never waits.
    fn may_hold(&self, key: &str) -> bool;

    /// Whether another process may have stored a newer response under the [text](Key::as_str) of a key than this one has in memory.
    /// Never waits. Default: `false`.
    fn may_hold_newer(&self, key: &str) -> bool {
        let _ = key;
        false
    }

    /// Runs work that may block on a thread of the tier. `is_lookup` states that it only looks up a key in this tier. Never
    /// waits. Returns the work if the queue is full.
    fn spawn(&self, work: Work, is_lookup: bool) -> Result<(), Work>;

    /// Returns the responses of a key without their bodies, the newest first. May block.
    fn find(&self, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError>;

    /// Returns what [`find`](Self::find) would, if that needs no wait. Never waits. Default: `None`.
    fn find_now(&self, key: &str) -> Option<Variants> {
        let _ = key;
        None
    }

    /// Reads the body of a response into memory. A damaged entry is removed. May block.
    fn load(&self, key: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError>;

    /// Stores a response in place of the one with the same variant, unless that is newer. Returns whether the response is
    /// accepted. A body that has not changed is not written again; a remote body must not have changed. Never waits. A
    /// shared tier refuses the response if an invalidation after the position covers it.
    fn put(&self, key: &Key, response: &Arc<StoredResponse>, position: Option<Position>) -> bool;

    /// Begins to write a body of up to `most` bytes while it arrives; `None` if there is not enough room. Default: `None`.
    fn begin(&self, length: Option<u64>, most: u64) -> Option<Arc<dyn Spill>> {
        let _ = (length, most);
        None
    }

    /// Like [`put`](Self::put), for a body that was written while it arrived and has this number. Default: stores nothing.
    fn put_spilled(&self, key: &Key, response: &Arc<StoredResponse>, number: u64) -> bool {
        let _ = (key, response, number);
        false
    }

    /// Like [`put_spilled`](Self::put_spilled), for the beginning of a body that is still being written. It survives a crash, and
    /// a later response replaces it. Never waits. Default: not accepted.
    fn put_growing(&self, key: &Key, response: &Arc<StoredResponse>, number: u64) -> bool {
        let _ = (key, response, number);
        false
    }

    /// Opens the file of a stored beginning, to append the rest of a body of this length and of up to `most` bytes. `None` if it
    /// cannot be continued. May block. Default: `None`.
    fn resume(
        &self,
        key: &Key,
        part: &StoredResponse,
        length: Option<u64>,
        most: u64,
    ) -> Option<Arc<dyn Spill>> {
        let _ = (key, part, length, most);
        None
    }

    /// Removes a body that was written while it arrived. Never waits. Default: does nothing.
    fn discard_spilled(&self, number: u64) {
        let _ = number;
    }

    /// Removes the responses of a key. Returns whether there were any. May block.
    fn remove(&self, key: &Key) -> Result<bool, StoreError>;

    /// Removes the responses that a purge selects. May block until all heads are read.
    fn purge(&self, purge: &Purge) -> Result<Purged, StoreError>;

    /// Returns the digest of a credential by the key of the store. `None` if the store has no key; then it accepts no
    /// responses that depend on credentials.
    fn credential_digest(&self, credential: &[u8]) -> Option<u128>;

    /// Calls the function with each invalidation by another process that shares the tier. Never from the thread that
    /// waits for a method of this trait. Default: never; the peers of a pool tell each other.
    fn on_invalidation(&self, listener: TierListener) {
        let _ = listener;
    }

    /// Returns the greatest sequence of a response or an invalidation.
    fn sequence(&self) -> u64;

    /// Returns the largest body in bytes that the tier accepts.
    fn max_body(&self) -> u64;

    fn usage(&self) -> TierUsage;

    /// Sets for how long past its freshness the cache serves a response at most. The first cache that has the tier counts. Default:
    /// does nothing.
    fn set_max_staleness(&self, duration: Duration) {
        let _ = duration;
    }

    /// Accepts an observer for evictions. The first cache that has the tier counts. Default: reports none.
    fn observe(&self, observer: Arc<dyn Observer>) {
        drop(observer);
    }

    /// Sets the ledger that counts bodies in memory.
    fn set_ledger(&self, ledger: Arc<Ledger>);
}

/// Whether a response may be written: it sets no credential, and depends on one only if the store has a key.
#[cfg(any(feature = "disk", feature = "redis"))]
pub(super) fn may_write(key: &Key, response: &StoredResponse, has_key: bool) -> bool {
    let depends_on_credential =
        url_of(key.as_str()).len() < key.as_str().len() || response.variant().has_credentials();
    (has_key || !depends_on_credential)
        && (response.digest().is_some() || response.status() == StatusCode::PARTIAL_CONTENT)
        && response.field(&SET_COOKIE).is_none()
        && response.field(&SET_COOKIE_2).is_none()
}

#[cfg(any(feature = "disk", feature = "redis"))]
static SET_COOKIE_2: http::HeaderName = http::HeaderName::from_static("set-cookie2");
