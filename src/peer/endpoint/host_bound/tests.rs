use super::*;

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn relative_references_become_absolute() {
    let target = CanonicalUrl::parse("https://a.ex/b/c?d").unwrap();
    for (given, expected) in [
        ("/x?y#z", "https://a.ex/x?y#z"),
        ("x", "https://a.ex/b/x"),
        ("../x", "https://a.ex/x"),
        ("//b.ex/x", "https://b.ex/x"),
        ("?e", "https://a.ex/b/c?e"),
        ("", "https://a.ex/b/c?d"),
        ("#f", "https://a.ex/b/c?d#f"),
        ("http://b.ex/%7e", "http://b.ex/%7e"),
        ("mailto:a@b", "mailto:a@b"),
    ] {
        for name in ["location", "content-location"] {
            let mut headers = fields(&[(name, given)]);
            rewrite_for_other_host(&mut headers, &target, false);
            assert_eq!(headers[name], expected, "{name}: {given}");
        }
    }
    for (given, expected) in [
        ("5; url=/x", "5; url=https://a.ex/x"),
        ("0;URL='x'", "0; url=https://a.ex/b/x"),
        ("5", "5"),
        ("5; url=http://b.ex/", "5; url=http://b.ex/"),
    ] {
        let mut headers = fields(&[("refresh", given)]);
        rewrite_for_other_host(&mut headers, &target, false);
        assert_eq!(headers["refresh"], expected);
    }
}

#[test]
fn host_policies_are_removed_and_cookies_too_unless_passed() {
    let target = CanonicalUrl::parse("https://a.ex/").unwrap();
    let given = || {
        let mut headers = fields(&[("set-cookie", "a=1"), ("set-cookie2", "b=2"), ("etag", "\"x\"")]);
        SET_FOR_HOST.iter().for_each(|name| drop(headers.insert(name, HeaderValue::from_static("x"))));
        headers
    };
    let mut headers = given();
    rewrite_for_other_host(&mut headers, &target, false);
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["etag"]);
    let mut headers = given();
    rewrite_for_other_host(&mut headers, &target, true);
    assert_eq!(headers.len(), 3);
}
