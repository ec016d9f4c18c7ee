//! What peers and their clients say to each other beyond HTTP: one path and a few fields.
//!
//! `GET <path>?q=<escaped URL>` is the Go package's protocol, and a pool may mix peers of both. The rest
//! is ours: `GET <path>/why?q=<escaped URL>` says what the former would do,
//! `POST <path>/lease?q=<escaped URL>` borrows a part of an origin's budget of the peer that keeps it, and the fields
//! are
//!
//! | field | in | what it says |
//! |---|---|---|
//! | `Forwardcache` | requests | what the asker wants beside the response, see [`Hop`] |
//! | `Forwardcache-Error` | responses | that a peer made it itself because it could not get the origin's |
//! | `Forwardcache-Digest` | responses | the digest of the content, as in RFC 9530, for this hop alone |

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::digest::Digest;
use crate::error::ErrorKind;

/// The path under which a peer answers, unless told otherwise.
pub(crate) const DEFAULT_PATH: &str = "/proxy";

/// The query parameter that holds the URL.
pub(crate) const QUERY: &str = "q";

/// The field that says what went wrong at a peer: the name of an [`ErrorKind`].
static ERROR: HeaderName = HeaderName::from_static("forwardcache-error");

/// See [`Hop`].
pub(crate) static HOP: HeaderName = HeaderName::from_static("forwardcache");

/// The digest of the content over one hop.
static DIGEST: HeaderName = HeaderName::from_static("forwardcache-digest");

/// Marks a request, in its extensions, as one to a peer: what it says in `Proxy-Authorization` is meant for
/// that peer, and not to be left out on the way there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForPeer;

/// Says, in the extensions of a request, how long a connection for it may take, and then its answer, where
/// that is less than what the transport allows all requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within(pub(crate) Duration);

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
    headers.remove(&DIGEST);
}

/// What the one who asks says to the one who is asked, beside the request: one field that ends there, whose
/// members are separated by commas. What is not understood is passed over: it is of a newer release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// `digest`: the digest of the content is to be sent along where it is known.
    pub(crate) wants_digest: bool,
}

impl Hop {
    pub(crate) fn parse(field: &[u8]) -> Self {
        let mut hop = Self::default();
        for member in field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if member == b"digest" {
                hop.wants_digest = true;
            }
        }
        hop
    }

    /// What a request says, which it does not say any further.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        headers.remove(&HOP).map_or_else(Self::default, |field| Self::parse(field.as_bytes()))
    }

    /// Says it.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        let members = [self.wants_digest.then_some("digest")];
        let text = members.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(&HOP, value);
        }
    }
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

/// The path under which a peer explains what it would do under this one.
pub(crate) fn why_path(path: &str) -> String {
    format!("{}/why", path.strip_suffix('/').unwrap_or(path))
}

/// The path under which a peer lends of the budgets that it keeps.
pub(crate) fn lease_path(path: &str) -> String {
    format!("{}/lease", path.strip_suffix('/').unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_stands_below_the_path() {
        for (path, why) in [("/proxy", "/proxy/why"), ("/a/", "/a/why"), ("/", "/why")] {
            assert_eq!(why_path(path), why);
            assert_eq!(lease_path(path), why.replace("why", "lease"));
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
    fn paths() {
        for (path, good) in [("/proxy", true), ("/", true), ("/a/b", true), ("proxy", false), ("/a?b", false)]
        {
            assert_eq!(is_path(path), good, "{path}");
        }
    }
}
