//! `DiskStore`: the tier below memory that outlives the process. Several processes can share its directory.
//!
//! ```text
//! directory/index.redb      the index: heads, small bodies, order of eviction, invalidations (a redb database)
//!           bodies/XX/...   one file for each body larger than 16 KiB
//!           processes/...   one locked file for each process that has the directory open
//! ```
//!
//! A lookup reads the index on a thread of the lane. A change waits up to a second in memory, where lookups find it; then
//! one thread commits all changes in one transaction. That thread also learns every 250 ms what other processes wrote
//! and purged. Each process keeps the hashes of all keys in memory, so that most misses do not read the disk.
//!
//! Files in reading order:
//!
//! | file | content |
//! |---|---|
//! | `core` | the state that the threads share |
//! | `lookup` | finds the responses of a key, and loads their bodies |
//! | `at_hand` | the responses that lookups found last |
//! | `directory` | creates the directory, and checks its owner |
//! | `opening` | opens a directory, for reading and writing or for reading only |
//! | `database` | the file of the database |
//! | `index` | the tables of the database |
//! | `entry` | the entry of a key: what its removal needs |
//! | `head` | the row of a key: its responses without their bodies |
//! | `body_file` | a body in a file: blocks with checksums |
//! | `open_bodies` | the open files of bodies, and what they take of the disk after they are removed |
//! | `stored_body` | a body that is read, and a body that is written while it arrives |
//! | `pending` | changes that wait for the next transaction |
//! | `writer` | the thread that writes |
//! | `commit` | one transaction |
//! | `rows` | writes and removes the row and the bodies of a key |
//! | `purging` | finds and changes the keys that a purge affects |
//! | `growing` | the files of bodies that are still written |
//! | `part` | parts of bodies, and how their files are continued |
//! | `space` | the space that is reserved for bodies |
//! | `room` | makes room for a transaction |
//! | `sync` | learns what other processes wrote and purged |
//! | `invalidations` | the purges in the index |
//! | `process` | which processes live, and cleaning up after those that were killed |
//! | `known` | the keys on disk, in memory; pure |
//! | `inspect` | lists, verifies and removes single responses, for operators |

mod at_hand;
mod body_file;
mod commit;
mod core;
mod database;
mod directory;
mod entry;
mod growing;
mod head;
mod index;
mod inspect;
mod invalidations;
mod known;
mod lookup;
mod open_bodies;
mod opening;
mod part;
mod pending;
mod process;
#[cfg(test)]
mod process_tests;
mod purging;
mod room;
mod rows;
mod space;
mod stored_body;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use self::core::Core;
use self::database::Access;
pub use self::inspect::{DiskEntries, DiskEntry};
use self::pending::{Body, Op, Put};
use self::stored_body::BodyWriter;
use super::tier::{Position, Tier, TierListener, TierUsage, Work, may_write};
use super::{Key, StoreError, StoreKey, StoredResponse, Usage, Variants};
use crate::base::memory_limit::Ledger;
use crate::message::purge::{Purge, Purged};
use crate::message::stored_bytes::Spill;
use crate::metrics::{Observer, Watcher};

/// The capacity of a directory for which none was set, in bytes.
const CAPACITY: u64 = 1 << 30;

/// The name of this tier in `Cache-Status`.
const NAME: &str = super::RemoteBody::DISK;

/// How long an invalidation may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of stored responses, below the store in memory. They survive a restart, and may be larger than memory.
///
/// Give it to a cache with [`HttpCacheBuilder::disk`](crate::cache::HttpCacheBuilder::disk) or
/// [`PeerBuilder::disk`](crate::peer::PeerBuilder::disk), or with their methods `disk_store`. Responses are written within a second; invalidations are durable when
/// the call returns. Each read is compared with checksums; a damaged entry is removed and fetched again. If the disk fails, the
/// cache asks the origin instead, and no request fails.
///
/// Several processes can use a directory at the same time. Responses that depend on credentials are written only with a
/// [key](Self::key_file); responses that set cookies never are. Use a directory of its own: other files in it stay
/// as they are, and do not count in the capacity.
///
/// ```
/// use forwardcache::store::DiskStore;
/// use forwardcache::HttpCache;
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let directory = directory.path().join("cache");
/// let disk = DiskStore::open(&directory)?.capacity(50 << 30);
/// let cache = HttpCache::builder().disk_store(&disk).build().unwrap();
/// # Ok::<(), forwardcache::store::StoreError>(())
/// ```
///
/// A clone is a handle on the same store. The store is closed when the last clone and the last cache that uses it are dropped.
#[derive(Clone)]
pub struct DiskStore {
    open: Arc<Open>,
}

/// Closes the store when it is dropped.
struct Open {
    core: Arc<Core>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl DiskStore {
    /// Sets the size limit of the directory in bytes, its index included. Default: the limit that was set last, by any
    /// process, or 1 GiB.
    #[must_use]
    pub fn capacity(self, bytes: u64) -> Self {
        let core = self.core();
        // A run that changes nothing writes nothing.
        if core.capacity() != bytes || core.meta.lock().capacity == 0 {
            core.set_capacity.store(bytes, Ordering::Relaxed);
            core.pending.hurry();
        }
        self
    }

    /// With this many bytes as the largest body that it takes. Default, and at most: half of the capacity.
    #[must_use]
    pub fn max_body(self, bytes: u64) -> Self {
        self.core().max_body.store(bytes, Ordering::Relaxed);
        self
    }

    /// Reads a secret key from a file, or creates the file with a random key and mode 0600. Call it before the store is
    /// given to a cache.
    ///
    /// With a key, responses that depend on credentials are written too, and found again after a restart and by other
    /// processes with the same key. The directory contains digests of the credentials by this key, and never the
    /// credentials. Default: no key; such responses stay in memory. Keep the file out of the directory, and secret: it
    /// allows to test guesses of weak credentials.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be read or created, can be accessed by other users, or contains no key.
    pub fn key_file(self, path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let key = StoreKey::open(path.as_ref())?;
        let _ = self.core().key.set(key);
        Ok(self)
    }

    /// Writes all pending changes. Returns whether they were written within this time.
    pub fn flush(&self, within: Duration) -> bool {
        self.core().pending.flush(within)
    }

    /// Returns how full the directory is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let TierUsage { keys, bytes, capacity, evictions, .. } = Tier::usage(self);
        Usage { keys, bytes, capacity, evictions }
    }

    fn core(&self) -> &Arc<Core> {
        &self.open.core
    }

    /// Queues a removal, and waits until it is on the disk.
    fn durably(&self, hash: u64, op: impl FnOnce(pending::Done) -> Op) -> Result<Purged, StoreError> {
        let (done, wait) = mpsc::channel();
        if !self.core().pending.push(hash, op(done)) {
            let is_read_only = self.core().access == Access::ReadOnly;
            let state = if is_read_only { "open for reading only" } else { "closed" };
            return Err(StoreError::new(format!("the store on disk is {state}")));
        }
        wait.recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err(StoreError::new("the store on disk does not answer")))
    }

    fn put_as(&self, key: &Key, response: &Arc<StoredResponse>, body: Body) -> bool {
        let core = self.core();
        let hash = core.hash(key.as_str());
        let is_taken = may_write(key, response, core.key.get().is_some())
            && response.body_length() as u64 <= core.max_body()
            && {
                let (key, response) = (key.clone(), Arc::clone(response));
                core.sequence.fetch_max(response.sequence(), Ordering::Relaxed);
                let applied = core.applied.load(Ordering::SeqCst);
                core.pending.push(hash, Op::Put(Put { key, hash, applied, response, body }))
            };
        if is_taken {
            return true;
        }
        core.skipped.fetch_add(1, Ordering::Relaxed);
        if let Body::File(number) = body {
            self.discard_spilled(number);
        }
        if matches!(body, Body::Growing(_)) {
            return false;
        }
        // The stored response is outdated.
        if self.may_hold(key.as_str()) {
            core.pending.push(hash, Op::Remove { hash, purge: Purge::of_key(key.url()), done: None });
        }
        false
    }
}

impl Tier for DiskStore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn may_hold(&self, key: &str) -> bool {
        let core = self.core();
        let hash = core.hash(key);
        core.known.lock().may_hold(hash) || core.pending.has(hash)
    }

    fn may_hold_newer(&self, key: &str) -> bool {
        let core = self.core();
        let hash = core.hash(key);
        core.known.lock().may_hold_newer(hash)
    }

    fn spawn(&self, work: Work, is_lookup: bool) -> Result<(), Work> {
        let lane = &self.core().lane;
        if is_lookup { lane.try_submit_quick(work) } else { lane.try_submit(work) }
    }

    fn find(&self, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError> {
        self.core().find(key)
    }

    fn find_now(&self, key: &str) -> Option<Variants> {
        self.core().find_now(key)
    }

    fn load(&self, key: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError> {
        self.core().load(key, response)
    }

    fn put(&self, key: &Key, response: &Arc<StoredResponse>, _: Option<Position>) -> bool {
        let body = if response.remote().is_some() { Body::Unchanged } else { Body::Memory };
        self.put_as(key, response, body)
    }

    fn begin(&self, length: Option<u64>, most: u64) -> Option<Arc<dyn Spill>> {
        let core = self.core();
        let is_writable = core.access == Access::Write && core.index.read().is_some();
        if !is_writable || length.is_some_and(|length| length > core.max_body().min(most)) {
            return None;
        }
        match BodyWriter::begin(core, length, most) {
            Ok(writer) => Some(writer),
            Err(error) => {
                core.trouble.report("take a body", &error);
                core.skipped.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn put_spilled(&self, key: &Key, response: &Arc<StoredResponse>, number: u64) -> bool {
        self.put_as(key, response, Body::File(number))
    }

    fn put_growing(&self, key: &Key, response: &Arc<StoredResponse>, number: u64) -> bool {
        self.put_as(key, response, Body::Growing(number))
    }

    fn resume(
        &self,
        key: &Key,
        part: &StoredResponse,
        length: Option<u64>,
        most: u64,
    ) -> Option<Arc<dyn Spill>> {
        self.core().resume(key, part, length, most)
    }

    fn discard_spilled(&self, number: u64) {
        let core = self.core();
        core.abandon(number);
        core.space.note_counted(number);
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let hash = self.core().hash(key.as_str());
        let purge = Purge::of_key(key.url());
        if !self.may_hold(key.as_str()) {
            // Other processes may have it in memory.
            self.core().pending.push(hash, Op::Remove { hash, purge, done: None });
            return Ok(false);
        }
        let removed = self.durably(hash, |done| Op::Remove { hash, purge, done: Some(done) })?;
        Ok(removed.responses > 0)
    }

    fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let purge = purge.clone();
        if purge.single_url().is_some_and(|url| !self.may_hold(url)) && !self.core().may_have_partitions() {
            self.core().pending.push(0, Op::Purge { purge, done: None });
            return Ok(Purged::default());
        }
        self.durably(0, |done| Op::Purge { purge, done: Some(done) })
    }

    fn credential_digest(&self, credential: &[u8]) -> Option<u128> {
        self.core().key.get().map(|key| key.digest(credential))
    }

    fn on_invalidation(&self, listener: TierListener) {
        let mut listeners = self.core().listeners.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(listener);
    }

    fn sequence(&self) -> u64 {
        self.core().sequence.load(Ordering::Relaxed)
    }

    fn max_body(&self) -> u64 {
        self.core().max_body()
    }

    fn usage(&self) -> TierUsage {
        let core = self.core();
        let index::Meta { keys, kibibytes, .. } = *core.meta.lock();
        let bytes = kibibytes * space::KIB;
        let index = core.index().map_or(0, |index| index.length());
        TierUsage {
            keys,
            bytes: bytes.max(index),
            capacity: core.capacity(),
            evictions: core.evictions.load(Ordering::Relaxed),
            skipped: core.skipped.load(Ordering::Relaxed),
            corrupt: core.corrupt(),
            ..TierUsage::default()
        }
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.core().watcher.set(Watcher::new(observer));
    }

    fn set_ledger(&self, ledger: Arc<Ledger>) {
        // The first cache that has the store counts.
        let _ = self.core().ledger.set(ledger);
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("directory", &self.core().directory)
            .field("usage", &Tier::usage(self))
            .finish()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.core.is_closing.store(true, Ordering::Relaxed);
        self.core.pending.close();
        self.core.space.close();
        if let Some(writer) = self.writer.lock().take() {
            // The thread catches panics itself.
            let _ = writer.join();
        }
        self.core.lane.close();
        // Bodies may still be held.
        *self.core.index.write() = None;
        // They hold the core.
        self.core.at_hand.forget_all();
    }
}
