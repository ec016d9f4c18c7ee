//! Determines where the body of a response ends, and rejects ambiguous framing.

use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Version};

use crate::message::header::list;

/// The delimiter of the body (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The response has no body.
    NoBody,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// Determines the framing of a response. `is_head` is whether the request's method is `HEAD`.
///
/// # Errors
///
/// A message if the framing is invalid or ambiguous.
pub(super) fn determine(
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
    is_head: bool,
) -> Result<Framing, &'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("the response switches protocols, although the request did not ask for that");
    }
    // These responses never have a body, whatever their header fields say (RFC 9112 section 6.3).
    if is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::NoBody);
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // Recipients that disagree about the end of the body allow response smuggling.
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err("the response has both Transfer-Encoding and Content-Length");
        }
        if version < Version::HTTP_11 {
            return Err("the response has Transfer-Encoding in HTTP/1.0");
        }
        let mut codings = list::members_of(headers, &header::TRANSFER_ENCODING);
        let is_chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !is_chunked || codings.next().is_some() {
            return Err("the response has a Transfer-Encoding other than chunked");
        }
        return Ok(Framing::Chunked);
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(Framing::UntilClose);
    }
    match content_length(headers) {
        Some(0) => Ok(Framing::NoBody),
        Some(length) => Ok(Framing::Length(length)),
        None => Err("the response has an invalid Content-Length"),
    }
}

/// Returns the length on which all members of all `Content-Length` lines agree; `None` if one is not a number
/// or two differ.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut members = list::members_of(headers, &header::CONTENT_LENGTH);
    let length = number(members.next()?)?;
    members.all(|member| number(member) == Some(length)).then_some(length)
}

fn number(member: &[u8]) -> Option<u64> {
    let digits = member.trim_ascii();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

/// Merges a repeated `Content-Length` into one (RFC 9110 section 8.6). Removes an invalid one, and one beside
/// `Transfer-Encoding` (RFC 9112 section 6.3). `headers` are those received, before hop-by-hop fields are
/// removed.
pub(super) fn merge_content_length(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return;
    }
    match content_length(headers).filter(|_| !headers.contains_key(header::TRANSFER_ENCODING)) {
        Some(length) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        None => drop(headers.remove(header::CONTENT_LENGTH)),
    }
}

/// Whether the connection closes after the response (RFC 9112 section 9.3).
pub(super) fn closes_connection(version: Version, headers: &HeaderMap) -> bool {
    let has_option = |option: &[u8]| {
        list::members_of(headers, &header::CONNECTION).any(|member| member.eq_ignore_ascii_case(option))
    };
    has_option(b"close") || (version < Version::HTTP_11 && !has_option(b"keep-alive"))
}

#[cfg(test)]
mod tests;
