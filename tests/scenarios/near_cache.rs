//! Near caches: local copies of hot responses that another peer owns.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use forwardcache::client::NearCache;
use forwardcache::clock::ManualClock;
use forwardcache::peer::PeerBuilder;
use forwardcache::policy::Mode;
use forwardcache::pool::{PeerUrl, Tokens};
use forwardcache::{Client, ErrorKind, Outcome, Peer};
use http::Response;

use crate::local::LocalPeer;
use crate::support::origin::{Origin, Reply};

/// An origin whose responses have this `Cache-Control`.
fn origin(control: &'static str) -> Origin {
    Origin::start(move |received| {
        Reply::ok(received.target.clone()).field("Cache-Control", control).field("ETag", "\"a\"")
    })
}

/// A pool of three peers with a manual clock.
fn pool() -> (Vec<LocalPeer>, Arc<ManualClock>) {
    pool_with(|builder| builder)
}

fn pool_with(with: impl Fn(PeerBuilder) -> PeerBuilder) -> (Vec<LocalPeer>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at_unix_seconds(1_800_000_000));
    let pool = LocalPeer::pool_with(3, |builder| with(builder.clock(Arc::clone(&clock))));
    (pool, clock)
}

/// Returns a URL of the origin that the first peer does not own, and its owner.
fn url_of_other_owner<'a>(pool: &'a [LocalPeer], origin: &Origin) -> (String, &'a Peer) {
    let owner = |url: &str| pool[0].peer.client().owner(url).unwrap().unwrap();
    let url = (0..)
        .map(|number| origin.url(&format!("/{number}")))
        .find(|url| owner(url) != *pool[0].peer.self_url())
        .unwrap();
    let owned_by: PeerUrl = owner(&url);
    let peer = pool.iter().find(|member| *member.peer.self_url() == owned_by).unwrap();
    (url, &peer.peer)
}

/// Returns the number of requests that a peer has answered.
fn request_count(peer: &Peer) -> u64 {
    let counts = peer.stats().counts();
    counts.iter().take(Outcome::NAMES.len()).map(|(_, count)| count).sum()
}

fn get(peer: &Peer, url: &str) -> Response<bytes::Bytes> {
    let (parts, body) = peer.get(url).send().unwrap().into_parts();
    Response::from_parts(parts, body.into_bytes().unwrap())
}

fn status_of<B>(response: &Response<B>) -> Vec<String> {
    let values = response.headers().get_all("cache-status").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn hot_key_is_served_without_a_socket() {
    let (origin, (pool, clock)) = (origin("max-age=60"), pool());
    let (url, owner) = url_of_other_owner(&pool, &origin);
    let peer = &pool[0].peer;
    for number in 1..=8 {
        get(peer, &url);
        assert_eq!(request_count(owner), number);
    }
    clock.advance(Duration::from_secs(1));
    for _ in 0..20 {
        let response = get(peer, &url);
        assert!(url.ends_with(std::str::from_utf8(response.body()).unwrap()));
        assert_eq!(status_of(&response), ["forwardcache; hit; ttl=60", "forwardcache-near; hit; ttl=9"]);
        assert_eq!(Outcome::of(response.headers()), Some(Outcome::Hit));
        assert_eq!(
            (&response.headers()["age"], &response.headers()["x-from-cache"]),
            (&"1".parse().unwrap(), &"1".parse().unwrap())
        );
    }
    assert_eq!((request_count(owner), origin.count()), (8, 1));
    assert_eq!(peer.client().near_stats().unwrap().counts().of(Outcome::Hit), 20);
    // Responses that the peer owns are already in its store, so they are not copied.
    let own = (0..).map(|number| origin.url(&format!("/own/{number}")));
    let own = own.into_iter().find(|url| peer.client().owner(url).unwrap().as_ref() == Some(peer.self_url()));
    let own = own.unwrap();
    for _ in 0..20 {
        get(peer, &own);
        peer.client().get(&own).send().unwrap().into_body().into_bytes().unwrap();
    }
    assert_eq!(peer.client().near_usage().unwrap().keys, 1);
}

#[test]
fn copy_expires_at_the_same_time_as_at_the_owner() {
    let long = NearCache::new().longest(Duration::from_secs(600)).hot(1, Duration::from_secs(10));
    let origin = Origin::start(|_| {
        Reply::ok("hello").field("Cache-Control", "max-age=60, s-maxage=600").field("Age", "20")
    });
    let (pool, clock) = pool_with(|builder| builder.near_cache(long.clone()));
    let (url, owner) = url_of_other_owner(&pool, &origin);
    let peer = &pool[0].peer;
    get(peer, &url);
    clock.advance(Duration::from_secs(10));
    get(peer, &url);
    assert_eq!(request_count(owner), 2);
    clock.advance(Duration::from_secs(29));
    let response = get(peer, &url);
    assert_eq!((request_count(owner), &response.headers()["age"]), (2, &"59".parse().unwrap()));
    clock.advance(Duration::from_secs(1));
    get(peer, &url);
    assert_eq!((request_count(owner), origin.count()), (3, 2));
}

#[test]
fn non_shareable_requests_go_to_the_owner() {
    for (control, fields) in [
        ("max-age=60", &[("Authorization", "Basic YQ==")][..]),
        ("max-age=60", &[("Cookie", "a=b")]),
        ("max-age=60", &[("Range", "bytes=0-1")]),
        ("max-age=60", &[("Cache-Control", "no-cache")]),
        ("max-age=60", &[("If-None-Match", "\"a\"")]),
        ("private, max-age=60", &[]),
        ("no-store", &[]),
    ] {
        let (origin, (pool, _)) = (origin(control).may_be_unused(), pool());
        let (url, owner) = url_of_other_owner(&pool, &origin);
        let peer = &pool[0].peer;
        for number in 1..=20 {
            let mut request = peer.get(&url);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            request.send().unwrap().into_body().into_bytes().unwrap();
            assert_eq!(request_count(owner), number, "{control} {fields:?}");
        }
        assert_eq!(peer.client().near_usage().unwrap().keys, 0, "{control} {fields:?}");
    }
}

#[test]
fn large_bodies_are_not_copied_and_memory_stays_within_its_limit() {
    let origin = Origin::start(|received| {
        let size = if received.target == "/large" { 300_000 } else { 3_000 };
        Reply::ok(vec![b'x'; size]).field("Cache-Control", "max-age=60")
    });
    let hot = NearCache::new().hot(1, Duration::from_secs(10));
    let (pool, _) = pool_with(|builder| builder.memory(8 << 20).near_cache(hot.clone()));
    let peer = &pool[0].peer;
    let large = origin.url("/large");
    for _ in 0..3 {
        peer.client().get(&large).send().unwrap().into_body().into_bytes().unwrap();
    }
    let usage = || peer.client().near_usage().unwrap();
    let promised = peer.cache().store().usage().capacity + usage().capacity;
    assert_eq!((usage().keys, promised), (0, 8 << 20));
    for number in 0..400 {
        let url = origin.url(&format!("/{number}"));
        for _ in 0..2 {
            get(peer, &url);
            assert!(usage().bytes <= 512 << 10);
        }
    }
    assert!(usage().evictions > 0, "{:?}", usage());
}

#[test]
fn fresh_copy_is_served_while_the_owner_is_down() {
    let near = NearCache::new().longest(Duration::from_secs(600));
    let (mut pool, clock) = pool_with(|builder| builder.near_cache(near.clone()));
    let origin = origin("max-age=60");
    let (url, owner) = url_of_other_owner(&pool, &origin);
    let owner = owner.self_url().clone();
    let peer = pool[0].peer.clone();
    for _ in 0..16 {
        get(&peer, &url);
    }
    pool.retain(|member| *member.peer.self_url() != owner);
    let address = owner.as_str().strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).is_err(), "the owner must be down");
    for second in 1..60 {
        clock.advance(Duration::from_secs(1));
        let response = get(&peer, &url);
        assert_eq!(response.headers()["age"], second.to_string().as_str());
    }
    assert_eq!(origin.count(), 1);
    peer.client().clear_near_cache();
    assert_eq!(peer.client().near_usage().unwrap().keys, 0);
}

#[test]
fn client_has_a_near_cache_if_memory_is_configured() {
    let origin = origin("public, max-age=60");
    let (pool, _) = pool_with(|builder| {
        let tokens = Tokens::new(["a-token-of-the-pool"]).unwrap();
        builder.tokens(tokens).mode(Mode::Shared)
    });
    let url = origin.url("/");
    let client = |near| {
        let tokens = Tokens::new(["a-token-of-the-pool"]).unwrap();
        let builder = Client::builder().pool(LocalPeer::urls(&pool)).tokens(tokens);
        builder.near_cache(near).build().unwrap()
    };
    assert!(client(NearCache::new()).near_stats().is_none());
    let client = client(NearCache::new().memory(1 << 20).hot(3, Duration::from_secs(3600)));
    for _ in 0..20 {
        client.get(&url).send().unwrap().into_body().into_bytes().unwrap();
    }
    let request_count: u64 = pool.iter().map(|member| request_count(&member.peer)).sum();
    assert_eq!((request_count, client.near_stats().unwrap().counts().of(Outcome::Hit)), (3, 17));
}

#[test]
fn near_cache_must_fit_into_the_memory_of_the_peer() {
    let built = |near| Peer::builder("http://10.0.0.1:3000").memory(1 << 20).near_cache(near).build();
    let error = built(NearCache::new().memory(2 << 20)).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::BadOption, "the near cache of 2097152 bytes exceeds the peer's memory of 1048576 bytes")
    );
    assert_eq!(built(NearCache::new()).unwrap().client().near_usage().unwrap().capacity, 64 << 10);
    let pool_of_one = Peer::builder("http://10.0.0.1:3000").memory(1 << 20).build().unwrap();
    assert!(pool_of_one.client().near_usage().is_none());
    assert_eq!(pool_of_one.cache().store().usage().capacity, 1 << 20);
}

#[test]
fn peer_with_near_cache_does_not_retry_a_post() {
    // An owner that accepts requests and closes the connection without a response.
    let owner = Origin::start(|_| Reply::nothing().close()).may_be_unused();
    let origin = Origin::start(|_| Reply::ok("hello")).may_be_unused();
    let own = "http://127.0.0.1:1";
    let peer = Peer::builder(own).pool([own, &owner.url("")]).build().unwrap();
    assert!(peer.client().near_usage().is_some(), "the precondition of this test");
    let url = (0..200)
        .map(|number| origin.url(&format!("/{number}")))
        .find(|url| peer.client().owner(url).unwrap().is_some_and(|peer| peer.as_str() != own))
        .unwrap();
    let error = peer.post(&url).body("").send().unwrap_err();
    assert!(!error.is_reported_by_peer(), "{error}");
    assert_eq!((owner.count(), origin.count()), (1, 0));
}

#[test]
fn unsafe_request_to_a_peer_removes_its_own_copies() {
    let (origin, (pool, _clock)) = (origin("max-age=60"), pool());
    let (url, owner) = url_of_other_owner(&pool, &origin);
    for _ in 0..10 {
        get(&pool[0].peer, &url);
    }
    let asked = request_count(owner);
    get(&pool[0].peer, &url);
    assert_eq!(request_count(owner), asked, "the copy answers");
    // This peer answers the request itself, although it does not own the URL.
    assert_eq!(pool[0].send("POST", &url, "Content-Length: 0\r\n").status, 200);
    get(&pool[0].peer, &url);
    assert_eq!(request_count(owner), asked + 1);
}
