//! Routing a request to the peer that owns its URL.

use std::fmt;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};

use super::answer::Answer;
use super::counts::ClientCounts;
use super::inner::{Fallback, Inner};
use super::members;
use super::peers::PeerHealth;
use super::replayable_request::ReplayableRequest;
use crate::base::error::{Error, ErrorKind, Result};
#[cfg(feature = "peer")]
use crate::client::near_cache::Near;
use crate::message::body::Body;
use crate::message::purge::Purge;
use crate::message::round_trip::{self, RoundTrip};
use crate::message::url::CanonicalUrl;
use crate::origin::Origin;
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Endpoint};
use crate::pool::purge;

/// Asks a pool: every request goes to the one peer that owns its URL, and to the next one while that is away.
///
/// A peer that cannot be asked is left alone for a while, from a second up to a minute, and then asked in the background
/// whether it is there again before it gets its share back, within five seconds. Meanwhile the next owner on the ring has
/// its URLs. A peer that does not begin to answer within a second is asked on another connection whether it is there: if
/// it does not say so within half a second, the request goes to the next owner; if it does, its origin is slow, and is
/// waited for. A request that may be repeated goes on to the next owner when a peer fails at it; any other does
/// only where nothing of it was sent. All owners together may take as long as one
/// ([`response_timeout`](crate::ClientBuilder::response_timeout)) and a connection may take. A body that breaks off goes on from the next owner where a strong validator proves that
/// the bytes are the same. When no peer is left, the origin is asked directly, unless
/// [`on_no_peers`](crate::ClientBuilder::on_no_peers) says otherwise.
///
/// It blocks, and may be called from many threads at once; cloning it is cheap and gives the same client.
///
/// ```no_run
/// use forwardcache::Client;
///
/// let client = Client::builder().pool(["http://10.0.0.1:3000", "http://10.0.0.2:3000"]).build()?;
/// let response = client.get("https://example.com/data.json")?;
/// println!("{}", response.into_body().into_text()?);
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Requests reach the peers with all their fields, `Authorization` and `Cookie` among them, as they would
/// have reached the origin: use `https` peers where the network between is not trusted.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<Inner>,
    #[cfg(feature = "peer")]
    pub(super) near: Option<Arc<Near>>,
}

/// How long an explanation may be, in bytes: all that may be stored of one URL, with room.
const MAX_EXPLANATION: u64 = 1 << 20;

impl Client {
    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
            #[cfg(feature = "peer")]
            near: None,
        }
    }

    /// Fetches a URL through the pool. Any status is a success.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] when it is not an absolute `http` or `https` URL, and what
    /// [`round_trip`](Self::round_trip) fails with.
    pub fn get(&self, url: &str) -> Result<Response<Body>> {
        round_trip::send(self, Method::GET, url)
    }

    /// As [`get`](Self::get), for the head alone.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn head(&self, url: &str) -> Result<Response<Body>> {
        round_trip::send(self, Method::HEAD, url)
    }

    /// Sends any request through the pool.
    ///
    /// ```no_run
    /// # let client = forwardcache::Client::builder().build()?;
    /// let request = http::Request::post("https://example.com/items").body("a new item").unwrap();
    /// let response = client.request(request)?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn request(&self, request: Request<impl Into<Body>>) -> Result<Response<Body>> {
        self.round_trip(request.map(Into::into))
    }

    /// Asks the owner of a URL, or who stands in for it, what would happen to this GET at this moment, and why.
    /// Nothing is fetched and nothing changes. The answer is text for people, several lines of it.
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
    /// [`ErrorKind::BadRequest`] when it is no GET, [`ErrorKind::OnNoPeers`] when no peer is left,
    /// [`ErrorKind::BadResponse`] when the peer is one that explains nothing, and otherwise as
    /// [`get`](Self::get).
    pub fn explain(&self, request: &Request<()>) -> Result<String> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        if *request.method() != Method::GET {
            return Err(Error::new(ErrorKind::BadRequest, "only a GET can be explained").with_url(&target));
        }
        let mut asking = Request::new(Body::empty());
        asking.headers_mut().clone_from(request.headers());
        let asked = Arc::new(ReplayableRequest::new(target, asking));
        let Answer { response, from, .. } = self.inner.send(&asked, Endpoint::Why, &Fallback::Nobody)?;
        let about = |error: Error| {
            let error = error.with_url(&asked.target);
            if let Some(from) = &from { error.with_peer(&from.peer().url) } else { error }
        };
        if response.status() != StatusCode::OK {
            let text = format!("the peer explains nothing: it answers {}", response.status().as_u16());
            return Err(about(Error::new(ErrorKind::BadResponse, text)));
        }
        let text = response.into_body().into_bytes_limited(MAX_EXPLANATION).map_err(about)?;
        // It goes on terminals.
        let is_bad = |letter: char| letter.is_control() && letter != '\n';
        Ok(String::from_utf8_lossy(&text).replace(is_bad, "?"))
    }

    /// Reads the files of [root certificates](crate::ClientBuilder::root_certificates_file) and of the
    /// [client certificate](crate::ClientBuilder::client_certificate_files) again. Requests from now on use what they hold, on
    /// connections of their own; requests under way end as they began. A [transport](crate::ClientBuilder::transport) of your
    /// own has its own certificates.
    ///
    /// # Errors
    ///
    /// As [`Origin::reload_certificates`](crate::Origin::reload_certificates).
    pub fn reload_certificates(&self) -> Result<()> {
        self.inner.networks.iter().try_for_each(Origin::reload_certificates)
    }

    /// Puts these peers in place of those before, each with a weight of 1. Requests under way keep the old
    /// ones.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] when one of them is no base URL; nothing is changed then.
    pub fn set_pool(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.set_listed(members::parse(peers)?)
    }

    /// As [`set_pool`](Self::set_pool), with weights.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] when one of them is listed with two weights; nothing is changed then.
    pub fn set_members(&self, members: impl IntoIterator<Item = Member>) -> Result<()> {
        self.set_listed(members.into_iter().collect())
    }

    fn set_listed(&self, members: Vec<Member>) -> Result<()> {
        self.inner.pool.set(members)?;
        self.inner.peers.keep(&self.inner.pool.peers());
        Ok(())
    }

    /// The peers with their weights, each once, sorted.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.inner.pool.members()
    }

    /// The peers, each once, sorted.
    #[must_use]
    pub fn pool(&self) -> Vec<PeerUrl> {
        self.inner.pool.peers()
    }

    /// How often a peer said that it knows another pool than this client. It answers all the same; what it does not
    /// own is fetched once more than it need be, until both know the same.
    #[must_use]
    pub fn disagreements(&self) -> u64 {
        self.inner.disagreements.count()
    }

    /// The peer that owns a URL; `None` when there is no peer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] when it is not an absolute `http` or `https` URL.
    pub fn owner(&self, url: &str) -> Result<Option<PeerUrl>> {
        Ok(self.inner.pool.owner(&CanonicalUrl::parse(url)?))
    }

    /// What is known of each peer of the pool: whether it is asked, and how it does.
    ///
    /// ```
    /// use forwardcache::{Client, PeerState};
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

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> ClientCounts {
        self.inner.counters.read()
    }

    /// The path under which the peers answer.
    pub(crate) fn path(&self) -> &str {
        self.inner.paths.of(Endpoint::Proxy)
    }
}

impl RoundTrip for Client {
    fn round_trip(&self, mut request: Request<Body>) -> Result<Response<Body>> {
        self.inner.limit(&mut request);
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        if protocol::is_purge(request.method()) {
            return Ok(purge::response(&self.purge(&Purge::of_target(&target))?));
        }
        #[cfg(feature = "peer")]
        if let Some(near) = &self.near {
            let is_own = |target: &CanonicalUrl, own: &PeerUrl| self.inner.pool.is_own(target, own);
            return near.round_trip(target, request, is_own, |target, request| {
                self.inner.round_trip(ReplayableRequest::new(target.clone(), request), &Fallback::Chosen)
            });
        }
        self.inner.round_trip(ReplayableRequest::new(target, request), &Fallback::Chosen)
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
