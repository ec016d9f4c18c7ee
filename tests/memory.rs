//! What a process grows by for what it stores, and whether the store knows it.
//!
//! The only test of its process: nothing else may take or give back memory while it measures.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Cursor, Read};

use bytes::Bytes;
use forwardcache::{Body, Caching, MemoryStore, Result, RoundTrip, RoundTripFn, Store, Usage};
use http::{Request, Response};

/// What a cached object of 1 KiB with ordinary fields may take, all in all.
const MOST_EACH: u64 = 1_900;

/// By how many parts of a hundred the store may be wrong about what it holds.
const MOST_WRONG: u64 = 10;

#[test]
fn an_object_of_one_kibibyte_takes_little_more_and_all_of_it_is_counted() {
    let mut caches = Vec::new();
    for (name, count, body) in [("streamed", 200_000, streamed as fn() -> Body), ("sliced", 20_000, sliced)] {
        let before = resident_bytes();
        let cache = filled(count, body);
        let grown = resident_bytes() - before;
        let Usage { keys, bytes: counted, evictions, .. } = cache.store().usage();
        println!("{name}: {} bytes each, {} counted", grown / count, counted / count);
        assert_eq!((keys, evictions), (count, 0));
        assert!(grown <= MOST_EACH * count, "{name}: {} bytes each", grown / count);
        let wrong = grown.abs_diff(counted) * 100 / grown;
        assert!(wrong <= MOST_WRONG, "{name}: {counted} bytes counted, {grown} taken");
        // To the end, so that the next one does not live in what this one gives back.
        caches.push(cache);
    }
}

/// As it comes over the network.
fn streamed() -> Body {
    Body::from_reader(Cursor::new([b'x'; 1024]), Some(1024))
}

/// The middle of something larger, as a transport that reads ahead would give it.
fn sliced() -> Body {
    Body::from(Bytes::from(vec![b'x'; 8 * 1024]).slice(100..1124))
}

/// A cache whose objects were each used once: what is shared with an answer takes more than what never was.
fn filled(count: u64, body: fn() -> Body) -> Caching {
    let origin = RoundTripFn(move |_: Request<Body>| -> Result<Response<Body>> {
        let response = Response::builder()
            .header("date", "Fri, 15 Jan 2027 08:00:00 GMT")
            .header("content-type", "text/html; charset=utf-8")
            .header("etag", "\"33a64df551425fcc55e4d42a148795d9\"")
            .header("last-modified", "Thu, 14 Jan 2027 08:00:00 GMT")
            .header("cache-control", "public, max-age=3600")
            .header("server", "nginx")
            .header("via", "1.1 varnish")
            .header("x-content-type-options", "nosniff");
        Ok(response.body(body()).expect("the fields are well-formed"))
    });
    let cache = Caching::builder().origin(origin).store(MemoryStore::new(1 << 30));
    let cache = cache.build().expect("it has all it needs");
    for number in 0..count {
        let url = format!("https://www.example.com/articles/title-of-some-length/{number:08}");
        let request = Request::get(&url).body(Body::empty()).expect("the URL is well-formed");
        let response = cache.round_trip(request).expect("the origin answers");
        response.into_body().read_exact(&mut [0; 1024]).expect("the body is whole");
        let stored = cache.store().at_once(&url).expect("memory knows at once");
        assert!(stored[0].headers().len() >= 8 && stored[0].body().clone().len() == 1024);
    }
    cache
}

/// Where pages are larger, this asks for less than it should, and does not fail for it.
const PAGE: u64 = 4096;

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").expect("the system says");
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * PAGE
}
