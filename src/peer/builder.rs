//! What a [`Peer`] is made of.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::MemberAddresses;
use super::member::{Inner, Peer};
use super::pool::InPool;
use super::threads::PeerThreads;
use super::warm_up::Handover;
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::ledger::Ledger;
use crate::base::names::SystemLookup;
use crate::base::token::Tokens;
use crate::cache::{HttpCache, HttpCacheBuilder};
use crate::client::near_cache::NearCache;
use crate::client::{Client, ClientBuilder, OnNoPeers, parse};
use crate::message::nonblocking::Spawn;
use crate::message::round_trip::RoundTrip;
use crate::origin::access::OriginRules;
use crate::origin::throttle::{OriginLimits, Share, Throttle};
use crate::origin::{Origin, OriginBuilder};
use crate::peer::endpoint::{Allowed, OwnAddresses, Proxy, Rights};
use crate::policy::{Mode, Rules};
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;
use crate::pool::ring::{HashFunction, RingKind};
use crate::store::{MemoryStore, Store, default_capacity};

/// The part of its memory that is for copies of what others own.
const NEAR: u64 = 16;

/// For how long former owners are asked first, unless told otherwise.
const HANDOVER: Duration = Duration::from_secs(60);

/// Puts a [`Peer`] together. Every part but its own URL has a default.
#[must_use]
pub struct PeerBuilder {
    self_url: String,
    peers: Option<Result<Vec<Member>>>,
    client: ClientBuilder,
    caching: HttpCacheBuilder,
    origin: Option<Arc<dyn RoundTrip>>,
    origins: OriginRules,
    network: OriginBuilder,
    root_certificates: Option<PathBuf>,
    handover: Duration,
    memory: Option<u64>,
    store: Option<Arc<dyn Store>>,
    rules: Rules,
    origin_limits: OriginLimits,
    rights: Rights,
    pass_cookies: bool,
    near: Option<NearCache>,
    clock: Option<Arc<dyn Clock>>,
}

impl PeerBuilder {
    pub(super) fn new(self_url: String) -> Self {
        Self {
            self_url,
            peers: None,
            client: Client::builder(),
            caching: HttpCache::builder(),
            origin: None,
            origins: OriginRules::default(),
            network: Origin::builder(),
            root_certificates: None,
            handover: HANDOVER,
            memory: None,
            store: None,
            rules: Rules::default(),
            origin_limits: OriginLimits::default(),
            rights: Rights::default(),
            pass_cookies: false,
            near: None,
            clock: None,
        }
    }

    /// The peers of the pool, as base URLs; this one among them, or it owns nothing. Default: this one
    /// alone.
    pub fn pool(mut self, peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.peers = Some(parse(peers.into_iter().map(Into::into)));
        self
    }

    /// The peers with their weights, in place of [`pool`](Self::pool); the last call of the two counts.
    pub fn members(mut self, members: impl IntoIterator<Item = Member>) -> Self {
        self.peers = Some(Ok(members.into_iter().collect()));
        self
    }

    /// How it asks the other peers: path, ring, time limits. The pool and the near cache of this builder
    /// count, not those of the client's; and where no other peer is left it answers itself, whatever
    /// [`on_no_peers`](ClientBuilder::on_no_peers) says. Default: [`Client::builder`].
    pub fn client(mut self, client: ClientBuilder) -> Self {
        self.client = client;
        self
    }

    /// The path under which all peers answer. Default: `/proxy`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.client = self.client.path(path);
        self
    }

    /// How URLs are placed on peers. Default: [`RingKind::Compatible`]. All members of a pool must agree.
    pub fn ring(mut self, kind: RingKind) -> Self {
        self.client = self.client.ring(kind);
        self
    }

    /// How many points each peer has on the compatible ring, for each of its weight. Default: 50. All members
    /// of a pool must agree.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.client = self.client.replicas(replicas);
        self
    }

    /// What places peers and URLs on the compatible ring. Default: CRC-32 (IEEE). All members of a pool must
    /// agree.
    pub fn hash(mut self, hash: HashFunction) -> Self {
        self.client = self.client.hash(hash);
        self
    }

    /// Answers those alone who show one of these tokens, and shows the first to the other peers. Whoever shows
    /// none, or another, is answered with 407. Default: anybody who reaches it may ask.
    ///
    /// Without tokens the peer is kept safe from web pages. It answers only requests whose `Host` is a loopback address,
    /// `localhost`, or the authority of its own URL or of a bound socket (421 otherwise, `/healthz` and `/readyz`
    /// excepted), and none that a page in a browser sends (`Sec-Fetch-Site`, `Origin`: 403). A response that does not go
    /// to a [`Client`] carries `Content-Security-Policy: sandbox`, `X-Content-Type-Options: nosniff` and
    /// `Cross-Origin-Resource-Policy: same-origin`.
    ///
    /// ```
    /// use forwardcache::{Body, Peer, Tokens};
    /// use http::Request;
    ///
    /// let tokens = Tokens::new(["correct-horse-battery"])?;
    /// let handler = Peer::builder("http://127.0.0.1:3000").tokens(tokens).build()?.handler();
    /// let response = handler(Request::get("/proxy?q=http://example.com/").body(Body::empty()).unwrap());
    /// assert_eq!(response.status(), 407);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.client = self.client.tokens(tokens.clone());
        self.rights.tokens = Some(tokens);
        self
    }

    /// Reserves [purging](Peer::purge) and [leaving](Peer::leave) for requests that show one of these tokens. They may
    /// read as well; the [`tokens`](Self::tokens) are then for reading only, and a purge with one of those is answered
    /// with 403. Without any token it is answered with 407. [`purge_by_anyone`](Self::purge_by_anyone) has no effect then.
    /// Default: none, and a token is for everything.
    ///
    /// This peer shows the first of them to the other peers when it purges or leaves: all peers of the pool need the
    /// same ones. To introduce them without an interruption, first make the operator token the second of the
    /// [`tokens`](Self::tokens) of every peer.
    ///
    /// ```
    /// use forwardcache::{Body, Peer, Tokens};
    /// use http::Request;
    ///
    /// let (readers, operators) = (Tokens::new(["correct-horse-battery"])?, Tokens::new(["staple-for-operators"])?);
    /// let peer = Peer::builder("http://127.0.0.1:3000").tokens(readers).operator_tokens(operators).build()?;
    /// let purge = |token: &str| {
    ///     let request = Request::builder().method("PURGE").uri("/proxy?all");
    ///     request.header("proxy-authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
    /// };
    /// assert_eq!(peer.handler()(purge("correct-horse-battery")).status(), 403);
    /// assert_eq!(peer.handler()(purge("staple-for-operators")).status(), 200);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn operator_tokens(mut self, tokens: Tokens) -> Self {
        self.client = self.client.operator_tokens(tokens.clone());
        self.rights.operator_tokens = Some(tokens);
        self
    }

    /// Whether anybody who reaches it may have it [purge](Peer::purge) what is stored, by the method `PURGE`.
    /// It says nothing where there are [`tokens`](Self::tokens): who shows one may, and nobody else.
    ///
    /// Default: no. Without tokens it is then done for those on this machine, while the peer is served on
    /// loopback addresses alone, and refused with 403 otherwise. Where a front asks for
    /// [client certificates](crate::ServerTls::client_certificates_from), those who have one are meant to: say so
    /// here.
    pub fn purge_by_anyone(mut self, may: bool) -> Self {
        self.rights.purge_by_anyone = may;
        self
    }

    /// Whether `Set-Cookie` is passed to programs that ask `/proxy?q=` and are no [`Client`] of this crate. Such a program
    /// sees all origins at the host of this peer, and with a jar by host it would send the cookies of one origin to all
    /// others. The clients of the Go package keep jars by origin, and want them.
    ///
    /// Whatever this says, these programs get `Location`, `Content-Location` and `Refresh` as absolute URLs, and no field
    /// that sets something for a whole host, such as `Strict-Transport-Security`, `Alt-Svc`, `Clear-Site-Data`, `NEL`
    /// and `Report-To`. Default: no.
    pub fn pass_cookies(mut self, pass: bool) -> Self {
        self.pass_cookies = pass;
        self
    }

    /// What carries requests to the other peers. Default: the network.
    pub fn transport(mut self, transport: impl RoundTrip + 'static) -> Self {
        self.client = self.client.transport(transport);
        self
    }

    /// What fetches from origins. Default: [`Origin`], the network.
    pub fn origin(mut self, origin: impl RoundTrip + 'static) -> Self {
        self.origin = Some(Arc::new(origin));
        self
    }

    /// How origins are reached over the network: limits of time and size, certificates. The rules are those of
    /// [`origins`](Self::origins), and an [`origin`](Self::origin) of your own has its own limits. Default:
    /// [`Origin::builder`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use forwardcache::{Origin, Peer};
    ///
    /// let network = Origin::builder().response_timeout(Duration::from_secs(300));
    /// let peer = Peer::builder("http://127.0.0.1:3000").network(network).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn network(mut self, network: OriginBuilder) -> Self {
        self.network = network;
        self
    }

    /// Which origins this peer fetches, and answers for. Default: [`OriginRules::any`].
    ///
    /// A URL that they forbid is answered with 403, no name is looked up for it, and what is stored of it is
    /// not served. An address that they forbid is not connected to. What a name led to is judged when it is
    /// fetched, and not again for what is stored by then.
    ///
    /// They are not about the other peers of the pool. An [`origin`](Self::origin) of your own is asked for
    /// what they allow by the URL; which addresses it connects to is for itself to say, as by
    /// [`OriginBuilder::rules`](crate::OriginBuilder::rules).
    ///
    /// ```
    /// use forwardcache::{ErrorKind, OriginRules, Peer};
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").origins(OriginRules::public()).build()?;
    /// assert_eq!(peer.get("http://10.0.0.1/").unwrap_err().kind(), ErrorKind::Forbidden);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn origins(mut self, rules: OriginRules) -> Self {
        self.origins = rules;
        self
    }

    /// Certificates in PEM to trust beside those of the web, for origins and for peers. It is about the
    /// network: an [`origin`](Self::origin) of your own has its own trust.
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.client = self.client.root_certificates_file(path.clone());
        self.root_certificates = Some(path);
        self
    }

    /// Shows this certificate to the other peers that ask for one: two PEM files, the certificate first and then those
    /// that lead to a root, and its key, not encrypted. They are read once, by [`build`](Self::build).
    /// Default: none.
    ///
    /// Origins are not shown it: for them an [`origin`](Self::origin) of your own may have one, by
    /// [`OriginBuilder::client_certificate_files`](crate::OriginBuilder::client_certificate_files).
    ///
    /// The last call counts, of this and of [`client_certificate_pem`](Self::client_certificate_pem).
    ///
    /// ```no_run
    /// use forwardcache::Peer;
    ///
    /// let pool = ["https://10.0.0.1:3000", "https://10.0.0.2:3000"];
    /// let builder = Peer::builder("https://10.0.0.1:3000").pool(pool);
    /// let peer = builder.client_certificate_files("me.pem", "me.key").build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn client_certificate_files(
        mut self,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.client = self.client.client_certificate_files(certificates, key);
        self
    }

    /// As [`client_certificate_files`](Self::client_certificate_files), with the PEM itself.
    ///
    /// ```
    /// use forwardcache::{Peer, ErrorKind};
    ///
    /// let refused = Peer::builder("http://127.0.0.1:3000").client_certificate_pem("no certificate", "no key").build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::BadOption);
    /// ```
    pub fn client_certificate_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.client = self.client.client_certificate_pem(certificates, key);
        self
    }

    /// What else is to be said of its cache: what of a URL is the key, who refreshes in the background. Its
    /// origin, store and rules are those of this builder.
    ///
    /// ```
    /// use forwardcache::{Background, Peer};
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").caching(|cache| cache.background(Background::CallerRuns));
    /// # peer.build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn caching(mut self, choose: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder) -> Self {
        self.caching = choose(self.caching);
        self
    }

    /// For how long after a change of the pool this peer, before it fetches what it owns since then, asks the former
    /// owner whether it has it: once, for what is stored alone, and for 200 ms. Zero: it is not asked. Default: 60
    /// seconds.
    pub fn handover(mut self, time: Duration) -> Self {
        self.handover = time;
        self
    }

    /// How many bytes of memory its share may take: bodies, heads, keys and bookkeeping. Default: 256
    /// MiB, or a quarter of the memory that this process may use if that is less.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// What it keeps a copy of itself, of what it asks other peers for often. Default: as [`NearCache`] says, in a
    /// sixteenth of its [memory](Self::memory); nothing where it is built alone in its pool, or where its share is
    /// in a [store](Self::store) of its own, unless it is told.
    ///
    /// Its memory is taken out of that of the peer: what both hold is within that.
    ///
    /// ```
    /// use forwardcache::{NearCache, Peer};
    ///
    /// let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
    /// let builder = || Peer::builder(pool[0]).pool(pool).memory(64 << 20);
    /// let peer = builder().build()?;
    /// assert_eq!(peer.caching().store().usage().capacity, 60 << 20);
    /// assert_eq!(peer.client().near_usage().unwrap().capacity, 4 << 20);
    /// let peer = builder().near_cache(NearCache::new().memory(0)).build()?;
    /// assert!(peer.client().near_usage().is_none());
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn near_cache(mut self, near: NearCache) -> Self {
        self.near = Some(near);
        self
    }

    /// Where its share is kept, in place of memory.
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Where its share is kept below memory, in a directory: it is found there after a restart, and larger bodies than
    /// memory holds. Default: nowhere.
    ///
    /// ```
    /// use forwardcache::{DiskStore, Peer};
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let directory = directory.path().join("cache");
    /// let disk = DiskStore::open(&directory)?.capacity(50 << 30);
    /// let peer = Peer::builder("http://127.0.0.1:3000").disk(&disk).build().unwrap();
    /// # Ok::<(), forwardcache::StoreError>(())
    /// ```
    #[cfg(feature = "disk")]
    pub fn disk(mut self, store: &crate::store::DiskStore) -> Self {
        self.caching = self.caching.disk(store);
        self
    }

    /// Whose cache it is. Default: [`Mode::Private`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.rules.mode = mode;
        self
    }

    /// How RFC 9111 is applied where it leaves a choice; the mode is part of it. Default: see [`Rules`].
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// How much the pool asks of one origin, of which this peer keeps to its share. Default: no limits, and pauses where
    /// an origin asks for them (`Retry-After`), see [`OriginLimits`].
    ///
    /// ```
    /// use forwardcache::{Peer, OriginLimits};
    ///
    /// let origin_limits = OriginLimits::new().concurrent(6).rate(20.0);
    /// let peer = Peer::builder("http://127.0.0.1:3000").origin_limits(origin_limits).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn origin_limits(mut self, origin_limits: OriginLimits) -> Self {
        self.origin_limits = origin_limits;
        self
    }

    /// Where time comes from. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        self.caching = self.caching.clock(Arc::clone(&clock));
        self.clock = Some(clock);
        self
    }

    /// The peer. It answers nobody yet: see [`Peer::handler`] and [`Peer::serve`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] when its own URL or another peer's is no base
    /// URL, [`ErrorKind::BadOption`] when its near cache is larger than its memory, and for a limit of
    /// [`OriginLimits`] that makes no sense, and what
    /// [`ClientBuilder::build`] fails with.
    pub fn build(mut self) -> Result<Peer> {
        let self_url = PeerUrl::parse(&self.self_url).map_err(Error::from)?;
        let members = self.peers.unwrap_or_else(|| Ok(vec![self_url.clone().into()]))?;
        let memory = self.memory.unwrap_or_else(default_capacity);
        let near = match self.near {
            Some(near) => near.or_memory(memory / NEAR),
            None if members.len() > 1 && self.store.is_none() => NearCache::new().or_memory(memory / NEAR),
            None => NearCache::new(),
        };
        let memory = memory.checked_sub(near.bytes()).ok_or_else(|| {
            let text =
                format!("a near cache of {} bytes is larger than the {memory} of its peer", near.bytes());
            Error::new(ErrorKind::BadOption, text)
        })?;
        // What no other answers it answers itself, by its own rules.
        let client = self
            .client
            .members(members)
            .handover(self.handover)
            .on_no_peers(OnNoPeers::Fail)
            .near_cache(near);
        let client = client.beside(self_url.clone(), self.rules.clone(), self.clock).build()?;
        let (origin, network): (Arc<dyn RoundTrip>, _) = match self.origin {
            Some(origin) => (origin, None),
            None => {
                let builder = self.network.rules(self.origins.clone());
                let network = match self.root_certificates {
                    Some(path) => builder.root_certificates_file(path).build()?,
                    None => builder.build()?,
                };
                (Arc::new(network.clone()), Some(network))
            }
        };
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new(memory)));
        let (clock, stats) = (self.caching.its_clock(), self.caching.its_stats());
        let (pool, own) = (client.clone(), self_url.clone());
        let share = Box::new(move || {
            let (weight, total) = pool.weights(&own);
            Share { weight, total }
        });
        let polite = Throttle::made_of(origin, self.origin_limits, clock, stats, share)?;
        // What a former owner has costs the origin nothing.
        let origin = Handover { client: client.clone(), self_url: self_url.clone(), origin: polite.clone() };
        let threads = PeerThreads::new(store.ledger().unwrap_or_else(|| Ledger::new(u64::MAX)));
        let caching = self.caching.spawn(Arc::clone(&threads) as Arc<dyn Spawn>);
        let caching = caching.origin(origin).store(store).rules(self.rules).build()?;
        let allowed = Allowed::new(self.rights, self.origins).pass_cookies(self.pass_cookies);
        let (path, own_addresses) = (client.path().to_owned(), Arc::<OwnAddresses>::default());
        let addresses = MemberAddresses::new(SystemLookup);
        let pool = Box::new(InPool { client: client.clone(), self_url: self_url.clone(), addresses });
        let proxy = Proxy::new(path, caching.clone(), Arc::clone(&own_addresses), pool, allowed)
            .served_by(threads.servers().clone());
        let inner = Inner { self_url, client, caching, polite, own_addresses, network, proxy, threads };
        Ok(Peer { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for PeerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerBuilder")
            .field("self_url", &self.self_url)
            .field("peers", &self.peers)
            .field("client", &self.client)
            .field("caching", &self.caching)
            .field("origins", &self.origins)
            .field("memory", &self.memory)
            .field("rules", &self.rules)
            .field("origin_limits", &self.origin_limits)
            .finish_non_exhaustive()
    }
}
