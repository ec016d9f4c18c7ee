//! An origin whose bodies are derived from the URL, and the check of a response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use forwardcache::{Body, Error};
use http::Response;

use crate::support::origin::{Origin, Received, Reply};
use crate::support::random::Random;

/// Sizes of bodies: too small to truncate, small enough to be buffered before the response is returned, and larger.
const SIZES: [usize; 4] = [1, 700, 20_000, 150_000];

/// The body of this target in this version.
pub(super) fn body(target: &str, version: u64) -> Vec<u8> {
    let seed = u64::from(crc32fast::hash(target.as_bytes()));
    let size = SIZES[usize::try_from(seed % 4).unwrap()];
    let mut random = Random::new(seed ^ (version << 32));
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Returns the version in the `ETag` of a response.
pub(super) fn version_of(response: &Response<Body>) -> Option<u64> {
    let tag = response.headers().get("etag")?.to_str().ok()?;
    tag.strip_prefix("\"v")?.strip_suffix('"')?.parse().ok()
}

/// An origin whose bodies change with each version and that can be taken down.
pub(super) struct VersionedOrigin {
    pub(super) server: Origin,
    script: Arc<Script>,
}

struct Script {
    is_down: AtomicBool,
    version: AtomicU64,
    oldest: AtomicU64,
    cache_control: &'static str,
}

impl VersionedOrigin {
    /// Starts the origin; its responses have this `Cache-Control`.
    pub(super) fn new(cache_control: &'static str) -> Self {
        let script = Arc::new(Script {
            is_down: AtomicBool::new(false),
            version: AtomicU64::new(1),
            oldest: AtomicU64::new(1),
            cache_control,
        });
        let answering = Arc::clone(&script);
        Self { server: Origin::start(move |received| answering.answer(received)), script }
    }

    pub(super) fn url(&self, target: &str) -> String {
        self.server.url(target)
    }

    /// While the origin is down, it resets every connection.
    pub(super) fn set_down(&self, is_down: bool) {
        self.script.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Changes every body from now on.
    pub(super) fn next_version(&self) {
        self.script.version.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on, only the current version is a valid response to new requests.
    pub(super) fn demand_version(&self) {
        self.script.oldest.store(self.script.version.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Returns the oldest valid version.
    pub(super) fn oldest(&self) -> u64 {
        self.script.oldest.load(Ordering::SeqCst)
    }
}

impl Script {
    fn answer(&self, received: &Received) -> Reply {
        if self.is_down.load(Ordering::SeqCst) {
            return Reply::nothing_by_reset();
        }
        let version = self.version.load(Ordering::SeqCst);
        let tag = format!("\"v{version}\"");
        let is_same = received.field("if-none-match").is_some_and(|known| known == tag);
        let reply = if is_same { Reply::status(304) } else { Reply::ok(body(&received.target, version)) };
        reply.field("ETag", tag).field("Cache-Control", self.cache_control)
    }
}

/// Reads the response to a GET for this target. Returns `Err(Ok(error))` if the request failed, and
/// `Err(Err(message))` if the response is wrong.
pub(super) fn read(
    target: &str,
    versions: impl Fn(u64) -> bool,
    answer: Result<Response<Body>, Error>,
) -> Result<(), Result<Error, String>> {
    let response = answer.map_err(Ok)?;
    let (status, version) = (response.status(), version_of(&response));
    let bytes = response.into_body().into_bytes().map_err(Ok)?;
    let Some(version) = version.filter(|_| status == 200) else {
        return Err(Err(format!("{target}: status {status} without a version")));
    };
    if bytes != body(target, version) {
        return Err(Err(format!("{target}: {} bytes that differ from version {version}", bytes.len())));
    }
    if !versions(version) {
        return Err(Err(format!("{target}: version {version} is too old")));
    }
    Ok(())
}
