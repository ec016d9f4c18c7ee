//! An origin of your own below the cache: here it signs requests and counts them. The cache stays as it is.
//!
//! ```sh
//! cargo run --example custom_origin
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forwardcache::{Body, HttpCache, Outcome, ResponseExt, Result, RoundTrip, RoundTripFn};
use http::{HeaderValue, Request, Response};

/// Adds a credential to each request before it goes to `inner`, which is usually `Origin`, the network.
struct Signed<R> {
    inner: R,
    key: HeaderValue,
    requests: Arc<AtomicUsize>,
}

impl<R: RoundTrip> RoundTrip for Signed<R> {
    fn round_trip(&self, mut request: Request<Body>) -> Result<Response<Body>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        request.headers_mut().insert("x-api-key", self.key.clone());
        self.inner.round_trip(request)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let requests = Arc::new(AtomicUsize::new(0));
    // In place of `Origin::builder().build()?`, so that the example needs no network.
    let network = RoundTripFn(|request: Request<Body>| {
        let is_signed = request.headers().contains_key("x-api-key");
        let response = Response::builder().header("cache-control", "max-age=60");
        let text = if is_signed { "signed" } else { "not signed" };
        Ok(response.body(Body::from(text)).expect("the field is well-formed"))
    });
    let origin =
        Signed { inner: network, key: HeaderValue::from_static("secret"), requests: Arc::clone(&requests) };
    // The key is added below the cache, so it is neither stored nor part of a cache key.
    let cache = HttpCache::builder().origin(origin).build()?;
    for _ in 0..3 {
        let response = cache.get("http://api.example.com/v1/items").send()?;
        let outcome = response.info().outcome().map_or("unknown", Outcome::name);
        println!("{outcome}: {}", response.text()?);
    }
    println!("the origin received {} request", requests.load(Ordering::Relaxed));
    assert_eq!(requests.load(Ordering::Relaxed), 1);
    Ok(())
}
