use std::time::Duration;

use http::Method;

use super::purge::SCOPE;
use super::*;

#[test]
fn other_endpoints_are_below_the_path() {
    for (path, why) in [("/proxy", "/proxy/why"), ("/a/", "/a/why"), ("/", "/why")] {
        let paths = Paths::under(path.to_owned());
        assert_eq!(paths.of(Endpoint::Why), why);
        assert_eq!(paths.of(Endpoint::Leaving), why.replace("why", "leaving"));
        assert_eq!(paths.of(Endpoint::Proxy), path);
    }
}

#[test]
fn a_failure_has_a_mark() {
    let mut headers = HeaderMap::new();
    assert_eq!(failure(&headers), None);
    mark_failure(&mut headers, ErrorKind::Timeout);
    assert_eq!(failure(&headers), Some(ErrorKind::Timeout));
    headers.insert(&ERROR, HeaderValue::from_static("of-tomorrow"));
    assert_eq!(failure(&headers), Some(ErrorKind::Io));
    remove_marks(&mut headers);
    assert_eq!(failure(&headers), None);
}

#[test]
fn the_options_of_a_hop_can_be_parsed() {
    let hop = Hop {
        wants_digest: true,
        deadline: Some(Duration::from_millis(1500)),
        soft_deadline: Some(Duration::ZERO),
        members: Some(PoolDigest(0xabc)),
    };
    let mut headers = HeaderMap::new();
    hop.put(&mut headers);
    assert!(headers.contains_key(&NOT_A_PAGE));
    assert_eq!(headers[&HOP], "digest, deadline=1500, soft=0, members=0000000000000abc");
    assert_eq!(Hop::take(&mut headers), hop);
    assert!(headers.is_empty());
    let odd = b"of-tomorrow=1,  digest ,deadline=,soft=-1, deadline=1e9, =, soft=9999999999999, members=abc";
    assert_eq!(Hop::parse(odd), Hop { wants_digest: true, ..Hop::default() });
}

#[test]
fn a_purge_has_at_most_one_scope() {
    assert!(is_purge(&purge()) && !is_purge(&Method::GET));
    let mut headers = HeaderMap::new();
    for scope in [Scope::Pool, Scope::Own, Scope::Near, Scope::Pool, Scope::Near] {
        scope.put(&mut headers);
        assert_eq!(Scope::of(&headers), Some(scope));
    }
    headers.append(&SCOPE, HeaderValue::from_static("near"));
    assert_eq!(Scope::of(&headers), None);
    headers.insert(&SCOPE, HeaderValue::from_static("all"));
    assert_eq!(Scope::of(&headers), None);
}

#[test]
fn a_path_is_absolute_and_plain() {
    for (path, good) in [("/proxy", true), ("/", true), ("/a/b", true), ("proxy", false), ("/a?b", false)] {
        assert_eq!(is_path(path), good, "{path}");
    }
}
