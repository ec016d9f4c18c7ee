//! What goes through the near cache, what goes past it, and what it forgets.

use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, Response};
use parking_lot::RwLock;

use super::hot_keys::HotKeys;
use super::options::NearCache;
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::cache::{Background, HttpCache, NearRules};
use crate::message::body::Body;
use crate::message::header::cache_control::RequestDirectives;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Stats;
use crate::message::url::CanonicalUrl;
use crate::policy::{Mode, Rules, UnknownFields};
use crate::pool::peer_url::PeerUrl;
use crate::store::{MemoryStore, Usage};

/// What a near cache is made of.
pub(crate) struct NearParts {
    pub(crate) options: NearCache,
    /// Asks the owner of whatever it is given.
    pub(crate) owner: Arc<dyn RoundTrip>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The peer that it is beside, which needs no copies of what it owns itself.
    pub(crate) own: Option<PeerUrl>,
    /// The rules of that peer, and with it of the pool; where they are not known, the strictest.
    pub(crate) rules: Option<Rules>,
}

/// A small cache of what is asked of other peers often.
pub(crate) struct Near {
    hot: HotKeys,
    parts: NearParts,
    stats: Arc<Stats>,
    /// Another one is put in its place to forget everything.
    caching: RwLock<HttpCache>,
}

/// The part of the memory that the counters take, at most.
const COUNTERS: u64 = 32;

/// The largest body is this part of the memory, and this many bytes at most.
const SHARE_OF_A_BODY: u64 = 64;
const MOST_BODY: u64 = 256 << 10;

/// Who says any of these wants an answer of its own, or one that is made for it.
static NOT_PLAIN: [HeaderName; 10] = [
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

impl Near {
    /// The near cache; `None` where it is given no memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`](crate::ErrorKind::BadOption) for options that cannot be.
    pub(crate) fn new(parts: NearParts) -> Result<Option<Self>> {
        let options = &parts.options;
        options.check()?;
        if options.bytes() == 0 {
            return Ok(None);
        }
        let hot = HotKeys::new(options.bytes() / COUNTERS, options.requests, options.window);
        let stats = Arc::<Stats>::default();
        let caching = RwLock::new(caching(&parts, &hot, &stats));
        Ok(Some(Self { hot, parts, stats, caching }))
    }

    /// Answers a request for this URL, or lets it be answered past this cache.
    ///
    /// `is_own` says whether a peer owns the URL; it is asked of what is hot alone.
    pub(crate) fn round_trip(
        &self,
        target: CanonicalUrl,
        request: Request<Body>,
        is_own: impl FnOnce(&CanonicalUrl, &PeerUrl) -> bool,
        past: impl FnOnce(&CanonicalUrl, Request<Body>) -> Result<Response<Body>>,
    ) -> Result<Response<Body>> {
        if is_plain(&request) {
            let is_hot = self.hot.count(target.as_str(), self.parts.clock.now());
            return if is_hot && !self.parts.own.as_ref().is_some_and(|own| is_own(&target, own)) {
                self.caching().round_trip_to(target, request)
            } else {
                past(&target, request)
            };
        }
        let (method, wants_newer) = (request.method().clone(), wants_newer(request.headers()));
        let response = past(&target, request)?;
        let caching = self.caching();
        if wants_newer {
            // What this one was shown, the next one is not to be shown an older one of.
            caching.forget(&target);
        }
        caching.forget_after(&method, &target, response.status(), response.headers());
        Ok(response)
    }

    fn caching(&self) -> HttpCache {
        self.caching.read().clone()
    }

    /// Forgets what it has of a URL.
    pub(crate) fn forget(&self, target: &CanonicalUrl) {
        self.caching().forget(target);
    }

    /// Forgets all that it has. What is under way then is stored where nobody looks any more.
    pub(crate) fn forget_all(&self) {
        let empty = caching(&self.parts, &self.hot, &self.stats);
        let former = std::mem::replace(&mut *self.caching.write(), empty);
        drop(former);
    }

    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// What it takes of what it may take, the counters included.
    pub(crate) fn usage(&self) -> Usage {
        let (store, counters) = (self.caching().store().usage(), self.hot.bytes());
        Usage { bytes: store.bytes + counters, capacity: store.capacity + counters, ..store }
    }
}

/// Whether anybody who asks for this URL may be given the same answer.
fn is_plain(request: &Request<Body>) -> bool {
    let headers = request.headers();
    *request.method() == Method::GET
        && request.body().is_empty()
        && !headers.keys().any(|name| NOT_PLAIN.contains(name))
}

/// Whether what is stored would not do for this request, however fresh.
fn wants_newer(headers: &HeaderMap) -> bool {
    let directives = RequestDirectives::of(headers);
    directives.no_cache || directives.max_age.is_some() || directives.min_fresh.is_some()
}

fn caching(parts: &NearParts, hot: &HotKeys, stats: &Arc<Stats>) -> HttpCache {
    let options = &parts.options;
    let max_body = options.max_body.unwrap_or(MOST_BODY.min(options.bytes() / SHARE_OF_A_BODY));
    let store = MemoryStore::new(options.bytes().saturating_sub(hot.bytes())).with_max_body(max_body);
    let rules = Rules {
        heuristic_cap: std::time::Duration::ZERO,
        // Unless the owner is known to allow it.
        stale_on_error: parts.rules.as_ref().map(|rules| rules.stale_on_error).unwrap_or_default(),
        // The owner may select by them, and does not say so in `Vary`.
        unknown_fields: UnknownFields::Select,
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
        .expect("no option of it can be bad")
}

#[cfg(test)]
mod tests;
