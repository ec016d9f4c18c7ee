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
        .map_err(|rejection| rejection.status.as_u16())
}

#[test]
fn invalid_heads_are_rejected() {
    let host = ("Host", "a");
    let long = format!("/{}", "a".repeat(MAX_TARGET));
    let large = "v".repeat(MAX_FIELD_BYTES);
    let many: Vec<_> = std::iter::once(host).chain(std::iter::repeat_n(("X-A", "1"), MAX_FIELDS)).collect();
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
fn valid_heads_are_accepted() {
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
fn the_framing_of_a_body_is_determined() {
    let body = |fields: &[(&str, &str)]| {
        let fields: Vec<_> = std::iter::once(("host", "a")).chain(fields.iter().copied()).collect();
        checked("POST", "/", (1, 1), &fields).unwrap().body
    };
    assert_eq!(body(&[("Content-Length", "007")]), RequestBody::Length(7));
    assert_eq!(body(&[("Content-Length", "0")]), RequestBody::None);
    assert_eq!(body(&[("Transfer-Encoding", "Chunked")]), RequestBody::Chunked);
}

#[test]
fn persistence_follows_the_connection_field() {
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
    fn arbitrary_bytes_do_not_panic(
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
