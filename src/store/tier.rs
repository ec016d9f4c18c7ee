//! What is below the store in memory: larger, slower, and there after a restart.

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
    /// Responses that were not written: there was no time or no room.
    pub(crate) skipped: u64,
    /// Bodies that were not what was written, and were removed.
    pub(crate) corrupt: u64,
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
    /// is the same as before is not written again, and one that is remote has to be. Never waits for the disk.
    fn put(&self, key: &Key, rules: u64, response: &Arc<StoredResponse>) -> bool;

    /// Begins to take a body while it comes; `None` where there is no room for it.
    fn begin(&self, length: Option<u64>) -> Option<Arc<dyn Spill>>;

    /// As [`put`](Self::put), of a body that was taken so and has this number.
    fn put_spilled(&self, key: &Key, rules: u64, response: &Arc<StoredResponse>, number: u64) -> bool;

    /// As [`put_spilled`](Self::put_spilled), of the beginning of a body that is still written. It is there after a crash,
    /// and replaced by what is put later. Never waits.
    fn put_growing(&self, key: &Key, rules: u64, response: &Arc<StoredResponse>, number: u64) -> bool;

    /// Opens the file of a stored beginning, to add the rest of a body of this length; `None` where it cannot be
    /// continued. May block.
    fn resume(&self, key: &Key, part: &StoredResponse, length: Option<u64>) -> Option<Arc<dyn Spill>>;

    /// Gives up a body that was taken so. Never waits.
    fn discard_spilled(&self, number: u64);

    /// Removes what is stored under the key. May block.
    fn remove(&self, key: &Key) -> Result<bool, StoreError>;

    /// Removes what a purge is about. May block for as long as it takes to look at all heads.
    fn purge(&self, purge: &Purge) -> Result<Purged, StoreError>;

    /// Calls the function with each invalidation by another process that shares the tier. Never from the thread that
    /// waits for a method of this trait.
    fn on_invalidation(&self, listener: TierListener);

    /// No response and no invalidation in it has a greater sequence.
    fn sequence(&self) -> u64;

    /// The largest body in bytes that it takes.
    fn max_body(&self) -> u64;

    fn usage(&self) -> TierUsage;

    /// Where memory is entered that is held for bodies.
    fn set_ledger(&self, ledger: Arc<Ledger>);
}
