//! Validates request heads after parsing, strictly by RFC 9112. Pure: no socket, no clock.
//!
//! A head is rejected if two parsers could disagree about the end of its body, because request smuggling
//! exploits that (RFC 9112 section 11.2).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri, Version};

/// Size limits of a request head.
#[derive(Clone, Debug)]
pub(super) struct HeadLimits {
    /// Maximum number of fields; more get 431.
    pub(super) fields: usize,
    /// Maximum total size of names and values in bytes; more get 431.
    pub(super) field_bytes: usize,
    /// Maximum length of the target in bytes; a longer one gets 414.
    pub(super) target: usize,
}

/// A valid request head.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request<()>,
    pub(super) body: RequestBody,
    /// Whether the client keeps the connection open for another request.
    pub(super) persistent: bool,
}

/// The framing of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestBody {
    None,
    Length(u64),
    Chunked,
}

/// The status and the reason for rejecting a request. The connection cannot be used afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    /// One line of text, sent as the body of the response.
    pub(super) reason: &'static str,
}

pub(super) const fn bad(reason: &'static str) -> Rejection {
    Rejection { status: StatusCode::BAD_REQUEST, reason }
}

/// Validates a head, given as the parts of its request line and its fields in order.
pub(super) fn check<'a>(
    limits: &HeadLimits,
    method: &[u8],
    target: &[u8],
    version: (u8, u8),
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<RequestHead, Rejection> {
    let version = match version {
        (1, 0) => Version::HTTP_10,
        (1, 1) => Version::HTTP_11,
        _ => {
            return Err(Rejection {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                reason: "only HTTP/1.0 and HTTP/1.1 are supported",
            });
        }
    };
    let method = Method::from_bytes(method).map_err(|_| bad("the method is not a token"))?;
    let uri = target_of(limits, &method, target)?;
    let headers = fields_of(limits, fields)?;
    check_host(&headers, version)?;
    let body = body_of(&headers, version)?;
    let persistent = is_persistent(&headers, version);

    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Ok(RequestHead { request, body, persistent })
}

/// Parses the request target: one of the four forms of RFC 9112 section 3.2, each only with the methods it is
/// allowed for.
pub(super) fn target_of(limits: &HeadLimits, method: &Method, target: &[u8]) -> Result<Uri, Rejection> {
    const MALFORMED: Rejection = bad("the request target is malformed");
    if target.len() > limits.target {
        return Err(Rejection { status: StatusCode::URI_TOO_LONG, reason: "the request target is too long" });
    }
    // `Uri` silently drops a fragment and accepts bytes that a URL must not contain.
    if target.iter().any(|byte| *byte == b'#' || !byte.is_ascii_graphic()) {
        return Err(MALFORMED);
    }
    let uri = Uri::try_from(target).map_err(|_| MALFORMED)?;
    // RFC 9110 section 4.2.4: userinfo from an untrusted party is an error.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(MALFORMED);
    }
    let fits = if *method == Method::CONNECT {
        // CONNECT with a path is invalid as well, but the handler gives a better reason: the method is not
        // supported.
        let is_authority =
            uri.scheme().is_none() && uri.authority().is_some() && uri.path_and_query().is_none();
        is_authority || target.starts_with(b"/")
    } else if target == b"*" {
        *method == Method::OPTIONS
    } else {
        target.starts_with(b"/") || uri.scheme().is_some()
    };
    if fits { Ok(uri) } else { Err(MALFORMED) }
}

fn fields_of<'a>(
    limits: &HeadLimits,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<HeaderMap, Rejection> {
    const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let mut headers = HeaderMap::new();
    let mut bytes = 0_usize;
    for (count, (name, value)) in fields.enumerate() {
        bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        if count >= limits.fields || bytes > limits.field_bytes {
            return Err(Rejection {
                status: TOO_LARGE,
                reason: "the header fields are too many or too large",
            });
        }
        let name = HeaderName::from_bytes(name).map_err(|_| bad("a field name is not a token"))?;
        // Rejects CR, LF, NUL and other control bytes; accepts tabs and bytes above 0x7F.
        let value =
            HeaderValue::from_bytes(value).map_err(|_| bad("a field value contains a control byte"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Requires exactly one `Host` field in HTTP/1.1, and at most one in HTTP/1.0 (RFC 9112 section 3.2).
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Rejection> {
    let mut hosts = headers.get_all(header::HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => Err(bad("the Host field is missing")),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(bad("there is more than one Host field")),
        (Some(host), None) => {
            let host = host.as_bytes();
            let well_formed = host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok());
            if well_formed { Ok(()) } else { Err(bad("the Host field is malformed")) }
        }
    }
}

/// Determines the body's framing (RFC 9112 section 6.3) without the tolerance that the RFC permits.
fn body_of(headers: &HeaderMap, version: Version) -> Result<RequestBody, Rejection> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).into_iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(RequestBody::None),
        (Some(_), Some(_)) => Err(bad("both Transfer-Encoding and Content-Length are present")),
        (Some(coding), None) => {
            if version != Version::HTTP_11 {
                Err(bad("Transfer-Encoding needs HTTP/1.1"))
            } else if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
                Ok(RequestBody::Chunked)
            } else {
                Err(not_only_chunked(headers))
            }
        }
        (None, Some(length)) => {
            let digits = length.as_bytes();
            if lengths.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(bad("Content-Length is not a single number"));
            }
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            match number.ok_or_else(|| bad("Content-Length is out of range"))? {
                0 => Ok(RequestBody::None),
                length => Ok(RequestBody::Length(length)),
            }
        }
    }
}

/// Chooses the status for a `Transfer-Encoding` other than `chunked`. If `chunked` is not the last coding,
/// the end of the body is unknown (RFC 9112 section 6.3, item 4); otherwise another coding precedes
/// `chunked`, which this server does not support (section 6.1).
fn not_only_chunked(headers: &HeaderMap) -> Rejection {
    let codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let mut codings = codings.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).rev();
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let ends_chunked = codings.next().is_some_and(is_chunked);
    if ends_chunked && !codings.any(is_chunked) {
        let reason = "the only supported Transfer-Encoding is chunked";
        return Rejection { status: StatusCode::NOT_IMPLEMENTED, reason };
    }
    bad("Transfer-Encoding does not end with one chunked")
}

/// Returns whether the connection persists after the response (RFC 9112 section 9.3).
fn is_persistent(headers: &HeaderMap, version: Version) -> bool {
    let has_option = |option: &[u8]| {
        headers
            .get_all(header::CONNECTION)
            .into_iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .any(|member| member.trim_ascii().eq_ignore_ascii_case(option))
    };
    !has_option(b"close") && (version == Version::HTTP_11 || has_option(b"keep-alive"))
}

#[cfg(test)]
mod tests;
