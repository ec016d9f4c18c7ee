//! What a new owner asks of the former one.

use std::time::{Duration, Instant};

use http::header::{
    CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use log::debug;

use crate::base::error::{Result, redacted};
use crate::client::Client;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::purge::Purge;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Outcome;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;

/// How long a former owner has for the head of its answer. It has it in memory, or it has not.
const PATIENCE: Duration = Duration::from_millis(200);

/// Who says any of these wants something newer than what is stored, or a part of it, or to be told of a change.
static NOT_PLAIN: [HeaderName; 8] =
    [CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE];

/// The way to the origin by the former owner, for a while after the owners have changed: what that has stored need
/// not be fetched again. It is asked once, in little time, for what it has and nothing else; one that fails is not
/// asked again, and one that has left the pool is not asked at all: nobody knows who answers there by now.
pub(super) struct Handover<O> {
    pub(super) client: Client,
    pub(super) self_url: PeerUrl,
    pub(super) origin: O,
}

impl<O: RoundTrip> Handover<O> {
    fn handed_over(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let is_for_all_of_it = *request.method() == Method::GET
            && request.body().is_empty()
            && !request.headers().keys().any(|name| NOT_PLAIN.contains(name));
        if !is_for_all_of_it || !self.client.known_pool().former().are_any() {
            return None;
        }
        let target = CanonicalUrl::parse(&request.uri().to_string()).ok()?;
        let former = self.client.known_pool().former_owner(&target, &self.self_url, Instant::now())?;
        let mut asking = Request::new(Body::empty());
        asking.headers_mut().clone_from(request.headers());
        asking.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
        let left = Deadline::of(request.extensions()).and_then(|deadline| deadline.remaining(Instant::now()));
        let patience = left.map_or(PATIENCE, |left| left.min(PATIENCE));
        asking.extensions_mut().insert(Deadline::within(patience).for_head());
        match self.client.ask_former(&former, &target, asking) {
            Ok(response) => (Outcome::of(response.headers()) == Some(Outcome::Hit)).then_some(response),
            Err(error) => {
                debug!("{} {} not handed over by {former}", error.kind(), redacted(target.as_str()));
                if !error.is_told_by_peer() && patience == PATIENCE {
                    self.client.known_pool().former().is_gone(&former);
                }
                None
            }
        }
    }
}

impl<O: RoundTrip> RoundTrip for Handover<O> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        if let Some(response) = self.handed_over(&request) {
            return Ok(response);
        }
        let changed = (!request.method().is_safe()).then(|| request.uri().clone());
        let answer = self.origin.round_trip(request);
        if let Some(url) = changed
            && self.client.known_pool().former().are_any()
        {
            self.client.known_pool().former().purge(&all_of_its_origin(&url.to_string()));
        }
        answer
    }
}

/// What an unsafe request to this URL may make doubtful (RFC 9111 section 4.4), which former owners have as it was:
/// nothing of another origin.
fn all_of_its_origin(url: &str) -> Purge {
    let origin = CanonicalUrl::parse(url).map(|target| target.origin()).ok();
    origin.and_then(|origin| Purge::prefix(origin.as_str()).ok()).unwrap_or_else(Purge::all)
}
