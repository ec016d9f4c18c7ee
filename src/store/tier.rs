//! The trait of the tier below the store in memory, which is larger, slower, and survives a restart.

use std::fmt;
use std::sync::{Arc, Weak};

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
    /// Responses that were not written: not allowed, no room, or no time.
    pub(crate) skipped: u64,
    /// Entries that were damaged, and were removed.
    pub(crate) corrupt: u64,
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
    /// Whether something may be stored under the [text](Key::as_str) of a key. Never waits.
    fn may_hold(&self, key: &str) -> bool;

    /// Runs work that may block on a thread of the tier. Never waits. Returns the work if the queue is full.
    fn spawn(&self, work: Work) -> Result<(), Work>;

    /// Returns the responses of a key without their bodies, the newest first. May block.
    fn find(&self, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError>;

    /// Reads the body of a response into memory. A damaged entry is removed. May block.
    fn load(&self, key: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError>;

    /// Stores a response in place of the one with the same variant, unless that is newer. Returns whether the response is
    /// accepted. A body that has not changed is not written again; a remote body must not have changed. Never waits.
    fn put(&self, key: &Key, response: &Arc<StoredResponse>) -> bool;

    /// Begins to write a body while it arrives; `None` if there is not enough room.
    fn begin(&self, length: Option<u64>) -> Option<Arc<dyn Spill>>;

    /// Like [`put`](Self::put), for a body that was written while it arrived and has this number.
    fn put_spilled(&self, key: &Key, response: &Arc<StoredResponse>, number: u64) -> bool;

    /// Like [`put_spilled`](Self::put_spilled), for the beginning of a body that is still being written. It survives a crash, and
    /// a later response replaces it. Never waits. Default: not accepted.
    fn put_growing(&self, key: &Key, response: &Arc<StoredResponse>, number: u64) -> bool {
        let _ = (key, response, number);
        false
    }

    /// Opens the file of a stored beginning, to append the rest of a body of this length. `None` if it cannot be continued. May
    /// block. Default: `None`.
    fn resume(&self, key: &Key, part: &StoredResponse, length: Option<u64>) -> Option<Arc<dyn Spill>> {
        let _ = (key, part, length);
        None
    }

    /// Removes a body that was written while it arrived. Never waits.
    fn discard_spilled(&self, number: u64);

    /// Removes the responses of a key. Returns whether there were any. May block.
    fn remove(&self, key: &Key) -> Result<bool, StoreError>;

    /// Removes the responses that a purge selects. May block until all heads are read.
    fn purge(&self, purge: &Purge) -> Result<Purged, StoreError>;

    /// Returns the digest of a credential by the key of the store. `None` if the store has no key; then it accepts no
    /// responses that depend on credentials.
    fn credential_digest(&self, credential: &[u8]) -> Option<u128>;

    /// Calls the function with each invalidation by another process that shares the tier. Never from the thread that
    /// waits for a method of this trait.
    fn on_invalidation(&self, listener: TierListener);

    /// Returns the greatest sequence of a response or an invalidation.
    fn sequence(&self) -> u64;

    /// Returns the largest body in bytes that the tier accepts.
    fn max_body(&self) -> u64;

    fn usage(&self) -> TierUsage;

    /// Sets the ledger that counts bodies in memory.
    fn set_ledger(&self, ledger: Arc<Ledger>);
}
