//! [`PeerBuilder`]: the options of a peer.
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`PeerBuilder`] and options for the pool, the cache and memory |
//! | `access` | options for rights, origins and certificates |
//! | `forms` | options of the forms for programs that do not know the pool |
//! | `assemble` | [`PeerBuilder::build`]: assembles the parts of the peer |

mod access;
mod assemble;
mod forms;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::member::Peer;
use super::mirror::Mirror;
use super::traffic::RecentWarnings;
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::cache::{HttpCache, HttpCacheBuilder};
use crate::client::near_cache::NearCache;
use crate::client::{Client, ClientBuilder, parse};
use crate::message::round_trip::RoundTrip;
use crate::metrics::{Observer, Watcher};
use crate::origin::access::OriginRules;
use crate::origin::throttle::OriginLimits;
use crate::origin::{Origin, OriginBuilder};
use crate::peer::endpoint::Rights;
use crate::policy::{Mode, Rules};
use crate::pool::member::Member;
use crate::pool::ring::{HashFunction, RingKind};
use crate::store::Store;

/// The default time after a change of the pool during which a new owner requests responses from the previous one.
const WARM_UP: Duration = Duration::from_secs(60);

/// Builds a [`Peer`]. Every option has a default except the peer's own URL.
#[must_use]
pub struct PeerBuilder {
    self_url: String,
    peers: Option<Result<Vec<Member>>>,
    client: ClientBuilder,
    cache: HttpCacheBuilder,
    origin: Option<Arc<dyn RoundTrip>>,
    origins: OriginRules,
    network: OriginBuilder,
    root_certificates: Option<PathBuf>,
    warm_up: Duration,
    memory: Option<u64>,
    store: Option<Arc<dyn Store>>,
    rules: Rules,
    origin_limits: OriginLimits,
    rights: Rights,
    pass_cookies: bool,
    mirrors: Vec<Mirror>,
    allow_pages: bool,
    is_gateway: bool,
    connect_ports: Vec<u16>,
    near_cache: Option<NearCache>,
    clock: Option<Arc<dyn Clock>>,
    warnings: RecentWarnings,
}

impl Peer {
    /// Returns a builder. `self_url` is the base URL of this peer, as the other peers of the pool write it.
    pub fn builder(self_url: impl Into<String>) -> PeerBuilder {
        PeerBuilder::new(self_url.into())
    }
}

impl PeerBuilder {
    fn new(self_url: String) -> Self {
        Self {
            self_url,
            peers: None,
            client: Client::builder(),
            cache: HttpCache::builder(),
            origin: None,
            origins: OriginRules::default(),
            network: Origin::builder(),
            root_certificates: None,
            warm_up: WARM_UP,
            memory: None,
            store: None,
            rules: Rules::default(),
            origin_limits: OriginLimits::default(),
            rights: Rights::default(),
            pass_cookies: false,
            mirrors: Vec::new(),
            allow_pages: false,
            is_gateway: false,
            connect_ports: vec![443],
            near_cache: None,
            clock: None,
            warnings: RecentWarnings::new(),
        }
    }

    /// Sets the base URLs of all peers of the pool. Include this peer, otherwise it owns no URLs. Default: only this peer.
    pub fn pool(mut self, peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.peers = Some(parse(peers.into_iter().map(Into::into)));
        self
    }

    /// Sets the peers of the pool with their weights. The last call of this method or [`pool`](Self::pool) counts.
    pub fn members(mut self, members: impl IntoIterator<Item = Member>) -> Self {
        self.peers = Some(Ok(members.into_iter().collect()));
        self
    }

    /// Sets how the peer sends requests to other peers: path, ring, timeouts. The pool and the near cache of the client are
    /// ignored in favour of those of this builder. If no other peer is available, the peer fetches the URL itself, whatever
    /// [`on_no_peers`](ClientBuilder::on_no_peers) specifies. Default: [`Client::builder`].
    pub fn client(mut self, client: ClientBuilder) -> Self {
        self.client = client;
        self
    }

    /// Sets the path under which all peers of the pool serve. Default: `/proxy`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.client = self.client.path(path);
        self
    }

    /// Sets how URLs are assigned to peers, the same for all members of the pool. Default: [`RingKind::Compatible`].
    pub fn ring(mut self, kind: RingKind) -> Self {
        self.client = self.client.ring(kind);
        self
    }

    /// Sets the number of points of a peer on the compatible ring, for each unit of weight, the same for all members of the
    /// pool. Default: 50.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.client = self.client.replicas(replicas);
        self
    }

    /// Sets the hash function of the compatible ring, the same for all members of the pool. Default: CRC-32 (IEEE).
    pub fn hash(mut self, hash: HashFunction) -> Self {
        self.client = self.client.hash(hash);
        self
    }

    /// Sets the transport for requests to other peers. Default: the network.
    pub fn transport(mut self, transport: impl RoundTrip + 'static) -> Self {
        self.client = self.client.transport(transport);
        self
    }

    /// Sets further options of the peer's own cache, such as its key or its background refreshes. The origin, store and
    /// rules of this builder take precedence.
    ///
    /// ```
    /// use forwardcache::cache::Background;
    /// use forwardcache::Peer;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").cache(|cache| cache.background(Background::CallerRuns));
    /// # peer.build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn cache(mut self, configure: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder) -> Self {
        self.cache = configure(self.cache);
        self
    }

    /// Sets how long after a change of the pool this peer requests responses from previous owners. Before it fetches a URL
    /// that it owns since the change, it asks the previous owner once for a stored response and waits at most 200 ms. Zero
    /// disables these requests. Default: 60 seconds.
    pub fn warm_up(mut self, time: Duration) -> Self {
        self.warm_up = time;
        self
    }

    /// Sets the memory limit of the peer in bytes, for bodies, heads, keys and bookkeeping. Default: 256 MiB, or a quarter
    /// of the memory that this process may use if that is less.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets the near cache, which keeps copies of responses that this peer often requests from other peers. Its memory is
    /// part of the peer's [memory](Self::memory).
    ///
    /// Default: [`NearCache`] with a sixteenth of that memory. It is off if the pool has no other peer when the peer is
    /// built, or if the peer has its own [store](Self::store).
    ///
    /// ```
    /// use forwardcache::client::NearCache;
    /// use forwardcache::Peer;
    ///
    /// let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
    /// let builder = || Peer::builder(pool[0]).pool(pool).memory(64 << 20);
    /// let peer = builder().build()?;
    /// assert_eq!(peer.cache().store().usage().capacity, 60 << 20);
    /// assert_eq!(peer.client().near_usage().unwrap().capacity, 4 << 20);
    /// let peer = builder().near_cache(NearCache::new().memory(0)).build()?;
    /// assert!(peer.client().near_usage().is_none());
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn near_cache(mut self, near_cache: NearCache) -> Self {
        self.near_cache = Some(near_cache);
        self
    }

    /// Sets the store of the peer's own cache. Default: [`MemoryStore`](crate::store::MemoryStore).
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets a directory that stores responses below the store in memory, and its size limit in bytes, as
    /// [`HttpCacheBuilder::disk`](crate::cache::HttpCacheBuilder::disk). Default: none.
    #[cfg(feature = "disk")]
    pub fn disk(mut self, directory: impl AsRef<std::path::Path>, capacity: u64) -> Self {
        self.cache = self.cache.disk(directory, capacity);
        self
    }

    /// Adds an open store on disk below the store in memory. Its responses survive a restart, and it stores bodies that do not fit
    /// into memory. Default: none.
    ///
    /// ```
    /// use forwardcache::store::DiskStore;
    /// use forwardcache::Peer;
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let directory = directory.path().join("cache");
    /// let disk = DiskStore::open(&directory)?.capacity(50 << 30);
    /// let peer = Peer::builder("http://127.0.0.1:3000").disk_store(&disk).build().unwrap();
    /// # Ok::<(), forwardcache::store::StoreError>(())
    /// ```
    #[cfg(feature = "disk")]
    pub fn disk_store(mut self, store: &crate::store::DiskStore) -> Self {
        self.cache = self.cache.disk_store(store);
        self
    }

    /// Adds a store in Redis below the stores in memory and on disk. The peers of a pool share it, so that a new or replaced peer
    /// finds what the others fetched. Default: none.
    ///
    /// ```no_run
    /// use forwardcache::store::RedisStore;
    /// use forwardcache::Peer;
    ///
    /// let redis = RedisStore::builder("redis://127.0.0.1:6379").build()?;
    /// let peer = Peer::builder("http://127.0.0.1:3000").redis(&redis).build().unwrap();
    /// # Ok::<(), forwardcache::store::StoreError>(())
    /// ```
    #[cfg(feature = "redis")]
    pub fn redis(mut self, store: &crate::store::RedisStore) -> Self {
        self.cache = self.cache.redis(store);
        self
    }

    /// Sets whether the rules of a private or a shared cache apply. Default: [`Mode::Private`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.rules.mode = mode;
        self
    }

    /// Sets the choices that RFC 9111 leaves to a cache, including the mode. Default: see [`Rules`].
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets limits for the requests of the pool to one origin. This peer limits itself to its share. Default: no limits, and
    /// a pause if an origin sends `Retry-After`; see [`OriginLimits`].
    ///
    /// ```
    /// use forwardcache::origin::OriginLimits;
    /// use forwardcache::Peer;
    ///
    /// let origin_limits = OriginLimits::new().concurrent(6).rate(20.0);
    /// let peer = Peer::builder("http://127.0.0.1:3000").origin_limits(origin_limits).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn origin_limits(mut self, origin_limits: OriginLimits) -> Self {
        self.origin_limits = origin_limits;
        self
    }

    /// Sets the code that runs on events of this peer's client, cache and store. Default: none.
    ///
    /// ```
    /// use forwardcache::Peer;
    /// use forwardcache::metrics::{Eviction, Observer};
    ///
    /// struct Log;
    ///
    /// impl Observer for Log {
    ///     fn evicted(&self, event: &Eviction) {
    ///         eprintln!("{} keys were evicted", event.keys);
    ///     }
    /// }
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").observer(Log).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        let watcher = Watcher::new(observer);
        self.client = self.client.watcher(watcher.clone());
        self.cache = self.cache.watcher(watcher);
        self
    }

    /// Sets the warnings that the status page shows; the program's logger adds them. Default: none.
    pub fn recent_warnings(mut self, warnings: &RecentWarnings) -> Self {
        self.warnings = warnings.clone();
        self
    }

    /// Sets the clock. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        self.cache = self.cache.clock(Arc::clone(&clock));
        self.clock = Some(clock);
        self
    }
}

impl fmt::Debug for PeerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerBuilder")
            .field("self_url", &self.self_url)
            .field("peers", &self.peers)
            .field("client", &self.client)
            .field("cache", &self.cache)
            .field("origins", &self.origins)
            .field("memory", &self.memory)
            .field("rules", &self.rules)
            .field("origin_limits", &self.origin_limits)
            .finish_non_exhaustive()
    }
}
