//! The next step of a request: serve what is stored, wait for another request's fetch, or fetch.
//!
//! ```text
//!            fresh, or stale and allowed                      not fresh
//! look up ───────────────────────────────▶ Serve    look up ─────────────▶ is the same being fetched?
//!                                                                             │ yes          │ no
//!                                                                             ▼              ▼
//!                                                                           Wait           Fetch, then wait
//! ```
//!
//! One sequence of decisions for every caller. A server's event loop parks a request that waits and gives jobs to its
//! pool; a blocking caller ([`Inner::answer`]) blocks, and runs the job itself.

use std::sync::{Arc, Weak};
use std::time::Instant;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use parking_lot::{Condvar, Mutex};

use super::engine::{HttpCache, Inner};
use super::fetching::Exchange;
use super::forwarding::received_over;
use super::incoming::Incoming;
use super::look_below::LookBelow;
use super::lookup::{Lookup, Plan, lookup, selected};
use super::pending::Pending;
use super::tombstones::{Fetch, Sequence};
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::ledger::Ledger;
use crate::cache::fill::{Fill, prepared};
use crate::cache::singleflight::{Leader, Role, Waiter};
use crate::message::body::{Body, Wake};
use crate::message::deadline::Deadline;
use crate::message::interim::OnInterim;
use crate::message::nonblocking::{Job, Lane, Made, Refused, Slot, Step, Turn, Waiting, Wakes};
use crate::message::pieces::Pieces;
use crate::message::stats::{CacheStatus, Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::policy::{Validity, Variant, may_serve_in_grace, may_serve_offline};
use crate::store::{Key, StoredResponse, Variants};

/// How often a request waits anew because what it waited for was of no use to it. After that it fetches for itself.
pub(super) const TURNS: u8 = 3;

pub(super) type Answer = Step<Result<Response<Body>>>;

/// What is being fetched: a key, and which of its variants where that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) key: Key,
    pub(super) variant: Option<Variant>,
}

pub(super) type Lead = Leader<Flight, FlightResult>;

/// What the leader of a flight has for those who wait.
#[derive(Clone)]
pub(super) enum FlightResult {
    /// A response that is on its way, which all may share that it matches, and the place of its fetch.
    Fill(Arc<Head>, Weak<Fill>, Sequence),
    /// Something was stored: look again.
    Stored,
    /// The fetch failed.
    Failed(Arc<Error>),
    /// The origin says that it fails, in this short response.
    Failure(Arc<Head>, Pieces),
    /// The origin is there, and says that it fails: what is stale will do.
    ServerError(StatusCode),
    /// Nothing that others could use: each fetches for itself.
    Alone,
    /// Nothing yet: one of those who wait fetches.
    GivenUp,
}

/// The head of a response whose body is on its way.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) validity: Validity,
    pub(super) variant: Variant,
    /// Where the key does not tell it.
    pub(super) url: Option<Box<str>>,
}

/// What is stored under a key, and the last invalidation before it was looked for.
pub(super) struct Found {
    pub(super) variants: Variants,
    pub(super) latest: Sequence,
}

impl HttpCache {
    /// The next step of a GET or HEAD without content. Never waits.
    pub(crate) fn step(&self, target: CanonicalUrl, request: Request<()>, wakes: Wakes<'_>) -> Answer {
        let (parts, ()) = request.into_parts();
        let mut headers = parts.headers;
        let hop = self.inner.end_to_end(&parts.method, &mut headers);
        let via = received_over(parts.version, self.inner.via.as_ref());
        let said = Deadline::of(&parts.extensions);
        let incoming = Incoming::new(parts.method, target, headers, hop, via, &self.inner.keys);
        let on_interim = parts.extensions.get::<OnInterim>().cloned();
        self.inner.step(Arc::new(incoming.until(hop.until(said)).telling(on_interim)), TURNS, wakes)
    }
}

impl Inner {
    /// The next step of a request, which has waited in vain as often as `turns` is less than [`TURNS`].
    pub(super) fn step(self: &Arc<Self>, incoming: Arc<Incoming>, turns: u8, wakes: Wakes<'_>) -> Answer {
        self.step_for(incoming, None, turns, wakes)
    }

    /// The same, for this variant by the fields of a response that did not fit.
    pub(super) fn step_for(
        self: &Arc<Self>,
        incoming: Arc<Incoming>,
        variant: Option<Variant>,
        turns: u8,
        wakes: Wakes<'_>,
    ) -> Answer {
        if incoming.is_for_origin() {
            return self.pass_alone(&incoming, wakes());
        }
        if let Some(found) = self.find_at_once(&incoming.key) {
            let is_in_memory = selected(&found.variants, &incoming, &self.digest).is_some();
            return if !is_in_memory && self.store.may_be_below(&incoming.key) {
                LookBelow::start(self, incoming, found, variant, turns, wakes)
            } else {
                self.decide(incoming, &found, variant, turns, wakes)
            };
        }
        // The store may block: a job looks up, and the decision is made with what it found.
        let (inner, key, wake) = (Arc::clone(self), incoming.key.clone(), wakes());
        let found =
            Step::fetch(Lane::Store, Cancellation::new(), Arc::clone(&wake), move |turn| match turn {
                Turn::Refused(refused) => Err(refused).into(),
                Turn::Pool | Turn::Caller => Ok(inner.find(&key)).into(),
            });
        let inner = Arc::clone(self);
        found.and_then(move |found| match found {
            Ok(found) => inner.decide(incoming, &found, variant, turns, &|| Arc::clone(&wake)),
            Err(refused) => {
                Step::Serve(inner.refused(&incoming, &Plan::without_store(Forward::UriMiss), refused))
            }
        })
    }

    /// Decides with what is stored. `variant` is the variant of a flight that did not fit this request, by the fields of
    /// that flight's response.
    pub(super) fn decide(
        self: &Arc<Self>,
        incoming: Arc<Incoming>,
        found: &Found,
        variant: Option<Variant>,
        turns: u8,
        wakes: Wakes<'_>,
    ) -> Answer {
        let now = self.clock.moment();
        let plan = match lookup(&found.variants, &incoming, &self.digest, now) {
            Lookup::Serve(stored, outcome) => {
                return Step::Serve(Ok(self.serve(&stored, &incoming, outcome)));
            }
            Lookup::Forward(plan) => plan,
        };
        if let Some(answer) = self.without_origin(&incoming, &plan) {
            return Step::Serve(Ok(answer));
        }
        let wake = wakes();
        let fetch = self.begin(&incoming.key);
        // From here on what is invalidated is remembered for as long as the fetch lasts.
        let is_valid = found.latest == self.store.tombstones().latest();
        let plan = if is_valid { plan } else { Plan::without_store(plan.why) };
        let may_collapse = turns > 0
            && incoming.may_collapse()
            && !plan.is_always_validated()
            && !self.uncacheable.holds(&self.sharing_key(&incoming), now.wall());
        if !may_collapse {
            return self.fetch(incoming, plan, fetch, None, turns, wake);
        }
        if let Some(error) = self.failures.recent(&incoming.key, &incoming.target, now.wall()) {
            return Step::Serve(self.serve_on_error(&incoming, &plan, error.with_url(&incoming.target)));
        }
        // What is stored tells by which fields its variants are told apart.
        let by_stored =
            |stored: &Arc<StoredResponse>| stored.variant().by_same_fields(&incoming.headers, &self.digest);
        let variant = variant.or_else(|| found.variants.first().map(by_stored));
        let flight = Flight { key: incoming.key.clone(), variant };
        let is_joinable = |sequence| self.store.is_joinable(&*incoming, sequence);
        match self.flights.join(flight, fetch.sequence(), is_joinable, &wake) {
            Role::Follow(waiter) => {
                if let Some(stale) = self.stale_in_grace(&incoming, &plan) {
                    return Step::Serve(Ok(stale));
                }
                let plan = Arc::new(plan);
                Pending::follower(Arc::clone(self), incoming, plan, fetch, waiter, turns, wake).again()
            }
            Role::Lead(leader, waiter) => {
                self.fetch(incoming, plan, fetch, Some((leader, waiter)), turns, wake)
            }
        }
    }

    /// Has the origin asked by a job, whose result this request waits for.
    fn fetch(
        self: &Arc<Self>,
        incoming: Arc<Incoming>,
        plan: Plan,
        fetch: Fetch,
        lead: Option<(Lead, Waiter<FlightResult>)>,
        turns: u8,
        wake: Wake,
    ) -> Answer {
        let (slot, promise) = Slot::new(Arc::clone(&wake));
        let plan = Arc::new(plan);
        let (leader, waiter) = lead.unzip();
        let cancellation =
            leader.as_ref().map_or_else(Cancellation::new, |leader| leader.cancellation().clone());
        let lane = Lane::Origin(incoming.target.origin());
        let job = {
            let (inner, incoming, plan) = (Arc::clone(self), Arc::clone(&incoming), Arc::clone(&plan));
            let token = cancellation.clone();
            Job::new(lane, cancellation.clone(), move |turn| {
                if let Turn::Refused(refused) = turn {
                    if let Some(leader) = leader {
                        // It was refused for its own client's share: one of those who wait leads then, by its own.
                        leader.leave_with(FlightResult::GivenUp);
                    }
                    return promise.keep(inner.refused(&incoming, &plan, refused).into());
                }
                let exchange = Exchange { fetch, turn, cancellation: token.clone() };
                let response = inner.fetched(&incoming, &plan, leader, exchange).map(|mut response| {
                    if turn == Turn::Caller {
                        // For one who may leave its body.
                        response.extensions_mut().insert(token.clone());
                    }
                    response
                });
                promise.keep(made(response, &incoming.method, turn, &inner.ledger, &token));
            })
        };
        let pending = Pending::own(Arc::clone(self), incoming, plan, slot, waiter, cancellation, turns, wake);
        Step::Fetch(job, pending.waiting())
    }

    /// Fetches on a thread that may wait.
    pub(super) fn fetched(
        self: &Arc<Self>,
        incoming: &Arc<Incoming>,
        plan: &Plan,
        leader: Option<Lead>,
        exchange: Exchange,
    ) -> Result<Response<Body>> {
        let Some(leader) = leader else { return self.forward(incoming, plan, None, exchange) };
        // What was being fetched when it was looked for may have been stored since.
        match self.look_up(incoming) {
            Lookup::Serve(stored, outcome) => {
                leader.land(FlightResult::Stored);
                Ok(self.serve(&stored, incoming, outcome))
            }
            Lookup::Forward(plan) => self.forward(incoming, &plan, Some(leader), exchange),
        }
    }

    /// Sends a request past the store.
    fn pass_alone(self: &Arc<Self>, incoming: &Arc<Incoming>, wake: Wake) -> Answer {
        let cancellation = Cancellation::new();
        let (inner, token, incoming) = (Arc::clone(self), cancellation.clone(), Incoming::clone(incoming));
        let lane = Lane::Origin(incoming.target.origin());
        Step::fetch(lane, cancellation, wake, move |turn| {
            if let Turn::Refused(refused) = turn {
                return inner.refused(&incoming, &Plan::without_store(Forward::Bypass), refused).into();
            }
            let method = incoming.method.clone();
            let response = inner.pass(
                incoming.into_passing(),
                Body::empty(),
                Forward::Bypass,
                Some(token.clone()),
                None,
            );
            made(response, &method, turn, &inner.ledger, &token)
        })
    }

    /// What is said where no thread can be had: what is stale, where that is allowed. One who would take it soon in any
    /// case gets it for that reason.
    pub(super) fn refused(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        refused: Refused,
    ) -> Result<Response<Body>> {
        if incoming.deadline.is_some_and(|deadline| deadline.soft().is_some())
            && let Some(stale) = self.stale_by_deadline(incoming, plan)
        {
            return Ok(stale);
        }
        let error = Error::new(ErrorKind::Unavailable, refused.reason())
            .with_retry_after(std::time::Duration::from_secs(1));
        self.serve_on_error(incoming, plan, error.with_url(&incoming.target))
    }

    /// Answers with what is stale because there is no time left to wait, unless it was invalidated meanwhile.
    pub(super) fn stale_by_deadline(&self, incoming: &Incoming, plan: &Plan) -> Option<Response<Body>> {
        let stale = self.stale_on_error(incoming, plan)?;
        Some(self.serve_with(&stale, incoming, CacheStatus::new(Outcome::StaleOnDeadline(plan.why))))
    }

    /// Answers with what is stale because another request is waiting for the origin already.
    fn stale_in_grace(&self, incoming: &Incoming, plan: &Plan) -> Option<Response<Body>> {
        let stored = plan.selected.as_ref()?;
        let (validity, asked) = (stored.validity(), &incoming.directives);
        may_serve_in_grace(validity, asked, &self.rules, self.clock.now())
            .then(|| self.serve_with(stored, incoming, CacheStatus::new(Outcome::StaleWhileRevalidate)))
    }

    /// The answer where the origin must not be asked.
    fn without_origin(self: &Arc<Self>, incoming: &Arc<Incoming>, plan: &Plan) -> Option<Response<Body>> {
        if self.is_offline() {
            let may_serve = |stored: &&Arc<StoredResponse>| {
                may_serve_offline(stored.validity(), &incoming.directives, self.clock.moment())
            };
            return Some(match plan.selected.as_ref().filter(may_serve) {
                Some(stored) => self.serve(stored, incoming, Outcome::StaleAccepted),
                None => self.only_if_cached(incoming),
            });
        }
        incoming.directives.only_if_cached.then(|| self.only_if_cached(incoming))
    }

    /// What is stored under a key. May block as long as the store does.
    fn find(&self, key: &Key) -> Found {
        let latest = self.store.tombstones().latest();
        let variants = self.store.variants(key);
        Found { variants: self.store.all(key, variants, self.clock.now()), latest }
    }

    /// The same; `None` where the store may block.
    pub(super) fn find_at_once(&self, key: &Key) -> Option<Found> {
        let latest = self.store.tombstones().latest();
        Some(Found { variants: self.store.at_once(key.as_str())?, latest })
    }

    /// May block as long as the store does.
    pub(super) fn look_up(&self, incoming: &Incoming) -> Lookup {
        let now = self.clock.moment();
        let mut variants = self.store.variants(&incoming.key);
        if selected(&variants, incoming, &self.digest).is_none() {
            variants = self.store.all(&incoming.key, variants, now.wall());
        }
        lookup(&variants, incoming, &self.digest, now)
    }

    /// Answers a request on the caller's thread.
    pub(super) fn answer(self: &Arc<Self>, incoming: &Arc<Incoming>) -> Result<Response<Body>> {
        let parker = Parker::default();
        let mut step = self.step(Arc::clone(incoming), TURNS, &|| parker.wake());
        loop {
            match step {
                Step::Serve(answer) => return answer,
                Step::Lost => {
                    let error = Error::new(ErrorKind::Io, "the fetch of this URL panicked");
                    return Err(error.with_url(&incoming.target));
                }
                Step::Wait(waiting) => {
                    parker.park(waiting.until);
                    step = (waiting.again)();
                }
                Step::Fetch(job, waiting) => {
                    self.run(job, &waiting, incoming);
                    step = (waiting.again)();
                }
            }
        }
    }

    /// Runs a job on this thread, or has another thread run it where this one may leave before it is done.
    fn run<R>(self: &Arc<Self>, job: Job, waiting: &Waiting<R>, incoming: &Incoming) {
        if !waiting.is_soft {
            return job.take(Turn::Caller);
        }
        if let Err(job) = self.refreshes.spawn(job) {
            job.take(Turn::Refused(Refused::QueueFull));
            // Whoever maintains the cache fetches it.
            self.refreshes.offer(incoming, self);
        }
    }
}

/// A response as the one who waits for it can send it: a caller reads the body itself.
fn made(
    response: Result<Response<Body>>,
    method: &Method,
    turn: Turn,
    ledger: &Arc<Ledger>,
    cancellation: &Cancellation,
) -> Made<Result<Response<Body>>> {
    match response {
        Ok(response) if turn == Turn::Pool => prepared(response, method, ledger, cancellation),
        response => response.into(),
    }
}

/// Where a blocking caller waits until it is woken.
#[derive(Default)]
struct Parker {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Parker {
    fn wake(&self) -> Wake {
        let state = Arc::clone(&self.state);
        Arc::new(move || {
            *state.0.lock() = true;
            state.1.notify_one();
        })
    }

    fn park(&self, until: Option<Instant>) {
        let (is_woken, changed) = &*self.state;
        let mut is_woken = is_woken.lock();
        let is_asleep = |is_woken: &mut bool| !*is_woken;
        match until {
            Some(until) => drop(changed.wait_while_until(&mut is_woken, is_asleep, until)),
            None => changed.wait_while(&mut is_woken, is_asleep),
        }
        *is_woken = false;
    }
}
