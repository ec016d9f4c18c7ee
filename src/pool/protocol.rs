//! The protocol between peers and their clients: paths and header fields beyond plain HTTP.
//!
//! `GET <path>?q=<escaped URL>` fetches a URL through a peer. It is also the protocol of the Go package, so a pool may mix
//! peers of both. These requests are extensions:
//!
//! * `GET <path>/why?q=<escaped URL>` explains how the peer would answer that request.
//! * `POST <path>/leaving?q=<escaped base URL>` reports that a peer is about to shut down.
//! * `PURGE <path>?...` removes stored responses. Unless the request has a scope, the receiving peer purges the whole
//!   pool: it asks all other peers to purge their own shares, and then to purge their near caches.
//!
//! | field | in | meaning |
//! |---|---|---|
//! | `Forwardcache` | requests | options of the client, see [`Hop`]; a client that sends it knows to which origin a response belongs |
//! | `Forwardcache-Scope` | requests | `own`: a purge is limited to the receiving peer's own share; `near`: to its near cache, see [`Scope`] |
//! | `Forwardcache-Purge` | requests | `soft`: a purge marks responses as stale and removes nothing |
//! | `Sec-Forwardcache` | requests | the request does not come from a web page |
//! | `Forwardcache-Peer` | responses | the protocol version of the peer; each response to a request with `Forwardcache` has it |
//! | `Forwardcache-Error` | responses | the peer generated the response, because it could not get one from the origin |
//! | `Forwardcache-Members` | responses | the [`PoolDigest`] of the peer, if the request had a different one |
//! | `Forwardcache-Leaving` | responses | the peer is about to shut down |
//! | `Forwardcache-Digest` | responses | the digest of the content, as in RFC 9530, for this hop only |

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use crate::base::error::ErrorKind;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::digest::Digest;

/// The default path at which a peer answers.
pub(crate) const DEFAULT_PATH: &str = "/proxy";

/// The path, below the base URL, at which a peer reports that it is alive. A peer of another implementation may answer with
/// an error, which also shows that it is alive.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// The path, below the base URL, at which a peer reports whether it is ready for requests.
pub(crate) const READY_PATH: &str = "/readyz";

/// The query parameter for the URL.
pub(crate) const QUERY: &str = "q";

/// The field with the reason for a peer's failure: the name of an [`ErrorKind`].
static ERROR: HeaderName = HeaderName::from_static("forwardcache-error");

/// The field that identifies a peer. A response without it comes from another program.
static PEER: HeaderName = HeaderName::from_static("forwardcache-peer");

/// The version of this protocol.
const VERSION: &str = "1";

/// The field for the options of a client, see [`Hop`].
pub(crate) static HOP: HeaderName = HeaderName::from_static("forwardcache");

/// The field that shows that the request comes from a program and not from a web page. A page cannot set fields that begin
/// with `Sec-` (Fetch standard, forbidden request-headers). It accompanies [`HOP`] and is not forwarded.
pub(crate) static NO_PAGE: HeaderName = HeaderName::from_static("sec-forwardcache");

/// The field for the digest of the content over one hop.
static DIGEST: HeaderName = HeaderName::from_static("forwardcache-digest");

/// The field for the pool digest of the responding peer.
static MEMBERS: HeaderName = HeaderName::from_static("forwardcache-members");

/// The field for the scope of a purge, see [`Scope`].
static SCOPE: HeaderName = HeaderName::from_static("forwardcache-scope");

/// The method of a purge request.
const PURGE: &str = "PURGE";

pub(crate) fn purge() -> Method {
    Method::from_bytes(PURGE.as_bytes()).expect("PURGE is a valid method")
}

pub(crate) fn is_purge(method: &Method) -> bool {
    method.as_str() == PURGE
}

/// Which copies a purge removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The copies of all peers. The default, without a field.
    Pool,
    /// The copies in the share of the receiving peer, which forwards the purge to no other peer.
    Own,
    /// The copies in the near cache of the receiving peer. This is sent after all peers have purged their own shares;
    /// before that, a peer that has not yet purged could serve a new copy. Peers of older releases answer 400.
    Near,
}

impl Scope {
    /// Returns the scope of a purge request, or `None` if the field is invalid.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(&SCOPE).into_iter();
        match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
            (None, _) => Some(Self::Pool),
            (Some(b"own"), None) => Some(Self::Own),
            (Some(b"near"), None) => Some(Self::Near),
            _ => None,
        }
    }

    /// Sets the scope of a purge request.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        match self {
            Self::Pool => drop(headers.remove(&SCOPE)),
            Self::Own => drop(headers.insert(&SCOPE, HeaderValue::from_static("own"))),
            Self::Near => drop(headers.insert(&SCOPE, HeaderValue::from_static("near"))),
        }
    }
}

/// The field for the mode of a purge.
static PURGE_MODE: HeaderName = HeaderName::from_static("forwardcache-purge");

/// Returns whether a purge is soft, or `None` if the field is invalid.
#[cfg_attr(not(feature = "peer"), allow(dead_code))]
pub(crate) fn is_soft_purge(headers: &HeaderMap) -> Option<bool> {
    let mut lines = headers.get_all(&PURGE_MODE).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Some(false),
        (Some(mode), None) if mode.as_bytes().eq_ignore_ascii_case(b"soft") => Some(true),
        _ => None,
    }
}

/// Marks a purge request as soft.
pub(crate) fn ask_for_soft_purge(headers: &mut HeaderMap) {
    headers.insert(&PURGE_MODE, HeaderValue::from_static("soft"));
}

/// The field that reports that a peer is about to shut down.
static LEAVING: HeaderName = HeaderName::from_static("forwardcache-leaving");

/// A response extension: the response comes from a peer that is about to shut down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsLeaving;

/// A request extension: the request is sent to a peer, so its `Proxy-Authorization` is meant for that peer and must not be
/// removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForPeer;

/// A request extension: the time limit for the head of the response, if it is shorter than the transport's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within(pub(crate) Duration);

/// A request extension: the time limit for connecting, if it is shorter than the transport's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectWithin(pub(crate) Duration);

/// A request extension: the time limit for the head of the response, counted from its first byte. A peer writes a head in
/// one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WholeHeadWithin(pub(crate) Duration);

/// A response extension: the response does not come from a peer, because no peer was available.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchedDirectly;

/// Marks a response as that of a peer.
pub(crate) fn mark_peer(headers: &mut HeaderMap) {
    headers.insert(&PEER, HeaderValue::from_static(VERSION));
}

/// Writes the mark of [`mark_peer`] as a field line.
pub(crate) fn write_peer(lines: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(lines, "{}: {VERSION}\r\n", PEER.as_str());
}

/// Removes the mark of a peer, and returns whether there was one.
pub(crate) fn take_peer(headers: &mut HeaderMap) -> bool {
    headers.remove(&PEER).is_some()
}

/// Returns whether a request comes from a client of the pool, so that the response needs the mark of a peer.
pub(crate) fn is_over_hop(headers: &HeaderMap) -> bool {
    headers.contains_key(&HOP)
}

/// Marks a response as generated by this peer because of an error.
pub(crate) fn mark_failure(headers: &mut HeaderMap, kind: ErrorKind) {
    headers.insert(&ERROR, HeaderValue::from_static(kind.name()));
}

/// Removes the error mark from a response of an origin, because only peers may set it.
pub(crate) fn remove_failure(headers: &mut HeaderMap) {
    headers.remove(&ERROR);
}

/// Removes all fields that only peers may set.
pub(crate) fn remove_marks(headers: &mut HeaderMap) {
    remove_failure(headers);
    headers.remove(&PEER);
    headers.remove(&DIGEST);
    headers.remove(&MEMBERS);
    headers.remove(&LEAVING);
}

/// The options that a client sends to a peer in one field, separated by commas. The field is not forwarded. Unknown
/// members are ignored, because they may come from a newer release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// `digest`: the peer sends the digest of the content if it knows it.
    pub(crate) wants_digest: bool,
    /// `deadline=<milliseconds>`: the remaining time of the client.
    pub(crate) deadline: Option<Duration>,
    /// `soft=<milliseconds>`: the time after which a stale response is acceptable.
    pub(crate) soft_deadline: Option<Duration>,
    /// `members=<digest>`: the pool digest of the client.
    pub(crate) members: Option<PoolDigest>,
}

impl Hop {
    pub(crate) fn parse(field: &[u8]) -> Self {
        let mut hop = Self::default();
        for member in field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let (name, value) = match member.iter().position(|byte| *byte == b'=') {
                Some(at) => (&member[..at], &member[at + 1..]),
                None => (member, &b""[..]),
            };
            match name {
                b"digest" => hop.wants_digest = true,
                b"deadline" => hop.deadline = milliseconds(value),
                b"soft" => hop.soft_deadline = milliseconds(value),
                b"members" => hop.members = PoolDigest::parse(value),
                _ => {}
            }
        }
        hop
    }

    /// Returns the deadline of the request, counted from now, unless this process already has a deadline for it.
    pub(crate) fn until(&self, known: Option<Deadline>) -> Option<Deadline> {
        if known.is_some() || (self.deadline.is_none() && self.soft_deadline.is_none()) {
            return known;
        }
        Deadline::of_remaining(self.deadline, self.soft_deadline, Instant::now())
    }

    /// Returns the options of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers.get(&HOP).map_or_else(Self::default, |field| Self::parse(field.as_bytes()))
    }

    /// Removes the options from a request and returns them.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        headers.remove(&NO_PAGE);
        headers.remove(&HOP).map_or_else(Self::default, |field| Self::parse(field.as_bytes()))
    }

    /// Sets the options of a request.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        let milliseconds =
            |name: &str, left: Option<Duration>| left.map(|left| format!("{name}={}", left.as_millis()));
        let members = [
            self.wants_digest.then(|| "digest".to_owned()),
            milliseconds("deadline", self.deadline),
            milliseconds("soft", self.soft_deadline),
            self.members.map(|members| format!("members={members}")),
        ];
        let text = members.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(&HOP, value);
        }
        headers.insert(&NO_PAGE, HeaderValue::from_static("1"));
    }
}

/// A digest of a pool: its members, their weights, and the placement of keys. Two programs with the same digest agree on
/// the owner of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolDigest(u64);

impl PoolDigest {
    /// Computes the digest of a text that contains all inputs of the placement.
    pub(crate) fn of(text: &str) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..8]);
        Self(u64::from_be_bytes(first))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit);
        digits.then(|| u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().map(Self))?
    }
}

impl fmt::Display for PoolDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Tells the client the pool digest of this peer, because the client has a different one.
pub(crate) fn announce_members(headers: &mut HeaderMap, own: PoolDigest) {
    if let Ok(value) = HeaderValue::try_from(own.to_string()) {
        headers.insert(&MEMBERS, value);
    }
}

/// Writes the field of [`announce_members`] as a field line.
pub(crate) fn write_members(lines: &mut String, own: PoolDigest) {
    // Writing to a String cannot fail.
    let _ = write!(lines, "{}: {own}\r\n", MEMBERS.as_str());
}

/// Removes and returns the pool digest of a peer that has a different one than the client.
pub(crate) fn take_members(headers: &mut HeaderMap) -> Option<PoolDigest> {
    headers.remove(&MEMBERS).and_then(|field| PoolDigest::parse(field.as_bytes()))
}

/// Announces with a response that this peer is about to shut down.
pub(crate) fn announce_leaving(headers: &mut HeaderMap) {
    headers.insert(&LEAVING, HeaderValue::from_static("1"));
}

/// Removes the announcement, and returns whether the peer is about to shut down.
pub(crate) fn take_leaving(headers: &mut HeaderMap) -> bool {
    headers.remove(&LEAVING).is_some()
}

/// Parses a number of milliseconds; `None` if it is invalid or has more than 12 digits.
fn milliseconds(text: &[u8]) -> Option<Duration> {
    let digits = (1..=12).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok().map(Duration::from_millis))?
}

/// A response extension: the client wants the digest, if the content is known before the head is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantsDigest;

/// Sets the digest of the content.
pub(crate) fn announce_digest(headers: &mut HeaderMap, digest: Digest) {
    let mut text = String::with_capacity(64);
    digest.write(&mut text);
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(&DIGEST, value);
    }
}

/// Writes the field of [`announce_digest`] as a field line.
pub(crate) fn write_digest(lines: &mut String, digest: Digest) {
    lines.push_str(DIGEST.as_str());
    lines.push_str(": ");
    digest.write(lines);
    lines.push_str("\r\n");
}

/// Removes and returns the digest of the content.
pub(crate) fn take_digest(headers: &mut HeaderMap) -> Option<Digest> {
    headers.remove(&DIGEST).and_then(|field| Digest::parse(field.as_bytes()))
}

/// Returns the error at the peer, if the response has an error mark.
pub(crate) fn failure(headers: &HeaderMap) -> Option<ErrorKind> {
    let name = headers.get(&ERROR)?.to_str().ok()?;
    // A newer peer may send an unknown kind.
    Some(ErrorKind::from_name(name).unwrap_or(ErrorKind::Io))
}

/// Returns whether a text can be the path of a peer: absolute, without characters that have a meaning in a URL.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte))
}

/// An endpoint of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Fetches a URL.
    Proxy,
    /// Explains how the peer would answer that request.
    Why,
    /// Receives the report that another peer is leaving.
    Leaving,
}

/// The paths of all endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Paths([(Endpoint, String); 3]);

impl Paths {
    pub(crate) fn under(path: String) -> Self {
        let base = path.strip_suffix('/').unwrap_or(&path);
        let below = |name| format!("{base}/{name}");
        let (why, leaving) = (below("why"), below("leaving"));
        Self([(Endpoint::Proxy, path), (Endpoint::Why, why), (Endpoint::Leaving, leaving)])
    }

    pub(crate) fn of(&self, endpoint: Endpoint) -> &str {
        &self.0[endpoint as usize].1
    }

    /// Returns the endpoint with this path.
    pub(crate) fn endpoint(&self, path: &str) -> Option<Endpoint> {
        self.0.iter().find(|(_, own)| own == path).map(|(endpoint, _)| *endpoint)
    }

    /// Returns the possible base URLs of a peer if this URL, without its query, is that of an endpoint.
    pub(crate) fn bases<'a>(&'a self, url: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|(_, path)| url.strip_suffix(path.as_str()))
    }
}

/// The content type of text for humans.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Creates a response of the peer itself, which no cache stores.
pub(crate) fn answer(content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
