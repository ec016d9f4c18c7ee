//! Sends a request to its owners, one after another, until one responds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use log::debug;

use super::announced_digest::{verified, with_announced_digest};
use super::answer::{Answer, AnsweredBy};
use super::buffering;
use super::candidates::{Candidate, Candidates};
use super::inner::{Fallback, Inner};
use super::observation::{Attempts, HealthEffect, Observation, is_from_another_program};
use super::peer_circuit_breaker::{Epoch, Evidence};
use super::peers::PeerEntry;
use super::replayable_request::ReplayableRequest;
use super::resume;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Cause, Error, ErrorKind, Result};
use crate::base::redacted::redacted;
use crate::message::body::Body;
use crate::message::header::cache_control::RequestDirectives;
use crate::message::response_info::ResponseInfo;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Outcome;
use crate::message::url::CanonicalUrl;
use crate::metrics::{AttemptFinished, FailedOver};
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{
    self, ConnectTimeout, Endpoint, FetchedDirectly, HeadReadTimeout, HeadTimeout, IsLeaving,
};

/// The next owner is tried after this time without a connection.
const NEXT_OWNER_AFTER: Duration = Duration::from_millis(300);

/// Time limit from the first byte of a response head to its last: peers write heads in one piece.
const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of bytes read of a peer's description of its failure.
const MAX_REASON: u64 = 1024;

impl Inner {
    /// Sends a request. If the peer breaks off in the body, another peer continues it if possible.
    pub(super) fn round_trip(
        self: &Arc<Self>,
        replayable: ReplayableRequest,
        fallback: &Fallback<'_>,
    ) -> Result<Response<Body>> {
        self.counters.requests.count();
        self.retries.add_request();
        let replayable = Arc::new(replayable);
        let answer = self.send(&replayable, Endpoint::Proxy, fallback)?;
        let on_mismatch = answer.from.as_ref().map(|from| -> Box<dyn FnOnce() + Send> {
            let (inner, replayable, exchange) =
                (Arc::clone(self), Arc::clone(&replayable), Arc::clone(&from.registered.exchange));
            Box::new(move || {
                let error =
                    Error::new(ErrorKind::DigestMismatch, "its bodies do not match their announced digests");
                inner.peers.record_error(
                    &exchange.peer,
                    inner.broken_body_evidence(&replayable),
                    exchange.epoch,
                    &error,
                );
            })
        });
        verified(resume::resumable(self, &replayable, answer), on_mismatch)
    }

    /// Sends a request to its owners, one after another, and finally to the fallback.
    pub(super) fn send(
        self: &Arc<Self>,
        replayable: &Arc<ReplayableRequest>,
        endpoint: Endpoint,
        fallback: &Fallback<'_>,
    ) -> Result<Answer> {
        let begun = Instant::now();
        let method = &replayable.parts.method;
        let mut attempts =
            Attempts::new(method.is_idempotent(), self.options.head_timeout, self.options.connect_timeout);
        let (mut first_error, mut broken) = (None, Vec::new());
        let connect_timeout = self.options.connect_timeout;
        let mut candidates = Candidates::new(self.pool.owners(&replayable.target), fallback);
        // Owners without a connection so far: tried again if no other owner responds.
        let mut unconnected = VecDeque::new();
        let mut asked = 0;
        loop {
            let next = self
                .next_candidate(&mut candidates, replayable)
                .map(|candidate| (candidate, NEXT_OWNER_AFTER.min(connect_timeout)));
            let next = next.or_else(|| unconnected.pop_front().map(|candidate| (candidate, connect_timeout)));
            let (Some((candidate, connect)), Some(head)) = (next, attempts.next(begun.elapsed())) else {
                break;
            };
            asked += 1;
            let begun_attempt = Instant::now();
            let answer = self.ask_peer(&candidate, replayable, endpoint, head, connect);
            self.watcher.tell(|observer| {
                observer.attempt_finished(&AttemptFinished {
                    url: replayable.target.as_str(),
                    peer: candidate.peer.url.as_str(),
                    result: answer.as_ref().map(|answer| answer.response.status()),
                    elapsed: begun_attempt.elapsed(),
                });
            });
            let error = match answer {
                Ok(mut answer) => {
                    ResponseInfo::of_mut(&mut answer.response).set_peer(candidate.peer.url.as_str(), asked);
                    // Another peer has the complete body, so the broken bodies were the fault of their peers.
                    for (Candidate { peer, epoch }, error) in broken {
                        self.peers.record_error(&peer, self.broken_body_evidence(replayable), epoch, &error);
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if replayable.is_abandoned()
                || !attempts.record_error(&error, replayable.body.may_be_sent(), || self.retries.take())
            {
                return Err(error);
            }
            self.counters.failovers.count();
            self.watcher.tell(|observer| {
                let (url, peer) = (replayable.target.as_str(), candidate.peer.url.as_str());
                observer.failed_over(&FailedOver { url, peer, error: &error });
            });
            match Observation::of(&error) {
                Observation::Unconnected if connect < connect_timeout => {
                    self.probe_connection(&candidate.peer);
                    unconnected.push_back(candidate);
                }
                Observation::BrokenBody => broken.push((candidate, error.shared())),
                _ => {}
            }
            first_error.get_or_insert(error);
        }
        let mut answer =
            self.send_to_fallback(replayable, attempts.may_fetch_directly(), first_error, fallback)?;
        let is_direct = matches!(fallback, Fallback::Configured);
        ResponseInfo::of_mut(&mut answer.response).set_fallback(is_direct, asked);
        Ok(answer)
    }

    /// Returns the evidence that a broken body of this request is against its peer.
    pub(super) fn broken_body_evidence(&self, replayable: &ReplayableRequest) -> Evidence {
        Evidence::BodyBroken(crc32fast::hash(replayable.target.as_str().as_bytes()))
    }

    /// Sends a request to the fallback, if that is allowed.
    fn send_to_fallback(
        &self,
        replayable: &ReplayableRequest,
        may_fetch: bool,
        first_error: Option<Error>,
        fallback: &Fallback<'_>,
    ) -> Result<Answer> {
        let round_trip: &dyn RoundTrip = match fallback {
            Fallback::OwnCache(_, own) => own,
            // `only-if-cached` forbids a fetch, and no cache is left.
            Fallback::Configured if RequestDirectives::of(&replayable.parts.headers).only_if_cached => {
                return Err(first_error.unwrap_or_else(|| self.no_peers_error(&replayable.target)));
            }
            Fallback::Configured | Fallback::Fail => match (&self.direct, fallback, may_fetch) {
                (Some(direct), Fallback::Configured, true) => direct,
                _ => return Err(first_error.unwrap_or_else(|| self.no_peers_error(&replayable.target))),
            },
        };
        if matches!(fallback, Fallback::Configured) {
            debug!("fetched directly: {}", redacted(replayable.target.as_str()));
            self.counters.direct_fetches.count();
        }
        let mut response = round_trip.round_trip(replayable.request(replayable.target.uri()))?;
        response.extensions_mut().insert(FetchedDirectly);
        Ok(Answer { response, from: None })
    }

    fn no_peers_error(&self, target: &CanonicalUrl) -> Error {
        let error = |text| Error::new(ErrorKind::NoPeers, text).with_url(target).unsent();
        match self.pool.owners(target).next() {
            None => error("the pool has no peers"),
            Some(owner) => {
                error("every peer has failed recently and is not tried again yet").with_peer(owner)
            }
        }
    }

    /// Sends a request to this peer, and records the result in the peer's circuit breaker.
    pub(super) fn ask_peer(
        self: &Arc<Self>,
        candidate: &Candidate,
        replayable: &ReplayableRequest,
        endpoint: Endpoint,
        limit: Duration,
        connect: Duration,
    ) -> Result<Answer> {
        let Candidate { peer, epoch } = candidate;
        let may_be_repeated = replayable.parts.method.is_idempotent() && replayable.body.may_be_sent();
        let head = replayable.body.is_empty().then_some(limit);
        let registered =
            self.begin_exchange(candidate, may_be_repeated, head, replayable.parts.extensions.get());
        let exchange = &registered.exchange;
        let answer = self.send_to_peer(&peer.url, replayable, endpoint, |request| {
            let extensions = request.extensions_mut();
            extensions.insert(exchange.cancellation.clone());
            extensions.insert(HeadTimeout(limit));
            extensions.insert(ConnectTimeout(connect));
            extensions.insert(HeadReadTimeout(HEAD_READ_TIMEOUT));
        });
        let is_stored = |response: &Response<Body>| {
            Outcome::of(response.headers()).is_some_and(|outcome| outcome.forward().is_none())
        };
        let answer = answer.and_then(|mut response| {
            exchange.receive_head();
            let (is_stored, is_leaving) =
                (is_stored(&response), response.extensions_mut().remove::<IsLeaving>().is_some());
            if is_leaving {
                self.peers.record_leaving(peer);
            } else {
                self.peers.record(peer, Evidence::Answered, *epoch);
            }
            exchange.start_waiting();
            let begun = Instant::now();
            let response = self.buffered(response, may_be_repeated, is_stored, &exchange.cancellation);
            exchange.stop_waiting();
            response.map(|response| (response, is_stored, begun.elapsed()))
        });
        let shown = || redacted(replayable.target.as_str());
        match answer {
            Ok((response, is_stored, waited)) => {
                debug!("{} {} {}", response.status(), shown(), peer.url);
                if response.body().as_bytes().is_some() {
                    self.peers.record(peer, Evidence::BodyComplete, *epoch);
                }
                Ok(Answer { response, from: Some(AnsweredBy { registered, is_stored, waited }) })
            }
            Err(error) => {
                let about = |error: Error| error.with_url(&replayable.target).with_peer(&peer.url);
                let error =
                    if error.is_reported_by_peer() { error } else { about(exchange.explain_failure(error)) };
                debug!("{} {} {}", error.kind(), shown(), peer.url);
                // A caller's deadline or cancellation is not the peer's failure.
                if !replayable.is_abandoned() {
                    self.record_failure(peer, *epoch, &error);
                }
                Err(error)
            }
        }
    }

    /// Records a failure in the circuit breaker of the peer, and warns if it is misconfigured.
    fn record_failure(&self, peer: &PeerEntry, epoch: Epoch, error: &Error) {
        let consequence = Observation::of(error).consequence();
        match consequence.health {
            HealthEffect::Failed => self.peers.record_error(peer, Evidence::Failed, epoch, error),
            HealthEffect::Alive => self.peers.record(peer, Evidence::Answered, epoch),
            _ if error.is_reported_by_peer() => self.peers.record(peer, Evidence::Answered, epoch),
            // Recorded once another peer has sent the complete body.
            HealthEffect::Broken | HealthEffect::Nothing => {}
        }
        if consequence.needs_warning {
            self.peers.warn(peer, error);
        }
    }

    /// Returns the request as it goes to this peer.
    pub(super) fn request_to(
        &self,
        peer: &PeerUrl,
        replayable: &ReplayableRequest,
        endpoint: Endpoint,
    ) -> Request<Body> {
        let mut request = replayable.request(peer.request_url(self.paths.of(endpoint), &replayable.target));
        replayable.hop(self.pool.digest()).put(request.headers_mut());
        self.add_token(&mut request);
        request
    }

    /// Sends a request to this peer; `prepare` may change it first.
    pub(super) fn send_to_peer(
        &self,
        peer: &PeerUrl,
        replayable: &ReplayableRequest,
        endpoint: Endpoint,
        prepare: impl FnOnce(&mut Request<Body>),
    ) -> Result<Response<Body>> {
        let mut request = self.request_to(peer, replayable, endpoint);
        prepare(&mut request);
        let about = |error: Error| error.with_url(&replayable.target);
        let mut response =
            self.transport.round_trip(request).map_err(|error| about(error).with_peer(peer))?;
        let is_marked = protocol::take_peer(response.headers_mut());
        if let Some(members) = protocol::take_members(response.headers_mut()) {
            self.ring_mismatches.note(peer, members, &self.pool, Instant::now());
        }
        if protocol::take_leaving(response.headers_mut()) {
            response.extensions_mut().insert(IsLeaving);
        }
        match protocol::failure(response.headers()) {
            None if is_from_another_program(response.status(), is_marked, self.options.accepts_unmarked) => {
                let text = format!(
                    "it responds with status {} without the mark of a peer: another program may listen at this URL",
                    response.status().as_u16()
                );
                Err(about(Error::new(ErrorKind::BadResponse, text).because(Cause::Stranger)).with_peer(peer))
            }
            None => Ok(with_announced_digest(response, replayable, peer)),
            Some(kind) => {
                let retry_after = retry_after_field(response.headers());
                let error = about(Error::new(kind, reason(response.into_body()))).reported_by_peer(peer);
                Err(match retry_after {
                    Some(time) => error.with_retry_after(time),
                    None => error,
                })
            }
        }
    }

    /// Returns the response with its body in memory and verified, if the body is short, may be requested
    /// again, and arrives in time.
    fn buffered(
        &self,
        response: Response<Body>,
        may_be_repeated: bool,
        is_stored: bool,
        cancellation: &Cancellation,
    ) -> Result<Response<Body>> {
        let is_short = response.body().length().is_some_and(|length| length <= self.options.buffer_limit);
        if !is_short || !may_be_repeated {
            return Ok(response);
        }
        let response = if response.body().as_bytes().is_some() {
            response
        } else if is_stored {
            buffering::buffer(response, buffering::MAX_WAIT)?
        } else {
            buffering::buffer_on_helper(response, &self.readers, cancellation, buffering::MAX_WAIT)?
        };
        // Any other body is verified while the caller reads it, including a part that another peer continues.
        if response.body().as_bytes().is_some() { verified(response, None) } else { Ok(response) }
    }
}

/// Reads the `Retry-After` field of a peer's response, in seconds.
fn retry_after_field(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// Reads the first line of a peer's description of its failure.
pub(super) fn reason(body: Body) -> String {
    let text = body.into_bytes_limited(MAX_REASON).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    // The line goes into logs and on terminals, so that control characters must not pass.
    let line = line.replace(char::is_control, "?");
    if line.is_empty() { "the peer failed".to_owned() } else { line }
}
