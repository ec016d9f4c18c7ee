//! What is sent to the origin, and what came back.

use http::header::{CONTENT_LENGTH, DATE, VIA};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};

use super::incoming::Incoming;
use super::lookup::Plan;
use super::parts;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::digest::CONTENT_DIGEST;
use crate::message::header::token::is_token_byte;
use crate::message::header::{date, hop_by_hop};
use crate::message::stats::{CACHE_STATUS, X_FROM_CACHE};
use crate::policy::{Rules, Times, response_directives, validators};
use crate::pool::protocol::{self, FetchedDirectly};

/// A request to the origin, and whether a 304 to it confirms what is stored.
pub(crate) struct Outgoing {
    pub(crate) request: Request<Body>,
    pub(crate) asks_for_us: bool,
}

/// The request that the plan comes to: ours to send, with our validators where there are any.
pub(crate) fn outgoing(incoming: &Incoming, plan: &Plan, by: By, deadline: Option<Deadline>) -> Outgoing {
    let mut headers = incoming.headers.clone();
    if let Some(via) = &incoming.via {
        headers.append(VIA, via.clone());
    }
    // A HEAD asks on the client's behalf alone: its answer freshens what is stored by its fields.
    let asks_for_us = !incoming.is_head() && {
        let (entity_tags, last_modified) = (plan.entity_tags(), plan.last_modified());
        (!entity_tags.is_empty() || last_modified.is_some())
            && validators(&mut headers, &entity_tags, last_modified)
    };
    if let Some(beginning) = &plan.beginning {
        parts::ask_for_the_rest(&mut headers, beginning);
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = incoming.method.clone();
    *request.uri_mut() = incoming.target.uri();
    *request.headers_mut() = headers;
    if let Some(on_interim) = &incoming.on_interim {
        request.extensions_mut().insert(on_interim.clone());
    }
    if let Some(deadline) = deadline {
        // Others may read along, for whom it is none.
        let deadline = if by == By::Owner { deadline.softly_for_head() } else { deadline.for_head() };
        request.extensions_mut().insert(deadline);
    }
    Outgoing { request, asks_for_us }
}

/// Who answers what is not answered from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The origin, or whoever stands for it: what it says of caches is true of others.
    Origin,
    /// A cache of the same pool: what it says is true of the answer, also when that is used again.
    Owner,
}

/// A response as it came, its fields made end-to-end.
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) times: Times,
}

impl Received {
    pub(crate) fn new(response: Response<Body>, times: Times, via: Option<&HeaderValue>, by: By) -> Self {
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        hop_by_hop::remove(&mut headers);
        // Whatever says so, it was not this cache; nor can an origin fail in a peer's name.
        if by == By::Origin {
            headers.remove(&X_FROM_CACHE);
        } else if parts.extensions.get::<FetchedDirectly>().is_some() {
            // It is no owner that says so.
            headers.remove(&CACHE_STATUS);
        }
        protocol::remove_marks(&mut headers);
        // RFC 9110 section 6.6.1: a recipient with a clock records when a response without Date came.
        // It may do so with one whose Date is none.
        if date::of(&headers, &DATE).is_none() {
            headers.insert(DATE, date::value(times.response.wall()));
        }
        if let Some(via) = received_over(parts.version, via) {
            headers.append(VIA, via);
        }
        let (status, mut body) = (parts.status, body);
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
            // RFC 9110 sections 15.3.5 and 15.3.6: whatever comes with it is not passed on.
            headers.remove(CONTENT_LENGTH);
            headers.remove(&CONTENT_DIGEST);
            body = Body::empty();
        }
        Self { status, headers, body, times }
    }

    /// The fields to store, without those that are true of this transfer alone, and without those that a qualified
    /// directive keeps out (RFC 9111 section 3.1). `Age` goes when it has been counted.
    pub(crate) fn fields_to_store(&self, rules: &Rules, by: By) -> HeaderMap {
        let mut headers = self.headers.clone();
        remove_unstored(&mut headers, rules);
        if by == By::Origin {
            headers.remove(&CACHE_STATUS);
        }
        headers.remove(CONTENT_LENGTH);
        headers
    }
}

/// Removes the fields that the response itself says are not to be stored.
pub(crate) fn remove_unstored(headers: &mut HeaderMap, rules: &Rules) {
    for name in response_directives(headers, rules).unstored_fields(rules) {
        headers.remove(name);
    }
}

/// Our `Via` of a message that was received over this version (RFC 9110 section 7.6.3).
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

/// The field value of a cache of this pseudonym.
pub(crate) fn via(pseudonym: &str) -> Option<HeaderValue> {
    // A pseudonym is a token; the colon is for the port of a host that stands in its place.
    let is_received_by =
        !pseudonym.is_empty() && pseudonym.bytes().all(|byte| is_token_byte(byte) || byte == b':');
    is_received_by.then(|| HeaderValue::try_from(format!("1.1 {pseudonym}")).ok()).flatten()
}
