//! The choices of the operator; RFC 9111 decides everything else.

use std::time::Duration;

use http::HeaderName;

use super::lifetime_rule::LifetimeRule;
use super::unknown_fields::UnknownFields;

/// Whether one party or several share the cache (RFC 9111 section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A cache for one party: `private` responses are stored; `s-maxage` and `proxy-revalidate` are ignored. Responses to
    /// different credentials are still kept apart, because one party may have several.
    #[default]
    Private,
    /// A cache for parties that do not trust each other, which follows the shared-cache rules of RFC 9111. A valid
    /// `CDN-Cache-Control` replaces `Cache-Control` and `Expires` (RFC 9213).
    Shared,
}

/// The options that RFC 9111 leaves to the cache.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rules {
    /// Whether the cache is private or shared. Default: [`Mode::Private`].
    pub mode: Mode,
    /// The longest heuristic freshness lifetime (RFC 9111 section 4.2.2). Default: 24 hours. Zero turns the heuristic off.
    pub heuristic_cap: Duration,
    /// Whether shared mode stores a response with `Set-Cookie`. Default: no, because most origins mean a cookie for a
    /// single client. Private mode always stores such a response.
    pub store_set_cookie: bool,
    /// For how long past its freshness a response is served if the origin fails and neither the request nor the response
    /// specifies a time (RFC 9111 section 4.2.4). Default: 24 hours.
    pub stale_on_error: Duration,
    /// For how long past its freshness a response without `stale-while-revalidate` is served while it is refreshed (RFC
    /// 5861 section 3). A response that was never fresh is excluded. Default: zero, which turns this off.
    pub stale_while_revalidate: Duration,
    /// For how long past its freshness a response is served to a request that would otherwise wait for another request's
    /// fetch of the same response. Default: zero, such requests wait.
    pub grace: Duration,
    /// The greatest percentage by which the lifetime of a response is shortened at random, so that responses stored at the
    /// same time do not become stale at the same time. From 0 to 100. Default: 0.
    pub jitter: u8,
    /// The last percentage of the lifetime in which a request makes the cache refresh the response while serving it, so that
    /// a response in use never becomes stale. From 0 to 100. Default: 0.
    pub early_refresh: u8,
    /// Whether the cache fetches the whole response in the background, once, when the origin answers 304 to a client's
    /// conditional request (`If-None-Match`, `If-Modified-Since`) for a response that is not stored. Default: no.
    pub fill_on_conditional: bool,
    /// Whether the cache fetches the whole response in the background, once, after a request for a range that begins at 0 of
    /// a response that is not stored. A part with a strong `ETag` is excluded, because it can be completed later. Default:
    /// yes.
    pub fill_on_range: bool,
    /// Lifetimes by host, path and status that replace those of the origins. The first matching rule applies. Default:
    /// none.
    pub lifetimes: Vec<LifetimeRule>,
    /// How request fields that are not standardised are treated. Default: [`UnknownFields::Forward`].
    pub unknown_fields: UnknownFields,
    /// Fields that are treated as known besides the standard ones: origins ignore them, or name them in `Vary`. Default:
    /// none.
    pub known_fields: Vec<HeaderName>,
}

impl Default for Rules {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            mode: Mode::Private,
            heuristic_cap: DAY,
            store_set_cookie: false,
            stale_on_error: DAY,
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
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Returns the rules for a near cache in a client. It does not refresh responses and uses lifetimes as given, because the
    /// owner of a URL refreshes the response and decides for how long it is fresh.
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
