//! Selects the stored responses whose entity tags a request may offer to the origin although it does not select them.
//!
//! RFC 9111 section 4.1 allows a cache to offer the entity tags of all stored responses. But many origins use one tag for
//! all encodings and languages of a resource. A 304 would then give the client a response that it cannot decode, or one in
//! a language that it does not prefer.

use http::HeaderMap;
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_TYPE,
};

use super::variant::Variant;
use crate::message::header::{list, quality};

/// Returns whether a stored response with these fields suits a request that does not select it, judged by its fields.
pub(crate) fn may_be_offered(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    has_suitable_coding(variant, stored, request)
        && has_suitable_language(variant, stored, request)
        && has_suitable_type(variant, stored, request)
        && variant
            .selected_by(&ACCEPT_CHARSET)
            .is_none_or(|value| value.is_none() && !request.contains_key(ACCEPT_CHARSET))
}

/// Returns whether the content coding suits the request. A coded response suits a request that names each of its codings.
/// A response without a coding suits a request that accepts no coding beyond those that the origin has already declined.
fn has_suitable_coding(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    let asked = || list::members_of(request, &ACCEPT_ENCODING);
    let mut codings = list::members_of(stored, &CONTENT_ENCODING)
        .filter(|coding| !is_same_token(coding, b"identity"))
        .peekable();
    if codings.peek().is_some() {
        return codings.all(|coding| is_accepted(asked(), coding));
    }
    let Some(declined) = variant.selected_by(&ACCEPT_ENCODING) else { return true };
    let mut accepted = asked().filter_map(quality::weighed).filter(|(_, weight)| *weight > 0);
    accepted.all(|(coding, _)| {
        is_same_token(coding, b"identity") || is_accepted(list::members(declined.unwrap_or_default()), coding)
    })
}

/// Returns whether `Accept-Encoding` has a member for this coding whose weight is positive.
fn is_accepted<'a>(members: impl Iterator<Item = &'a [u8]>, coding: &[u8]) -> bool {
    best_match_is_accepted(members, |named| {
        if is_same_token(named, coding)
            || named.strip_prefix(b"x-").is_some_and(|named| is_same_token(named, coding))
        {
            Some(2)
        } else {
            (named == b"*").then_some(1)
        }
    })
}

/// Returns whether the response is in the language that the request prefers.
fn has_suitable_language(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    if !variant.is_by(&ACCEPT_LANGUAGE) || !stored.contains_key(CONTENT_LANGUAGE) {
        return true;
    }
    let wanted = quality::favourite(request, &ACCEPT_LANGUAGE);
    wanted.is_some_and(|wanted| {
        list::members_of(stored, &CONTENT_LANGUAGE).any(|language| is_same_token(language, wanted))
    })
}

/// Returns whether the request accepts the media type of the response.
fn has_suitable_type(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    let Some(content_type) = stored.get(CONTENT_TYPE).filter(|_| variant.is_by(&ACCEPT)) else { return true };
    let content_type = list::split(content_type.as_bytes(), b';').next().unwrap_or_default().trim_ascii();
    let kind = content_type.split(|byte| *byte == b'/').next().unwrap_or_default();
    !request.contains_key(ACCEPT)
        || best_match_is_accepted(list::members_of(request, &ACCEPT), |range| {
            if is_same_token(range, content_type) {
                Some(3)
            } else if range.strip_suffix(b"/*").is_some_and(|range| is_same_token(range, kind)) {
                Some(2)
            } else {
                (range == b"*/*").then_some(1)
            }
        })
}

/// Returns whether the most precisely matching member has a positive weight.
fn best_match_is_accepted<'a>(
    members: impl Iterator<Item = &'a [u8]>,
    precision: impl Fn(&[u8]) -> Option<u8>,
) -> bool {
    members
        .filter_map(quality::weighed)
        .filter_map(|(named, weight)| Some((precision(named)?, weight)))
        .max()
        .is_some_and(|(_, weight)| weight > 0)
}

fn is_same_token(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::policy::CredentialDigest;

    struct Plain;

    impl CredentialDigest for Plain {
        fn digest(&self, _: &[u8]) -> u128 {
            0
        }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    /// The columns: the field that `Vary` names, its value in the first request, a field of the response, the value in the
    /// second request, and whether the tag is offered.
    #[test]
    fn only_tags_of_suitable_responses_are_offered() {
        const CODING: &str = "accept-encoding";
        const LANGUAGE: &str = "accept-language";
        let gzip = ("content-encoding", "gzip");
        let plain = ("x", "y");
        let german = ("content-language", "de");
        let html = ("content-type", "text/html; charset=utf-8");
        for (name, first, response, second, expected) in [
            // A client that names no coding must not get a coded body.
            (CODING, "gzip", gzip, "", false),
            (CODING, "gzip", gzip, "br", false),
            (CODING, "gzip", gzip, "gzip;q=0, br", false),
            (CODING, "gzip", gzip, "br, GZip;q=0.5", true),
            (CODING, "gzip", gzip, "x-gzip", true),
            (CODING, "gzip", gzip, "*", true),
            (CODING, "gzip", gzip, "*, gzip;q=0", false),
            // A client that accepts more codings than the first client must not get the larger, uncoded body.
            (CODING, "", plain, "gzip", false),
            (CODING, "", plain, "*", false),
            (CODING, "", plain, "identity", true),
            (CODING, "", plain, "gzip;q=0", true),
            (CODING, "gzip, br", plain, "gzip", true),
            (CODING, "gzip, br", plain, "", true),
            (CODING, "gzip", plain, "gzip, br", false),
            // The coding did not select the response, so all clients get it.
            ("x-other", "1", plain, "2", true),
            (LANGUAGE, "de", german, "fr", false),
            (LANGUAGE, "de", german, "", false),
            (LANGUAGE, "de", german, "en, de;q=0.5", false),
            (LANGUAGE, "de", german, "DE, en;q=0.5", true),
            (LANGUAGE, "de", plain, "fr", true),
            ("accept", "text/html", html, "application/json", false),
            ("accept", "text/html", html, "text/*;q=0.1", true),
            ("accept", "text/html", html, "*/*, text/html;q=0", false),
            ("accept", "text/html", html, "", true),
            ("accept-charset", "utf-8", html, "latin1", false),
        ] {
            let request = |value: &'static str| {
                let fields = [(name, value)];
                headers(if value.is_empty() { &[] } else { &fields })
            };
            let response = headers(&[("vary", name), response]);
            let variant = Variant::of(&response, &[], &request(first), &Plain);
            let is_offered = may_be_offered(&variant, &response, &request(second));
            assert_eq!(is_offered, expected, "{name}: {first:?} got {response:?}, then {second:?}");
        }
    }
}
