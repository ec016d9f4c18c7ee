//! Which groups of stored responses were invalidated, and when (RFC 9875).
//!
//! No store can say which of its responses belong to a group, and none has to. What is remembered is the
//! invalidation: a stored response that is older than the invalidation of one of its groups counts as not
//! stored. Until the first invalidation nothing is looked at.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, Method};
use parking_lot::Mutex;

use super::invalidations::{Invalidation, Invalidations};
use crate::header::cache_groups::{self, CACHE_GROUPS};
use crate::store::StoredResponse;

static CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// How many invalidations are remembered one by one.
const MOST: usize = 10_000;

/// The invalidations that are remembered, of all origins.
pub(crate) struct Groups {
    is_any: AtomicBool,
    state: Mutex<Invalidations>,
    most: usize,
    /// An origin and a group are known by their digest.
    digest: RandomState,
}

impl Default for Groups {
    fn default() -> Self {
        Self::with_most(MOST)
    }
}

impl Groups {
    fn with_most(most: usize) -> Self {
        let (is_any, state, digest) = (AtomicBool::new(false), Mutex::default(), RandomState::new());
        Self { is_any, state, most, digest }
    }

    /// Remembers that these groups of the URL's origin are invalid.
    pub(crate) fn invalidate(&self, url: &str, groups: &[Vec<u8>], invalidation: Invalidation) {
        if groups.is_empty() {
            return;
        }
        let digests: Vec<u64> = groups.iter().map(|group| self.digest(url, group)).collect();
        let mut state = self.state.lock();
        for digest in digests {
            state.remember(digest, invalidation, self.most);
        }
        self.is_any.store(true, Ordering::SeqCst);
    }

    /// Whether a stored response of this URL was invalidated after it had come.
    pub(crate) fn have_invalidated(&self, url: &str, stored: &StoredResponse) -> bool {
        let came = stored.validity().response_time;
        // Within one tick of the clock nobody knows what was first.
        self.any(url, || stored.values(&CACHE_GROUPS), |invalidation| came <= invalidation.time)
    }

    /// Whether what this fetch brings, of this URL and with these stored fields, was invalidated after it had
    /// been asked for.
    pub(crate) fn have_overtaken_stored(&self, url: &str, ticket: u64, stored: &StoredResponse) -> bool {
        self.any(url, || stored.values(&CACHE_GROUPS), |invalidation| ticket <= invalidation.ticket)
    }

    /// The same of a response that is on its way.
    pub(crate) fn have_overtaken(&self, url: &str, ticket: u64, headers: &HeaderMap) -> bool {
        let lines = || headers.get_all(&CACHE_GROUPS).into_iter().map(http::HeaderValue::as_bytes);
        self.any(url, lines, |invalidation| ticket <= invalidation.ticket)
    }

    fn any<'a, L: Iterator<Item = &'a [u8]>>(
        &self,
        url: &str,
        lines: impl FnOnce() -> L,
        is_later: impl Fn(Invalidation) -> bool,
    ) -> bool {
        if !self.is_any.load(Ordering::SeqCst) {
            return false;
        }
        let groups = cache_groups::names(lines());
        if groups.is_empty() {
            return false;
        }
        let digests: Vec<u64> = groups.iter().map(|group| self.digest(url, group)).collect();
        let state = self.state.lock();
        digests.iter().filter_map(|digest| state.of(*digest)).chain(state.of_all()).any(is_later)
    }

    fn digest(&self, url: &str, group: &[u8]) -> u64 {
        self.digest.hash_one((origin(url), group))
    }
}

/// The groups that a response to this method invalidates (RFC 9875 section 3): none where the method is safe.
pub(crate) fn invalidated_groups(method: &Method, headers: &HeaderMap) -> Vec<Vec<u8>> {
    if method.is_safe() {
        return Vec::new();
    }
    cache_groups::names(
        headers.get_all(&CACHE_GROUP_INVALIDATION).into_iter().map(http::HeaderValue::as_bytes),
    )
}

/// Scheme and authority of a canonical URL.
fn origin(url: &str) -> &str {
    let path = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
    &url[..path]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::HeaderValue;

    use super::*;

    const URL: &str = "http://example.com/a";

    fn at(seconds: u64) -> Invalidation {
        Invalidation { time: UNIX_EPOCH + Duration::from_secs(seconds), ticket: seconds }
    }

    fn headers(groups: &str) -> HeaderMap {
        [(CACHE_GROUPS.clone(), HeaderValue::from_str(groups).unwrap())].into_iter().collect()
    }

    fn names(groups: &[&str]) -> Vec<Vec<u8>> {
        groups.iter().map(|group| group.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_was_asked_before_the_invalidation_of_one_of_its_groups_is_overtaken() {
        let groups = Groups::default();
        groups.invalidate(URL, &names(&["b"]), at(5));
        for (url, ticket, fields, expected) in [
            (URL, 4, "\"a\", \"b\";x=1", true),
            (URL, 5, "\"b\"", true),
            (URL, 6, "\"b\"", false),
            ("http://example.com/other?b", 5, "\"b\"", true),
            ("https://example.com/a", 5, "\"b\"", false),
            ("http://example.com:81/a", 5, "\"b\"", false),
            (URL, 5, "\"B\"", false),
            (URL, 5, "\"a\"", false),
            (URL, 5, "b", false),
            (URL, 5, "\"b\", c", false),
        ] {
            assert_eq!(
                groups.have_overtaken(url, ticket, &headers(fields)),
                expected,
                "{url} {ticket} {fields}"
            );
        }
        assert!(!groups.have_overtaken(URL, 1, &HeaderMap::new()));
    }

    #[test]
    fn the_later_of_two_invalidations_counts_in_either_order() {
        let groups = Groups::default();
        for seconds in [3, 9, 5] {
            groups.invalidate(URL, &names(&["a"]), at(seconds));
        }
        assert!(groups.have_overtaken(URL, 9, &headers("\"a\"")));
        assert!(!groups.have_overtaken(URL, 10, &headers("\"a\"")));
    }

    #[test]
    fn what_is_not_remembered_one_by_one_is_that_of_every_group() {
        let groups = Groups::with_most(2);
        groups.invalidate(URL, &names(&["a"]), at(1));
        groups.invalidate(URL, &names(&["b"]), at(2));
        // It is the youngest again, so that "b" goes.
        groups.invalidate(URL, &names(&["a"]), at(3));
        assert!(!groups.have_overtaken(URL, 2, &headers("\"other\"")));
        groups.invalidate(URL, &names(&["c"]), at(4));
        for (group, last) in [("\"a\"", 3), ("\"b\"", 2), ("\"c\"", 4), ("\"other\"", 2)] {
            assert!(groups.have_overtaken(URL, last, &headers(group)), "{group}");
            assert!(!groups.have_overtaken(URL, last + 1, &headers(group)), "{group}");
        }
        assert!(groups.have_overtaken("http://other.example/", 2, &headers("\"a\"")));
        assert!(!groups.have_overtaken(URL, 1, &HeaderMap::new()));
        let state = groups.state.lock();
        assert_eq!(state.counts(), (2, 2));
    }

    #[test]
    fn thirty_two_groups_of_thirty_two_characters() {
        let names: Vec<_> = (0..32).map(|number| format!("{number:032}").into_bytes()).collect();
        let field = (0..32).map(|number| format!("\"{number:032}\"")).collect::<Vec<_>>().join(", ");
        for name in names {
            let groups = Groups::default();
            groups.invalidate(URL, &[name], at(1));
            assert!(groups.have_overtaken(URL, 1, &headers(&field)));
        }
    }

    #[test]
    fn only_an_unsafe_method_invalidates() {
        let invalidated = |method: &Method, field: &'static str| {
            let value = HeaderValue::from_static(field);
            let headers = [(CACHE_GROUP_INVALIDATION.clone(), value)].into_iter().collect();
            invalidated_groups(method, &headers)
        };
        assert_eq!(invalidated(&Method::POST, "\"a\", \"b\";x"), names(&["a", "b"]));
        assert_eq!(invalidated(&Method::from_bytes(b"PURGE").unwrap(), "\"a\""), names(&["a"]));
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(invalidated(&method, "\"a\"").is_empty(), "{method}");
        }
        for field in ["", "a", "\"a\", b", "\"a\",", "(\"a\")"] {
            assert!(invalidated(&Method::POST, field).is_empty(), "{field}");
        }
        assert!(invalidated_groups(&Method::POST, &HeaderMap::new()).is_empty());
    }

    #[test]
    fn the_origin_is_what_comes_before_the_path() {
        assert_eq!(origin("http://example.com/a/b"), "http://example.com");
        assert_eq!(origin("https://[::1]:8443/"), "https://[::1]:8443");
        assert_eq!(origin("http://example.com"), "http://example.com");
    }
}
