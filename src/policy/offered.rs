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
mod tests;
