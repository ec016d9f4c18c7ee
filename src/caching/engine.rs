//! A request's way through the cache.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, ETAG, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use log::{debug, warn};

use super::answer::{answer, decorate, response};
use super::builder::CachingBuilder;
use super::credential::KeyedDigest;
use super::fetches::Fetches;
use super::forwarding::{By, Outgoing, Received, outgoing, received_over};
use super::groups::invalidated_groups;
use super::guarded_store::GuardedStore;
use super::incoming::{Incoming, Passing};
use super::invalidations::Invalidation;
use super::keys::{KeyHook, Keys};
use super::lookup::{Lookup, Plan, lookup};
use super::near::NearRules;
use super::parts;
use super::refresh::{Background, Refreshes};
use super::uncacheable::Uncacheable;
use crate::body::Body;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::digest::{Expected, announced, checked};
use crate::error::{Error, ErrorKind, Result, redacted};
use crate::fill::{Fill, FillReader};
use crate::flight::{Flights, Landing, Leader, Role};
use crate::header::hop_by_hop;
use crate::ledger::Ledger;
use crate::policy::{
    Reuse, Rules, Times, UnknownFields, Validity, Variant, confirmed, invalidated, is_answer_to_get,
    may_serve_on_error, remove_unsent, reuse,
};
use crate::protocol::{self, Hop, WantsDigest};
use crate::round_trip::RoundTrip;
use crate::stats::{CacheStatus, Forward, Outcome, Stats};
use crate::store::{Key, Store, StoredResponse};
use crate::target::Target;

/// How long a request waits for the head that another one is fetching before it fetches for itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a request waits anew because the one who fetched had no time left.
const TURNS: u8 = 3;

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
    pub(super) inner: Arc<Inner>,
}

/// The parts that a builder brings.
pub(super) struct MadeOf {
    pub(super) origin: Arc<dyn RoundTrip>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: Rules,
    pub(super) stats: Arc<Stats>,
    pub(super) pseudonym: String,
    pub(super) via: Option<HeaderValue>,
    pub(super) background: Background,
    pub(super) drain_on_drop: Duration,
    pub(super) worth_finishing: u64,
    pub(super) key: Option<KeyHook>,
    pub(super) near: Option<NearRules>,
}

pub(super) struct Inner {
    origin: Arc<dyn RoundTrip>,
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
    pub(super) flights: Flights<Key, Landed>,
    pub(super) fetches: Arc<Fetches>,
    pub(super) uncacheable: Uncacheable,
    pub(super) refreshes: Arc<Refreshes>,
    drain_on_drop: Duration,
    pub(super) worth_finishing: u64,
    is_offline: AtomicBool,
    /// Where it asks the owner of a URL, and not its origin.
    pub(super) near: Option<NearRules>,
    /// For the thread that refreshes.
    me: Weak<Inner>,
}

/// What the leader of a flight has for those who wait.
#[derive(Clone)]
pub(super) enum Landed {
    /// A response that is on its way, which all may share that it matches, and the ticket of its fetch.
    Fill(Arc<Head>, Weak<Fill>, u64),
    /// Something was stored: look again.
    Stored,
    /// The origin cannot be reached.
    Unreachable(ErrorKind, Arc<str>, Option<Duration>),
    /// The origin is there, and says that it fails.
    ServerError(StatusCode),
    /// Nothing that others could use.
    Alone,
    /// Nothing: the one who fetched had no time left. The others may have.
    GivenUp,
}

/// The head of a response whose body is on its way.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) validity: Validity,
    pub(super) variant: Variant,
}

pub(super) type Lead = Leader<Key, Landed>;

impl Caching {
    /// A cache to put together.
    pub fn builder() -> CachingBuilder {
        CachingBuilder::default()
    }

    pub(super) fn new(made_of: MadeOf) -> Self {
        let MadeOf { origin, store, clock, rules, stats, pseudonym, via, background, key, near, .. } =
            made_of;
        let (drain_on_drop, worth_finishing) = (made_of.drain_on_drop, made_of.worth_finishing);
        let digest = KeyedDigest::default();
        let keys = Keys::new(key, &rules, digest.clone());
        let ledger = store.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
        let inner = Arc::new_cyclic(|me| Inner {
            origin,
            store: GuardedStore::new(store, Arc::clone(&stats)),
            ledger,
            clock,
            rules,
            stats,
            pseudonym,
            via,
            digest,
            keys,
            flights: Flights::new(),
            fetches: Arc::default(),
            uncacheable: Uncacheable::default(),
            is_offline: AtomicBool::new(false),
            refreshes: Arc::new(Refreshes::new(background)),
            drain_on_drop,
            worth_finishing,
            near,
            me: Weak::clone(me),
        });
        Self { inner }
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

    /// The name under which it stands in `Via`.
    #[must_use]
    pub fn pseudonym(&self) -> &str {
        &self.inner.pseudonym
    }
}

impl RoundTrip for Caching {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = Target::parse(&request.uri().to_string())?;
        self.round_trip_to(target, request)
    }
}

impl Caching {
    /// As [`RoundTrip::round_trip`], where the URL has been read already.
    pub(crate) fn round_trip_to(&self, target: Target, request: Request<Body>) -> Result<Response<Body>> {
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
        let is_about_content = matches!(method, Method::GET | Method::HEAD);
        // A body would have to be part of the key.
        if !is_about_content || !body.is_empty() {
            let why = if is_about_content { Forward::Bypass } else { Forward::Method };
            return inner.pass(Passing { method, target, headers, via, deadline }, body, why);
        }
        let incoming = Incoming::new(method, target, headers, hop, via, &inner.keys).until(deadline);
        if incoming.is_for_origin() {
            return inner.pass(incoming.into_passing(), body, Forward::Bypass);
        }
        inner.answer(&incoming)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.refreshes.close();
        self.maintain(self.drain_on_drop);
    }
}

impl Inner {
    /// Takes out of a request what selects nothing and is not passed on: what ends at this hop, and what no origin
    /// is to see. Gives what the one who asks wants beside it.
    pub(super) fn end_to_end(&self, method: &Method, headers: &mut HeaderMap) -> Hop {
        hop_by_hop::remove(headers);
        let hop = Hop::take(headers);
        remove_unsent(method, headers, &self.rules);
        hop
    }

    /// Passes a request through, past the store, and forgets what it makes doubtful.
    pub(super) fn pass(&self, passing: Passing, body: Body, why: Forward) -> Result<Response<Body>> {
        let Passing { method, target, mut headers, via, deadline } = passing;
        let (method, target) = (&method, &target);
        let asked_with = headers.clone();
        if let Some(via) = via {
            headers.append(VIA, via);
        }
        let mut request = Request::new(body);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.uri();
        *request.headers_mut() = headers;
        let purges = self.store.purges().count();
        let received =
            self.ask(request, target, why).inspect_err(|_| self.stats.count(Outcome::Failed(why)))?;
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
        let is_by_the_key = self.rules.unknown_fields == UnknownFields::Forward;
        if is_by_the_key && is_answer_to_get(method, target, received.status, &received.headers, &self.rules)
        {
            let via = self.via.clone();
            let get = Incoming::new(Method::GET, target.clone(), asked_with, Hop::default(), via, &self.keys);
            let fetch = self.fetches.begin(&get.key);
            // It is no fetch while it is asked for, and so nothing else knows of a purge in that time.
            if self.store.purges().count() == purges {
                return Ok(self.keep(&get, None, received, status, fetch, None));
            }
        }
        self.note(status.outcome(), target, false);
        Ok(hand_on(received.status, received.headers, received.body, status))
    }

    /// Forgets what is stored under a key, and sees to it that nothing which was asked before is stored or
    /// shared after.
    pub(super) fn invalidate(&self, key: &Key) {
        self.fetches.invalidate(key);
        self.flights.forget(key);
        self.store.remove(key);
    }

    /// The same for all that is stored of the URL's origin in these groups (RFC 9875 section 3).
    pub(super) fn invalidate_groups(&self, url: &str, groups: &[Vec<u8>]) {
        if groups.is_empty() {
            return;
        }
        let ticket = self.fetches.last_ticket();
        // From the first on, no fetch that has begun by now stores anything. What one had stored before that
        // may be younger than the first reading of the clock, and is older than the second.
        for _ in 0..2 {
            let invalidation = Invalidation { time: self.clock.now(), ticket };
            self.store.groups().invalidate(url, groups, invalidation);
        }
    }

    pub(super) fn answer(&self, incoming: &Incoming) -> Result<Response<Body>> {
        self.answer_in(incoming, TURNS)
    }

    /// The same, where as many may give up whom it waits for.
    fn answer_in(&self, incoming: &Incoming, turns: u8) -> Result<Response<Body>> {
        let plan = match self.look_up(incoming) {
            Lookup::Serve(stored, outcome) => return Ok(self.serve(&stored, incoming, outcome)),
            Lookup::Forward(plan) => plan,
        };
        if let Some(answer) = self.without_origin(incoming, &plan) {
            return Ok(answer);
        }
        if let Some(patience) = self.soft_patience(incoming, &plan) {
            return self.answer_softly(incoming, &plan, patience);
        }
        if !self.may_collapse(incoming) {
            return self.forward(incoming, &plan, None);
        }
        match self.flights.join(incoming.key.clone()) {
            // What was being fetched when we looked may have been stored since.
            Role::Lead(leader) => match self.look_up(incoming) {
                Lookup::Serve(stored, outcome) => {
                    leader.land(Landed::Stored);
                    Ok(self.serve(&stored, incoming, outcome))
                }
                Lookup::Forward(plan) => self.forward(incoming, &plan, Some(leader)),
            },
            Role::Follow(follower) => match follower.wait(patience_of(incoming)) {
                // One of those who waited leads then.
                Landing::With(Landed::GivenUp) if turns > 0 => self.answer_in(incoming, turns - 1),
                Landing::With(landed) => self.follow(incoming, &plan, landed),
                Landing::Abandoned | Landing::TimedOut => self.look_again(incoming),
            },
        }
    }

    /// After which time a request with a soft deadline may be answered with what is stale, where it may.
    pub(super) fn soft_patience(&self, incoming: &Incoming, plan: &Plan) -> Option<Duration> {
        let (deadline, now) = (incoming.deadline?, Instant::now());
        let soft = deadline.softly_remaining(now)?;
        let patience = deadline.remaining(now).map_or(soft, |hard| hard.min(soft));
        let may_be_stale = self.stale_on_error(incoming, plan).is_some() && self.may_collapse(incoming);
        may_be_stale.then_some(patience)
    }

    /// Answers with what is fetched meanwhile, or with what is stale where that does not come in time.
    fn answer_softly(&self, incoming: &Incoming, plan: &Plan, patience: Duration) -> Result<Response<Body>> {
        let follower = match self.flights.join(incoming.key.clone()) {
            Role::Follow(follower) => follower,
            Role::Lead(leader) => {
                let follower = leader.follower();
                if let Err(leader) = self.refreshes.fly(incoming, leader, &self.me) {
                    // Nobody can work on it now; later somebody may.
                    drop(leader);
                    self.refreshes.offer(incoming, &self.me);
                    return self.stale_by_deadline(incoming, plan);
                }
                follower
            }
        };
        match follower.wait(patience) {
            Landing::With(landed) => self.follow(incoming, plan, landed),
            Landing::Abandoned => self.look_again(incoming),
            Landing::TimedOut => self.stale_by_deadline(incoming, plan),
        }
    }

    /// Answers with what is stale, unless it was purged meanwhile.
    fn stale_by_deadline(&self, incoming: &Incoming, plan: &Plan) -> Result<Response<Body>> {
        let Some(stale) = self.stale_on_error(incoming, plan) else { return self.look_again(incoming) };
        Ok(self.serve_with(&stale, incoming, CacheStatus::new(Outcome::StaleOnDeadline(plan.why))))
    }

    /// The answer where the origin must not be asked.
    pub(super) fn without_origin(&self, incoming: &Incoming, plan: &Plan) -> Option<Response<Body>> {
        if self.is_offline.load(Ordering::Relaxed) {
            return Some(match plan.selected.as_ref().filter(|stored| may_serve_offline(stored, incoming)) {
                Some(stored) => self.serve(stored, incoming, Outcome::StaleAccepted),
                None => self.only_if_cached(incoming),
            });
        }
        incoming.directives.only_if_cached.then(|| self.only_if_cached(incoming))
    }

    /// Whether what this request asks for may be what another one is fetching.
    pub(super) fn may_collapse(&self, incoming: &Incoming) -> bool {
        incoming.may_collapse() && !self.uncacheable.holds(&incoming.key)
    }

    pub(super) fn look_up(&self, incoming: &Incoming) -> Lookup {
        let purges = self.store.purges().count();
        lookup(&self.store.variants(&incoming.key), incoming, &self.digest, self.clock.now())
            .found_after(purges)
    }

    /// Answers one who waited for another's fetch with what came of that, or fetches after all.
    fn follow(&self, incoming: &Incoming, plan: &Plan, landed: Landed) -> Result<Response<Body>> {
        self.shared(incoming, plan, landed).unwrap_or_else(|| self.look_again(incoming))
    }

    /// What came of another's fetch, where it is an answer to this request too.
    pub(super) fn shared(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        landed: Landed,
    ) -> Option<Result<Response<Body>>> {
        match landed {
            Landed::Fill(head, fill, ticket) => {
                // A body may be on its way for longer than it is fresh.
                let groups = self.store.groups();
                let fits = !groups.have_overtaken(incoming.target.as_str(), ticket, &head.headers)
                    && incoming.is_answered_by(&head.variant)
                    && head.variant.matches(&incoming.headers, &self.digest)
                    && reuse(&head.validity, &incoming.directives, self.clock.now()) == Reuse::Fresh;
                if let Some(reader) = fill.upgrade().filter(|_| fits).and_then(|fill| fill.reader()) {
                    return Some(Ok(self.share(incoming, plan, &head, reader)));
                }
            }
            Landed::Unreachable(kind, message, retry_after) => {
                let error = Error::new(kind, &*message).with_url(&incoming.target);
                let error = match retry_after {
                    Some(time) => error.with_retry_after(time),
                    None => error,
                };
                return Some(self.serve_on_error(incoming, plan, error));
            }
            Landed::ServerError(code) => {
                if let Some(stale) = self.stale_on_error(incoming, plan) {
                    let status = CacheStatus::new(Outcome::StaleOnError(plan.why)).forward_status(code);
                    return Some(Ok(self.serve_with(&stale, incoming, status)));
                }
            }
            Landed::Stored | Landed::Alone | Landed::GivenUp => {}
        }
        None
    }

    /// What was waited for may be stored by now.
    fn look_again(&self, incoming: &Incoming) -> Result<Response<Body>> {
        match self.look_up(incoming) {
            Lookup::Serve(stored, outcome) => Ok(self.serve(&stored, incoming, outcome)),
            Lookup::Forward(plan) => self.forward(incoming, &plan, None),
        }
    }

    fn share(&self, incoming: &Incoming, plan: &Plan, head: &Head, reader: FillReader) -> Response<Body> {
        let mut headers = head.headers.clone();
        let outcome = Outcome::Collapsed(plan.why);
        let status = self.named(CacheStatus::new(outcome), incoming);
        decorate(&mut headers, &head.validity, status, self.clock.now());
        self.note(outcome, &incoming.target, incoming.is_refresh);
        let body = reader.into_body();
        if let Some(length) = body.length() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        marked(response(head.status, headers, body), incoming)
    }

    /// Sends the request on, and makes of the answer what can be made of it.
    pub(super) fn forward(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        leader: Option<Lead>,
    ) -> Result<Response<Body>> {
        let fetch = self.fetches.begin(&incoming.key);
        // What was found before a purge is not confirmed after it, which would store it anew.
        let unpurged = Plan::without_store(plan.why);
        let plan = if plan.purges == self.store.purges().count() { plan } else { &unpurged };
        let Outgoing { request, asks_for_us } = outgoing(incoming, plan, self.by());
        let received = match self.ask(request, &incoming.target, plan.why) {
            Ok(received) => received,
            Err(error) => {
                if let Some(leader) = leader {
                    let is_in_a_hurry =
                        incoming.deadline.is_some_and(|deadline| deadline.is_over(Instant::now()));
                    if is_in_a_hurry {
                        // Those who wait are to fetch for themselves, not to find this one still there.
                        leader.leave_with(Landed::GivenUp);
                    } else if is_for_everybody(error.kind()) && self.near.is_none() {
                        let (kind, message) = (error.kind(), error.message().into());
                        leader.land(Landed::Unreachable(kind, message, error.retry_after()));
                    } else {
                        // What a request's own fields may have brought about is not the others' trouble. Nor is a near
                        // cache the one to tell others of an error: they hear of it from the owner, as it is.
                        leader.land(Landed::Alone);
                    }
                }
                return self.serve_on_error(incoming, plan, error);
            }
        };
        if received.status == StatusCode::NOT_MODIFIED && asks_for_us {
            let entity_tags: Vec<_> = plan.candidates.iter().map(|stored| stored.field(&ETAG)).collect();
            return match confirmed(&entity_tags, plan.selected.is_some(), &received.headers) {
                Some(at) => Ok(self.confirm(incoming, plan, at, &received, &fetch, leader)),
                // It confirms something that we do not have: ask again, for the whole.
                None => {
                    drop(received);
                    self.forward(incoming, &Plan::without_store(plan.why), leader)
                }
            };
        }
        let received = match &plan.beginning {
            // Not what it was the beginning of: nothing but the whole will do. The other goes first: its place at the
            // origin may be the only one.
            Some(_) if !matches!(received.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                drop(received);
                return self.forward(incoming, &Plan::without_store(plan.why), leader);
            }
            Some(beginning) if received.status == StatusCode::PARTIAL_CONTENT => {
                match parts::whole(received, beginning) {
                    Some(whole) => self.checked_whole(whole, incoming)?,
                    None => return self.forward(incoming, &Plan::without_store(plan.why), leader),
                }
            }
            _ => received,
        };
        if received.status.is_server_error()
            && let Some(stale) = self.stale_on_error(incoming, plan)
        {
            if let Some(leader) = leader {
                leader.land(Landed::ServerError(received.status));
            }
            let status = CacheStatus::new(Outcome::StaleOnError(plan.why)).forward_status(received.status);
            return Ok(self.serve_with(&stale, incoming, status));
        }
        if incoming.is_head() {
            self.learn_from_head(incoming, plan, &received, &fetch);
        }
        let status = CacheStatus::new(Outcome::Miss(plan.why)).forward_status(received.status);
        Ok(self.keep(incoming, plan.selected.as_ref(), received, status, fetch, leader))
    }

    /// Sends a request to the origin.
    fn ask(&self, request: Request<Body>, target: &Target, why: Forward) -> Result<Received> {
        if self.is_offline.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unreachable, "this cache is offline").with_url(target));
        }
        let (asked, method) = (self.clock.now(), request.method().clone());
        let answer = self.origin.round_trip(request);
        // What was refused on the way was not sent.
        if !answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::OriginBusy) {
            self.stats.count_origin_request();
        }
        let response = answer.map_err(|error| {
            debug!("{} {} {error}", Outcome::Failed(why), redacted(target.as_str()));
            error
        })?;
        let times = Times { request: asked, response: self.clock.now() };
        self.checked(Received::new(response, times, self.via.as_ref(), self.by()), &method, target)
    }

    /// With a body that fails where it is not what the origin says that it is (RFC 9530).
    fn checked(&self, received: Received, method: &Method, target: &Target) -> Result<Received> {
        let expected = announced(method, received.status, &received.headers);
        self.expecting(expected, received, target, || ())
    }

    /// The same of a whole whose beginning was stored. Where it proves to be the beginning of something else it is
    /// given up: or the next one who asks would meet it again.
    fn checked_whole(&self, whole: Received, incoming: &Incoming) -> Result<Received> {
        let expected = announced(&Method::GET, whole.status, &whole.headers);
        let (store, key) = (self.store.clone(), incoming.key.clone());
        self.expecting(expected, whole, &incoming.target, move || store.remove(&key))
    }

    fn expecting(
        &self,
        expected: Vec<Expected>,
        received: Received,
        target: &Target,
        on_mismatch: impl FnOnce() + Send + 'static,
    ) -> Result<Received> {
        if expected.is_empty() {
            return Ok(received);
        }
        let (stats, shown) = (Arc::clone(&self.stats), redacted(target.as_str()));
        let told = move || {
            stats.count_digest_mismatch();
            warn!(
                "{} {shown} the body has another digest than its origin announced",
                ErrorKind::DigestMismatch
            );
            on_mismatch();
        };
        let body = checked(received.body, expected, told).map_err(|error| error.with_url(target))?;
        Ok(Received { body, ..received })
    }

    /// Answers with what is stale because the origin failed, or passes the failure on.
    fn serve_on_error(&self, incoming: &Incoming, plan: &Plan, error: Error) -> Result<Response<Body>> {
        let stale = self.stale_on_error(incoming, plan).filter(|_| is_the_origins(error.kind()));
        match stale {
            Some(stale) => {
                let status = CacheStatus::new(Outcome::StaleOnError(plan.why));
                Ok(self.serve_with(&stale, incoming, status))
            }
            None => {
                self.note(Outcome::Failed(plan.why), &incoming.target, incoming.is_refresh);
                Err(error)
            }
        }
    }

    fn stale_on_error(&self, incoming: &Incoming, plan: &Plan) -> Option<Arc<StoredResponse>> {
        let stored = plan.selected.as_ref()?;
        // What was found before a purge is not served after it.
        if plan.purges != self.store.purges().count() {
            return None;
        }
        may_serve_on_error(stored.validity(), &incoming.directives, &self.rules, self.clock.now())
            .then(|| Arc::clone(stored))
    }

    pub(super) fn serve(
        &self,
        stored: &StoredResponse,
        incoming: &Incoming,
        outcome: Outcome,
    ) -> Response<Body> {
        if outcome == Outcome::StaleWhileRevalidate {
            self.refreshes.offer(incoming, &self.me);
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
        answer(stored, incoming, self.named(status, incoming), self.clock.now())
    }

    fn only_if_cached(&self, incoming: &Incoming) -> Response<Body> {
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
    fn named<'a>(&self, status: CacheStatus<'a>, incoming: &'a Incoming) -> CacheStatus<'a> {
        let status = if self.near.is_some() { status.near() } else { status };
        if self.keys.are_chosen() { status.key(incoming.key.url()) } else { status }
    }

    pub(super) fn by(&self) -> By {
        if self.near.is_some() { By::Owner } else { By::Origin }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.stats.count(outcome);
    }

    fn note(&self, outcome: Outcome, target: &Target, is_refresh: bool) {
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
fn marked(mut response: Response<Body>, incoming: &Incoming) -> Response<Body> {
    if incoming.hop.wants_digest {
        response.extensions_mut().insert(WantsDigest);
    }
    response
}

/// How long a request waits for what another one fetches.
fn patience_of(incoming: &Incoming) -> Duration {
    let left = incoming.deadline.and_then(|deadline| deadline.remaining(Instant::now()));
    left.map_or(PATIENCE, |left| left.min(PATIENCE))
}

fn hand_on(code: StatusCode, mut headers: HeaderMap, body: Body, status: CacheStatus<'_>) -> Response<Body> {
    status.append_to(&mut headers);
    response(code, headers, body)
}

/// Whether what is stale may be served because nobody can be asked (RFC 9111 section 4.2.4): neither side
/// forbids it.
fn may_serve_offline(stored: &StoredResponse, incoming: &Incoming) -> bool {
    let validity = stored.validity();
    !validity.no_cache && !validity.must_revalidate && !incoming.directives.no_cache
}

/// Whether it is the origin that failed, and not the request.
fn is_the_origins(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::BadUrl
            | ErrorKind::BadRequest
            | ErrorKind::BadOption
            | ErrorKind::BodyTooLarge
            | ErrorKind::Loop
            | ErrorKind::Forbidden
    )
}

/// Whether every other request would have met it too, whatever its fields.
fn is_for_everybody(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unresolved
            | ErrorKind::Unreachable
            | ErrorKind::Tls
            | ErrorKind::Forbidden
            | ErrorKind::OriginBusy
    )
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
