//! Handler and servers of a peer.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use http::{HeaderMap, Request, Response};

use super::member::Peer;
use crate::base::error::Result;
use crate::base::memory_limit::Ledger;
use crate::message::body::Body;
use crate::message::nonblocking::{PlainRequest, Step, Wakes};
use crate::message::url::CanonicalUrl;
use crate::metrics::ServerStats;
use crate::peer::endpoint::Next;
use crate::scheduler::{self as sharing, Scheduler, Servers, Shares};
use crate::server::{
    Handler, Listener, Listeners, RemoteAddress, Responder, Scratch, Sender, Server, ServerConfig,
    ServerHandle, handled,
};
use crate::store::StoredResponse;

impl Peer {
    /// Returns the endpoint of the peer as a plain function, for any server.
    ///
    /// The function takes a request whose URI is the path and the query of the request target:
    ///
    /// | request | response |
    /// |---|---|
    /// | any method, `/proxy?q=<escaped URL>` | the response to that request, from the peer's own cache, also for URLs that other peers own |
    /// | `GET /proxy/why?q=<escaped URL>` | what a GET request would result in, and why |
    /// | `PURGE /proxy?q=<escaped URL>`, also with `?prefix=<escaped URL>`, `?group=<escaped name>&origin=<escaped URL>` or `?all` | [purges](Self::purge) the pool, or with `Forwardcache-Scope: own` only this peer; one line for each peer |
    ///
    /// It blocks while it fetches, and every failure becomes a response.
    ///
    /// Call it from at least two threads: a purge of the pool blocks while it waits for the other peers, and meanwhile this
    /// peer has to answer their purges. Only one such purge runs at a time; another one gets 503 with `Retry-After`.
    ///
    /// All threads of the server may wait for one slow origin. [`handler_for`](Self::handler_for) keeps some of them free.
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
        move |request| peer.inner.proxy.handle_with_shares(request, None, || None)
    }

    /// Like [`handler`](Self::handler), for a server that calls it on this number of threads. At most half of the threads
    /// wait for one origin, and fewer if requests for other origins wait too. A request over the limit gets a stale
    /// response if that is allowed, otherwise 503 with `Retry-After`. The [`RemoteAddress`] in the extensions of a request
    /// identifies its client, if present.
    pub fn handler_for(
        &self,
        threads: usize,
    ) -> impl Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static {
        let (peer, shares) = (self.clone(), Shares::of(threads.max(1)));
        move |request| {
            let remote = request.extensions().get::<RemoteAddress>().copied();
            let remote = remote.map(|remote| remote.0.ip());
            let remote =
                remote.filter(|remote| !peer.inner.proxy.is_from_peer(request.headers(), *remote, false));
            let client = || remote.map(sharing::ClientAddress::of);
            peer.inner.proxy.handle_with_shares(request, Some(&shares), client)
        }
    }

    /// Serves on this address with the built-in server and its default configuration, until the returned handle is shut
    /// down or dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`](crate::ErrorKind::Listen) if the address cannot be resolved or bound.
    pub fn serve(&self, address: impl ToSocketAddrs) -> Result<ServerHandle> {
        self.serve_with(address, ServerConfig::new())
    }

    /// Like [`serve`](Self::serve), with a configuration.
    ///
    /// # Errors
    ///
    /// Like [`serve`](Self::serve).
    #[allow(clippy::needless_pass_by_value, reason = "a configuration is built for one call")]
    pub fn serve_with(&self, address: impl ToSocketAddrs, options: ServerConfig) -> Result<ServerHandle> {
        self.serve_on(Listener::bind(address)?, options)
    }

    /// Like [`serve_with`](Self::serve_with), on one or several sockets that listen already. Use this for Unix sockets, or
    /// if the system chooses the port and the URL of the peer contains it.
    ///
    /// # Errors
    ///
    /// Like [`serve`](Self::serve).
    #[allow(clippy::needless_pass_by_value, reason = "a configuration is built for one call")]
    pub fn serve_on(&self, listeners: impl Into<Listeners>, options: ServerConfig) -> Result<ServerHandle> {
        let traffic = Arc::clone(&self.inner.traffic);
        let options = options.recorder(traffic);
        let server = Server::responder_on(listeners, &options, &self.responder())?;
        self.is_served_by(&server);
        if options.has_trusted_proxies() {
            self.inner.own_addresses.set_behind_proxies();
        }
        Ok(server)
    }

    fn responder(&self) -> Arc<dyn Responder> {
        Arc::new(PeerResponder(self.clone()))
    }

    /// Returns the servers that serve the peer.
    pub(super) fn servers(&self) -> &Servers {
        self.inner.threads.servers()
    }

    /// Registers an address on which a server calls the [`handler`](Self::handler), so that the peer refuses URLs that
    /// lead there. [`serve`](Self::serve) does this itself; a program with its own server has to call it.
    pub fn is_served_on(&self, address: SocketAddr) {
        self.inner.own_addresses.add(address);
    }

    /// Like [`is_served_on`](Self::is_served_on), for all sockets of a server of this crate, Unix sockets included.
    pub fn is_served_by(&self, server: &ServerHandle) {
        server.local_addrs().iter().for_each(|address| self.is_served_on(*address));
        self.inner.own_addresses.set_served(server.local_addrs().is_empty());
    }

    /// Registers an address for operators, so that the peer refuses URLs that lead there.
    pub(super) fn add_admin_address(&self, address: SocketAddr) {
        self.inner.own_addresses.add_admin(address);
    }
}

/// The endpoint of a peer, for a server whose I/O threads must not block.
struct PeerResponder(Peer);

impl Handler for PeerResponder {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        self.0.inner.proxy.handle(request)
    }
}

impl Responder for PeerResponder {
    fn hit(
        &self,
        request: &PlainRequest<'_>,
        sender: &Sender,
        scratch: &mut Scratch,
    ) -> Option<Arc<StoredResponse>> {
        self.0.inner.proxy.hit(request, sender, scratch)
    }

    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        let proxy = &self.0.inner.proxy;
        let next = match proxy.admit(&request) {
            Ok(action) => proxy.step(action, request, wakes),
            Err(refused) => return Step::Serve(*refused),
        };
        match next {
            Next::Step(step) => step,
            Next::Work(lane, action, request, ask) => {
                let own = Arc::clone(&self);
                let ledger = self.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
                handled(lane, ledger, request, wakes, move |request| own.0.inner.proxy.run(action, request))
                    .with_ask(ask)
            }
        }
    }

    fn admit(&self, head: &Request<()>) -> Result<Option<CanonicalUrl>, Box<Response<Body>>> {
        self.0.inner.proxy.admit(head).map(|action| action.origin())
    }

    fn is_by_a_peer(&self, head: &HeaderMap, remote: IpAddr, shows_certificate: bool) -> bool {
        self.0.inner.proxy.is_from_peer(head, remote, shows_certificate)
    }

    fn ledger(&self) -> Option<Arc<Ledger>> {
        self.0.inner.cache.store().ledger()
    }

    fn most_fetches(&self, origin: &CanonicalUrl) -> Option<usize> {
        let share = self.0.inner.throttle.concurrency_share(origin)?;
        Some(usize::try_from(share).unwrap_or(usize::MAX))
    }

    fn runs_on(&self, scheduler: &Arc<Scheduler>, stats: &Arc<ServerStats>) {
        // At most half of the workers wait for a permit of an origin, so the other half stays free.
        self.0.inner.throttle.set_max_waiting(scheduler.threads() / 2);
        self.0.inner.threads.servers().add(scheduler, stats);
    }
}
