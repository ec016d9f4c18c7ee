use proptest::prelude::*;

use super::*;

fn canonical(url: &str) -> String {
    CanonicalUrl::parse(url).unwrap_or_else(|bad| panic!("{url}: {bad}")).to_string()
}

fn error_of(url: &str) -> InvalidUrl {
    CanonicalUrl::parse(url).expect_err(url)
}

#[test]
fn equal_urls_have_one_canonical_form() {
    for (url, expected) in [
        ("http://example.com", "http://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("HTTP://EXAMPLE.com:80/A", "http://example.com/A"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:80", "https://example.com:80/"),
        ("http://example.com:0080/", "http://example.com/"),
        ("http://example.com/a#b?c", "http://example.com/a"),
        ("http://example.com#b", "http://example.com/"),
        ("http://example.com?a", "http://example.com/?a"),
        ("http://example.com/?", "http://example.com/?"),
        ("http://example.com/a/./b/../c", "http://example.com/a/c"),
        ("http://example.com/%2e%2E/a/%2E", "http://example.com/a/"),
        ("http://example.com/%7euser/%c3%bc%2f", "http://example.com/~user/%C3%BC%2F"),
        ("http://example.com/a?b=../%7e%2f#", "http://example.com/a?b=../~%2F"),
        ("http://example.com/café?q=ü", "http://example.com/caf%C3%A9?q=%C3%BC"),
        ("http://example.com/a\\b\"<>^`{|}", "http://example.com/a%5Cb%22%3C%3E%5E%60%7B%7C%7D"),
        ("http://example.com/a//b?c=d//e?f", "http://example.com/a//b?c=d//e?f"),
        ("http://example.com/?a[]=1&B=2&a=3", "http://example.com/?a[]=1&B=2&a=3"),
        ("http://example.com./", "http://example.com./"),
        ("http://[2001:DB8:0:0::1]:8080/", "http://[2001:db8::1]:8080/"),
        ("http://[::ffff:7f00:1]/", "http://[::ffff:127.0.0.1]/"),
        ("http://xn--caf-dma.example/", "http://xn--caf-dma.example/"),
        ("http://my_host/", "http://my_host/"),
    ] {
        assert_eq!(canonical(url), expected, "{url}");
    }
}

#[test]
fn percent_sign_without_an_escape_is_escaped() {
    assert_eq!(canonical("http://a/?off=100%"), "http://a/?off=100%25");
    // If the first `%` stayed, parsing the result again would find another escape.
    assert_eq!(canonical("http://a/%%34%31"), "http://a/%2541");
    assert_eq!(canonical("http://a/%zz%4"), "http://a/%25zz%254");
}

#[test]
fn invalid_urls_are_rejected_with_a_reason() {
    for (url, expected) in [
        ("", InvalidUrl::Empty),
        ("/a", InvalidUrl::NotAbsolute),
        ("//example.com/", InvalidUrl::NotAbsolute),
        ("example.com:80/", InvalidUrl::NotAbsolute),
        ("ftp://example.com/", InvalidUrl::NotAbsolute),
        ("http:example.com", InvalidUrl::NotAbsolute),
        ("http:/example.com", InvalidUrl::NotAbsolute),
        ("http://", InvalidUrl::NoHost),
        ("http:///a", InvalidUrl::NoHost),
        ("http://:80/", InvalidUrl::NoHost),
        ("http://?a", InvalidUrl::NoHost),
        ("http://ex%61mple.com/", InvalidUrl::BadHost),
        ("http://a,b/", InvalidUrl::BadHost),
        ("http://a\\b/", InvalidUrl::BadHost),
        ("http://bücher.example/", InvalidUrl::HostNotAscii),
        ("http://user@example.com/", InvalidUrl::UserInfo),
        ("http://good.example\\@bad.example/", InvalidUrl::UserInfo),
        ("http://user:password@example.com/", InvalidUrl::UserInfo),
        ("http://@example.com/", InvalidUrl::UserInfo),
        ("http://example.com:0/", InvalidUrl::BadPort),
        ("http://example.com:65536/", InvalidUrl::BadPort),
        ("http://example.com:+80/", InvalidUrl::BadPort),
        ("http://example.com:80:80/", InvalidUrl::BadPort),
        ("http://example.com/a b", InvalidUrl::BadByte),
        (" http://example.com/", InvalidUrl::BadByte),
        ("http://example.com/\r\nX: y", InvalidUrl::BadByte),
        ("http://example.com/\u{7f}", InvalidUrl::BadByte),
    ] {
        assert_eq!(error_of(url), expected, "{url}");
    }
}

#[test]
fn at_sign_after_the_authority_is_not_userinfo() {
    assert_eq!(canonical("http://example.com/@a?b@c"), "http://example.com/@a?b@c");
}

#[test]
fn length_limit_applies_to_input_and_canonical_form() {
    let fits = format!("http://a/{}", "b".repeat(MAX_LENGTH - 9));
    assert_eq!(canonical(&fits), fits);
    assert_eq!(error_of(&format!("{fits}b")), InvalidUrl::TooLong);
    let grows = format!("http://a/{}", "é".repeat(2000));
    assert_eq!(error_of(&grows), InvalidUrl::TooLong);
}

#[test]
fn parts_are_accessible() {
    let target = CanonicalUrl::parse("https://[::1]:8443/a/b?c").unwrap();
    assert!(target.is_https());
    assert_eq!(target.authority(), "[::1]:8443");
    assert_eq!(target.host(), "::1");
    assert_eq!(target.port(), 8443);
    assert_eq!(target.path(), "/a/b");
    assert_eq!(target.query(), Some("c"));
    assert_eq!(target.literal_address(), Some("::1".parse().unwrap()));

    let target = CanonicalUrl::parse("http://example.com").unwrap();
    assert!(!target.is_https());
    assert_eq!(target.authority(), "example.com");
    assert_eq!((target.port(), target.query(), target.literal_address()), (80, None, None));
    assert_eq!(CanonicalUrl::parse("https://a/?").unwrap().query(), Some(""));
    assert_eq!(CanonicalUrl::parse("https://a/?").unwrap().port(), 443);
}

#[test]
fn origin_is_scheme_host_and_port() {
    let origin = CanonicalUrl::parse("http://example.com/a").unwrap();
    let same = |url: &str| origin.same_origin(&CanonicalUrl::parse(url).unwrap());
    assert!(same("HTTP://example.com:80/b?c"));
    assert!(!same("https://example.com/a"));
    assert!(!same("http://example.com:8080/a"));
    assert!(!same("http://example.com.evil.example/a"));
    assert!(!same("http://sub.example.com/a"));
}

#[test]
fn conversion_to_the_crate_error_keeps_the_reason() {
    let error = crate::Error::from(InvalidUrl::NoHost);
    assert_eq!(error.kind(), crate::ErrorKind::BadUrl);
    assert_eq!(error.to_string(), "the URL names no host");
}

fn url_like_text() -> impl Strategy<Value = String> {
    const PIECES: [&str; 30] = [
        "a",
        "B",
        "%",
        "4",
        "41",
        "2e",
        "%2e",
        "%2F",
        "%c3",
        "..",
        ".",
        "/",
        "/",
        "//",
        "?",
        "#",
        "é",
        "\\",
        "[::1]",
        "127.0.0.1",
        ":80",
        ":443",
        ":8080",
        "@",
        "{",
        "|",
        "]",
        "+",
        "&x=",
        "~",
    ];
    let scheme = prop::sample::select(vec!["http://", "HTTPS://", "http://h", "https://H.example:443/", ""]);
    let rest = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..16);
    (scheme, rest).prop_map(|(scheme, rest)| scheme.to_owned() + &rest.concat())
}

proptest! {
    #[test]
    fn parser_never_panics(url in any::<String>(), rest in any::<String>()) {
        let _ = CanonicalUrl::parse(&url);
        if let Ok(target) = CanonicalUrl::parse(&format!("http://h/{rest}")) {
            let _ = target.uri();
            let _ = target.join(&url);
        }
    }

    #[test]
    fn fast_check_agrees_with_normalization(url in url_like_text()) {
        let normalized = CanonicalUrl::normalize(&url);
        let parsed = CanonicalUrl::parse(&url);
        prop_assert_eq!(
            parsed.ok().map(|target| (target.parts(), target)),
            normalized.ok().map(|target| (target.parts(), target))
        );
    }

    #[test]
    fn canonical_form_is_a_fixed_point(url in url_like_text()) {
        if let Ok(target) = CanonicalUrl::parse(&url) {
            let again = CanonicalUrl::parse(target.as_str()).unwrap();
            prop_assert_eq!(again.as_str(), target.as_str());
            prop_assert_eq!(again.authority(), target.authority());
            prop_assert_eq!((again.port(), again.path()), (target.port(), target.path()));
            prop_assert_eq!(again.query(), target.query());
        }
    }

    #[test]
    fn origin_equals_the_parsed_root_url(url in url_like_text()) {
        if let Ok(target) = CanonicalUrl::parse(&url) {
            let scheme = if target.is_https() { "https" } else { "http" };
            let parsed = CanonicalUrl::parse(&format!("{scheme}://{}/", target.authority())).unwrap();
            let origin = target.origin();
            prop_assert_eq!(origin.as_str(), parsed.as_str());
            prop_assert_eq!((origin.host(), origin.authority()), (parsed.host(), parsed.authority()));
            prop_assert_eq!((origin.port(), origin.path()), (parsed.port(), parsed.path()));
            prop_assert_eq!(origin.query(), parsed.query());
        }
    }

    #[test]
    fn uri_has_the_same_parts(url in url_like_text()) {
        if let Ok(target) = CanonicalUrl::parse(&url) {
            let uri = target.uri();
            prop_assert_eq!(uri.to_string(), target.as_str());
            prop_assert_eq!(uri.path(), target.path());
            prop_assert_eq!(uri.query(), target.query());
            prop_assert_eq!(uri.authority().unwrap().as_str(), target.authority());
            prop_assert_eq!(CanonicalUrl::parse(&uri.to_string()).unwrap(), target);
        }
    }
}
