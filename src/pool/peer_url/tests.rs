use super::*;
use crate::message::url::query_value;

fn canonical(url: &str) -> String {
    PeerUrl::parse(url).unwrap_or_else(|bad| panic!("{url}: {bad}")).to_string()
}

#[test]
fn each_peer_has_one_canonical_text() {
    for (url, expected) in [
        ("http://h:1", "http://h:1"),
        ("http://h:1/", "http://h:1"),
        ("HTTP://H:1//", "http://h:1"),
        ("http://h:80", "http://h"),
        ("https://h:443/", "https://h"),
        ("http://h:443", "http://h:443"),
        ("http://h:1/cache", "http://h:1/cache"),
        ("http://h:1/a/../cache/", "http://h:1/cache"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
    ] {
        assert_eq!(canonical(url), expected, "{url}");
        assert_eq!(canonical(expected), expected);
    }
    assert_eq!(PeerUrl::parse("http://h:1").unwrap(), PeerUrl::parse("http://H:1/").unwrap());
    assert_eq!(PeerUrl::parse("https://h:443/c").unwrap().authority(), "h");
}

#[test]
fn the_peers_of_the_test_vectors_are_canonical() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/ring.json")).unwrap();
    let rings = vectors["rings"].as_array().unwrap();
    let peers: Vec<&str> = rings
        .iter()
        .flat_map(|ring| ring["peers"].as_array().unwrap())
        .map(|peer| peer.as_str().unwrap())
        .collect();
    assert!(!peers.is_empty());
    for peer in peers {
        assert_eq!(canonical(peer), peer);
    }
}

#[test]
fn an_invalid_base_url_is_refused() {
    for (url, expected) in [
        ("", InvalidPeerUrl::Url(InvalidUrl::Empty)),
        ("h:1", InvalidPeerUrl::Url(InvalidUrl::NotAbsolute)),
        ("http://", InvalidPeerUrl::Url(InvalidUrl::NoHost)),
        ("http://u@h:1", InvalidPeerUrl::Url(InvalidUrl::UserInfo)),
        ("http://h:1/?", InvalidPeerUrl::Query),
        ("http://h:1?a=b", InvalidPeerUrl::Query),
        ("http://h:1/#", InvalidPeerUrl::Fragment),
    ] {
        assert_eq!(PeerUrl::parse(url), Err(expected), "{url}");
    }
    let error = Error::from(InvalidPeerUrl::Query);
    assert_eq!(error.kind(), ErrorKind::BadPeer);
}

#[test]
fn a_request_url_has_the_target_in_its_query() {
    let target = CanonicalUrl::parse("https://example.com/a%20b").unwrap();
    for (base, path, expected) in [
        ("http://h:1", "/proxy", "http://h:1/proxy"),
        ("http://h:1/", "proxy", "http://h:1/proxy"),
        ("http://h:1/cache/", "/proxy", "http://h:1/cache/proxy"),
        ("http://h:1", "/", "http://h:1/"),
        ("http://h:1", "", "http://h:1/"),
        ("http://h:1", "/a b?c#d", "http://h:1/a%20b%3Fc%23d"),
    ] {
        let url = PeerUrl::parse(base).unwrap().request_url(path, &target);
        assert_eq!(url, *format!("{expected}?q=https%3A%2F%2Fexample.com%2Fa%2520b"));
        assert_eq!(query_value(url.query(), "q").unwrap().as_deref(), Some(target.as_str()));
    }
}

#[test]
fn the_longest_target_fits_the_longest_base() {
    let long = |url: &str| format!("{url}{}", "%FF".repeat((8192 - url.len() - 1) / 3));
    let target = CanonicalUrl::parse(&long("http://a/?")).unwrap();
    let peer = PeerUrl::parse(&long("http://h:1/")).unwrap();
    let url = peer.request_url("/proxy", &target);
    assert_eq!(query_value(url.query(), "q").unwrap().as_deref(), Some(target.as_str()));
}
