//! A request on its way through the pool: from owner to owner until one answers.

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

/// After so long without a connection the next owner is tried.
const BESIDE: Duration = Duration::from_millis(300);

/// How long the head of a response may take from its first byte on: a peer writes it in one piece.
const WHOLE_HEAD: Duration = Duration::from_secs(1);

/// How much of a peer's own words about its failure is read, in bytes.
const MAX_REASON: u64 = 1024;

impl Inner {
    /// Sends what is asked and returns the response, whose body goes on elsewhere where it breaks off and may.
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
                let error = Error::new(ErrorKind::DigestMismatch, "its bodies are not what it announces");
                inner.peers.told(&exchange.peer, inner.broken(&asked), exchange.ticket, &error);
            })
        });
        whole(resume::watched(self, &asked, answer), on_mismatch)
    }

    /// Sends what is asked to its owners, one after another.
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
        // Those that took too long to connect: they are tried again where nobody else answers.
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
                    // Somebody else has it whole: it was not the response's fault.
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

    /// What a broken body of this request says of its peer.
    pub(super) fn broken(&self, asked: &ReplayableRequest) -> Evidence {
        Evidence::Broken(crc32fast::hash(asked.target.as_str().as_bytes()))
    }

    /// Sends it past the pool, where that may be.
    fn send_last(
        &self,
        asked: &ReplayableRequest,
        may_fetch: bool,
        first_error: Option<Error>,
        last: &Fallback<'_>,
    ) -> Result<Answer> {
        let way: &dyn RoundTrip = match last {
            Fallback::Own(_, own) => own,
            // No cache is left that could have it.
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
            None => error("the pool has no peer"),
            Some(owner) => error("every peer failed lately and is left alone for a while").with_peer(owner),
        }
    }

    /// Asks this peer, and remembers how it did.
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
                // A caller in a hurry says nothing of the peer.
                if !asked.is_over() {
                    self.observe(peer, *ticket, &error);
                }
                Err(error)
            }
        }
    }

    /// Holds against a peer what its failure says of it.
    fn observe(&self, peer: &PeerEntry, ticket: Epoch, error: &Error) {
        let consequence = Observation::of(error).consequence();
        match consequence.mark {
            Mark::Failed => self.peers.told(peer, Evidence::Failed, ticket, error),
            Mark::Alive => self.peers.note(peer, Evidence::Answered, ticket),
            _ if error.is_told_by_peer() => self.peers.note(peer, Evidence::Answered, ticket),
            // Only once somebody else had it whole.
            Mark::Broken | Mark::Nothing => {}
        }
        if consequence.warns {
            self.peers.warn(peer, error);
        }
    }

    /// Asks this peer, with what `prepare` adds to the request.
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
                let text =
                    format!("it answers {} and does not say that it is a peer", response.status().as_u16());
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

    /// The response with its body in memory and found to be right, where it is short, may be asked for again, and comes
    /// in time.
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
        // What is not in memory is checked as it is read, also where its end comes from another.
        if response.body().as_bytes().is_some() { whole(response, None) } else { Ok(response) }
    }
}

/// After how long a peer says that it is worth trying again.
fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// What a peer says about its failure: the first line.
pub(super) fn reason(body: Body) -> String {
    let text = body.into_bytes_limited(MAX_REASON).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    // It goes into logs and on terminals.
    let line = line.replace(char::is_control, "?");
    if line.is_empty() { "the peer failed".to_owned() } else { line }
}
