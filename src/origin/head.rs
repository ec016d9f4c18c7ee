//! Parses the head of a response incrementally: limits, interim responses, and the framing of the body.
//!
//! The parser accepts every spelling that has exactly one meaning; see `head_lines`.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use super::framing::{self, Framing};
use super::head_lines;
use crate::base::error::{Cause, Error, ErrorKind, Result};
use crate::message::header::hop_by_hop;

/// The limits on the head of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    /// The largest size in bytes, including the interim responses before the final head. Default: 64 KiB.
    pub(super) bytes: usize,
    /// The largest number of field lines. Default: 256.
    pub(super) fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, fields: 256 }
    }
}

/// The head of a final response, and the framing of its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
}

impl Head {
    /// Returns the head that ureq reads instead. ureq decodes the body and manages the connection, so this
    /// head contains only the framing. Its status is 200, so that ureq neither follows redirects nor applies
    /// exceptions for a status or method.
    pub(super) fn for_ureq(&self) -> Vec<u8> {
        let mut text = String::from("HTTP/1.1 200 OK\r\n");
        match self.framing {
            Framing::NoBody => text.push_str("content-length: 0\r\n"),
            Framing::Length(length) => text.push_str(&format!("content-length: {length}\r\n")),
            Framing::Chunked => text.push_str("transfer-encoding: chunked\r\n"),
            Framing::UntilClose => {}
        }
        if framing::closes_connection(self.version, &self.headers) {
            text.push_str("connection: close\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// The head of an interim response (RFC 9110 section 15.2), without hop-by-hop fields.
#[derive(Debug)]
pub(super) struct Interim {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// Collects the head of a final response and the interim responses before it.
#[derive(Debug)]
pub(super) struct HeadReader {
    limits: HeadLimits,
    is_head: bool,
    bytes: Vec<u8>,
    interim_bytes: usize,
    interim: Vec<Interim>,
}

impl HeadReader {
    /// Creates a reader for one response. `is_head` is whether the request's method is `HEAD`.
    pub(super) fn new(limits: HeadLimits, is_head: bool) -> Self {
        Self { limits, is_head, bytes: Vec::new(), interim_bytes: 0, interim: Vec::new() }
    }

    /// Returns the complete interim responses that were not yet taken.
    pub(super) fn take_interim(&mut self) -> Vec<Interim> {
        std::mem::take(&mut self.interim)
    }

    /// Whether a part of a head has arrived.
    pub(super) fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Parses input. Returns the number of bytes that belong to heads, and the final head once it is
    /// complete.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadResponse`] if the head exceeds the limits, is not valid HTTP, or has ambiguous
    /// framing.
    pub(super) fn push(&mut self, input: &[u8]) -> Result<(usize, Option<Head>)> {
        let mut taken = 0;
        while taken < input.len() {
            let before = self.bytes.len();
            self.bytes.extend_from_slice(&input[taken..]);
            let end = end_of_head(&self.bytes, before);
            let length = end.unwrap_or(self.bytes.len());
            if self.interim_bytes + length > self.limits.bytes {
                return Err(invalid("the head of the response is too large").because(Cause::Limits));
            }
            let Some(end) = end else {
                return if may_be_http(&self.bytes) {
                    Ok((input.len(), None))
                } else {
                    Err(invalid(NOT_HTTP))
                };
            };
            taken += end - before;
            self.bytes.truncate(end);
            let (status, version, mut headers) = parse(&self.bytes, self.limits.fields)?;
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                self.interim_bytes += end;
                self.bytes.clear();
                hop_by_hop::remove(&mut headers);
                headers.remove(CONTENT_LENGTH);
                self.interim.push(Interim { status, headers });
                continue;
            }
            let framing = framing::determine(status, version, &headers, self.is_head).map_err(invalid)?;
            return Ok((taken, Some(Head { status, version, headers, framing })));
        }
        Ok((taken, None))
    }
}

const NOT_HTTP: &str = "the response is not valid HTTP";

/// Whether these bytes can begin a head. Other input is rejected early, because it may never end.
fn may_be_http(bytes: &[u8]) -> bool {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    bytes[begin..].iter().zip(b"HTTP/").all(|(byte, expected)| byte == expected)
}

/// Returns the end of the empty line that ends the head. `before` is the length that an earlier call has
/// searched. Empty lines before the status line belong to the head.
fn end_of_head(bytes: &[u8], before: usize) -> Option<usize> {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let from = before.saturating_sub(3).max(begin);
    let ends =
        bytes[from..].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| from + at + 1);
    ends.into_iter().find_map(|next| match &bytes[next..] {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

fn parse(bytes: &[u8], max_fields: usize) -> Result<(StatusCode, Version, HeaderMap)> {
    let lines = head_lines::normalised(bytes);
    // Allocate no more fields than there are lines.
    let lines_of_fields = lines.iter().filter(|byte| **byte == b'\n').count();
    let mut fields = vec![httparse::EMPTY_HEADER; max_fields.min(lines_of_fields)];
    let mut parsed = httparse::Response::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    // RFC 9112 section 5.1: a proxy removes whitespace between a field name and the colon. Section 4: the
    // words of the status line may be separated by several spaces.
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_multiple_spaces_in_response_status_delimiters(true);
    let not_http = |source: &dyn std::fmt::Display| invalid(&format!("{NOT_HTTP}: {source}"));
    match config.parse_response(&mut parsed, &lines) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(not_http(&"its head does not end")),
        Err(httparse::Error::TooManyHeaders) => {
            let text = format!("the head of the response has more than {max_fields} fields");
            return Err(invalid(&text).because(Cause::Limits));
        }
        Err(error) => return Err(not_http(&error)),
    }
    let status = StatusCode::from_u16(parsed.code.unwrap_or(0)).map_err(|error| not_http(&error))?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| not_http(&error))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|error| not_http(&error))?;
        headers.append(name, value);
    }
    Ok((status, version, headers))
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::BadResponse, text)
}

#[cfg(test)]
mod tests;
