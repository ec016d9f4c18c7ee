//! A request on its way through the pool: from owner to owner until one answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use log::{debug, warn};

use super::budget::RetryBudget;
use super::buffering;
use super::builder::Options;
use super::candidates::{Candidate, Candidates};
use super::circuit_breaker::{Epoch, Evidence};
use super::counts::Counters;
use super::helpers::Helpers;
use super::observation::{Attempts, Mark, Observation, is_strangers};
use super::peers::{PeerEntry, Peers};
use super::pool::Pool;
use super::replayable_request::ReplayableRequest;
use super::resume;
use super::ring_mismatches::Disagreements;
use super::watch::{Exchange, Listed, Watch};
use crate::base::cancellation::Cancellation;
use crate::base::error::{Cause, Error, ErrorKind, Result, redacted};
use crate::base::token::Tokens;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::digest::{Expected, announced, checked};
use crate::message::header::cache_control::RequestDirectives;
use crate::message::round_trip::RoundTrip;
use crate::message::stats::Outcome;
use crate::message::url::CanonicalUrl;
use crate::origin::Origin;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{
    self, ConnectWithin, Endpoint, FetchedDirectly, ForPeer, IsLeaving, Paths, WholeHeadWithin, Within,
};

/// After so long without a connection the next owner is tried.
const BESIDE: Duration = Duration::from_millis(300);

/// How long the head of a response may take from its first byte on: a peer writes it in one piece.
const WHOLE_HEAD: Duration = Duration::from_secs(1);

/// How much of a peer's own words about its failure is read, in bytes.
const MAX_REASON: u64 = 1024;

/// What the clones of a client share.
pub(super) struct Inner {
    pub(super) pool: Pool,
    pub(super) paths: Paths,
    pub(super) transport: Arc<dyn RoundTrip>,
    /// The networks that these two use, where they are not of the program's own.
    pub(super) networks: Vec<Origin>,
    /// What fetches when there is no peer, if that was chosen.
    pub(super) direct: Option<Arc<dyn RoundTrip>>,
    pub(super) options: Options,
    pub(super) disagreements: Disagreements,
    pub(super) peers: Peers,
    pub(super) counters: Counters,
    pub(super) retries: RetryBudget,
    /// Who asks peers whether they are there, and who reads short bodies while a caller waits for them.
    pub(super) probers: Helpers,
    pub(super) readers: Helpers,
    pub(super) watch: Watch,
}

/// Who answers when no peer is left.
pub(super) enum Fallback<'a> {
    /// The origin, or nobody, as the client was told.
    Chosen,
    /// Nobody: only a peer can.
    Nobody,
    /// The peer that asks, whose URL this is: also where it is its turn.
    Own(&'a PeerUrl, &'a dyn RoundTrip),
}

/// A response, and who gave it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) from: Option<AnsweredBy>,
}

/// The peer that gave a response.
pub(super) struct AnsweredBy {
    pub(super) listed: Listed,
    /// Whether the peer had the body in its store when it answered.
    pub(super) is_stored: bool,
    /// How long its beginning has been waited for.
    pub(super) waited: Duration,
}

impl AnsweredBy {
    pub(super) fn exchange(&self) -> &Exchange {
        &self.listed.exchange
    }

    pub(super) fn peer(&self) -> &PeerEntry {
        &self.exchange().peer
    }
}

fn show(tokens: Option<&Tokens>, request: &mut Request<Body>) {
    if let Some(credential) = tokens.and_then(Tokens::credential) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, credential);
        request.extensions_mut().insert(ForPeer);
    }
}

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

    /// Gives a request the time that all have, unless it says otherwise.
    pub(super) fn limit(&self, request: &mut Request<Body>) {
        let (hard, soft) = (self.options.deadline, self.options.soft_deadline);
        if (hard.is_some() || soft.is_some()) && Deadline::of(request.extensions()).is_none() {
            let deadline = hard.map_or_else(Deadline::none, Deadline::within);
            request.extensions_mut().insert(soft.map_or(deadline, |soft| deadline.softly_within(soft)));
        }
    }

    /// Has a request to a peer show the token, which is taken from whatever is not marked as one.
    pub(super) fn show_token(&self, request: &mut Request<Body>) {
        show(self.options.tokens.as_ref(), request);
    }

    /// As [`show_token`](Self::show_token), for a request that purges, or says that a peer leaves.
    pub(super) fn show_operator_token(&self, request: &mut Request<Body>) {
        show(self.options.operator_tokens.as_ref().or(self.options.tokens.as_ref()), request);
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

/// The usual [`Inner::collected`]: as much as peers send in one piece.
pub(super) const COLLECTED: u64 = 64 << 10;

/// What a body has to be, and who sent it.
#[derive(Clone)]
struct Announced {
    expected: Vec<Expected>,
    peer: PeerUrl,
    target: CanonicalUrl,
}

/// The response, with what its peer and the origin say of its body kept beside it.
fn expecting(response: Response<Body>, asked: &ReplayableRequest, peer: &PeerUrl) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let mut expected = announced(&asked.parts.method, parts.status, &parts.headers);
    expected.extend(protocol::take_digest(&mut parts.headers).map(Expected::from));
    if !expected.is_empty() {
        parts.extensions.insert(Announced { expected, peer: peer.clone(), target: asked.target.clone() });
    }
    Response::from_parts(parts, body)
}

/// The response, whose body fails where it is not the one that the peer, or the origin, says that it sends: also where
/// the end of it came from another. `on_mismatch` is told of one that is read later.
pub(super) fn whole(
    response: Response<Body>,
    on_mismatch: Option<Box<dyn FnOnce() + Send>>,
) -> Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    let Some(Announced { expected, peer, target }) = parts.extensions.remove() else {
        return Ok(Response::from_parts(parts, body));
    };
    let (kind, shown, sender) = (ErrorKind::DigestMismatch, redacted(target.as_str()), peer.clone());
    let told = move || {
        warn!("{kind} {shown} the body that {sender} sent has another digest than was announced");
        if let Some(on_mismatch) = on_mismatch {
            on_mismatch();
        }
    };
    let body = checked(body, expected, told).map_err(|error| error.with_url(&target).with_peer(&peer))?;
    Ok(Response::from_parts(parts, body))
}

/// Whether a digest of its body was announced.
pub(super) fn is_announced(extensions: &http::Extensions) -> bool {
    extensions.get::<Announced>().is_some()
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
