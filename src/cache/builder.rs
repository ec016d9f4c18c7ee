//! What a [`HttpCache`] is made of.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::engine::{HttpCache, MadeOf};
use super::forwarding;
use super::keys::KeyHook;
use super::near::NearRules;
use super::refresh::Background;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::nonblocking::Spawn;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Stats;
use crate::message::url::CanonicalUrl;
use crate::origin::Origin;
use crate::policy::Rules;
use crate::store::{MemoryStore, Store, Tier};

/// Puts a [`HttpCache`] together. Every part has a default.
#[derive(Default)]
#[must_use]
pub struct HttpCacheBuilder {
    origin: Option<Arc<dyn RoundTrip>>,
    store: Option<Arc<dyn Store>>,
    tier: Option<Arc<dyn Tier>>,
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
}

/// Less than a new connection costs.
const WORTH_FINISHING: u64 = 256 << 10;

impl HttpCacheBuilder {
    /// Where requests go that are not answered from the store. Default: [`Origin`], the network.
    pub fn origin(mut self, origin: impl RoundTrip + 'static) -> Self {
        self.origin = Some(Arc::new(origin));
        self
    }

    /// Where responses are kept. Default: a [`MemoryStore`] of its default capacity.
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Where responses are kept below the [store](Self::store), in a directory: they are found there after a restart,
    /// and larger bodies than memory holds. Default: nowhere.
    #[cfg(feature = "disk")]
    pub fn disk(mut self, store: &crate::store::DiskStore) -> Self {
        self.tier = Some(Arc::new(store.clone()));
        self
    }

    /// Where time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// What the operator decides. Default: a private cache, see [`Rules`].
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Where outcomes are counted. Default: counters of its own.
    pub fn stats(mut self, stats: Arc<Stats>) -> Self {
        self.stats = Some(stats);
        self
    }

    /// The clock of the cache, for what stands before its origin.
    pub(crate) fn its_clock(&mut self) -> Arc<dyn Clock> {
        Arc::clone(self.clock.get_or_insert_with(|| Arc::new(SystemClock)))
    }

    /// The counters of the cache.
    pub(crate) fn its_stats(&mut self) -> Arc<Stats> {
        Arc::clone(self.stats.get_or_insert_default())
    }

    /// The name under which it stands in `Via` (RFC 9110 section 7.6.3), by which a request that comes
    /// back is known. Default: `forwardcache-` and 64 random bits, which no other cache has.
    pub fn pseudonym(mut self, pseudonym: impl Into<String>) -> Self {
        self.pseudonym = Some(pseudonym.into());
        self
    }

    /// Who refreshes what was served stale (`stale-while-revalidate`). Default: [`Background::Thread`].
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// Threads for refreshes, in place of its own.
    pub(crate) fn spawn(mut self, spawn: Arc<dyn Spawn>) -> Self {
        self.spawn = Some(spawn);
        self
    }

    /// For how long the last handle on the cache, when it is dropped, still works off refreshes that wait:
    /// for a program that ends and whose store stays. Default: zero, they are given up.
    pub fn drain_on_drop(mut self, budget: Duration) -> Self {
        self.drain_on_drop = budget;
        self
    }

    /// How much may be missing of a body whose last reader has left for it to be fetched to its end and
    /// stored all the same, in bytes. Zero: whatever is not read to its end is given up. Default: 256 KiB.
    pub fn worth_finishing(mut self, bytes: u64) -> Self {
        self.worth_finishing = Some(bytes);
        self
    }

    /// The largest body that is stored, in bytes; what is larger passes through. Default: as large as the store takes.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Stores responses to POST requests with content of up to so many bytes under the URL and the digest of that content,
    /// for interfaces that are asked by POST, such as GraphQL. Only a success is stored that says for how long it is fresh,
    /// or of which a [`LifetimeRule`](crate::LifetimeRule) says so. It answers the same POST while it is fresh; a POST is
    /// never repeated, shared with others, or sent in the background. It has no effect unless
    /// [`Rules::unknown_fields`] is [`UnknownFields::Forward`](crate::UnknownFields::Forward). Zero: none are. Default: 0.
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

    /// What of a URL is the key under which its answers are stored: two URLs with the same key have the same
    /// answers. The origin is still asked for the URL itself. It is called on every request, must be cheap,
    /// and must not block. Default: the URL.
    ///
    /// ```
    /// use forwardcache::{HttpCache, CanonicalUrl};
    ///
    /// // Where a link was found does not change what it leads to.
    /// let without_query = |target: &CanonicalUrl| target.as_str().split('?').next().unwrap_or_default().to_owned();
    /// let cache = HttpCache::builder().key(without_query).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn key(mut self, key: impl Fn(&CanonicalUrl) -> String + Send + Sync + 'static) -> Self {
        self.key = Some(Arc::new(key));
        self
    }

    /// Stands beside whoever asks, and asks the owner of a URL in place of its origin: see [`NearRules`].
    pub(crate) fn near(mut self, rules: NearRules) -> Self {
        self.near = Some(rules);
        self
    }

    /// The cache.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] when the pseudonym is not a token.
    pub fn build(self) -> Result<HttpCache> {
        let pseudonym = self.pseudonym.unwrap_or_else(random_pseudonym);
        let via = forwarding::via(&pseudonym).ok_or_else(|| {
            Error::new(ErrorKind::BadOption, format!("the pseudonym {pseudonym:?} is not a token"))
        })?;
        Ok(HttpCache::new(MadeOf {
            origin: self.origin.unwrap_or_else(|| Arc::new(Origin::default())),
            store: self.store.unwrap_or_else(|| Arc::new(MemoryStore::default())),
            tier: self.tier,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            rules: self.rules,
            stats: self.stats.unwrap_or_default(),
            pseudonym,
            // A near cache is a part of whoever asks, and no hop of its own.
            via: self.near.is_none().then_some(via),
            background: self.background,
            spawn: self.spawn,
            drain_on_drop: self.drain_on_drop,
            worth_finishing: self.worth_finishing.unwrap_or(WORTH_FINISHING),
            key: self.key,
            near: self.near,
            max_body: self.max_body.unwrap_or(u64::MAX),
            cache_post: self.cache_post,
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
