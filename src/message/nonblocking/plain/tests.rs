use super::*;

fn is_plain(fields: &[(&str, &str)]) -> bool {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
    PlainRequest::new("/", &fields).is_some()
}

#[test]
fn requests_with_special_fields_are_not_plain() {
    let host = ("Host", "a.example:80");
    assert!(is_plain(&[host]));
    assert!(is_plain(&[host, ("Accept", "*/*"), ("Cookie", "a=b"), ("User-Agent", "x"), ("Via", "1.1 a")]));
    assert!(is_plain(&[host, ("Connection", "Keep-Alive")]));
    assert!(is_plain(&[host, ("Proxy-Connection", "Keep-Alive")]));
    for name in [
        "TE",
        "Range",
        "Expect",
        "Pragma",
        "Trailer",
        "Upgrade",
        "If-Match",
        "If-Range",
        "Keep-Alive",
        "Authorization",
        "Cache-Control",
        "If-None-Match",
        "Content-Length",
        "Sec-Fetch-Site",
        "Proxy-Connection",
        "If-Modified-Since",
        "Transfer-Encoding",
        "Proxy-Authenticate",
        "If-Unmodified-Since",
        "Proxy-Authentication-Info",
    ] {
        assert!(!is_plain(&[host, (name, "1")]), "{name}");
    }
    assert!(!is_plain(&[host, ("Connection", "x-hop")]));
    assert!(!is_plain(&[host, host]));
    assert!(!is_plain(&[]));
    for host in ["", "a b", "user@a", "[::1]:80", "a:b", "a:1:2", ":80", "a:123456", "\u{e9}"] {
        assert!(!is_plain(&[("Host", host)]), "{host}");
    }
}

#[test]
fn connection_close_ends_persistence() {
    let fields = |value: &'static str| {
        [
            httparse::Header { name: "host", value: b"a" },
            httparse::Header { name: "connection", value: value.as_bytes() },
        ]
    };
    assert!(!PlainRequest::new("/", &fields("Close")).unwrap().persistent);
    assert!(PlainRequest::new("/", &fields("keep-alive")).unwrap().persistent);
}

#[test]
fn field_is_absent_single_or_repeated() {
    let fields = [("host", "a"), ("Accept", "x"), ("x-a", "1"), ("X-A", "2")]
        .map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
    let request = PlainRequest::new("/", &fields).unwrap();
    assert_eq!(request.field("accept"), PlainField::Once(b"x"));
    assert_eq!(request.field("x-a"), PlainField::Repeated);
    assert_eq!(request.field("x-b"), PlainField::Absent);
}
