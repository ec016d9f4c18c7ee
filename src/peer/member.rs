//! [`Peer`]: requests, purges, and changes of the pool and of rules.

use std::fmt;
use std::sync::Arc;

use http::{Request, Response};

use super::threads::PeerThreads;
use super::traffic::{RecentWarnings, Traffic};
use crate::base::error::{Error, ErrorKind, Result};
use crate::cache::{Explanation, HttpCache};
use crate::client::Client;
use crate::message::body::Body;
use crate::message::purge::Purge;
use crate::message::request_builder::request_methods;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::metrics::{FetchTimes, Stats};
use crate::origin::Origin;
use crate::origin::access::OriginRules;
use crate::origin::throttle::Throttle;
use crate::peer::endpoint::{OwnAddresses, Proxy};
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol;
use crate::pool::purge::{self, PoolPurged};

/// A member of the pool. It sends requests like a [`Client`], and it owns a share of the URLs, for which it fetches, stores
/// and serves responses.
///
/// A request for a URL that this peer owns is answered in this process, without a socket. Every other request goes to the
/// owner of its URL, and if the owner fails, to the next owner, as with a [`Client`]. If no other peer is available, this
/// peer fetches the URL itself, subject to its own rules for origins. A request that another peer or a client sends to this
/// peer is always answered from its own cache, because the sender selects the owner.
///
/// ```no_run
/// use forwardcache::{Peer, ResponseExt};
///
/// let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
/// let peer = Peer::builder("http://10.0.0.1:3000").pool(pool).build()?;
/// let server = peer.serve("10.0.0.1:3000")?;
/// println!("{}", peer.get("https://example.com/data.json").send()?.text()?);
/// server.join();
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Cloning is cheap, and all clones are the same peer.
#[derive(Clone)]
pub struct Peer {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) self_url: PeerUrl,
    pub(super) client: Client,
    pub(super) cache: HttpCache,
    pub(super) throttle: Throttle,
    pub(super) fetch_times: Arc<FetchTimes>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) warnings: RecentWarnings,
    pub(super) own_addresses: Arc<OwnAddresses>,
    /// The network origin, or `None` if the program supplied its own origin.
    pub(super) network: Option<Origin>,
    pub(super) proxy: Proxy,
    pub(super) threads: Arc<PeerThreads>,
}

/// The peer's own cache, subject to its rules for origins. The client falls back to it if no other peer is available.
struct OwnCache<'a>(&'a Peer);

impl RoundTrip for OwnCache<'_> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        self.0.check_origin(&target)?;
        self.0.inner.cache.round_trip_to(target, request)
    }
}

impl Peer {
    /// Returns the path under which the peer serves.
    #[must_use]
    pub fn path(&self) -> &str {
        self.inner.client.path()
    }

    /// Returns the base URL of the peer.
    #[must_use]
    pub fn self_url(&self) -> &PeerUrl {
        &self.inner.self_url
    }

    /// Sends a request to the target instead of to its own URI.
    fn send_to(&self, target: CanonicalUrl, mut request: Request<Body>) -> Result<Response<Body>> {
        if protocol::is_purge(request.method()) {
            let purge = match protocol::is_soft_purge(request.headers()) {
                Some(false) => Purge::of_target(&target),
                Some(true) => Purge::of_target(&target).soft(),
                None => {
                    let text = "invalid forwardcache-purge: specify soft, or omit the header field";
                    return Err(Error::new(ErrorKind::BadRequest, text).with_url(&target));
                }
            };
            return Ok(purge::response(&self.purge(&purge)));
        }
        // In an empty pool, this peer owns all URLs.
        if self.inner.client.pool_state().is_own(target.ring_key(), &self.inner.self_url) {
            self.check_origin(&target)?;
            return self.inner.cache.round_trip_to(target, request);
        }
        *request.uri_mut() = target.uri();
        self.inner.client.round_trip_for_peer(&target, request, &self.inner.self_url, &OwnCache(self))
    }

    /// Checks that the rules for origins allow the URL, as the endpoint does for other clients.
    fn check_origin(&self, target: &CanonicalUrl) -> Result<()> {
        self.origins().may_ask(target).map_err(|refused| Error::from(refused).with_url(target))
    }

    /// Explains what a GET request for this URL would result in at this peer, and why. [`HttpCache::explain`] of
    /// [`cache`](Self::cache) does the same for a request with header fields, and [`Client::explain`] for a URL that
    /// another peer owns.
    ///
    /// ```
    /// use forwardcache::cache::Verdict;
    /// use forwardcache::metrics::Forward;
    /// use forwardcache::Peer;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let explanation = peer.explain("http://example.com/")?;
    /// assert_eq!(explanation.verdict, Verdict::Forward(Forward::UriMiss));
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Like [`HttpCache::explain`], and [`ErrorKind::Forbidden`] if the [rules](crate::peer::PeerBuilder::origins) forbid the
    /// URL.
    pub fn explain(&self, url: &str) -> Result<Explanation> {
        let mut request = Request::new(());
        let target = CanonicalUrl::parse(url)?;
        self.check_origin(&target)?;
        *request.uri_mut() = target.uri();
        self.inner.cache.explain(&request)
    }

    /// Removes responses from the whole pool: from this peer's own cache in this process, and from the other peers like
    /// [`Client::purge`]. [`HttpCache::purge`] of [`cache`](Self::cache) purges only this peer.
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

    /// Replaces the peers of the pool; each has a weight of 1. Requests in flight keep the previous peers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] if one of them is not a valid base URL. The pool does not change then.
    pub fn set_pool(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.inner.client.set_pool(peers)
    }

    /// Returns the rules for origins.
    #[must_use]
    pub fn origins(&self) -> OriginRules {
        self.inner.proxy.access().origins()
    }

    /// Replaces the rules for origins ([`PeerBuilder::origins`](crate::peer::PeerBuilder::origins)) for all later requests. It
    /// removes all stored responses, because they were fetched under the previous rules, and does not reuse existing
    /// connections. If the program supplied [its own origin](crate::peer::PeerBuilder::origin), the peer checks only URLs, and
    /// that origin has to check addresses.
    ///
    /// ```
    /// use forwardcache::origin::OriginRules;
    /// use forwardcache::{ErrorKind, Peer};
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// peer.set_origins(OriginRules::public());
    /// assert_eq!(peer.get("http://127.0.0.1/").send().unwrap_err().kind(), ErrorKind::Forbidden);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn set_origins(&self, rules: OriginRules) {
        if let Some(network) = &self.inner.network {
            network.set_rules(rules.clone());
        }
        self.inner.proxy.access().set_origins(rules);
        // Stored responses do not record the address that they came from, so the new rules cannot be applied to them.
        self.inner.client.pool_state().former().forget();
        self.inner.cache.purge(&Purge::all());
        self.inner.client.clear_near_cache();
    }

    /// Reads the files of [root certificates](crate::peer::PeerBuilder::root_certificates_file) and of the
    /// [client certificate](crate::peer::PeerBuilder::client_certificate_files) again, for requests to origins and to other
    /// peers. Later requests use the new certificates on new connections; requests in flight are not affected. The
    /// certificate of a server has its own [`reload`](crate::server::ServerTls::reload), as have [`Tokens`](crate::pool::Tokens).
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
    /// [`ErrorKind::BadOption`] if a file cannot be read or is invalid; the message names it. Requests that need this file
    /// keep using its previous content.
    pub fn reload_certificates(&self) -> Result<()> {
        let to_peers = self.inner.client.reload_certificates();
        self.inner.network.iter().try_for_each(Origin::reload_certificates)?;
        to_peers
    }

    /// Like [`set_pool`](Self::set_pool), with weights.
    ///
    /// # Errors
    ///
    /// Like [`Client::set_members`]. The pool does not change then.
    pub fn set_members(&self, members: impl IntoIterator<Item = Member>) -> Result<()> {
        self.inner.client.set_members(members)
    }

    /// Returns the peers of the pool with their weights, sorted and without duplicates.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.inner.client.members()
    }

    /// Returns the client of this peer, which has the pool and the ring. It sends requests over the network, even for URLs
    /// that this peer owns.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Returns the counters of this peer's cache.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        self.inner.cache.stats()
    }

    /// Returns this peer's own cache, which serves the URLs that it owns.
    #[must_use]
    pub fn cache(&self) -> &HttpCache {
        &self.inner.cache
    }
}

request_methods!(Peer);

impl RoundTrip for Peer {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        self.send_to(target, request)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("self_url", &self.inner.self_url)
            .field("client", &self.inner.client)
            .field("cache", &self.inner.cache)
            .finish_non_exhaustive()
    }
}
