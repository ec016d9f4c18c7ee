//! Cache modes of a request, with the names of the Fetch standard.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, PRAGMA};

/// How a request uses caches.
///
/// The mode is sent as `Cache-Control` (RFC 9111 section 5.2.1), so it has the same meaning for a cache in this
/// process, for a peer, and for every cache on the way to the origin.
///
/// ```
/// use forwardcache::CacheMode;
///
/// let mut request = http::Request::get("http://example.com/").body(()).unwrap();
/// CacheMode::Reload.apply(request.headers_mut());
/// assert_eq!(request.headers()["cache-control"], "no-cache");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheMode {
    /// Follow the caching rules.
    #[default]
    Default,
    /// Validate stored responses with the origin.
    Reload,
    /// Do not store the response.
    NoStore,
    /// Use a stored response even if it is stale, unless the origin forbids that. Otherwise ask the origin.
    ForceCache,
    /// Use a fresh stored response, or respond with 504.
    OnlyIfCached,
}

impl CacheMode {
    /// Sets the mode in the header fields of a request and removes `Cache-Control` and `Pragma` that were there before.
    pub fn apply(self, headers: &mut HeaderMap) {
        headers.remove(PRAGMA);
        headers.remove(CACHE_CONTROL);
        let directive = match self {
            Self::Default => return,
            Self::Reload => "no-cache",
            Self::NoStore => "no-store",
            Self::ForceCache => "max-stale",
            Self::OnlyIfCached => "only-if-cached",
        };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(directive));
    }
}
