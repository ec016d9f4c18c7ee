use proptest::prelude::*;

use super::*;

#[test]
fn url_purge_covers_every_spelling_of_the_url() {
    let purge = Purge::url("HTTP://Example.com:80/%7ea?b#c").unwrap();
    assert!(purge.covers("http://example.com/~a?b"));
    for other in ["http://example.com/~a", "http://example.com/~a?bc", "https://example.com/~a?b"] {
        assert!(!purge.covers(other), "{other}");
    }
    assert_eq!(Purge::url("example.com").unwrap_err().kind(), ErrorKind::BadUrl);
}

#[test]
fn prefix_never_covers_another_host() {
    for (prefix, covered, not_covered) in [
        ("http://a.ex/", "http://a.ex/b?c", "http://a.example/"),
        ("HTTP://A.ex:80/b", "http://a.ex/bc", "http://a.ex/"),
        ("http://a.ex/b/", "http://a.ex/b/", "http://a.ex/b"),
        ("http://a.ex/b?x=", "http://a.ex/b?x=1&y", "http://a.ex/b"),
        ("http://a.ex:8/", "http://a.ex:8/b", "http://a.ex:80/b"),
        ("http://a.ex/%c3%bc", "http://a.ex/%C3%BCa", "http://a.ex/%C3"),
        ("http://a.ex/b/../c", "http://a.ex/cd", "http://a.ex/b/"),
        ("http://a.ex/.well", "http://a.ex/.well-known/x", "http://a.ex/well"),
        ("http://a.ex/a?b/..", "http://a.ex/a?b/../c", "http://a.ex/"),
    ] {
        let purge = Purge::prefix(prefix).unwrap();
        assert!(purge.covers(covered), "{prefix} {covered}");
        assert!(!purge.covers(not_covered), "{prefix} {not_covered}");
    }
    for bad in [
        "",
        "http:",
        "http://",
        "http://a.ex",
        "http://a.ex?b/",
        "http://a.ex#/",
        "http://a.ex/#b",
        "a.ex/",
        "ftp://a.ex/",
        "http://user@a.ex/",
        "http://a.ex/%",
        "http://a.ex/%4",
        "http://a.ex/b/.",
        "http://a.ex/b/..",
        "http://a.ex/b/%2E%2e",
        "http://a.ex/b/.%2e",
    ] {
        assert_eq!(Purge::prefix(bad).unwrap_err().kind(), ErrorKind::BadUrl, "{bad}");
    }
}

#[test]
fn group_belongs_to_one_origin() {
    for origin in ["https://a.ex", "HTTPS://a.EX:443/"] {
        let purge = Purge::group(origin, "news of today").unwrap();
        assert_eq!((purge.group_name(), purge.group_origin()), (Some("news of today"), Some("https://a.ex")));
        assert!(purge.covers("https://a.ex/b") && purge.covers("https://a.ex/"));
        for other in ["http://a.ex/", "https://a.example/", "https://a.ex:8443/", "https://b.a.ex/"] {
            assert!(!purge.covers(other), "{other}");
        }
    }
    for bad in ["a.ex", "https://a.ex/b", "https://a.ex/?b", "https://a.ex/#b"] {
        assert_eq!(Purge::group(bad, "news").unwrap_err().kind(), ErrorKind::BadUrl, "{bad}");
    }
    for bad in ["a\nb", "caf\u{e9}", &"a".repeat(4097)] {
        assert_eq!(Purge::group("https://a.ex", bad).unwrap_err().kind(), ErrorKind::BadOption);
    }
}

#[test]
fn secrets_in_urls_are_not_displayed() {
    for (purge, text) in [
        (Purge::url("http://a.ex/b?secret"), "http://a.ex/b"),
        (Purge::prefix("http://a.ex/b?secret"), "all that begins with http://a.ex/b"),
        (Purge::group("http://a.ex", "news"), "the group \"news\" of http://a.ex"),
        (Ok(Purge::all()), "everything"),
    ] {
        assert_eq!(purge.unwrap().to_string(), text);
    }
}

proptest! {
    #[test]
    fn longer_url_is_covered_by_its_prefix(start in "[a-z/.~%?=ü]{0,12}", rest in "[a-z0-9~?=]{0,8}") {
        let prefix = format!("http://a.ex/{start}");
        if let Ok(purge) = Purge::prefix(&prefix)
            && let Ok(target) = CanonicalUrl::parse(&format!("{prefix}{rest}"))
        {
            prop_assert!(purge.covers(target.as_str()), "{prefix} {target}");
        }
    }
}
