//! A request's way through the cache.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use log::debug;

use super::answer::{answer, decorate, response};
use super::builder::CachingBuilder;
use super::credential::KeyedDigest;
use super::fill::{Fill, FillReader};
use super::forwarding::{Outgoing, Received, outgoing, prepare};
use super::guarded_store::GuardedStore;
use super::incoming::{self, Incoming};
use super::lookup::{Lookup, Plan, lookup};
use crate::body::Body;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result, redacted};
use crate::flight::{Flights, Landing, Leader, Role};
use crate::header::cache_control::ResponseDirectives;
use crate::policy::{
    NotStored, Rules, Times, Validity, Variant, confirmed, freshened, head_agrees, implied_fields,
    invalidated, may_serve_on_error, may_store, validity,
};
use crate::round_trip::RoundTrip;
use crate::stats::{CacheStatus, Forward, Outcome, Stats};
use crate::store::{Key, Store, StoredResponse};
use crate::target::Target;

/// How long a request waits for the head that another one is fetching before it fetches for itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A [`RoundTrip`] that remembers: an HTTP cache by RFC 9111 over another `RoundTrip`.
///
/// GET and HEAD are answered from the store where that is allowed; every other method goes through, and
/// what it makes doubtful is forgotten (RFC 9111 section 4.4). Several requests for the same URL at the
/// same time become one.
///
/// Every response tells what happened in `Cache-Status` (RFC 9211), see [`Outcome::of`]; what comes from
/// the store carries `Age` and `X-From-Cache: 1`.
///
/// ```
/// use forwardcache::{Body, Caching, Outcome, RoundTrip, RoundTripFn};
/// use http::{Request, Response};
///
/// let origin = RoundTripFn(|_| {
///     Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
/// });
/// let cache = Caching::builder().origin(origin).build()?;
/// let fetch = || cache.round_trip(Request::get("http://example.com/").body(Body::empty()).unwrap());
/// assert_eq!(fetch()?.into_body().into_text()?, "hello");
/// assert_eq!(Outcome::of(fetch()?.headers()), Some(Outcome::Hit));
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Cloning it is cheap and gives the same cache.
#[derive(Clone)]
pub struct Caching {
    inner: Arc<Inner>,
}

struct Inner {
    origin: Arc<dyn RoundTrip>,
    store: GuardedStore,
    clock: Arc<dyn Clock>,
    rules: Rules,
    stats: Arc<Stats>,
    pseudonym: String,
    via: HeaderValue,
    digest: KeyedDigest,
    flights: Flights<Key, Landed>,
}

/// What the leader of a flight has for those who wait.
#[derive(Clone)]
enum Landed {
    /// A response that is on its way, which all may share that it matches.
    Fill(Arc<Head>, Weak<Fill>),
    /// Something was stored: look again.
    Stored,
    /// The origin failed.
    Failed(ErrorKind, Arc<str>),
    /// Nothing that others could use.
    Alone,
}

/// The head of a response whose body is on its way.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    validity: Validity,
    variant: Variant,
}

type Lead = Leader<Key, Landed>;

impl Caching {
    /// A cache to put together.
    pub fn builder() -> CachingBuilder {
        CachingBuilder::default()
    }

    pub(super) fn new(
        origin: Arc<dyn RoundTrip>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        rules: Rules,
        stats: Arc<Stats>,
        pseudonym: String,
        via: HeaderValue,
    ) -> Self {
        let store = GuardedStore::new(store, Arc::clone(&stats));
        let (digest, flights) = (KeyedDigest::default(), Flights::new());
        Self {
            inner: Arc::new(Inner { origin, store, clock, rules, stats, pseudonym, via, digest, flights }),
        }
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

    /// The name under which it stands in `Via`.
    #[must_use]
    pub fn pseudonym(&self) -> &str {
        &self.inner.pseudonym
    }
}

impl RoundTrip for Caching {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = Target::parse(&request.uri().to_string())?;
        let (parts, body) = request.into_parts();
        let inner = &self.inner;
        let (method, headers) = (parts.method, parts.headers);
        if !matches!(method, Method::GET | Method::HEAD) {
            return inner.pass(&method, &target, headers, body, Forward::Method);
        }
        // A body would have to be part of the key.
        if !body.is_empty() {
            return inner.pass(&method, &target, headers, body, Forward::Bypass);
        }
        let incoming = Incoming::new(method, target, headers, &inner.rules, &inner.digest);
        if incoming.is_for_origin() {
            return inner.pass(&incoming.method, &incoming.target, incoming.headers, body, Forward::Bypass);
        }
        inner.answer(&incoming)
    }
}

impl Inner {
    /// Passes a request through, past the store, and forgets what it makes doubtful.
    fn pass(
        &self,
        method: &Method,
        target: &Target,
        mut headers: HeaderMap,
        body: Body,
        why: Forward,
    ) -> Result<Response<Body>> {
        let own_key = incoming::key(target, &headers, &self.rules, &self.digest);
        let is_partitioned = own_key.as_str() != own_key.url();
        let credentials = if is_partitioned { headers.clone() } else { HeaderMap::new() };
        prepare(&mut headers, &self.via);
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.uri();
        *request.headers_mut() = headers;
        let received =
            self.ask(request, target, why).inspect_err(|_| self.stats.count(Outcome::Failed(why)))?;
        for target in invalidated(method, target, received.status, &received.headers) {
            self.store.remove(&Key::new(target.as_str()));
            if is_partitioned {
                self.store.remove(&incoming::key(&target, &credentials, &self.rules, &self.digest));
            }
        }
        let status = CacheStatus::new(Outcome::Passed(why)).forward_status(received.status);
        Ok(self.hand_on(received.status, received.headers, received.body, status, target))
    }

    fn answer(&self, incoming: &Incoming) -> Result<Response<Body>> {
        let plan = match self.look_up(incoming) {
            Lookup::Serve(stored, outcome) => return Ok(self.serve(&stored, incoming, outcome)),
            Lookup::Forward(plan) => plan,
        };
        if incoming.directives.only_if_cached {
            return Ok(self.only_if_cached(incoming));
        }
        if !incoming.may_collapse() {
            return self.forward(incoming, &plan, None);
        }
        match self.flights.join(incoming.key.clone()) {
            // What was being fetched when we looked may have been stored since.
            Role::Lead(leader) => match self.look_up(incoming) {
                Lookup::Serve(stored, outcome) => Ok(self.serve(&stored, incoming, outcome)),
                Lookup::Forward(plan) => self.forward(incoming, &plan, Some(leader)),
            },
            Role::Follow(follower) => match follower.wait(PATIENCE) {
                Landing::With(landed) => self.follow(incoming, &plan, landed),
                Landing::Abandoned | Landing::TimedOut => self.forward(incoming, &plan, None),
            },
        }
    }

    fn look_up(&self, incoming: &Incoming) -> Lookup {
        lookup(&self.store.variants(&incoming.key), incoming, &self.digest, self.clock.now())
    }

    /// Answers one who waited for another's fetch with what came of that, or fetches after all.
    fn follow(&self, incoming: &Incoming, plan: &Plan, landed: Landed) -> Result<Response<Body>> {
        match landed {
            Landed::Fill(head, fill) => {
                let matches = head.variant.matches(&incoming.headers, &self.digest);
                if let Some(reader) = fill.upgrade().filter(|_| matches).and_then(|fill| fill.reader()) {
                    return Ok(self.share(incoming, plan, &head, reader));
                }
            }
            Landed::Failed(kind, message) => {
                let error = Error::new(kind, &*message).with_url(&incoming.target);
                return self.serve_on_error(incoming, plan, error);
            }
            Landed::Stored | Landed::Alone => {}
        }
        // It may be stored by now.
        match self.look_up(incoming) {
            Lookup::Serve(stored, outcome) => Ok(self.serve(&stored, incoming, outcome)),
            Lookup::Forward(plan) => self.forward(incoming, &plan, None),
        }
    }

    fn share(&self, incoming: &Incoming, plan: &Plan, head: &Head, reader: FillReader) -> Response<Body> {
        let mut headers = head.headers.clone();
        let outcome = Outcome::Collapsed(plan.why);
        decorate(&mut headers, &head.validity, CacheStatus::new(outcome), self.clock.now());
        self.note(outcome, incoming);
        let body = reader.into_body();
        if let Some(length) = body.length() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        response(head.status, headers, body)
    }

    /// Sends the request on, and makes of the answer what can be made of it.
    fn forward(&self, incoming: &Incoming, plan: &Plan, leader: Option<Lead>) -> Result<Response<Body>> {
        let Outgoing { request, asks_for_us } = outgoing(incoming, plan, &self.via);
        let received = match self.ask(request, &incoming.target, plan.why) {
            Ok(received) => received,
            Err(error) => {
                if let Some(leader) = leader {
                    leader.land(Landed::Failed(error.kind(), error.message().into()));
                }
                return self.serve_on_error(incoming, plan, error);
            }
        };
        if received.status == StatusCode::NOT_MODIFIED && asks_for_us {
            let entity_tags: Vec<_> = plan.candidates.iter().map(|stored| stored.field(&ETAG)).collect();
            return match confirmed(&entity_tags, plan.selected.is_some(), &received.headers) {
                Some(at) => Ok(self.confirm(incoming, plan, at, &received, leader)),
                // It confirms something that we do not have: ask again, for the whole.
                None => self.forward(incoming, &Plan::without_store(plan.why), leader),
            };
        }
        if received.status.is_server_error()
            && let Some(stale) = self.stale_on_error(incoming, plan)
        {
            let status = CacheStatus::new(Outcome::StaleOnError(plan.why)).forward_status(received.status);
            return Ok(self.serve_with(&stale, incoming, status));
        }
        if incoming.is_head() {
            self.learn_from_head(incoming, plan, &received);
        }
        Ok(self.keep(incoming, plan, received, leader))
    }

    /// Sends a request to the origin.
    fn ask(&self, request: Request<Body>, target: &Target, why: Forward) -> Result<Received> {
        self.stats.count_origin_request();
        let asked = self.clock.now();
        let response = self.origin.round_trip(request).map_err(|error| {
            debug!("{} {} {error}", Outcome::Failed(why), redacted(target.as_str()));
            error
        })?;
        let times = Times { request: asked, response: self.clock.now() };
        Ok(Received::new(response, times, &self.via))
    }

    /// Freshens what a 304 confirmed, and answers with it.
    fn confirm(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        at: usize,
        received: &Received,
        leader: Option<Lead>,
    ) -> Response<Body> {
        let confirmed = &plan.candidates[at];
        let headers = freshened(&confirmed.headers(), &received.fields_to_store());
        let freshened = Arc::new(self.stored(
            incoming,
            confirmed.status(),
            &headers,
            confirmed.body().clone(),
            received.times,
        ));
        let directives = ResponseDirectives::of(&headers);
        match may_store(incoming.for_storing(), confirmed.status(), &headers, &directives, &self.rules) {
            Ok(()) => {
                self.store.insert(&incoming.key, Arc::clone(&freshened));
                if let Some(leader) = leader {
                    leader.land(Landed::Stored);
                }
            }
            Err(NotStored::RequestNoStore) => {}
            Err(_) => self.store.remove(&incoming.key),
        }
        let status =
            CacheStatus::new(Outcome::Revalidated(plan.why)).forward_status(StatusCode::NOT_MODIFIED);
        self.serve_with(&freshened, incoming, status)
    }

    /// A HEAD tells whether what is stored for GET still holds (RFC 9111 section 4.3.5).
    fn learn_from_head(&self, incoming: &Incoming, plan: &Plan, received: &Received) {
        let Some(stored) = &plan.selected else { return };
        if received.status.is_server_error() || received.status == StatusCode::NOT_MODIFIED {
            return;
        }
        let headers = stored.headers();
        if received.status == stored.status() && head_agrees(&headers, stored.body().len(), &received.headers)
        {
            let headers = freshened(&headers, &received.fields_to_store());
            let get = Incoming { method: Method::GET, ..incoming.clone() };
            let directives = ResponseDirectives::of(&headers);
            if may_store(get.for_storing(), stored.status(), &headers, &directives, &self.rules).is_ok() {
                let body = stored.body().clone();
                let freshened = self.stored(&get, stored.status(), &headers, body, received.times);
                self.store.insert(&incoming.key, Arc::new(freshened));
                return;
            }
        }
        self.store.remove(&incoming.key);
    }

    /// Hands a response on, and stores it where that is allowed and once it is whole.
    fn keep(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        received: Received,
        leader: Option<Lead>,
    ) -> Response<Body> {
        let status = CacheStatus::new(Outcome::Miss(plan.why)).forward_status(received.status);
        if let Err(why) = self.may_keep(incoming, &received) {
            if let Some(leader) = leader {
                leader.land(Landed::Alone);
            }
            // What is stored has just been contradicted by the origin; a failing origin, the answer to a
            // part or to a condition contradict nothing.
            let contradicts = !received.status.is_server_error()
                && !matches!(why, NotStored::Method | NotStored::RequestNoStore | NotStored::NotWhole)
                && received.status != StatusCode::RANGE_NOT_SATISFIABLE;
            if plan.selected.is_some() && contradicts {
                self.store.remove(&incoming.key);
            }
            let Received { status: code, headers, body, .. } = received;
            return self.hand_on(code, headers, body, status.detail(why.name()), &incoming.target);
        }
        let fields = received.fields_to_store();
        let Received { status: code, headers, body, times } = received;
        let whole = if body.is_empty() { Some(bytes::Bytes::new()) } else { body.as_bytes().cloned() };
        if let Some(whole) = whole {
            let stored = self.stored(incoming, code, &fields, whole, times);
            self.store.insert(&incoming.key, Arc::new(stored));
            if let Some(leader) = leader {
                leader.land(Landed::Stored);
            }
            return self.hand_on(code, headers, body, status.stored(), &incoming.target);
        }
        let body = self.fill(incoming, Head::of(self, incoming, code, fields, times), body, leader);
        self.hand_on(code, headers, body, status.stored(), &incoming.target)
    }

    fn may_keep(&self, incoming: &Incoming, received: &Received) -> Result<(), NotStored> {
        let directives = ResponseDirectives::of(&received.headers);
        let request = incoming.for_storing();
        may_store(request, received.status, &received.headers, &directives, &self.rules)?;
        if !received.body.end_is_proven() {
            return Err(NotStored::EndNotProven);
        }
        if received.body.length().is_some_and(|length| length > self.store.max_body()) {
            return Err(NotStored::TooLarge);
        }
        Ok(())
    }

    /// Lets a body be read by everybody who waits for it, and stores it when it is whole. The leader's
    /// flight ends then, or when nothing comes of it.
    fn fill(&self, incoming: &Incoming, head: Head, body: Body, leader: Option<Lead>) -> Body {
        let head = Arc::new(head);
        let leader = leader.map(Arc::new);
        let commit = {
            let (store, key, head, leader) =
                (self.store.clone(), incoming.key.clone(), Arc::clone(&head), leader.clone());
            move |whole| {
                let stored = StoredResponse::new(
                    head.status,
                    &head.headers,
                    whole,
                    head.validity,
                    head.variant.clone(),
                );
                store.insert(&key, Arc::new(stored));
                drop(leader);
            }
        };
        let reader = Fill::start(body, self.store.max_body(), Box::new(commit));
        if let Some(leader) = leader {
            // Only what is fresh answers a request that did not cause it (RFC 9111 section 4).
            let is_for_all = head.validity.is_fresh(self.clock.now()) && !head.validity.no_cache;
            leader.land(if is_for_all {
                Landed::Fill(head, Arc::downgrade(reader.fill()))
            } else {
                Landed::Alone
            });
        }
        reader.into_body()
    }

    fn stored(
        &self,
        incoming: &Incoming,
        status: StatusCode,
        headers: &HeaderMap,
        body: bytes::Bytes,
        times: Times,
    ) -> StoredResponse {
        let head = Head::of(self, incoming, status, headers.clone(), times);
        StoredResponse::new(status, &head.headers, body, head.validity, head.variant)
    }

    /// Answers with what is stale because the origin failed, or passes the failure on.
    fn serve_on_error(&self, incoming: &Incoming, plan: &Plan, error: Error) -> Result<Response<Body>> {
        match self.stale_on_error(incoming, plan) {
            Some(stale) => {
                let status = CacheStatus::new(Outcome::StaleOnError(plan.why));
                Ok(self.serve_with(&stale, incoming, status))
            }
            None => {
                self.stats.count(Outcome::Failed(plan.why));
                Err(error)
            }
        }
    }

    fn stale_on_error(&self, incoming: &Incoming, plan: &Plan) -> Option<Arc<StoredResponse>> {
        let stored = plan.selected.as_ref()?;
        may_serve_on_error(stored.validity(), &incoming.directives, &self.rules, self.clock.now())
            .then(|| Arc::clone(stored))
    }

    fn serve(&self, stored: &StoredResponse, incoming: &Incoming, outcome: Outcome) -> Response<Body> {
        self.serve_with(stored, incoming, CacheStatus::new(outcome))
    }

    fn serve_with(
        &self,
        stored: &StoredResponse,
        incoming: &Incoming,
        status: CacheStatus,
    ) -> Response<Body> {
        self.note(status.outcome(), incoming);
        answer(stored, incoming, status, self.clock.now())
    }

    fn only_if_cached(&self, incoming: &Incoming) -> Response<Body> {
        self.note(Outcome::OnlyIfCached, incoming);
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        CacheStatus::new(Outcome::OnlyIfCached).append_to(&mut headers);
        response(StatusCode::GATEWAY_TIMEOUT, headers, Body::empty())
    }

    /// Hands on what came from the origin.
    fn hand_on(
        &self,
        code: StatusCode,
        mut headers: HeaderMap,
        body: Body,
        status: CacheStatus,
        target: &Target,
    ) -> Response<Body> {
        self.stats.count(status.outcome());
        debug!("{} {}", status.outcome(), redacted(target.as_str()));
        status.append_to(&mut headers);
        response(code, headers, body)
    }

    fn note(&self, outcome: Outcome, incoming: &Incoming) {
        self.stats.count(outcome);
        debug!("{outcome} {}", redacted(incoming.target.as_str()));
    }
}

impl Head {
    fn of(
        inner: &Inner,
        incoming: &Incoming,
        status: StatusCode,
        mut headers: HeaderMap,
        times: Times,
    ) -> Self {
        let directives = ResponseDirectives::of(&headers);
        let validity = validity(status, &headers, &directives, times, &inner.rules);
        headers.remove(AGE);
        let implied = implied_fields(&directives, &inner.rules);
        let variant = Variant::of(&headers, implied, &incoming.headers, &inner.digest);
        Self { status, headers, validity, variant }
    }
}

impl fmt::Debug for Caching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caching")
            .field("store", self.inner.store.store())
            .field("rules", &self.inner.rules)
            .field("pseudonym", &self.inner.pseudonym)
            .finish_non_exhaustive()
    }
}
