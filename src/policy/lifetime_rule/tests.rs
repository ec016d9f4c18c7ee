use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_first_matching_rule_applies() {
    let rules = [
        LifetimeRule::new(Lifetime::Exactly(HOUR)).host("*.Example.com").path("/images/*").status(200),
        LifetimeRule::new(Lifetime::AtLeast(HOUR)).status(404).status(410),
        LifetimeRule::new(Lifetime::AtMost(HOUR)).host("example.com"),
    ];
    for (url, status, expected) in [
        ("http://a.example.com/images/b/c.png?x=/other", 200, Some(Lifetime::Exactly(HOUR))),
        ("https://a.example.com:8443/images/c.png", 200, Some(Lifetime::Exactly(HOUR))),
        ("http://a.example.com/images/c.png", 404, Some(Lifetime::AtLeast(HOUR))),
        ("http://a.example.com/other", 200, None),
        ("http://example.com/images/c.png", 200, Some(Lifetime::AtMost(HOUR))),
        ("http://example.org/", 410, Some(Lifetime::AtLeast(HOUR))),
    ] {
        let target = CanonicalUrl::parse(url).unwrap();
        let found = lifetime_rule(&rules, &target, StatusCode::from_u16(status).unwrap());
        assert_eq!(found.map(|rule| rule.lifetime), expected, "{url} {status}");
    }
}

#[test]
fn without_a_status_a_minimum_applies_only_to_successes() {
    for (lifetime, of_errors) in
        [(Lifetime::AtLeast(HOUR), false), (Lifetime::Exactly(HOUR), false), (Lifetime::AtMost(HOUR), true)]
    {
        let (rule, target) = (LifetimeRule::new(lifetime), CanonicalUrl::parse("http://a.ex/").unwrap());
        for (status, expected) in
            [(200, true), (206, true), (301, of_errors), (404, of_errors), (500, of_errors)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(rule.matches(&target, status), expected, "{lifetime:?} {status}");
        }
        assert!(rule.status(404).matches(&target, StatusCode::NOT_FOUND));
    }
}

#[test]
fn a_rule_matches_ports_and_paths_below_its_path() {
    let rule = |host: &str, path: &str| LifetimeRule::new(Lifetime::AtMost(HOUR)).host(host).path(path);
    for (host, path, url, expected) in [
        ("a.ex:8443", "*", "https://a.ex:8443/", true),
        ("a.ex:8443", "*", "https://a.ex/", false),
        ("a.ex:443", "*", "https://a.ex/", true),
        ("a.ex:443", "*", "http://a.ex/", false),
        ("*:80", "*", "http://b.ex/", true),
        ("[::1]:81", "*", "http://[::1]:81/", true),
        ("[::1]", "*", "http://[::1]:81/", true),
        ("::1", "*", "http://[::1]/", true),
        ("*", "/v1/", "http://a.ex/v1/", true),
        ("*", "/v1/", "http://a.ex/v1/b/c?d", true),
        ("*", "/v1/", "http://a.ex/v1", false),
        ("*", "/v*/", "http://a.ex/v2/x", true),
        ("*", "/v1", "http://a.ex/v1/b", false),
    ] {
        let target = CanonicalUrl::parse(url).unwrap();
        assert_eq!(rule(host, path).matches(&target, StatusCode::OK), expected, "{host} {path} {url}");
    }
}

#[test]
fn a_rule_replaces_raises_or_caps_the_lifetime() {
    assert_eq!(Lifetime::Exactly(HOUR).of(HOUR * 2), HOUR);
    assert_eq!(Lifetime::AtLeast(HOUR).of(HOUR / 2), HOUR);
    assert_eq!(Lifetime::AtLeast(HOUR).of(HOUR * 2), HOUR * 2);
    assert_eq!(Lifetime::AtMost(HOUR).of(HOUR * 2), HOUR);
}

proptest! {
    /// The reference implementation tries each way to split the text.
    #[test]
    fn a_pattern_matches_like_the_reference_implementation(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
        fn naive(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
                Some((byte, rest)) => text.split_first().is_some_and(|(first, text)| first == byte && naive(rest, text)),
            }
        }
        prop_assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
    }
}
