//! What peers and their clients say to each other beyond HTTP: one path and one field.
//!
//! `GET <path>?q=<escaped URL>` is the Go package's protocol, and a pool may mix peers of both. The field
//! is ours: it marks a response that a peer made itself because it could not get the origin's. So is
//! `GET <path>/why?q=<escaped URL>`, which says what the former would do, and `PURGE <path>?...`, which
//! removes what is stored: from the peer that is asked and, unless the request says that it is about that
//! one's own share, from all others, which it asks once for theirs.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::error::ErrorKind;

/// The path under which a peer answers, unless told otherwise.
pub(crate) const DEFAULT_PATH: &str = "/proxy";

/// The query parameter that holds the URL.
pub(crate) const QUERY: &str = "q";

/// The field that says what went wrong at a peer: the name of an [`ErrorKind`].
static ERROR: HeaderName = HeaderName::from_static("forwardcache-error");

/// The field of a purge that says whose copies it is about: `own`, those of the peer that is asked.
static SCOPE: HeaderName = HeaderName::from_static("forwardcache-scope");

const OWN: &[u8] = b"own";

/// The method that asks for a purge.
const PURGE: &str = "PURGE";

pub(crate) fn purge() -> Method {
    Method::from_bytes(PURGE.as_bytes()).expect("it is a token")
}

pub(crate) fn is_purge(method: &Method) -> bool {
    method.as_str() == PURGE
}

/// Makes a purge one of the peer's own share.
pub(crate) fn mark_own(headers: &mut HeaderMap) {
    headers.insert(&SCOPE, HeaderValue::from_static("own"));
}

/// Whether a purge is about the peer's own share alone; `None` where it says something else.
pub(crate) fn is_own(headers: &HeaderMap) -> Option<bool> {
    let mut said = headers.get_all(&SCOPE).into_iter();
    match (said.next(), said.next()) {
        (None, _) => Some(false),
        (Some(scope), None) if scope.as_bytes() == OWN => Some(true),
        _ => None,
    }
}

/// Marks a request, in its extensions, as one to a peer: what it says in `Proxy-Authorization` is meant for
/// that peer, and not to be left out on the way there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForPeer;

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
    fn the_scope_of_a_purge_is_all_or_its_own() {
        assert!(is_purge(&purge()) && !is_purge(&Method::GET));
        let mut headers = HeaderMap::new();
        assert_eq!(is_own(&headers), Some(false));
        mark_own(&mut headers);
        assert_eq!(is_own(&headers), Some(true));
        headers.append(&SCOPE, HeaderValue::from_static("own"));
        assert_eq!(is_own(&headers), None);
        headers.insert(&SCOPE, HeaderValue::from_static("all"));
        assert_eq!(is_own(&headers), None);
    }

    #[test]
    fn paths() {
        for (path, good) in [("/proxy", true), ("/", true), ("/a/b", true), ("proxy", false), ("/a?b", false)]
        {
            assert_eq!(is_path(path), good, "{path}");
        }
    }
}
