//! [`ResponseInfo`]: where a response comes from.

use std::sync::Arc;

use http::{Response, Uri};

use super::stats::{LastMember, Outcome};

/// Where a response comes from, see [`ResponseExt::info`](crate::ResponseExt::info).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ResponseInfo {
    url: Option<Uri>,
    outcome: Option<Outcome>,
    is_stored: bool,
    not_stored: Option<Arc<str>>,
    peer: Option<Arc<str>>,
    attempts: u32,
    is_direct: bool,
}

impl ResponseInfo {
    /// Returns the information in the extensions of a response, with the outcome that its `Cache-Status` reports.
    pub(crate) fn of<B>(response: &Response<B>) -> Self {
        let known: Self = response.extensions().get().cloned().unwrap_or_default();
        let LastMember { outcome, is_stored, detail } =
            LastMember::of(response.headers()).unwrap_or_default();
        let not_stored = detail.filter(|_| !is_stored).map(Arc::from);
        Self { outcome, is_stored, not_stored, ..known }
    }

    /// Returns the information in the extensions of a response, to be completed.
    pub(crate) fn of_mut<B>(response: &mut Response<B>) -> &mut Self {
        response.extensions_mut().get_or_insert_default()
    }

    pub(crate) fn set_url(&mut self, url: Uri) {
        self.url = Some(url);
    }

    /// Records the peer that answered the last of these attempts.
    pub(crate) fn set_peer(&mut self, peer: &str, attempts: u32) {
        (self.peer, self.attempts) = (Some(peer.into()), attempts);
    }

    /// Records that no peer answered any of these attempts, and whether the origin was asked directly instead.
    pub(crate) fn set_fallback(&mut self, is_direct: bool, attempts: u32) {
        (self.is_direct, self.attempts) = (is_direct, attempts);
    }

    /// Returns the URL of the request; `None` if a [`RequestBuilder`](crate::RequestBuilder) did not send it.
    #[must_use]
    pub fn url(&self) -> Option<&Uri> {
        self.url.as_ref()
    }

    /// Returns how the cache that is nearest to this program handled the request; `None` if no cache was involved.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Returns whether that cache stores this response, which the origin has just sent. `false` for a response that comes
    /// from its store. A response whose body turns out to be incomplete or too large is not kept.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Returns why that cache does not store a response of the origin, as in `Cache-Status`: for example `no-store`.
    #[must_use]
    pub fn not_stored(&self) -> Option<&str> {
        self.not_stored.as_deref()
    }

    /// Returns the base URL of the peer that answered; `None` if the response comes from this process or directly from
    /// the origin.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.peer.as_deref()
    }

    /// Returns how many peers were asked for this response. More than one means that earlier ones failed. 0 means that
    /// the response comes from a cache in this process, or that no peer could be asked.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns whether the [`Client`](crate::Client) bypassed the pool and asked the origin itself, because no peer was
    /// left.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }
}
