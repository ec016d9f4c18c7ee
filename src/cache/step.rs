//! The next step of a request: serve a stored response, wait for the fetch of another request, or fetch.
//!
//! ```text
//!            fresh, or stale and allowed                      not fresh
//! look up ───────────────────────────────▶ Serve    look up ─────────────▶ does another request fetch the same?
//!                                                                             │ yes          │ no
//!                                                                             ▼              ▼
//!                                                                           Wait           Fetch, then wait
//! ```
//!
//! The event loop and blocking callers share these decisions. The event loop parks a request that waits and gives
//! jobs to its workers. A blocking caller ([`Inner::answer`]) waits on its own thread and runs the job there.

use std::sync::Arc;

use http::{Method, Request, Response};

use super::engine::{HttpCache, Inner};
use super::fetching::Exchange;
use super::flight::{FlightKey, FlightLeader, FlightResult};
use super::forwarding::received_over;
use super::guarded_store::Below;
use super::incoming::Incoming;
use super::lookup::{Found, Lookup, Plan, lookup, selected};
use super::pending::{NextStep, Pending};
use super::tier_lookup::TierLookup;
use super::tombstones::Fetch;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::memory_limit::Ledger;
use crate::cache::fill::prepared;
use crate::cache::singleflight::{Role, Waiter};
use crate::message::body::{Body, Wake};
use crate::message::deadline::Deadline;
use crate::message::interim::OnInterim;
use crate::message::nonblocking::{Job, JobResult, Lane, Refused, RunMode, Slot, Step, Wakes};
use crate::message::stats::{CacheStatus, Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::policy::{Variant, may_serve_in_grace, may_serve_offline};
use crate::store::{Key, StoredResponse, Variants};

/// How often a request waits again because a result was of no use to it. After that it fetches on its own.
pub(super) const MAX_WAITS: u8 = 3;

impl HttpCache {
    /// Returns the next step of a GET or HEAD without content. Never waits.
    pub(crate) fn step(&self, target: CanonicalUrl, request: Request<()>, wakes: Wakes<'_>) -> NextStep {
        let (parts, ()) = request.into_parts();
        let mut headers = parts.headers;
        let hop = self.inner.strip_fields(&parts.method, &mut headers);
        let via = received_over(parts.version, self.inner.via.as_ref());
        let requested = Deadline::of(&parts.extensions);
        let incoming = Incoming::new(parts.method, target, headers, hop, via, &self.inner.keys);
        let on_interim = parts.extensions.get::<OnInterim>().cloned();
        self.inner.step(
            Arc::new(incoming.with_deadline(hop.until(requested)).with_interim(on_interim)),
            MAX_WAITS,
            wakes,
        )
    }
}

impl Inner {
    /// Returns the next step of a request that may still wait `waits_left` times for other requests.
    pub(super) fn step(
        self: &Arc<Self>,
        incoming: Arc<Incoming>,
        waits_left: u8,
        wakes: Wakes<'_>,
    ) -> NextStep {
        self.step_for(incoming, None, waits_left, wakes)
    }

    /// Like [`step`](Self::step), for a request whose variant is known from the response of a flight that did not
    /// match.
    pub(super) fn step_for(
        self: &Arc<Self>,
        incoming: Arc<Incoming>,
        variant: Option<Variant>,
        waits_left: u8,
        wakes: Wakes<'_>,
    ) -> NextStep {
        if incoming.is_for_origin() {
            return self.bypass_step(&incoming, wakes());
        }
        if let Some(found) = self.find_nonblocking(&incoming.key) {
            let below = self.wanted_below(&found.variants, &incoming).filter(|below| {
                // A request that has waited has looked for a newer response before, and so has the leader of a fetch.
                let is_first =
                    || waits_left == MAX_WAITS && !self.is_being_fetched(&incoming, &found.variants);
                self.store.may_be_in_tiers(&incoming.key, *below) && (*below == Below::All || is_first())
            });
            return match below {
                Some(below) => TierLookup::start(self, incoming, found, below, variant, waits_left, wakes),
                None => self.decide(incoming, &found, variant, waits_left, wakes),
            };
        }
        // The store may block: a job does the lookup, and the decision follows.
        let (inner, request, wake) = (Arc::clone(self), Arc::clone(&incoming), wakes());
        let found =
            Step::fetch(Lane::Store, Cancellation::new(), Arc::clone(&wake), move |mode| match mode {
                RunMode::Refused(refused) => Err(refused).into(),
                RunMode::Worker | RunMode::Caller => Ok(inner.find_in_tiers(&request)).into(),
            });
        let inner = Arc::clone(self);
        found.and_then(move |found| match found {
            Ok(found) => inner.decide(incoming, &found, variant, waits_left, &|| Arc::clone(&wake)),
            Err(refused) => {
                Step::Serve(inner.refused(&incoming, &Plan::without_store(Forward::UriMiss), refused))
            }
        })
    }

    /// Decides with the stored responses. `variant` is the variant of this request by the `Vary` fields of a flight
    /// that did not match it.
    pub(super) fn decide(
        self: &Arc<Self>,
        incoming: Arc<Incoming>,
        found: &Found,
        variant: Option<Variant>,
        waits_left: u8,
        wakes: Wakes<'_>,
    ) -> NextStep {
        let now = self.clock.moment();
        let plan = match lookup(&found.variants, &incoming, &self.digest, now) {
            Lookup::Serve(stored, outcome) => {
                return Step::Serve(Ok(self.serve(&stored, &incoming, outcome)));
            }
            Lookup::Forward(plan) => plan,
        };
        if let Some(response) = self.without_origin(&incoming, &plan) {
            return Step::Serve(Ok(response));
        }
        let wake = wakes();
        let fetch = self.begin(&incoming.key);
        // From here on the tombstones of all later invalidations are kept until the fetch ends.
        let is_valid = found.latest == self.store.tombstones().latest();
        let plan = if is_valid { plan } else { Plan::without_store(plan.why) };
        let may_collapse = waits_left > 0
            && (incoming.may_collapse() || plan.beginning.is_some())
            && !plan.is_always_validated()
            && !self.uncacheable.contains(&self.sharing_key(&incoming), now.wall());
        if !may_collapse {
            return self.fetch(incoming, plan, fetch, None, waits_left, wake);
        }
        if let Some(error) = self.failures.recent(&incoming.key, &incoming.target, now.wall()) {
            return Step::Serve(self.serve_on_error(&incoming, &plan, error.with_url(&incoming.target)));
        }
        // A part may be the beginning of a transfer that runs, whose flight began when nothing was stored.
        let by_stored = || self.variant_by(&found.variants, &incoming).filter(|_| plan.beginning.is_none());
        let flight = FlightKey { key: incoming.key.clone(), variant: variant.or_else(by_stored) };
        let is_joinable = |sequence| self.store.is_joinable(&*incoming, sequence);
        match self.flights.join(flight, fetch.sequence(), is_joinable, &wake) {
            Role::Follow(waiter) => {
                if let Some(stale) = self.stale_in_grace(&incoming, &plan) {
                    return Step::Serve(Ok(stale));
                }
                let plan = Arc::new(plan);
                Pending::follower(Arc::clone(self), incoming, plan, fetch, waiter, waits_left, wake).check()
            }
            Role::Lead(leader, waiter) => {
                self.fetch(incoming, plan, fetch, Some((leader, waiter)), waits_left, wake)
            }
        }
    }

    /// Returns the variant of a request by the request fields that distinguish the stored responses.
    pub(super) fn variant_by(&self, variants: &Variants, incoming: &Incoming) -> Option<Variant> {
        variants.first().map(|stored| stored.variant().for_request(&incoming.headers, &self.digest))
    }

    /// Whether a fetch is under way that a request with these responses in memory can share.
    fn is_being_fetched(&self, incoming: &Incoming, in_memory: &Variants) -> bool {
        let flight =
            || FlightKey { key: incoming.key.clone(), variant: self.variant_by(in_memory, incoming) };
        let is_joinable = |sequence| self.store.is_joinable(incoming, sequence);
        incoming.may_collapse() && self.flights.is_joinable(&flight(), is_joinable)
    }

    /// Creates the job that sends a request to the origin, and waits for its result.
    fn fetch(
        self: &Arc<Self>,
        incoming: Arc<Incoming>,
        plan: Plan,
        fetch: Fetch,
        lead: Option<(FlightLeader, Waiter<FlightResult>)>,
        waits_left: u8,
        wake: Wake,
    ) -> NextStep {
        let (slot, promise) = Slot::new(Arc::clone(&wake));
        let plan = Arc::new(plan);
        let (leader, waiter) = lead.unzip();
        let cancellation =
            leader.as_ref().map_or_else(Cancellation::new, |leader| leader.cancellation().clone());
        let lane = Lane::Origin(incoming.target.origin());
        let job = {
            let (inner, incoming, plan) = (Arc::clone(self), Arc::clone(&incoming), Arc::clone(&plan));
            let token = cancellation.clone();
            Job::new(lane, cancellation.clone(), move |mode| {
                if let RunMode::Refused(refused) = mode {
                    if let Some(leader) = leader {
                        // The refusal concerns this request's client only: one of the followers leads the next fetch.
                        leader.finish_and_release(FlightResult::GivenUp);
                    }
                    return promise.keep(inner.refused(&incoming, &plan, refused).into());
                }
                let exchange = Exchange { fetch, mode, cancellation: token.clone() };
                let response = inner.fetched(&incoming, &plan, leader, exchange).map(|mut response| {
                    if mode == RunMode::Caller {
                        // A blocking caller may leave before the end of the body; the token cancels the transfer.
                        response.extensions_mut().insert(token.clone());
                    }
                    response
                });
                promise.keep(prepare_for(response, &incoming.method, mode, &inner.ledger, &token));
            })
        };
        let pending =
            Pending::own(Arc::clone(self), incoming, plan, slot, waiter, cancellation, waits_left, wake);
        Step::Fetch(job, pending.into_waiting())
    }

    /// Fetches on a thread that may block.
    pub(super) fn fetched(
        self: &Arc<Self>,
        incoming: &Arc<Incoming>,
        plan: &Plan,
        leader: Option<FlightLeader>,
        exchange: Exchange,
    ) -> Result<Response<Body>> {
        let Some(leader) = leader else { return self.forward(incoming, plan, None, exchange) };
        // Another flight may have stored the response since this request's lookup.
        match self.look_up(incoming) {
            Lookup::Serve(stored, outcome) => {
                leader.finish(FlightResult::Stored);
                Ok(self.serve(&stored, incoming, outcome))
            }
            Lookup::Forward(plan) => self.forward(incoming, &plan, Some(leader), exchange),
        }
    }

    /// Sends a request to the origin past the store.
    fn bypass_step(self: &Arc<Self>, incoming: &Arc<Incoming>, wake: Wake) -> NextStep {
        let cancellation = Cancellation::new();
        let (inner, token, incoming) = (Arc::clone(self), cancellation.clone(), Incoming::clone(incoming));
        let lane = Lane::Origin(incoming.target.origin());
        Step::fetch(lane, cancellation, wake, move |mode| {
            if let RunMode::Refused(refused) = mode {
                return inner.refused(&incoming, &Plan::without_store(Forward::Bypass), refused).into();
            }
            let method = incoming.method.clone();
            let response = inner.bypass(
                incoming.into_bypass_request(),
                Body::empty(),
                Forward::Bypass,
                Some(token.clone()),
                None,
            );
            prepare_for(response, &method, mode, &inner.ledger, &token)
        })
    }

    /// Answers a request whose job was refused: with a stale response if one is allowed, otherwise with an error. For
    /// a request with a soft deadline the outcome is the same as if that deadline had passed.
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

    /// Answers with a stale response because the deadline has passed, unless an invalidation covers it.
    pub(super) fn stale_by_deadline(&self, incoming: &Incoming, plan: &Plan) -> Option<Response<Body>> {
        let stale = self.stale_if_error(incoming, plan)?;
        Some(self.serve_with(&stale, incoming, CacheStatus::new(Outcome::StaleOnDeadline(plan.why))))
    }

    /// Answers with a stale response because another request already waits for the origin.
    fn stale_in_grace(&self, incoming: &Incoming, plan: &Plan) -> Option<Response<Body>> {
        let stored = plan.selected.as_ref()?;
        let (validity, asked) = (stored.validity(), &incoming.directives);
        may_serve_in_grace(validity, asked, &self.rules, self.clock.now())
            .then(|| self.serve_with(stored, incoming, CacheStatus::new(Outcome::StaleWhileRevalidate)))
    }

    /// Answers a request that must not reach the origin: the cache is offline, or the request has `only-if-cached`.
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

    /// Looks up the responses of a key in memory. Returns `None` if the store would block.
    fn find_nonblocking(&self, key: &Key) -> Option<Found> {
        let latest = self.store.tombstones().latest();
        Some(Found { variants: self.store.variants_nonblocking(key.as_str())?, latest })
    }

    /// Looks up a request. May block as long as the store does.
    fn look_up(&self, incoming: &Incoming) -> Lookup {
        let now = self.clock.moment();
        let mut variants = self.store.variants(&incoming.key);
        if selected(&variants, incoming, &self.digest).is_none() {
            variants = self.store.all_of_process(&incoming.key, variants, now.wall());
        }
        lookup(&variants, incoming, &self.digest, now)
    }
}

/// Prepares a response for a thread that never blocks. A blocking caller reads the body itself.
fn prepare_for(
    response: Result<Response<Body>>,
    method: &Method,
    mode: RunMode,
    ledger: &Arc<Ledger>,
    cancellation: &Cancellation,
) -> JobResult<Result<Response<Body>>> {
    match response {
        Ok(response) if mode == RunMode::Worker => prepared(response, method, ledger, cancellation),
        response => response.into(),
    }
}
