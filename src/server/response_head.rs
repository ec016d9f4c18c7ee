//! Encodes response heads and chooses the framing of the body (RFC 9112 sections 4 and 6). Pure: no socket,
//! and the time is an argument.

use std::borrow::Cow;
use std::time::SystemTime;

use http::header::{self, HeaderMap};
use http::{Method, StatusCode, Version, response};

use crate::cache::fill::is_bodiless;
use crate::message::header::hop_by_hop;

/// The properties of a request that determine the framing of its response.
#[derive(Clone, Debug)]
pub(super) struct RequestSummary {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Whether the connection stays open for another request.
    pub(super) persistent: bool,
}

/// The framing of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body follows the head, even if the response has one.
    None,
    /// The body follows as this number of bytes.
    Length(u64),
    /// The body follows in chunks, ended by the last chunk.
    Chunked,
    /// The end of the connection ends the body; the head has `Connection: close`.
    UntilClose,
}

/// An encoded head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    /// The bytes from the status line to the empty line, with spare capacity for the start of the body.
    pub(super) bytes: Vec<u8>,
    pub(super) framing: Framing,
}

/// Encodes the head of a response whose body has `length` bytes, if the length is known.
///
/// Replaces the handler's hop-by-hop fields and its `Content-Length` by those of the framing, and adds `Date`
/// if it is missing.
pub(super) fn encode(
    parts: response::Parts,
    summary: &RequestSummary,
    length: Option<u64>,
    now: SystemTime,
) -> ResponseHead {
    let response::Parts { status, mut headers, .. } = parts;
    // A proxy's challenge is a hop-by-hop field for this client, so it must be kept.
    let challenge = headers.get(header::PROXY_AUTHENTICATE).cloned();
    hop_by_hop::remove(&mut headers);
    if let Some(challenge) = challenge.filter(|_| status == StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
        headers.insert(header::PROXY_AUTHENTICATE, challenge);
    }
    let framing = framing_of(status, summary, length);
    let persistent = summary.persistent && framing != Framing::UntilClose;
    let announced = announced_length(status, summary, &headers, framing, length);
    headers.remove(header::CONTENT_LENGTH);

    let mut bytes = Vec::with_capacity(256 + 48 * headers.len());
    bytes.extend_from_slice(&status_line(status));
    for (name, value) in &headers {
        field(&mut bytes, name.as_str(), value.as_bytes());
    }
    if !headers.contains_key(header::DATE) && !status.is_informational() {
        field(&mut bytes, "date", httpdate::fmt_http_date(now).as_bytes());
    }
    if let Some(announced) = announced {
        field(&mut bytes, "content-length", announced.to_string().as_bytes());
    }
    if framing == Framing::Chunked {
        field(&mut bytes, "transfer-encoding", b"chunked");
    }
    if !persistent {
        field(&mut bytes, "connection", b"close");
    } else if summary.version == Version::HTTP_10 {
        field(&mut bytes, "connection", b"keep-alive");
    }
    bytes.extend_from_slice(b"\r\n");
    ResponseHead { bytes, framing }
}

/// Encodes an interim response with the given fields only (RFC 9110 section 15.2).
pub(super) fn encode_interim(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut bytes = status_line(status).into_owned();
    for (name, value) in headers {
        field(&mut bytes, name.as_str(), value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Returns the status line, including its line end.
pub(super) fn status_line(status: StatusCode) -> Cow<'static, [u8]> {
    if status == StatusCode::OK {
        return Cow::Borrowed(b"HTTP/1.1 200 OK\r\n");
    }
    // The space is required even without a reason phrase (RFC 9112 section 4).
    let phrase = status.canonical_reason().unwrap_or_default();
    Cow::Owned(format!("HTTP/1.1 {} {phrase}\r\n", status.as_str()).into_bytes())
}

fn field(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

fn framing_of(status: StatusCode, summary: &RequestSummary, length: Option<u64>) -> Framing {
    if is_bodiless(status, &summary.method) {
        return Framing::None;
    }
    match length {
        Some(length) => Framing::Length(length),
        None if summary.version == Version::HTTP_11 => Framing::Chunked,
        None => Framing::UntilClose,
    }
}

/// Returns the `Content-Length` to send, if any (RFC 9110 section 8.6).
fn announced_length(
    status: StatusCode,
    summary: &RequestSummary,
    headers: &HeaderMap,
    framing: Framing,
    length: Option<u64>,
) -> Option<u64> {
    if let Framing::Length(length) = framing {
        return Some(length);
    }
    if framing != Framing::None || status.is_informational() || status == StatusCode::NO_CONTENT {
        return None;
    }
    if status == StatusCode::RESET_CONTENT {
        return Some(0);
    }
    let given = || {
        let value = headers.get(header::CONTENT_LENGTH)?.as_bytes();
        // `parse` also accepts a sign.
        let digits = value.iter().all(u8::is_ascii_digit).then_some(value)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    if status == StatusCode::NOT_MODIFIED {
        return given();
    }
    if summary.method == Method::HEAD {
        // An empty body does not tell the length of the response to GET.
        return given().or(length.filter(|length| *length > 0));
    }
    None
}

#[cfg(test)]
mod tests;
