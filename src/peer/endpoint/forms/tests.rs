use super::*;

fn mirrors() -> Mirrors {
    let texts = ["a=https://a.ex/b/", "root=http://root.ex", "secret=http://s.ex/ rewrite=x"];
    Mirrors::new(texts.map(|text| text.parse().unwrap()).into())
}

#[test]
fn target_names_a_url_as_it_stands() {
    let mirrors = mirrors();
    for (target, url) in [
        ("/fetch/https://h.ex/a?b=c&d=%2F", "https://h.ex/a?b=c&d=%2F"),
        ("/fetch/http://h.ex", "http://h.ex/"),
        ("/fetch/https%3A//h.ex%3a8443/a%3A?b", "https://h.ex:8443/a%3A?b"),
        ("/fetch/HTTP%3a//h.ex", "http://h.ex/"),
        ("/fetch/http://h.ex?q", "http://h.ex/?q"),
        ("/fetch/HTTP://H.ex:80/a%2fb/", "http://h.ex/a%2Fb/"),
        ("/fetch/http://h.ex/fetch/http://i.ex/", "http://h.ex/fetch/http://i.ex/"),
        ("/mirror/a/", "https://a.ex/b/"),
        ("/mirror/a/c/d?e", "https://a.ex/b/c/d?e"),
        ("/mirror/a/http://x/", "https://a.ex/b/http://x/"),
        ("/mirror/root/..%2f", "http://root.ex/..%2F"),
        ("/mirror/a/c/..%2fd", "https://a.ex/b/c/..%2Fd"),
        ("/mirror/a/c..;d/%2f", "https://a.ex/b/c..;d/%2F"),
    ] {
        let named = named(target, &mirrors).unwrap().unwrap_or_else(|reason| panic!("{target}: {reason}"));
        assert_eq!(named.target.as_str(), url, "{target}");
    }
    for target in ["/", "/fetch", "/fetches/http://h/", "/mirror", "/proxy?q=x", "/mirrors/a/"] {
        assert!(named(target, &mirrors).is_none(), "{target}");
    }
}

#[test]
fn invalid_target_gets_the_reason_in_one_line() {
    for target in [
        "/fetch/",
        "/fetch/h.ex/",
        "/fetch/https:/h.ex/",
        "/fetch/https%3A%2F%2Fh.ex/",
        "/fetch/ftp://h.ex/",
        "/fetch/http://u:p@h.ex/",
        "/fetch/http://h.ex:0x50/",
        "/fetch/http://h.ex:99999/",
        "/fetch/http:///",
        "/fetch//fetch/http://h.ex/",
        "/fetch/fetch/http://h.ex/",
        "/fetch/?http://h.ex/",
        "/fetch/http://127.1/",
        "/mirror/",
        "/mirror/a",
        "/mirror/b/",
        "/mirror/A/",
        "/mirror/a/../c",
        "/mirror/a/%2e%2e/c",
        "/mirror/a/x/../../c",
        "/mirror/a/..%2fc",
        "/mirror/a/..%2F..%2fc",
        "/mirror/a/x%2f..%2f..%2fc",
        "/mirror/a/..%5cc",
        "/mirror/a/..;/c",
        "/mirror/a/..;x=y/c",
        "/mirror/a/%2e%2e%2fc",
        "/mirror//a/",
    ] {
        let reason = named(target, &mirrors()).unwrap().unwrap_err();
        assert!(!reason.is_empty() && !reason.contains('\n'), "{target}");
    }
    let long = format!("/fetch/http://h.ex/{}", "a".repeat(8192));
    assert!(named(&long, &mirrors()).unwrap().unwrap_err().contains("8 KiB"));
}

#[test]
fn plain_url_agrees_with_the_parsed_one() {
    let mirrors = mirrors();
    let mut url = Vec::new();
    for target in ["/fetch/https://h.ex/a?b", "/mirror/a/c?d", "/mirror/root/"] {
        assert_eq!(plain_url(target, &mirrors, &mut url), Some(false), "{target}");
        let named = named(target, &mirrors).unwrap().unwrap();
        assert_eq!(url, named.target.as_str().as_bytes());
    }
    assert_eq!(plain_url("http://h.ex/", &mirrors, &mut url), Some(true));
    for target in ["/mirror/secret/", "/mirror/a/..%2Fc", "/mirror/none/", "/proxy?q=http://h.ex/", "/"] {
        assert_eq!(plain_url(target, &mirrors, &mut url), None, "{target}");
    }
}
