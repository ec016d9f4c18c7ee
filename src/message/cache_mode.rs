//! How a request wants to be cached, in words that programs know from the Fetch standard.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, PRAGMA};

/// How one request wants to be answered.
///
/// It is sent as `Cache-Control` (RFC 9111 section 5.2.1), so that it means the same to a cache in this
/// process, to a peer, and to every cache between it and the origin.
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
    /// By the rules, and nothing else.
    #[default]
    Default,
    /// The origin is asked whether what is stored still holds.
    Reload,
    /// Nothing of the answer is stored.
    NoStore,
    /// What is stored is taken, however stale, where the origin did not forbid that; the origin is asked for
    /// what is not.
    ForceCache,
    /// What is stored and fresh is taken, or the answer is 504.
    OnlyIfCached,
}

impl CacheMode {
    /// Makes a request want this, in place of what its fields said before.
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
