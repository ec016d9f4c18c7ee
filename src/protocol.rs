//! What peers and their clients say to each other beyond HTTP: one path and one field.
//!
//! `GET <path>?q=<escaped URL>` is the Go package's protocol, and a pool may mix peers of both. The field
//! is ours: it marks a response that a peer made itself because it could not get the origin's. So is
//! `GET <path>/why?q=<escaped URL>`, which says what the former would do.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::ErrorKind;

/// The path under which a peer answers, unless told otherwise.
pub(crate) const DEFAULT_PATH: &str = "/proxy";

/// The path under which a peer says that it is there, below its base URL. A peer of another make answers
/// something else, and is there as well.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// The query parameter that holds the URL.
pub(crate) const QUERY: &str = "q";

/// The field that says what went wrong at a peer: the name of an [`ErrorKind`].
static ERROR: HeaderName = HeaderName::from_static("forwardcache-error");

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
pub(crate) fn remove_mark(headers: &mut HeaderMap) {
    headers.remove(&ERROR);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_stands_below_the_path() {
        for (path, why) in [("/proxy", "/proxy/why"), ("/a/", "/a/why"), ("/", "/why")] {
            assert_eq!(why_path(path), why);
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
        remove_mark(&mut headers);
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
