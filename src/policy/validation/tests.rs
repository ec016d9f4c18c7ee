use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn stored_validators_replace_those_of_the_client() {
    let mut request = headers(&[
        ("if-none-match", "\"theirs\""),
        ("if-modified-since", "then"),
        ("range", "bytes=0-1"),
        ("if-range", "\"x\""),
        ("accept", "a"),
    ]);
    let tags = [HeaderValue::from_static("\"a\""), HeaderValue::from_static("W/\"b\"")];
    assert!(validators(&mut request, &tags, None));
    let expected =
        [("accept", "a"), ("range", "bytes=0-1"), ("if-range", "\"x\""), ("if-none-match", "\"a\", W/\"b\"")];
    assert_eq!(request, headers(&expected));
    assert!(!validators(&mut request, &[], None));
    assert!(validators(&mut request, &[], Some(HeaderValue::from_static("now"))));
}

#[test]
fn a_304_confirms_the_selected_response_or_the_one_that_it_names() {
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NOW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    let of = |tag: Option<&'static str>, date: Option<&'static str>| Validators {
        entity_tag: tag.map(str::as_bytes),
        last_modified: date.map(str::as_bytes),
    };
    let (a, b) = (of(Some("\"a\""), None), of(Some("W/\"b\""), None));
    let (none, dated) = (of(None, None), of(None, Some(THEN)));
    let silent = headers(&[]);
    let naming = |tag| headers(&[("etag", tag)]);
    for (tags, is_selected, update, expected) in [
        (&[a][..], true, &silent, Some(0)),
        (&[a], true, &naming("\"c\""), None),
        (&[a], true, &naming("W/\"c\""), None),
        (&[a], true, &naming("\"a\""), Some(0)),
        (&[a], true, &naming("W/\"a\""), Some(0)),
        (&[b], true, &naming("\"b\""), Some(0)),
        (&[b], true, &naming("\"c\""), None),
        (&[none], true, &naming("\"c\""), Some(0)),
        (&[dated], true, &naming("\"c\""), Some(0)),
        (&[dated], true, &silent, Some(0)),
        (&[dated], true, &headers(&[("last-modified", THEN)]), Some(0)),
        (&[dated], true, &headers(&[("last-modified", NOW)]), None),
        (&[dated], true, &headers(&[("last-modified", "nonsense")]), Some(0)),
        (&[of(Some("\"a\""), Some(THEN))], true, &headers(&[("last-modified", NOW)]), None),
        (
            &[of(Some("\"a\""), Some(THEN))],
            true,
            &headers(&[("last-modified", NOW), ("etag", "\"a\"")]),
            Some(0),
        ),
        (&[a], false, &silent, None),
        (&[a], false, &naming("\"a\""), Some(0)),
        (&[a], false, &naming("W/\"a\""), None),
        (&[b], false, &naming("\"b\""), None),
        (&[b], false, &naming("W/\"b\""), None),
        (&[b, none, a], false, &naming("\"a\""), Some(2)),
        (&[a, b], false, &naming("\"c\""), None),
        (&[a, b], false, &silent, None),
        (&[], false, &silent, None),
    ] {
        assert_eq!(confirmed(tags, is_selected, update), expected, "{tags:?} {is_selected} {update:?}");
    }
}

#[test]
fn a_304_adds_and_replaces_fields_and_keeps_others() {
    let stored = headers(&[
        ("x-kept", "1"),
        ("link", "<old>"),
        ("age", "5"),
        ("date", "then"),
        ("etag", "\"a\""),
        ("content-type", "text/plain"),
    ]);
    let update = headers(&[
        ("link", "<one>"),
        ("link", "<two>"),
        ("x-new", "1"),
        ("etag", "\"b\""),
        ("content-length", "0"),
        ("content-type", "text/html"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ]);
    let expected = headers(&[
        ("x-kept", "1"),
        ("etag", "\"a\""),
        ("link", "<one>"),
        ("link", "<two>"),
        ("x-new", "1"),
        ("content-type", "text/html"),
    ]);
    assert_eq!(freshened(&stored, &update), expected);
}

#[test]
fn a_head_confirms_or_contradicts_a_stored_response_or_does_neither() {
    use HeadComparison::{Changed, Confirmed, Nothing};
    let stored = headers(&[("etag", "\"a\""), ("last-modified", "then")]);
    for (head, expected) in [
        (&[][..], Nothing),
        (&[("content-length", "3")], Nothing),
        (&[("etag", "W/\"a\""), ("content-length", "3")], Confirmed),
        (&[("last-modified", "then")], Confirmed),
        (&[("etag", "\"a\""), ("last-modified", "now")], Changed),
        (&[("etag", "\"b\"")], Changed),
        (&[("last-modified", "now")], Changed),
        (&[("content-length", "4")], Changed),
    ] {
        assert_eq!(compare_with_head(&stored, 3, &headers(head)), expected, "{head:?}");
    }
    assert_eq!(compare_with_head(&headers(&[]), 3, &headers(&[("etag", "\"a\"")])), Changed);
}
