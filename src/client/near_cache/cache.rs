//! The near cache: which requests it serves, and when it drops a copy.

use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use parking_lot::RwLock;

use super::hot_keys::HotKeys;
use super::options::NearCache;
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::cache::{Background, HttpCache, NearRules};
use crate::message::body::Body;
use crate::message::header::cache_control::RequestDirectives;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::metrics::Stats;
use crate::policy::{Mode, Rules, UnknownFields};
use crate::pool::peer_url::PeerUrl;
use crate::store::{MemoryStore, Usage};

/// The parts of a near cache.
pub(crate) struct NearCacheParts {
    pub(crate) options: NearCache,
    /// Sends each request to the owner of its URL.
    pub(crate) owner: Arc<dyn RoundTrip>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The peer that this near cache belongs to, which needs no copies of its own URLs.
    pub(crate) own: Option<PeerUrl>,
    /// The rules of that peer, which its whole pool has; the strictest if they are not known.
    pub(crate) rules: Option<Rules>,
}

/// A small cache of responses that are often requested from other peers.
pub(crate) struct NearHttpCache {
    hot: HotKeys,
    parts: NearCacheParts,
    stats: Arc<Stats>,
    /// Replaced by a new cache to forget everything.
    cache: RwLock<HttpCache>,
}

/// The counters take at most this fraction of the memory.
const COUNTER_SHARE: u64 = 32;

/// Default maximum size of a body: this fraction of the memory, and at most `MAX_BODY` bytes.
const BODY_SHARE: u64 = 64;
const MAX_BODY: u64 = 256 << 10;

/// A request with one of these fields may need a response that is different from the copy.
static EXCLUDING_FIELDS: [HeaderName; 10] = [
    AUTHORIZATION,
    COOKIE,
    RANGE,
    IF_RANGE,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    CACHE_CONTROL,
    PRAGMA,
];

impl NearHttpCache {
    /// Creates the near cache; `None` if it has no memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`](crate::ErrorKind::BadOption) for invalid options.
    pub(crate) fn new(parts: NearCacheParts) -> Result<Option<Self>> {
        let options = &parts.options;
        options.check()?;
        if options.bytes() == 0 {
            return Ok(None);
        }
        let hot = HotKeys::new(options.bytes() / COUNTER_SHARE, options.requests, options.window);
        let stats = Arc::<Stats>::default();
        let cache = RwLock::new(cache(&parts, &hot, &stats));
        Ok(Some(Self { hot, parts, stats, cache }))
    }

    /// Counts a request, and returns whether it passes this cache without any effect: its URL is not hot, and its response
    /// changes no copy.
    pub(crate) fn passes(&self, target: &CanonicalUrl, request: &Request<Body>) -> bool {
        is_shareable(request) && !self.hot.count(target.as_str(), self.parts.clock.now())
    }

    /// Serves a request from the cache, or sends it on with `bypass`. `is_own` returns whether a peer owns the
    /// URL; it is called for hot URLs only.
    pub(crate) fn round_trip(
        &self,
        target: CanonicalUrl,
        request: Request<Body>,
        is_own: impl FnOnce(&CanonicalUrl, &PeerUrl) -> bool,
        bypass: impl FnOnce(&CanonicalUrl, Request<Body>) -> Result<Response<Body>>,
    ) -> Result<Response<Body>> {
        if is_shareable(&request) {
            let is_hot = self.hot.count(target.as_str(), self.parts.clock.now());
            return if is_hot && !self.parts.own.as_ref().is_some_and(|own| is_own(&target, own)) {
                self.cache().round_trip_to(target, request)
            } else {
                bypass(&target, request)
            };
        }
        let (method, demands_newer) = (request.method().clone(), demands_newer(request.headers()));
        let response = bypass(&target, request)?;
        let cache = self.cache();
        if demands_newer {
            // After a forced reload, later requests must never see an older response.
            cache.forget(&target);
        }
        cache.forget_after(&method, &target, response.status(), response.headers());
        Ok(response)
    }

    fn cache(&self) -> HttpCache {
        self.cache.read().clone()
    }

    /// Drops the copies of a URL.
    pub(crate) fn forget(&self, target: &CanonicalUrl) {
        self.cache().forget(target);
    }

    /// Drops the copies that the response to an unsafe request invalidates.
    pub(crate) fn forget_after(
        &self,
        method: &Method,
        target: &CanonicalUrl,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        self.cache().forget_after(method, target, status, headers);
    }

    /// Drops all copies. A response in transit is then stored in the old cache, which is no longer used.
    pub(crate) fn forget_all(&self) {
        let empty = cache(&self.parts, &self.hot, &self.stats);
        let former = std::mem::replace(&mut *self.cache.write(), empty);
        drop(former);
    }

    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Returns the memory use and capacity, including the counters.
    pub(crate) fn usage(&self) -> Usage {
        let (store, counters) = (self.cache().store().usage(), self.hot.bytes());
        Usage { bytes: store.bytes + counters, capacity: store.capacity + counters, ..store }
    }
}

/// Returns whether any other request for this URL may get the same response.
fn is_shareable(request: &Request<Body>) -> bool {
    let headers = request.headers();
    *request.method() == Method::GET
        && request.body().is_empty()
        && !headers.keys().any(|name| EXCLUDING_FIELDS.contains(name))
}

/// Returns whether the request asks for a newer response than a fresh copy.
fn demands_newer(headers: &HeaderMap) -> bool {
    let directives = RequestDirectives::of(headers);
    directives.no_cache || directives.max_age.is_some() || directives.min_fresh.is_some()
}

fn cache(parts: &NearCacheParts, hot: &HotKeys, stats: &Arc<Stats>) -> HttpCache {
    let options = &parts.options;
    let max_body = options.max_body.unwrap_or(MAX_BODY.min(options.bytes() / BODY_SHARE));
    let store = MemoryStore::new(options.bytes().saturating_sub(hot.bytes())).with_max_body(max_body);
    let rules = Rules {
        max_heuristic_lifetime: std::time::Duration::ZERO,
        // Only the owner's rules can allow stale responses.
        stale_if_error: parts.rules.as_ref().map(|rules| rules.stale_if_error).unwrap_or_default(),
        // The owner may select responses by unknown fields without listing them in `Vary`.
        unknown_fields: UnknownFields::Vary,
        known_fields: parts.rules.as_ref().map(|rules| rules.known_fields.clone()).unwrap_or_default(),
        ..Rules::new(Mode::Shared)
    };
    HttpCache::builder()
        .origin(Arc::clone(&parts.owner))
        .store(store)
        .clock(Arc::clone(&parts.clock))
        .rules(rules)
        .stats(Arc::clone(stats))
        .background(Background::CallerRuns)
        .near(NearRules { longest: options.longest })
        .build()
        .expect("the options of a near cache were checked before")
}

#[cfg(test)]
mod tests;
