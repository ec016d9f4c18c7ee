use http::{HeaderName, HeaderValue, Response};
use proptest::prelude::*;

use super::*;

fn summary(method: Method, version: Version, persistent: bool) -> RequestSummary {
    RequestSummary { method, version, persistent }
}

fn get() -> RequestSummary {
    summary(Method::GET, Version::HTTP_11, true)
}

fn head_of(
    status: u16,
    fields: &[(&str, &str)],
    summary: &RequestSummary,
    length: Option<u64>,
) -> (String, Framing) {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let head = encode(response.body(()).unwrap().into_parts().0, summary, length, SystemTime::UNIX_EPOCH);
    (String::from_utf8(head.bytes).unwrap(), head.framing)
}

#[test]
fn a_head_is_encoded() {
    let (head, framing) = head_of(200, &[("x-a", "1"), ("x-a", "2")], &get(), Some(5));
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: 2\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 5\r\n\r\n"
    );
    assert_eq!(framing, Framing::Length(5));
}

#[test]
fn the_handlers_date_is_kept_and_an_unknown_status_has_no_reason_phrase() {
    let (head, _) = head_of(799, &[("date", "x")], &get(), Some(0));
    assert_eq!(head, "HTTP/1.1 799 \r\ndate: x\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn framing_and_hop_by_hop_fields_of_the_handler_are_replaced() {
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
fn an_http_1_0_client_gets_no_chunks() {
    let old = summary(Method::GET, Version::HTTP_10, true);
    let (head, framing) = head_of(200, &[], &old, None);
    assert_eq!(framing, Framing::UntilClose);
    assert!(head.contains("connection: close\r\n") && !head.contains("chunked"), "{head}");
    let (head, framing) = head_of(200, &[], &old, Some(1));
    assert_eq!(framing, Framing::Length(1));
    assert!(head.contains("connection: keep-alive\r\n"), "{head}");
}

#[test]
fn a_closing_connection_is_announced() {
    let (head, _) = head_of(200, &[], &summary(Method::GET, Version::HTTP_11, false), Some(1));
    assert!(head.contains("connection: close\r\n"), "{head}");
}

#[test]
fn responses_without_a_body_have_the_right_length() {
    let head = summary(Method::HEAD, Version::HTTP_11, true);
    let connect = summary(Method::CONNECT, Version::HTTP_11, true);
    type Case<'a> = (u16, &'a [(&'a str, &'a str)], &'a RequestSummary, Option<u64>, Option<&'a str>);
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
    for (status, fields, summary, length, expected) in cases {
        let (head, framing) = head_of(*status, fields, summary, *length);
        assert_eq!(framing, Framing::None);
        assert!(!head.contains("transfer-encoding"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(length, *expected, "{status} {fields:?} {summary:?}");
    }
}

proptest! {
    #[test]
    fn a_field_value_cannot_split_a_head(
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
