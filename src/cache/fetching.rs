//! Sends a request to the origin and turns the response into an answer.

use std::sync::Arc;
use std::time::Instant;

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Method, Request, Response, StatusCode};
use log::{debug, warn};

use super::answer::apply_client_conditions;
use super::engine::Inner;
use super::flight::{FlightLeader, FlightResult};
use super::forwarding::{Outgoing, Received, outgoing};
use super::incoming::Incoming;
use super::lookup::Plan;
use super::partial;
use super::tombstones::Fetch;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::redacted::redacted;
use crate::message::body::Body;
use crate::message::digest::{Expected, announced, checked};
use crate::message::nonblocking::RunMode;
use crate::message::stats::{CacheStatus, Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::metrics::OriginAnswer;
use crate::policy::{ExchangeTimes, Part, Rules, Validators, confirmed, may_serve_on_error};
use crate::store::StoredResponse;

/// How a fetch runs.
pub(super) struct Exchange {
    /// The number of the fetch in the sequence of fetches and invalidations.
    pub(super) fetch: Fetch,
    /// The kind of thread. A caller's deadline limits only a fetch that runs on the caller's own thread, because
    /// other requests may share any other fetch.
    pub(super) mode: RunMode,
    pub(super) cancellation: Cancellation,
}

impl Inner {
    /// Sends a request to the origin and answers with its response, a confirmed response, or a stale one.
    pub(super) fn forward(
        self: &Arc<Self>,
        incoming: &Incoming,
        plan: &Plan,
        leader: Option<FlightLeader>,
        exchange: Exchange,
    ) -> Result<Response<Body>> {
        // A 304 must not confirm a response that was invalidated since the lookup, which would store it again.
        let is_valid = |stored: &Arc<StoredResponse>| self.store.is_valid(&incoming.key, stored);
        let without_store = Plan::without_store(plan.why);
        let plan = if plan.stored().all(is_valid) { plan } else { &without_store };
        let whole_plan = plan.unconditional();
        let deadline = incoming.deadline.filter(|_| exchange.mode == RunMode::Caller);
        let Outgoing { mut request, has_our_validators } =
            outgoing(incoming, plan, self.upstream(), deadline);
        request.extensions_mut().insert(exchange.cancellation.clone());
        let received = match self.send_to_origin(request, &incoming.target, plan.why) {
            Ok(received) => received,
            Err(error) => {
                if let Some(leader) = leader {
                    self.finish_failed(
                        incoming,
                        leader,
                        &error,
                        deadline.is_some_and(|own| own.is_over(Instant::now())),
                    );
                }
                return self.serve_on_error(incoming, plan, error);
            }
        };
        if received.status == StatusCode::NOT_MODIFIED && has_our_validators {
            let validators = plan.candidates.iter().map(|stored| Validators {
                entity_tag: stored.field(&ETAG),
                last_modified: stored.field(&LAST_MODIFIED),
            });
            let candidates: Vec<_> = validators.collect();
            return match confirmed(&candidates, plan.selected.is_some(), &received.headers) {
                Some(at) => Ok(self.confirm(incoming, plan, at, &received, &exchange.fetch, leader)),
                // The 304 confirms a response that is not stored: fetch the whole.
                None => {
                    drop(received);
                    self.forward(incoming, &whole_plan, leader, exchange)
                }
            };
        }
        let received = match &plan.beginning {
            // The response does not continue the stored beginning: fetch the whole. Drop this response first, because
            // it may occupy the only connection to the origin.
            Some(_) if !matches!(received.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                drop(received);
                return self.forward(incoming, &whole_plan, leader, exchange);
            }
            Some(beginning) if received.status == StatusCode::PARTIAL_CONTENT => {
                match partial::whole(received, beginning, &self.ledger) {
                    Some(whole) => self.checked_whole(whole, incoming)?,
                    None => return self.forward(incoming, &whole_plan, leader, exchange),
                }
            }
            _ => received,
        };
        if received.status.is_server_error()
            && let Some(stale) = self.stale_if_error(incoming, plan)
        {
            if let Some(leader) = leader {
                leader.finish(FlightResult::ServerError(received.status));
            }
            let status = CacheStatus::new(Outcome::StaleIfError(plan.why)).forward_status(received.status);
            return Ok(self.serve_with(&stale, incoming, status));
        }
        if incoming.is_head() {
            self.update_from_head(incoming, plan, &received, &exchange.fetch);
        }
        let status = CacheStatus::new(Outcome::Miss(plan.why)).forward_status(received.status);
        let fetch = (exchange.fetch, exchange.cancellation);
        let is_worth_filling = plan.selected.is_none() && self.is_worth_filling(incoming, &received);
        let response = self.keep(incoming, plan.selected.as_ref(), received, status, fetch, leader);
        if is_worth_filling {
            self.offer_refresh(incoming);
        }
        // The client's own condition or range was not sent to the origin, so it is applied here.
        Ok(if has_our_validators || plan.beginning.is_some() {
            apply_client_conditions(response, incoming, self.clock.now())
        } else {
            response
        })
    }

    /// Whether the whole response should be fetched in the background, because this response to a range or a
    /// conditional request shows that the whole could be stored.
    fn is_worth_filling(&self, incoming: &Incoming, received: &Received) -> bool {
        let Rules { fill_on_conditional, fill_on_range, .. } = self.rules;
        let is_asked_for = match received.status {
            StatusCode::NOT_MODIFIED => fill_on_conditional,
            StatusCode::PARTIAL_CONTENT => fill_on_range && incoming.is_for_beginning(),
            _ => false,
        };
        let is_small_enough = || {
            let part = Part::of(received.status, &received.headers);
            part.is_none_or(|part| part.complete <= self.store.max_body())
        };
        is_asked_for
            && incoming.method == Method::GET
            && is_small_enough()
            && !self.is_part_to_complete(incoming, received)
            && self.may_store(incoming, StatusCode::OK, &received.headers).is_ok()
            && !self.uncacheable.contains(&self.sharing_key(incoming), self.clock.now())
    }

    /// Gives the followers the result of a failed fetch.
    fn finish_failed(&self, incoming: &Incoming, leader: FlightLeader, error: &Error, is_out_of_time: bool) {
        if self.near.is_some() {
            // A near cache does not share errors: each follower gets the owner's own error.
            leader.finish(FlightResult::NotShared);
        } else if is_out_of_time || leader.cancellation().is_cancelled() || !is_shared(error.kind()) {
            // One of the followers leads the next fetch.
            leader.finish_and_release(FlightResult::GivenUp);
        } else {
            self.failures.remember(&incoming.key, &incoming.target, error, self.clock.now());
            leader.finish_and_release(FlightResult::Failed(Arc::new(error.shared())));
        }
    }

    /// Sends a request to the origin and checks its response.
    pub(super) fn send_to_origin(
        &self,
        request: Request<Body>,
        target: &CanonicalUrl,
        why: Forward,
    ) -> Result<Received> {
        if self.is_offline() {
            let text = "this cache is offline and cannot send a request to the origin";
            return Err(Error::new(ErrorKind::Unreachable, text).with_url(target));
        }
        let (request_time, method) = (self.clock.moment(), request.method().clone());
        let has_condition =
            [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| request.headers().contains_key(name));
        let begun = Instant::now();
        let answer = self.origin.round_trip(request);
        // A request that the origin limits refused was never sent.
        if !answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::OriginBusy) {
            self.stats.count_origin_request();
            self.watcher.tell(|observer| {
                observer.origin_answered(&OriginAnswer {
                    url: target.as_str(),
                    result: answer.as_ref().map(Response::status),
                    elapsed: begun.elapsed(),
                });
            });
        }
        let response = answer.map_err(|error| {
            debug!("{} {} {error:#}", Outcome::Failed(why), redacted(target.as_str()));
            error
        })?;
        // RFC 9110 section 15.4.5: a 304 refers to a stored response, and this request named none.
        let is_about_content = matches!(method, Method::GET | Method::HEAD);
        if response.status() == StatusCode::NOT_MODIFIED && is_about_content && !has_condition {
            let text = "the origin sent 304 in response to a request without a condition";
            return Err(Error::new(ErrorKind::BadResponse, text).with_url(target));
        }
        let times = ExchangeTimes { request: request_time, response: self.clock.moment() };
        self.checked(Received::new(response, times, self.via.as_ref(), self.upstream()), &method, target)
    }

    /// Adds a check that fails the body if it does not match the digests that the origin announced (RFC 9530).
    fn checked(&self, received: Received, method: &Method, target: &CanonicalUrl) -> Result<Received> {
        let expected = announced(method, received.status, &received.headers);
        self.with_expected_digests(expected, received, target, || ())
    }

    /// Like [`checked`](Self::checked), for a whole whose beginning was stored. A mismatch removes the stored
    /// beginning, because it would spoil the next response too.
    fn checked_whole(&self, whole: Received, incoming: &Incoming) -> Result<Received> {
        let expected = announced(&Method::GET, whole.status, &whole.headers);
        let (store, key) = (self.store.clone(), incoming.key.clone());
        self.with_expected_digests(expected, whole, &incoming.target, move || store.remove(&key))
    }

    fn with_expected_digests(
        &self,
        expected: Vec<Expected>,
        received: Received,
        target: &CanonicalUrl,
        on_mismatch: impl FnOnce() + Send + 'static,
    ) -> Result<Received> {
        if expected.is_empty() {
            return Ok(received);
        }
        let (stats, shown) = (Arc::clone(&self.stats), redacted(target.as_str()));
        let report_mismatch = move || {
            stats.count_digest_mismatch();
            warn!(
                "{} {shown} the body does not match the digest that the origin announced",
                ErrorKind::DigestMismatch
            );
            on_mismatch();
        };
        let body =
            checked(received.body, expected, report_mismatch).map_err(|error| error.with_url(target))?;
        Ok(Received { body, ..received })
    }

    /// Answers with a stale response because the origin failed, or returns the error.
    pub(super) fn serve_on_error(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        error: Error,
    ) -> Result<Response<Body>> {
        let stale = self.stale_if_error(incoming, plan).filter(|_| is_origin_failure(error.kind()));
        match stale {
            Some(stale) => {
                let status = CacheStatus::new(Outcome::StaleIfError(plan.why));
                Ok(self.serve_with(&stale, incoming, status))
            }
            None => {
                self.note(Outcome::Failed(plan.why), &incoming.target, incoming.is_refresh);
                Err(error)
            }
        }
    }

    pub(super) fn stale_if_error(&self, incoming: &Incoming, plan: &Plan) -> Option<Arc<StoredResponse>> {
        let stored = plan.selected.as_ref()?;
        let (validity, now) = (stored.validity(), self.clock.moment());
        let may_serve = may_serve_on_error(stored.status(), validity, &incoming.directives, &self.rules, now);
        // A response that was invalidated since the lookup must not be served.
        (may_serve && self.store.is_valid(&incoming.key, stored)).then(|| Arc::clone(stored))
    }
}

/// Whether the origin failed, and not the request.
fn is_origin_failure(kind: ErrorKind) -> bool {
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

/// Whether followers get this error too. They do unless the fields of one request may have caused it.
fn is_shared(kind: ErrorKind) -> bool {
    is_origin_failure(kind) || kind == ErrorKind::Forbidden
}
