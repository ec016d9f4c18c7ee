//! The head of a response as bytes, and how its body is framed (RFC 9112 sections 4 and 6). Pure:
//! no socket, and the time is an argument.

use std::borrow::Cow;
use std::time::SystemTime;

use http::header::{self, HeaderMap};
use http::{Method, StatusCode, Version, response};

use crate::cache::fill::is_bodiless;
use crate::message::header::hop_by_hop;

/// What of the request decides how its response is framed.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Whether the connection is to serve another request afterwards.
    pub(super) persistent: bool,
}

/// How the bytes after the head are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing follows the head, whatever the body holds.
    None,
    /// As many bytes as that, as they are.
    Length(u64),
    /// Chunks, and the last one.
    Chunked,
    /// What follows ends where the connection ends; the head says `Connection: close`.
    UntilClose,
}

/// An encoded head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    /// From the status line to the empty line; there is room behind for more.
    pub(super) bytes: Vec<u8>,
    pub(super) framing: Framing,
}

/// Encodes the head of a response whose body has `length` bytes, if that is known.
///
/// The handler's hop-by-hop fields and its `Content-Length` are replaced by what the framing needs;
/// `Date` is added where it is missing.
pub(super) fn encode(
    parts: response::Parts,
    asked: &Asked,
    length: Option<u64>,
    now: SystemTime,
) -> ResponseHead {
    let response::Parts { status, mut headers, .. } = parts;
    // A challenge ends at the next hop, which is the one that this is for.
    let challenge = headers.get(header::PROXY_AUTHENTICATE).cloned();
    hop_by_hop::remove(&mut headers);
    if let Some(challenge) = challenge.filter(|_| status == StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
        headers.insert(header::PROXY_AUTHENTICATE, challenge);
    }
    let framing = framing_of(status, asked, length);
    let persistent = asked.persistent && framing != Framing::UntilClose;
    let announced = announced_length(status, asked, &headers, framing, length);
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
    } else if asked.version == Version::HTTP_10 {
        field(&mut bytes, "connection", b"keep-alive");
    }
    bytes.extend_from_slice(b"\r\n");
    ResponseHead { bytes, framing }
}

/// Encodes an interim response, whose fields are those that come with it (RFC 9110 section 15.2).
pub(super) fn encode_interim(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut bytes = status_line(status).into_owned();
    for (name, value) in headers {
        field(&mut bytes, name.as_str(), value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The status line with its line end.
pub(super) fn status_line(status: StatusCode) -> Cow<'static, [u8]> {
    if status == StatusCode::OK {
        return Cow::Borrowed(b"HTTP/1.1 200 OK\r\n");
    }
    // The space stays where there is no phrase (RFC 9112 section 4).
    let phrase = status.canonical_reason().unwrap_or_default();
    Cow::Owned(format!("HTTP/1.1 {} {phrase}\r\n", status.as_str()).into_bytes())
}

fn field(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

fn framing_of(status: StatusCode, asked: &Asked, length: Option<u64>) -> Framing {
    if is_bodiless(status, &asked.method) {
        return Framing::None;
    }
    match length {
        Some(length) => Framing::Length(length),
        None if asked.version == Version::HTTP_11 => Framing::Chunked,
        None => Framing::UntilClose,
    }
}

/// The `Content-Length` to send (RFC 9110 section 8.6).
fn announced_length(
    status: StatusCode,
    asked: &Asked,
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
        // `parse` would take a sign as well.
        let digits = value.iter().all(u8::is_ascii_digit).then_some(value)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    if status == StatusCode::NOT_MODIFIED {
        return given();
    }
    if asked.method == Method::HEAD {
        // An empty body says nothing about what GET would have sent.
        return given().or(length.filter(|length| *length > 0));
    }
    None
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Response};
    use proptest::prelude::*;

    use super::*;

    fn asked(method: Method, version: Version, persistent: bool) -> Asked {
        Asked { method, version, persistent }
    }

    fn get() -> Asked {
        asked(Method::GET, Version::HTTP_11, true)
    }

    fn head_of(
        status: u16,
        fields: &[(&str, &str)],
        asked: &Asked,
        length: Option<u64>,
    ) -> (String, Framing) {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let head = encode(response.body(()).unwrap().into_parts().0, asked, length, SystemTime::UNIX_EPOCH);
        (String::from_utf8(head.bytes).unwrap(), head.framing)
    }

    #[test]
    fn a_whole_head() {
        let (head, framing) = head_of(200, &[("x-a", "1"), ("x-a", "2")], &get(), Some(5));
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: 2\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 5\r\n\r\n"
        );
        assert_eq!(framing, Framing::Length(5));
    }

    #[test]
    fn a_date_of_the_handler_is_kept_and_an_unknown_status_has_no_phrase() {
        let (head, _) = head_of(799, &[("date", "x")], &get(), Some(0));
        assert_eq!(head, "HTTP/1.1 799 \r\ndate: x\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn the_framing_is_ours_and_hop_by_hop_fields_are_not_passed_on() {
        let fields = [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "gzip"),
            ("content-length", "99"),
        ];
        let (head, framing) = head_of(200, &fields, &get(), None);
        assert_eq!(framing, Framing::Chunked);
        assert!(head.ends_with("GMT\r\ntransfer-encoding: chunked\r\n\r\n"), "{head}");
        assert!(!head.contains("99") && !head.contains("hop") && !head.contains("alive"), "{head}");
    }

    #[test]
    fn an_old_client_gets_no_chunks() {
        let old = asked(Method::GET, Version::HTTP_10, true);
        let (head, framing) = head_of(200, &[], &old, None);
        assert_eq!(framing, Framing::UntilClose);
        assert!(head.contains("connection: close\r\n") && !head.contains("chunked"), "{head}");
        let (head, framing) = head_of(200, &[], &old, Some(1));
        assert_eq!(framing, Framing::Length(1));
        assert!(head.contains("connection: keep-alive\r\n"), "{head}");
    }

    #[test]
    fn the_end_of_a_connection_is_announced() {
        let (head, _) = head_of(200, &[], &asked(Method::GET, Version::HTTP_11, false), Some(1));
        assert!(head.contains("connection: close\r\n"), "{head}");
    }

    #[test]
    fn responses_without_content() {
        let head = asked(Method::HEAD, Version::HTTP_11, true);
        let connect = asked(Method::CONNECT, Version::HTTP_11, true);
        type Case<'a> = (u16, &'a [(&'a str, &'a str)], &'a Asked, Option<u64>, Option<&'a str>);
        let get = get();
        let cases: &[Case<'_>] = &[
            (204, &[("content-length", "3")], &get, Some(0), None),
            (204, &[], &get, None, None),
            (103, &[("content-length", "3")], &get, Some(3), None),
            (205, &[], &get, Some(3), Some("0")),
            (304, &[], &get, Some(0), None),
            (304, &[("content-length", "3")], &get, Some(0), Some("3")),
            (200, &[("content-length", "3")], &head, Some(0), Some("3")),
            (200, &[("content-length", "+3")], &head, Some(4), Some("4")),
            (200, &[], &head, Some(4), Some("4")),
            (200, &[], &head, Some(0), None),
            (200, &[], &head, None, None),
            (304, &[], &head, Some(4), None),
            (200, &[("content-length", "3")], &connect, Some(0), None),
        ];
        for (status, fields, asked, length, expected) in cases {
            let (head, framing) = head_of(*status, fields, asked, *length);
            assert_eq!(framing, Framing::None);
            assert!(!head.contains("transfer-encoding"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            assert_eq!(length, *expected, "{status} {fields:?} {asked:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_splits_a_head(
            name in "[a-z]{1,8}",
            value in prop::collection::vec(any::<u8>(), 0..64),
            status in 200_u16..1000,
            length in prop::option::of(any::<u64>()),
        ) {
            let name = HeaderName::from_bytes(format!("x-{name}").as_bytes()).unwrap();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let response = Response::builder().status(status).header(&name, &value).body(()).unwrap();
                let head = encode(response.into_parts().0, &get(), length, SystemTime::UNIX_EPOCH);
                let ends = head.bytes.windows(4).filter(|bytes| bytes == b"\r\n\r\n").count();
                prop_assert_eq!(ends, 1);
                prop_assert!(head.bytes.ends_with(b"\r\n\r\n"));
                let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat();
                prop_assert!(head.bytes.windows(line.len()).any(|bytes| bytes == line));
                let mut fields = [httparse::EMPTY_HEADER; 8];
                prop_assert!(httparse::Response::new(&mut fields).parse(&head.bytes).unwrap().is_complete());
            }
        }
    }
}
