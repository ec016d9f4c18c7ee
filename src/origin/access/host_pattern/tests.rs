use super::*;

#[test]
fn patterns_match_hosts() {
    for (pattern, hosts, others) in [
        ("example.com", "example.com example.com.", "a.example.com example.co xexample.com example.com.x"),
        ("EXAMPLE.com.", "example.com", "example.org"),
        ("*", "a a.b 10.0.0.1 ::1", ""),
        ("*.example.com", "a.example.com a.b.example.com.", "example.com .example.com aexample.com"),
        ("*.com", "a.com a.b.com", "com a.co"),
        ("api-*.example.com", "api-.example.com api-1.example.com", "api-1.b.example.com api.example.com"),
        ("*.api-*.example.com", "a.b.api-1.example.com", "api-1.example.com a.api-1.b.example.com"),
        ("a*b*c", "abc axbyc abbcc", "ab abd xabc"),
        ("a*a", "aa aba", "a"),
        ("a.*", "a.b", "a a.b.c"),
        ("localhost", "localhost localhost.", "localhost.localdomain"),
        ("my_host", "my_host", "myhost"),
    ] {
        let pattern = HostPattern::parse(pattern).unwrap();
        for host in hosts.split_whitespace() {
            assert!(pattern.matches(host), "{pattern} {host}");
        }
        for host in others.split_whitespace() {
            assert!(!pattern.matches(host), "{pattern} {host}");
        }
    }
}

#[test]
fn invalid_hosts_are_rejected() {
    for text in
        ["", ".", "a..b", ".a", "a b", "bücher.example", "10.0.*", "10.*.*.*", "127.1", "a/b", "*.", "a%41"]
    {
        let is_everything = text == "*.";
        assert_eq!(HostPattern::parse(text).is_ok(), is_everything, "{text}");
    }
}
