//! The tier that peers share: Redis or Valkey, one server or a cluster.
//!
//! | file | content |
//! |---|---|
//! | `core` | the shared state, and the operations in Redis |
//! | `scripts` | the Lua scripts, and the list of purges in Redis |
//! | `answer` | what the scripts return |
//! | `value` | the value of a key, and which of its responses purges leave; pure |
//! | `lookup` | looks up responses and loads their bodies |
//! | `put` | writes responses behind |
//! | `waiting` | the bytes that wait to be written |
//! | `circuit` | which operations may run, and the invalidations that are owed |
//! | `breaker` | the circuit breaker; pure |
//! | `lookup_cost` | whether lookups cost more time than their hits save; pure |
//! | `connections` | a pool of connections |
//! | `connection` | one connection |
//! | `resp` | the protocol of Redis; pure |
//! | `failure` | why a command has no usable response |
//! | `address` | reads the address |
//!
//! # Invalidations
//!
//! Keys are divided into shards. Each has a sequence of numbers in Redis: every invalidation takes the next number. A lookup
//! returns the last number, the fetch that follows carries it, and a script writes the response only if nothing later covers it.
//! A value has the number up to which it was checked, and every lookup compares it with later purges, atomically with the read.

mod address;
mod answer;
mod breaker;
mod circuit;
mod connection;
mod connections;
mod core;
mod failure;
mod lookup;
mod lookup_cost;
mod put;
mod resp;
mod scripts;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod value;
mod waiting;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::address::{Address, Password};
use self::connections::Connections;
use self::core::Core;
use super::tier::{Position, Tier, TierUsage, Work};
use super::{Key, StoreError, StoreKey, StoredResponse};
use crate::base::memory_limit::Ledger;
use crate::message::purge::{Purge, Purged};

/// The longest timeout.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// The name of this tier in `Cache-Status`.
const NAME: &str = super::RemoteBody::REDIS;

/// Responses in Redis or Valkey, below those in memory and on disk. Several peers share it: a new, restarted or replaced peer
/// finds what the others fetched.
///
/// A cache has it by [`HttpCacheBuilder::redis`](crate::cache::HttpCacheBuilder::redis) or
/// [`PeerBuilder::redis`](crate::peer::PeerBuilder::redis). Responses are written behind. A purge is in Redis when its call returns,
/// and a response that was requested before is not written after it. If Redis fails or is slow, one lookup waits for the
/// [timeout](RedisStoreBuilder::timeout); then nothing is asked until a probe in the background succeeds. No request fails.
///
/// Responses that depend on credentials are written only with a [key](RedisStoreBuilder::key_file), and those that set cookies never
/// are. Anyone who can write to Redis can replace every
/// response: the network, a password and TLS have to protect it.
///
/// ```no_run
/// use forwardcache::{HttpCache, store::RedisStore};
///
/// let redis = RedisStore::builder("rediss://cache.example:6379").password("secret").build()?;
/// let cache = HttpCache::builder().redis(&redis).build().unwrap();
/// # Ok::<(), forwardcache::store::StoreError>(())
/// ```
///
/// Cloning it is cheap and gives the same store. Its connections are closed when the last clone and the last cache that has it
/// are dropped.
#[derive(Clone)]
pub struct RedisStore {
    open: Arc<Open>,
}

/// Ends the threads when it is dropped.
struct Open {
    core: Arc<Core>,
}

/// Builds a [`RedisStore`].
#[derive(Clone)]
#[must_use]
pub struct RedisStoreBuilder {
    address: String,
    password: Option<Password>,
    root_certificates: Option<Vec<u8>>,
    prefix: String,
    timeout: Duration,
    max_value: u64,
    key_file: Option<PathBuf>,
}

impl RedisStore {
    /// Returns a builder. The address is `redis://HOST:PORT`, `rediss://HOST:PORT` (TLS), or a list of nodes of a cluster:
    /// `redis+cluster://HOST:PORT,HOST:PORT`, or `rediss+cluster://`. `USER:PASSWORD@` may precede the first host, and `/NUMBER`
    /// of a database may follow the host of a single server.
    pub fn builder(address: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder {
            address: address.into(),
            password: None,
            root_certificates: None,
            prefix: "forwardcache".to_owned(),
            timeout: Duration::from_millis(50),
            max_value: 1 << 20,
            key_file: None,
        }
    }

    /// Waits until all responses that were stored before are written. Returns `false` if that takes longer than `within`.
    pub fn flush(&self, within: Duration) -> bool {
        self.core().waiting.flush(within)
    }

    fn core(&self) -> &Arc<Core> {
        &self.open.core
    }
}

impl RedisStoreBuilder {
    /// Sets the password, in place of that of the address. Default: that of the address, or none.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Password::Text(password.into()));
        self
    }

    /// Reads the password from the first line of a file, in place of that of the address. Each new connection reads the file again,
    /// so a new password needs no restart. Default: no file.
    pub fn password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.password = Some(Password::File(path.into()));
        self
    }

    /// Sets the certificates (PEM) that a server with TLS must be signed by. Default: those of the system.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// Sets the first part of all keys in Redis. Peers with the same prefix share their responses. Default: `forwardcache`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long connecting, and each operation, may take, up to an hour. Default: 50 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the largest value in bytes: all variants of a URL with heads and bodies. Default: 1 MiB.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.max_value = bytes;
        self
    }

    /// Reads a secret key from a file, or creates the file with a random key and mode 0600.
    ///
    /// With a key, responses that depend on credentials are kept in Redis too, under digests of the credentials by this key. Only
    /// peers with a copy of the file find them. Redis never gets the credentials; it does get the URLs and bodies, as for all
    /// responses. Default: no key; such responses stay on the peer.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// Builds the store. Connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the address, the prefix, the timeout or the certificates are invalid, if the file of the password or of the
    /// key cannot be used, or if the address has a user and there is no password.
    pub fn build(self) -> Result<RedisStore, StoreError> {
        let address = Address::parse(&self.address)?;
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            let text = format!(
                "invalid prefix {:?} of keys in Redis: it must not be empty or contain braces",
                self.prefix
            );
            return Err(StoreError::new(text));
        }
        if self.timeout.is_zero() || self.timeout > MAX_TIMEOUT {
            let text = format!("invalid timeout of Redis: {:?} is zero or longer than an hour", self.timeout);
            return Err(StoreError::new(text));
        }
        let address = address.with_password(self.password)?;
        let connections = Connections::new(address, self.root_certificates, self.timeout)?;
        let key = self.key_file.as_deref().map(StoreKey::open).transpose()?;
        let core = Arc::new(Core::new(connections, self.prefix, self.timeout, self.max_value, key));
        Ok(RedisStore { open: Arc::new(Open { core }) })
    }
}

impl Tier for RedisStore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn max_wait(&self) -> Duration {
        self.core().longest()
    }

    fn position(&self, key: &str) -> Option<Position> {
        Some(Position { sequence: self.core().position(key)?, at: Instant::now() })
    }

    fn may_hold(&self, key: &str) -> bool {
        self.core().takes(key) && self.core().may_look_up()
    }

    fn may_hold_newer(&self, key: &str) -> bool {
        self.may_hold(key)
    }

    fn spawn(&self, work: Work, _: bool) -> Result<(), Work> {
        self.core().spawn_lookup(work)
    }

    fn find(&self, key: &Key) -> Result<Vec<Arc<StoredResponse>>, StoreError> {
        self.core().find(key)
    }

    fn load(&self, _: &Key, response: &StoredResponse) -> Result<StoredResponse, StoreError> {
        self.core().load(response)
    }

    fn put(&self, key: &Key, response: &Arc<StoredResponse>, position: Option<Position>) -> bool {
        self.core().put(key, response, position)
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        if !self.core().takes(key.as_str()) {
            return Ok(false);
        }
        Ok(self.core().invalidate(&Purge::of_key(key.as_str())).responses > 0)
    }

    /// Counts only single keys: a prefix or group is not counted.
    fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        Ok(self.core().invalidate(purge))
    }

    fn credential_digest(&self, credential: &[u8]) -> Option<u128> {
        self.core().key.as_ref().map(|key| key.digest(credential))
    }

    fn sequence(&self) -> u64 {
        0
    }

    fn max_body(&self) -> u64 {
        self.core().max_value
    }

    fn usage(&self) -> TierUsage {
        let core = self.core();
        let is_up = core.may_look_up();
        let (circuit, failures) = core.circuit.state(Instant::now());
        TierUsage {
            bytes: core.waiting.bytes(),
            skipped: core.skipped.load(Ordering::Relaxed),
            corrupt: core.corrupt.load(Ordering::Relaxed),
            answers: core.answers.load(Ordering::Relaxed),
            errors: core.errors.load(Ordering::Relaxed),
            failures,
            circuit,
            is_up,
            ..TierUsage::default()
        }
    }

    fn set_max_staleness(&self, duration: Duration) {
        let _ = self.core().max_staleness.set(duration);
    }

    fn set_ledger(&self, ledger: Arc<Ledger>) {
        let _ = self.core().ledger.set(ledger);
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.core().prefix)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

/// Shows neither the address, which may contain a password, nor the password.
impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.core.writes.close();
        self.core.lane.close();
    }
}
