//! Takes stored responses over from the previous owner of a URL, after a change of the pool.

use std::time::{Duration, Instant};

use http::header::{
    CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use log::debug;

use crate::base::error::Result;
use crate::base::redacted::redacted;
use crate::client::Client;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::purge::Purge;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Outcome;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;

/// How long the new owner waits for the head of the previous owner's response, which comes from memory or not at all.
const HEAD_TIMEOUT: Duration = Duration::from_millis(200);

/// Header fields that request a newer response than the stored one, a part of it, or a check for changes. Requests with
/// any of them go to the origin.
static NOT_PLAIN: [HeaderName; 8] =
    [CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE];

/// An origin that first requests a response from the previous owner of the URL, for some time after the owners have
/// changed. A response that the previous owner has stored need not be fetched again.
///
/// It sends one request with a short time limit, and only for stored responses. A previous owner that fails is not
/// requested again. Nor is one that has left the pool, because another program may listen at its address by now.
pub(super) struct WarmUp<O> {
    pub(super) client: Client,
    pub(super) self_url: PeerUrl,
    pub(super) origin: O,
}

impl<O: RoundTrip> WarmUp<O> {
    fn fetch_from_previous_owner(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let is_plain = *request.method() == Method::GET
            && request.body().is_empty()
            && !request.headers().keys().any(|name| NOT_PLAIN.contains(name));
        if !is_plain || !self.client.pool_state().former().are_any() {
            return None;
        }
        let target = CanonicalUrl::parse(&request.uri().to_string()).ok()?;
        let previous = self.client.pool_state().previous_owner(&target, &self.self_url, Instant::now())?;
        let mut peer_request = Request::new(Body::empty());
        peer_request.headers_mut().clone_from(request.headers());
        peer_request.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
        let remaining =
            Deadline::of(request.extensions()).and_then(|deadline| deadline.remaining(Instant::now()));
        let timeout = remaining.map_or(HEAD_TIMEOUT, |remaining| remaining.min(HEAD_TIMEOUT));
        peer_request.extensions_mut().insert(Deadline::within(timeout).for_head());
        match self.client.ask_previous_owner(&previous, &target, peer_request) {
            Ok(response) => (Outcome::of(response.headers()) == Some(Outcome::Hit)).then_some(response),
            Err(error) => {
                let url = redacted(target.as_str());
                debug!("{} {url} not taken over from the previous owner {previous}", error.kind());
                // A shorter deadline of the client proves nothing about the peer.
                if !error.is_reported_by_peer() && timeout == HEAD_TIMEOUT {
                    self.client.pool_state().former().is_gone(&previous);
                }
                None
            }
        }
    }
}

impl<O: RoundTrip> RoundTrip for WarmUp<O> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        if let Some(response) = self.fetch_from_previous_owner(&request) {
            return Ok(response);
        }
        let changed = (!request.method().is_safe()).then(|| request.uri().clone());
        let result = self.origin.round_trip(request);
        if let Some(url) = changed
            && self.client.pool_state().former().are_any()
        {
            self.client.pool_state().former().purge(&purge_of_origin(&url.to_string()));
        }
        result
    }
}

/// Returns the purge of everything that an unsafe request to this URL may invalidate (RFC 9111 section 4.4): all
/// responses of its origin, of which previous owners still have the old versions.
fn purge_of_origin(url: &str) -> Purge {
    let origin = CanonicalUrl::parse(url).map(|target| target.origin()).ok();
    origin.and_then(|origin| Purge::prefix(origin.as_str()).ok()).unwrap_or_else(Purge::all)
}
