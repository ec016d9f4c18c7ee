//! Evaluates the conditions of a client's request against a stored response (RFC 9111 section 4.3.2, RFC 9110
//! section 13).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{
    DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};

use crate::message::header::date;
use crate::message::header::entity_tag::{self, EntityTag};

/// The result of evaluating the conditions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The client already has the stored response: answer 304.
    NotModified,
    /// The request has no condition, or its condition requires the response: send it.
    Send,
    /// The request has `If-Match` or `If-Unmodified-Since`, which only the origin can evaluate.
    ForOrigin,
}

/// Evaluates the conditions of `request` against the fields of a stored 200 that was received at
/// `response_time`. `If-None-Match` takes precedence over `If-Modified-Since`.
pub(crate) fn condition(request: &HeaderMap, stored: &HeaderMap, response_time: SystemTime) -> Condition {
    if request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE) {
        return Condition::ForOrigin;
    }
    let not_modified = if request.contains_key(IF_NONE_MATCH) {
        let tag = stored.get(ETAG).and_then(|value| EntityTag::parse(value.as_bytes()));
        entity_tag::any_matches_weakly(request, &IF_NONE_MATCH, tag)
    } else if let Some(since) = date::of(request, &IF_MODIFIED_SINCE) {
        last_modified(stored, response_time) <= since
    } else {
        false
    };
    if not_modified { Condition::NotModified } else { Condition::Send }
}

/// Returns whether the `Range` of a request applies to a stored response: the request has no `If-Range`, or
/// `If-Range` names exactly the stored response (RFC 9110 section 13.1.5). Otherwise the whole response is sent.
pub(crate) fn range_applies(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(field) = request.get(IF_RANGE) else { return true };
    if let Some(wanted) = date::parse(field.as_bytes()) {
        let Some(modified) = date::of(stored, &LAST_MODIFIED) else { return false };
        // RFC 9110 section 8.8.2.2: a date is a strong validator only if the response was generated at least a second
        // later. Otherwise two versions from the same second could be mixed.
        let is_strong = date::of(stored, &DATE).is_some_and(|made| made >= modified + Duration::from_secs(1));
        return modified == wanted && is_strong;
    }
    let wanted = EntityTag::parse(field.as_bytes());
    let tag = stored.get(ETAG).and_then(|value| EntityTag::parse(value.as_bytes()));
    wanted.zip(tag).is_some_and(|(wanted, tag)| wanted.matches_strongly(tag))
}

fn last_modified(stored: &HeaderMap, response_time: SystemTime) -> SystemTime {
    date::of(stored, &LAST_MODIFIED).or_else(|| date::of(stored, &DATE)).unwrap_or(response_time)
}

#[cfg(test)]
mod tests;
