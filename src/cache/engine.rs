//! The cache as a whole: what it is made of, and its public face.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CACHE_CONTROL, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use log::debug;

use super::answer::{answer, response};
use super::builder::HttpCacheBuilder;
use super::credential::KeyedDigest;
use super::failures::Failures;
use super::forwarding::{By, received_over};
use super::guarded_store::GuardedStore;
use super::incoming::{Incoming, Passing};
use super::keys::{KeyHook, Keys};
use super::near::NearRules;
use super::refresh::{Background, Refreshes};
use super::step::{Flight, FlightResult};
use super::tombstones::{Fetch, invalidated_groups};
use super::uncacheable::Uncacheable;
use super::unstored::Unstored;
use crate::base::cancellation::Cancellation;
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result, redacted};
use crate::base::ledger::Ledger;
use crate::cache::fill::Fill;
use crate::cache::singleflight::Flights;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::header::hop_by_hop;
use crate::message::interim::OnInterim;
use crate::message::limited_body::limited;
use crate::message::nonblocking::Spawn;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::{CacheStatus, Forward, Outcome, Stats};
use crate::message::url::CanonicalUrl;
use crate::policy::{Rules, UnknownFields, invalidated, is_answer_to_get, is_due_early, remove_unsent};
use crate::pool::protocol::{self, Hop, WantsDigest};
use crate::store::{Key, Store, StoredResponse, Tier};

/// How many groups one response may invalidate.
const MOST_GROUPS: usize = 32;

/// A [`RoundTrip`] that remembers: an HTTP cache by RFC 9111 over another `RoundTrip`.
///
/// GET and HEAD are answered from the store where that is allowed; every other method goes through, and
/// what it makes doubtful is forgotten (RFC 9111 section 4.4), as are the groups that its answer names in
/// `Cache-Group-Invalidation` (RFC 9875). Several requests for the same URL at the
/// same time become one.
///
/// Every response tells what happened in `Cache-Status` (RFC 9211), see [`Outcome::of`]; what comes from
/// the store carries `Age` and `X-From-Cache: 1`.
///
/// ```
/// use forwardcache::{Body, HttpCache, Outcome, RoundTrip, RoundTripFn};
/// use http::{Request, Response};
///
/// let origin = RoundTripFn(|_| {
///     Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
/// });
/// let cache = HttpCache::builder().origin(origin).build()?;
/// let fetch = || cache.round_trip(Request::get("http://example.com/").body(Body::empty()).unwrap());
/// assert_eq!(fetch()?.into_body().into_text()?, "hello");
/// assert_eq!(Outcome::of(fetch()?.headers()), Some(Outcome::Hit));
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Cloning it is cheap and gives the same cache.
#[derive(Clone)]
pub struct HttpCache {
    pub(super) inner: Arc<Inner>,
    /// Dropped with the last handle.
    _drain: Arc<Drain>,
}

/// Works off refreshes that wait when the last handle on a cache is dropped.
struct Drain(Arc<Inner>);

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.refreshes.close();
        self.0.maintain(self.0.drain_on_drop);
    }
}

/// The parts that a builder brings.
pub(super) struct MadeOf {
    pub(super) origin: Arc<dyn RoundTrip>,
    pub(super) store: Arc<dyn Store>,
    pub(super) tier: Option<Arc<dyn Tier>>,
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
}

pub(super) struct Inner {
    pub(super) origin: Arc<dyn RoundTrip>,
    pub(super) store: GuardedStore,
    /// Where bodies on their way are entered.
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: Rules,
    pub(super) stats: Arc<Stats>,
    pseudonym: String,
    pub(super) via: Option<HeaderValue>,
    pub(super) digest: KeyedDigest,
    pub(super) keys: Keys,
    pub(super) flights: Flights<Flight, FlightResult>,
    pub(super) failures: Failures,
    pub(super) uncacheable: Uncacheable,
    pub(super) unstored: Unstored,
    pub(super) refreshes: Arc<Refreshes>,
    drain_on_drop: Duration,
    pub(super) worth_finishing: u64,
    /// Up to how many bytes of content a POST may have whose response is stored.
    pub(super) cache_post: u64,
    pub(super) is_offline: AtomicBool,
    /// Where it asks the owner of a URL, and not its origin.
    pub(super) near: Option<NearRules>,
}

impl HttpCache {
    /// A cache to put together.
    pub fn builder() -> HttpCacheBuilder {
        HttpCacheBuilder::default()
    }

    pub(super) fn new(made_of: MadeOf) -> Self {
        let MadeOf {
            origin,
            store,
            tier,
            clock,
            rules,
            stats,
            pseudonym,
            via,
            background,
            spawn,
            key,
            near,
            ..
        } = made_of;
        let (drain_on_drop, worth_finishing) = (made_of.drain_on_drop, made_of.worth_finishing);
        let rules = if near.is_some() { rules.near() } else { rules };
        let digest = KeyedDigest::default();
        let keys = Keys::new(key, &rules, digest.clone());
        let ledger = store.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
        let mut store = GuardedStore::new(store, Arc::clone(&stats), made_of.max_body);
        if let Some(tier) = tier {
            tier.set_ledger(Arc::clone(&ledger));
            store = store.with_tier(tier, &rules);
        }
        let inner = Arc::new(Inner {
            origin,
            store,
            ledger,
            clock,
            rules,
            stats,
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
            drain_on_drop,
            worth_finishing,
            cache_post: made_of.cache_post,
            near,
        });
        let drain = Arc::new(Drain(Arc::clone(&inner)));
        Self { inner, _drain: drain }
    }

    /// Refreshes what was served stale, until nothing waits or the time is up; says how many refreshes that
    /// were. One that has begun is finished, however long the origin takes.
    ///
    /// With [`Background::CallerRuns`] this is the only way in which they are done.
    pub fn maintain(&self, budget: Duration) -> usize {
        self.inner.maintain(budget)
    }

    /// Stops or starts asking origins. Offline, a request is answered with what is stored, stale or not, as
    /// long as the origin did not forbid that; otherwise GET and HEAD are answered with 504, and every other
    /// method fails as [`ErrorKind::Unreachable`]. Default: online.
    pub fn set_offline(&self, is_offline: bool) {
        self.inner.is_offline.store(is_offline, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.inner.stats
    }

    /// Where the responses are kept.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.inner.store.store()
    }

    /// What is below the store in memory.
    pub(crate) fn tier(&self) -> Option<&Arc<dyn Tier>> {
        self.inner.store.tier()
    }

    /// The name under which it stands in `Via`.
    #[must_use]
    pub fn pseudonym(&self) -> &str {
        &self.inner.pseudonym
    }
}

impl RoundTrip for HttpCache {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        self.round_trip_to(target, request)
    }
}

impl HttpCache {
    /// As [`RoundTrip::round_trip`], where the URL has been read already.
    pub(crate) fn round_trip_to(
        &self,
        target: CanonicalUrl,
        request: Request<Body>,
    ) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let inner = &self.inner;
        let (method, mut headers) = (parts.method, parts.headers);
        if protocol::is_purge(&method) {
            let text = "a PURGE goes to no origin: it is for a peer of the pool";
            return Err(Error::new(ErrorKind::BadRequest, text).with_url(&target));
        }
        let hop = inner.end_to_end(&method, &mut headers);
        let said = Deadline::of(&parts.extensions);
        let via = received_over(parts.version, inner.via.as_ref());
        let deadline = hop.until(said);
        let on_interim = parts.extensions.get::<OnInterim>().cloned();
        let is_about_content = matches!(method, Method::GET | Method::HEAD);
        // A body would have to be part of the key.
        if !is_about_content || !body.is_empty() {
            let why = if is_about_content { Forward::Bypass } else { Forward::Method };
            let token = parts.extensions.get::<Cancellation>().cloned();
            let is_cached_post = inner.is_cached_post(&method, &body);
            let passing = Passing { method, target, headers, via, deadline, on_interim };
            if is_cached_post {
                return inner.answer_post(passing, body, hop, token);
            }
            return inner.pass(passing, body, why, token, None);
        }
        let incoming = Incoming::new(method, target, headers, hop, via, &inner.keys);
        let incoming = incoming.until(deadline).telling(on_interim);
        let answered = inner.answer(&Arc::new(incoming))?;
        // A fetch that others share is not limited by one caller's deadline; what this one reads of it is.
        Ok(match deadline {
            Some(deadline) => self.limited(answered, deadline),
            None => answered,
        })
    }
}

impl HttpCache {
    /// The response, whose body is read until the deadline at most. What is not stored comes from the origin as it is
    /// read: another thread does that, which can be left.
    fn limited(&self, response: Response<Body>, deadline: Deadline) -> Response<Body> {
        let token = response.extensions().get::<Cancellation>().cloned();
        response.map(|body| {
            let is_here = body.as_pieces().is_some() || deadline.hard().is_none() || deadline.is_for_head();
            let body = match token {
                Some(token) if !is_here => match body.into_growing() {
                    Ok((stream, length)) => Body::from_growing(stream, length),
                    Err(body) if body.end_is_proven() => {
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
    pub(super) fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Relaxed)
    }

    /// Takes out of a request what selects nothing and is not passed on: what ends at this hop, and what no origin
    /// is to see. Gives what the one who asks wants beside it.
    pub(super) fn end_to_end(&self, method: &Method, headers: &mut HeaderMap) -> Hop {
        hop_by_hop::remove(headers);
        let hop = Hop::take(headers);
        remove_unsent(method, headers, &self.rules);
        hop
    }

    /// Passes a request through, past the store, and forgets what it makes doubtful. Its response is stored as that of
    /// this POST, where it may be.
    pub(super) fn pass(
        &self,
        passing: Passing,
        body: Body,
        why: Forward,
        cancellation: Option<Cancellation>,
        post: Option<Incoming>,
    ) -> Result<Response<Body>> {
        let Passing { method, target, mut headers, via, deadline, on_interim } = passing;
        let (method, target) = (&method, &target);
        let asked_with = headers.clone();
        if let Some(via) = via {
            headers.append(VIA, via);
        }
        let mut request = Request::new(body);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        if let Some(on_interim) = on_interim {
            request.extensions_mut().insert(on_interim);
        }
        let cancellation = cancellation.unwrap_or_default();
        request.extensions_mut().insert(cancellation.clone());
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.uri();
        *request.headers_mut() = headers;
        // What is invalidated while it is asked for must not be stored afterwards.
        let fetch = self.begin(&self.keys.of(target, &asked_with));
        let received =
            self.ask(request, target, why).inspect_err(|_| self.stats.count(Outcome::Failed(why)))?;
        let tombstones = self.store.tombstones();
        let is_overtaken =
            tombstones.cover_fields((fetch.key(), target), fetch.sequence(), &received.headers);
        for target in invalidated(method, target, received.status, &received.headers) {
            let public = self.keys.public(&target);
            let own = self.keys.of(&target, &asked_with);
            if own != public {
                self.invalidate(&own);
            }
            self.invalidate(&public);
        }
        self.invalidate_groups(target.as_str(), &invalidated_groups(method, &received.headers));
        let status = CacheStatus::new(Outcome::Passed(why)).forward_status(received.status);
        // What nobody knows, and the content, would be no part of the key.
        let may_keep = !is_overtaken && self.rules.unknown_fields == UnknownFields::Forward;
        if let Some(post) = post
            && may_keep
            && self.is_for_post(target, received.status, &received.headers)
        {
            let fetch = (self.begin(&post.key), cancellation);
            return Ok(self.keep(&post, None, received, status, fetch, None));
        }
        if may_keep && is_answer_to_get(method, target, received.status, &received.headers, &self.rules) {
            let via = self.via.clone();
            let get = Incoming::new(Method::GET, target.clone(), asked_with, Hop::default(), via, &self.keys);
            // It is younger than what it has just invalidated.
            let fetch = (self.begin(&get.key), cancellation);
            return Ok(self.keep(&get, None, received, status, fetch, None));
        }
        self.note(status.outcome(), target, false);
        Ok(hand_on(received.status, received.headers, received.body, status))
    }

    /// A fetch that begins now.
    pub(super) fn begin(&self, key: &Key) -> Fetch {
        self.store.tombstones().begin(key, self.clock.now())
    }

    /// Removes what is stored under a key. What was asked for before is neither stored nor shared any more.
    pub(super) fn invalidate(&self, key: &Key) {
        let tombstone = self.store.tombstones().add_key(key, self.clock.now());
        if self.store.try_remove(key) {
            self.store.tombstones().sweep(tombstone);
        }
    }

    /// The same for all that is stored of the URL's origin in these groups (RFC 9875 section 3).
    pub(super) fn invalidate_groups(&self, url: &str, groups: &[Vec<u8>]) {
        for name in groups.iter().take(MOST_GROUPS) {
            let tombstone = self.store.tombstones().add_group(url, name, self.clock.now());
            self.sweep_group(url, name, tombstone);
        }
    }

    pub(super) fn serve(
        self: &Arc<Self>,
        stored: &StoredResponse,
        incoming: &Arc<Incoming>,
        outcome: Outcome,
    ) -> Response<Body> {
        let percent = self.rules.early_refresh;
        let is_due = || percent > 0 && is_due_early(stored.validity(), percent, self.clock.now());
        let is_refreshed = outcome == Outcome::StaleWhileRevalidate || (outcome == Outcome::Hit && is_due());
        if is_refreshed && !incoming.is_refresh {
            self.refreshes.offer(incoming, self);
        }
        self.serve_with(stored, incoming, CacheStatus::new(outcome))
    }

    pub(super) fn serve_with(
        &self,
        stored: &StoredResponse,
        incoming: &Incoming,
        status: CacheStatus<'_>,
    ) -> Response<Body> {
        self.note(status.outcome(), &incoming.target, incoming.is_refresh);
        let status = if stored.is_from_disk() || stored.remote().is_some() {
            self.stats.count_disk_answer();
            if status.outcome() == Outcome::Hit { status.detail("disk") } else { status }
        } else {
            status
        };
        answer(stored, incoming, self.named(status, incoming), self.clock.moment(), &self.ledger)
    }

    pub(super) fn only_if_cached(&self, incoming: &Incoming) -> Response<Body> {
        self.note(Outcome::OnlyIfCached, &incoming.target, incoming.is_refresh);
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.named(CacheStatus::new(Outcome::OnlyIfCached), incoming).append_to(&mut headers);
        response(StatusCode::GATEWAY_TIMEOUT, headers, Body::empty())
    }

    /// Hands on what came from the origin.
    pub(super) fn hand_on(
        &self,
        incoming: &Incoming,
        code: StatusCode,
        headers: HeaderMap,
        body: Body,
        status: CacheStatus<'_>,
    ) -> Response<Body> {
        self.note(status.outcome(), &incoming.target, incoming.is_refresh);
        if self.near.is_some() {
            // It is the owner's answer, and says so.
            return response(code, headers, body);
        }
        marked(hand_on(code, headers, body, self.named(status, incoming)), incoming)
    }

    /// With what tells this cache from others, and this key from the URL.
    pub(super) fn named<'a>(&self, status: CacheStatus<'a>, incoming: &'a Incoming) -> CacheStatus<'a> {
        let status = if self.near.is_some() { status.near() } else { status };
        if self.keys.are_chosen() { status.key(incoming.key.url()) } else { status }
    }

    pub(super) fn by(&self) -> By {
        if self.near.is_some() { By::Owner } else { By::Origin }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.stats.count(outcome);
    }

    pub(super) fn note(&self, outcome: Outcome, target: &CanonicalUrl, is_refresh: bool) {
        if is_refresh {
            self.stats.count_refresh();
            debug!("refresh: {outcome} {}", redacted(target.as_str()));
        } else {
            self.stats.count(outcome);
            debug!("{outcome} {}", redacted(target.as_str()));
        }
    }
}

/// With a mark for whoever sends it, where the one who asks wants its digest.
pub(super) fn marked(mut response: Response<Body>, incoming: &Incoming) -> Response<Body> {
    if incoming.hop.wants_digest {
        response.extensions_mut().insert(WantsDigest);
    }
    response
}

fn hand_on(code: StatusCode, mut headers: HeaderMap, body: Body, status: CacheStatus<'_>) -> Response<Body> {
    status.append_to(&mut headers);
    response(code, headers, body)
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
