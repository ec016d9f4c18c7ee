//! Which request heads are refused: the strict reading of RFC 9112, over a head that some parser
//! has taken apart. Pure: no socket, no clock.
//!
//! Where two readers of one head could disagree about where the body ends, the head is refused:
//! that disagreement is what request smuggling lives on (RFC 9112 section 11.2).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri, Version};

/// How large a head may be.
#[derive(Clone, Debug)]
pub(super) struct HeadLimits {
    /// More fields are answered with 431.
    pub(super) fields: usize,
    /// More bytes of names and values are answered with 431.
    pub(super) field_bytes: usize,
    /// A longer target is answered with 414, in bytes.
    pub(super) target: usize,
}

/// A head that may be acted on.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request<()>,
    pub(super) body: RequestBody,
    /// Whether the client would send another request on this connection.
    pub(super) persistent: bool,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestBody {
    None,
    Length(u64),
    Chunked,
}

/// Why a head is refused, and the status that says so. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// One line for a person.
    pub(super) reason: &'static str,
}

pub(super) const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason }
}

/// Checks a head, given as the parts of its request line and its fields in order.
pub(super) fn check<'a>(
    limits: &HeadLimits,
    method: &[u8],
    target: &[u8],
    version: (u8, u8),
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<RequestHead, Refusal> {
    let version = match version {
        (1, 0) => Version::HTTP_10,
        (1, 1) => Version::HTTP_11,
        _ => {
            return Err(Refusal {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                reason: "only HTTP/1.0 and HTTP/1.1 are spoken here",
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

/// The four forms of RFC 9112 section 3.2, each only where it belongs.
pub(super) fn target_of(limits: &HeadLimits, method: &Method, target: &[u8]) -> Result<Uri, Refusal> {
    const MALFORMED: Refusal = bad("the request target is malformed");
    if target.len() > limits.target {
        return Err(Refusal { status: StatusCode::URI_TOO_LONG, reason: "the request target is too long" });
    }
    // `Uri` would cut a fragment off without a word, and let bytes stand that no URL has.
    if target.iter().any(|byte| *byte == b'#' || !byte.is_ascii_graphic()) {
        return Err(MALFORMED);
    }
    let uri = Uri::try_from(target).map_err(|_| MALFORMED)?;
    // RFC 9110 section 4.2.4: userinfo from another party is an error.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(MALFORMED);
    }
    let fits = if *method == Method::CONNECT {
        // A path does not belong here, but the handler can say better what does not: the method.
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
) -> Result<HeaderMap, Refusal> {
    const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let mut headers = HeaderMap::new();
    let mut bytes = 0_usize;
    for (count, (name, value)) in fields.enumerate() {
        bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        if count >= limits.fields || bytes > limits.field_bytes {
            return Err(Refusal { status: TOO_LARGE, reason: "the header fields are too many or too large" });
        }
        let name = HeaderName::from_bytes(name).map_err(|_| bad("a field name is not a token"))?;
        // Refuses CR, LF, NUL and the other control bytes; a tab and bytes above 0x7F may stay.
        let value = HeaderValue::from_bytes(value).map_err(|_| bad("a field value holds a control byte"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// RFC 9112 section 3.2: exactly one on 1.1, and never two.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => Err(bad("there is no Host field")),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(bad("there is more than one Host field")),
        (Some(host), None) => {
            let host = host.as_bytes();
            let well_formed = host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok());
            if well_formed { Ok(()) } else { Err(bad("the Host field is malformed")) }
        }
    }
}

/// RFC 9112 section 6.3, without its leniencies.
fn body_of(headers: &HeaderMap, version: Version) -> Result<RequestBody, Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).into_iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(RequestBody::None),
        (Some(_), Some(_)) => Err(bad("both Transfer-Encoding and Content-Length are given")),
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
                return Err(bad("Content-Length is not one number"));
            }
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            match number.ok_or_else(|| bad("Content-Length is out of range"))? {
                0 => Ok(RequestBody::None),
                length => Ok(RequestBody::Length(length)),
            }
        }
    }
}

/// Without `chunked` in the end nobody knows where the body ends (RFC 9112 section 6.3, item 4); with it,
/// there is a coding before it that is not understood (section 6.1).
fn not_only_chunked(headers: &HeaderMap) -> Refusal {
    let codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let mut codings = codings.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).rev();
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let ends_chunked = codings.next().is_some_and(is_chunked);
    if ends_chunked && !codings.any(is_chunked) {
        let reason = "the only Transfer-Encoding is chunked";
        return Refusal { status: StatusCode::NOT_IMPLEMENTED, reason };
    }
    bad("Transfer-Encoding does not end with one chunked")
}

/// RFC 9112 section 9.3.
fn is_persistent(headers: &HeaderMap, version: Version) -> bool {
    let says = |option: &[u8]| {
        headers
            .get_all(header::CONNECTION)
            .into_iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .any(|member| member.trim_ascii().eq_ignore_ascii_case(option))
    };
    !says(b"close") && (version == Version::HTTP_11 || says(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { fields: 100, field_bytes: 64 << 10, target: 25 << 10 };
    const MAX_FIELDS: usize = LIMITS.fields;
    const MAX_FIELD_BYTES: usize = LIMITS.field_bytes;
    const MAX_TARGET: usize = LIMITS.target;

    fn checked(
        method: &str,
        target: &str,
        version: (u8, u8),
        fields: &[(&str, &str)],
    ) -> Result<RequestHead, u16> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        check(&LIMITS, method.as_bytes(), target.as_bytes(), version, fields)
            .map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn what_is_refused_and_with_what() {
        let host = ("Host", "a");
        let long = format!("/{}", "a".repeat(MAX_TARGET));
        let large = "v".repeat(MAX_FIELD_BYTES);
        let many: Vec<_> =
            std::iter::once(host).chain(std::iter::repeat_n(("X-A", "1"), MAX_FIELDS)).collect();
        type Case<'a> = (&'a str, &'a str, (u8, u8), &'a [(&'a str, &'a str)], u16);
        let cases: &[Case<'_>] = &[
            ("GET", "/", (1, 1), &[], 400),
            ("GET", "/", (1, 1), &[host, ("host", "a")], 400),
            ("GET", "/", (1, 0), &[host, host], 400),
            ("GET", "/", (1, 1), &[("Host", "user@a")], 400),
            ("GET", "/", (1, 1), &[("Host", "a b")], 400),
            ("GET", "/", (2, 0), &[host], 505),
            ("GET", "/", (0, 9), &[host], 505),
            ("GET", "/", (1, 2), &[host], 505),
            ("GET", &long, (1, 1), &[host], 414),
            ("GET", "/", (1, 1), &many, 431),
            ("GET", "/", (1, 1), &[host, ("X", &large)], 431),
            ("GE T", "/", (1, 1), &[host], 400),
            ("", "/", (1, 1), &[host], 400),
            ("GET", "", (1, 1), &[host], 400),
            ("GET", "a", (1, 1), &[host], 400),
            ("GET", "*", (1, 1), &[host], 400),
            ("GET", "/a#b", (1, 1), &[host], 400),
            ("GET", "/a\u{1}", (1, 1), &[host], 400),
            ("GET", "/a\u{e9}", (1, 1), &[host], 400),
            ("CONNECT", "http://b/", (1, 1), &[host], 400),
            ("GET", "http://user@a/", (1, 1), &[host], 400),
            ("GET", "/", (1, 1), &[host, ("", "v")], 400),
            ("GET", "/", (1, 1), &[host, ("a b", "v")], 400),
            ("GET", "/", (1, 1), &[host, ("a\u{0}", "v")], 400),
            ("GET", "/", (1, 1), &[host, ("a", "v\nb: c")], 400),
            ("GET", "/", (1, 1), &[host, ("a", "v\r")], 400),
            ("GET", "/", (1, 1), &[host, ("a", "v\u{0}")], 400),
            ("GET", "/", (1, 1), &[host, ("a", "v\u{7f}")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "1"), ("Transfer-Encoding", "chunked")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "1"), ("Content-Length", "1")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "1, 1")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "+1")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "-1")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "0x1")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "")], 400),
            ("POST", "/", (1, 1), &[host, ("Content-Length", "18446744073709551616")], 400),
            ("POST", "/", (1, 1), &[host, ("Transfer-Encoding", "gzip")], 400),
            ("POST", "/", (1, 1), &[host, ("Transfer-Encoding", "identity")], 400),
            ("POST", "/", (1, 1), &[host, ("Transfer-Encoding", "xchunked")], 400),
            ("POST", "/", (1, 1), &[host, ("Transfer-Encoding", "gzip, chunked")], 501),
            ("POST", "/", (1, 1), &[host, ("Transfer-Encoding", "chunked, gzip, chunked")], 400),
            ("POST", "/", (1, 1), &[host, ("Transfer-Encoding", "chunked, gzip")], 400),
            (
                "POST",
                "/",
                (1, 1),
                &[host, ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
                400,
            ),
            ("POST", "/", (1, 0), &[host, ("Transfer-Encoding", "chunked")], 400),
        ];
        for (method, target, version, fields, status) in cases {
            let outcome = checked(method, target, *version, fields).map(|_| ());
            let target = &target[..target.len().min(40)];
            assert_eq!(outcome, Err(*status), "{method} {target:?} {version:?} {:?}", fields.get(1));
        }
    }

    #[test]
    fn what_is_taken() {
        let host = ("host", "a:80");
        let head = checked("GET", "/p?q=1", (1, 1), &[host, ("x-a", "1"), ("X-A", "b\u{e9}\t2")]).unwrap();
        assert_eq!(head.request.uri(), "/p?q=1");
        assert_eq!(head.request.headers().get_all("x-a").into_iter().count(), 2);
        assert_eq!(head.body, RequestBody::None);

        for (method, target) in [
            ("GET", "http://b/x"),
            ("OPTIONS", "*"),
            ("CONNECT", "b:443"),
            ("CONNECT", "/"),
            ("BREW", "/pot"),
            ("GET", "//x"),
        ] {
            assert!(checked(method, target, (1, 1), &[host]).is_ok(), "{method} {target}");
        }
        assert!(checked("GET", "/", (1, 0), &[]).is_ok());
        assert!(checked("GET", "/", (1, 1), &[("Host", "")]).is_ok());
        let exactly: Vec<_> =
            std::iter::once(host).chain(std::iter::repeat_n(("a", ""), MAX_FIELDS - 1)).collect();
        assert!(checked("GET", "/", (1, 1), &exactly).is_ok());
    }

    #[test]
    fn where_the_body_ends() {
        let body = |fields: &[(&str, &str)]| {
            let fields: Vec<_> = std::iter::once(("host", "a")).chain(fields.iter().copied()).collect();
            checked("POST", "/", (1, 1), &fields).unwrap().body
        };
        assert_eq!(body(&[("Content-Length", "007")]), RequestBody::Length(7));
        assert_eq!(body(&[("Content-Length", "0")]), RequestBody::None);
        assert_eq!(body(&[("Transfer-Encoding", "Chunked")]), RequestBody::Chunked);
    }

    #[test]
    fn whether_the_client_stays() {
        let stays = |version, connection: &[&str]| {
            let fields: Vec<_> = std::iter::once(("host", "a"))
                .chain(connection.iter().map(|value| ("connection", *value)))
                .collect();
            checked("GET", "/", version, &fields).unwrap().persistent
        };
        assert!(stays((1, 1), &[]));
        assert!(stays((1, 1), &["closed"]));
        assert!(!stays((1, 1), &["x", "Keep-Alive, CLOSE"]));
        assert!(!stays((1, 0), &[]));
        assert!(stays((1, 0), &["Keep-Alive"]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_taken_without_a_panic(
            method in prop::collection::vec(any::<u8>(), 0..8),
            target in prop::collection::vec(any::<u8>(), 0..32),
            fields in prop::collection::vec(any::<(Vec<u8>, Vec<u8>)>(), 0..4),
        ) {
            let fields = fields.iter().map(|(name, value)| (&name[..], &value[..]));
            if let Ok(head) = check(&LIMITS, &method, &target, (1, 1), fields) {
                for value in head.request.headers().values() {
                    prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
                }
            }
        }
    }
}
