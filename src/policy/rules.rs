//! What the operator decides; everything else is decided by RFC 9111.

use std::time::Duration;

use http::HeaderName;

use super::lifetime_rule::LifetimeRule;
use super::request_fields::UnknownFields;

/// Whose cache it is (RFC 9111 section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The cache of one party: `private` responses are stored, `s-maxage` and `proxy-revalidate` are
    /// for others. Responses to different credentials are still kept apart, because the one party may
    /// hold several.
    #[default]
    Private,
    /// A cache that parties who do not trust each other share: the shared-cache rules of RFC 9111. A valid
    /// `CDN-Cache-Control` takes the place of `Cache-Control` and `Expires` (RFC 9213).
    Shared,
}

/// How the rules of RFC 9111 are applied where it leaves a choice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rules {
    /// Whose cache it is. Default: [`Mode::Private`].
    pub mode: Mode,
    /// The longest freshness lifetime that is guessed from `Last-Modified` (RFC 9111 section 4.2.2).
    /// Default: 24 hours. Zero turns guessing off.
    pub heuristic_cap: Duration,
    /// Whether shared mode stores a response that sets a cookie. Default: no, because most origins
    /// that set one do not mean it for everybody who asks. Private mode stores it in any case.
    pub store_set_cookie: bool,
    /// For how long past its freshness a response is served when the origin fails and neither side
    /// says for how long (RFC 9111 section 4.2.4). Default: 24 hours.
    pub stale_on_error: Duration,
    /// For how long past its freshness a response is served while it is refreshed, where it does not say so itself
    /// (RFC 5861 section 3). One without any freshness is not. Default: zero, none is.
    pub stale_while_revalidate: Duration,
    /// For how long past its freshness a response is served to those who ask for it while another request for it is
    /// waiting for the origin already, in place of waiting too. Default: zero, they wait.
    pub grace: Duration,
    /// By how much the lifetime of a response is made shorter at random, in percent at most, so that what was stored at one
    /// time does not become stale at one time. From 0 to 100. Default: 0.
    pub jitter: u8,
    /// In the last part of its lifetime, of this many percent, a response that is asked for is refreshed while it is
    /// served, so that it never becomes stale while it is in use. From 0 to 100. Default: 0.
    pub early_refresh: u8,
    /// Whether a conditional request (`If-None-Match`, `If-Modified-Since`) for something that is not stored, which the
    /// origin answers with 304, has the cache fetch the whole in the background, once. Default: no.
    pub fill_on_conditional: bool,
    /// Whether a request for a range that begins at 0, of something that is not stored, has the cache fetch the whole in
    /// the background, once, unless what came can be completed later because it has a strong `ETag`. Default: yes.
    pub fill_on_range: bool,
    /// Lifetimes by host, path and status, where the origin's own are not to count. The first that matches
    /// does. Default: none.
    pub lifetimes: Vec<LifetimeRule>,
    /// What becomes of request fields that no standard knows. Default: [`UnknownFields::Forward`].
    pub unknown_fields: UnknownFields,
    /// Fields that count as known beside those of the standards: no origin answers to them, or it names them in
    /// `Vary`. Default: none.
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
    /// The default rules for this mode.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// What of them is for a cache beside whoever asks: the owner of a URL refreshes it, and says for how long it is
    /// fresh.
    pub(crate) fn near(self) -> Self {
        let nothing = Duration::ZERO;
        let (stale_while_revalidate, grace, jitter, early_refresh) = (nothing, nothing, 0, 0);
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
