//! What a [`Client`] is made of.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::budget::RetryBudget;
use super::client::Client;
use super::counts::Counters;
use super::exchange::Watch;
use super::helpers::Helpers;
use super::inner::Inner;
use super::members::{self, RingChoice};
use super::on_no_peers::OnNoPeers;
use super::options::{HEAD_TIMEOUT, Options};
use super::peers::{self, Jitter, Peers};
use super::pool::Pool;
use super::ring_mismatches::Disagreements;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::token::Tokens;
#[cfg(feature = "peer")]
use crate::client::near_cache::{Near, NearCache, NearParts};
use crate::message::round_trip::RoundTrip;
use crate::origin::access::OriginRules;
use crate::origin::{Origin, OriginBuilder};
#[cfg(feature = "peer")]
use crate::policy::Rules;
use crate::pool::member::Member;
#[cfg(feature = "peer")]
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Paths};
use crate::pool::ring::{HashFunction, Ring, RingKind};

mod network;

/// How many peers are asked at a time whether they are there.
const PROBERS: usize = 16;

/// How many short bodies are read at a time while their callers wait for them.
const READERS: usize = 64;

/// A peer may be allowed larger heads of origins than by default, and adds fields of its own.
const MAX_HEAD: usize = 1 << 20;
const MAX_FIELDS: usize = 4096;

/// Fits 100 peers.
const IDLE_CONNECTIONS: usize = 1600;
const IDLE_CONNECTIONS_PER_PEER: usize = 64;

/// The most points that a peer may have on the compatible ring for each of its weight.
const MOST_REPLICAS: u32 = 10_000;

/// Puts a [`Client`] together. Every part has a default.
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
    handover: Duration,
    #[cfg(feature = "peer")]
    near: NearOptions,
}

/// What a client is told of its near cache, and a peer of that of its client.
#[cfg(feature = "peer")]
#[derive(Default)]
struct NearOptions {
    cache: NearCache,
    clock: Option<Arc<dyn Clock>>,
    own: Option<PeerUrl>,
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
            // A peer adds what the request has not.
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
            handover: Duration::ZERO,
            #[cfg(feature = "peer")]
            near: NearOptions::default(),
        }
    }
}

impl Client {
    /// A client to put together.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

impl ClientBuilder {
    /// The peers, as base URLs such as `http://10.0.0.1:3000`. The order does not matter; each counts
    /// once, with a weight of 1. Default: none.
    pub fn pool(mut self, peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.peers = members::parse(peers.into_iter().map(Into::into));
        self
    }

    /// The peers with their weights, in place of [`pool`](Self::pool); the last call of the two counts. The
    /// order does not matter; each counts once. All members of a pool must agree on the weights.
    ///
    /// ```
    /// use forwardcache::{Client, Member};
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

    /// Shows the first of these tokens to the peers, and to nobody else. Default: none.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.options.tokens = Some(tokens);
        self
    }

    /// Shows the first of these tokens instead of one of [`tokens`](Self::tokens) where the client purges, or says that
    /// a peer leaves: for peers that have operator tokens. Default: none.
    pub fn operator_tokens(mut self, tokens: Tokens) -> Self {
        self.options.operator_tokens = Some(tokens);
        self
    }

    /// The path under which the peers answer. Default: `/proxy`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// How URLs are placed on peers. Default: [`RingKind::Compatible`]. All members of a pool must agree.
    ///
    /// ```
    /// use forwardcache::{Client, RingKind};
    ///
    /// let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
    /// let client = Client::builder().pool(pool).ring(RingKind::Rendezvous).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn ring(mut self, kind: RingKind) -> Self {
        self.ring = kind;
        self
    }

    /// How many points each peer has on the compatible ring, for each of its weight. Default: 50. All members
    /// of a pool must agree.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// What places peers and URLs on the compatible ring. Default: CRC-32 (IEEE). All members of a pool must
    /// agree.
    pub fn hash(mut self, hash: HashFunction) -> Self {
        self.hash = Some(hash);
        self
    }

    /// How long a purge of all peers may take. Who has not answered by then counts as one that may still hold what was to
    /// go. Default: 10 seconds.
    pub fn purge_timeout(mut self, limit: Duration) -> Self {
        self.options.purge_timeout = limit;
        self
    }

    /// For how long a request may take, its body included, that has no [`Deadline`](crate::Deadline) of its own. What
    /// is left of it travels to the peer and to the origin. Default: for ever, as far as the other limits let it.
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

    /// After how long something stale will do, where RFC 9111 and the peer's rules allow it, for such a request. Default:
    /// never.
    pub fn soft_deadline(mut self, limit: Duration) -> Self {
        self.options.soft_deadline = Some(limit);
        self
    }

    /// Reads no body before its response is handed out, however short.
    #[cfg(test)]
    pub(super) fn without_collecting(mut self) -> Self {
        self.options.collected = 0;
        self
    }

    pub(crate) fn handover(mut self, time: Duration) -> Self {
        self.handover = time;
        self
    }

    /// What carries requests to the peers, in place of the network; the time limits and certificates
    /// above are its own business then. Default: [`Origin`] with those limits.
    pub fn transport(mut self, transport: impl RoundTrip + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// What to do with a request for which no peer is left. Default: [`OnNoPeers::FetchDirectly`].
    ///
    /// What is fetched directly is not cached, comes without the pool's credentials, and by the rules of nobody:
    /// where peers have [`OriginRules`] that clients must not get around, choose [`OnNoPeers::Fail`]. A
    /// `Peer` never goes past its own rules: it answers from its own share.
    pub fn on_no_peers(mut self, choice: OnNoPeers) -> Self {
        self.on_no_peers = choice;
        self
    }

    /// Whether a response with a 5xx status counts as the origin's although it does not say that a peer gave it. Peers
    /// of the Go package do not say so. Default: `false`; such a response comes from another program, and the next
    /// owner is asked.
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

    /// What says when a peer that failed is tried again. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    #[cfg(test)]
    pub(super) fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// What it keeps a copy of itself, of what it asks the peers for often: nothing unless this gives it
    /// [memory](NearCache::memory). Default: nothing.
    ///
    /// Of an answer that came through it see [`NearCache`].
    #[cfg(feature = "peer")]
    pub fn near_cache(mut self, near: NearCache) -> Self {
        self.near.cache = near;
        self
    }

    /// Stands beside this peer, which has a share of its own, rules that all of the pool have, and maybe a clock.
    #[cfg(feature = "peer")]
    pub(crate) fn beside(mut self, own: PeerUrl, rules: Rules, clock: Option<Arc<dyn Clock>>) -> Self {
        self.near = NearOptions { own: Some(own), rules: Some(rules), clock, ..self.near };
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] for a peer that is no base URL, and for one with two weights;
    /// [`ErrorKind::BadOption`] for a path that is none, for no replicas, for replicas or a hash with a ring
    /// that has none, for a limit of zero, for a near cache that cannot be, and for certificates or a key that cannot be used.
    pub fn build(self) -> Result<Client> {
        if !protocol::is_path(&self.path) {
            let text =
                format!("{:?} is no path that a peer can answer under: it must begin with /", self.path);
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let ring = ring(self.ring, self.replicas, self.hash)?;
        let fetches_directly = self.on_no_peers == OnNoPeers::FetchDirectly;
        let mut networks = Vec::new();
        let (transport, direct): (Arc<dyn RoundTrip>, Option<Arc<dyn RoundTrip>>) = match self.transport {
            Some(transport) => (Arc::clone(&transport), fetches_directly.then_some(transport)),
            None => {
                // The peers are those that this program was told, wherever they are.
                let to_peers =
                    self.network.clone().connect_timeout(self.options.hop).rules(OriginRules::trusting());
                let to_peers = to_peers.build()?;
                // Origins are anybody: who asks is for peers to know.
                let to_origins = self.network.without_client_certificate().with_default_user_agent();
                let direct = if fetches_directly { Some(to_origins.build()?) } else { None };
                networks.push(to_peers.clone());
                networks.extend(direct.clone());
                (Arc::new(to_peers), direct.map(|direct| Arc::new(direct) as _))
            }
        };
        let pool = Pool::new(self.peers?, ring, self.handover)?;
        #[cfg(feature = "peer")]
        let clock = Arc::clone(&self.clock);
        let client = Client::new(Inner {
            pool,
            paths: Paths::under(self.path),
            transport,
            networks,
            direct,
            options: self.options,
            disagreements: Disagreements::default(),
            peers: Peers::new(self.clock, self.jitter.unwrap_or_else(peers::random)),
            counters: Counters::default(),
            retries: RetryBudget::default(),
            probers: Helpers::new(PROBERS),
            readers: Helpers::new(READERS),
            watch: Watch::default(),
        });
        #[cfg(feature = "peer")]
        let client = {
            let NearOptions { cache, clock: own_clock, own, rules } = self.near;
            let (owner, clock) = (Arc::new(client.clone()), own_clock.unwrap_or(clock));
            match Near::new(NearParts { options: cache, owner, clock, own, rules })? {
                Some(near) => client.with_near(near),
                None => client,
            }
        };
        Ok(client)
    }
}

/// What was chosen, if it goes together.
fn ring(kind: RingKind, replicas: Option<u32>, hash: Option<HashFunction>) -> Result<RingChoice> {
    let refused = |text: &str| Err(Error::new(ErrorKind::BadOption, text));
    match kind {
        RingKind::Rendezvous if replicas.is_some() => refused("replicas are for the compatible ring alone"),
        RingKind::Rendezvous if hash.is_some() => {
            refused("a hash can be chosen for the compatible ring alone")
        }
        RingKind::Rendezvous => Ok(RingChoice::Rendezvous),
        RingKind::Compatible if replicas.is_some_and(|replicas| replicas > MOST_REPLICAS) => {
            refused("a ring has at most 10000 replicas a peer")
        }
        RingKind::Compatible => match NonZeroU32::new(replicas.unwrap_or(Ring::DEFAULT_REPLICAS.get())) {
            Some(replicas) => Ok(RingChoice::Compatible { replicas, hash: hash.unwrap_or_default() }),
            None => refused("a ring needs at least one replica a peer"),
        },
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
