//! Helpers for the tests of the stores: distinguishable responses, and reproducible randomness.

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;

#[cfg(all(feature = "redis", feature = "disk"))]
pub(crate) use super::redis::testing::RedisServer;
use super::{ByteStore, ByteStoreKeys, Key, StoreError, StoredResponse, Usage};
use crate::policy::{LifetimeSource, Validity, Variant};

pub(super) fn key(number: u64) -> Key {
    Key::new(&format!("http://a/{number:03}"))
}

/// Creates a small response whose body is `number`.
pub(super) fn response(variant: &str, number: u64) -> Arc<StoredResponse> {
    response_of(variant, number, 0)
}

/// Creates a small response that belongs to a cache group.
pub(super) fn grouped(variant: &str, number: u64, group: &str) -> Arc<StoredResponse> {
    let plain = response(variant, number);
    let mut headers = plain.headers();
    headers.insert("cache-groups", HeaderValue::from_str(&format!("\"{group}\"")).unwrap());
    let (body, validity, variant) = (plain.body().clone(), *plain.validity(), plain.variant().clone());
    Arc::new(StoredResponse::new(plain.status(), &headers, body, validity, variant))
}

/// Creates a response whose body starts with `number` and is `size` bytes long, but at least 8 bytes.
pub(super) fn response_of(variant: &str, number: u64, size: u64) -> Arc<StoredResponse> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(body.len().max(usize::try_from(size).unwrap()), b'.');
    let mut headers = HeaderMap::new();
    headers.insert("etag", HeaderValue::from_str(&format!("\"{number}\"")).unwrap());
    let variant =
        Variant { fields: Box::new([(ACCEPT_ENCODING, Some(Bytes::copy_from_slice(variant.as_bytes())))]) };
    Arc::new(StoredResponse::new(StatusCode::OK, &headers, Bytes::from(body), validity(), variant))
}

pub(super) fn validity() -> Validity {
    Validity {
        response_time: (UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)).into(),
        initial_age: Duration::from_secs(3),
        lifetime: Duration::from_secs(60),
        lifetime_source: LifetimeSource::MaxAge,
        stale_while_revalidate: Duration::from_secs(5),
        stale_if_error: Some(Duration::from_secs(7)),
        no_cache: false,
        must_revalidate: true,
        immutable: false,
    }
}

/// Returns the numbers at the start of the bodies.
pub(super) fn body_numbers(all: &[Arc<StoredResponse>]) -> Vec<u64> {
    all.iter()
        .map(|response| u64::from_be_bytes(response.body().to_bytes()[..8].try_into().unwrap()))
        .collect()
}

/// Compares an encoding with the golden file of its format, and returns the bytes of the file. A format that changes needs another
/// version and another file: what an earlier version wrote must never be read as something else.
pub(super) fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/store/");
    let path = format!("{path}{name}.bin");
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let differs = golden.iter().zip(now).position(|(old, new)| old != new);
    assert!(
        golden == now,
        "{path} has {} bytes, not {}, and differs at {differs:?}",
        golden.len(),
        now.len()
    );
    golden
}

/// Runs a test with several seeds. If one fails, its seed is printed; `FORWARDCACHE_SEED` runs only that
/// seed.
pub(super) fn with_seed(test: &str, run: impl Fn(u64)) {
    if let Ok(seed) = env::var("FORWARDCACHE_SEED") {
        return run(seed.parse().expect("FORWARDCACHE_SEED is a number"));
    }
    let first = UNIX_EPOCH.elapsed().unwrap().as_secs();
    for seed in first..first + 8 {
        if let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("{test}: replay with FORWARDCACHE_SEED={seed}");
            panic::resume_unwind(cause);
        }
    }
}

/// A pseudorandom generator with a seed (splitmix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number less than `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A backend that fails on demand and yields to other threads in every call.
#[derive(Debug)]
pub(super) struct Failing<C> {
    cache: C,
    failing: Mutex<&'static str>,
}

impl<C> Failing<C> {
    pub(super) fn new(cache: C) -> Self {
        Self { cache, failing: Mutex::new("") }
    }

    pub(super) fn inner(&self) -> &C {
        &self.cache
    }

    /// Makes the methods named here fail, and no others.
    pub(super) fn fail(&self, calls: &'static str) {
        *self.failing.lock() = calls;
    }

    /// Yields to other threads before the call, and after it while the caller does not know the result yet.
    fn call<T>(&self, name: &str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.failing.lock().contains(name) {
            return Err(StoreError::new(format!("{name} fails")));
        }
        thread::yield_now();
        let result = call();
        thread::yield_now();
        result
    }
}

impl<C: ByteStore> ByteStore for Failing<C> {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.call("get", || self.cache.get(key))
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        self.call("set", || self.cache.set(key, value))
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.call("delete", || self.cache.delete(key))
    }

    fn keys(&self) -> Option<ByteStoreKeys<'_>> {
        let keys = self.cache.keys()?;
        if self.failing.lock().contains("keys") {
            return Some(Box::new(keys.chain([Err(StoreError::new("keys fails"))])));
        }
        Some(keys)
    }

    fn usage(&self) -> Usage {
        self.cache.usage()
    }
}
