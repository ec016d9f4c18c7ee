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
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    const EARLY: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_conditions_of_the_client_select_304_or_200() {
        use Condition::{ForOrigin, NotModified, Send};
        let both = headers(&[("etag", "W/\"a\""), ("last-modified", MODIFIED)]);
        let dated = headers(&[("date", MODIFIED)]);
        for (stored, request, expected) in [
            (&both, &[][..], Send),
            (&both, &[("if-none-match", "\"a\"")], NotModified),
            (&both, &[("if-none-match", "\"b\", W/\"a\"")], NotModified),
            (&both, &[("if-none-match", "*")], NotModified),
            (&both, &[("if-none-match", "\"b\"")], Send),
            (&both, &[("if-none-match", "\"b\""), ("if-modified-since", LATE)], Send),
            (&both, &[("if-modified-since", MODIFIED)], NotModified),
            (&both, &[("if-modified-since", LATE)], NotModified),
            (&both, &[("if-modified-since", EARLY)], Send),
            (&both, &[("if-modified-since", "nonsense")], Send),
            (&dated, &[("if-modified-since", MODIFIED)], NotModified),
            (&dated, &[("if-modified-since", EARLY)], Send),
            (&both, &[("if-match", "\"a\"")], ForOrigin),
            (&both, &[("if-unmodified-since", LATE)], ForOrigin),
        ] {
            assert_eq!(condition(&headers(request), stored, UNIX_EPOCH), expected, "{request:?}");
        }
    }

    #[test]
    fn a_range_applies_only_to_the_version_that_the_client_has() {
        let strong = headers(&[("etag", "\"a\""), ("last-modified", MODIFIED), ("date", LATE)]);
        let in_that_second = headers(&[("last-modified", MODIFIED), ("date", MODIFIED)]);
        let weak = headers(&[("etag", "W/\"a\"")]);
        for (stored, request, applies) in [
            (&strong, &[][..], true),
            (&strong, &[("if-range", "\"a\"")], true),
            (&strong, &[("if-range", "\"b\"")], false),
            (&strong, &[("if-range", MODIFIED)], true),
            (&strong, &[("if-range", LATE)], false),
            (&in_that_second, &[("if-range", MODIFIED)], false),
            (&weak, &[("if-range", "W/\"a\"")], false),
            (&weak, &[("if-range", "\"a\"")], false),
        ] {
            assert_eq!(range_applies(&headers(request), stored), applies, "{request:?}");
        }
    }
}
