//! A request that waits for a fetch, which it started itself or shares with other requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Response;
use http::header::CONTENT_LENGTH;

use super::answer::{decorate, response};
use super::engine::{Inner, marked};
use super::flight::{FlightResult, Head};
use super::incoming::Incoming;
use super::lookup::Plan;
use super::tombstones::Fetch;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::cache::fill::FillReader;
use crate::cache::singleflight::{Landing, Waiter};
use crate::message::body::{Body, Wake};
use crate::message::nonblocking::{Content, Slot, Step, Waiting};
use crate::message::pieces::Pieces;
use crate::message::stats::{CacheStatus, Outcome};
use crate::policy::{Reuse, Variant, reuse};

/// How long a follower waits for the head of a shared fetch before it fetches on its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next step of a request, or its answer.
pub(super) type Answer = Step<Result<Response<Body>>>;

/// A request that waits. Dropping it leaves the fetch; a fetch without waiters is cancelled.
pub(super) struct Pending {
    inner: Arc<Inner>,
    incoming: Arc<Incoming>,
    plan: Arc<Plan>,
    what: What,
    /// When a follower stops waiting for the leader.
    patience: Option<Instant>,
    turns: u8,
    wake: Wake,
}

/// The fetch that a request waits for.
enum What {
    /// The request's own job. Other requests may wait for its result too.
    Own { slot: Slot<Result<Response<Body>>>, waiter: Option<Waiter<FlightResult>>, alone: Alone },
    /// The fetch of another request. The [`Fetch`] keeps the tombstones of the time since this request began.
    Other { waiter: Waiter<FlightResult>, _fetch: Fetch },
}

/// Cancels a fetch that no other request can share, unless its result was taken.
struct Alone {
    cancellation: Option<Cancellation>,
}

impl Drop for Alone {
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
        turns: u8,
        wake: Wake,
    ) -> Self {
        let alone = Alone { cancellation: waiter.is_none().then_some(cancellation) };
        let what = What::Own { slot, waiter, alone };
        Self { inner, incoming, plan, what, patience: None, turns, wake }
    }

    pub(super) fn follower(
        inner: Arc<Inner>,
        incoming: Arc<Incoming>,
        plan: Arc<Plan>,
        fetch: Fetch,
        waiter: Waiter<FlightResult>,
        turns: u8,
        wake: Wake,
    ) -> Self {
        let patience = Instant::now().checked_add(PATIENCE);
        let what = What::Other { waiter, _fetch: fetch };
        Self { inner, incoming, plan, what, patience, turns, wake }
    }

    /// Checks whether the result has arrived or a time limit has passed, and returns the next step.
    pub(super) fn again(mut self) -> Answer {
        let landing = match &mut self.what {
            What::Own { slot, alone, .. } => match slot.take(Instant::now()) {
                Content::Empty | Content::Early(..) => None,
                found => {
                    alone.cancellation = None;
                    return match found {
                        Content::Full(result) => Step::Serve(result),
                        Content::Lost | Content::Empty | Content::Early(..) => {
                            match self.inner.stale_on_error(&self.incoming, &self.plan) {
                                Some(stale) => {
                                    let status = CacheStatus::new(Outcome::StaleOnError(self.plan.why));
                                    Step::Serve(Ok(self.inner.serve_with(&stale, &self.incoming, status)))
                                }
                                None => Step::Lost,
                            }
                        }
                    };
                }
            },
            What::Other { waiter, .. } => match waiter.landing() {
                Landing::Pending => None,
                landing => Some(landing),
            },
        };
        match landing {
            Some(Landing::With(landed)) => self.follow(landed),
            Some(_) => self.step_again(),
            None => self.wait_on(Instant::now()),
        }
    }

    pub(super) fn waiting(self) -> Waiting<Result<Response<Body>>> {
        let soft = self.soft();
        let early = match &self.what {
            What::Own { slot, .. } => slot.until(),
            What::Other { .. } => None,
        };
        let until = [soft, self.hard(), self.patience, early].into_iter().flatten().min();
        let is_soft = soft.is_some();
        Waiting { is_soft, ..Waiting::new(until, move || self.again()) }
    }

    /// Returns the soft deadline, if a stale response could answer the request then.
    fn soft(&self) -> Option<Instant> {
        let soft = self.incoming.deadline?.soft()?;
        self.inner.stale_on_error(&self.incoming, &self.plan).map(|_| soft)
    }

    fn hard(&self) -> Option<Instant> {
        self.incoming.deadline?.hard()
    }

    /// Handles a wake-up without a result: answers if a deadline has passed, otherwise waits again.
    fn wait_on(self, now: Instant) -> Answer {
        let has_passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (is_soft, is_hard) = (has_passed(self.soft()), has_passed(self.hard()));
        if (is_soft || is_hard)
            && let Some(stale) = self.inner.stale_by_deadline(&self.incoming, &self.plan)
        {
            // The fetch goes on, so that its response is stored for later requests.
            if let What::Own { waiter: Some(waiter), .. } | What::Other { waiter, .. } = &self.what {
                waiter.leave_running();
            }
            return Step::Serve(Ok(stale));
        }
        if is_hard {
            let error = Error::new(ErrorKind::Timeout, "the deadline passed before a response arrived");
            self.inner.note(Outcome::Failed(self.plan.why), &self.incoming.target, self.incoming.is_refresh);
            return Step::Serve(Err(error.with_url(&self.incoming.target)));
        }
        if has_passed(self.patience) {
            return Self { turns: 0, ..self }.step_again();
        }
        Step::Wait(self.waiting())
    }

    /// Decides again with the responses that are stored now.
    fn step_again(self) -> Answer {
        let Self { inner, incoming, turns, wake, .. } = self;
        inner.step(incoming, turns.saturating_sub(1), &|| Arc::clone(&wake))
    }

    /// Answers with the result of a shared fetch, or decides again.
    fn follow(self, landed: FlightResult) -> Answer {
        let (inner, incoming, plan) = (&self.inner, &self.incoming, &self.plan);
        match landed {
            FlightResult::Fill(head, fill, sequence) => {
                // A transfer may take longer than the response stays fresh.
                let now = inner.clock.moment();
                let is_fresh = reuse(&head.validity, &incoming.directives, now) == Reuse::Fresh;
                let tombstones = inner.store.tombstones();
                let may_share = is_fresh
                    && incoming.is_answered_by(&head.variant)
                    && !tombstones.cover_fields(&**incoming, sequence, &head.headers);
                if !may_share {
                    // After a purge no request joins that flight, so one of its followers leads a new flight.
                    let is_purged = tombstones.cover_key(&**incoming, sequence);
                    let turns = if is_purged { self.turns } else { 0 };
                    return Self { turns, ..self }.step_again();
                }
                if !head.variant.matches(&incoming.headers, &inner.digest) {
                    let variant = head.variant.by_same_fields(&incoming.headers, &inner.digest);
                    return self.step_to(variant);
                }
                match fill.upgrade().and_then(|fill| fill.reader()) {
                    Some(reader) => Step::Serve(Ok(self.share(&head, reader))),
                    None => self.step_again(),
                }
            }
            FlightResult::Failure(head, bytes) => {
                let is_theirs = incoming.is_answered_by(&head.variant)
                    && head.variant.matches(&incoming.headers, &inner.digest);
                if let Some(stale) = inner.stale_on_error(incoming, plan) {
                    return Step::Serve(Ok(self.stale(&stale, head.status)));
                }
                if is_theirs { Step::Serve(Ok(self.share_whole(&head, bytes))) } else { self.step_again() }
            }
            FlightResult::ServerError(code) => match inner.stale_on_error(incoming, plan) {
                Some(stale) => Step::Serve(Ok(self.stale(&stale, code))),
                None => self.step_again(),
            },
            FlightResult::Failed(error) => {
                let error = error.shared().with_url(&incoming.target);
                Step::Serve(inner.serve_on_error(incoming, plan, error))
            }
            FlightResult::Alone => Self { turns: 0, ..self }.step_again(),
            FlightResult::Stored | FlightResult::GivenUp => self.step_again(),
        }
    }

    /// Waits for the variant that this request selects, by the `Vary` fields of the fetched response.
    fn step_to(self, variant: Variant) -> Answer {
        let Self { inner, incoming, turns, wake, .. } = self;
        inner.step_for(incoming, Some(variant), turns.saturating_sub(1), &|| Arc::clone(&wake))
    }

    fn stale(&self, stale: &crate::store::StoredResponse, code: http::StatusCode) -> Response<Body> {
        let status = CacheStatus::new(Outcome::StaleOnError(self.plan.why)).forward_status(code);
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
        let status = inner.named(CacheStatus::new(outcome), incoming);
        decorate(&mut headers, &head.validity, status, inner.clock.moment());
        inner.note(outcome, &incoming.target, incoming.is_refresh);
        if let Some(length) = body.length() {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        marked(response(head.status, headers, body), incoming)
    }
}
