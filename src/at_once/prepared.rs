//! A response as a thread can send it that never waits.

use std::io;

use http::{Method, Response, StatusCode};

use crate::body::{Body, Driver};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::protocol::{self, WantsDigest};

/// A body of known length up to this is read before its response is sent, so that both go out together, and
/// one that fails is still an honest 502. In bytes.
const COLLECTED: u64 = 64 << 10;

/// Whether a response has no content by its status or its request (RFC 9110 section 6.4.1).
pub(crate) fn is_bodiless(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
        || (*method == Method::CONNECT && status.is_success())
}

/// The response with a body that can be read without waiting, and the work of moving that body on.
///
/// # Errors
///
/// When a short body does not come whole: nothing of the response has been sent then.
pub(crate) fn prepared(
    response: Response<Body>,
    method: &Method,
) -> Result<(Response<Body>, Option<Driver>)> {
    let (mut parts, body) = response.into_parts();
    let wants_digest = parts.extensions.remove::<WantsDigest>().is_some();
    if body.as_bytes().is_some() {
        return Ok((Response::from_parts(parts, body), None));
    }
    if is_bodiless(parts.status, method) {
        // Its length may still be told.
        let length = body.length();
        drop(body);
        return Ok((Response::from_parts(parts, Body::from_reader(io::empty(), length)), None));
    }
    if body.length().is_some_and(|length| length <= COLLECTED) {
        let length = body.length();
        let bytes = body.into_bytes_limited(COLLECTED)?;
        if length != Some(bytes.len() as u64) {
            return Err(Error::from(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        if wants_digest && !bytes.is_empty() {
            protocol::announce_digest(&mut parts.headers, Digest::of(&bytes));
        }
        return Ok((Response::from_parts(parts, Body::from(bytes)), None));
    }
    let (stream, length) = match body.into_growing() {
        Ok(growing) => growing,
        Err(body) => match Fill::pass(body).into_body().into_growing() {
            Ok(growing) => growing,
            Err(body) => return Ok((Response::from_parts(parts, body), None)),
        },
    };
    let driver = stream.driver();
    Ok((Response::from_parts(parts, Body::from_growing(stream, length)), driver))
}
