//! Of which stored responses that a request does not select its origin may be asked whether they are what it would send.
//!
//! By RFC 9111 section 4.1 a cache may offer the entity tags of all of them. Many origins have one tag for all codings and
//! languages of a resource, so that a 304 would give the client one that it cannot read, or one that it wants less.

use http::HeaderMap;
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_TYPE,
};

use super::variant::Variant;
use crate::message::header::{list, quality};

/// Whether a stored response with these fields fits a request that does not select it, as far as its fields tell.
pub(crate) fn may_be_offered(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    fits_in_coding(variant, stored, request)
        && fits_in_language(variant, stored, request)
        && fits_in_type(variant, stored, request)
        && variant
            .selected_by(&ACCEPT_CHARSET)
            .is_none_or(|value| value.is_none() && !request.contains_key(ACCEPT_CHARSET))
}

/// A coded response fits a request that names each of its codings. One without a coding fits a request that accepts no
/// coding which the origin has not already declined.
fn fits_in_coding(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    let asked = || list::members_of(request, &ACCEPT_ENCODING);
    let mut codings =
        list::members_of(stored, &CONTENT_ENCODING).filter(|coding| !is(coding, b"identity")).peekable();
    if codings.peek().is_some() {
        return codings.all(|coding| is_accepted(asked(), coding));
    }
    let Some(declined) = variant.selected_by(&ACCEPT_ENCODING) else { return true };
    let mut accepted = asked().filter_map(quality::weighed).filter(|(_, weight)| *weight > 0);
    accepted.all(|(coding, _)| {
        is(coding, b"identity") || is_accepted(list::members(declined.unwrap_or_default()), coding)
    })
}

/// Whether one of the members of `Accept-Encoding` is this coding, with a weight.
fn is_accepted<'a>(members: impl Iterator<Item = &'a [u8]>, coding: &[u8]) -> bool {
    weight_by(members, |named| {
        if is(named, coding) || named.strip_prefix(b"x-").is_some_and(|named| is(named, coding)) {
            Some(2)
        } else {
            (named == b"*").then_some(1)
        }
    })
}

/// A response in a language fits a request that wants that one most.
fn fits_in_language(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    if !variant.is_by(&ACCEPT_LANGUAGE) || !stored.contains_key(CONTENT_LANGUAGE) {
        return true;
    }
    let wanted = quality::favourite(request, &ACCEPT_LANGUAGE);
    wanted.is_some_and(|wanted| {
        list::members_of(stored, &CONTENT_LANGUAGE).any(|language| is(language, wanted))
    })
}

/// A response of a type fits a request that accepts it.
fn fits_in_type(variant: &Variant, stored: &HeaderMap, request: &HeaderMap) -> bool {
    let Some(content_type) = stored.get(CONTENT_TYPE).filter(|_| variant.is_by(&ACCEPT)) else { return true };
    let content_type = list::split(content_type.as_bytes(), b';').next().unwrap_or_default().trim_ascii();
    let kind = content_type.split(|byte| *byte == b'/').next().unwrap_or_default();
    !request.contains_key(ACCEPT)
        || weight_by(list::members_of(request, &ACCEPT), |range| {
            if is(range, content_type) {
                Some(3)
            } else if range.strip_suffix(b"/*").is_some_and(|range| is(range, kind)) {
                Some(2)
            } else {
                (range == b"*/*").then_some(1)
            }
        })
}

/// Whether the member that matches most precisely has a weight.
fn weight_by<'a>(members: impl Iterator<Item = &'a [u8]>, precision: impl Fn(&[u8]) -> Option<u8>) -> bool {
    members
        .filter_map(quality::weighed)
        .filter_map(|(named, weight)| Some((precision(named)?, weight)))
        .max()
        .is_some_and(|(_, weight)| weight > 0)
}

fn is(one: &[u8], other: &[u8]) -> bool {
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

    /// One row a case: what `Vary` names, its value in the first request, a field of the response, its value in the
    /// second request, whether the tag is offered.
    #[test]
    fn only_what_fits_is_offered() {
        const CODING: &str = "accept-encoding";
        const LANGUAGE: &str = "accept-language";
        let gzip = ("content-encoding", "gzip");
        let plain = ("x", "y");
        let german = ("content-language", "de");
        let html = ("content-type", "text/html; charset=utf-8");
        for (name, first, response, second, expected) in [
            // A client that names no coding is not given one.
            (CODING, "gzip", gzip, "", false),
            (CODING, "gzip", gzip, "br", false),
            (CODING, "gzip", gzip, "gzip;q=0, br", false),
            (CODING, "gzip", gzip, "br, GZip;q=0.5", true),
            (CODING, "gzip", gzip, "x-gzip", true),
            (CODING, "gzip", gzip, "*", true),
            (CODING, "gzip", gzip, "*, gzip;q=0", false),
            // One that accepts more than the first one is not given the larger body.
            (CODING, "", plain, "gzip", false),
            (CODING, "", plain, "*", false),
            (CODING, "", plain, "identity", true),
            (CODING, "", plain, "gzip;q=0", true),
            (CODING, "gzip, br", plain, "gzip", true),
            (CODING, "gzip, br", plain, "", true),
            (CODING, "gzip", plain, "gzip, br", false),
            // Where the coding did not select it, it is what everybody gets.
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
