//! `/proxy?q=<URL>`, and below it `/proxy/why?q=<URL>`, which says what the former would do, and `/proxy/lease?q=<URL>`,
//! which lends of the budget of an origin; `/healthz` says that it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{ALLOW, HOST, MAX_FORWARDS, VIA, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use log::warn;

use super::allowed::Allowed;
use super::own_addresses::OwnAddresses;
use super::purging::Coordinating;
use super::refusal::{
    ALLOWED, ALLOWED_FOR_HEALTH, ALLOWED_FOR_LEASE, ALLOWED_FOR_LEAVING, ALLOWED_FOR_WHY, failure,
    method_not_allowed, refusal, unauthorized,
};
use crate::access::Asked;
use crate::at_once::{Lane, PlainField, PlainRequest, Step, Wakes};
use crate::body::Body;
use crate::caching::Caching;
use crate::error::{Error, ErrorKind, Result, redacted};
use crate::header::{hop_by_hop, list};
use crate::peer_url::PeerUrl;
use crate::polite::Polite;
use crate::protocol::{self, Endpoint, Hop, Paths, PoolDigest, Scope, TEXT, answer};
use crate::purge::{PeerPurged, Purge};
use crate::store::StoredResponse;
use crate::target::{Target, query_value, unescape};

/// Answers requests for this peer's share, and for any other: a peer that is asked answers, and never
/// sends a request on to another peer, so that peers who disagree on the ring cost a miss and no loop.
#[derive(Debug)]
pub(crate) struct Proxy {
    paths: Paths,
    /// How the target of a request begins that says nothing but what is asked for.
    plain_prefix: String,
    pub(super) caching: Caching,
    polite: Polite,
    pub(super) own_addresses: Arc<OwnAddresses>,
    pub(super) pool: Box<dyn PoolView>,
    pub(super) allowed: Allowed,
    pub(super) coordinating: Coordinating,
    /// Whether this peer is about to end.
    is_leaving: AtomicBool,
}

/// The pool, as a member sees it.
pub(crate) trait PoolView: std::fmt::Debug + Send + Sync {
    /// Whether a URL names a peer of the pool, for which a peer is no origin. Cheap, and never blocks.
    fn is_peer(&self, target: &Target) -> bool;

    /// What tells it from a pool of others. Cheap, and never blocks.
    fn digest(&self) -> PoolDigest;

    /// The peer's own URL.
    fn own_url(&self) -> &PeerUrl;

    /// Takes note that another peer is about to end; says whether it is one of the pool. Cheap, and never blocks.
    fn is_left_by(&self, peer: &PeerUrl) -> bool;

    /// Asks former owners for nothing any more. Cheap, and never blocks.
    fn forget_former(&self);

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
        caching: Caching,
        polite: Polite,
        own_addresses: Arc<OwnAddresses>,
        pool: Box<dyn PoolView>,
        allowed: Allowed,
    ) -> Self {
        let plain_prefix = format!("{path}?{}=", protocol::QUERY);
        Self {
            paths: Paths::under(path),
            plain_prefix,
            caching,
            polite,
            own_addresses,
            pool,
            allowed,
            coordinating: Coordinating::new(),
            is_leaving: AtomicBool::new(false),
        }
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

    /// Whether whoever sent these fields may ask.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        self.allowed.knows(headers)
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
            || !self.allowed.knows_plainly(request)
            || !self.is_called_plainly(request)
        {
            return None;
        }
        unescape(value, url).ok()?;
        let url = std::str::from_utf8(url).ok()?;
        // What is not spelled as a `Target` is not found either, so that what is judged here is what is found.
        if !self.allowed.may_be_asked(&Asked::of_canonical(url)?) {
            return None;
        }
        let hop = match request.field(protocol::HOP.as_str()) {
            PlainField::Absent => None,
            PlainField::Once(field) => Some(Hop::parse(field)),
            PlainField::Repeated => return None,
        };
        let (is_over_hop, hop) = (hop.is_some(), hop.unwrap_or_default());
        // What leads back to the pool was never fetched, and so is not stored.
        let stored = self.caching.hit(url, request, hop, lines)?;
        if is_over_hop {
            protocol::write_peer(lines);
        }
        if let Some(own) = self.other_members(hop) {
            protocol::write_members(lines, own);
        }
        Some(stored)
    }

    /// The pool that this peer knows, where whoever asks knows another.
    fn other_members(&self, hop: Hop) -> Option<PoolDigest> {
        let asked_with = hop.members?;
        let own = self.pool.digest();
        (own != asked_with).then(|| {
            self.caching.stats().count_disagreement();
            own
        })
    }

    /// Whether a plain request was meant for here.
    fn is_called_plainly(&self, request: &PlainRequest<'_>) -> bool {
        !self.allowed.are_none_known()
            || matches!(request.field("host"), PlainField::Once(host) if self.own_addresses.may_be_called(host, self.pool.own_url().authority()))
    }

    /// Why a request is none that was meant for here.
    fn misled<T>(&self, request: &Request<T>) -> Option<&'static str> {
        if !self.allowed.are_none_known() {
            return None;
        }
        if self.allowed.is_by_a_page(request.headers()) {
            return Some("this peer has no token, and so answers no page of the web");
        }
        let host = request.headers().get(HOST);
        let is_other = host.is_some_and(|host| {
            !self.own_addresses.may_be_called(host.as_bytes(), self.pool.own_url().authority())
        });
        is_other.then_some("this peer has no token, and so answers those alone who call it by its own name")
    }

    /// Whether [`step`](Self::step) knows what to do with a request.
    pub(crate) fn is_for_step(&self, request: &Request<Body>) -> bool {
        let path = request.uri().path();
        (path == self.paths.of(Endpoint::Proxy) || path == protocol::HEALTH_PATH)
            && matches!(*request.method(), Method::GET | Method::HEAD)
            && request.body().is_empty()
    }

    /// What another request waits for.
    pub(crate) fn lane<T>(&self, request: &Request<T>) -> Lane {
        if request.uri().path() != self.paths.of(Endpoint::Proxy) {
            return Lane::Own;
        }
        if protocol::is_purge(request.method()) {
            return match Scope::of(request.headers()) {
                Some(Scope::Pool) if !self.pool.is_alone() => Lane::Peers,
                _ => Lane::Own,
            };
        }
        target(request.uri().query()).map_or(Lane::Own, |target| Lane::Origin(target.origin()))
    }

    /// What to do for such a request. Never waits.
    pub(crate) fn step(&self, request: Request<()>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        let is_over_hop = protocol::is_over_hop(request.headers());
        self.unmarked_step(request, wakes).map(move |response| marked(response, is_over_hop))
    }

    fn unmarked_step(&self, request: Request<()>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        if self.is_about_health(&request) {
            return Step::Serve(self.health());
        }
        if let Some(refused) = self.turned_away(&request) {
            return Step::Serve(refused);
        }
        let target = match self.target(&request) {
            Ok(target) => target,
            Err((status, kind, reason)) => return Step::Serve(refusal(status, kind, reason)),
        };
        let request = for_origin(request, &target);
        let (asked, other) = (target.clone(), self.other_members(Hop::of(request.headers())));
        let is_leaving = self.is_leaving();
        self.caching
            .step(target, request, wakes)
            .map(move |answer| answered(answer, &asked, other, is_leaving))
    }

    /// Answers one request; whatever goes wrong becomes a response.
    pub(crate) fn handle(&self, request: Request<Body>) -> Response<Body> {
        let is_over_hop = protocol::is_over_hop(request.headers());
        marked(self.unmarked(request), is_over_hop)
    }

    fn unmarked(&self, request: Request<Body>) -> Response<Body> {
        // Before the path: the target of a CONNECT has none.
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return method_not_allowed(ALLOWED);
        }
        if self.is_about_health(&request) {
            return match *request.method() {
                Method::GET | Method::HEAD => self.health(),
                _ => method_not_allowed(ALLOWED_FOR_HEALTH),
            };
        }
        let Some(endpoint) = self.paths.endpoint(request.uri().path()) else {
            let text = format!("nothing is here: this peer answers {}?q=URL", self.paths.of(Endpoint::Proxy));
            return refusal(StatusCode::NOT_FOUND, ErrorKind::BadPeer, text);
        };
        if let Some(refused) = self.turned_away(&request) {
            return refused;
        }
        match endpoint {
            Endpoint::Proxy => self.proxy(request),
            Endpoint::Why => self.explain(request),
            Endpoint::Leaving => self.note_leaving(&request),
            Endpoint::Lease => self.lend(request),
        }
    }

    /// What is said to whoever is not known, or did not mean to ask here.
    fn turned_away<T>(&self, request: &Request<T>) -> Option<Response<Body>> {
        if !self.allowed.knows(request.headers()) {
            return Some(unauthorized());
        }
        let reason = self.misled(request)?;
        Some(refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, reason))
    }

    /// Answers with what the URL names, or does to it what the method says.
    fn proxy(&self, mut request: Request<Body>) -> Response<Body> {
        if protocol::is_purge(request.method()) {
            return self.purge(&request);
        }
        if let Some(last) = max_forwards(&mut request) {
            return last;
        }
        let target = match self.target(&request) {
            Ok(target) => target,
            Err((status, kind, reason)) => return refusal(status, kind, reason),
        };
        let request = for_origin(request, &target);
        let other = self.other_members(Hop::of(request.headers()));
        answered(self.caching.round_trip_to(target.clone(), request), &target, other, self.is_leaving())
    }

    /// Whether somebody asks if this peer is there. Its own path goes first, if that is the same.
    fn is_about_health<T>(&self, request: &Request<T>) -> bool {
        let path = request.uri().path();
        path == protocol::HEALTH_PATH && path != self.paths.of(Endpoint::Proxy)
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
        if *request.method() != Method::POST {
            return method_not_allowed(ALLOWED_FOR_LEAVING);
        }
        // Whoever could say so of others could take them from this peer.
        if !self.may_purge() {
            let text = "who may say so was not said: give this peer a token";
            return refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, text);
        }
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
    fn explain(&self, request: Request<Body>) -> Response<Body> {
        if *request.method() != Method::GET {
            return method_not_allowed(ALLOWED_FOR_WHY);
        }
        let target = match self.target(&request) {
            Ok(target) => target,
            Err((status, kind, reason)) => return refusal(status, kind, reason),
        };
        match self.caching.explain(&for_origin(request, &target).map(drop)) {
            Ok(explanation) => {
                let mut response = answer(TEXT, explanation.to_string());
                // It shows fields of strangers.
                response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                response
            }
            Err(error) => {
                log_failure(&error, &target);
                failure(&error)
            }
        }
    }

    /// Lends another peer a part of what the pool may ask of an origin.
    fn lend(&self, request: Request<Body>) -> Response<Body> {
        if *request.method() != Method::POST {
            return method_not_allowed(ALLOWED_FOR_LEASE);
        }
        // Whoever could borrow in the name of others could keep an origin from all.
        if !self.may_purge() {
            let text = "who may borrow was not said: give this peer a token";
            return refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, text);
        }
        let target = match self.target(&request) {
            Ok(target) => target,
            Err((status, kind, reason)) => return refusal(status, kind, reason),
        };
        match self.polite.lend(&target, request.into_body()) {
            Ok(text) => answer(TEXT, text),
            Err(error) if error.kind() == ErrorKind::BadPeer => {
                refusal(StatusCode::NOT_FOUND, error.kind(), error.message())
            }
            Err(error) => failure(&error),
        }
    }

    /// What is asked for, or why it cannot be asked of this peer.
    fn target<T>(&self, request: &Request<T>) -> Result<Target, (StatusCode, ErrorKind, String)> {
        let target = target(request.uri().query())
            .map_err(|reason| (StatusCode::BAD_REQUEST, ErrorKind::BadUrl, reason))?;
        if self.leads_back(request, &target) {
            let reason = "the URL leads back to this pool".to_owned();
            return Err((StatusCode::LOOP_DETECTED, ErrorKind::Loop, reason));
        }
        // Also of what is stored: it may be there from before the rules, or from another who uses the store.
        self.allowed
            .origins()
            .may_ask(&target)
            .map_err(|refused| (StatusCode::FORBIDDEN, ErrorKind::Forbidden, refused.to_string()))?;
        Ok(target)
    }

    fn leads_back<T>(&self, request: &Request<T>, target: &Target) -> bool {
        let has_been_here = list::members_of(request.headers(), &VIA).any(|member| {
            let received_by = member.split(u8::is_ascii_whitespace).nth(1);
            received_by == Some(self.caching.pseudonym().as_bytes())
        });
        has_been_here || self.own_addresses.are_named_by(target) || self.pool.is_peer(target)
    }
}

/// The response, which says to a client of the pool that a peer answers.
fn marked(mut response: Response<Body>, is_over_hop: bool) -> Response<Body> {
    if is_over_hop {
        protocol::mark_peer(response.headers_mut());
    }
    response
}

/// The response of the cache as one of the peer, or what is said where there is none.
fn answered(
    answer: Result<Response<Body>>,
    target: &Target,
    other_members: Option<PoolDigest>,
    is_leaving: bool,
) -> Response<Body> {
    let mut response = match answer {
        Ok(mut response) => {
            protocol::remove_failure(response.headers_mut());
            response
        }
        Err(error) => {
            log_failure(&error, target);
            failure(&error)
        }
    };
    if let Some(own) = other_members {
        protocol::announce_members(response.headers_mut(), own);
    }
    if is_leaving {
        protocol::announce_leaving(response.headers_mut());
    }
    response
}

/// The request as it is meant for the origin.
fn for_origin<T>(request: Request<T>, target: &Target) -> Request<T> {
    let (mut parts, body) = request.into_parts();
    hop_by_hop::remove(&mut parts.headers);
    parts.headers.remove(HOST);
    parts.uri = target.uri();
    Request::from_parts(parts, body)
}

/// Counts down how far an OPTIONS may still go; at zero, this is the last recipient (RFC 9110 section
/// 7.6.2).
fn max_forwards(request: &mut Request<Body>) -> Option<Response<Body>> {
    if *request.method() != Method::OPTIONS {
        return None;
    }
    let left: u64 = request.headers().get(MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()?;
    let Some(left) = left.checked_sub(1) else {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
        return Some(response);
    };
    request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(left));
    None
}

/// What is asked for, or one line that says why that is none.
fn target(query: Option<&str>) -> Result<Target, String> {
    // Most often the URL was not escaped, and what follows its first & would be lost.
    if query.is_some_and(|query| query.split('&').filter(|pair| !pair.is_empty()).count() > 1) {
        return Err("the query has more than q: the URL in it must be escaped".to_owned());
    }
    let url = query_value(query, protocol::QUERY).map_err(|bad| bad.to_string())?;
    let url = url.ok_or("the query has no q: ask for ?q= and the escaped URL")?;
    if url.is_empty() {
        return Err("q is empty: it must hold the URL".to_owned());
    }
    Target::parse(&url).map_err(|bad| format!("q cannot be fetched: {bad}"))
}

fn log_failure(error: &Error, target: &Target) {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    warn!("{} {} {}{source}", error.kind(), redacted(target.as_str()), error.message());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::polite::Politeness;
    use crate::round_trip::{Nowhere, RoundTrip, RoundTripFn};
    use crate::store::MemoryStore;

    #[derive(Debug)]
    struct Neighbour(PeerUrl);

    impl PoolView for Neighbour {
        fn is_peer(&self, target: &Target) -> bool {
            target.authority() == "neighbour:3000"
        }

        fn digest(&self) -> PoolDigest {
            PoolDigest::of("ours")
        }

        fn own_url(&self) -> &PeerUrl {
            &self.0
        }

        fn is_left_by(&self, peer: &PeerUrl) -> bool {
            peer.as_str() == "http://neighbour:3000"
        }

        fn forget_former(&self) {
            unreachable!("nothing is purged here")
        }

        fn forget_near(&self, _: &Purge) {
            unreachable!("nothing is purged here")
        }

        fn is_alone(&self) -> bool {
            unreachable!("nothing is purged here")
        }

        fn purge_others(&self, _: &Purge) -> Vec<PeerPurged> {
            unreachable!("nothing is purged here")
        }
    }

    fn neighbour() -> Neighbour {
        Neighbour(PeerUrl::parse("http://me.example:3000").unwrap())
    }

    fn proxy(origin: impl RoundTrip + 'static) -> Proxy {
        proxy_for(origin, "any")
    }

    fn proxy_for(origin: impl RoundTrip + 'static, origins: &str) -> Proxy {
        let caching = Caching::builder().origin(origin).store(MemoryStore::new(1 << 20)).pseudonym("me");
        let own = Arc::new(OwnAddresses::default());
        own.add("127.0.0.1:3000".parse().unwrap());
        let allowed = Allowed::new(None, origins.parse().unwrap(), false);
        let polite = Polite::new(Nowhere, Politeness::new()).unwrap();
        Proxy::new("/proxy".to_owned(), caching.build().unwrap(), polite, own, Box::new(neighbour()), allowed)
    }

    fn ask(proxy: &Proxy, request: http::request::Builder) -> (u16, String) {
        let response = proxy.handle(request.body(Body::empty()).unwrap());
        let status = response.status().as_u16();
        assert!(status < 400 || response.headers()["cache-control"] == "no-store");
        (status, response.into_body().into_text().unwrap())
    }

    #[test]
    fn bad_requests_are_told_what_is_bad() {
        let proxy = proxy(Nowhere);
        let long = format!("/proxy?q=http://h/{}", "a".repeat(8192));
        for (uri, status, words) in [
            ("/", 404, "/proxy"),
            ("/proxy/", 404, "/proxy"),
            ("/other?q=http://h/", 404, "/proxy"),
            ("/why?q=http://h/", 404, "/proxy"),
            ("/proxy/why/?q=http://h/", 404, "/proxy"),
            ("/proxy/why", 400, "no q"),
            ("/proxy/why?q=foo", 400, "absolute"),
            ("/proxy/why?q=http%3A%2F%2Fuser%3Apass%40h%2F", 400, "user name"),
            ("/proxy/why?q=http%3A%2F%2F127.0.0.1%3A3000%2Fproxy%3Fq%3Dx", 508, "leads back"),
            ("/proxy/why?q=http%3A%2F%2Fneighbour%3A3000%2F", 508, "leads back"),
            ("/proxy", 400, "no q"),
            ("/proxy?p=http://h/", 400, "no q"),
            ("/proxy?q=", 400, "empty"),
            ("/proxy?q=foo", 400, "absolute"),
            ("/proxy?q=http://h/?a=1&b=2", 400, "escaped"),
            ("/proxy?q=/a/b", 400, "absolute"),
            ("/proxy?q=ftp%3A%2F%2Fh%2F", 400, "http"),
            ("/proxy?q=http%3A%2F%2Fuser%3Apass%40h%2F", 400, "user name"),
            ("/proxy?q=http%3A%2F%2Fh%2F%zz", 400, "q"),
            (long.as_str(), 400, "8 KiB"),
            ("/proxy?q=http%3A%2F%2F127.0.0.1%3A3000%2Fproxy%3Fq%3Dx", 508, "leads back"),
            ("/proxy?q=http%3A%2F%2Fneighbour%3A3000%2F", 508, "leads back"),
            ("/proxy?q=http%3A%2F%2Fh%2F", 502, "no network"),
        ] {
            let (found, text) = ask(&proxy, Request::get(uri));
            assert_eq!(found, status, "{uri:.60}: {text}");
            assert!(text.contains(words) && text.lines().count() == 1, "{uri:.60}: {text}");
        }
    }

    #[test]
    fn methods() {
        let proxy = proxy(RoundTripFn(|request: Request<Body>| {
            Ok(Response::new(Body::from(request.method().to_string())))
        }));
        let uri = "/proxy?q=http://h/";
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
            assert_eq!(ask(&proxy, Request::builder().method(method).uri(uri)), (200, method.to_owned()));
        }
        for (method, uri) in [("CONNECT", uri), ("CONNECT", "h:443"), ("TRACE", uri), ("TRACE", "/")] {
            let response =
                proxy.handle(Request::builder().method(method).uri(uri).body(Body::empty()).unwrap());
            assert_eq!(response.status(), 405);
            assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
        }
    }

    #[test]
    fn why_says_what_would_happen_and_asks_nobody() {
        let proxy = proxy(RoundTripFn(|request: Request<Body>| {
            assert_eq!(request.uri(), "http://h/");
            let response = Response::builder().header("cache-control", "max-age=60");
            Ok(response.header("vary", "accept-language").body(Body::from("hello")).unwrap())
        }));
        let why = || Request::get("/proxy/why?q=http://h/").header("accept-language", "de");
        let (status, text) = ask(&proxy, why());
        assert!(status == 200 && text.contains("verdict   forward (uri-miss)"), "{text}");
        ask(&proxy, Request::get("/proxy?q=http://h/").header("accept-language", "de"));
        let response = proxy.handle(why().body(Body::empty()).unwrap());
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-type", "text/plain; charset=utf-8"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        let text = response.into_body().into_text().unwrap();
        assert!(text.contains("verdict   hit: answered from the store with 200\n"), "{text}");
        assert!(text.contains("vary    accept-language: de\n"), "{text}");
        for (name, value, verdict) in [
            ("accept-language", "fr", "forward (vary-miss)"),
            ("cache-control", "no-cache", "forward (request)"),
            ("authorization", "Basic secret", "forward (uri-miss)"),
        ] {
            let mut request = why().body(Body::empty()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_static(value));
            let text = proxy.handle(request).into_body().into_text().unwrap();
            assert!(text.contains(verdict) && !text.contains("secret"), "{name}: {text}");
        }
        let request = why().header("via", "1.1 me");
        assert_eq!(ask(&proxy, request).0, 508);
        for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "PURGE"] {
            let request = Request::builder().method(method).uri("/proxy/why?q=http://h/");
            let response = proxy.handle(request.body(Body::empty()).unwrap());
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &"GET".parse().unwrap())
            );
        }
    }

    #[test]
    fn whoever_asks_hears_that_it_is_there() {
        let tokens = Some(crate::token::Tokens::new(["correct-horse-battery"]).unwrap());
        let mut proxy = proxy(Nowhere);
        proxy.allowed = Allowed::new(tokens, "any".parse().unwrap(), false);
        assert_eq!(ask(&proxy, Request::get("/proxy?q=http://h/")).0, 407);
        for method in ["GET", "HEAD"] {
            let request = || Request::builder().method(method).uri("/healthz");
            assert_eq!(ask(&proxy, request()), (200, "ok\n".to_owned()));
            assert!(proxy.is_for_step(&request().body(Body::empty()).unwrap()));
        }
        assert_eq!(ask(&proxy, Request::post("/healthz")).0, 405);
        assert_eq!(ask(&proxy, Request::get("/healthz/")).0, 404);
    }

    #[test]
    fn options_go_as_far_as_they_may() {
        let proxy = proxy(RoundTripFn(|request: Request<Body>| {
            let left = request.headers().get("max-forwards").map(|left| left.to_str().unwrap().to_owned());
            Ok(Response::new(Body::from(left.unwrap_or_default())))
        }));
        for (left, answer) in [("0", ""), ("5", "4"), ("many", "many")] {
            let request = Request::options("/proxy?q=http://h/").header("max-forwards", left);
            assert_eq!(ask(&proxy, request), (200, answer.to_owned()), "{left}");
        }
    }

    #[test]
    fn a_request_that_was_here_before_is_a_loop() {
        let proxy = proxy(Nowhere);
        let request = Request::get("/proxy?q=http://h/").header("via", "1.1 other, 1.1 me");
        assert_eq!(ask(&proxy, request).0, 508);
        let request = Request::get("/proxy?q=http://h/").header("via", "1.1 other, 1.1 mean");
        assert_eq!(ask(&proxy, request).0, 502);
    }

    #[test]
    fn an_origin_cannot_fail_in_the_peers_name() {
        let proxy = proxy(RoundTripFn(|_| {
            Ok(Response::builder().header("forwardcache-error", "timeout").body(Body::empty()).unwrap())
        }));
        let response = proxy.handle(Request::get("/proxy?q=http://h/").body(Body::empty()).unwrap());
        assert_eq!(protocol::failure(response.headers()), None);
    }

    #[test]
    fn an_origin_that_is_forbidden_is_refused_before_anybody_is_asked() {
        let proxy = proxy_for(Nowhere, "public,deny:*.bad.example");
        for url in ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "http://a.bad.example/"]
        {
            for path in ["/proxy", "/proxy/why"] {
                let uri = format!("{path}?q={}", crate::target::query_escape(url));
                let response = proxy.handle(Request::get(uri).body(Body::empty()).unwrap());
                assert_eq!(response.status(), 403, "{path} {url}");
                assert_eq!(protocol::failure(response.headers()), Some(ErrorKind::Forbidden));
                assert_eq!(response.headers()["cache-status"], "forwardcache; detail=forbidden");
                let text = response.into_body().into_text().unwrap();
                assert!(text.lines().count() == 1 && !text.contains("bad.example"), "{text}");
            }
        }
        assert_eq!(ask(&proxy, Request::get("/proxy?q=http://good.example/")).0, 502);
    }

    #[test]
    fn what_is_stored_of_an_origin_that_is_forbidden_is_not_served() {
        let origin = RoundTripFn(|_| {
            Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
        });
        let open = proxy(origin);
        let closed = Proxy::new(
            "/proxy".to_owned(),
            open.caching.clone(),
            open.polite.clone(),
            Arc::default(),
            Box::new(neighbour()),
            Allowed::new(None, "any,deny:h".parse().unwrap(), false),
        );
        let target = "/proxy?q=http%3A%2F%2Fh%2F";
        assert_eq!(ask(&open, Request::get(target)), (200, "hello".to_owned()));
        let is_hit = |proxy: &Proxy| {
            let fields = [httparse::Header { name: "Host", value: b"me.example" }];
            let request = PlainRequest::new(target, &fields).unwrap();
            proxy.hit(&request, &mut Vec::new(), &mut String::new()).is_some()
        };
        assert!(is_hit(&open) && !is_hit(&closed));
        assert_eq!(ask(&closed, Request::get(target)).0, 403);
    }

    #[test]
    fn a_page_of_the_web_is_not_answered_where_anybody_may_ask() {
        let open = proxy(RoundTripFn(|_: Request<Body>| Ok(Response::new(Body::from("hello")))));
        let request = || Request::get("/proxy?q=http://h/").header("host", "127.0.0.1:3000");
        for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 403), ("none", 200)] {
            assert_eq!(ask(&open, request().header("sec-fetch-site", site)).0, status, "{site}");
        }
        assert_eq!(ask(&open, Request::get("/proxy?q=http://h/").header("host", "evil.example:3000")).0, 403);
        for host in ["me.example:3000", "localhost"] {
            assert_eq!(ask(&open, Request::get("/proxy?q=http://h/").header("host", host)).0, 200);
        }
        // A page of this very peer could set what is no field of browsers; a program says more.
        let own_page = || request().header("sec-fetch-site", "same-origin").header("forwardcache", "digest");
        assert_eq!(ask(&open, own_page()).0, 403);
        assert_eq!(ask(&open, own_page().header("sec-forwardcache", "1")).0, 200);
        let own = Arc::new(OwnAddresses::default());
        own.add("127.0.0.1:3000".parse().unwrap());
        let tokens = crate::token::Tokens::new(["a-token-of-the-pool"]).unwrap();
        let allowed = Allowed::new(Some(tokens), "any".parse().unwrap(), false);
        let guarded = Proxy::new(
            "/proxy".to_owned(),
            open.caching.clone(),
            open.polite.clone(),
            own,
            Box::new(neighbour()),
            allowed,
        );
        let shown =
            Request::get("/proxy?q=http://h/").header("proxy-authorization", "Bearer a-token-of-the-pool");
        let shown = shown.header("host", "any.example").header("sec-fetch-site", "cross-site");
        assert_eq!(ask(&guarded, shown).0, 200, "no page can show a token");
    }

    #[test]
    fn a_peer_that_is_about_to_end_says_so_and_answers() {
        let proxy = proxy(RoundTripFn(|_: Request<Body>| Ok(Response::new(Body::from("hello")))));
        let get = |uri: &str| {
            let mut response = proxy.handle(Request::get(uri).body(Body::empty()).unwrap());
            (response.status().as_u16(), protocol::take_leaving(response.headers_mut()))
        };
        assert_eq!((get("/healthz"), get("/proxy?q=http://h/")), ((200, false), (200, false)));
        assert!(proxy.begins_to_leave() && !proxy.begins_to_leave());
        assert_eq!((get("/healthz"), get("/proxy?q=http://h/")), ((503, true), (200, true)));
    }

    #[test]
    fn another_peer_that_is_about_to_end_is_taken_note_of() {
        for (method, query, status) in [
            ("POST", "?q=http%3A%2F%2Fneighbour%3A3000", 204),
            ("POST", "?q=http%3A%2F%2Fstranger%3A3000", 400),
            ("POST", "?q=http%3A%2F%2Fme.example%3A3000", 400),
            ("POST", "", 400),
            ("GET", "?q=http%3A%2F%2Fneighbour%3A3000", 405),
        ] {
            let request = Request::builder().method(method).uri(format!("/proxy/leaving{query}"));
            let response = proxy(Nowhere).handle(request.body(Body::empty()).unwrap());
            assert_eq!(response.status(), status, "{method} {query}");
        }
    }

    #[test]
    fn it_is_said_when_it_is_worth_asking_again() {
        for (time, field) in [(0, "1"), (1, "1"), (2_000, "2"), (2_001, "3"), (299_999, "300")] {
            let proxy = proxy(RoundTripFn(move |_| {
                let error = Error::new(ErrorKind::OriginBusy, "the origin's limit is reached");
                Err(error.with_retry_after(std::time::Duration::from_millis(time)))
            }));
            let response = proxy.handle(Request::get("/proxy?q=http://h/").body(Body::empty()).unwrap());
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()["retry-after"], field);
            assert_eq!(protocol::failure(response.headers()), Some(ErrorKind::OriginBusy));
        }
    }

    #[test]
    fn who_knows_another_pool_is_answered_and_told() {
        let proxy = proxy(RoundTripFn(|request: Request<Body>| {
            assert!(!request.headers().contains_key(&protocol::HOP));
            Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
        }));
        let told = |members: Option<PoolDigest>| {
            let mut request = Request::get("/proxy?q=http://h/").body(Body::empty()).unwrap();
            Hop { members, ..Hop::default() }.put(request.headers_mut());
            let mut response = proxy.handle(request);
            assert_eq!(response.status(), 200);
            protocol::take_members(response.headers_mut())
        };
        let (ours, theirs) = (PoolDigest::of("ours"), PoolDigest::of("theirs"));
        for _ in 0..2 {
            assert_eq!((told(None), told(Some(ours)), told(Some(theirs))), (None, None, Some(ours)));
        }
        assert_eq!(proxy.caching.stats().counts().disagreements, 2);
    }

    #[test]
    fn failures_are_told_apart() {
        for (kind, status) in [
            (ErrorKind::Timeout, 504),
            (ErrorKind::Unresolved, 502),
            (ErrorKind::Unreachable, 502),
            (ErrorKind::BadResponse, 502),
            (ErrorKind::Forbidden, 403),
        ] {
            let proxy = proxy(RoundTripFn(move |_| Err(Error::new(kind, "broken"))));
            let request = Request::get("/proxy?q=http://h/").body(Body::empty()).unwrap();
            let response = proxy.handle(request);
            assert_eq!(response.status(), status);
            assert_eq!(protocol::failure(response.headers()), Some(kind));
            let said = response.headers()["cache-status"].to_str().unwrap().to_owned();
            assert_eq!(said, format!("forwardcache; detail={kind}"));
        }
    }
}
