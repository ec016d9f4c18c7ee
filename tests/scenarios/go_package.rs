//! The test cases of the Go package, named after the originals. A comment explains each difference in behaviour.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use forwardcache::pool::HashFunction;
use forwardcache::server::ServerConfig;
use forwardcache::store::{ByteStore, Lru, MemoryByteStore};
use forwardcache::{Body, Client, Origin as Network, Peer, RoundTrip, RoundTripFn};
use http::{Request, Response};

use super::support::origin::{Origin, Received, Reply};

/// A hash for tests: text that contains one of the names gets its place, any other text 0.
fn hash(places: &'static [(&'static str, u32)]) -> HashFunction {
    HashFunction::new(move |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        places.iter().find(|(name, _)| text.contains(name)).map_or(0, |(_, place)| *place)
    })
}

fn escaped(url: &str) -> String {
    url.replace(':', "%3A").replace('/', "%2F")
}

fn files(received: &Received) -> Reply {
    match received.target.split('?').next().unwrap() {
        "/small.js" => Reply::ok("console.log('test');").field("cache-control", "max-age=60"),
        "/jquery-3.1.1.js" => Reply::ok(vec![b'j'; 200_000]).field("cache-control", "max-age=60"),
        _ => Reply::status(404).body("404 page not found\n").field("cache-control", "no-cache"),
    }
}

/// `TestProxy`
#[test]
fn proxy() {
    let origin = Origin::start(files);
    let peer = Peer::builder("http://127.0.0.1:3000").build().unwrap();
    let handler = peer.handler();
    let of_origin = |path: &str| escaped(&origin.url(path));
    for (request, status, body) in [
        // The Go package answers all three bad requests with 502, the same as for a failing origin.
        ("/p".to_owned(), 404, None),
        (format!("/proxy?url={}", of_origin("/small.js")), 400, None),
        ("/proxy?q=%25".to_owned(), 400, None),
        (format!("/proxy?q={}", of_origin("/small.js")), 200, Some("console.log('test');")),
        (format!("/proxy?q={}", of_origin("/unknown.html")), 404, Some("404 page not found\n")),
    ] {
        let response = handler(Request::get(request.as_str()).body(Body::empty()).unwrap());
        assert_eq!(response.status(), status, "{request}");
        if let Some(body) = body {
            assert_eq!(response.into_body().into_text().unwrap(), body);
        }
    }
}

/// `TestClient`
#[test]
fn client() {
    let transport = RoundTripFn(|request: Request<Body>| {
        Ok(Response::builder()
            .header("x-requested-url", request.uri().to_string())
            .body(Body::empty())
            .unwrap())
    });
    let client = Client::builder()
        .pool(["http://a.com:3000", "http://b.com:3000", "http://c.com:3000"])
        .hash(hash(&[
            ("http://a.com:3000", 0),
            ("http://b.com:3000", 1),
            ("http://c.com:3000", 2),
            ("http://some.url/res-a.js", 0),
            ("http://some.url/res-b.js", 1),
            ("http://some.url/res-c.js", 2),
        ]))
        .transport(transport)
        .path("/p")
        .build()
        .unwrap();
    let agent = forwardcache::agent(client);
    for name in ["a", "b", "c"] {
        let url = format!("http://some.url/res-{name}.js");
        let response = agent.get(&url).call().unwrap();
        let expected = format!("http://{name}.com:3000/p?q={}", escaped(&url));
        assert_eq!(response.headers()["x-requested-url"], expected.as_str());
    }
}

/// `TestPeer`
#[test]
fn peer() {
    let responder = |source: &'static str| {
        RoundTripFn(move |_| Ok(Response::builder().header("x-source", source).body(Body::empty()).unwrap()))
    };
    let peer = Peer::builder("http://self.com:3000")
        .pool(["http://self.com:3000", "http://peer.com:3000"])
        .hash(hash(&[
            ("http://self.com:3000", 0),
            ("http://peer.com:3000", 1),
            ("http://some.url/res-self.js", 0),
            ("http://some.url/res-peer.js", 1),
        ]))
        .origin(responder("self"))
        .transport(responder("client"))
        .build()
        .unwrap();
    for (url, source) in [("http://some.url/res-self.js", "self"), ("http://some.url/res-peer.js", "client")]
    {
        assert_eq!(peer.get(url).send().unwrap().headers()["x-source"], source);
        // In the Go package, the peer's HTTP client uses the network even for URLs that the peer owns.
        let response = forwardcache::agent(peer.clone()).get(url).call().unwrap();
        assert_eq!(response.headers()["x-source"], source);
    }
}

/// `TestPool`: two members with a custom path, number of replicas and hash.
#[test]
fn pool() {
    let origin = Origin::start(files);
    let (peers, _serving) = two_peers();
    for (url, status, cached) in [
        (origin.url("/jquery-3.1.1.js?buster=123"), 200, false),
        (origin.url("/jquery-3.1.1.js?buster=123"), 200, true),
        (origin.url("/no-found"), 404, false),
        (origin.url("/no-found"), 404, false),
    ] {
        let response = peers[0].get(&url).send().unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers().contains_key("x-from-cache")),
            (status, cached)
        );
        // After the body has been read to its end it is stored, including at its owner.
        response.into_body().into_bytes().unwrap();
    }
}

/// `TestPoolHeaders`
#[test]
fn pool_headers() {
    let origin = Origin::start(files);
    let (peers, _serving) = two_peers();
    let request = Request::get(origin.url("/small.js")).header("user-agent", "ForwardCacheBot/1.0");
    peers[0].round_trip(request.body(Body::empty()).unwrap()).unwrap();
    let seen = origin.seen();
    assert_eq!(seen[0].field("user-agent"), Some("ForwardCacheBot/1.0"));
}

fn two_peers() -> (Vec<Peer>, Vec<forwardcache::server::ServerHandle>) {
    let listeners: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let urls: Vec<String> =
        listeners.iter().map(|listener| format!("http://{}", listener.local_addr().unwrap())).collect();
    let mut peers = Vec::new();
    let mut serving = Vec::new();
    for (url, listener) in urls.iter().zip(listeners) {
        let peer = Peer::builder(url)
            .pool(urls.clone())
            .path("/fwp")
            .replicas(100)
            .hash(HashFunction::default())
            .transport(Network::new())
            .build()
            .unwrap();
        serving.push(peer.serve_on(listener, ServerConfig::new()).unwrap());
        peers.push(peer);
    }
    (peers, serving)
}

/// The size of an entry with a four-letter key and an empty value: this LRU counts keys and bookkeeping.
fn empty_entry_size() -> u64 {
    let lru = Lru::new(MemoryByteStore::new(), 1 << 20);
    lru.set("key1", Bytes::new()).unwrap();
    lru.usage().bytes
}

/// `TestSet`
#[test]
fn lru_set() {
    let entry = empty_entry_size();
    // The capacity is two entries plus 10 bytes, so that the keys and value sizes of the Go test fit. The Go package
    // does not count keys, so a third entry fits too, and it stores an entry larger than the capacity after evicting
    // all others. This LRU rejects such an entry and evicts nothing.
    let cache = Arc::new(MemoryByteStore::new());
    let lru = Lru::new(Arc::clone(&cache), 2 * entry + 10);
    let oversized = usize::try_from(2 * entry + 12).unwrap();
    for (key, length, present, absent) in [
        ("key1", 4, &["key1"][..], &[][..]),
        ("key2", 4, &["key2", "key1"], &[]),
        ("key3", 4, &["key3", "key2"], &["key1"]),
        ("key4", 6, &["key4", "key3"], &["key2"]),
        ("key5", oversized, &["key4", "key3"], &["key5"]),
        ("key6", 1, &["key6", "key4"], &["key3"]),
        ("key4", 1, &["key4", "key6"], &[]),
        ("key7", 1, &["key7", "key4"], &["key6"]),
        ("key4", 9, &["key4", "key7"], &[]),
        ("key8", 2, &["key8"], &["key7", "key4"]),
    ] {
        let value = Bytes::from(vec![7; length]);
        let stored = lru.set(key, value.clone()).unwrap();
        assert_eq!(stored, length != oversized);
        for name in present {
            let found = cache.get(name).unwrap();
            assert!(found.is_some(), "{name} after {key}");
            assert!(*name != key || found == Some(value.clone()));
        }
        for name in absent {
            assert_eq!(cache.get(name).unwrap(), None, "{name} after {key}");
        }
    }
}

/// `TestGet`
#[test]
fn lru_get() {
    let lru = Lru::new(MemoryByteStore::new(), 2 * empty_entry_size() + 10);
    assert_eq!(lru.get("unknown").unwrap(), None);
    let value = Bytes::from_static(b"12345");
    lru.set("key1", value.clone()).unwrap();
    lru.set("key2", Bytes::from_static(b"12345")).unwrap();
    assert_eq!(lru.get("key1").unwrap(), Some(value));
    lru.set("key3", Bytes::from_static(b"12345")).unwrap();
    assert_eq!(lru.get("key2").unwrap(), None);
    assert!(lru.get("key1").unwrap().is_some());
}

/// `TestDelete`
#[test]
fn lru_delete() {
    let lru = Lru::new(MemoryByteStore::new(), 1 << 20);
    lru.set("key1", Bytes::from_static(b"1234")).unwrap();
    assert!(lru.delete("key1").unwrap());
    assert_eq!(lru.get("key1").unwrap(), None);
}

/// `TestRace`: the original only looks for data races; this test also compares the counted usage with the stored
/// bytes.
#[test]
fn lru_race() {
    let backend = Arc::new(MemoryByteStore::new());
    let lru = Lru::new(Arc::clone(&backend), 8 * empty_entry_size());
    thread::scope(|scope| {
        for worker in 0..16 {
            let lru = &lru;
            scope.spawn(move || {
                let key = format!("key{}", worker / 2);
                let value = Bytes::from(vec![7; if worker % 2 == 0 { 10 } else { 15 }]);
                for round in 0..2_000 {
                    lru.set(&key, value.clone()).unwrap();
                    if round % 2 == 0 {
                        lru.get(&key).unwrap();
                    }
                    if round % 3 == 0 {
                        lru.delete(&key).unwrap();
                    }
                }
            });
        }
    });
    let held: Vec<Bytes> = (0..8).filter_map(|key| backend.get(&format!("key{key}")).unwrap()).collect();
    let expected: u64 = held.iter().map(|value| empty_entry_size() + value.len() as u64).sum();
    assert_eq!((lru.usage().keys, lru.usage().bytes), (held.len() as u64, expected));
    assert!(lru.usage().bytes <= lru.usage().capacity);
}
