//! [`HttpCache`]: its parts and its public methods.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use log::debug;

use super::credential::KeyedDigest;
use super::failures::Failures;
use super::flight::{FlightKey, FlightResult};
use super::forwarding::{Upstream, received_over};
use super::guarded_store::GuardedStore;
use super::hit_for_miss::Uncacheable;
use super::incoming::{BypassRequest, Incoming};
use super::keys::{KeyHook, Keys};
use super::near::NearRules;
use super::recent::Recent;
use super::refresh_queue::{Background, Refreshes};
use super::sweeps::Sweeps;
use super::tombstones::Fetch;
use super::unstored::Unstored;
use crate::base::cancellation::Cancellation;
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::memory_limit::Ledger;
use crate::base::redacted::redacted;
use crate::cache::fill::Fill;
use crate::cache::singleflight::Flights;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::header::hop_by_hop;
use crate::message::interim::OnInterim;
use crate::message::limited_body::limited;
use crate::message::nonblocking::Spawn;
use crate::message::request_builder::request_methods;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::{Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::metrics::{CacheAnswer, Stats, Watcher};
use crate::policy::{Rules, RulesDigest, remove_unforwarded_fields};
use crate::pool::protocol::{self, Hop};
use crate::store::{Key, Store, Tier};

/// An HTTP cache (RFC 9111) in front of another [`RoundTrip`].
///
/// The cache answers GET and HEAD from its store if the caching rules allow it, and forwards every other method. A
/// response to an unsafe method invalidates the stored responses of its URLs (RFC 9111 section 4.4) and of the groups
/// listed in its `Cache-Group-Invalidation` (RFC 9875). Concurrent requests for the same URL share one fetch.
///
/// Every response has a `Cache-Status` field (RFC 9211) that reports its outcome, see [`Outcome::of`]. A response
/// from the store also has `Age` and `X-From-Cache: 1`.
///
/// ```
/// use forwardcache::{Body, HttpCache, Outcome, ResponseExt, RoundTripFn};
/// use http::Response;
///
/// let origin = RoundTripFn(|_| {
///     Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
/// });
/// let cache = HttpCache::builder().origin(origin).build()?;
/// assert_eq!(cache.get("http://example.com/").send()?.text()?, "hello");
/// assert_eq!(cache.get("http://example.com/").send()?.info().outcome(), Some(Outcome::Hit));
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// A clone is cheap and shares the store and all state.
#[derive(Clone)]
pub struct HttpCache {
    pub(super) inner: Arc<Inner>,
    /// Runs waiting refreshes when the last handle is dropped.
    _drain: Arc<Drain>,
}

/// Runs waiting refreshes, within a time budget, when the last handle on a cache is dropped.
struct Drain(Arc<Inner>);

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.refreshes.close();
        self.0.maintain(self.0.drain_on_drop);
    }
}

/// The parts that the builder passes to [`HttpCache::new`].
pub(super) struct CacheParts {
    pub(super) origin: Arc<dyn RoundTrip>,
    pub(super) store: Arc<dyn Store>,
    /// The tiers below the store in memory, the fastest first.
    pub(super) tiers: Vec<Arc<dyn Tier>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: Rules,
    pub(super) stats: Arc<Stats>,
    pub(super) pseudonym: String,
    pub(super) via: Option<HeaderValue>,
    pub(super) background: Background,
    pub(super) spawn: Option<Arc<dyn Spawn>>,
    pub(super) drain_on_drop: Duration,
    pub(super) worth_finishing: u64,
    pub(super) key: Option<KeyHook>,
    pub(super) near: Option<NearRules>,
    pub(super) max_body: u64,
    pub(super) cache_post: u64,
    pub(super) watcher: Watcher,
}

/// The state that all handles on a cache share.
pub(super) struct Inner {
    /// For work that may outlive the cache.
    pub(super) me: Weak<Self>,
    pub(super) origin: Arc<dyn RoundTrip>,
    pub(super) store: GuardedStore,
    /// Counts the memory of bodies in transit.
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: Rules,
    pub(super) rules_digest: RulesDigest,
    pub(super) stats: Arc<Stats>,
    pub(super) watcher: Watcher,
    pseudonym: String,
    pub(super) via: Option<HeaderValue>,
    pub(super) digest: KeyedDigest,
    pub(super) keys: Keys,
    pub(super) flights: Flights<FlightKey, FlightResult>,
    pub(super) failures: Failures,
    pub(super) uncacheable: Uncacheable,
    pub(super) unstored: Unstored,
    /// Recent requests for bodies in files of the disk.
    pub(super) recent_in_files: Recent,
    /// Recent requests for small bodies on the disk.
    pub(super) recent_small: Recent,
    pub(super) refreshes: Arc<Refreshes>,
    pub(super) sweeps: Arc<Sweeps>,
    drain_on_drop: Duration,
    pub(super) worth_finishing: u64,
    /// The longest content of a POST whose response is stored, in bytes.
    pub(super) cache_post: u64,
    pub(super) is_offline: AtomicBool,
    /// Present if this is a near cache, which asks the owner of a URL in place of its origin.
    pub(super) near: Option<NearRules>,
}

impl HttpCache {
    pub(super) fn new(parts: CacheParts) -> Self {
        let CacheParts {
            origin,
            store,
            tiers,
            clock,
            rules,
            stats,
            pseudonym,
            via,
            background,
            spawn,
            key,
            near,
            watcher,
            ..
        } = parts;
        let (drain_on_drop, worth_finishing) = (parts.drain_on_drop, parts.worth_finishing);
        let rules = if near.is_some() { rules.near() } else { rules };
        let digest = KeyedDigest::with_tiers(&tiers);
        let keys = Keys::new(key, &rules, digest.clone());
        let ledger = store.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
        let mut store = GuardedStore::new(store, Arc::clone(&stats), parts.max_body);
        if near.is_none() {
            store = store.with_rules(&rules);
        }
        let max_staleness = rules.stale_if_error.max(rules.stale_while_revalidate).max(rules.grace);
        for tier in tiers {
            tier.set_max_staleness(max_staleness);
            tier.set_ledger(Arc::clone(&ledger));
            store = store.with_tier(tier);
        }
        let inner = Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            origin,
            store,
            recent_in_files: Recent::in_files(ledger.limit()),
            recent_small: Recent::small(ledger.limit()),
            ledger,
            clock,
            rules_digest: rules.digest(),
            rules,
            stats,
            watcher,
            pseudonym,
            via,
            digest,
            keys,
            flights: Flights::new(),
            failures: Failures::default(),
            uncacheable: Uncacheable::default(),
            unstored: Unstored::default(),
            is_offline: AtomicBool::new(false),
            refreshes: Arc::new(Refreshes::new(background, spawn)),
            sweeps: Arc::default(),
            drain_on_drop,
            worth_finishing,
            cache_post: parts.cache_post,
            near,
        });
        let drain = Arc::new(Drain(Arc::clone(&inner)));
        Self { inner, _drain: drain }
    }

    /// Refreshes stale responses until no refresh waits or the budget is spent; returns the number of refreshes. A
    /// refresh that has begun is finished, even if the origin exceeds the budget.
    ///
    /// With [`Background::CallerRuns`], refreshes run only in this method.
    pub fn maintain(&self, budget: Duration) -> usize {
        self.inner.maintain(budget)
    }

    /// Switches offline mode on or off. Default: off.
    ///
    /// An offline cache sends no requests to origins. It answers with stored responses, fresh or stale, unless a
    /// response prohibits that. Without a usable stored response, GET and HEAD get status 504, and other methods fail
    /// with [`ErrorKind::Unreachable`].
    pub fn set_offline(&self, is_offline: bool) {
        self.inner.is_offline.store(is_offline, Ordering::Relaxed);
    }

    /// Returns whether no requests go to origins.
    pub(crate) fn is_offline(&self) -> bool {
        self.inner.is_offline()
    }

    /// Returns the counters of outcomes.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.inner.stats
    }

    /// Returns the store of the responses.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.inner.store.store()
    }

    /// Returns the tiers below the store in memory, the fastest first.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Arc<dyn Tier>> {
        self.inner.store.tiers()
    }

    /// Returns the member of `Via` for a message that this program received with this HTTP version and sends on. `None`
    /// if the cache adds no `Via`.
    pub(crate) fn via(&self, version: Version) -> Option<HeaderValue> {
        received_over(version, self.inner.via.as_ref())
    }

    /// Returns the name of this cache in `Via`.
    #[must_use]
    pub fn pseudonym(&self) -> &str {
        &self.inner.pseudonym
    }
}

request_methods!(HttpCache);

impl RoundTrip for HttpCache {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        self.round_trip_to(target, request)
    }
}

impl HttpCache {
    /// Like [`RoundTrip::round_trip`], for a URL that is already parsed.
    pub(crate) fn round_trip_to(
        &self,
        target: CanonicalUrl,
        request: Request<Body>,
    ) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let inner = &self.inner;
        let (method, mut headers) = (parts.method, parts.headers);
        if protocol::is_purge(&method) {
            let text = "PURGE is not forwarded to origins: send it to a peer of the pool";
            return Err(Error::new(ErrorKind::BadRequest, text).with_url(&target));
        }
        let hop = inner.strip_fields(&method, &mut headers);
        let requested = Deadline::of(&parts.extensions);
        let via = received_over(parts.version, inner.via.as_ref());
        let deadline = hop.until(requested);
        let on_interim = parts.extensions.get::<OnInterim>().cloned();
        let is_about_content = matches!(method, Method::GET | Method::HEAD);
        // A request body would have to be part of the key.
        if !is_about_content || !body.is_empty() {
            let why = if is_about_content { Forward::Bypass } else { Forward::Method };
            let token = parts.extensions.get::<Cancellation>().cloned();
            let is_cached_post = inner.is_cached_post(&method, &body);
            let request = BypassRequest { method, target, headers, via, deadline, on_interim };
            if is_cached_post {
                return inner.answer_post(request, body, hop, token);
            }
            return inner.bypass(request, body, why, token, None);
        }
        let incoming = Incoming::new(method, target, headers, hop, via, &inner.keys);
        let incoming = incoming.with_deadline(deadline).with_interim(on_interim);
        let answered = inner.answer(&Arc::new(incoming))?;
        // The deadline limits how long this request reads, but not a fetch that other requests share.
        Ok(match deadline {
            Some(deadline) => self.limited(answered, deadline),
            None => answered,
        })
    }
}

impl HttpCache {
    /// Limits the time to read the body to the deadline. A body that is not stored is read from the origin by another
    /// thread, because this caller may leave before a read returns.
    fn limited(&self, response: Response<Body>, deadline: Deadline) -> Response<Body> {
        let token = response.extensions().get::<Cancellation>().cloned();
        response.map(|body| {
            let is_here = body.as_pieces().is_some() || deadline.hard().is_none() || deadline.is_for_head();
            let body = match token {
                Some(token) if !is_here => match body.into_poll_body() {
                    Ok((stream, length)) => Body::from_boxed_poll_body(stream, length),
                    Err(body) if body.is_end_proven() => {
                        Fill::pass(body, Arc::clone(&self.inner.ledger), token).into_body()
                    }
                    Err(body) => body,
                },
                _ => body,
            };
            limited(body, deadline)
        })
    }
}

impl Inner {
    pub(crate) fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Relaxed)
    }

    /// Removes the fields that end at this hop and those that must not reach an origin. Returns the options that the
    /// client sent for this hop.
    pub(super) fn strip_fields(&self, method: &Method, headers: &mut HeaderMap) -> Hop {
        hop_by_hop::remove(headers);
        let hop = Hop::take(headers);
        remove_unforwarded_fields(method, headers, &self.rules);
        hop
    }

    /// Registers a fetch that begins now.
    pub(super) fn begin(&self, key: &Key) -> Fetch {
        self.store.tombstones().begin(key, self.clock.now()).after(self.store.position(key))
    }

    pub(super) fn upstream(&self) -> Upstream {
        if self.near.is_some() { Upstream::Owner } else { Upstream::Origin }
    }

    /// Counts and reports the outcome of a request.
    pub(super) fn count(&self, outcome: Outcome, url: &str) {
        self.stats.count(outcome);
        self.tell(outcome, url, false);
    }

    fn tell(&self, outcome: Outcome, url: &str, is_refresh: bool) {
        let event = CacheAnswer { url, outcome, is_refresh, is_near: false };
        self.watcher.tell(|observer| observer.cache_answered(&event));
    }

    pub(super) fn note(&self, outcome: Outcome, target: &CanonicalUrl, is_refresh: bool) {
        if is_refresh {
            self.stats.count_refresh();
            self.tell(outcome, target.as_str(), true);
            debug!("refresh: {outcome} {}", redacted(target.as_str()));
        } else {
            self.count(outcome, target.as_str());
            debug!("{outcome} {}", redacted(target.as_str()));
        }
    }
}

impl fmt::Debug for HttpCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache")
            .field("store", self.inner.store.store())
            .field("rules", &self.inner.rules)
            .field("pseudonym", &self.inner.pseudonym)
            .finish_non_exhaustive()
    }
}
