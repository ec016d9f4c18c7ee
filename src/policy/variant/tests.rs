use super::*;

struct Plain;

impl CredentialDigest for Plain {
    fn digest(&self, credential: &[u8]) -> u128 {
        credential.iter().fold(7, |sum, byte| sum * 31 + u128::from(*byte))
    }
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn matches(vary: &[&str], stored: &[(&'static str, &str)], asked: &[(&'static str, &str)]) -> bool {
    let vary: Vec<(&'static str, &str)> = vary.iter().map(|line| ("vary", *line)).collect();
    let variant = Variant::of(&headers(&vary), &[], &headers(stored), &Plain);
    variant.matches(&headers(asked), &Plain)
}

#[test]
fn every_named_field_must_match() {
    let stored = [("foo", "1"), ("bar", "abc")];
    assert!(matches(&["Foo, Bar"], &stored, &[("bar", "abc"), ("foo", "1"), ("other", "x")]));
    assert!(matches(&["Foo", "Bar"], &stored, &stored));
    assert!(!matches(&["Foo", "Bar"], &stored, &[("foo", "1"), ("bar", "x")]));
    assert!(!matches(&["Foo, Bar"], &stored, &[("foo", "1")]));
    assert!(!matches(&["Foo, Baz"], &stored, &[("foo", "1"), ("baz", "1")]));
    assert!(matches(&["Foo, Baz"], &stored, &[("foo", "1")]));
    assert!(matches(&[], &stored, &[]));
}

#[test]
fn a_vary_with_an_invalid_name_varies_by_anything() {
    for (lines, expected) in [
        (&["foo, bar"][..], false),
        (&["", ", foo"], false),
        (&["*"], true),
        (&["foo", "bar, *"], true),
        (&["foo bar"], true),
        (&[": : foo"], true),
        (&["Accept-Encoding, User-Agent)"], true),
        (&["\"foo, bar\""], true),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        assert_eq!(varies_by_anything(&headers(&lines)), expected, "{lines:?}");
    }
    for (count, expected) in [(MAX_NAMES, false), (MAX_NAMES + 1, true)] {
        let names: Vec<_> = (0..count).map(|number| format!("x-{number}")).collect();
        assert_eq!(varies_by_anything(&headers(&[("vary", &names.join(","))])), expected, "{count}");
    }
}

#[test]
fn a_plain_request_matches_like_a_full_one_or_is_undecided() {
    let asked = [("host", "a"), ("foo", "1"), ("accept", "x, y"), ("cookie", "c")];
    let fields = asked.map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
    let plain = PlainRequest::new("/", &fields).unwrap();
    for (vary, stored, expected) in [
        ("foo", &[("foo", "1")][..], Some(true)),
        ("foo", &[("foo", "2")][..], Some(false)),
        ("foo", &[][..], Some(false)),
        ("bar", &[][..], Some(true)),
        ("bar", &[("bar", "1")][..], Some(false)),
        ("accept", &[("accept", "x, y")][..], None),
        ("cookie", &[("cookie", "c")][..], None),
        // The full comparison ignores it.
        ("host", &[][..], None),
    ] {
        let variant = Variant::of(&headers(&[("vary", vary)]), &[], &headers(stored), &Plain);
        assert_eq!(variant.matches_plainly(&plain), expected, "{vary}");
    }
}

#[test]
fn lines_whitespace_case_and_order_count_only_if_the_grammar_gives_them_a_meaning() {
    assert!(matches(&["foo"], &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
    assert!(matches(&["foo"], &[("foo", "1,2")], &[("foo", " 1, 2 ")]));
    assert!(!matches(&["foo"], &[("foo", "1,2")], &[("foo", "2,1")]));
    assert!(!matches(&["foo"], &[("foo", "a")], &[("foo", "A")]));
    assert!(!matches(&["foo"], &[("foo", "a b")], &[("foo", "ab")]));
    assert!(!matches(&["foo"], &[("foo", "a;b")], &[("foo", "a ; b")]));
    assert!(!matches(&["foo"], &[("foo", "a,,b")], &[("foo", "a,b")]));
    let language = "accept-language";
    assert!(matches(&[language], &[(language, "en, de")], &[(language, "En ,  dE")]));
    assert!(!matches(&[language], &[(language, "en, de")], &[(language, "de, en")]));
    assert!(matches(&[language], &[(language, "en;q=0.5, de")], &[(language, "de, en;q=0.5")]));
    let encoding = "accept-encoding";
    assert!(matches(&[encoding], &[(encoding, "gzip, br")], &[(encoding, "br, gzip")]));
    assert!(!matches(&[encoding], &[(encoding, "gzip, br;q=0")], &[(encoding, "br, gzip")]));
    assert!(matches(&[language], &[(language, "en;q=0.5")], &[(language, "en ; q=0.5")]));
    assert!(!matches(&[language], &[(language, "en;q=0.5, de")], &[(language, "en, de;q=0.5")]));
}

#[test]
fn a_response_in_the_preferred_language_matches() {
    let vary = headers(&[("vary", "accept-language, foo")]);
    let variant = Variant::of(&vary, &[], &headers(&[("accept-language", "en, de"), ("foo", "1")]), &Plain);
    let matches =
        |fields: &[(&'static str, &str)]| variant.matches_in_language(&headers(fields), b"de", &Plain);
    assert!(matches(&[("accept-language", "fr;q=0.5, DE;q=1.0"), ("foo", "1")]));
    assert!(!matches(&[("accept-language", "fr, de;q=0.5"), ("foo", "1")]));
    assert!(!matches(&[("accept-language", "fr, de"), ("foo", "1")]));
    assert!(!matches(&[("accept-language", "de"), ("foo", "2")]));
    assert!(!matches(&[("foo", "1")]));
}

#[test]
fn credentials_are_compared_but_not_stored() {
    let stored = [("authorization", "Basic secret")];
    assert!(matches(&["authorization"], &stored, &stored));
    assert!(!matches(&["authorization"], &stored, &[("authorization", "Basic other")]));
    let variant = Variant::of(&headers(&[]), &[COOKIE], &headers(&[("cookie", "secret")]), &Plain);
    assert!(!format!("{variant:?}").contains("secret"));
    assert!(!variant.matches(&headers(&[]), &Plain));
    let vary = headers(&[("vary", "accept, x-api-key")]);
    let request = headers(&[("accept", "a"), ("x-api-key", "secret")]);
    let variant = Variant::of(&vary, &[], &request, &Plain);
    assert!(!format!("{variant:?}").contains("secret"));
    assert!(variant.is_for_credentials_of(&headers(&[("x-api-key", "secret"), ("accept", "b")]), &Plain));
    assert!(!variant.is_for_credentials_of(&headers(&[("x-api-key", "other"), ("accept", "a")]), &Plain));
}
