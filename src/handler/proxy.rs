//! `/proxy?q=<URL>`, and below it `/proxy/why?q=<URL>`, which says what the former would do, and `/proxy/lease?q=<URL>`,
//! which lends of the budget of an origin.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, MAX_FORWARDS, VIA, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use log::warn;

use super::allowed::Allowed;
use super::own_addresses::OwnAddresses;
use super::refusal::{
    ALLOWED, ALLOWED_FOR_LEASE, ALLOWED_FOR_WHY, failure, method_not_allowed, refusal, unauthorized,
};
use crate::access::Asked;
use crate::at_once::{AtOnce, PlainRequest, Wakes};
use crate::body::Body;
use crate::caching::Caching;
use crate::error::{Error, ErrorKind, Result, redacted};
use crate::header::{hop_by_hop, list};
use crate::polite::Polite;
use crate::protocol;
use crate::store::StoredResponse;
use crate::target::{Target, query_value, unescape};

/// Answers requests for this peer's share, and for any other: a peer that is asked answers, and never
/// sends a request on to another peer, so that peers who disagree on the ring cost a miss and no loop.
#[derive(Debug)]
pub(crate) struct Proxy {
    path: String,
    why_path: String,
    lease_path: String,
    /// How the target of a request begins that says nothing but what is asked for.
    plain_prefix: String,
    caching: Caching,
    polite: Polite,
    own_addresses: Arc<OwnAddresses>,
    /// Whether a URL names a member of the pool, for which a peer is no origin.
    is_peer: Box<dyn IsPeer>,
    allowed: Allowed,
}

/// Says whether a URL names a peer of the pool. Cheap, and never blocks.
pub(crate) trait IsPeer: std::fmt::Debug + Send + Sync {
    fn is_peer(&self, target: &Target) -> bool;
}

impl Proxy {
    pub(crate) fn new(
        path: String,
        caching: Caching,
        polite: Polite,
        own_addresses: Arc<OwnAddresses>,
        is_peer: Box<dyn IsPeer>,
        allowed: Allowed,
    ) -> Self {
        let (why_path, lease_path) = (protocol::why_path(&path), protocol::lease_path(&path));
        let plain_prefix = format!("{path}?{}=", protocol::QUERY);
        Self { path, why_path, lease_path, plain_prefix, caching, polite, own_addresses, is_peer, allowed }
    }

    /// Who may ask, and for what.
    pub(crate) fn allowed(&self) -> &Allowed {
        &self.allowed
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
        if value.contains('&') || !self.allowed.knows_plainly(request) {
            return None;
        }
        unescape(value, url).ok()?;
        let url = std::str::from_utf8(url).ok()?;
        // What is not spelled as a `Target` is not found either, so that what is judged here is what is found.
        if !self.allowed.may_be_asked(&Asked::of_canonical(url)?) {
            return None;
        }
        // What leads back to the pool was never fetched, and so is not stored.
        self.caching.hit(url, request, lines)
    }

    /// Whether [`at_once`](Self::at_once) knows what to do with a request that has no content.
    pub(crate) fn is_for_at_once(&self, request: &Request<()>) -> bool {
        request.uri().path() == self.path && matches!(*request.method(), Method::GET | Method::HEAD)
    }

    /// Answers such a request, or says what has to be waited for. Never waits.
    pub(crate) fn at_once(&self, request: Request<()>, wakes: Wakes<'_>) -> AtOnce<Response<Body>> {
        if !self.allowed.knows(request.headers()) {
            return AtOnce::Answer(unauthorized());
        }
        let target = match self.target(&request) {
            Ok(target) => target,
            Err((status, kind, reason)) => return AtOnce::Answer(refusal(status, kind, reason)),
        };
        let request = for_origin(request, &target);
        let asked = target.clone();
        self.caching.at_once(target, request, wakes).map(move |answer| answered(answer, &asked))
    }

    /// Answers one request; whatever goes wrong becomes a response.
    pub(crate) fn handle(&self, mut request: Request<Body>) -> Response<Body> {
        // Before the path: the target of a CONNECT has none.
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return method_not_allowed(ALLOWED);
        }
        let is_about_why = request.uri().path() == self.why_path;
        let is_about_lease = request.uri().path() == self.lease_path;
        if !is_about_why && !is_about_lease && request.uri().path() != self.path {
            let text = format!("nothing is here: this peer answers {}?q=URL", self.path);
            return refusal(StatusCode::NOT_FOUND, ErrorKind::BadPeer, text);
        }
        if !self.allowed.knows(request.headers()) {
            return unauthorized();
        }
        if is_about_why {
            return self.explain(request);
        }
        if is_about_lease {
            return self.lend(request);
        }
        if let Some(last) = max_forwards(&mut request) {
            return last;
        }
        let target = match self.target(&request) {
            Ok(target) => target,
            Err((status, kind, reason)) => return refusal(status, kind, reason),
        };
        let request = for_origin(request, &target);
        answered(self.caching.round_trip_to(target.clone(), request), &target)
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
                let mut response = Response::new(Body::from(explanation.to_string()));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                // It shows fields of strangers.
                headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
        let target = match self.target(&request) {
            Ok(target) => target,
            Err((status, kind, reason)) => return refusal(status, kind, reason),
        };
        match self.polite.lend(&target, request.into_body()) {
            Ok(text) => {
                let mut response = Response::new(Body::from(text));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
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
        has_been_here || self.own_addresses.are_named_by(target) || self.is_peer.is_peer(target)
    }
}

/// The response of the cache as one of the peer, or what is said where there is none.
fn answered(answer: Result<Response<Body>>, target: &Target) -> Response<Body> {
    match answer {
        Ok(mut response) => {
            protocol::remove_failure(response.headers_mut());
            response
        }
        Err(error) => {
            log_failure(&error, target);
            failure(&error)
        }
    }
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
    struct Neighbour;

    impl IsPeer for Neighbour {
        fn is_peer(&self, target: &Target) -> bool {
            target.authority() == "neighbour:3000"
        }
    }

    fn proxy(origin: impl RoundTrip + 'static) -> Proxy {
        proxy_for(origin, "any")
    }

    fn proxy_for(origin: impl RoundTrip + 'static, origins: &str) -> Proxy {
        let caching = Caching::builder().origin(origin).store(MemoryStore::new(1 << 20)).pseudonym("me");
        let own = Arc::new(OwnAddresses::default());
        own.add("127.0.0.1:3000".parse().unwrap());
        let allowed = Allowed::new(None, origins.parse().unwrap());
        let polite = Polite::new(Nowhere, Politeness::new()).unwrap();
        Proxy::new("/proxy".to_owned(), caching.build().unwrap(), polite, own, Box::new(Neighbour), allowed)
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
        for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
            let request = Request::builder().method(method).uri("/proxy/why?q=http://h/");
            let response = proxy.handle(request.body(Body::empty()).unwrap());
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &"GET".parse().unwrap())
            );
        }
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
            Box::new(Neighbour),
            Allowed::new(None, "any,deny:h".parse().unwrap()),
        );
        let target = "/proxy?q=http%3A%2F%2Fh%2F";
        assert_eq!(ask(&open, Request::get(target)), (200, "hello".to_owned()));
        let is_hit = |proxy: &Proxy| {
            let fields = [httparse::Header { name: "Host", value: b"me" }];
            let request = PlainRequest::new(target, &fields).unwrap();
            proxy.hit(&request, &mut Vec::new(), &mut String::new()).is_some()
        };
        assert!(is_hit(&open) && !is_hit(&closed));
        assert_eq!(ask(&closed, Request::get(target)).0, 403);
    }

    #[test]
    fn it_is_said_when_it_is_worth_asking_again() {
        for (time, field) in [(0, "1"), (1, "1"), (2_000, "2"), (2_001, "3"), (299_999, "300")] {
            let proxy = proxy(RoundTripFn(move |_| {
                let error = Error::new(ErrorKind::Unavailable, "the origin's limit is reached");
                Err(error.with_retry_after(std::time::Duration::from_millis(time)))
            }));
            let response = proxy.handle(Request::get("/proxy?q=http://h/").body(Body::empty()).unwrap());
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()["retry-after"], field);
            assert_eq!(protocol::failure(response.headers()), Some(ErrorKind::Unavailable));
        }
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
