//! What peers and their clients say to each other beyond HTTP: one path and a few fields.
//!
//! `GET <path>?q=<escaped URL>` is the Go package's protocol, and a pool may mix peers of both. The rest
//! is ours: `GET <path>/why?q=<escaped URL>` says what the former would do, `POST <path>/leaving?q=<escaped base URL>`
//! that a peer is about to end, `PURGE <path>?...` removes what is stored: from
//! the peer that is asked and, unless the request says that it is about that one's own share, from all others, which
//! it asks for theirs, and then to forget what they keep near; and the fields are
//!
//! | field | in | what it says |
//! |---|---|---|
//! | `Forwardcache` | requests | what the asker wants beside the response, see [`Hop`]; who sends it knows of which origin a response is |
//! | `Forwardcache-Scope` | requests | `own`: a purge is about the share of the peer that is asked; `near`: about its copies of what others own, see [`Scope`] |
//! | `Forwardcache-Purge` | requests | `soft`: a purge marks what is stored as stale, and removes nothing |
//! | `Sec-Forwardcache` | requests | that they are of no page of the web |
//! | `Forwardcache-Peer` | responses | that a peer answers, and which version of this it speaks: every response to a request with `Forwardcache` has it |
//! | `Forwardcache-Error` | responses | that a peer made it itself because it could not get the origin's |
//! | `Forwardcache-Members` | responses | the [`PoolDigest`] of a peer that was asked with another |
//! | `Forwardcache-Leaving` | responses | that the peer is about to end |
//! | `Forwardcache-Digest` | responses | the digest of the content, as in RFC 9530, for this hop alone |

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use crate::base::error::ErrorKind;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::digest::Digest;

/// The path under which a peer answers, unless told otherwise.
pub(crate) const DEFAULT_PATH: &str = "/proxy";

/// The path under which a peer says that it is there, below its base URL. A peer of another make answers
/// something else, and is there as well.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// The path under which a peer says whether it should be sent requests, below its base URL.
pub(crate) const READY_PATH: &str = "/readyz";

/// The query parameter that holds the URL.
pub(crate) const QUERY: &str = "q";

/// The field that says what went wrong at a peer: the name of an [`ErrorKind`].
static ERROR: HeaderName = HeaderName::from_static("forwardcache-error");

/// Says that a peer answers: whatever lacks it comes from another program.
static PEER: HeaderName = HeaderName::from_static("forwardcache-peer");

/// The version of this protocol.
const VERSION: &str = "1";

/// See [`Hop`].
pub(crate) static HOP: HeaderName = HeaderName::from_static("forwardcache");

/// Says that a program asks, and no page of the web: what begins with `Sec-` no page can set (Fetch, forbidden
/// request-headers). It goes along with [`HOP`], and ends there too.
pub(crate) static NO_PAGE: HeaderName = HeaderName::from_static("sec-forwardcache");

/// The digest of the content over one hop.
static DIGEST: HeaderName = HeaderName::from_static("forwardcache-digest");

/// The pool as the one who answers knows it.
static MEMBERS: HeaderName = HeaderName::from_static("forwardcache-members");

/// The field of a purge that says whose copies it is about, see [`Scope`].
static SCOPE: HeaderName = HeaderName::from_static("forwardcache-scope");

/// The method that asks for a purge.
const PURGE: &str = "PURGE";

pub(crate) fn purge() -> Method {
    Method::from_bytes(PURGE.as_bytes()).expect("it is a token")
}

pub(crate) fn is_purge(method: &Method) -> bool {
    method.as_str() == PURGE
}

/// Whose copies a purge is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of every peer. It is what a purge is about that does not say so.
    Pool,
    /// Those of the peer that is asked, which asks nobody.
    Own,
    /// What the peer that is asked keeps near of what others own, and nothing else. It is said once all have purged
    /// their own shares: until then, a copy could be given anew by one who had not. Peers of an older release take it
    /// for a bad request.
    Near,
}

impl Scope {
    /// What a purge says; `None` where that is something else.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut said = headers.get_all(&SCOPE).into_iter();
        match (said.next().map(HeaderValue::as_bytes), said.next()) {
            (None, _) => Some(Self::Pool),
            (Some(b"own"), None) => Some(Self::Own),
            (Some(b"near"), None) => Some(Self::Near),
            _ => None,
        }
    }

    /// Says it.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        match self {
            Self::Pool => drop(headers.remove(&SCOPE)),
            Self::Own => drop(headers.insert(&SCOPE, HeaderValue::from_static("own"))),
            Self::Near => drop(headers.insert(&SCOPE, HeaderValue::from_static("near"))),
        }
    }
}

/// The field of a purge that says how it is done.
static HOW: HeaderName = HeaderName::from_static("forwardcache-purge");

/// Whether a purge is soft; `None` where it says something else.
#[cfg_attr(not(feature = "peer"), allow(dead_code))]
pub(crate) fn is_soft_purge(headers: &HeaderMap) -> Option<bool> {
    let mut said = headers.get_all(&HOW).into_iter();
    match (said.next(), said.next()) {
        (None, _) => Some(false),
        (Some(how), None) if how.as_bytes().eq_ignore_ascii_case(b"soft") => Some(true),
        _ => None,
    }
}

/// Says that a purge is soft.
pub(crate) fn ask_for_soft_purge(headers: &mut HeaderMap) {
    headers.insert(&HOW, HeaderValue::from_static("soft"));
}

/// Says that a peer is about to end.
static LEAVING: HeaderName = HeaderName::from_static("forwardcache-leaving");

/// Marks a response, in its extensions, as one of a peer that is about to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsLeaving;

/// Marks a request, in its extensions, as one to a peer: what it says in `Proxy-Authorization` is meant for
/// that peer, and not to be left out on the way there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForPeer;

/// Says, in the extensions of a request, how long it may take to the head of its response, where that is less than what
/// the transport allows all requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within(pub(crate) Duration);

/// Says, in the extensions of a request, how long its connection may take, where that is less than the transport allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectWithin(pub(crate) Duration);

/// Says, in the extensions of a request, how long the head of its response may take from its first byte on. A peer
/// writes a head in one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WholeHeadWithin(pub(crate) Duration);

/// Marks a response, in its extensions, as one that no peer gave, because none was left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchedDirectly;

/// Says that a peer answers.
pub(crate) fn mark_peer(headers: &mut HeaderMap) {
    headers.insert(&PEER, HeaderValue::from_static(VERSION));
}

/// The same as a field line.
pub(crate) fn write_peer(lines: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(lines, "{}: {VERSION}\r\n", PEER.as_str());
}

/// Whether a peer answers; the mark ends here.
pub(crate) fn take_peer(headers: &mut HeaderMap) -> bool {
    headers.remove(&PEER).is_some()
}

/// Whether a request comes from a client of the pool, which is to be told that a peer answers.
pub(crate) fn is_over_hop(headers: &HeaderMap) -> bool {
    headers.contains_key(&HOP)
}

/// Marks a response as one that says why there is no other.
pub(crate) fn mark_failure(headers: &mut HeaderMap, kind: ErrorKind) {
    headers.insert(&ERROR, HeaderValue::from_static(kind.name()));
}

/// Takes the mark off a response that is none of a peer's own: an origin cannot fail in a peer's name.
pub(crate) fn remove_failure(headers: &mut HeaderMap) {
    headers.remove(&ERROR);
}

/// Takes off whatever only a peer says.
pub(crate) fn remove_marks(headers: &mut HeaderMap) {
    remove_failure(headers);
    headers.remove(&PEER);
    headers.remove(&DIGEST);
    headers.remove(&MEMBERS);
    headers.remove(&LEAVING);
}

/// What the one who asks says to the one who is asked, beside the request: one field that ends there, whose
/// members are separated by commas. What is not understood is passed over: it is of a newer release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// `digest`: the digest of the content is to be sent along where it is known.
    pub(crate) wants_digest: bool,
    /// `deadline=<milliseconds>`: how much is left of the asker's time.
    pub(crate) deadline: Option<Duration>,
    /// `soft=<milliseconds>`: after how much of it something stale will do.
    pub(crate) soft_deadline: Option<Duration>,
    /// `members=<digest>`: the pool as the asker knows it.
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

    /// Until when the answer is wanted, from now on, unless that was said in this process.
    pub(crate) fn until(&self, said: Option<Deadline>) -> Option<Deadline> {
        if said.is_some() || (self.deadline.is_none() && self.soft_deadline.is_none()) {
            return said;
        }
        Deadline::of_remaining(self.deadline, self.soft_deadline, Instant::now())
    }

    /// What a request says.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers.get(&HOP).map_or_else(Self::default, |field| Self::parse(field.as_bytes()))
    }

    /// What a request says, which it does not say any further.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        headers.remove(&NO_PAGE);
        headers.remove(&HOP).map_or_else(Self::default, |field| Self::parse(field.as_bytes()))
    }

    /// Says it.
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

/// What tells one pool from another: its members, their weights, and how keys are placed on them. Two who have the
/// same agree on every owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolDigest(u64);

impl PoolDigest {
    /// Of all that placement depends on, as text.
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

/// Tells one who knows another pool which one this peer knows.
pub(crate) fn announce_members(headers: &mut HeaderMap, own: PoolDigest) {
    if let Ok(value) = HeaderValue::try_from(own.to_string()) {
        headers.insert(&MEMBERS, value);
    }
}

/// The same as a field line.
pub(crate) fn write_members(lines: &mut String, own: PoolDigest) {
    // Writing to a String cannot fail.
    let _ = write!(lines, "{}: {own}\r\n", MEMBERS.as_str());
}

/// What the peer knows of the pool, where that is another than was asked with.
pub(crate) fn take_members(headers: &mut HeaderMap) -> Option<PoolDigest> {
    headers.remove(&MEMBERS).and_then(|field| PoolDigest::parse(field.as_bytes()))
}

/// Says with an answer that there will not be many more.
pub(crate) fn announce_leaving(headers: &mut HeaderMap) {
    headers.insert(&LEAVING, HeaderValue::from_static("1"));
}

/// Whether the peer is about to end.
pub(crate) fn take_leaving(headers: &mut HeaderMap) -> bool {
    headers.remove(&LEAVING).is_some()
}

/// A number of them; `None` for what is none, or longer than anybody waits.
fn milliseconds(text: &[u8]) -> Option<Duration> {
    let digits = (1..=12).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok().map(Duration::from_millis))?
}

/// Marks a response, in its extensions, as one whose digest is to be sent along if its content is known before its
/// head goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantsDigest;

/// Sends the digest of the content along.
pub(crate) fn announce_digest(headers: &mut HeaderMap, digest: Digest) {
    let mut text = String::with_capacity(64);
    digest.write(&mut text);
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(&DIGEST, value);
    }
}

/// The same as a field line.
pub(crate) fn write_digest(lines: &mut String, digest: Digest) {
    lines.push_str(DIGEST.as_str());
    lines.push_str(": ");
    digest.write(lines);
    lines.push_str("\r\n");
}

/// The digest that came along, which ends here.
pub(crate) fn take_digest(headers: &mut HeaderMap) -> Option<Digest> {
    headers.remove(&DIGEST).and_then(|field| Digest::parse(field.as_bytes()))
}

/// What went wrong at the peer, where the response says so.
pub(crate) fn failure(headers: &HeaderMap) -> Option<ErrorKind> {
    let name = headers.get(&ERROR)?.to_str().ok()?;
    // A newer peer may know more kinds.
    Some(ErrorKind::from_name(name).unwrap_or(ErrorKind::Io))
}

/// Whether it can be the path of a peer: absolute, and nothing that would end or change it in a URL.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte))
}

/// What a peer is asked for under its path, and below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// What a URL names.
    Proxy,
    /// What it would do under its path.
    Why,
    /// To take note that another peer is leaving.
    Leaving,
}

/// The paths of all that a peer is asked for.
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

    /// What is asked for under this path.
    pub(crate) fn endpoint(&self, path: &str) -> Option<Endpoint> {
        self.0.iter().find(|(_, own)| own == path).map(|(endpoint, _)| *endpoint)
    }

    /// The URLs below which this one, without its query, would be of a peer.
    pub(crate) fn bases<'a>(&'a self, url: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|(_, path)| url.strip_suffix(path.as_str()))
    }
}

/// The type of what is said to people.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that a peer makes itself, and nobody stores.
pub(crate) fn answer(content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_stands_below_the_path() {
        for (path, why) in [("/proxy", "/proxy/why"), ("/a/", "/a/why"), ("/", "/why")] {
            let paths = Paths::under(path.to_owned());
            assert_eq!(paths.of(Endpoint::Why), why);
            assert_eq!(paths.of(Endpoint::Leaving), why.replace("why", "leaving"));
            assert_eq!(paths.of(Endpoint::Proxy), path);
        }
    }

    #[test]
    fn a_failure_is_found_by_its_mark() {
        let mut headers = HeaderMap::new();
        assert_eq!(failure(&headers), None);
        mark_failure(&mut headers, ErrorKind::Timeout);
        assert_eq!(failure(&headers), Some(ErrorKind::Timeout));
        headers.insert(&ERROR, HeaderValue::from_static("of-tomorrow"));
        assert_eq!(failure(&headers), Some(ErrorKind::Io));
        remove_marks(&mut headers);
        assert_eq!(failure(&headers), None);
    }

    #[test]
    fn what_is_said_over_a_hop_is_understood() {
        let hop = Hop {
            wants_digest: true,
            deadline: Some(Duration::from_millis(1500)),
            soft_deadline: Some(Duration::ZERO),
            members: Some(PoolDigest(0xabc)),
        };
        let mut headers = HeaderMap::new();
        hop.put(&mut headers);
        assert!(headers.contains_key(&NO_PAGE));
        assert_eq!(headers[&HOP], "digest, deadline=1500, soft=0, members=0000000000000abc");
        assert_eq!(Hop::take(&mut headers), hop);
        assert!(headers.is_empty());
        let odd =
            b"of-tomorrow=1,  digest ,deadline=,soft=-1, deadline=1e9, =, soft=9999999999999, members=abc";
        assert_eq!(Hop::parse(odd), Hop { wants_digest: true, ..Hop::default() });
    }

    #[test]
    fn the_scope_of_a_purge_is_said_once_or_not_at_all() {
        assert!(is_purge(&purge()) && !is_purge(&Method::GET));
        let mut headers = HeaderMap::new();
        for scope in [Scope::Pool, Scope::Own, Scope::Near, Scope::Pool, Scope::Near] {
            scope.put(&mut headers);
            assert_eq!(Scope::of(&headers), Some(scope));
        }
        headers.append(&SCOPE, HeaderValue::from_static("near"));
        assert_eq!(Scope::of(&headers), None);
        headers.insert(&SCOPE, HeaderValue::from_static("all"));
        assert_eq!(Scope::of(&headers), None);
    }

    #[test]
    fn paths() {
        for (path, good) in [("/proxy", true), ("/", true), ("/a/b", true), ("proxy", false), ("/a?b", false)]
        {
            assert_eq!(is_path(path), good, "{path}");
        }
    }
}
