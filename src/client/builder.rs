//! The builder of a [`Client`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::budget::RetryBudget;
use super::client::Client;
use super::counts::Counters;
use super::exchange::Exchanges;
use super::helpers::Helpers;
use super::inner::Inner;
use super::members;
use super::on_no_peers::OnNoPeers;
use super::options::{HEAD_TIMEOUT, Options};
use super::peers::{self, Jitter, Peers};
use super::pool::Pool;
use super::ring_mismatches::RingMismatches;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::token::Tokens;
#[cfg(feature = "peer")]
use crate::client::near_cache::{NearCache, NearCacheParts, NearHttpCache};
use crate::message::round_trip::RoundTrip;
use crate::metrics::{Observer, Watcher};
use crate::origin::access::OriginRules;
use crate::origin::{Origin, OriginBuilder};
#[cfg(feature = "peer")]
use crate::policy::Rules;
use crate::pool::member::Member;
#[cfg(feature = "peer")]
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Paths};
use crate::pool::ring::{HashFunction, RingKind};

mod network;
mod ring;

/// Maximum number of concurrent health probes.
const MAX_PROBERS: usize = 16;

/// Maximum number of short bodies that helper threads read at the same time.
const MAX_READERS: usize = 64;

/// Peers may accept larger heads from origins than the default, and they add header fields of their own.
const MAX_HEAD: usize = 1 << 20;
const MAX_FIELDS: usize = 4096;

/// Enough for 100 peers.
const IDLE_CONNECTIONS: usize = 1600;
const IDLE_CONNECTIONS_PER_PEER: usize = 64;

/// Builds a [`Client`]. Every option has a default.
#[must_use]
pub struct ClientBuilder {
    peers: Result<Vec<Member>>,
    path: String,
    ring: RingKind,
    replicas: Option<u32>,
    hash: Option<HashFunction>,
    network: OriginBuilder,
    transport: Option<Arc<dyn RoundTrip>>,
    on_no_peers: OnNoPeers,
    clock: Arc<dyn Clock>,
    jitter: Option<Jitter>,
    options: Options,
    watcher: Watcher,
    warm_up: Duration,
    #[cfg(feature = "peer")]
    near: NearOptions,
}

/// Options of the near cache, and the values that a peer passes for the near cache of its own client.
#[cfg(feature = "peer")]
#[derive(Default)]
struct NearOptions {
    cache: NearCache,
    clock: Option<Arc<dyn Clock>>,
    self_url: Option<PeerUrl>,
    rules: Option<Rules>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            peers: Ok(Vec::new()),
            path: protocol::DEFAULT_PATH.to_owned(),
            ring: RingKind::default(),
            replicas: None,
            hash: None,
            // Peers add a `User-Agent` if the request has none.
            network: Origin::builder()
                .user_agent("")
                .response_timeout(HEAD_TIMEOUT)
                .max_head(MAX_HEAD)
                .max_fields(MAX_FIELDS)
                .idle_connections(IDLE_CONNECTIONS)
                .idle_connections_per_origin(IDLE_CONNECTIONS_PER_PEER),
            transport: None,
            on_no_peers: OnNoPeers::default(),
            clock: Arc::new(SystemClock),
            jitter: None,
            options: Options::default(),
            watcher: Watcher::default(),
            warm_up: Duration::ZERO,
            #[cfg(feature = "peer")]
            near: NearOptions::default(),
        }
    }
}

impl Client {
    /// Returns a builder with the default options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

impl ClientBuilder {
    /// Sets the peers as base URLs such as `http://10.0.0.1:3000`, each with a weight of 1. Order and
    /// duplicates do not matter. Default: none.
    pub fn pool(mut self, peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.peers = members::parse(peers.into_iter().map(Into::into));
        self
    }

    /// Sets the peers with their weights. Replaces an earlier [`pool`](Self::pool) or `members` call. Order
    /// and duplicates do not matter. All members of a pool must agree on the weights.
    ///
    /// ```
    /// use forwardcache::pool::Member;
    /// use forwardcache::Client;
    ///
    /// let large = Member::parse("http://10.0.0.1:3000 weight=3")?;
    /// let small = Member::parse("http://10.0.0.2:3000")?;
    /// let client = Client::builder().members([large, small]).build()?;
    /// assert_eq!(client.members()[0].weight().get(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn members(mut self, members: impl IntoIterator<Item = Member>) -> Self {
        self.peers = Ok(members.into_iter().collect());
        self
    }

    /// Sends the first of these tokens to the peers, and only to them. Default: none.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.options.tokens = Some(tokens);
        self
    }

    /// Sends the first of these tokens, instead of one of [`tokens`](Self::tokens), with purges and leave
    /// notices, for peers that require operator tokens. Default: none.
    pub fn operator_tokens(mut self, tokens: Tokens) -> Self {
        self.options.operator_tokens = Some(tokens);
        self
    }

    /// Sets the path of the peers' endpoint. Default: `/proxy`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the ring that assigns URLs to peers. Default: [`RingKind::Compatible`]. All members of a pool must
    /// agree.
    ///
    /// ```
    /// use forwardcache::pool::RingKind;
    /// use forwardcache::Client;
    ///
    /// let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
    /// let client = Client::builder().pool(pool).ring(RingKind::Rendezvous).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn ring(mut self, kind: RingKind) -> Self {
        self.ring = kind;
        self
    }

    /// Sets the number of points on the compatible ring for each unit of a peer's weight. Default: 50. All
    /// members of a pool must agree.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// Sets the hash function of the compatible ring. Default: CRC-32 (IEEE). All members of a pool must
    /// agree.
    pub fn hash(mut self, hash: HashFunction) -> Self {
        self.hash = Some(hash);
        self
    }

    /// Limits how long a purge of all peers may take. A peer that has not answered by then is reported as
    /// failed: it may still hold what was to be purged. Default: 10 seconds.
    pub fn purge_timeout(mut self, limit: Duration) -> Self {
        self.options.purge_timeout = limit;
        self
    }

    /// Limits how long a request may take, including the response body, unless it has a
    /// [`Deadline`](crate::Deadline) of its own. The client sends the remaining time to the peer, which limits
    /// the fetch from the origin. Default: no limit beyond the other timeouts.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use forwardcache::Client;
    ///
    /// let client = Client::builder().deadline(Duration::from_secs(5)).soft_deadline(Duration::from_millis(300)).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.options.deadline = Some(limit);
        self
    }

    /// Sets the time after which such a request accepts a stale response, if RFC 9111 and the peer's rules
    /// allow one. Default: never.
    pub fn soft_deadline(mut self, limit: Duration) -> Self {
        self.options.soft_deadline = Some(limit);
        self
    }

    /// Returns every response before its body is read, however short the body is.
    #[cfg(test)]
    pub(super) fn without_buffering(mut self) -> Self {
        self.options.buffer_limit = 0;
        self
    }

    pub(crate) fn warm_up(mut self, time: Duration) -> Self {
        self.warm_up = time;
        self
    }

    /// Replaces the network as the transport to the peers. The transport is then responsible for time limits
    /// and certificates. Default: an [`Origin`] with the limits set here.
    pub fn transport(mut self, transport: impl RoundTrip + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Sets how the client handles a request when no peer is left. Default: [`OnNoPeers::FetchDirectly`].
    ///
    /// A direct fetch is not cached, carries no credentials of the pool, and ignores the [`OriginRules`] of
    /// the peers. If clients must not bypass those rules, choose [`OnNoPeers::Fail`]. A `Peer` never bypasses
    /// its own rules: it answers from its own cache.
    pub fn on_no_peers(mut self, choice: OnNoPeers) -> Self {
        self.on_no_peers = choice;
        self
    }

    /// Accepts a 5xx response without the mark of a peer as the origin's response. Peers of the Go package do
    /// not set that mark. Default: `false`: such a response is attributed to another program, and the client
    /// asks the next owner.
    ///
    /// ```
    /// use forwardcache::Client;
    ///
    /// let client = Client::builder().pool(["http://10.0.0.1:3000"]).accept_unmarked(true).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn accept_unmarked(mut self, accepted: bool) -> Self {
        self.options.accepts_unmarked = accepted;
        self
    }

    /// Sets the clock that decides when a failed peer is tried again. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the code that runs on events of this client. Default: none.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.watcher(Watcher::new(observer))
    }

    pub(crate) fn watcher(mut self, watcher: Watcher) -> Self {
        self.watcher = watcher;
        self
    }

    #[cfg(test)]
    pub(super) fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// Sets the near cache: local copies of responses that this client requests often. It is off until it has
    /// [memory](NearCache::memory). Default: off.
    ///
    /// [`NearCache`] describes how a response shows that it came through the near cache.
    #[cfg(feature = "peer")]
    pub fn near_cache(mut self, near: NearCache) -> Self {
        self.near.cache = near;
        self
    }

    /// Configures the client of a peer: the peer's URL, the rules of its pool, and optionally its clock.
    #[cfg(feature = "peer")]
    pub(crate) fn beside(mut self, self_url: PeerUrl, rules: Rules, clock: Option<Arc<dyn Clock>>) -> Self {
        self.near = NearOptions { self_url: Some(self_url), rules: Some(rules), clock, ..self.near };
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] if a peer is not a base URL or is listed with two weights;
    /// [`ErrorKind::BadOption`] for an invalid path, zero replicas, replicas or a hash with the rendezvous
    /// ring, a limit of zero, invalid near cache options, or unusable certificates or keys.
    pub fn build(self) -> Result<Client> {
        if !protocol::is_path(&self.path) {
            let text = format!("invalid path {:?} of the peers: it must begin with \"/\"", self.path);
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let ring = ring::choice(self.ring, self.replicas, self.hash)?;
        let fetches_directly = self.on_no_peers == OnNoPeers::FetchDirectly;
        let mut networks = Vec::new();
        let (transport, direct): (Arc<dyn RoundTrip>, Option<Arc<dyn RoundTrip>>) = match self.transport {
            Some(transport) => (Arc::clone(&transport), fetches_directly.then_some(transport)),
            None => {
                // The peers are configured by the operator, so that no origin rules apply to them.
                let to_peers = self
                    .network
                    .clone()
                    .connect_timeout(self.options.connect_timeout)
                    .rules(OriginRules::trusting());
                let to_peers = to_peers.build()?;
                // Origins can be any server, and only peers may learn the identity of this client.
                let to_origins = self.network.without_client_certificate().with_default_user_agent();
                let direct = if fetches_directly { Some(to_origins.build()?) } else { None };
                networks.push(to_peers.clone());
                networks.extend(direct.clone());
                (Arc::new(to_peers), direct.map(|direct| Arc::new(direct) as _))
            }
        };
        let pool = Pool::new(self.peers?, ring, self.warm_up)?;
        #[cfg(feature = "peer")]
        let clock = Arc::clone(&self.clock);
        let client = Client::new(Inner {
            pool,
            paths: Paths::under(self.path),
            transport,
            networks,
            direct,
            options: self.options,
            ring_mismatches: RingMismatches::default(),
            peers: Peers::new(self.clock, self.jitter.unwrap_or_else(peers::random), self.watcher.clone()),
            counters: Counters::default(),
            watcher: self.watcher.clone(),
            retries: RetryBudget::default(),
            probers: Helpers::new(MAX_PROBERS),
            readers: Helpers::new(MAX_READERS),
            exchanges: Exchanges::default(),
        });
        #[cfg(feature = "peer")]
        let client = {
            let NearOptions { cache, clock: own_clock, self_url, rules } = self.near;
            let (owner, clock) = (Arc::new(client.clone()), own_clock.unwrap_or(clock));
            let (own, watcher) = (self_url, self.watcher);
            match NearHttpCache::new(NearCacheParts { options: cache, owner, clock, own, rules, watcher })? {
                Some(near) => client.with_near(near),
                None => client,
            }
        };
        Ok(client)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("peers", &self.peers)
            .field("path", &self.path)
            .field("ring", &self.ring)
            .field("replicas", &self.replicas)
            .field("hash", &self.hash)
            .field("network", &self.network)
            .field("on_no_peers", &self.on_no_peers)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
