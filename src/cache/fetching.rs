//! Asking the origin, and what its answer comes to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Method, Request, Response, StatusCode};
use log::{debug, warn};

use super::answer::as_asked;
use super::engine::Inner;
use super::forwarding::{Outgoing, Received, outgoing};
use super::incoming::Incoming;
use super::lookup::Plan;
use super::parts;
use super::step::{FlightResult, Lead};
use super::tombstones::Fetch;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result, redacted};
use crate::message::body::Body;
use crate::message::digest::{Expected, announced, checked};
use crate::message::nonblocking::Turn;
use crate::message::stats::{CacheStatus, Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::policy::{Part, Rules, Times, Validators, confirmed, may_serve_on_error};
use crate::store::StoredResponse;

/// How a fetch is made.
pub(super) struct Exchange {
    /// Its place among fetches and invalidations.
    pub(super) fetch: Fetch,
    /// On whose thread it runs: a deadline is that of a caller alone, and not of a fetch that others share.
    pub(super) turn: Turn,
    pub(super) cancellation: Cancellation,
}

impl Inner {
    /// Sends the request on, and makes of the answer what can be made of it.
    pub(super) fn forward(
        self: &Arc<Self>,
        incoming: &Incoming,
        plan: &Plan,
        leader: Option<Lead>,
        exchange: Exchange,
    ) -> Result<Response<Body>> {
        // What was found before an invalidation is not confirmed after it, which would store it anew.
        let is_valid = |stored: &Arc<StoredResponse>| self.store.is_valid(&incoming.key, stored);
        let without_store = Plan::without_store(plan.why);
        let plan = if plan.stored().all(is_valid) { plan } else { &without_store };
        let anew = plan.unconditional();
        let deadline = incoming.deadline.filter(|_| exchange.turn == Turn::Caller);
        let Outgoing { mut request, asks_for_us } = outgoing(incoming, plan, self.by(), deadline);
        request.extensions_mut().insert(exchange.cancellation.clone());
        let received = match self.ask(request, &incoming.target, plan.why) {
            Ok(received) => received,
            Err(error) => {
                if let Some(leader) = leader {
                    self.land_failure(
                        incoming,
                        leader,
                        &error,
                        deadline.is_some_and(|own| own.is_over(Instant::now())),
                    );
                }
                return self.serve_on_error(incoming, plan, error);
            }
        };
        if received.status == StatusCode::NOT_MODIFIED && asks_for_us {
            let validators = plan.candidates.iter().map(|stored| Validators {
                entity_tag: stored.field(&ETAG),
                last_modified: stored.field(&LAST_MODIFIED),
            });
            let ours: Vec<_> = validators.collect();
            return match confirmed(&ours, plan.selected.is_some(), &received.headers) {
                Some(at) => Ok(self.confirm(incoming, plan, at, &received, &exchange.fetch, leader)),
                // It confirms something that we do not have: ask again, for the whole.
                None => {
                    drop(received);
                    self.forward(incoming, &anew, leader, exchange)
                }
            };
        }
        let received = match &plan.beginning {
            // Not what it was the beginning of: nothing but the whole will do. The other goes first: its place at the
            // origin may be the only one.
            Some(_) if !matches!(received.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                drop(received);
                return self.forward(incoming, &anew, leader, exchange);
            }
            Some(beginning) if received.status == StatusCode::PARTIAL_CONTENT => {
                match parts::whole(received, beginning) {
                    Some(whole) => self.checked_whole(whole, incoming)?,
                    None => return self.forward(incoming, &anew, leader, exchange),
                }
            }
            _ => received,
        };
        if received.status.is_server_error()
            && let Some(stale) = self.stale_on_error(incoming, plan)
        {
            if let Some(leader) = leader {
                leader.land(FlightResult::ServerError(received.status));
            }
            let status = CacheStatus::new(Outcome::StaleOnError(plan.why)).forward_status(received.status);
            return Ok(self.serve_with(&stale, incoming, status));
        }
        if incoming.is_head() {
            self.learn_from_head(incoming, plan, &received, &exchange.fetch);
        }
        let status = CacheStatus::new(Outcome::Miss(plan.why)).forward_status(received.status);
        let fetch = (exchange.fetch, exchange.cancellation);
        let is_worth_filling = plan.selected.is_none() && self.is_worth_filling(incoming, &received);
        let response = self.keep(incoming, plan.selected.as_ref(), received, status, fetch, leader);
        if is_worth_filling {
            self.refreshes.offer(incoming, self);
        }
        // The client's own condition was not sent.
        Ok(if asks_for_us { as_asked(response, incoming, self.clock.now()) } else { response })
    }

    /// Whether the whole is to be fetched in the background because this response to a part or a condition tells that it
    /// could be stored.
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
            && !self.uncacheable.holds(&self.sharing_key(incoming), self.clock.now())
    }

    /// Tells those who wait for the same thing how a fetch failed.
    fn land_failure(&self, incoming: &Incoming, leader: Lead, error: &Error, is_out_of_time: bool) {
        if self.near.is_some() {
            // A near cache is not the one to tell others of an error: they hear of it from the owner, as it is.
            leader.land(FlightResult::Alone);
        } else if is_out_of_time || leader.cancellation().is_cancelled() || !is_shared(error.kind()) {
            // One of those who wait leads then.
            leader.leave_with(FlightResult::GivenUp);
        } else {
            self.failures.remember(&incoming.key, &incoming.target, error, self.clock.now());
            leader.leave_with(FlightResult::Failed(Arc::new(error.shared())));
        }
    }

    /// Sends a request to the origin.
    pub(super) fn ask(
        &self,
        request: Request<Body>,
        target: &CanonicalUrl,
        why: Forward,
    ) -> Result<Received> {
        if self.is_offline.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unreachable, "this cache is offline").with_url(target));
        }
        let (asked, method) = (self.clock.moment(), request.method().clone());
        let has_condition =
            [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| request.headers().contains_key(name));
        let answer = self.origin.round_trip(request);
        // What was refused on the way was not sent.
        if !answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::OriginBusy) {
            self.stats.count_origin_request();
        }
        let response = answer.map_err(|error| {
            debug!("{} {} {error}", Outcome::Failed(why), redacted(target.as_str()));
            error
        })?;
        // RFC 9110 section 15.4.5: it is about a response that nobody here has.
        let is_about_content = matches!(method, Method::GET | Method::HEAD);
        if response.status() == StatusCode::NOT_MODIFIED && is_about_content && !has_condition {
            let text = "it answers 304 to a request without a condition";
            return Err(Error::new(ErrorKind::BadResponse, text).with_url(target));
        }
        let times = Times { request: asked, response: self.clock.moment() };
        self.checked(Received::new(response, times, self.via.as_ref(), self.by()), &method, target)
    }

    /// With a body that fails where it is not what the origin says that it is (RFC 9530).
    fn checked(&self, received: Received, method: &Method, target: &CanonicalUrl) -> Result<Received> {
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
        target: &CanonicalUrl,
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
    pub(super) fn serve_on_error(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        error: Error,
    ) -> Result<Response<Body>> {
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

    pub(super) fn stale_on_error(&self, incoming: &Incoming, plan: &Plan) -> Option<Arc<StoredResponse>> {
        let stored = plan.selected.as_ref()?;
        let (validity, now) = (stored.validity(), self.clock.moment());
        let may_serve = may_serve_on_error(stored.status(), validity, &incoming.directives, &self.rules, now);
        // What was found before an invalidation is not served after it.
        (may_serve && self.store.is_valid(&incoming.key, stored)).then(|| Arc::clone(stored))
    }
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

/// Whether a failure is shared with those who waited for the same thing: all but what the fields of one request may have
/// brought about.
fn is_shared(kind: ErrorKind) -> bool {
    is_the_origins(kind) || kind == ErrorKind::Forbidden
}
