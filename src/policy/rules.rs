//! The choices of the operator; RFC 9111 decides everything else.

use std::time::Duration;

use http::HeaderName;

use super::lifetime_rule::LifetimeRule;
use super::unknown_fields::UnknownFields;

/// Whether one party or several share the cache (RFC 9111 section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// A cache for one party: `private` responses are stored; `s-maxage` and `proxy-revalidate` are ignored. Responses
    /// to different credentials are still kept apart, because one party may have several.
    #[default]
    Private,
    /// A cache for parties that do not trust each other, which follows the shared-cache rules of RFC 9111. A valid
    /// `CDN-Cache-Control` replaces `Cache-Control` and `Expires` (RFC 9213).
    Shared,
}

/// The options that RFC 9111 leaves to the cache. Every option has a default.
///
/// ```
/// use std::time::Duration;
/// use forwardcache::HttpCache;
/// use forwardcache::policy::{Mode, Rules};
///
/// let rules = Rules::new(Mode::Shared).stale_if_error(Duration::from_secs(600)).jitter(10);
/// let cache = HttpCache::builder().rules(rules).build()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Rules {
    pub(crate) mode: Mode,
    pub(crate) max_heuristic_lifetime: Duration,
    pub(crate) store_set_cookie: bool,
    pub(crate) stale_if_error: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) grace: Duration,
    pub(crate) jitter: u8,
    pub(crate) early_refresh: u8,
    pub(crate) fill_on_conditional: bool,
    pub(crate) fill_on_range: bool,
    pub(crate) lifetimes: Vec<LifetimeRule>,
    pub(crate) unknown_fields: UnknownFields,
    pub(crate) known_fields: Vec<HeaderName>,
}

impl Default for Rules {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            mode: Mode::Private,
            max_heuristic_lifetime: DAY,
            store_set_cookie: false,
            stale_if_error: DAY,
            stale_while_revalidate: Duration::ZERO,
            grace: Duration::ZERO,
            jitter: 0,
            early_refresh: 0,
            fill_on_conditional: false,
            fill_on_range: true,
            lifetimes: Vec::new(),
            unknown_fields: UnknownFields::default(),
            known_fields: Vec::new(),
        }
    }
}

impl Rules {
    /// Returns the default rules for this mode.
    pub fn new(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Sets whether the cache is private or shared. Default: [`Mode::Private`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the longest heuristic freshness lifetime (RFC 9111 section 4.2.2). Zero turns the heuristic off. Default:
    /// 24 hours.
    pub fn max_heuristic_lifetime(mut self, longest: Duration) -> Self {
        self.max_heuristic_lifetime = longest;
        self
    }

    /// Sets whether shared mode stores a response with `Set-Cookie`. Private mode always stores such a response.
    /// Default: `false`, because most origins mean a cookie for a single client.
    pub fn store_set_cookie(mut self, stored: bool) -> Self {
        self.store_set_cookie = stored;
        self
    }

    /// Sets for how long past its freshness a response is served if the origin fails and neither the request nor the
    /// response specifies a time (RFC 9111 section 4.2.4). Default: 24 hours.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.stale_if_error = time;
        self
    }

    /// Sets for how long past its freshness a response without `stale-while-revalidate` is served while it is refreshed
    /// (RFC 5861 section 3). A response that was never fresh is excluded. Default: zero, which turns this off.
    pub fn stale_while_revalidate(mut self, time: Duration) -> Self {
        self.stale_while_revalidate = time;
        self
    }

    /// Sets for how long past its freshness a response is served to a request that would otherwise wait for another
    /// request's fetch of the same response. Default: zero, such requests wait.
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// Sets the greatest percentage by which the lifetime of a response is shortened at random, so that responses
    /// stored at the same time do not become stale at the same time. From 0 to 100. Default: 0.
    pub fn jitter(mut self, percent: u8) -> Self {
        self.jitter = percent;
        self
    }

    /// Sets the last percentage of the lifetime in which a request makes the cache refresh the response while serving
    /// it, so that a response in use never becomes stale. From 0 to 100. Default: 0.
    pub fn early_refresh(mut self, percent: u8) -> Self {
        self.early_refresh = percent;
        self
    }

    /// Sets whether the cache fetches the whole response in the background, once, when the origin answers 304 to a
    /// client's conditional request (`If-None-Match`, `If-Modified-Since`) for a response that is not stored. Default:
    /// `false`.
    pub fn fill_on_conditional(mut self, filled: bool) -> Self {
        self.fill_on_conditional = filled;
        self
    }

    /// Sets whether the cache fetches the whole response in the background, once, after a request for a range that
    /// begins at 0 of a response that is not stored. A part with a strong `ETag` is excluded, because it can be
    /// completed later. Default: `true`.
    pub fn fill_on_range(mut self, filled: bool) -> Self {
        self.fill_on_range = filled;
        self
    }

    /// Sets lifetimes by host, path and status that replace those of the origins. The first matching rule applies.
    /// Default: none.
    pub fn lifetimes(mut self, rules: impl IntoIterator<Item = LifetimeRule>) -> Self {
        self.lifetimes = rules.into_iter().collect();
        self
    }

    /// Sets how request fields that are not standardised are treated. Default: [`UnknownFields::Forward`].
    pub fn unknown_fields(mut self, treatment: UnknownFields) -> Self {
        self.unknown_fields = treatment;
        self
    }

    /// Sets fields that are treated as known besides the standard ones: origins ignore them, or name them in `Vary`.
    /// Default: none.
    pub fn known_fields(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.known_fields = names.into_iter().collect();
        self
    }

    /// Returns the rules for a near cache in a client. It does not refresh responses and uses lifetimes as given,
    /// because the owner of a URL refreshes the response and decides for how long it is fresh.
    pub(crate) fn near(self) -> Self {
        let zero = Duration::ZERO;
        let (stale_while_revalidate, grace, jitter, early_refresh) = (zero, zero, 0, 0);
        Self {
            stale_while_revalidate,
            grace,
            jitter,
            early_refresh,
            fill_on_range: false,
            fill_on_conditional: false,
            ..self
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.mode == Mode::Shared
    }
}
