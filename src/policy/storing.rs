//! Decides whether a response may be stored (RFC 9111 section 3).

use http::header::{AUTHORIZATION, CONTENT_LOCATION, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::heuristic;
use super::rules::Rules;
use super::targeted::response_directives;
use super::variant::varies_by_anything;
use crate::message::header::cache_control::{RequestDirectives, ResponseDirectives};
use crate::message::url::CanonicalUrl;

/// The reason why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NotStored {
    /// The method is not GET (section 3: "the request method is understood by the cache").
    Method,
    /// The request has `no-store` (section 5.2.1.5).
    RequestNoStore,
    /// The response has `no-store` (section 5.2.2.5).
    NoStore,
    /// The response has `private`, in shared mode (section 5.2.2.7).
    Private,
    /// The request had `Authorization`, and no directive of the response allows sharing (section 3.5).
    Authorization,
    /// The response sets a cookie, in shared mode (section 7.3).
    SetCookie,
    /// `Vary` is `*` or not a list of field names: no request would match (section 4.1).
    VaryAny,
    /// The response is a part of a body or the result of a condition, not a whole response (sections 3.3 and 3.4).
    NotWhole,
    /// The status depends on the client and its behaviour; no cache stores it (RFC 6585).
    AboutRequest,
    /// The response has `must-understand`, and this cache does not understand its status (section 5.2.2.3).
    NotUnderstood,
    /// The response has no explicit lifetime, and its status allows no heuristic (section 4.2.2).
    NoLifetime,
    /// The body ends when the connection closes, so the cache cannot prove that it is complete.
    EndNotProven,
    /// The body is larger than the store accepts.
    TooLarge,
    /// The response is a stream of events, which does not end.
    EventStream,
}

impl NotStored {
    /// Returns whether the response itself is the reason, so that the next response will probably not be stored either.
    pub(crate) const fn is_of_response(self) -> bool {
        match self {
            Self::NoStore
            | Self::Private
            | Self::Authorization
            | Self::SetCookie
            | Self::VaryAny
            | Self::NotUnderstood
            | Self::NoLifetime
            | Self::EndNotProven
            | Self::TooLarge
            | Self::EventStream => true,
            Self::Method | Self::RequestNoStore | Self::NotWhole | Self::AboutRequest => false,
        }
    }

    /// Returns whether the response replaces what is stored for its URL, although it is not stored itself. A response that is not
    /// stored because of its request says nothing about a stored one: otherwise every client could remove responses.
    pub(crate) const fn is_about_stored(self) -> bool {
        !matches!(
            self,
            Self::Method | Self::RequestNoStore | Self::Authorization | Self::NotWhole | Self::AboutRequest
        )
    }

    /// Returns the RFC section, or the limit that applied.
    pub(crate) const fn clause(self) -> &'static str {
        match self {
            Self::Method => "RFC 9111 section 3",
            Self::RequestNoStore => "RFC 9111 section 5.2.1.5",
            Self::NoStore => "RFC 9111 section 5.2.2.5",
            Self::Private => "RFC 9111 section 5.2.2.7",
            Self::Authorization => "RFC 9111 section 3.5",
            Self::SetCookie => "RFC 9111 section 7.3, store_set_cookie",
            Self::VaryAny => "RFC 9111 section 4.1",
            Self::NotWhole => "RFC 9111 section 3.3",
            Self::AboutRequest => "RFC 6585",
            Self::NotUnderstood => "RFC 9111 section 5.2.2.3",
            Self::NoLifetime => "RFC 9111 section 4.2.2",
            Self::EndNotProven => "RFC 9112 section 8",
            Self::TooLarge => "the limit max_body",
            Self::EventStream => "an event stream has no end",
        }
    }

    /// Returns the name for `Cache-Status` and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryAny => "vary-any",
            Self::NotWhole => "not-whole",
            Self::AboutRequest => "about-request",
            Self::NotUnderstood => "not-understood",
            Self::NoLifetime => "no-lifetime",
            Self::EndNotProven => "end-not-proven",
            Self::TooLarge => "too-large",
            Self::EventStream => "event-stream",
        }
    }
}

/// The parts of a request that decide whether its response may be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) directives: &'a RequestDirectives,
}

/// Returns whether the response may be stored, or the reason why not.
pub(crate) fn may_store(
    request: Request<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    rules: &Rules,
) -> Result<(), NotStored> {
    if *request.method != Method::GET {
        return Err(NotStored::Method);
    }
    if request.directives.no_store {
        return Err(NotStored::RequestNoStore);
    }
    // The response to a range or a conditional request, satisfiable or not, does not answer requests for the whole
    // representation.
    if matches!(status.as_u16(), 100..200 | 206 | 226 | 304 | 412 | 416 | 417) {
        return Err(NotStored::NotWhole);
    }
    // RFC 6585 sections 3 to 6 forbid storing these, regardless of directives.
    if matches!(status.as_u16(), 428 | 429 | 431 | 511) {
        return Err(NotStored::AboutRequest);
    }
    if directives.must_understand && !is_understood(status) {
        return Err(NotStored::NotUnderstood);
    }
    // Section 5.2.2.3: must-understand overrides no-store if the status is understood.
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if varies_by_anything(headers) {
        return Err(NotStored::VaryAny);
    }
    if rules.is_shared() {
        if directives.private {
            return Err(NotStored::Private);
        }
        let allows_sharing = directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
        if request.headers.contains_key(AUTHORIZATION) && !allows_sharing {
            return Err(NotStored::Authorization);
        }
        let is_stored =
            |name: &HeaderName| !directives.unstored_fields(rules).any(|unstored| unstored == name);
        if headers.contains_key(SET_COOKIE) && is_stored(&SET_COOKIE) && !rules.store_set_cookie {
            return Err(NotStored::SetCookie);
        }
    }
    let has_lifetime = directives.public
        || directives.max_age.is_some()
        || has_expires(headers, directives)
        || if rules.is_shared() { directives.s_maxage.is_some() } else { directives.private }
        || heuristic::is_allowed(status, directives);
    if has_lifetime { Ok(()) } else { Err(NotStored::NoLifetime) }
}

/// Returns whether the response to a POST also answers a GET for the same URL: its `Content-Location` is that URL, and
/// it has an explicit lifetime (RFC 9110 section 9.3.3).
pub(crate) fn also_answers_get(
    method: &Method,
    target: &CanonicalUrl,
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
) -> bool {
    let location = headers.get(CONTENT_LOCATION).and_then(|location| target.join_field(location.as_bytes()));
    *method == Method::POST
        && status == StatusCode::OK
        && has_explicit_lifetime(headers, rules)
        && location.as_ref() == Some(target)
}

/// Returns whether the response has an explicit freshness lifetime.
pub(crate) fn has_explicit_lifetime(headers: &HeaderMap, rules: &Rules) -> bool {
    let directives = response_directives(headers, rules);
    directives.max_age.is_some()
        || (rules.is_shared() && directives.s_maxage.is_some())
        || has_expires(headers, &directives)
}

/// Returns whether `Expires` sets the lifetime, even if its date has passed.
fn has_expires(headers: &HeaderMap, directives: &ResponseDirectives) -> bool {
    !directives.are_targeted && headers.contains_key(EXPIRES)
}

/// Returns whether this cache knows the caching requirements of a final status (RFC 9110 section 15).
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203
            | 204
            | 300
            | 301
            | 302
            | 303
            | 307
            | 308
            | 400
            | 401
            | 403
            | 404
            | 405
            | 410
            | 414
            | 451
            | 500
            | 501
            | 502
            | 503
            | 504
    )
}

#[cfg(test)]
mod tests;
