use super::*;

#[test]
fn displayed_text_can_be_parsed() {
    for (text, shown) in [
        ("example.com", "example.com"),
        ("Example.COM.:80", "example.com:80"),
        ("https://*.example.com", "https://*.example.com"),
        ("HTTP://*:8000-8999", "http://*:8000-8999"),
        ("10.1.0.0/16:8080", "10.1.0.0/16:8080"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("[fd00::/8]:1-65535", "[fd00::/8]:1-65535"),
        ("[::1]", "[::1/128]"),
        ("PRIVATE", "private"),
        ("any:443", "any:443"),
        ("intranet.example@private:8080", "intranet.example@private:8080"),
        ("private@any", "private@any"),
        ("https://*.a@[fd00::/8]:8443", "https://*.a@[fd00::/8]:8443"),
    ] {
        let pattern: OriginPattern = text.parse().unwrap_or_else(|bad| panic!("{text}: {bad}"));
        assert_eq!(pattern.to_string(), shown, "{text}");
        assert_eq!(shown.parse().as_ref(), Ok(&pattern), "{shown}");
    }
}

#[test]
fn parse_error_names_the_problem() {
    for (text, words) in [
        ("", "no host"),
        ("ftp://a", "scheme"),
        ("a:0", "port"),
        ("a:", "port"),
        ("a:x", "port"),
        ("a:9-8", "port"),
        ("a:1-", "port"),
        ("a:+1", "port"),
        ("a:65536", "port"),
        ("fd00::/8", "brackets"),
        ("::1", "brackets"),
        ("[10.0.0.0/8]", "brackets"),
        ("[fd00::/8", "brackets"),
        ("10.0.0.1/8", "bits"),
        ("10.0.0.0/33", "longer"),
        ("10.0.0.0/x", "number"),
        ("10.0.0.*", "network"),
        ("a@b", "after the @"),
        ("a@10.0.0.1/8", "bits"),
        ("@private", "no host"),
        ("a/b", "neither"),
        ("http://a/", "neither"),
        ("a@private@any", "after the @"),
        ("lööp", "punycode"),
    ] {
        let bad = text.parse::<OriginPattern>().unwrap_err().to_string();
        assert!(bad.contains(words) && bad.lines().count() == 1, "{text}: {bad}");
    }
}
