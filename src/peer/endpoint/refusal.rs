//! An answer that the peer makes itself.

use std::fmt;
use std::time::Duration;

use http::header::{ALLOW, PROXY_AUTHENTICATE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::header::number;
use crate::message::stats::CACHE_STATUS;
use crate::pool::protocol::{self, TEXT, answer};

/// The methods that a peer takes: all but CONNECT, which is no request for a resource, and TRACE, which
/// shows the request's fields to whoever sent them.
pub(crate) const ALLOWED: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, PURGE";

/// The method that an explanation is asked for by.
pub(crate) const ALLOWED_FOR_WHY: &str = "GET";

/// The methods by which a peer is asked whether it is there.
pub(crate) const ALLOWED_FOR_HEALTH: &str = "GET, HEAD";

/// The method by which a peer says that it is about to end.
pub(crate) const ALLOWED_FOR_LEAVING: &str = "POST";

/// One line that says why, marked as the peer's own, and stored by nobody.
pub(crate) fn refusal(status: StatusCode, kind: ErrorKind, reason: impl fmt::Display) -> Response<Body> {
    let mut response = answer(TEXT, format!("{reason}\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let status = HeaderValue::try_from(format!("forwardcache; detail={}", kind.name()));
    headers.insert(&CACHE_STATUS, status.expect("the names of kinds are tokens"));
    protocol::mark_failure(headers, kind);
    response
}

/// The answer to a method that the path does not take; these it takes.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response =
        refusal(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::BadRequest, "this method is not taken here");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The answer to whoever is not known (RFC 9110 section 15.5.8).
pub(crate) fn unauthorized() -> Response<Body> {
    let reason = "this peer answers those who show its token in Proxy-Authorization";
    let mut response = refusal(StatusCode::PROXY_AUTHENTICATION_REQUIRED, ErrorKind::Unauthorized, reason);
    let challenge = HeaderValue::from_static("Bearer realm=\"forwardcache\"");
    response.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
    response
}

/// The answer where the origin's cannot be had.
pub(crate) fn failure(error: &Error) -> Response<Body> {
    let status = match error.kind() {
        ErrorKind::BadUrl | ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Loop => StatusCode::LOOP_DETECTED,
        ErrorKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unavailable | ErrorKind::OriginBusy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    let mut response = refusal(status, error.kind(), error.message());
    if let Some(time) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, whole_seconds(time));
    }
    response
}

/// So many seconds that the time is over by then.
fn whole_seconds(time: Duration) -> HeaderValue {
    let begun = u64::from(time.subsec_nanos() > 0);
    number::value(time.as_secs().saturating_add(begun).max(1))
}
