//! A request on its way through the pool: from owner to owner until one answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response};
use log::{debug, warn};

use super::asked::Asked;
use super::candidates::{Candidate, Candidates};
use super::choices::SlowPeers;
use super::collecting;
use super::counts::Counters;
use super::disagreements::Disagreements;
use super::failover::{self, Attempts};
use super::health::{Sign, Ticket};
use super::hedge::Helpers;
use super::in_flight::Flying;
use super::peers::{Known, Peers};
use super::pool::Pool;
use super::resume;
use crate::body::Body;
use crate::deadline::Deadline;
use crate::digest::{Expected, announced, checked};
use crate::error::{Error, ErrorKind, Result, redacted};
use crate::header::cache_control::RequestDirectives;
use crate::peer_url::PeerUrl;
use crate::protocol::{self, Endpoint, FetchedDirectly, ForPeer, IsLeaving, Paths, Within};
use crate::round_trip::RoundTrip;
use crate::target::Target;
use crate::token::Tokens;

/// How long a slow peer is passed over, where that was chosen.
const SLOW_PAUSE: Duration = Duration::from_secs(10);

/// A peer that is faster than this is not slow, whatever the others are.
const NOT_SLOW: Duration = Duration::from_millis(10);

/// How much of a peer's own words about its failure is read, in bytes.
const MAX_REASON: u64 = 1024;

/// What the clones of a client share.
pub(super) struct Inner {
    pub(super) pool: Pool,
    pub(super) paths: Paths,
    pub(super) transport: Arc<dyn RoundTrip>,
    /// What fetches when there is no peer, if that was chosen.
    pub(super) direct: Option<Arc<dyn RoundTrip>>,
    pub(super) tokens: Option<Tokens>,
    /// For requests that say nothing of their time.
    pub(super) deadline: Option<Duration>,
    pub(super) soft_deadline: Option<Duration>,
    pub(super) purge_timeout: Duration,
    pub(super) disagreements: Disagreements,
    /// A body of known length up to this is read before its response is handed out, so that a peer that breaks off
    /// in it costs the caller nothing. In bytes.
    pub(super) collected: u64,
    pub(super) peers: Peers,
    pub(super) counters: Counters,
    /// How long one peer may take, and how long the last one that is asked may when that time is over.
    pub(super) head_timeout: Duration,
    pub(super) hop: Duration,
    pub(super) slow_peers: SlowPeers,
    pub(super) bounded_load: Option<f64>,
    pub(super) helpers: Helpers,
}

/// Who answers when no peer is left.
pub(super) enum Last<'a> {
    /// The origin, or nobody, as the client was told.
    Chosen,
    /// Nobody: only a peer can.
    Nobody,
    /// The peer that asks, whose URL this is: also where it is its turn.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    Own(&'a PeerUrl, &'a dyn RoundTrip),
}

/// A response, and who gave it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    /// Its body is one that would be in memory by now, did it not come so slowly.
    pub(super) is_slow: bool,
    pub(super) from: Option<AnsweredBy>,
}

/// The peer that gave a response.
pub(super) struct AnsweredBy {
    pub(super) peer: Arc<Known>,
    pub(super) ticket: Ticket,
    /// Until it has nothing more to do.
    pub(super) _flying: Flying,
}

impl Inner {
    /// Sends what is asked and returns the response, whose body goes on elsewhere where it breaks off and may.
    pub(super) fn round_trip(self: &Arc<Self>, asked: Asked, last: &Last<'_>) -> Result<Response<Body>> {
        self.counters.requests.count();
        let asked = Arc::new(asked);
        let answer = self.send(&asked, Endpoint::Proxy, last)?;
        whole(resume::watched(self, &asked, answer), &asked.target)
    }

    /// Gives a request the time that all have, unless it says otherwise.
    pub(super) fn limit(&self, request: &mut Request<Body>) {
        let (hard, soft) = (self.deadline, self.soft_deadline);
        if (hard.is_some() || soft.is_some()) && Deadline::of(request.extensions()).is_none() {
            let deadline = hard.map_or_else(Deadline::none, Deadline::within);
            request.extensions_mut().insert(soft.map_or(deadline, |soft| deadline.softly_within(soft)));
        }
    }

    /// Has a request to a peer show the token, which is taken from whatever is not marked as one.
    pub(super) fn show_token(&self, request: &mut Request<Body>) {
        if let Some(credential) = self.tokens.as_ref().and_then(Tokens::credential) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credential);
            request.extensions_mut().insert(ForPeer);
        }
    }

    /// Sends what is asked to its owners, one after another.
    pub(super) fn send(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        endpoint: Endpoint,
        last: &Last<'_>,
    ) -> Result<Answer> {
        let begun = Instant::now();
        let method = &asked.parts.method;
        let mut attempts = Attempts::new(method.is_idempotent(), self.head_timeout, self.hop);
        let (mut first_error, mut slow, mut grace) = (None, None, None);
        let mut candidates = Candidates::new(self.pool.owners(&asked.target), last);
        while let Some(candidate) = self.next_candidate(&mut candidates, asked) {
            let is_first = first_error.is_none() && slow.is_none();
            let Some(limit) = attempts.next(begun.elapsed()).max(grace.take()) else { break };
            // What the transport has for all requests is what the first one has.
            let limit = (!is_first).then_some(limit);
            let answer = if self.is_hedged(asked) {
                self.ask_hedged(&candidate, asked, endpoint, limit, &mut candidates)
            } else {
                self.ask(&candidate, asked, endpoint, limit)
            };
            let error = match answer {
                Ok(answer) if !answer.is_slow => return Ok(answer),
                Ok(answer) => {
                    self.counters.failovers.count();
                    if slow.is_none() {
                        // It may take all the time to see that; somebody else is asked all the same.
                        (slow, grace) = (Some(answer), Some(self.hop));
                    }
                    continue;
                }
                Err(error) => error,
            };
            if !attempts.goes_on(&error, asked.body.is_whole()) || asked.is_out_of_time() {
                return slow.ok_or(error);
            }
            self.counters.failovers.count();
            first_error.get_or_insert(error);
        }
        let may_fetch = attempts.may_fetch_directly();
        let Some(slow) = slow else { return self.send_last(asked, may_fetch, None, first_error, last) };
        if RequestDirectives::of(&asked.parts.headers).only_if_cached {
            return Ok(slow);
        }
        // Who is that slow is no peer that is left; but where nobody has it faster, it is waited for.
        Ok(self.send_last(asked, may_fetch, Some(self.hop), first_error, last).unwrap_or(slow))
    }

    /// Sends it past the pool, where that may be; the head is to come within this limit.
    fn send_last(
        &self,
        asked: &Asked,
        may_fetch: bool,
        limit: Option<Duration>,
        first_error: Option<Error>,
        last: &Last<'_>,
    ) -> Result<Answer> {
        let way: &dyn RoundTrip = match last {
            Last::Own(_, own) => own,
            // No cache is left that could have it.
            Last::Chosen if RequestDirectives::of(&asked.parts.headers).only_if_cached => {
                return Err(first_error.unwrap_or_else(|| self.no_peer_left(&asked.target)));
            }
            Last::Chosen | Last::Nobody => match (&self.direct, last, may_fetch) {
                (Some(direct), Last::Chosen, true) => direct,
                _ => return Err(first_error.unwrap_or_else(|| self.no_peer_left(&asked.target))),
            },
        };
        if matches!(last, Last::Chosen) {
            debug!("fetched directly: {}", redacted(asked.target.as_str()));
            self.counters.direct_fetches.count();
        }
        let mut request = asked.request(asked.target.uri());
        // Not what is fetched for a cache: others may be waiting for that, and have more time.
        if let Some(limit) = limit.filter(|_| matches!(last, Last::Chosen)) {
            request.extensions_mut().insert(Within(limit));
        }
        let mut response = way.round_trip(request)?;
        response.extensions_mut().insert(FetchedDirectly);
        Ok(Answer { response, is_slow: false, from: None })
    }

    fn no_peer_left(&self, target: &Target) -> Error {
        let error = |text| Error::new(ErrorKind::NoPeerLeft, text).with_url(target);
        match self.pool.owners(target).next() {
            None => error("the pool has no peer"),
            Some(owner) => error("every peer failed lately and is left alone for a while").with_peer(owner),
        }
    }

    /// Asks this peer, and remembers how it did.
    pub(super) fn ask(
        &self,
        Candidate { peer, ticket }: &Candidate,
        asked: &Asked,
        endpoint: Endpoint,
        limit: Option<Duration>,
    ) -> Result<Answer> {
        let flying = peer.in_flight.enter();
        let begun = Instant::now();
        let answer = self.ask_once(&peer.url, asked, endpoint, limit);
        let shown = || redacted(asked.target.as_str());
        match answer {
            Ok(mut response) => {
                debug!("{} {} {}", response.status(), shown(), peer.url);
                let is_slow = collecting::take_slow(&mut response);
                let is_leaving = response.extensions_mut().remove::<IsLeaving>().is_some();
                match is_slow.then(collecting::too_slow) {
                    _ if is_leaving => self.peers.left(peer),
                    Some(error) => self.peers.told(peer, Sign::Suspicious, *ticket, &error),
                    None => self.peers.answered(peer, *ticket),
                }
                peer.latency.record(begun.elapsed());
                self.pass_over_if_slow(peer, *ticket);
                Ok(Answer {
                    response,
                    is_slow,
                    from: Some(AnsweredBy { peer: Arc::clone(peer), ticket: *ticket, _flying: flying }),
                })
            }
            Err(error) => {
                debug!("{} {} {}", error.kind(), shown(), peer.url);
                // A caller in a hurry says nothing of the peer.
                if let Some(sign) = failover::sign(&error).filter(|_| !asked.is_out_of_time()) {
                    self.peers.told(peer, sign, *ticket, &error);
                }
                Err(error)
            }
        }
    }

    pub(super) fn ask_once(
        &self,
        peer: &PeerUrl,
        asked: &Asked,
        endpoint: Endpoint,
        limit: Option<Duration>,
    ) -> Result<Response<Body>> {
        let mut request = asked.request(peer.request_url(self.paths.of(endpoint), &asked.target));
        asked.hop(self.pool.digest()).put(request.headers_mut());
        self.show_token(&mut request);
        if let Some(limit) = limit {
            request.extensions_mut().insert(Within(limit));
        }
        let about = |error: Error| error.with_url(&asked.target);
        let mut response =
            self.transport.round_trip(request).map_err(|error| about(error).with_peer(peer))?;
        if let Some(members) = protocol::take_members(response.headers_mut()) {
            self.disagreements.note(peer, members, &self.pool, Instant::now());
        }
        if protocol::take_leaving(response.headers_mut()) {
            response.extensions_mut().insert(IsLeaving);
        }
        match protocol::failure(response.headers()) {
            None => self
                .collected(expecting(response, asked, peer), asked)
                .map_err(|error| about(error).with_peer(peer)),
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

    /// The response with its body in memory and found to be right, where it is short and may be asked for again.
    fn collected(&self, response: Response<Body>, asked: &Asked) -> Result<Response<Body>> {
        let is_short = response.body().length().is_some_and(|length| length <= self.collected);
        let may_be_repeated = asked.parts.method.is_idempotent() && asked.body.is_whole();
        if !is_short || !may_be_repeated || response.body().as_bytes().is_some() {
            return Ok(response);
        }
        collecting::collect(whole(response, &asked.target)?, self.collected, self.hop)
    }

    fn pass_over_if_slow(&self, peer: &Known, ticket: Ticket) {
        let SlowPeers::Skip { factor } = self.slow_peers else { return };
        if !peer.latency.is_worth_a_look() {
            return;
        }
        let own = peer.latency.quantile(0.5).filter(|own| *own > NOT_SLOW);
        let others = self.peers.median_of_others(&peer.url);
        if let (Some(own), Some(others)) = (own, others)
            // A duration has an end, and a factor may lead past it.
            && own.as_secs_f64() > others.as_secs_f64() * factor
        {
            debug!("{} is slow: {own:?}, and the others {others:?}", peer.url);
            // It is judged by what it does then.
            peer.latency.clear();
            self.peers.pause(peer, SLOW_PAUSE, ticket);
        }
    }

    fn is_hedged(&self, asked: &Asked) -> bool {
        matches!(self.slow_peers, SlowPeers::Hedge { .. })
            && matches!(asked.parts.method, Method::GET | Method::HEAD)
            && asked.body.is_empty()
    }
}

/// The usual [`Inner::collected`]: as much as peers send in one piece.
pub(super) const COLLECTED: u64 = 64 << 10;

/// What a body has to be, and who sent it.
#[derive(Clone)]
struct Announced {
    expected: Vec<Expected>,
    peer: PeerUrl,
}

/// The response, with what its peer and the origin say of its body kept beside it.
fn expecting(response: Response<Body>, asked: &Asked, peer: &PeerUrl) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let mut expected = announced(&asked.parts.method, parts.status, &parts.headers);
    expected.extend(protocol::take_digest(&mut parts.headers).map(Expected::from));
    if !expected.is_empty() {
        parts.extensions.insert(Announced { expected, peer: peer.clone() });
    }
    Response::from_parts(parts, body)
}

/// The response, whose body fails where it is not the one that the peer, or the origin, says that it sends: also where
/// the end of it came from another.
fn whole(response: Response<Body>, target: &Target) -> Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    let Some(Announced { expected, peer }) = parts.extensions.remove() else {
        return Ok(Response::from_parts(parts, body));
    };
    let (kind, shown, sender) = (ErrorKind::DigestMismatch, redacted(target.as_str()), peer.clone());
    let told =
        move || warn!("{kind} {shown} the body that {sender} sent has another digest than was announced");
    let body = checked(body, expected, told).map_err(|error| error.with_url(target).with_peer(&peer))?;
    Ok(Response::from_parts(parts, body))
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
