//! Routing a request to the peer that owns its URL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use log::{debug, warn};

use super::builder::ClientBuilder;
use super::pool::{self, Pool};
use crate::body::Body;
use crate::digest::{Expected, announced, checked};
use crate::error::{Error, ErrorKind, Result, redacted};
use crate::header::hop_by_hop;
use crate::peer_url::PeerUrl;
use crate::protocol::{self, ForPeer, Hop};
use crate::round_trip::{self, RoundTrip};
use crate::target::Target;
use crate::token::Tokens;

/// Asks a pool: every request goes to the one peer that owns its URL.
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
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    path: String,
    transport: Arc<dyn RoundTrip>,
    /// What fetches when there is no peer, if that was chosen.
    direct: Option<Arc<dyn RoundTrip>>,
    tokens: Option<Tokens>,
}

/// How much of a peer's own words about its failure is read, in bytes.
const MAX_REASON: u64 = 1024;

/// How long a peer that keeps a budget may take to answer.
#[cfg(feature = "peer")]
const LEASE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long an explanation may be, in bytes: all that may be stored of one URL, with room.
const MAX_EXPLANATION: u64 = 1 << 20;

impl Client {
    /// A client to put together.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(super) fn new(
        pool: Pool,
        path: String,
        transport: Arc<dyn RoundTrip>,
        direct: Option<Arc<dyn RoundTrip>>,
        tokens: Option<Tokens>,
    ) -> Self {
        Self { inner: Arc::new(Inner { pool, path, transport, direct, tokens }) }
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

    /// Asks the owner of a URL what would happen to this GET at this moment, and why. Nothing is fetched and
    /// nothing changes. The answer is text for people, several lines of it.
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
    /// [`ErrorKind::BadRequest`] when it is no GET, [`ErrorKind::EmptyPool`] when there is no peer,
    /// [`ErrorKind::BadResponse`] when the peer is one that explains nothing, and otherwise as
    /// [`get`](Self::get).
    pub fn explain(&self, request: &Request<()>) -> Result<String> {
        let target = Target::parse(&request.uri().to_string())?;
        if *request.method() != Method::GET {
            return Err(Error::new(ErrorKind::BadRequest, "only a GET can be explained").with_url(&target));
        }
        let owner = self.inner.pool.owner(&target).ok_or_else(|| no_peer(&target))?;
        let mut asking = Request::new(Body::empty());
        asking.headers_mut().clone_from(request.headers());
        let response = self.ask(&owner, &protocol::why_path(&self.inner.path), &target, asking)?;
        let about = |error: Error| error.with_url(&target).with_peer(&owner);
        if response.status() != StatusCode::OK {
            let text = format!("the peer explains nothing: it answers {}", response.status().as_u16());
            return Err(about(Error::new(ErrorKind::BadResponse, text)));
        }
        let text = response.into_body().into_bytes_limited(MAX_EXPLANATION).map_err(about)?;
        // It goes on terminals.
        let is_bad = |letter: char| letter.is_control() && letter != '\n';
        Ok(String::from_utf8_lossy(&text).replace(is_bad, "?"))
    }

    /// Puts these peers in place of those before. Requests under way keep the old ones.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] when one of them is no base URL; nothing is changed then.
    pub fn set_pool(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.inner.pool.set(pool::parse(peers)?);
        Ok(())
    }

    /// The peers, each once, sorted.
    #[must_use]
    pub fn pool(&self) -> Vec<PeerUrl> {
        self.inner.pool.peers()
    }

    /// The peer that owns a URL; `None` when there is no peer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] when it is not an absolute `http` or `https` URL.
    pub fn owner(&self, url: &str) -> Result<Option<PeerUrl>> {
        Ok(self.inner.pool.owner(&Target::parse(url)?))
    }

    #[cfg(feature = "peer")]
    pub(crate) fn is_own(&self, target: &Target, peer: &PeerUrl) -> bool {
        self.inner.pool.is_own(target, peer)
    }

    /// Whether this is the URL under which a peer of the pool answers.
    #[cfg(feature = "peer")]
    pub(crate) fn is_peer(&self, target: &Target) -> bool {
        let path = &self.inner.path;
        let below = [protocol::why_path(path), protocol::lease_path(path)];
        self.inner.pool.is_peer(target, path)
            || below.iter().any(|path| self.inner.pool.is_peer(target, path))
    }

    /// The peer that the ring gives for this URL.
    #[cfg(feature = "peer")]
    pub(crate) fn owner_of(&self, target: &Target) -> Option<PeerUrl> {
        self.inner.pool.owner(target)
    }

    /// Asks this peer for a part of an origin's budget; a slow answer is none.
    #[cfg(feature = "peer")]
    pub(crate) fn ask_for_lease(
        &self,
        peer: &PeerUrl,
        origin: &Target,
        mut request: Request<Body>,
    ) -> Result<Response<Body>> {
        request.extensions_mut().insert(protocol::Within(LEASE_TIMEOUT));
        self.ask(peer, &protocol::lease_path(&self.inner.path), origin, request)
    }

    #[cfg(feature = "peer")]
    pub(crate) fn path(&self) -> &str {
        &self.inner.path
    }

    /// Asks this peer, under this path, about what is fetched from there.
    fn ask(
        &self,
        peer: &PeerUrl,
        path: &str,
        target: &Target,
        request: Request<Body>,
    ) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        hop_by_hop::remove(&mut parts.headers);
        parts.headers.remove(HOST);
        parts.uri = peer.request_url(path, target);
        let hop = Hop { wants_digest: true };
        hop.put(&mut parts.headers);
        let method = parts.method.clone();
        if let Some(credential) = self.inner.tokens.as_ref().and_then(Tokens::credential) {
            parts.headers.insert(PROXY_AUTHORIZATION, credential);
            parts.extensions.insert(ForPeer);
        }
        let response =
            self.inner.transport.round_trip(Request::from_parts(parts, body)).map_err(|error| {
                debug!("{} {} {peer}", error.kind(), redacted(target.as_str()));
                error.with_url(target).with_peer(peer)
            })?;
        match protocol::failure(response.headers()) {
            None => {
                debug!("{} {} {peer}", response.status(), redacted(target.as_str()));
                whole(response, &method, target, peer)
            }
            Some(kind) => {
                debug!("{kind} {} {peer}", redacted(target.as_str()));
                let retry_after = seconds(response.headers());
                let error = Error::new(kind, reason(response.into_body()));
                let error = match retry_after {
                    Some(time) => error.with_retry_after(time),
                    None => error,
                };
                Err(error.with_url(target).told_by_peer(peer))
            }
        }
    }
}

impl RoundTrip for Client {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = Target::parse(&request.uri().to_string())?;
        match (self.inner.pool.owner(&target), &self.inner.direct) {
            (Some(owner), _) => self.ask(&owner, &self.inner.path, &target, request),
            (None, Some(direct)) => {
                let (mut parts, body) = request.into_parts();
                parts.uri = target.uri();
                direct.round_trip(Request::from_parts(parts, body))
            }
            (None, None) => Err(no_peer(&target)),
        }
    }
}

/// The response, whose body fails where it is not the one that the peer, or the origin, says that it sends.
fn whole(
    response: Response<Body>,
    method: &Method,
    target: &Target,
    peer: &PeerUrl,
) -> Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    let mut expected = announced(method, parts.status, &parts.headers);
    expected.extend(protocol::take_digest(&mut parts.headers).map(Expected::from));
    let told = {
        let (kind, shown, peer) = (ErrorKind::DigestMismatch, redacted(target.as_str()), peer.clone());
        move || warn!("{kind} {shown} the body that {peer} sent has another digest than was announced")
    };
    let body = checked(body, expected, told).map_err(|error| error.with_url(target).with_peer(peer))?;
    Ok(Response::from_parts(parts, body))
}

fn no_peer(target: &Target) -> Error {
    Error::new(ErrorKind::EmptyPool, "the pool has no peer").with_url(target)
}

/// After how long a peer says that it is worth trying again.
fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// What a peer says about its failure: the first line.
fn reason(body: Body) -> String {
    let text = body.into_bytes_limited(MAX_REASON).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    // It goes into logs and on terminals.
    let line = line.replace(char::is_control, "?");
    if line.is_empty() { "the peer failed".to_owned() } else { line }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("pool", &self.inner.pool.peers())
            .field("path", &self.inner.path)
            .field("fetches_directly", &self.inner.direct.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "peer")]
    use crate::round_trip::Nowhere;
    use crate::round_trip::RoundTripFn;

    fn client(transport: impl RoundTrip + 'static) -> Client {
        Client::builder().pool(["http://peer:1/base"]).transport(transport).build().unwrap()
    }

    fn explain(client: &Client, method: &str) -> Result<String> {
        let request = Request::builder().method(method).uri("http://h/a").header("accept-language", "de");
        client.explain(&request.body(()).unwrap())
    }

    #[test]
    fn the_owner_is_asked_to_explain() {
        let client = client(RoundTripFn(|request: Request<Body>| {
            assert_eq!(request.headers()["accept-language"], "de");
            Ok(Response::new(Body::from(format!("{}\n\u{1b}[2J", request.uri()))))
        }));
        let text = explain(&client, "GET").unwrap();
        assert_eq!(text, "http://peer:1/base/proxy/why?q=http%3A%2F%2Fh%2Fa\n?[2J");
        assert_eq!(explain(&client, "POST").unwrap_err().kind(), ErrorKind::BadRequest);
        client.set_pool([""; 0]).unwrap();
        assert_eq!(explain(&client, "GET").unwrap_err().kind(), ErrorKind::EmptyPool);
    }

    #[test]
    fn a_peer_that_does_not_explain_is_named() {
        for (mark, kind) in [(None, ErrorKind::BadResponse), (Some(ErrorKind::Loop), ErrorKind::Loop)] {
            let client = client(RoundTripFn(move |_| {
                let mut response = Response::new(Body::from("404 page not found\n"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                if let Some(kind) = mark {
                    protocol::mark_failure(response.headers_mut(), kind);
                }
                Ok(response)
            }));
            let error = explain(&client, "GET").unwrap_err();
            assert_eq!((error.kind(), error.peer()), (kind, Some("http://peer:1/base")));
        }
    }

    #[cfg(feature = "peer")]
    #[test]
    fn a_peer_is_no_origin_under_any_of_its_paths() {
        let client = client(Nowhere);
        for (url, is_peer) in [
            ("http://peer:1/base/proxy?q=a", true),
            ("http://peer:1/base/proxy/why?q=a", true),
            ("http://peer:1/base/proxy/lease?q=a", true),
            ("http://peer:1/base/other", false),
        ] {
            assert_eq!(client.is_peer(&Target::parse(url).unwrap()), is_peer, "{url}");
        }
    }
}
