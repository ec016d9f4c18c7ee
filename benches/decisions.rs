//! The cost of a cache hit and of the steps that it consists of, in one process and without sockets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use divan::{Bencher, black_box};
use forwardcache::client::NearCache;
use forwardcache::clock::ManualClock;
use forwardcache::origin::CanonicalUrl;
use forwardcache::pool::Ring;
use forwardcache::store::{Key, MemoryStore, Store};
use forwardcache::{Body, Client, HttpCache, Outcome, Peer, Purge, Result, RoundTrip, RoundTripFn};
use http::{Request, Response};

const URL: &str = "https://www.example.com/articles/2026/11/a-title-of-some-length?page=2&order=newest";

fn main() {
    divan::main();
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn origin() -> impl RoundTrip {
    RoundTripFn(|_: Request<Body>| -> Result<Response<Body>> {
        let response = Response::builder()
            .header("date", "Fri, 15 Jan 2027 08:00:00 GMT")
            .header("cache-control", "public, max-age=3600")
            .header("content-type", "text/html; charset=utf-8")
            .header("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"")
            .header("last-modified", "Thu, 14 Jan 2027 08:00:00 GMT")
            .header("server", "nginx")
            .header("vary", "accept-encoding")
            .header("x-content-type-options", "nosniff");
        Ok(response.body(Body::from(vec![b'x'; 1024])).expect("the fields are well-formed"))
    })
}

fn request() -> Request<Body> {
    Request::get(URL)
        .header("accept-encoding", "gzip")
        .body(Body::empty())
        .expect("the fields are well-formed")
}

fn warm() -> HttpCache {
    let cache =
        HttpCache::builder().origin(origin()).store(MemoryStore::new(1 << 20)).clock(ManualClock::new(now()));
    let cache = cache.build().expect("the builder is complete");
    let fetch = || cache.round_trip(request()).expect("the origin answers");
    fetch().into_body().into_bytes().expect("the body is in memory");
    assert_eq!(Outcome::of(fetch().headers()), Some(Outcome::Hit));
    cache
}

fn peer() -> Peer {
    let builder = Peer::builder("http://10.0.0.1:3000").origin(origin()).clock(ManualClock::new(now()));
    let peer = builder.memory(1 << 20).build().expect("the builder is complete");
    let fetch = || peer.get(URL).send().expect("the origin answers");
    fetch().into_body().into_bytes().expect("the body is in memory");
    assert_eq!(Outcome::of(fetch().headers()), Some(Outcome::Hit));
    peer
}

/// A hit in the program's own peer: parsing the URL, finding the owner on the ring, the hit, and the body.
#[divan::bench]
fn hit_of_a_peer(bencher: Bencher<'_, '_>) {
    let peer = peer();
    bencher.bench(|| peer.get(black_box(URL)).send().and_then(|response| response.into_body().into_bytes()));
}

/// A client whose requests to the owner cost nothing.
fn client(near: NearCache) -> Client {
    let owner = RoundTripFn(|_: Request<Body>| -> Result<Response<Body>> {
        let response = Response::builder()
            .header("date", "Fri, 15 Jan 2027 08:00:00 GMT")
            .header("cache-control", "public, max-age=3600")
            .header("content-type", "text/html; charset=utf-8")
            .header("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"")
            .header("server", "nginx")
            .header("vary", "accept-encoding")
            .header("cache-status", "forwardcache; hit; ttl=3600");
        Ok(response.body(Body::from(vec![b'x'; 1024])).expect("the fields are well-formed"))
    });
    let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000", "http://10.0.0.3:3000"];
    Client::builder().pool(pool).transport(owner).near_cache(near).build().expect("the builder is complete")
}

/// A hit in a near cache, with the system clock.
#[divan::bench]
fn hit_of_a_near_cache(bencher: Bencher<'_, '_>) {
    let near = NearCache::new().memory(1 << 20).longest(Duration::from_secs(3600));
    let client = client(near.hot(1, Duration::from_secs(3600)));
    client.get(URL).send().and_then(|response| response.into_body().into_bytes()).expect("the owner answers");
    bencher
        .bench(|| client.get(black_box(URL)).send().and_then(|response| response.into_body().into_bytes()));
    assert_eq!(client.near_stats().expect("the client has a near cache").counts().origin_requests, 1);
}

/// The overhead of a near cache for a request that is not hot: without a near cache, and with one that counts
/// requests. The owner costs nothing, so the time is that of the client.
#[divan::bench(args = [false, true], sample_size = 1000)]
fn ask_the_owner(bencher: Bencher<'_, '_>, counts: bool) {
    let near = NearCache::new().memory(if counts { 16 << 20 } else { 0 });
    let client = client(near.hot(2047, Duration::from_nanos(256)));
    let urls: Vec<_> = (0..1000).map(|number| format!("{URL}&number={number}")).collect();
    let next = AtomicU64::new(0);
    bencher.bench(|| {
        let next = next.fetch_add(1, Ordering::Relaxed) % 1000;
        client.get(&urls[usize::try_from(next).unwrap_or_default()])
    });
}

/// A hit through the peer's handler, as a server calls it: the key is decoded from the query first.
#[divan::bench]
fn hit_of_a_handler(bencher: Bencher<'_, '_>) {
    let peer = peer();
    let handler = peer.handler();
    let query = URL.replace(':', "%3A").replace('/', "%2F").replace('?', "%3F");
    let query = query.replace('=', "%3D").replace('&', "%26");
    let peer_request =
        || Request::get(format!("/proxy?q={query}")).body(Body::empty()).expect("the URL is well-formed");
    assert_eq!(Outcome::of(handler(peer_request()).headers()), Some(Outcome::Hit));
    bencher.with_inputs(peer_request).bench_values(handler);
}

/// A miss for a new URL, from an origin that costs nothing, read to its end and stored in place of an older response.
#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let cache = warm();
    let count = AtomicU64::new(0);
    let request = || {
        let url = format!("{URL}&number={}", count.fetch_add(1, Ordering::Relaxed));
        Request::get(url).body(Body::empty()).expect("the URL is well-formed")
    };
    bencher.with_inputs(request).bench_values(|request| {
        cache.round_trip(request).and_then(|response| response.into_body().into_bytes())
    });
}

/// A hit of 1 KiB with eight header fields, from the request to the response with its body.
#[divan::bench]
fn hit(bencher: Bencher<'_, '_>) {
    let cache = warm();
    bencher.with_inputs(request).bench_values(|request| cache.round_trip(request));
}

/// The lookup in the store; with two threads the lock is contended.
#[divan::bench(threads = [1, 2])]
fn lookup(bencher: Bencher<'_, '_>) {
    let (cache, key) = (warm(), Key::new(URL));
    bencher.bench(|| cache.store().variants(black_box(&key)));
}

/// A purge that removes nothing from a store with this many responses: of one URL, and by prefix.
#[divan::bench(args = [1_000, 100_000])]
fn purge_of_a_url(bencher: Bencher<'_, '_>, responses: u64) {
    let (cache, purge) = (filled(responses), Purge::url("https://other.example/").expect("the URL is valid"));
    bencher.bench(|| cache.purge(black_box(&purge)));
}

#[divan::bench(args = [1_000, 100_000])]
fn purge_by_prefix(bencher: Bencher<'_, '_>, responses: u64) {
    let (cache, purge) =
        (filled(responses), Purge::prefix("https://other.example/").expect("the URL is valid"));
    bencher.bench(|| cache.purge(black_box(&purge)));
}

fn filled(responses: u64) -> HttpCache {
    let cache = HttpCache::builder().origin(origin()).store(MemoryStore::new(1 << 30));
    let cache = cache.clock(ManualClock::new(now())).build().expect("the builder is complete");
    for number in 0..responses {
        let request = Request::get(format!("{URL}&number={number}")).body(Body::empty());
        let response =
            cache.round_trip(request.expect("the URL is well-formed")).expect("the origin answers");
        response.into_body().into_bytes().expect("the body is in memory");
    }
    assert_eq!(cache.store().usage().keys, responses);
    cache
}

#[divan::bench]
fn is_fresh(bencher: Bencher<'_, '_>) {
    let variants = warm().store().variants(&Key::new(URL)).expect("memory does not fail");
    let validity = *variants[0].validity();
    bencher.bench(|| black_box(&validity).is_fresh(black_box(now())));
}

#[divan::bench(args = [3, 100])]
fn ring_owner(bencher: Bencher<'_, '_>, peers: u8) {
    let ring = Ring::new((0..peers).map(|peer| format!("http://10.0.0.{peer}:3000")));
    bencher.bench(|| ring.owner(black_box(URL)).map(str::len));
}

#[divan::bench]
fn target_parse() -> bool {
    CanonicalUrl::parse(black_box(URL)).is_ok()
}
