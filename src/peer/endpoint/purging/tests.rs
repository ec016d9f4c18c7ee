use std::net::IpAddr;
use std::sync::{Arc, Barrier};
use std::thread;

use http::{HeaderMap, Method};
use parking_lot::Mutex;

use super::*;
use crate::base::error::Error;
use crate::base::token::Tokens;
use crate::cache::HttpCache;
use crate::message::purge::Purged;
use crate::message::round_trip::{RoundTrip, RoundTripFn};
use crate::message::url::CanonicalUrl;
use crate::peer::endpoint::{AccessRules, OwnAddresses, PoolView, Rights};
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::PoolDigest;
use crate::store::MemoryStore;

const TOKEN: &str = "a-token-of-the-pool";

#[derive(Debug)]
struct TestPool {
    url: PeerUrl,
    near_purges: Arc<Mutex<Vec<String>>>,
    /// `purge_others` waits twice at this barrier.
    barrier: Option<Arc<Barrier>>,
    is_alone: bool,
}

impl Default for TestPool {
    fn default() -> Self {
        let url = PeerUrl::parse("http://two:1").unwrap();
        Self { url, near_purges: Arc::default(), barrier: None, is_alone: false }
    }
}

impl PoolView for TestPool {
    fn is_peer(&self, _: &CanonicalUrl) -> bool {
        false
    }

    fn is_own(&self, _: &str) -> bool {
        unreachable!("these tests only purge")
    }

    fn ask_owner(
        &self,
        _: &CanonicalUrl,
        _: Request<Body>,
        _: &dyn RoundTrip,
    ) -> crate::base::error::Result<Response<Body>> {
        unreachable!("these tests only purge")
    }

    fn has_socket(&self, _: std::net::SocketAddr) -> bool {
        false
    }

    fn has_address(&self, _: IpAddr) -> bool {
        false
    }

    fn digest(&self) -> PoolDigest {
        PoolDigest::of("ours")
    }

    fn own_url(&self) -> &PeerUrl {
        &self.url
    }

    fn note_leaving(&self, _: &PeerUrl) -> bool {
        false
    }

    fn purge_previous_owners(&self, _: &Purge) {}

    fn forget_after(&self, _: &Method, _: &CanonicalUrl, _: StatusCode, _: &HeaderMap) {}

    fn purge_near_cache(&self, purge: &Purge) {
        self.near_purges.lock().push(purge.query());
    }

    fn is_alone(&self) -> bool {
        self.is_alone
    }

    fn purge_others(&self, _: &Purge) -> Vec<PeerPurged> {
        assert!(!self.is_alone);
        if let Some(barrier) = &self.barrier {
            barrier.wait();
            barrier.wait();
        }
        let peer = |url: &str| PeerUrl::parse(url).unwrap();
        let down = Error::new(ErrorKind::Unreachable, "no peer listens");
        vec![
            PeerPurged::new(peer("http://three:1"), Err(down)),
            PeerPurged::new(peer("http://one:1"), Ok(Purged::new(4, 40))),
        ]
    }
}

/// Returns a peer that is served on these addresses. Its origin accepts only GET.
fn proxy(served: &[&str], tokens: Option<Tokens>, purge_by_anyone: bool) -> Proxy {
    proxy_in(TestPool::default(), served, tokens, purge_by_anyone)
}

fn proxy_in(pool: TestPool, served: &[&str], tokens: Option<Tokens>, purge_by_anyone: bool) -> Proxy {
    let origin = RoundTripFn(|request: Request<Body>| {
        assert_eq!(request.method(), "GET");
        Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
    });
    let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap();
    let own_addresses = OwnAddresses::default();
    served.iter().for_each(|address| own_addresses.add(address.parse().unwrap()));
    let rights = Rights { tokens, purge_by_anyone, ..Rights::default() };
    let access = AccessRules::new(rights, "any,deny:bad".parse().unwrap());
    Proxy::new("/proxy".to_owned(), cache, Arc::new(own_addresses), Box::new(pool), access)
}

fn ask(proxy: &Proxy, request: http::request::Builder) -> (u16, String) {
    let response = proxy.handle(request.body(Body::empty()).unwrap());
    (response.status().as_u16(), response.into_body().into_text().unwrap())
}

fn purge(query: &str) -> http::request::Builder {
    Request::builder().method("PURGE").uri(format!("/proxy{query}"))
}

#[test]
fn purge_needs_a_token_or_loopback_or_permission() {
    let tokens = || Some(Tokens::new([TOKEN]).unwrap());
    let shown = format!("Bearer {TOKEN}");
    for (served, tokens, by_anyone, field, expected) in [
        (&[][..], None, false, "", 403),
        (&["10.0.0.1:3000"], None, false, "", 403),
        (&["127.0.0.1:3000", "10.0.0.1:3000"], None, false, "", 403),
        (&["127.0.0.1:3000"], None, false, "", 200),
        (&["10.0.0.1:3000"], None, true, "", 200),
        (&["127.0.0.1:3000"], tokens(), true, "", 407),
        (&["127.0.0.1:3000"], tokens(), true, "Bearer another-token-than-ours", 407),
        (&["10.0.0.1:3000"], tokens(), false, &*shown, 200),
    ] {
        let request = purge("?all").header("forwardcache-scope", "own").header("proxy-authorization", field);
        let (status, text) = ask(&proxy(served, tokens, by_anyone), request);
        assert_eq!(status, expected, "{served:?} {by_anyone} {field}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn scope_selects_the_pool_or_only_this_peer() {
    let proxy = proxy(&["127.0.0.1:3000"], None, false);
    for path in ["a", "b", "b?c"] {
        let request = Request::get(format!("/proxy?q=http%3A%2F%2Fh%2F{path}"));
        assert_eq!(ask(&proxy, request), (200, "hello".to_owned()));
    }
    let own = |query: &str| ask(&proxy, purge(query).header("forwardcache-scope", "own"));
    let (status, text) = own("?q=http%3A%2F%2Fh%2Fa");
    assert!(status == 200 && text.starts_with("http://two:1 responses 1 bytes "), "{text}");
    let (status, text) = ask(&proxy, purge("?prefix=http%3A%2F%2Fh%2F"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((status, lines.len()), (502, 3), "{text}");
    assert_eq!(lines[0], "http://one:1 responses 4 bytes 40");
    assert_eq!(lines[1], "http://three:1 failed unreachable no peer listens");
    assert!(lines[2].starts_with("http://two:1 responses 2 bytes "), "{text}");
    assert_eq!(own("?all"), (200, "http://two:1 responses 0 bytes 0\n".to_owned()));
    // A response may have been stored before its origin was forbidden.
    assert_eq!(own("?q=http%3A%2F%2Fbad%2Fa").0, 200);
}

#[test]
fn client_with_another_pool_purges_and_gets_the_digest() {
    let proxy = proxy(&["127.0.0.1:3000"], None, false);
    let told = |members: Option<PoolDigest>| {
        let request = purge("?all").header("forwardcache-scope", "own");
        let mut request = request.body(Body::empty()).unwrap();
        if members.is_some() {
            Hop { members, ..Hop::default() }.put(request.headers_mut());
        }
        let mut response = proxy.handle(request);
        assert_eq!(response.status(), 200);
        protocol::take_members(response.headers_mut())
    };
    let (ours, theirs) = (PoolDigest::of("ours"), PoolDigest::of("theirs"));
    assert_eq!((told(None), told(Some(ours)), told(Some(theirs))), (None, None, Some(ours)));
    assert_eq!(proxy.cache.stats().counts().ring_mismatches, 1);
}

#[test]
fn scope_near_purges_only_the_near_cache() {
    let near = || purge("?q=http%3A%2F%2Fh%2Fa").header("forwardcache-scope", "near");
    let pool = TestPool::default();
    let near_purges = Arc::clone(&pool.near_purges);
    let peer = proxy_in(pool, &["127.0.0.1:3000"], None, false);
    assert_eq!(ask(&peer, Request::get("/proxy?q=http%3A%2F%2Fh%2Fa")).0, 200);
    assert_eq!(ask(&peer, near()), (204, String::new()));
    assert_eq!((peer.cache.store().usage().keys, peer.cache.stats().counts().purges), (1, 0));
    assert_eq!(*near_purges.lock(), ["q=http%3A%2F%2Fh%2Fa"]);
    let pool = TestPool::default();
    let near_purges = Arc::clone(&pool.near_purges);
    assert_eq!(ask(&proxy_in(pool, &["10.0.0.1:3000"], None, false), near()).0, 403);
    assert!(near_purges.lock().is_empty());
}

#[test]
fn one_pool_purge_runs_at_a_time_on_shared_threads() {
    let barrier = Arc::new(Barrier::new(2));
    let pool = TestPool { barrier: Some(Arc::clone(&barrier)), ..TestPool::default() };
    let proxy = proxy_in(pool, &["127.0.0.1:3000"], None, false);
    let handle = |request: http::request::Builder| {
        proxy.handle_with_shares(request.body(Body::empty()).unwrap(), None, || None)
    };
    assert_eq!(handle(Request::get("/proxy?q=http%3A%2F%2Fh%2Fa")).status(), 200);
    // The second round shows that the lock was released.
    for _ in 0..2 {
        thread::scope(|scope| {
            let running = scope.spawn(|| handle(purge("?q=http%3A%2F%2Fh%2Fb")).status());
            barrier.wait();
            let counted = proxy.cache.stats().counts().purges;
            let response = handle(purge("?all"));
            assert_eq!(
                (response.status().as_u16(), &response.headers()["retry-after"]),
                (503, &"1".parse().unwrap())
            );
            assert_eq!(protocol::failure(response.headers()), Some(ErrorKind::Unavailable));
            assert_eq!(response.into_body().into_text().unwrap().lines().count(), 1);
            assert_eq!(proxy.cache.stats().counts().purges, counted);
            assert_eq!(proxy.cache.store().usage().keys, 1);
            for (scope, status) in [("own", 200), ("near", 204)] {
                let request = purge("?q=http%3A%2F%2Fh%2Fb").header("forwardcache-scope", scope);
                assert_eq!(handle(request).status(), status);
            }
            barrier.wait();
            assert_eq!(running.join().unwrap(), 502);
        });
    }
}

#[test]
fn pool_of_one_purges_without_waiting() {
    let proxy =
        proxy_in(TestPool { is_alone: true, ..TestPool::default() }, &["127.0.0.1:3000"], None, false);
    let _running = proxy.pool_purge.lock();
    let response = proxy.handle_with_shares(purge("?all").body(Body::empty()).unwrap(), None, || None);
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().into_text().unwrap().lines().count(), 1);
}

#[test]
fn invalid_purge_is_refused_and_changes_nothing() {
    let proxy = proxy(&["127.0.0.1:3000"], None, false);
    ask(&proxy, Request::get("/proxy?q=http%3A%2F%2Fh%2Fa"));
    for query in ["", "?q=", "?q=foo", "?q=http://h/?a&all", "?prefix=http://h", "?group=a", "?all=1"] {
        let (status, text) = ask(&proxy, purge(query));
        assert!(status == 400 && text.lines().count() == 1, "{query}: {status} {text}");
    }
    for scope in ["", "all", "Own"] {
        let request = purge("?all").header("forwardcache-scope", scope);
        assert_eq!(ask(&proxy, request).0, 400, "{scope}");
    }
    assert_eq!(ask(&proxy, Request::builder().method("PURGE").uri("/other?all")).0, 404);
    assert_eq!(proxy.cache.store().usage().keys, 1);
    assert_eq!(proxy.cache.stats().counts().purges, 0);
}
