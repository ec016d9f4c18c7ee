//! What is below the store in memory: larger, slower, and there after a restart.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

#[cfg(any(feature = "disk", feature = "redis"))]
use http::{StatusCode, header::SET_COOKIE};

#[cfg(any(feature = "disk", feature = "redis"))]
use super::url_of;
use super::{Key, StoreError, StoredResponse};
use crate::base::ledger::Ledger;
use crate::message::purge::{Purge, Purged};
use crate::message::stored_bytes::Spill;

/// How full a tier is, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TierUsage {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) capacity: u64,
    pub(crate) evictions: u64,
    /// Responses that were not written: there was no time or no room.
    pub(crate) skipped: u64,
    /// Bodies that were not what was written, and were removed.
    pub(crate) corrupt: u64,
    /// Operations that failed or took too long. Only of a shared tier.
    pub(crate) failures: u64,
    /// Whether it is asked at the moment. Only of a shared tier.
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
/// What is put is written behind: at most a second of it is lost with the process. What is removed or purged is gone
/// for good when the call returns. Where the tier fails it holds nothing, which costs a request to the origin.
///
/// Heads are found without bodies; a body is read in blocks by those who need it, and checked as it is read.
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

    /// Has a thread of the tier do this, which may block. Never waits; gives the work back where too much waits.
    fn spawn(&self, work: Work) -> Result<(), Work>;

    /// What is stored under the key and was stored under these rules, the newest first, without bodies. May block.
    fn find(&self, key: &Key, rules: u64) -> Result<Vec<Arc<StoredResponse>>, StoreError>;

    /// The response with its body, which is checked. What cannot be read or is not what was written is removed. May
    /// block.
    fn load(&self, key: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError>;

    /// Takes a response in place of the one with the same variant, if that is older; says whether it does. A body that
    /// is the same as before is not written again, and one that is remote has to be. Never waits for the disk. A shared tier
    /// refuses the response if anything after the position invalidates it.
    fn put(&self, key: &Key, rules: u64, response: &Arc<StoredResponse>, position: Option<Position>) -> bool;

    /// Begins to take a body while it comes; `None` where there is no room for it. Default: `None`.
    fn begin(&self, length: Option<u64>) -> Option<Arc<dyn Spill>> {
        let _ = length;
        None
    }

    /// As [`put`](Self::put), of a body that was taken so and has this number. Default: takes none.
    fn put_spilled(&self, key: &Key, rules: u64, response: &Arc<StoredResponse>, number: u64) -> bool {
        let _ = (key, rules, response, number);
        false
    }

    /// Gives up a body that was taken so. Default: does nothing.
    fn discard_spilled(&self, number: u64) {
        let _ = number;
    }

    /// Removes what is stored under the key. May block.
    fn remove(&self, key: &Key) -> Result<bool, StoreError>;

    /// Removes what a purge is about. May block for as long as it takes to look at all heads.
    fn purge(&self, purge: &Purge) -> Result<Purged, StoreError>;

    /// Calls the function with each invalidation by another process that shares the tier. Never from the thread that
    /// waits for a method of this trait. Default: never; the peers of a pool tell each other.
    fn on_invalidation(&self, listener: TierListener) {
        let _ = listener;
    }

    /// No response and no invalidation in it has a greater sequence.
    fn sequence(&self) -> u64;

    /// The largest body in bytes that it takes.
    fn max_body(&self) -> u64;

    fn usage(&self) -> TierUsage;

    /// Sets for how long past its freshness the cache serves a response at most. The first cache that has the tier counts. Default:
    /// does nothing.
    fn set_max_staleness(&self, duration: Duration) {
        let _ = duration;
    }

    /// Where memory is entered that is held for bodies.
    fn set_ledger(&self, ledger: Arc<Ledger>);
}

/// Whether a response may be written outside of this process: nothing of a credential, nor what sets one, and no part of a body.
#[cfg(any(feature = "disk", feature = "redis"))]
pub(super) fn may_leave_process(key: &Key, response: &StoredResponse) -> bool {
    url_of(key.as_str()).len() == key.as_str().len()
        && response.status() != StatusCode::PARTIAL_CONTENT
        && response.digest().is_some()
        && !response.variant().has_credentials()
        && response.field(&SET_COOKIE).is_none()
        && response.field(&SET_COOKIE_2).is_none()
}

#[cfg(any(feature = "disk", feature = "redis"))]
static SET_COOKIE_2: http::HeaderName = http::HeaderName::from_static("set-cookie2");
