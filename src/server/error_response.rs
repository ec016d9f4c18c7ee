//! Responses that the server itself generates.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::pool::protocol;

/// Builds a plain-text response. It is marked as the server's own, so that a client of the pool does not take
/// it for the origin's response.
pub(super) fn text(status: StatusCode, line: &'static str) -> Response<Body> {
    let kind = match status {
        StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Unavailable,
        StatusCode::BAD_GATEWAY => ErrorKind::IncompleteBody,
        status if status.is_server_error() => ErrorKind::Io,
        _ => ErrorKind::BadRequest,
    };
    let mut response = Response::new(Body::from(line));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    protocol::mark_failure(headers, kind);
    protocol::mark_peer(headers);
    response
}

/// Builds a 503 with `Retry-After: 1`.
pub(super) fn unavailable(why: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Builds the 502 (Bad Gateway) for a response whose body failed before any byte of it was sent.
pub(super) fn bad_gateway(error: &Error) -> Response<Body> {
    log::warn!("cannot read a response body: {error:#}; the server sends 502");
    let mut response = text(StatusCode::BAD_GATEWAY, "the response is incomplete");
    // Without this mark a client of the pool would take the response for the origin's.
    protocol::mark_failure(response.headers_mut(), error.kind());
    response
}
