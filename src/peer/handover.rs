//! What a new owner asks of the former one.

use std::time::{Duration, Instant};

use http::header::{CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderValue, Method, Request, Response};
use log::debug;

use crate::body::Body;
use crate::client::Client;
use crate::deadline::Deadline;
use crate::error::{Result, redacted};
use crate::peer_url::PeerUrl;
use crate::round_trip::RoundTrip;
use crate::stats::Outcome;
use crate::target::Target;

/// How long a former owner has for the head of its answer. It has it in memory, or it has not.
const PATIENCE: Duration = Duration::from_millis(200);

/// The way to the origin by the former owner, for a while after the owners have changed: what that has stored need
/// not be fetched again. It is asked once, in little time, for what it has and nothing else; one that fails is not
/// asked again.
pub(super) struct Handover<O> {
    pub(super) client: Client,
    pub(super) self_url: PeerUrl,
    pub(super) origin: O,
}

impl<O: RoundTrip> Handover<O> {
    fn handed_over(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let is_for_all_of_it = *request.method() == Method::GET
            && request.body().is_empty()
            && ![RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE]
                .iter()
                .any(|name| request.headers().contains_key(name));
        if !is_for_all_of_it || !self.client.has_former_owners() {
            return None;
        }
        let target = Target::parse(&request.uri().to_string()).ok()?;
        let former = self.client.former_owner(&target, Instant::now())?;
        if former == self.self_url {
            return None;
        }
        let mut asking = Request::new(Body::empty());
        asking.headers_mut().clone_from(request.headers());
        asking.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
        asking.extensions_mut().insert(Deadline::within(PATIENCE).for_head());
        match self.client.ask_former(&former, &target, asking) {
            Ok(response) => {
                let is_stored = Outcome::of(response.headers()).is_some_and(Outcome::is_from_store);
                is_stored.then_some(response)
            }
            Err(error) => {
                debug!("{} {} not handed over by {former}", error.kind(), redacted(target.as_str()));
                self.client.forget_former(&former);
                None
            }
        }
    }
}

impl<O: RoundTrip> RoundTrip for Handover<O> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        match self.handed_over(&request) {
            Some(response) => Ok(response),
            None => self.origin.round_trip(request),
        }
    }
}
