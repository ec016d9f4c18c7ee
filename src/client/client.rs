//! The public interface: requests, purges and explanations through a pool.

use std::fmt;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};

use super::answer::Answer;
use super::counts::ClientCounts;
use super::inner::{Fallback, Inner};
use super::members;
use super::peers::PeerHealth;
use super::redirects;
use super::replayable_request::ReplayableRequest;
use crate::base::error::{Error, ErrorKind, Result};
#[cfg(feature = "peer")]
use crate::client::near_cache::NearHttpCache;
use crate::message::body::Body;
use crate::message::purge::Purge;
use crate::message::request_builder::request_methods;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::origin::Origin;
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Endpoint};
use crate::pool::purge;

/// Sends requests to a pool: each request goes to the peer that owns its URL, or to the next owner while that
/// peer is down.
///
/// **Failed peers.** The client skips a failed peer for a second at first, and for up to a minute after
/// repeated failures. The next owner on the ring takes over its URLs. Then a background probe checks whether
/// the peer has recovered; if so, the peer gets its share back within five seconds.
///
/// **Slow peers.** If a peer does not start to respond within a second, the client probes it on another
/// connection. If the probe gets no response within half a second, the request goes to the next owner. If it
/// does, the origin is slow, and the client keeps waiting.
///
/// **Retries.** A request that may be repeated goes to the next owner if a peer fails at it; any other request
/// does only if nothing of it was sent. All owners together may take as long as one
/// [`response_timeout`](crate::client::ClientBuilder::response_timeout) plus one connection. If a body breaks off, the
/// client continues it from the next owner, provided that a strong validator proves that the bytes are the
/// same. If no peer is left, the client asks the origin directly, unless
/// [`on_no_peers`](crate::client::ClientBuilder::on_no_peers) specifies otherwise.
///
/// A client blocks. Threads can share it; a clone is cheap and uses the same pool and state.
///
/// ```no_run
/// use forwardcache::{Client, ResponseExt};
///
/// let client = Client::builder().pool(["http://10.0.0.1:3000", "http://10.0.0.2:3000"]).build()?;
/// println!("{}", client.get("https://example.com/data.json").send()?.text()?);
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Peers receive all header fields of a request, including `Authorization` and `Cookie`, as the origin would.
/// Use `https` peers if the network between is not trusted.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<Inner>,
    #[cfg(feature = "peer")]
    pub(super) near: Option<Arc<NearHttpCache>>,
}

/// Maximum length of an explanation in bytes: enough for all stored variants of one URL.
const MAX_EXPLANATION: u64 = 1 << 20;

impl Client {
    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
            #[cfg(feature = "peer")]
            near: None,
        }
    }

    /// Asks the owner of a URL, or the next owner while that one is down, what would happen to this GET now,
    /// and why. Nothing is fetched or changed. Returns several lines of text for people.
    ///
    /// ```no_run
    /// # let client = forwardcache::Client::builder().build()?;
    /// let request = http::Request::get("https://example.com/").header("accept-language", "de");
    /// println!("{}", client.explain(&request.body(()).unwrap())?);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadRequest`] if the method is not GET, [`ErrorKind::NoPeers`] if no peer is left,
    /// [`ErrorKind::BadResponse`] if the peer does not support explanations, and otherwise as
    /// [`RequestBuilder::send`](crate::RequestBuilder::send).
    pub fn explain(&self, request: &Request<()>) -> Result<String> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        if *request.method() != Method::GET {
            return Err(Error::new(ErrorKind::BadRequest, "only a GET can be explained").with_url(&target));
        }
        let mut asking = Request::new(Body::empty());
        asking.headers_mut().clone_from(request.headers());
        let replayable = Arc::new(ReplayableRequest::new(target, asking));
        let Answer { response, from, .. } = self.inner.send(&replayable, Endpoint::Why, &Fallback::Fail)?;
        let about = |error: Error| {
            let error = error.with_url(&replayable.target);
            if let Some(from) = &from { error.with_peer(&from.peer().url) } else { error }
        };
        if response.status() != StatusCode::OK {
            let text = format!(
                "the peer does not explain requests: it responds with status {}",
                response.status().as_u16()
            );
            return Err(about(Error::new(ErrorKind::BadResponse, text)));
        }
        let text = response.into_body().into_bytes_limited(MAX_EXPLANATION).map_err(about)?;
        // The text may be printed on a terminal, so that control characters must not pass.
        let is_bad = |letter: char| letter.is_control() && letter != '\n';
        Ok(String::from_utf8_lossy(&text).replace(is_bad, "?"))
    }

    /// Reads the files of [root certificates](crate::client::ClientBuilder::root_certificates_file) and of the [client
    /// certificate](crate::client::ClientBuilder::client_certificate_files) again. New requests use them on new
    /// connections; requests in progress keep the old ones. A custom
    /// [transport](crate::client::ClientBuilder::transport) manages its own certificates.
    ///
    /// # Errors
    ///
    /// Same as [`Origin::reload_certificates`](crate::Origin::reload_certificates).
    pub fn reload_certificates(&self) -> Result<()> {
        self.inner.networks.iter().try_for_each(Origin::reload_certificates)
    }

    /// Replaces the peers of the pool, each with a weight of 1. Requests in progress keep the old pool.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] if one of them is not a base URL; the pool stays as it is.
    pub fn set_pool(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.set_listed(members::parse(peers)?)
    }

    /// Like [`set_pool`](Self::set_pool), with weights.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] if a peer is listed with two weights; the pool stays as it is.
    pub fn set_members(&self, members: impl IntoIterator<Item = Member>) -> Result<()> {
        self.set_listed(members.into_iter().collect())
    }

    /// Sends a request through the near cache, if there is one, to the owners of its URL.
    fn send_to_pool(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        #[cfg(feature = "peer")]
        if let Some(near) = &self.near {
            let is_own =
                |target: &CanonicalUrl, own: &PeerUrl| self.inner.pool.is_own(target.ring_key(), own);
            return near.round_trip(target, request, is_own, |target, request| {
                self.inner.round_trip(ReplayableRequest::new(target.clone(), request), &Fallback::Configured)
            });
        }
        self.inner.round_trip(ReplayableRequest::new(target, request), &Fallback::Configured)
    }

    fn set_listed(&self, members: Vec<Member>) -> Result<()> {
        self.inner.pool.set(members)?;
        self.inner.peers.retain(&self.inner.pool.peers());
        Ok(())
    }

    /// Returns the peers with their weights, sorted, each once.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.inner.pool.members()
    }

    /// Returns the peers, sorted, each once.
    #[must_use]
    pub fn pool(&self) -> Vec<PeerUrl> {
        self.inner.pool.peers()
    }

    /// Returns how many responses came from a peer whose list of members differs from this client's. Such
    /// peers still answer, but a URL that such a peer does not own may be fetched once more than necessary
    /// until the lists agree.
    #[must_use]
    pub fn ring_mismatches(&self) -> u64 {
        self.inner.ring_mismatches.count()
    }

    /// Returns the peer that owns a URL; `None` if the pool is empty.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] if `url` is not an absolute `http` or `https` URL.
    pub fn owner(&self, url: &str) -> Result<Option<PeerUrl>> {
        Ok(self.inner.pool.owner(&CanonicalUrl::parse(url)?))
    }

    /// Returns the health of each peer of the pool.
    ///
    /// ```
    /// use forwardcache::client::PeerState;
    /// use forwardcache::Client;
    ///
    /// let client = Client::builder().pool(["http://10.0.0.1:3000"]).build()?;
    /// let health = client.health();
    /// assert_eq!((health[0].state, health[0].failures), (PeerState::Up, 0));
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    #[must_use]
    pub fn health(&self) -> Vec<PeerHealth> {
        self.inner.peers.health(self.pool())
    }

    /// Returns the counters of this client and its clones.
    #[must_use]
    pub fn counts(&self) -> ClientCounts {
        self.inner.counters.read()
    }

    /// Returns the path of the peers' endpoint.
    pub(crate) fn path(&self) -> &str {
        self.inner.paths.of(Endpoint::Proxy)
    }
}

request_methods!(Client);

impl RoundTrip for Client {
    fn round_trip(&self, mut request: Request<Body>) -> Result<Response<Body>> {
        self.inner.add_deadline(&mut request);
        if protocol::is_purge(request.method()) {
            let target = CanonicalUrl::parse(&request.uri().to_string())?;
            return Ok(purge::response(&self.purge(&Purge::of_target(&target))?));
        }
        self.inner.observed(request, |request| match self.inner.options.redirects {
            0 => self.send_to_pool(request),
            most => redirects::follow(most, request, |request| self.send_to_pool(request)),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("pool", &self.inner.pool.peers())
            .field("path", &self.path())
            .field("fetches_directly", &self.inner.direct.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
