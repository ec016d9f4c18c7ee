//! A request that waits for a fetch, which it started itself or shares with other requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Response;
use http::header::{CONTENT_LENGTH, RANGE};

use super::answer::{add_cache_fields, apply_client_conditions, response};
use super::engine::Inner;
use super::flight::{FlightResult, Head};
use super::incoming::Incoming;
use super::lookup::Plan;
use super::serving::mark_digest_wanted;
use super::tombstones::Fetch;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::cache::fill::FillReader;
use crate::cache::singleflight::{FlightState, Waiter};
use crate::message::body::{Body, Wake};
use crate::message::nonblocking::{Content, Slot, Step, Waiting};
use crate::message::pieces::Pieces;
use crate::message::stats::{CacheStatus, Outcome};
use crate::policy::{Reuse, Variant, reuse};

/// How long a follower waits for the head of a shared fetch before it fetches on its own.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The next step of a request, or its answer.
pub(super) type NextStep = Step<Result<Response<Body>>>;

/// A request that waits. Dropping it leaves the fetch; a fetch without waiters is cancelled.
pub(super) struct Pending {
    inner: Arc<Inner>,
    incoming: Arc<Incoming>,
    plan: Arc<Plan>,
    awaited: Awaited,
    /// When a follower stops waiting for the leader.
    wait_until: Option<Instant>,
    waits_left: u8,
    wake: Wake,
}

/// The fetch that a request waits for.
enum Awaited {
    /// The request's own job. Other requests may wait for its result too.
    OwnJob {
        slot: Slot<Result<Response<Body>>>,
        waiter: Option<Waiter<FlightResult>>,
        cancel: CancelUnshared,
    },
    /// The fetch of another request. The [`Fetch`] keeps the tombstones of the time since this request began.
    Shared { waiter: Waiter<FlightResult>, _fetch: Fetch },
}

/// Cancels a fetch that no other request can share, unless its result was taken.
struct CancelUnshared {
    cancellation: Option<Cancellation>,
}

impl Drop for CancelUnshared {
    fn drop(&mut self) {
        if let Some(cancellation) = &self.cancellation {
            cancellation.cancel();
        }
    }
}

impl Pending {
    #[allow(clippy::too_many_arguments, reason = "each is a part of the one value that is made")]
    pub(super) fn own(
        inner: Arc<Inner>,
        incoming: Arc<Incoming>,
        plan: Arc<Plan>,
        slot: Slot<Result<Response<Body>>>,
        waiter: Option<Waiter<FlightResult>>,
        cancellation: Cancellation,
        waits_left: u8,
        wake: Wake,
    ) -> Self {
        let cancel = CancelUnshared { cancellation: waiter.is_none().then_some(cancellation) };
        let awaited = Awaited::OwnJob { slot, waiter, cancel };
        Self { inner, incoming, plan, awaited, wait_until: None, waits_left, wake }
    }

    pub(super) fn follower(
        inner: Arc<Inner>,
        incoming: Arc<Incoming>,
        plan: Arc<Plan>,
        fetch: Fetch,
        waiter: Waiter<FlightResult>,
        waits_left: u8,
        wake: Wake,
    ) -> Self {
        let wait_until = Instant::now().checked_add(MAX_WAIT);
        let awaited = Awaited::Shared { waiter, _fetch: fetch };
        Self { inner, incoming, plan, awaited, wait_until, waits_left, wake }
    }

    /// Checks whether the result has arrived or a time limit has passed, and returns the next step.
    pub(super) fn check(mut self) -> NextStep {
        let state = match &mut self.awaited {
            Awaited::OwnJob { slot, cancel, .. } => match slot.take(Instant::now()) {
                Content::Empty | Content::Early(..) => None,
                found => {
                    cancel.cancellation = None;
                    return match found {
                        Content::Full(result) => Step::Serve(result),
                        Content::Lost | Content::Empty | Content::Early(..) => {
                            match self.inner.stale_if_error(&self.incoming, &self.plan) {
                                Some(stale) => {
                                    let status = CacheStatus::new(Outcome::StaleIfError(self.plan.why));
                                    Step::Serve(Ok(self.inner.serve_with(&stale, &self.incoming, status)))
                                }
                                None => Step::Lost,
                            }
                        }
                    };
                }
            },
            Awaited::Shared { waiter, .. } => match waiter.state() {
                FlightState::Pending => None,
                state => Some(state),
            },
        };
        match state {
            Some(FlightState::Finished(result)) => self.use_result(result),
            Some(_) => self.decide_again(),
            None => self.keep_waiting(Instant::now()),
        }
    }

    pub(super) fn into_waiting(self) -> Waiting<Result<Response<Body>>> {
        let soft = self.soft_deadline();
        let early = match &self.awaited {
            Awaited::OwnJob { slot, .. } => slot.until(),
            Awaited::Shared { .. } => None,
        };
        let until = [soft, self.hard_deadline(), self.wait_until, early].into_iter().flatten().min();
        let is_soft = soft.is_some();
        Waiting { is_soft, ..Waiting::new(until, move || self.check()) }
    }

    /// Returns the soft deadline, if a stale response could answer the request then.
    fn soft_deadline(&self) -> Option<Instant> {
        let soft = self.incoming.deadline?.soft()?;
        self.inner.stale_if_error(&self.incoming, &self.plan).map(|_| soft)
    }

    fn hard_deadline(&self) -> Option<Instant> {
        self.incoming.deadline?.hard()
    }

    /// Handles a wake-up without a result: answers if a deadline has passed, otherwise waits again.
    fn keep_waiting(self, now: Instant) -> NextStep {
        let has_passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (is_soft, is_hard) = (has_passed(self.soft_deadline()), has_passed(self.hard_deadline()));
        if (is_soft || is_hard)
            && let Some(stale) = self.inner.stale_by_deadline(&self.incoming, &self.plan)
        {
            // The fetch goes on, so that its response is stored for later requests.
            if let Awaited::OwnJob { waiter: Some(waiter), .. } | Awaited::Shared { waiter, .. } =
                &self.awaited
            {
                waiter.leave_running();
            }
            return Step::Serve(Ok(stale));
        }
        if is_hard {
            let error = Error::new(ErrorKind::Timeout, "the deadline passed before a response arrived");
            self.inner.note(Outcome::Failed(self.plan.why), &self.incoming.target, self.incoming.is_refresh);
            return Step::Serve(Err(error.with_url(&self.incoming.target)));
        }
        if has_passed(self.wait_until) {
            return Self { waits_left: 0, ..self }.decide_again();
        }
        Step::Wait(self.into_waiting())
    }

    /// Decides again with the responses that are stored now.
    fn decide_again(self) -> NextStep {
        let Self { inner, incoming, waits_left, wake, .. } = self;
        inner.step(incoming, waits_left.saturating_sub(1), &|| Arc::clone(&wake))
    }

    /// Answers with the result of a shared fetch, or decides again.
    fn use_result(self, result: FlightResult) -> NextStep {
        let (inner, incoming, plan) = (&self.inner, &self.incoming, &self.plan);
        match result {
            FlightResult::Fill(head, fill, sequence) => {
                // A transfer may take longer than the response stays fresh.
                let now = inner.clock.moment();
                let is_fresh = reuse(&head.validity, &incoming.directives, now) == Reuse::Fresh;
                let tombstones = inner.store.tombstones();
                let may_share = is_fresh
                    && incoming.is_answered_by(&head.variant)
                    && !tombstones.covers_fields(&**incoming, sequence, &head.headers);
                if !may_share {
                    // After a purge no request joins that flight, so one of its followers leads a new flight.
                    let is_purged = tombstones.covers_key(&**incoming, sequence);
                    let waits_left = if is_purged { self.waits_left } else { 0 };
                    return Self { waits_left, ..self }.decide_again();
                }
                if !head.variant.matches(&incoming.headers, &inner.digest) {
                    let variant = head.variant.for_request(&incoming.headers, &inner.digest);
                    return self.wait_for_variant(variant);
                }
                match fill.upgrade().and_then(|fill| fill.reader()) {
                    Some(reader) => Step::Serve(Ok(self.share(&head, reader))),
                    None => self.decide_again(),
                }
            }
            FlightResult::Failure(head, bytes) => {
                let is_for_this_request = incoming.is_answered_by(&head.variant)
                    && head.variant.matches(&incoming.headers, &inner.digest);
                if let Some(stale) = inner.stale_if_error(incoming, plan) {
                    return Step::Serve(Ok(self.stale(&stale, head.status)));
                }
                if is_for_this_request {
                    Step::Serve(Ok(self.share_whole(&head, bytes)))
                } else {
                    self.decide_again()
                }
            }
            FlightResult::ServerError(code) => match inner.stale_if_error(incoming, plan) {
                Some(stale) => Step::Serve(Ok(self.stale(&stale, code))),
                None => self.decide_again(),
            },
            FlightResult::Failed(error) => {
                let error = error.shared().with_url(&incoming.target);
                Step::Serve(inner.serve_on_error(incoming, plan, error))
            }
            FlightResult::NotShared => Self { waits_left: 0, ..self }.decide_again(),
            FlightResult::Stored | FlightResult::GivenUp => self.decide_again(),
        }
    }

    /// Waits for the variant that this request selects, by the `Vary` fields of the fetched response.
    fn wait_for_variant(self, variant: Variant) -> NextStep {
        let Self { inner, incoming, waits_left, wake, .. } = self;
        inner.step_for(incoming, Some(variant), waits_left.saturating_sub(1), &|| Arc::clone(&wake))
    }

    fn stale(&self, stale: &crate::store::StoredResponse, code: http::StatusCode) -> Response<Body> {
        let status = CacheStatus::new(Outcome::StaleIfError(self.plan.why)).forward_status(code);
        self.inner.serve_with(stale, &self.incoming, status)
    }

    fn share(&self, head: &Head, reader: FillReader) -> Response<Body> {
        self.shared(head, reader.into_body())
    }

    fn share_whole(&self, head: &Head, bytes: Pieces) -> Response<Body> {
        self.shared(head, Body::from(bytes))
    }

    fn shared(&self, head: &Head, body: Body) -> Response<Body> {
        let (inner, incoming) = (&self.inner, &self.incoming);
        let mut headers = head.headers.clone();
        let outcome = Outcome::Collapsed(self.plan.why);
        let status = inner.with_identity(CacheStatus::new(outcome), incoming);
        add_cache_fields(&mut headers, &head.validity, status, inner.clock.moment());
        inner.note(outcome, &incoming.target, incoming.is_refresh);
        if let Some(length) = body.length() {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let shared = response(head.status, headers, body);
        if incoming.headers.contains_key(RANGE) {
            // This request shares the completion of a stored beginning.
            return apply_client_conditions(shared, incoming, inner.clock.now());
        }
        mark_digest_wanted(shared, incoming)
    }
}
