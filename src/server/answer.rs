//! What a front says itself.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::pool::protocol;

/// An answer of the front's own: marked as such, or a client of the pool would take it for the origin's.
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

/// Nobody can answer now; later somebody may.
pub(super) fn unavailable(why: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What is said where a response cannot be read, as long as nothing of it has been sent.
pub(super) fn broken(error: &Error) -> Response<Body> {
    log::warn!("a response could not be read: {error}");
    let mut response = text(StatusCode::BAD_GATEWAY, "the response broke off");
    // Without it a client would take this for the origin's own answer.
    protocol::mark_failure(response.headers_mut(), error.kind());
    response
}
