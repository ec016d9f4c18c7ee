use super::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
    fields.iter().map(field).collect::<HeaderMap>()
}

#[test]
fn strong_validators_are_recognised() {
    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    for (fields, expected) in [
        (&[("etag", "\"a\"")][..], Some(ETAG)),
        (&[("etag", "W/\"a\"")], None),
        (&[("etag", "a")], None),
        (&[("etag", "W/\"a\""), ("last-modified", "Sun, 06 Nov 1994 11:00:00 GMT"), ("date", NOON)], None),
        (&[("last-modified", "Sun, 06 Nov 1994 11:59:00 GMT"), ("date", NOON)], Some(LAST_MODIFIED)),
        (&[("last-modified", "Sun, 06 Nov 1994 11:59:01 GMT"), ("date", NOON)], None),
        (&[("last-modified", "Sun, 06 Nov 1994 12:59:01 GMT"), ("date", NOON)], None),
        (&[("last-modified", "Sun, 06 Nov 1994 11:00:00 GMT")], None),
        (&[], None),
    ] {
        let found = strong_validator(&headers(fields)).map(|(field, _)| field);
        assert_eq!(found, expected, "{fields:?}");
    }
}

#[test]
fn only_the_rest_of_the_same_bytes_is_accepted() {
    let identity =
        BodyIdentity { field: ETAG, validator: HeaderValue::from_static("\"a\""), length: Some(10) };
    for (status, tag, field, value, expected) in [
        (206, "\"a\"", "content-range", "bytes 4-9/10", Some(0)),
        (206, "\"a\"", "content-range", "bytes 0-9/10", Some(4)),
        (206, "\"b\"", "content-range", "bytes 4-9/10", None),
        (206, "W/\"a\"", "content-range", "bytes 4-9/10", None),
        (206, "\"a\"", "content-range", "bytes 3-9/10", None),
        (206, "\"a\"", "content-range", "bytes 5-9/10", None),
        (206, "\"a\"", "content-range", "bytes 4-8/10", None),
        (206, "\"a\"", "content-range", "bytes 4-10/11", None),
        (206, "\"a\"", "content-range", "bytes 4-9/*", None),
        (206, "\"a\"", "content-range", "4-9", None),
        (206, "\"a\"", "content-length", "6", None),
        (200, "\"a\"", "content-length", "10", Some(4)),
        (200, "\"a\"", "x-none", "1", Some(4)),
        (200, "\"a\"", "content-length", "11", None),
        (200, "\"b\"", "content-length", "10", None),
        (304, "\"a\"", "content-length", "10", None),
    ] {
        let headers = headers(&[("etag", tag), (field, value)]);
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(identity.bytes_before_rest(4, status, &headers), expected, "{status} {tag} {value}");
    }
}

#[test]
fn request_for_the_rest_drops_the_original_conditions() {
    let identity = BodyIdentity { field: ETAG, validator: HeaderValue::from_static("\"a\""), length: None };
    let mut fields = headers(&[("if-none-match", "\"b\""), ("accept", "x/y")]);
    identity.request_rest(7, &mut fields);
    assert_eq!(fields, headers(&[("accept", "x/y"), ("range", "bytes=7-"), ("if-range", "\"a\"")]));
}

#[test]
fn identity_survives_as_text() {
    for line in ["etag 10 \"a b\"", "etag - \"\"", "last-modified 0 Sun, 06 Nov 1994 11:59:00 GMT"] {
        assert_eq!(line.parse::<BodyIdentity>().unwrap().to_string(), line);
    }
    for line in ["", "etag", "etag 10", "etag 10 ", "etag x \"a\"", "date 1 \"a\"", "etag 1 \"a\"\r\nx: y"] {
        assert!(line.parse::<BodyIdentity>().is_err(), "{line:?}");
    }
}
