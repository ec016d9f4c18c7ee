//! A test of a program that caches: the origin is a closure, and the test moves the clock instead of sleeping.
//!
//! ```sh
//! cargo run --example manual_clock
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forwardcache::clock::ManualClock;
use forwardcache::http::{Method, Response};
use forwardcache::{
    Body, Error, ErrorKind, HttpCache, Outcome, RequestBuilder, ResponseExt, RoundTrip, RoundTripFn,
};

/// The program under test: it reads a price, and knows nothing of clocks and caches.
fn price(http: &impl RoundTrip) -> forwardcache::Result<(String, &'static str)> {
    let response = RequestBuilder::new(http, Method::GET, "http://shop.example/price").send()?;
    let outcome = response.info().outcome().map_or("unknown", Outcome::name);
    Ok((response.text()?, outcome))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Arc::new(ManualClock::at_unix_seconds(1_800_000_000));
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    // Answers the first two requests; the third one fails.
    let origin = RoundTripFn(move |_| match count.fetch_add(1, Ordering::Relaxed) + 1 {
        number @ 1..=2 => {
            let response = Response::builder().header("cache-control", "max-age=60");
            Ok(response.body(Body::from(format!("{number} euros"))).expect("the field is well-formed"))
        }
        _ => Err(Error::new(ErrorKind::Unreachable, "the shop is closed")),
    });
    let cache = HttpCache::builder().origin(origin).clock(Arc::clone(&clock)).build()?;

    assert_eq!(price(&cache)?, ("1 euros".to_owned(), "miss"));
    clock.advance(Duration::from_secs(59));
    assert_eq!(price(&cache)?, ("1 euros".to_owned(), "hit"));
    clock.advance(Duration::from_secs(2));
    assert_eq!(price(&cache)?, ("2 euros".to_owned(), "miss"));
    clock.advance(Duration::from_secs(3600));
    assert_eq!(price(&cache)?, ("2 euros".to_owned(), "stale-if-error"));
    assert_eq!(requests.load(Ordering::Relaxed), 3);
    println!("an hour has passed, and all assertions hold");
    Ok(())
}
