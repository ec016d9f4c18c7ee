//! The builder of an [`HttpCache`].

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::engine::{CacheParts, HttpCache};
use super::forwarding;
use super::keys::KeyHook;
use super::near::NearRules;
use super::refresh_queue::Background;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::nonblocking::Spawn;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::metrics::{Observer, Stats, Watcher};
use crate::origin::Origin;
use crate::policy::Rules;
use crate::store::{MemoryStore, Store, Tier};

/// Builds an [`HttpCache`]. Every part has a default.
#[derive(Default)]
#[must_use]
pub struct HttpCacheBuilder {
    origin: Option<Arc<dyn RoundTrip>>,
    store: Option<Arc<dyn Store>>,
    disk: Option<Arc<dyn Tier>>,
    redis: Option<Arc<dyn Tier>>,
    clock: Option<Arc<dyn Clock>>,
    rules: Rules,
    stats: Option<Arc<Stats>>,
    pseudonym: Option<String>,
    background: Background,
    spawn: Option<Arc<dyn Spawn>>,
    drain_on_drop: Duration,
    worth_finishing: Option<u64>,
    key: Option<KeyHook>,
    near: Option<NearRules>,
    max_body: Option<u64>,
    cache_post: u64,
    watcher: Watcher,
}

/// Fetching a rest of this size costs less than a new connection to the origin.
const WORTH_FINISHING: u64 = 256 << 10;

impl HttpCache {
    /// Returns a builder with the default parts.
    pub fn builder() -> HttpCacheBuilder {
        HttpCacheBuilder::default()
    }
}

impl HttpCacheBuilder {
    /// Sets the [`RoundTrip`] that answers requests which the store cannot answer. Default: [`Origin`], the network.
    pub fn origin(mut self, origin: impl RoundTrip + 'static) -> Self {
        self.origin = Some(Arc::new(origin));
        self
    }

    /// Sets the store of the responses. Default: a [`MemoryStore`] with its default capacity.
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets the directory that stores responses below the [store](Self::store), and its size limit in bytes. It keeps
    /// responses across restarts, and bodies that are too large for memory. The directory is created if it does not exist, and
    /// several processes can use it at the same time. Default: none.
    ///
    /// If the directory cannot be used, a warning is logged, and the cache works without it. A program that needs the error
    /// opens the [`DiskStore`](crate::store::DiskStore) itself: see [`disk_store`](Self::disk_store).
    ///
    /// ```
    /// use forwardcache::HttpCache;
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let directory = directory.path().join("cache");
    /// let cache = HttpCache::builder().disk(directory, 1 << 30).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    #[cfg(feature = "disk")]
    pub fn disk(self, directory: impl AsRef<std::path::Path>, capacity: u64) -> Self {
        match crate::store::DiskStore::open(directory) {
            Ok(store) => self.disk_store(&store.capacity(capacity)),
            Err(error) => {
                log::warn!("{error:#}; caching without it");
                self
            }
        }
    }

    /// Like [`disk`](Self::disk), with a store that is already open.
    #[cfg(feature = "disk")]
    pub fn disk_store(mut self, store: &crate::store::DiskStore) -> Self {
        self.disk = Some(Arc::new(store.clone()));
        self
    }

    /// Sets the store in Redis below the [store](Self::store) and the [disk](Self::disk). Other processes share it. Default:
    /// none.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, store: &crate::store::RedisStore) -> Self {
        self.redis = Some(Arc::new(store.clone()));
        self
    }

    /// Sets the tier below the store.
    #[cfg(all(test, feature = "disk"))]
    pub(super) fn tier(mut self, tier: Arc<dyn Tier>) -> Self {
        self.disk = Some(tier);
        self
    }

    /// Sets the source of time. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the operator's caching rules. Default: a private cache, see [`Rules`].
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets the counters of outcomes. Default: new counters that no other cache shares.
    pub fn stats(mut self, stats: Arc<Stats>) -> Self {
        self.stats = Some(stats);
        self
    }

    /// Sets the code that runs on events of this cache and its store. Default: none.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.watcher(Watcher::new(observer))
    }

    pub(crate) fn watcher(mut self, watcher: Watcher) -> Self {
        self.watcher = watcher;
        self
    }

    /// Returns the clock of the cache, for parts that run in front of its origin.
    pub(crate) fn its_clock(&mut self) -> Arc<dyn Clock> {
        Arc::clone(self.clock.get_or_insert_with(|| Arc::new(SystemClock)))
    }

    /// Returns the counters of the cache.
    pub(crate) fn its_stats(&mut self) -> Arc<Stats> {
        Arc::clone(self.stats.get_or_insert_default())
    }

    /// Sets the name of this cache in `Via` (RFC 9110 section 7.6.3). The name identifies requests that loop back to
    /// this cache. It must be a token. Default: `forwardcache-` and 64 random bits, which no other cache has.
    pub fn pseudonym(mut self, pseudonym: impl Into<String>) -> Self {
        self.pseudonym = Some(pseudonym.into());
        self
    }

    /// Sets which threads refresh stale responses (`stale-while-revalidate`). Default: [`Background::Thread`].
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// Sets the threads that run refreshes, in place of the cache's own threads.
    pub(crate) fn spawn(mut self, spawn: Arc<dyn Spawn>) -> Self {
        self.spawn = Some(spawn);
        self
    }

    /// Sets how long dropping the last handle on the cache may take to finish waiting refreshes. This is useful for a
    /// program that ends while its store persists. Default: zero, which discards waiting refreshes.
    pub fn drain_on_drop(mut self, budget: Duration) -> Self {
        self.drain_on_drop = budget;
        self
    }

    /// Sets the largest missing rest of a body, in bytes, that is still fetched and stored after the last reader has
    /// left. Zero stores only bodies that a reader reads to the end. Default: 256 KiB.
    pub fn worth_finishing(mut self, bytes: u64) -> Self {
        self.worth_finishing = Some(bytes);
        self
    }

    /// Sets the largest body that is stored, in bytes. A larger body passes through. Default: the limit of the store.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Stores responses to POST requests whose content has at most `max_content` bytes, under the URL and the digest
    /// of that content. This serves interfaces that are queried by POST, such as GraphQL. Default: 0, which stores no
    /// response to a POST.
    ///
    /// A response is stored only if it is successful and either specifies its freshness lifetime or has a
    /// [`LifetimeRule`](crate::policy::LifetimeRule) that specifies one. The response answers the same POST while it is
    /// fresh. The cache never repeats a POST, shares it between requests, or sends it in the background.
    ///
    /// The option has no effect unless [`Rules::unknown_fields`] is
    /// [`UnknownFields::Forward`](crate::policy::UnknownFields::Forward).
    ///
    /// ```
    /// use forwardcache::HttpCache;
    ///
    /// let cache = HttpCache::builder().cache_post(64 << 10).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn cache_post(mut self, max_content: u64) -> Self {
        self.cache_post = max_content;
        self
    }

    /// Sets the function that maps a URL to the key of its stored responses. Two URLs with the same key share their
    /// responses. A request to the origin still has the URL itself. The function runs on every request, must be
    /// cheap, and must not block. Default: the key is the URL.
    ///
    /// ```
    /// use forwardcache::origin::CanonicalUrl;
    /// use forwardcache::HttpCache;
    ///
    /// // The query only tells where a visitor found the link.
    /// let without_query = |target: &CanonicalUrl| target.as_str().split('?').next().unwrap_or_default().to_owned();
    /// let cache = HttpCache::builder().key(without_query).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn key(mut self, key: impl Fn(&CanonicalUrl) -> String + Send + Sync + 'static) -> Self {
        self.key = Some(Arc::new(key));
        self
    }

    /// Makes this cache a near cache: its origin is the owner of each URL, see [`NearRules`].
    pub(crate) fn near(mut self, rules: NearRules) -> Self {
        self.near = Some(rules);
        self
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the pseudonym is not a token.
    pub fn build(self) -> Result<HttpCache> {
        let pseudonym = self.pseudonym.unwrap_or_else(random_pseudonym);
        let via = forwarding::via(&pseudonym).ok_or_else(|| {
            let text = format!("invalid pseudonym {pseudonym:?}: use letters, digits and hyphens only");
            Error::new(ErrorKind::BadOption, text)
        })?;
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::default()));
        if let Some(observer) = self.watcher.observer() {
            store.observe(observer);
        }
        Ok(HttpCache::new(CacheParts {
            origin: self.origin.unwrap_or_else(|| Arc::new(Origin::default())),
            store,
            tiers: self.disk.into_iter().chain(self.redis).collect(),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            rules: self.rules,
            stats: self.stats.unwrap_or_default(),
            pseudonym,
            // A near cache is a part of the client and not a hop of its own.
            via: self.near.is_none().then_some(via),
            background: self.background,
            spawn: self.spawn,
            drain_on_drop: self.drain_on_drop,
            worth_finishing: self.worth_finishing.unwrap_or(WORTH_FINISHING),
            key: self.key,
            near: self.near,
            max_body: self.max_body.unwrap_or(u64::MAX),
            cache_post: self.cache_post,
            watcher: self.watcher,
        }))
    }
}

impl std::fmt::Debug for HttpCacheBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpCacheBuilder")
            .field("store", &self.store)
            .field("clock", &self.clock)
            .field("rules", &self.rules)
            .field("pseudonym", &self.pseudonym)
            .finish_non_exhaustive()
    }
}

fn random_pseudonym() -> String {
    format!("forwardcache-{:016x}", RandomState::new().hash_one(()))
}
