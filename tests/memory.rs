//! The memory that stored responses take, and whether the store's own count agrees with it.
//!
//! This file contains a single test: a concurrent test in the same process would change the measurement.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Cursor, Read};

use bytes::Bytes;
use forwardcache::store::{MemoryStore, Store, Usage};
use forwardcache::{Body, HttpCache, Result, RoundTrip, RoundTripFn};
use http::{Request, Response};

/// The limit in bytes for a stored response of 1 KiB with ordinary header fields, everything included.
const MAX_BYTES_EACH: u64 = 1_900;

/// The limit in percent for the error of the store's count.
const MAX_ERROR_PERCENT: u64 = 10;

#[test]
fn stored_response_has_small_overhead_and_is_counted() {
    let mut caches = Vec::new();
    for (name, count, body) in [("streamed", 200_000, streamed as fn() -> Body), ("sliced", 20_000, sliced)] {
        let before = resident_bytes();
        let cache = filled(count, body);
        let grown = resident_bytes() - before;
        let Usage { keys, bytes: counted, evictions, .. } = cache.store().usage();
        println!("{name}: {} bytes each, {} counted", grown / count, counted / count);
        assert_eq!((keys, evictions), (count, 0));
        assert!(grown <= MAX_BYTES_EACH * count, "{name}: {} bytes each", grown / count);
        let wrong = grown.abs_diff(counted) * 100 / grown;
        assert!(wrong <= MAX_ERROR_PERCENT, "{name}: {counted} bytes counted, {grown} taken");
        // Keep this cache until the end, so that the next one does not reuse its freed memory.
        caches.push(cache);
    }
}

/// A body as received from the network.
fn streamed() -> Body {
    Body::from_reader(Cursor::new([b'x'; 1024]), Some(1024))
}

/// A body that is a slice of a larger buffer, as a transport with read-ahead produces it.
fn sliced() -> Body {
    Body::from(Bytes::from(vec![b'x'; 8 * 1024]).slice(100..1124))
}

/// A cache whose responses were each used once: a body shared with a response takes more memory than one that is not.
fn filled(count: u64, body: fn() -> Body) -> HttpCache {
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
    let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 30));
    let cache = cache.build().expect("the builder is complete");
    for number in 0..count {
        let url = format!("https://www.example.com/articles/title-of-some-length/{number:08}");
        let request = Request::get(&url).body(Body::empty()).expect("the URL is well-formed");
        let response = cache.round_trip(request).expect("the origin answers");
        response.into_body().read_exact(&mut [0; 1024]).expect("the body is whole");
        let stored =
            cache.store().variants_nonblocking(&url).expect("a memory store answers without blocking");
        assert!(stored[0].headers().len() >= 8 && stored[0].body().clone().len() == 1024);
    }
    cache
}

/// With larger pages the measured memory is too small, so the test is weaker but does not fail.
const PAGE: u64 = 4096;

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").expect("statm can be read");
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * PAGE
}
