//! One peer of the pool.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response};

use super::builder::PeerBuilder;
use super::threads::PeerThreads;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::ledger::Ledger;
use crate::cache::{Explanation, HttpCache};
use crate::client::Client;
use crate::message::body::Body;
use crate::message::nonblocking::{PlainRequest, Step, Wakes};
use crate::message::purge::Purge;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::{ServerStats, Stats};
use crate::message::url::CanonicalUrl;
use crate::origin::Origin;
use crate::origin::access::OriginRules;
use crate::origin::throttle::Throttle;
use crate::peer::endpoint::{Next, OwnAddresses, Proxy};
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol;
use crate::pool::purge::{self, PoolPurged};
use crate::scheduler::{self as sharing, Scheduler, Servers, Shares};
use crate::server::{
    Handler, RemoteAddress, Responder, Scratch, Server, ServerConfig, ServerHandle, handled,
};
use crate::store::StoredResponse;

/// A member of the pool: it asks like a [`Client`], and it owns a share of the URLs, which it fetches,
/// keeps and answers for.
///
/// What it owns itself it answers in this process, without a socket and by the same code that answers
/// the others; everything else it asks of its owner. While that is away it asks the next one, as a [`Client`]
/// does, and when no other is left it answers itself, never past its own rules on origins. What others ask of it over the wire it answers itself,
/// owner or not: finding the owner is the asker's work.
///
/// ```no_run
/// use forwardcache::Peer;
///
/// let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
/// let peer = Peer::builder("http://10.0.0.1:3000").pool(pool).build()?;
/// let serving = peer.serve("10.0.0.1:3000")?;
/// let response = peer.get("https://example.com/data.json")?;
/// println!("{}", response.into_body().into_text()?);
/// serving.join();
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Cloning it is cheap and gives the same peer.
#[derive(Clone)]
pub struct Peer {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) self_url: PeerUrl,
    pub(super) client: Client,
    pub(super) caching: HttpCache,
    pub(super) polite: Throttle,
    pub(super) own_addresses: Arc<OwnAddresses>,
    /// The network, where the peer goes there itself.
    pub(super) network: Option<Origin>,
    pub(super) proxy: Proxy,
    pub(super) threads: Arc<PeerThreads>,
}

/// What a peer answers itself, by its own rules: what it owns, and what it stands in for.
struct OwnShare<'a>(&'a Peer);

impl RoundTrip for OwnShare<'_> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        self.0.may_ask(&target)?;
        self.0.inner.caching.round_trip_to(target, request)
    }
}

impl Peer {
    /// A peer to put together, whose base URL, as the others of the pool write it, is `self_url`.
    pub fn builder(self_url: impl Into<String>) -> PeerBuilder {
        PeerBuilder::new(self_url.into())
    }

    /// The path under which it answers.
    #[must_use]
    pub fn path(&self) -> &str {
        self.inner.client.path()
    }

    /// Its base URL.
    #[must_use]
    pub fn self_url(&self) -> &PeerUrl {
        &self.inner.self_url
    }

    /// Fetches a URL: from its own share, or from the peer that owns it. Any status is a success.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] when it is not an absolute `http` or `https` URL,
    /// [`ErrorKind::Forbidden`] where [`PeerBuilder::origins`] of its owner do
    /// not allow it, and what fetching fails with.
    pub fn get(&self, url: &str) -> Result<Response<Body>> {
        self.fetch(Method::GET, url)
    }

    /// As [`get`](Self::get), for the head alone.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn head(&self, url: &str) -> Result<Response<Body>> {
        self.fetch(Method::HEAD, url)
    }

    fn fetch(&self, method: Method, url: &str) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(url)?;
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        self.send(target, request)
    }

    /// Sends a request for this URL, whatever its URI.
    fn send(&self, target: CanonicalUrl, mut request: Request<Body>) -> Result<Response<Body>> {
        if protocol::is_purge(request.method()) {
            let purge = match protocol::is_soft_purge(request.headers()) {
                Some(false) => Purge::of_target(&target),
                Some(true) => Purge::of_target(&target).soft(),
                None => {
                    let text = "forwardcache-purge says something else than soft";
                    return Err(Error::new(ErrorKind::BadRequest, text).with_url(&target));
                }
            };
            return Ok(purge::response(&self.purge(&purge)));
        }
        // Without any peer all of it is its own.
        if self.inner.client.known_pool().is_own(&target, &self.inner.self_url) {
            self.may_ask(&target)?;
            return self.inner.caching.round_trip_to(target, request);
        }
        *request.uri_mut() = target.uri();
        self.inner.client.round_trip_of_peer(&target, request, &self.inner.self_url, &OwnShare(self))
    }

    /// As the answering side does.
    fn may_ask(&self, target: &CanonicalUrl) -> Result<()> {
        self.origins().may_ask(target).map_err(|refused| Error::from(refused).with_url(target))
    }

    /// Sends any request.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn request(&self, request: Request<impl Into<Body>>) -> Result<Response<Body>> {
        self.round_trip(request.map(Into::into))
    }

    /// Says what would happen to a GET of this URL in this peer's own share, and why: as
    /// [`HttpCache::explain`] of [`caching`](Self::caching), which also takes fields of the request. What
    /// another peer owns, [`Client::explain`] asks of that.
    ///
    /// ```
    /// use forwardcache::{Forward, Peer, Verdict};
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let explanation = peer.explain("http://example.com/")?;
    /// assert_eq!(explanation.verdict, Verdict::Forward(Forward::UriMiss));
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`HttpCache::explain`], and [`ErrorKind::Forbidden`] where
    /// [`PeerBuilder::origins`] does not allow the URL.
    pub fn explain(&self, url: &str) -> Result<Explanation> {
        let mut request = Request::new(());
        let target = CanonicalUrl::parse(url)?;
        self.may_ask(&target)?;
        *request.uri_mut() = target.uri();
        self.inner.caching.explain(&request)
    }

    /// Removes what the purge is about from the whole pool: from its own share in this process, and from those
    /// of the others as [`Client::purge`] does. From its own share alone, [`HttpCache::purge`] of
    /// [`caching`](Self::caching) does.
    ///
    /// ```
    /// use forwardcache::{Peer, Purge};
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let purged = peer.purge(&Purge::url("http://example.com/")?);
    /// assert!(purged.is_complete());
    /// assert_eq!(purged.total().responses, 0);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn purge(&self, purge: &Purge) -> PoolPurged {
        self.inner.proxy.purge(purge, true)
    }

    /// Puts these peers in place of those before, each with a weight of 1. Requests under way keep the old
    /// ones.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] when one of them is no base URL; nothing is
    /// changed then.
    pub fn set_pool(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.inner.client.set_pool(peers)
    }

    /// Which origins it fetches.
    #[must_use]
    pub fn origins(&self) -> OriginRules {
        self.inner.proxy.allowed().origins()
    }

    /// Puts these rules in place of [`PeerBuilder::origins`]: for all that is asked of it from now on. What is stored
    /// was fetched by the rules before, and goes. Connections that were made by the rules before are not used again. An own
    /// [`PeerBuilder::origin`] is asked for what the URL is allowed by, and judges addresses itself.
    ///
    /// ```
    /// use forwardcache::{ErrorKind, OriginRules, Peer};
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// peer.set_origins(OriginRules::public());
    /// assert_eq!(peer.get("http://127.0.0.1/").unwrap_err().kind(), ErrorKind::Forbidden);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn set_origins(&self, rules: OriginRules) {
        if let Some(network) = &self.inner.network {
            network.set_rules(rules.clone());
        }
        self.inner.proxy.allowed().set_origins(rules);
        // To which address a name led when it was fetched, nobody knows any more.
        self.inner.client.known_pool().former().forget();
        self.inner.caching.purge(&Purge::all());
        self.inner.client.forget_near();
    }

    /// Reads the files of [root certificates](PeerBuilder::root_certificates_file) and of the
    /// [client certificate](PeerBuilder::client_certificate_files) again, for requests to origins and to other peers.
    /// Requests from now on use what they hold, on connections of their own; requests under way end as they began. What
    /// a server of this peer shows has its own [`reload`](crate::ServerTls::reload), as have [`Tokens`](crate::Tokens).
    ///
    /// ```
    /// use forwardcache::Peer;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// peer.reload_certificates()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] when a file cannot be read or used, which the error names.
    /// Requests that need it go on with what was read before.
    pub fn reload_certificates(&self) -> Result<()> {
        let to_peers = self.inner.client.reload_certificates();
        self.inner.network.iter().try_for_each(Origin::reload_certificates)?;
        to_peers
    }

    /// As [`set_pool`](Self::set_pool), with weights.
    ///
    /// # Errors
    ///
    /// As [`Client::set_members`]; nothing is changed then.
    pub fn set_members(&self, members: impl IntoIterator<Item = Member>) -> Result<()> {
        self.inner.client.set_members(members)
    }

    /// The peers with their weights, each once, sorted.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.inner.client.members()
    }

    /// The asking side: its pool and who owns what. Requests sent through it go over the network also
    /// for what this peer owns.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        self.inner.caching.stats()
    }

    /// Its own share: the cache that answers what it owns.
    #[must_use]
    pub fn caching(&self) -> &HttpCache {
        &self.inner.caching
    }

    /// The answering side: a plain function, to be called by any server.
    ///
    /// It takes a request as it came over the wire, with path and query as its URI, and answers
    /// `/proxy?q=<escaped URL>`, from its own share also what another peer owns, and
    /// `/proxy/why?q=<escaped URL>` with what the former would do and why. `PURGE` of `/proxy` with
    /// `?q=<escaped URL>`, `?prefix=<escaped URL>`, `?group=<escaped name>&origin=<escaped URL>` or `?all`
    /// [purges](Self::purge) the pool, or with `Forwardcache-Scope: own` this peer alone, and answers with a line
    /// a peer. It blocks while it fetches, and
    /// never fails: what goes wrong is a
    /// response.
    ///
    /// Call it from two threads at least: a purge of the pool blocks while it waits for the other peers, and each of
    /// them has to be answered meanwhile when it does the same. One such purge is under way at a time; whoever comes on
    /// top of that is answered with 503 and `Retry-After`.
    ///
    /// All threads of the server may wait for one origin that does not answer; [`handler_for`](Self::handler_for) leaves
    /// some for others.
    ///
    /// ```
    /// use forwardcache::{Body, Peer};
    /// use http::Request;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let handler = peer.handler();
    /// let response = handler(Request::get("/proxy?q=not+a+URL").body(Body::empty()).unwrap());
    /// assert_eq!(response.status(), 400);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn handler(&self) -> impl Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static {
        let peer = self.clone();
        move |request| peer.inner.proxy.handle_in_turn(request, None, || None)
    }

    /// As [`handler`](Self::handler), for a server that calls it on so many threads: at most half of them wait for one
    /// origin, and fewer where others wait too. A request beyond that is answered at once, with what is stored if it
    /// may be stale, or with 503 and `Retry-After`. Clients are told apart by the
    /// [`RemoteAddress`] in the extensions of the request, where there is one.
    pub fn handler_for(
        &self,
        threads: usize,
    ) -> impl Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static {
        let (peer, shares) = (self.clone(), Shares::of(threads.max(1)));
        move |request| {
            let remote = request.extensions().get::<RemoteAddress>().copied();
            let remote = remote.map(|remote| remote.0.ip());
            let remote =
                remote.filter(|remote| !peer.inner.proxy.is_by_a_peer(request.headers(), *remote, false));
            let client = || remote.map(sharing::Client::of);
            peer.inner.proxy.handle_in_turn(request, Some(&shares), client)
        }
    }

    /// Serves on this address with the bundled front and its default options, until the returned handle is
    /// shut down or dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`] when the address cannot be resolved or bound.
    pub fn serve(&self, address: impl ToSocketAddrs) -> Result<ServerHandle> {
        self.serve_with(address, ServerConfig::new())
    }

    /// As [`serve`](Self::serve), with options.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn serve_with(&self, address: impl ToSocketAddrs, options: ServerConfig) -> Result<ServerHandle> {
        let serving = Server::bind_responder(address, &options, &self.responder())?;
        self.is_served_on(serving.local_addr());
        Ok(serving)
    }

    /// As [`serve_with`](Self::serve_with), on a socket that listens already: for a peer whose URL holds a
    /// port that the system chooses.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    #[allow(clippy::needless_pass_by_value, reason = "options are built for one call")]
    pub fn serve_on(&self, listener: TcpListener, options: ServerConfig) -> Result<ServerHandle> {
        let serving = Server::responder_on(listener, &options, &self.responder())?;
        self.is_served_on(serving.local_addr());
        Ok(serving)
    }

    fn responder(&self) -> Arc<dyn Responder> {
        Arc::new(Answering(self.clone()))
    }

    /// The fronts that serve it.
    pub(super) fn servers(&self) -> &Servers {
        self.inner.threads.servers()
    }

    /// Tells the peer an address on which its [`handler`](Self::handler) is being served, so that it refuses
    /// a URL which leads there. [`serve`](Self::serve) does that itself; a server of one's own has to.
    pub fn is_served_on(&self, address: SocketAddr) {
        self.inner.own_addresses.add(address);
    }

    /// The same of its admin side.
    pub(super) fn is_administered_on(&self, address: SocketAddr) {
        self.inner.own_addresses.add_admin(address);
    }
}

/// The answering side, for a front that may not wait.
struct Answering(Peer);

impl Handler for Answering {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.0.inner.proxy.handle(request)
    }
}

impl Responder for Answering {
    fn hit(&self, request: &PlainRequest<'_>, scratch: &mut Scratch) -> Option<Arc<StoredResponse>> {
        self.0.inner.proxy.hit(request, &mut scratch.url, &mut scratch.lines)
    }

    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        let proxy = &self.0.inner.proxy;
        let next = match proxy.admit(&request) {
            Ok(called) => proxy.step(called, request, wakes),
            Err(refused) => return Step::Serve(*refused),
        };
        match next {
            Next::Step(step) => step,
            Next::Work(lane, called, request) => {
                let own = Arc::clone(&self);
                let ledger = self.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
                handled(lane, ledger, request, wakes, move |request| {
                    own.0.inner.proxy.answer(called, request)
                })
            }
        }
    }

    fn admit(&self, head: &Request<()>) -> Result<Option<CanonicalUrl>, Box<Response<Body>>> {
        self.0.inner.proxy.admit(head).map(|called| called.origin())
    }

    fn is_by_a_peer(&self, head: &HeaderMap, remote: IpAddr, shows_certificate: bool) -> bool {
        self.0.inner.proxy.is_by_a_peer(head, remote, shows_certificate)
    }

    fn ledger(&self) -> Option<Arc<Ledger>> {
        self.0.inner.caching.store().ledger()
    }

    fn most_fetches(&self, origin: &CanonicalUrl) -> Option<usize> {
        let share = self.0.inner.polite.concurrency_share(origin)?;
        Some(usize::try_from(share).unwrap_or(usize::MAX))
    }

    fn runs_on(&self, scheduler: &Arc<Scheduler>, stats: &Arc<ServerStats>) {
        // Of those who answer, so many never wait for a place at an origin.
        self.0.inner.polite.limit_waiting(scheduler.threads() / 2);
        self.0.inner.threads.servers().add(scheduler, stats);
    }
}

impl RoundTrip for Peer {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        self.send(target, request)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("self_url", &self.inner.self_url)
            .field("client", &self.inner.client)
            .field("caching", &self.inner.caching)
            .finish_non_exhaustive()
    }
}
