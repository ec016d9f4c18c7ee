//! `/proxy?q=<URL>`, and below it `/proxy/why?q=<URL>`, which says what the former would do; `/healthz` says that it is
//! there, and `/readyz` that it should be sent requests.

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header::{ALLOW, CACHE_CONTROL, HOST, MAX_FORWARDS, VIA, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use log::warn;
use parking_lot::Mutex;

use super::allowed::Allowed;
use super::host_bound::{for_another_host, interim_for_another_host};
use super::own_addresses::OwnAddresses;
use super::page_safety::write_guard;
use super::readiness::Readiness;
use super::refusal::{
    ALLOWED, ALLOWED_FOR_HEALTH, ALLOWED_FOR_LEAVING, ALLOWED_FOR_WHY, failure, method_not_allowed, refusal,
    unauthorized,
};
use crate::base::error::{Error, ErrorKind, Result, redacted};
use crate::cache::HttpCache;
use crate::message::body::Body;
use crate::message::header::{hop_by_hop, list};
use crate::message::nonblocking::{BodyOf, Lane, PlainField, PlainRequest, Step, Wakes};
use crate::message::purge::Purge;
use crate::message::url::{CanonicalUrl, query_value, unescape};
use crate::origin::access::Asked;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{self, Endpoint, Hop, Paths, PoolDigest, Scope, TEXT, answer};
use crate::pool::purge::PeerPurged;
use crate::scheduler::{Client, Servers, Share, Shares};
use crate::store::StoredResponse;

/// Answers requests for this peer's share, and for any other: a peer that is asked answers, and never
/// sends a request on to another peer, so that peers who disagree on the ring cost a miss and no loop.
#[derive(Debug)]
pub(crate) struct Proxy {
    paths: Paths,
    /// How the target of a request begins that says nothing but what is asked for.
    plain_prefix: String,
    pub(super) caching: HttpCache,
    pub(super) own_addresses: Arc<OwnAddresses>,
    pub(super) pool: Box<dyn PoolView>,
    pub(super) allowed: Allowed,
    /// Held by a purge of the pool where only one may be under way.
    pub(super) purging: Mutex<()>,
    servers: Servers,
    /// Whether this peer is about to end.
    is_leaving: AtomicBool,
}

/// What a request asks for that was admitted.
#[derive(Debug)]
pub(crate) enum Called {
    /// Whether the peer is there.
    Health,
    /// Whether the peer should be sent requests.
    Ready,
    /// What the URL names, or something to be done to it.
    Fetch(CanonicalUrl),
    /// Removal, here or in the whole pool.
    Purge {
        /// Whether other peers are waited for.
        is_of_pool: bool,
    },
    /// What a request for the URL would come to.
    Why(CanonicalUrl),
    /// That another peer is about to end.
    Leaving,
}

impl Called {
    /// The origin that it goes to.
    pub(crate) fn origin(&self) -> Option<CanonicalUrl> {
        match self {
            Self::Fetch(target) => Some(target.origin()),
            _ => None,
        }
    }
}

/// What to do for a request.
pub(crate) enum Next {
    Step(Step<Response<Body>>),
    /// It is for a thread of this lane, which [answers](Proxy::answer) it.
    Work(Lane, Called, Request<Body>),
}

/// The pool, as a member sees it.
pub(crate) trait PoolView: std::fmt::Debug + Send + Sync {
    /// Whether a URL names a peer of the pool, for which a peer is no origin. Cheap, and never blocks.
    fn is_peer(&self, target: &CanonicalUrl) -> bool;

    /// Whether a member is known to have this address. Cheap, and never blocks.
    fn has_address(&self, address: IpAddr) -> bool;

    /// What tells it from a pool of others. Cheap, and never blocks.
    fn digest(&self) -> PoolDigest;

    /// The peer's own URL.
    fn own_url(&self) -> &PeerUrl;

    /// Takes note that another peer is about to end; says whether it is one of the pool. Cheap, and never blocks.
    fn is_left_by(&self, peer: &PeerUrl) -> bool;

    /// Asks former owners for nothing any more that the purge covers. Cheap, and never blocks.
    fn purge_former(&self, purge: &Purge);

    /// Removes what this peer keeps near of what others own. Cheap, and never blocks.
    fn forget_near(&self, purge: &Purge);

    /// Whether there is no other peer. Cheap, and never blocks.
    fn is_alone(&self) -> bool;

    /// Has all other peers purge their own shares. Blocks until each has answered or its time is up.
    fn purge_others(&self, purge: &Purge) -> Vec<PeerPurged>;
}

impl Proxy {
    pub(crate) fn new(
        path: String,
        caching: HttpCache,
        own_addresses: Arc<OwnAddresses>,
        pool: Box<dyn PoolView>,
        allowed: Allowed,
    ) -> Self {
        let plain_prefix = format!("{path}?{}=", protocol::QUERY);
        Self {
            paths: Paths::under(path),
            plain_prefix,
            caching,
            own_addresses,
            pool,
            allowed,
            purging: Mutex::new(()),
            servers: Servers::default(),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// The same, which these servers serve. Default: none.
    pub(crate) fn served_by(self, servers: Servers) -> Self {
        Self { servers, ..self }
    }

    /// Who may ask, and for what.
    pub(crate) fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Says from now on that this peer is about to end, if it did not already.
    pub(crate) fn begins_to_leave(&self) -> bool {
        !self.is_leaving.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// What is stored of what a plain request asks for, if it answers it as it is. Never waits.
    pub(crate) fn hit(
        &self,
        request: &PlainRequest<'_>,
        url: &mut Vec<u8>,
        lines: &mut String,
    ) -> Option<Arc<StoredResponse>> {
        let value = request.target.strip_prefix(&self.plain_prefix)?;
        // Whoever reads all of a request says more with the answer.
        if self.is_leaving()
            || value.contains('&')
            || !self.allowed.may_read(request)
            || (self.allowed.is_open() && (self.allowed.is_by_a_page(request) || !self.is_its_host(request)))
        {
            return None;
        }
        unescape(value, url).ok()?;
        let url = std::str::from_utf8(url).ok()?;
        // What is not spelled as a `CanonicalUrl` is not found either, so that what is judged here is what is found.
        if !self.allowed.may_be_asked(&Asked::of_canonical(url)?) {
            return None;
        }
        let hop = match request.field(protocol::HOP.as_str()) {
            PlainField::Absent => None,
            PlainField::Once(field) => Some(Hop::parse(field)),
            PlainField::Repeated => return None,
        };
        // What leads back to the pool was never fetched, and so is not stored.
        let stored = self.caching.hit(url, request, hop, lines)?;
        if hop.is_some() {
            protocol::write_peer(lines);
        } else if self.allowed.is_open() {
            write_guard(lines);
        }
        if let Some(own) = self.other_members(hop.unwrap_or_default()) {
            protocol::write_members(lines, own);
        }
        Some(stored)
    }

    /// The pool that this peer knows, where whoever asks knows another.
    pub(super) fn other_members(&self, hop: Hop) -> Option<PoolDigest> {
        let asked_with = hop.members?;
        let own = self.pool.digest();
        (own != asked_with).then(|| {
            self.caching.stats().count_disagreement();
            own
        })
    }

    /// The answer to whoever is not known, which is counted.
    pub(crate) fn turn_away(&self) -> Response<Body> {
        self.caching.stats().count_unauthorized();
        unauthorized()
    }

    /// Who may ask what: the one gate before all that this peer does. It looks at the head alone, and never waits.
    ///
    /// # Errors
    ///
    /// What is said instead of doing anything.
    pub(crate) fn admit<T>(&self, request: &Request<T>) -> Result<Called, Box<Response<Body>>> {
        let mark = self.mark_for(request.headers());
        self.called(request).map_err(|refused| Box::new(mark.on(*refused)))
    }

    fn called<T>(&self, request: &Request<T>) -> Result<Called, Box<Response<Body>>> {
        // Before the path: the target of a CONNECT has none.
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(method_not_allowed(ALLOWED).into());
        }
        if let Some(called) = self.about_itself(request) {
            if let Some(refused) = self.refuses_foreign(request.uri()) {
                return Err(refused.into());
            }
            return match *request.method() {
                Method::GET | Method::HEAD => Ok(called),
                _ => Err(method_not_allowed(ALLOWED_FOR_HEALTH).into()),
            };
        }
        let Some(endpoint) = self.paths.endpoint(request.uri().path()) else {
            let text = format!("nothing is here: this peer answers {}?q=URL", self.paths.of(Endpoint::Proxy));
            return Err(refusal(StatusCode::NOT_FOUND, ErrorKind::BadPeer, text).into());
        };
        if let Some((status, reason)) = self.misled(request.uri(), request.headers()) {
            return Err(refusal(status, ErrorKind::Forbidden, reason).into());
        }
        if !self.allowed.may_read(request.headers()) {
            return Err(self.turn_away().into());
        }
        let takes = |method: Method, allowed| {
            if *request.method() == method { Ok(()) } else { Err(Box::new(method_not_allowed(allowed))) }
        };
        let may_operate = || {
            let is_of_this_machine = self.own_addresses.are_of_this_machine_alone();
            self.may_operate(request.headers(), is_of_this_machine)
        };
        match endpoint {
            Endpoint::Proxy if protocol::is_purge(request.method()) => {
                may_operate()?;
                let is_of_pool = Scope::of(request.headers()) == Some(Scope::Pool) && !self.pool.is_alone();
                Ok(Called::Purge { is_of_pool })
            }
            Endpoint::Proxy if forwards_left(request) == Some(0) => Err(last_recipient().into()),
            Endpoint::Proxy => self.target(request).map(Called::Fetch),
            Endpoint::Why => {
                takes(Method::GET, ALLOWED_FOR_WHY)?;
                self.target(request).map(Called::Why)
            }
            Endpoint::Leaving => {
                takes(Method::POST, ALLOWED_FOR_LEAVING)?;
                // Whoever could say so of others could take them from this peer.
                may_operate()?;
                Ok(Called::Leaving)
            }
        }
    }

    /// Whether a request that was admitted comes from a peer of the pool: it says so, whoever sent it is known, and it
    /// comes from the address of a member. Never waits.
    pub(crate) fn is_by_a_peer(&self, headers: &HeaderMap, remote: IpAddr, shows_certificate: bool) -> bool {
        headers.contains_key(&protocol::HOP)
            && (shows_certificate || !self.allowed.is_open())
            && self.pool.has_address(remote)
    }

    /// What to do for a request that was admitted, or who is to do it. Never waits.
    pub(crate) fn step(&self, called: Called, request: Request<Body>, wakes: Wakes<'_>) -> Next {
        let mark = self.mark_for(request.headers());
        let lane = match called {
            Called::Health => return Next::Step(Step::Serve(mark.on(self.health()))),
            Called::Ready => return Next::Step(Step::Serve(mark.on(self.readiness()))),
            Called::Fetch(target)
                if matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_empty() =>
            {
                let (request, asker) = self.for_origin(request.map(drop), &target);
                let asked = target.clone();
                let step = self.caching.step(target, request, wakes);
                return Next::Step(step.map(move |answer| mark.on(asker.answered(answer, &asked))));
            }
            Called::Fetch(ref target) => Lane::Origin(target.origin()),
            Called::Purge { is_of_pool: true } => Lane::Peers,
            Called::Purge { .. } | Called::Why(_) | Called::Leaving => Lane::Own,
        };
        Next::Work(lane, called, request)
    }

    /// Answers one request; whatever goes wrong becomes a response.
    pub(crate) fn handle(&self, request: Request<Body>) -> Response<Body> {
        match self.admit(&request) {
            Ok(called) => self.answer(called, request),
            Err(refused) => *refused,
        }
    }

    /// Answers a request that was admitted.
    pub(crate) fn answer(&self, called: Called, request: Request<Body>) -> Response<Body> {
        let mark = self.mark_for(request.headers());
        let response = match called {
            Called::Health => self.health(),
            Called::Ready => self.readiness(),
            Called::Fetch(target) => self.fetch(&target, request),
            Called::Purge { .. } => self.purge_by_known(&request),
            Called::Why(target) => self.explain(&target, request),
            Called::Leaving => self.note_leaving(&request),
        };
        mark.on(response)
    }

    /// As [`handle`](Self::handle), on a server whose threads are few and do everything: no more of them wait for other
    /// peers, for one origin or for one client than leave room for others.
    pub(crate) fn handle_in_turn(
        &self,
        request: Request<Body>,
        shares: Option<&Shares>,
        client: impl FnOnce() -> Option<Client>,
    ) -> Response<Body> {
        let called = match self.admit(&request) {
            Ok(called) => called,
            Err(refused) => return *refused,
        };
        let mark = self.mark_for(request.headers());
        let response = match (called, shares) {
            (Called::Purge { is_of_pool: true }, _) => self.purge_in_turn(&request),
            (Called::Fetch(target), Some(shares)) => {
                match shares.try_enter(target.origin(), client()) {
                    None => self.without_origin(&target, request),
                    Some(share) => {
                        let response = self.fetch(&target, request);
                        if response.body().as_bytes().is_some() {
                            response
                        } else {
                            // Until the body has been read.
                            response.map(|body| body.read_through(|body| WithShare { body, _share: share }))
                        }
                    }
                }
            }
            (called, _) => return self.answer(called, request),
        };
        mark.on(response)
    }

    /// Answers with what is stored, stale or not.
    fn without_origin(&self, target: &CanonicalUrl, mut request: Request<Body>) -> Response<Body> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let stored_alone = HeaderValue::from_static("only-if-cached, max-stale");
            request.headers_mut().insert(CACHE_CONTROL, stored_alone);
            let response = self.fetch(target, request);
            if response.status() != StatusCode::GATEWAY_TIMEOUT {
                return response;
            }
        }
        let text = "too many requests wait for this origin, or for this client";
        failure(&Error::new(ErrorKind::Unavailable, text).with_retry_after(Duration::from_secs(1)))
    }

    /// Answers with what the URL names, or does to it what the method says.
    fn fetch(&self, target: &CanonicalUrl, mut request: Request<Body>) -> Response<Body> {
        if let Some(left) = forwards_left(&request) {
            request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
        }
        let (request, asker) = self.for_origin(request, target);
        asker.answered(self.caching.round_trip_to(target.clone(), request), target)
    }

    /// The request as it is meant for the origin, and what is to be known of whoever sent it.
    fn for_origin<T>(&self, request: Request<T>, target: &CanonicalUrl) -> (Request<T>, Asker) {
        let mut request = for_origin(request, target);
        let is_over_hop = protocol::is_over_hop(request.headers());
        if !is_over_hop {
            interim_for_another_host(&mut request, target);
        }
        let other_members = self.other_members(Hop::of(request.headers()));
        let (pass_cookies, is_leaving) = (self.allowed.pass_cookies, self.is_leaving());
        (request, Asker { is_over_hop, pass_cookies, other_members, is_leaving })
    }

    /// What somebody asks of this peer itself, known or not. The path of the cache goes first, if it is the same.
    fn about_itself<T>(&self, request: &Request<T>) -> Option<Called> {
        match request.uri().path() {
            path if path == self.paths.of(Endpoint::Proxy) => None,
            protocol::HEALTH_PATH => Some(Called::Health),
            protocol::READY_PATH => Some(Called::Ready),
            _ => None,
        }
    }

    /// Whether this peer should be sent requests, and why not, in one line. Never waits.
    pub(crate) fn readiness(&self) -> Response<Body> {
        let ledger = self.caching.store().ledger();
        let readiness = Readiness {
            is_leaving: self.is_leaving(),
            is_stopping: self.servers.are_stopping(),
            is_behind: self.servers.are_behind(Instant::now()),
            is_out_of_memory: ledger.is_some_and(|ledger| ledger.is_exhausted()),
        };
        match readiness.obstacle() {
            None => answer(TEXT, "ok\n".to_owned()),
            Some(reason) => refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable, reason),
        }
    }

    /// Whether this peer is there, and stays: the answer to whoever asks, known or not, says nothing else.
    pub(crate) fn health(&self) -> Response<Body> {
        if self.is_leaving() {
            let text = "this peer is about to end";
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable, text);
            protocol::announce_leaving(response.headers_mut());
            return response;
        }
        answer(TEXT, "ok\n".to_owned())
    }

    /// Takes note of another peer that is about to end.
    fn note_leaving(&self, request: &Request<Body>) -> Response<Body> {
        let url = query_value(request.uri().query(), protocol::QUERY).ok().flatten();
        let peer = url.and_then(|url| PeerUrl::parse(&url).ok());
        if peer.is_some_and(|peer| peer != *self.pool.own_url() && self.pool.is_left_by(&peer)) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        refusal(StatusCode::BAD_REQUEST, ErrorKind::BadPeer, "q names no other peer of this pool")
    }

    /// Says what the same request would come to under the other path.
    fn explain(&self, target: &CanonicalUrl, request: Request<Body>) -> Response<Body> {
        match self.caching.explain(&for_origin(request, target).map(drop)) {
            Ok(explanation) => {
                let mut response = answer(TEXT, explanation.to_string());
                // It shows fields of strangers.
                response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                response
            }
            Err(error) => {
                log_failure(&error, target);
                failure(&error)
            }
        }
    }

    /// What is asked for, or why it cannot be asked of this peer.
    fn target<T>(&self, request: &Request<T>) -> Result<CanonicalUrl, Box<Response<Body>>> {
        let target = target(request.uri().query())
            .map_err(|reason| refusal(StatusCode::BAD_REQUEST, ErrorKind::BadUrl, reason))?;
        if self.leads_back(request, &target) {
            let reason = "the URL leads back to this pool";
            return Err(refusal(StatusCode::LOOP_DETECTED, ErrorKind::Loop, reason).into());
        }
        // Also of what is stored: it may be there from before the rules, or from another who uses the store.
        let allowed = self.allowed.origins().may_ask(&target);
        allowed.map_err(|refused| refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, refused))?;
        Ok(target)
    }

    fn leads_back<T>(&self, request: &Request<T>, target: &CanonicalUrl) -> bool {
        let has_been_here = list::members_of(request.headers(), &VIA).any(|member| {
            let received_by = member.split(u8::is_ascii_whitespace).nth(1);
            received_by == Some(self.caching.pseudonym().as_bytes())
        });
        let is_own = self.own_addresses.are_named_by(target, self.pool.own_url());
        has_been_here || is_own || self.pool.is_peer(target)
    }
}

/// What a response depends on beside the request.
#[derive(Clone, Copy, Debug)]
struct Asker {
    is_over_hop: bool,
    pass_cookies: bool,
    /// The pool that this peer knows, where the other knows another.
    other_members: Option<PoolDigest>,
    is_leaving: bool,
}

impl Asker {
    /// The response of the cache as one of the peer, or what is said where there is none.
    fn answered(self, answer: Result<Response<Body>>, target: &CanonicalUrl) -> Response<Body> {
        let mut response = match answer {
            Ok(mut response) => {
                protocol::remove_failure(response.headers_mut());
                if !self.is_over_hop {
                    for_another_host(response.headers_mut(), target, self.pass_cookies);
                }
                if response.body().as_bytes().is_none() {
                    response.extensions_mut().insert(BodyOf(target.origin()));
                }
                response
            }
            Err(error) => {
                log_failure(&error, target);
                failure(&error)
            }
        };
        if let Some(own) = self.other_members {
            protocol::announce_members(response.headers_mut(), own);
        }
        if self.is_leaving {
            protocol::announce_leaving(response.headers_mut());
        }
        response
    }
}

/// The request as it is meant for the origin.
fn for_origin<T>(request: Request<T>, target: &CanonicalUrl) -> Request<T> {
    let (mut parts, body) = request.into_parts();
    hop_by_hop::remove(&mut parts.headers);
    parts.headers.remove(HOST);
    parts.uri = target.uri();
    Request::from_parts(parts, body)
}

/// How far an OPTIONS may still go; at zero, this is the last recipient (RFC 9110 section 7.6.2).
fn forwards_left<T>(request: &Request<T>) -> Option<u64> {
    if *request.method() != Method::OPTIONS {
        return None;
    }
    request.headers().get(MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()
}

fn last_recipient() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    response
}

/// A body that holds a share for as long as it is read.
struct WithShare {
    body: Body,
    _share: Share,
}

impl Read for WithShare {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

/// What is asked for, or one line that says why that is none.
fn target(query: Option<&str>) -> Result<CanonicalUrl, String> {
    // Most often the URL was not escaped, and what follows its first & would be lost.
    if query.is_some_and(|query| query.split('&').filter(|pair| !pair.is_empty()).count() > 1) {
        return Err("the query has more than q: the URL in it must be escaped".to_owned());
    }
    let url = query_value(query, protocol::QUERY)?;
    let url = url.ok_or("the query has no q: ask for ?q= and the escaped URL")?;
    if url.is_empty() {
        return Err("q is empty: it must hold the URL".to_owned());
    }
    CanonicalUrl::parse(&url).map_err(|bad| format!("q cannot be fetched: {bad}"))
}

fn log_failure(error: &Error, target: &CanonicalUrl) {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    warn!("{} {} {}{source}", error.kind(), redacted(target.as_str()), error.message());
}

#[cfg(test)]
mod tests;
