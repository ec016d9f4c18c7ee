//! The options that a client sends to a peer.

use std::fmt;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::message::deadline::Deadline;
use crate::message::digest::Digest;

/// The field for the options of a client, see [`Hop`].
pub(crate) static HOP: HeaderName = HeaderName::from_static("forwardcache");

/// The field that shows that the request comes from a program and not from a web page. A page cannot set fields that
/// begin with `Sec-` (Fetch standard, forbidden request-headers). It accompanies [`HOP`] and is not forwarded.
pub(crate) static NOT_A_PAGE: HeaderName = HeaderName::from_static("sec-forwardcache");

/// Returns whether a request comes from a client of the pool, so that the response needs the mark of a peer.
pub(crate) fn is_over_hop(headers: &HeaderMap) -> bool {
    headers.contains_key(&HOP)
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
        headers.remove(&NOT_A_PAGE);
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
        headers.insert(&NOT_A_PAGE, HeaderValue::from_static("1"));
    }
}

/// A digest of a pool: its members, their weights, and the placement of keys. Two programs with the same digest agree
/// on the owner of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolDigest(pub(super) u64);

impl PoolDigest {
    /// Computes the digest of a text that contains all inputs of the placement.
    pub(crate) fn of(text: &str) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..8]);
        Self(u64::from_be_bytes(first))
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit);
        digits.then(|| u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().map(Self))?
    }
}

impl fmt::Display for PoolDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Parses a number of milliseconds; `None` if it is invalid or has more than 12 digits.
fn milliseconds(text: &[u8]) -> Option<Duration> {
    let digits = (1..=12).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok().map(Duration::from_millis))?
}
