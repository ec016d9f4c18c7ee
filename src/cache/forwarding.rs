//! Requests to the origin and responses from it.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, DATE, ETAG, IF_RANGE, RANGE, VIA};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};

use super::incoming::Incoming;
use super::lookup::Plan;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::digest::CONTENT_DIGEST;
use crate::message::header::token::is_token_byte;
use crate::message::header::{date, hop_by_hop};
use crate::message::stats::{CACHE_STATUS, X_FROM_CACHE};
use crate::policy::{ExchangeTimes, Part, Rules, response_directives, validators};
use crate::pool::protocol::{self, FetchedDirectly};
use crate::store::StoredResponse;

/// A request to the origin, and whether a 304 to it confirms a stored response.
pub(crate) struct Outgoing {
    pub(crate) request: Request<Body>,
    pub(crate) has_our_validators: bool,
}

/// Builds the request for a plan, with validators of the stored responses if there are any.
pub(crate) fn outgoing(
    incoming: &Incoming,
    plan: &Plan,
    upstream: Upstream,
    deadline: Option<Deadline>,
) -> Outgoing {
    let mut headers = incoming.headers.clone();
    if let Some(via) = &incoming.via {
        headers.append(VIA, via.clone());
    }
    // A HEAD has only the client's own condition. Its response freshens a stored response through its fields.
    let has_our_validators = !incoming.is_head() && {
        let (entity_tags, last_modified) = (plan.entity_tags(), plan.last_modified());
        (!entity_tags.is_empty() || last_modified.is_some())
            && validators(&mut headers, &entity_tags, last_modified)
    };
    if let Some(beginning) = &plan.beginning {
        ask_for_the_rest(&mut headers, beginning);
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = incoming.method.clone();
    *request.uri_mut() = incoming.target.uri();
    *request.headers_mut() = headers;
    if let Some(on_interim) = &incoming.on_interim {
        request.extensions_mut().insert(on_interim.clone());
    }
    if let Some(deadline) = deadline {
        // Other requests may share the body, so the deadline applies to the head only.
        let deadline = if upstream == Upstream::Owner {
            deadline.only_for_head_with_soft()
        } else {
            deadline.for_head()
        };
        request.extensions_mut().insert(deadline);
    }
    Outgoing { request, has_our_validators }
}

/// Adds the fields that request the missing rest of a stored beginning, on condition that the bytes are unchanged.
fn ask_for_the_rest(request: &mut HeaderMap, stored: &StoredResponse) {
    let Some(part) = Part::of(stored.status(), &stored.headers()) else { return };
    let Some(tag) = stored.field(&ETAG).and_then(|tag| HeaderValue::from_bytes(tag).ok()) else { return };
    let range = HeaderValue::try_from(format!("bytes={}-", part.end));
    request.insert(RANGE, range.expect("digits are visible ASCII"));
    request.insert(IF_RANGE, tag);
}

/// The kind of server that answers a forwarded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// The origin, or a stand-in for it: its `Cache-Status` describes caches behind this one.
    Origin,
    /// The owner of the URL in the pool: its `Cache-Status` belongs to the response, also when that is reused.
    Owner,
}

/// A response of the origin, with end-to-end fields only.
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) times: ExchangeTimes,
    /// The stored part that the body begins with.
    pub(crate) continues: Option<Arc<StoredResponse>>,
}

impl Received {
    pub(crate) fn new(
        response: Response<Body>,
        times: ExchangeTimes,
        via: Option<&HeaderValue>,
        upstream: Upstream,
    ) -> Self {
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        hop_by_hop::remove(&mut headers);
        // An origin cannot set the field of this cache, nor report an error as a peer.
        if upstream == Upstream::Origin {
            headers.remove(&X_FROM_CACHE);
        } else if parts.extensions.get::<FetchedDirectly>().is_some() {
            // The client fetched directly from the origin, so no owner wrote this field.
            headers.remove(&CACHE_STATUS);
        }
        protocol::remove_marks(&mut headers);
        // RFC 9110 section 6.6.1: a recipient with a clock records when a response without a Date arrived. It may do
        // so too if the Date is invalid.
        if date::of(&headers, &DATE).is_none() {
            headers.insert(DATE, date::value(times.response.wall()));
        }
        if let Some(via) = received_over(parts.version, via) {
            headers.append(VIA, via);
        }
        let (status, mut body) = (parts.status, body);
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
            // RFC 9110 sections 15.3.5 and 15.3.6: content of these responses is not passed on.
            headers.remove(CONTENT_LENGTH);
            headers.remove(&CONTENT_DIGEST);
            body = Body::empty();
        }
        Self { status, headers, body, times, continues: None }
    }

    /// Returns the fields to store. Fields of this transfer only are left out, as are fields that a qualified
    /// directive excludes (RFC 9111 section 3.1). `Age` is removed later, after it has been counted.
    pub(crate) fn fields_to_store(&self, rules: &Rules, upstream: Upstream) -> HeaderMap {
        let mut headers = self.headers.clone();
        remove_unstored(&mut headers, rules);
        if upstream == Upstream::Origin {
            headers.remove(&CACHE_STATUS);
        }
        headers.remove(CONTENT_LENGTH);
        headers
    }
}

/// Removes the fields that the directives of the response exclude from storing.
pub(crate) fn remove_unstored(headers: &mut HeaderMap, rules: &Rules) {
    for name in response_directives(headers, rules).unstored_fields(rules) {
        headers.remove(name);
    }
}

/// Returns the `Via` member for a message that was received with this HTTP version (RFC 9110 section 7.6.3).
pub(crate) fn received_over(version: Version, via: Option<&HeaderValue>) -> Option<HeaderValue> {
    let via = via?;
    if version != Version::HTTP_10 {
        return Some(via.clone());
    }
    let mut bytes = via.as_bytes().to_vec();
    if let Some(minor) = bytes.get_mut(2) {
        *minor = b'0';
    }
    Some(HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| via.clone()))
}

/// Returns the `Via` member of a cache with this pseudonym; `None` if the pseudonym is not a token.
pub(crate) fn via(pseudonym: &str) -> Option<HeaderValue> {
    // A pseudonym is a token. The colon allows a host and port in its place.
    let is_received_by =
        !pseudonym.is_empty() && pseudonym.bytes().all(|byte| is_token_byte(byte) || byte == b':');
    is_received_by.then(|| HeaderValue::try_from(format!("1.1 {pseudonym}")).ok()).flatten()
}
