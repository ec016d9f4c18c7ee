//! Sends a request to its owners, one after another, until one responds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use log::debug;

use super::announced_digest::{expecting, whole};
use super::answer::{Answer, AnsweredBy};
use super::buffering;
use super::candidates::{Candidate, Candidates};
use super::circuit_breaker::{Epoch, Evidence};
use super::inner::{Fallback, Inner};
use super::observation::{Attempts, Mark, Observation, is_strangers};
use super::peers::PeerEntry;
use super::replayable_request::ReplayableRequest;
use super::resume;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Cause, Error, ErrorKind, Result, redacted};
use crate::message::body::Body;
use crate::message::header::cache_control::RequestDirectives;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Outcome;
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{
    self, ConnectWithin, Endpoint, FetchedDirectly, IsLeaving, WholeHeadWithin, Within,
};

/// The next owner is tried after this time without a connection.
const BESIDE: Duration = Duration::from_millis(300);

/// Time limit from the first byte of a response head to its last: peers write heads in one piece.
const WHOLE_HEAD: Duration = Duration::from_secs(1);

/// Maximum number of bytes read of a peer's description of its failure.
const MAX_REASON: u64 = 1024;

impl Inner {
    /// Sends a request. If the peer breaks off in the body, another peer continues it if possible.
    pub(super) fn round_trip(
        self: &Arc<Self>,
        asked: ReplayableRequest,
        last: &Fallback<'_>,
    ) -> Result<Response<Body>> {
        self.counters.requests.count();
        self.retries.add_request();
        let asked = Arc::new(asked);
        let answer = self.send(&asked, Endpoint::Proxy, last)?;
        let on_mismatch = answer.from.as_ref().map(|from| -> Box<dyn FnOnce() + Send> {
            let (inner, asked, exchange) =
                (Arc::clone(self), Arc::clone(&asked), Arc::clone(&from.listed.exchange));
            Box::new(move || {
                let error =
                    Error::new(ErrorKind::DigestMismatch, "its bodies do not match their announced digests");
                inner.peers.told(&exchange.peer, inner.broken(&asked), exchange.ticket, &error);
            })
        });
        whole(resume::watched(self, &asked, answer), on_mismatch)
    }

    /// Sends a request to its owners, one after another, and finally to the fallback.
    pub(super) fn send(
        self: &Arc<Self>,
        asked: &Arc<ReplayableRequest>,
        endpoint: Endpoint,
        last: &Fallback<'_>,
    ) -> Result<Answer> {
        let begun = Instant::now();
        let method = &asked.parts.method;
        let mut attempts = Attempts::new(method.is_idempotent(), self.options.head_timeout, self.options.hop);
        let (mut first_error, mut broken) = (None, Vec::new());
        let hop = self.options.hop;
        let mut candidates = Candidates::new(self.pool.owners(&asked.target), last);
        // Owners without a connection so far: tried again if no other owner responds.
        let mut unconnected = VecDeque::new();
        loop {
            let next =
                self.next_candidate(&mut candidates, asked).map(|candidate| (candidate, BESIDE.min(hop)));
            let next = next.or_else(|| unconnected.pop_front().map(|candidate| (candidate, hop)));
            let (Some((candidate, connect)), Some(head)) = (next, attempts.next(begun.elapsed())) else {
                break;
            };
            let error = match self.ask(&candidate, asked, endpoint, head, connect) {
                Ok(answer) => {
                    // Another peer has the complete body, so the broken bodies were the fault of their peers.
                    for (Candidate { peer, ticket }, error) in broken {
                        self.peers.told(&peer, self.broken(asked), ticket, &error);
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if asked.is_over() || !attempts.goes_on(&error, asked.body.is_whole(), || self.retries.take()) {
                return Err(error);
            }
            match Observation::of(&error) {
                Observation::Unconnected if connect < hop => {
                    self.check_connection(&candidate.peer);
                    unconnected.push_back(candidate);
                }
                Observation::BrokenBody => broken.push((candidate, error.shared())),
                _ => {}
            }
            self.counters.failovers.count();
            first_error.get_or_insert(error);
        }
        self.send_last(asked, attempts.may_fetch_directly(), first_error, last)
    }

    /// Returns the evidence that a broken body of this request is against its peer.
    pub(super) fn broken(&self, asked: &ReplayableRequest) -> Evidence {
        Evidence::Broken(crc32fast::hash(asked.target.as_str().as_bytes()))
    }

    /// Sends a request to the fallback, if that is allowed.
    fn send_last(
        &self,
        asked: &ReplayableRequest,
        may_fetch: bool,
        first_error: Option<Error>,
        last: &Fallback<'_>,
    ) -> Result<Answer> {
        let way: &dyn RoundTrip = match last {
            Fallback::Own(_, own) => own,
            // `only-if-cached` forbids a fetch, and no cache is left.
            Fallback::Chosen if RequestDirectives::of(&asked.parts.headers).only_if_cached => {
                return Err(first_error.unwrap_or_else(|| self.on_no_peers(&asked.target)));
            }
            Fallback::Chosen | Fallback::Nobody => match (&self.direct, last, may_fetch) {
                (Some(direct), Fallback::Chosen, true) => direct,
                _ => return Err(first_error.unwrap_or_else(|| self.on_no_peers(&asked.target))),
            },
        };
        if matches!(last, Fallback::Chosen) {
            debug!("fetched directly: {}", redacted(asked.target.as_str()));
            self.counters.direct_fetches.count();
        }
        let mut response = way.round_trip(asked.request(asked.target.uri()))?;
        response.extensions_mut().insert(FetchedDirectly);
        Ok(Answer { response, from: None })
    }

    fn on_no_peers(&self, target: &CanonicalUrl) -> Error {
        let error = |text| Error::new(ErrorKind::OnNoPeers, text).with_url(target);
        match self.pool.owners(target).next() {
            None => error("the pool has no peers"),
            Some(owner) => {
                error("every peer has failed recently and is not tried again yet").with_peer(owner)
            }
        }
    }

    /// Sends a request to this peer, and records the result in the peer's circuit breaker.
    pub(super) fn ask(
        self: &Arc<Self>,
        candidate: &Candidate,
        asked: &ReplayableRequest,
        endpoint: Endpoint,
        limit: Duration,
        connect: Duration,
    ) -> Result<Answer> {
        let Candidate { peer, ticket } = candidate;
        let may_be_repeated = asked.parts.method.is_idempotent() && asked.body.is_whole();
        let head = asked.body.is_empty().then_some(limit);
        let listed = self.begin(candidate, may_be_repeated, head, asked.parts.extensions.get());
        let exchange = &listed.exchange;
        let answer = self.ask_with(&peer.url, asked, endpoint, |request| {
            let extensions = request.extensions_mut();
            extensions.insert(exchange.cancellation.clone());
            extensions.insert(Within(limit));
            extensions.insert(ConnectWithin(connect));
            extensions.insert(WholeHeadWithin(WHOLE_HEAD));
        });
        let is_stored = |response: &Response<Body>| {
            Outcome::of(response.headers()).is_some_and(|outcome| outcome.forward().is_none())
        };
        let answer = answer.and_then(|mut response| {
            exchange.has_head();
            let (is_stored, is_leaving) =
                (is_stored(&response), response.extensions_mut().remove::<IsLeaving>().is_some());
            if is_leaving {
                self.peers.left(peer);
            } else {
                self.peers.note(peer, Evidence::Answered, *ticket);
            }
            exchange.wait();
            let begun = Instant::now();
            let response = self.collected(response, may_be_repeated, is_stored, &exchange.cancellation);
            exchange.has_come();
            response.map(|response| (response, is_stored, begun.elapsed()))
        });
        let shown = || redacted(asked.target.as_str());
        match answer {
            Ok((response, is_stored, waited)) => {
                debug!("{} {} {}", response.status(), shown(), peer.url);
                if response.body().as_bytes().is_some() {
                    self.peers.note(peer, Evidence::Whole, *ticket);
                }
                Ok(Answer { response, from: Some(AnsweredBy { listed, is_stored, waited }) })
            }
            Err(error) => {
                let about = |error: Error| error.with_url(&asked.target).with_peer(&peer.url);
                let error = if error.is_told_by_peer() { error } else { about(exchange.failed(error)) };
                debug!("{} {} {}", error.kind(), shown(), peer.url);
                // A caller's deadline or cancellation is not the peer's failure.
                if !asked.is_over() {
                    self.observe(peer, *ticket, &error);
                }
                Err(error)
            }
        }
    }

    /// Records a failure in the circuit breaker of the peer, and warns if it is misconfigured.
    fn observe(&self, peer: &PeerEntry, ticket: Epoch, error: &Error) {
        let consequence = Observation::of(error).consequence();
        match consequence.mark {
            Mark::Failed => self.peers.told(peer, Evidence::Failed, ticket, error),
            Mark::Alive => self.peers.note(peer, Evidence::Answered, ticket),
            _ if error.is_told_by_peer() => self.peers.note(peer, Evidence::Answered, ticket),
            // Recorded once another peer has sent the complete body.
            Mark::Broken | Mark::Nothing => {}
        }
        if consequence.warns {
            self.peers.warn(peer, error);
        }
    }

    /// Sends a request to this peer; `prepare` may change it first.
    pub(super) fn ask_with(
        &self,
        peer: &PeerUrl,
        asked: &ReplayableRequest,
        endpoint: Endpoint,
        prepare: impl FnOnce(&mut Request<Body>),
    ) -> Result<Response<Body>> {
        let mut request = asked.request(peer.request_url(self.paths.of(endpoint), &asked.target));
        asked.hop(self.pool.digest()).put(request.headers_mut());
        self.show_token(&mut request);
        prepare(&mut request);
        let about = |error: Error| error.with_url(&asked.target);
        let mut response =
            self.transport.round_trip(request).map_err(|error| about(error).with_peer(peer))?;
        let is_marked = protocol::take_peer(response.headers_mut());
        if let Some(members) = protocol::take_members(response.headers_mut()) {
            self.disagreements.note(peer, members, &self.pool, Instant::now());
        }
        if protocol::take_leaving(response.headers_mut()) {
            response.extensions_mut().insert(IsLeaving);
        }
        match protocol::failure(response.headers()) {
            None if is_strangers(response.status(), is_marked, self.options.accepts_unmarked) => {
                let text = format!(
                    "it responds with status {} without the mark of a peer: another program may listen at this URL",
                    response.status().as_u16()
                );
                Err(about(Error::new(ErrorKind::BadResponse, text).because(Cause::Stranger)).with_peer(peer))
            }
            None => Ok(expecting(response, asked, peer)),
            Some(kind) => {
                let retry_after = seconds(response.headers());
                let error = about(Error::new(kind, reason(response.into_body()))).told_by_peer(peer);
                Err(match retry_after {
                    Some(time) => error.with_retry_after(time),
                    None => error,
                })
            }
        }
    }

    /// Returns the response with its body in memory and verified, if the body is short, may be requested
    /// again, and arrives in time.
    fn collected(
        &self,
        response: Response<Body>,
        may_be_repeated: bool,
        is_stored: bool,
        cancellation: &Cancellation,
    ) -> Result<Response<Body>> {
        let is_short = response.body().length().is_some_and(|length| length <= self.options.collected);
        if !is_short || !may_be_repeated {
            return Ok(response);
        }
        let response = if response.body().as_bytes().is_some() {
            response
        } else if is_stored {
            buffering::collect(response, buffering::PATIENCE)?
        } else {
            buffering::collect_beside(response, &self.readers, cancellation, buffering::PATIENCE)?
        };
        // Any other body is verified while the caller reads it, including a part that another peer continues.
        if response.body().as_bytes().is_some() { whole(response, None) } else { Ok(response) }
    }
}

/// Reads the `Retry-After` field of a peer's response, in seconds.
fn seconds(headers: &HeaderMap) -> Option<Duration> {
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
