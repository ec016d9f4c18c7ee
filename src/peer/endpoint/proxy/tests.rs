use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::base::error::{Error, ErrorKind};
use crate::message::nonblocking::BodyOrigin;
use crate::message::purge::Purge;
use crate::message::round_trip::{Offline, RoundTrip, RoundTripFn};
use crate::peer::endpoint::Rights;
use crate::pool::peer_url::PeerUrl;
use crate::pool::purge::PeerPurged;
use crate::scheduler::Shares;
use crate::store::MemoryStore;

#[derive(Debug)]
struct TestPool(PeerUrl);

impl PoolView for TestPool {
    fn is_peer(&self, target: &CanonicalUrl) -> bool {
        target.authority() == "neighbour:3000"
    }

    fn is_own(&self, url: &str) -> bool {
        !url.starts_with("http://other.example/")
    }

    fn ask_owner(
        &self,
        target: &CanonicalUrl,
        request: Request<Body>,
        _: &dyn RoundTrip,
    ) -> crate::base::error::Result<Response<Body>> {
        let sent = format!("{} {target} {:?}", request.method(), request.headers());
        Ok(Response::builder()
            .header("location", "/next")
            .header("set-cookie", "a=b")
            .body(Body::from(sent))
            .unwrap())
    }

    fn has_socket(&self, _: std::net::SocketAddr) -> bool {
        false
    }

    fn has_address(&self, address: IpAddr) -> bool {
        address == IpAddr::from([10, 0, 0, 2])
    }

    fn digest(&self) -> PoolDigest {
        PoolDigest::of("ours")
    }

    fn own_url(&self) -> &PeerUrl {
        &self.0
    }

    fn note_leaving(&self, peer: &PeerUrl) -> bool {
        peer.as_str() == "http://neighbour:3000"
    }

    fn purge_previous_owners(&self, _: &Purge) {
        unreachable!("these tests purge nothing")
    }

    fn forget_after(&self, _: &Method, _: &CanonicalUrl, _: StatusCode, _: &HeaderMap) {}

    fn purge_near_cache(&self, _: &Purge) {
        unreachable!("these tests purge nothing")
    }

    fn is_alone(&self) -> bool {
        unreachable!("these tests purge nothing")
    }

    fn purge_others(&self, _: &Purge) -> Vec<PeerPurged> {
        unreachable!("these tests purge nothing")
    }
}

fn local() -> Sender {
    let address = "127.0.0.1:50000".parse().unwrap();
    Sender { address, shows_certificate: false, is_tls: false, is_http_proxy: true, is_behind_proxies: false }
}

fn test_pool() -> TestPool {
    TestPool(PeerUrl::parse("http://me.example:3000").unwrap())
}

fn proxy(origin: impl RoundTrip + 'static) -> Proxy {
    proxy_for(origin, "any")
}

fn proxy_for(origin: impl RoundTrip + 'static, origins: &str) -> Proxy {
    let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).pseudonym("me");
    let own = Arc::new(OwnAddresses::default());
    own.add("127.0.0.1:3000".parse().unwrap());
    let access = AccessRules::new(Rights::default(), origins.parse().unwrap());
    Proxy::new("/proxy".to_owned(), cache.build().unwrap(), own, Box::new(test_pool()), access)
}

fn ask(proxy: &Proxy, request: http::request::Builder) -> (u16, String) {
    let response = proxy.handle(request.body(Body::empty()).unwrap());
    let status = response.status().as_u16();
    assert!(status < 400 || response.headers()["cache-control"] == "no-store");
    (status, response.into_body().into_text().unwrap())
}

#[test]
fn invalid_request_gets_the_reason_in_one_line() {
    let proxy = proxy(Offline);
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
        ("/proxy?q=http%3A%2F%2Fh%2F", 502, "the network is disabled"),
    ] {
        let (found, text) = ask(&proxy, Request::get(uri));
        assert_eq!(found, status, "{uri:.60}: {text}");
        assert!(text.contains(words) && text.lines().count() == 1, "{uri:.60}: {text}");
    }
}

#[test]
fn all_methods_except_connect_and_trace_are_forwarded() {
    let proxy = proxy(RoundTripFn(|request: Request<Body>| {
        Ok(Response::new(Body::from(request.method().to_string())))
    }));
    let uri = "/proxy?q=http://h/";
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        assert_eq!(ask(&proxy, Request::builder().method(method).uri(uri)), (200, method.to_owned()));
    }
    for (method, uri) in [("CONNECT", uri), ("CONNECT", "h:443"), ("TRACE", uri), ("TRACE", "/")] {
        let response = proxy.handle(Request::builder().method(method).uri(uri).body(Body::empty()).unwrap());
        assert_eq!(response.status(), 405);
        assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
    }
}

#[test]
fn why_explains_without_a_request_to_the_origin() {
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
fn health_checks_need_no_token() {
    let tokens = Some(crate::base::token::Tokens::new(["correct-horse-battery"]).unwrap());
    let mut proxy = proxy(Offline);
    proxy.access = AccessRules::new(Rights { tokens, ..Rights::default() }, "any".parse().unwrap());
    assert_eq!(ask(&proxy, Request::get("/proxy?q=http://h/")).0, 407);
    for method in ["GET", "HEAD"] {
        let request = || Request::builder().method(method).uri("/healthz");
        assert_eq!(ask(&proxy, request()), (200, "ok\n".to_owned()));
        assert!(matches!(proxy.admit(&request().body(()).unwrap()), Ok(Action::Health)));
    }
    assert_eq!(ask(&proxy, Request::get("/readyz").header("host", "any")), (200, "ok\n".to_owned()));
    assert_eq!(ask(&proxy, Request::post("/healthz")).0, 405);
    assert_eq!(proxy.cache.stats().counts().unauthorized, 1);
    assert_eq!(ask(&proxy, Request::get("/healthz/")).0, 404);
}

#[test]
fn peer_is_not_ready_without_memory_or_while_its_servers_stop() {
    let servers = Servers::default();
    let proxy = proxy(Offline).with_servers(servers.clone());
    let ready = || ask(&proxy, Request::get("/readyz"));
    assert_eq!(ready(), (200, "ok\n".to_owned()));
    let ledger = proxy.cache.store().ledger().unwrap();
    let held = ledger.hold(crate::base::memory_limit::MemoryUse::Content, ledger.limit() + 1);
    let (status, text) = ready();
    assert!(status == 503 && text.contains("memory") && text.lines().count() == 1, "{text}");
    drop(held);
    assert_eq!(ready().0, 200);
    let pool = crate::scheduler::PoolOptions::default();
    let scheduler = Arc::new(crate::scheduler::Scheduler::new(&pool, &ledger, Box::new(|_| None)));
    servers.add(&scheduler, &Arc::default());
    assert_eq!(ready().0, 200);
    scheduler.stop();
    assert_eq!(ready(), (503, "the server of this peer is shutting down\n".to_owned()));
    assert_eq!(ask(&proxy, Request::get("/healthz")).0, 200, "it is alive but not ready");
}

#[test]
fn request_over_its_share_gets_a_stored_response_or_503() {
    let proxy = proxy(RoundTripFn(|_: Request<Body>| {
        Ok(Response::builder().header("cache-control", "max-age=0").body(Body::from("old")).unwrap())
    }));
    let shares = Shares::of(1);
    let ask = |method: &str, path: &str| {
        let uri = format!("/proxy?q=http%3A%2F%2Fh%2F{path}");
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let response = proxy.handle_with_shares(request, Some(&shares), || None);
        (response.status().as_u16(), response.into_body().into_text().unwrap())
    };
    let held = || shares.try_enter(CanonicalUrl::parse("http://other/").unwrap(), None).unwrap();
    assert_eq!(ask("GET", "a"), (200, "old".to_owned()));
    let share = held();
    assert_eq!(ask("GET", "a"), (200, "old".to_owned()), "the stale response is served");
    assert_eq!((ask("GET", "b").0, ask("POST", "a").0), (503, 503));
    drop(share);
    assert_eq!(ask("GET", "b").0, 200);
    drop(held());
}

#[test]
fn options_honours_max_forwards() {
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
fn own_pseudonym_in_via_is_a_loop() {
    let proxy = proxy(Offline);
    let request = Request::get("/proxy?q=http://h/").header("via", "1.1 other, 1.1 me");
    assert_eq!(ask(&proxy, request).0, 508);
    let request = Request::get("/proxy?q=http://h/").header("via", "1.1 other, 1.1 mean");
    assert_eq!(ask(&proxy, request).0, 502);
}

#[test]
fn streamed_body_carries_its_origin() {
    let proxy = proxy(RoundTripFn(|request: Request<Body>| {
        let is_whole = request.uri().path() == "/whole";
        let body = if is_whole { Body::from("a") } else { Body::from_reader(&b"a"[..], None) };
        Ok(Response::new(body))
    }));
    for (path, origin) in [("whole", None), ("growing", Some("http://h/"))] {
        let request = Request::post(format!("/proxy?q=http%3A%2F%2Fh%2F{path}"));
        let response = proxy.handle(request.body(Body::empty()).unwrap());
        let found = response.extensions().get().map(|BodyOrigin(origin)| origin.as_str());
        assert_eq!(found, origin);
    }
}

#[test]
fn failure_field_of_an_origin_is_removed() {
    let proxy = proxy(RoundTripFn(|_| {
        Ok(Response::builder().header("forwardcache-error", "timeout").body(Body::empty()).unwrap())
    }));
    let response = proxy.handle(Request::get("/proxy?q=http://h/").body(Body::empty()).unwrap());
    assert_eq!(protocol::failure(response.headers()), None);
}

#[test]
fn forbidden_origin_is_refused_without_a_request() {
    let proxy = proxy_for(Offline, "public,deny:*.bad.example");
    for url in ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "http://a.bad.example/"] {
        for path in ["/proxy", "/proxy/why"] {
            let uri = format!("{path}?q={}", crate::message::url::query_escape(url));
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
fn stored_response_of_a_forbidden_origin_is_not_served() {
    let origin = RoundTripFn(|_| {
        Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
    });
    let open = proxy(origin);
    let closed = Proxy::new(
        "/proxy".to_owned(),
        open.cache.clone(),
        Arc::default(),
        Box::new(test_pool()),
        AccessRules::new(Rights::default(), "any,deny:h".parse().unwrap()),
    );
    let target = "/proxy?q=http%3A%2F%2Fh%2F";
    assert_eq!(ask(&open, Request::get(target)), (200, "hello".to_owned()));
    let is_hit_with = |proxy: &Proxy, more: &[&str]| {
        let via = more.iter().map(|via| httparse::Header { name: "Via", value: via.as_bytes() });
        let host = httparse::Header { name: "Host", value: b"me.example:3000" };
        let fields: Vec<_> = [host].into_iter().chain(via).collect();
        let request = PlainRequest::new(target, &fields).unwrap();
        proxy.hit(&request, &local(), &mut Scratch::default()).is_some()
    };
    let is_hit = |proxy: &Proxy| is_hit_with(proxy, &[]);
    assert!(is_hit(&open) && !is_hit(&closed));
    assert!(is_hit_with(&open, &["1.1 other"]));
    assert!(!is_hit_with(&open, &["1.1 other, 1.1 me"]) && !is_hit_with(&open, &["1.1 a", "1.1 b"]));
    assert_eq!(ask(&closed, Request::get(target)).0, 403);
}

#[test]
fn peer_without_token_refuses_web_pages() {
    let open = proxy(RoundTripFn(|_: Request<Body>| Ok(Response::new(Body::from("hello")))));
    let request = || Request::get("/proxy?q=http://h/").header("host", "127.0.0.1:3000");
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 403), ("none", 200)] {
        assert_eq!(ask(&open, request().header("sec-fetch-site", site)).0, status, "{site}");
    }
    assert_eq!(ask(&open, Request::get("/proxy?q=http://h/").header("host", "evil.example:3000")).0, 421);
    for host in ["me.example:3000", "localhost"] {
        assert_eq!(ask(&open, Request::get("/proxy?q=http://h/").header("host", host)).0, 200);
    }
    for fields in [("origin", "http://evil.example"), ("origin", "null"), ("origin", "http://127.0.0.1:3000")]
    {
        for method in ["GET", "POST", "OPTIONS", "PURGE"] {
            let asked = Request::builder().method(method).uri("/proxy?q=http://h/");
            assert_eq!(ask(&open, asked.header(fields.0, fields.1)).0, 403, "{method} {fields:?}");
        }
    }
    // A page that this peer served could set the field of a hop, but not a field that starts with `sec-`.
    let own_page = || request().header("sec-fetch-site", "same-origin").header("forwardcache", "digest");
    assert_eq!(ask(&open, own_page()).0, 403);
    assert_eq!(ask(&open, own_page().header("sec-forwardcache", "1")).0, 200);
    let own = Arc::new(OwnAddresses::default());
    own.add("127.0.0.1:3000".parse().unwrap());
    let tokens = crate::base::token::Tokens::new(["a-token-of-the-pool"]).unwrap();
    let access =
        AccessRules::new(Rights { tokens: Some(tokens), ..Rights::default() }, "any".parse().unwrap());
    let guarded = Proxy::new("/proxy".to_owned(), open.cache.clone(), own, Box::new(test_pool()), access);
    let shown =
        Request::get("/proxy?q=http://h/").header("proxy-authorization", "Bearer a-token-of-the-pool");
    let shown = shown.header("host", "any.example").header("sec-fetch-site", "cross-site");
    assert_eq!(ask(&guarded, shown).0, 200, "a page cannot send a token");
}

#[test]
fn absolute_target_must_name_this_peer_and_replaces_host() {
    let open = proxy(RoundTripFn(|_: Request<Body>| Ok(Response::new(Body::from("hello")))));
    let mut guarded = proxy(RoundTripFn(|_: Request<Body>| Ok(Response::new(Body::from("hello")))));
    let tokens = Some(crate::base::token::Tokens::new(["a-token-of-the-pool"]).unwrap());
    guarded.access = AccessRules::new(Rights { tokens, ..Rights::default() }, "any".parse().unwrap());
    for (authority, host, status) in [
        ("http://me.example:3000", "me.example:3000", 200),
        ("http://ME.example:3000", "evil.example", 200),
        ("https://localhost", "evil.example", 200),
        ("http://[::ffff:127.0.0.1]", "", 200),
        ("http://evil.example", "me.example:3000", 421),
        ("http://me.example", "me.example:3000", 421),
        ("http://0.0.0.0:3000", "localhost", 421),
        ("http://user@localhost", "localhost", 421),
        ("ftp://localhost", "localhost", 421),
    ] {
        let request = |path: &str| {
            let request = Request::get(format!("{authority}{path}")).header("host", host);
            request.header("proxy-authorization", "Bearer a-token-of-the-pool")
        };
        for proxy in [&open, &guarded] {
            for path in ["/proxy?q=http://h/", "/healthz", "/readyz"] {
                assert_eq!(ask(proxy, request(path)).0, status, "{authority}{path}");
            }
        }
    }
    // A health check need not know the name of the peer.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&open, Request::get(path).header("host", "10.1.2.3:3000")).0, 200);
    }
}

#[test]
fn peer_without_token_sandboxes_responses_except_for_clients() {
    let origin = RoundTripFn(|_| {
        let response = Response::builder().header("cache-control", "max-age=60");
        Ok(response
            .header("content-security-policy", "default-src 'self'")
            .body(Body::from("hello"))
            .unwrap())
    });
    let mut proxy = proxy(origin);
    let policies = |proxy: &Proxy, request: http::request::Builder| {
        let response = proxy.handle(request.body(Body::empty()).unwrap());
        let nosniff = response.headers().get("x-content-type-options").is_some();
        let policies = response.headers().get_all("content-security-policy");
        let policies: Vec<_> = policies.into_iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        assert_eq!(nosniff, policies.contains(&"sandbox allow-downloads".to_owned()));
        policies
    };
    let get = |uri: &str| Request::get(uri.to_owned());
    for _ in 0..2 {
        assert_eq!(
            policies(&proxy, get("/proxy?q=http://h/")),
            ["default-src 'self'", "sandbox allow-downloads"]
        );
    }
    for uri in [
        "/proxy?q=",
        "/proxy/why?q=http://h/",
        "/nothing",
        "/healthz",
        "/readyz",
        "http://evil.example/proxy",
    ] {
        assert!(policies(&proxy, get(uri)).contains(&"sandbox allow-downloads".to_owned()), "{uri}");
    }
    let hop = get("/proxy?q=http://h/").header("forwardcache", "digest");
    assert_eq!(policies(&proxy, hop), ["default-src 'self'"], "a page cannot send it");
    let tokens = Some(crate::base::token::Tokens::new(["a-token-of-the-pool"]).unwrap());
    proxy.access = AccessRules::new(Rights { tokens, ..Rights::default() }, "any".parse().unwrap());
    let shown = get("/proxy?q=http://h/").header("proxy-authorization", "Bearer a-token-of-the-pool");
    assert_eq!(policies(&proxy, shown), ["default-src 'self'"]);
}

#[test]
fn peer_is_recognized_by_hop_credential_and_address() {
    let open = proxy(Offline);
    let tokens = crate::base::token::Tokens::new(["a-token-of-the-pool"]).unwrap();
    let access =
        AccessRules::new(Rights { tokens: Some(tokens), ..Rights::default() }, "any".parse().unwrap());
    let (cache, url) = (open.cache.clone(), "/proxy".to_owned());
    let guarded = Proxy::new(url, cache, Arc::default(), Box::new(test_pool()), access);
    let mut hop = HeaderMap::new();
    Hop::default().put(&mut hop);
    let (member, stranger) = ([10, 0, 0, 2].into(), [10, 0, 0, 3].into());
    assert!(guarded.is_from_peer(&hop, member, false) && open.is_from_peer(&hop, member, true));
    assert!(!open.is_from_peer(&hop, member, false), "any client can send the field");
    assert!(
        !guarded.is_from_peer(&HeaderMap::new(), member, true),
        "another program on the machine of a peer"
    );
    assert!(!guarded.is_from_peer(&hop, stranger, true), "a client with a token, but not a member");
}

#[test]
fn leaving_peer_announces_it_and_keeps_serving() {
    let proxy = proxy(RoundTripFn(|_: Request<Body>| Ok(Response::new(Body::from("hello")))));
    let get = |uri: &str| {
        let mut response = proxy.handle(Request::get(uri).body(Body::empty()).unwrap());
        (response.status().as_u16(), protocol::take_leaving(response.headers_mut()))
    };
    assert_eq!((get("/healthz"), get("/proxy?q=http://h/")), ((200, false), (200, false)));
    assert!(proxy.start_leaving() && !proxy.start_leaving());
    assert_eq!((get("/healthz"), get("/proxy?q=http://h/")), ((503, true), (200, true)));
    assert_eq!(get("/readyz"), (503, false));
}

#[test]
fn leaving_notice_is_accepted_only_for_other_members() {
    for (method, query, status) in [
        ("POST", "?q=http%3A%2F%2Fneighbour%3A3000", 204),
        ("POST", "?q=http%3A%2F%2Fstranger%3A3000", 400),
        ("POST", "?q=http%3A%2F%2Fme.example%3A3000", 400),
        ("POST", "", 400),
        ("GET", "?q=http%3A%2F%2Fneighbour%3A3000", 405),
    ] {
        let request = Request::builder().method(method).uri(format!("/proxy/leaving{query}"));
        let response = proxy(Offline).handle(request.body(Body::empty()).unwrap());
        assert_eq!(response.status(), status, "{method} {query}");
    }
}

#[test]
fn retry_after_is_rounded_up_to_seconds() {
    for (time, field) in [(0, "1"), (1, "1"), (2_000, "2"), (2_001, "3"), (299_999, "300")] {
        let proxy = proxy(RoundTripFn(move |_| {
            let error = Error::new(ErrorKind::OriginBusy, "the origin's limit is reached");
            Err(error.with_retry_after(Duration::from_millis(time)))
        }));
        let response = proxy.handle(Request::get("/proxy?q=http://h/").body(Body::empty()).unwrap());
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], field);
        assert_eq!(protocol::failure(response.headers()), Some(ErrorKind::OriginBusy));
    }
}

#[test]
fn client_with_another_pool_gets_the_response_and_the_digest() {
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
    assert_eq!(proxy.cache.stats().counts().ring_mismatches, 2);
}

#[test]
fn each_error_kind_has_a_status_and_a_detail() {
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

#[test]
fn forms_of_other_programs_reach_the_owner_and_stay_in_their_form() {
    let proxy = proxy(RoundTripFn(|request: Request<Body>| {
        let sent = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        Ok(Response::builder()
            .header("location", "/next")
            .header("set-cookie", "a=b")
            .body(Body::from(sent))
            .unwrap())
    }));
    let ask = |uri: &str, sender: Sender| {
        let request = Request::get(uri).header("host", "127.0.0.1:3000").header("forwardcache", "digest");
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(sender);
        proxy.handle(request)
    };
    for host in ["own.example", "other.example"] {
        let response = ask(&format!("/fetch/http://{host}/a?b=c"), local());
        assert_eq!(response.headers()["location"], format!("/fetch/http://{host}/next"));
        assert_eq!(response.headers()["content-security-policy"], "sandbox allow-downloads");
        assert!(
            !response.headers().contains_key("set-cookie")
                && !response.headers().contains_key("forwardcache-peer")
        );
        let sent = response.into_body().into_text().unwrap();
        assert!(sent.starts_with(&format!("GET http://{host}/a?b=c ")), "{sent}");
        assert!(
            sent.contains("via") && !sent.contains("forwardcache\":") && !sent.contains("3000"),
            "{sent}"
        );

        let response = ask(&format!("http://{host}/a?b=c"), local());
        assert_eq!(
            (&response.headers()["location"], &response.headers()["set-cookie"]),
            (&"/next".parse().unwrap(), &"a=b".parse().unwrap())
        );
        assert!(!response.headers().contains_key("content-security-policy"));
        assert!(response.into_body().into_text().unwrap().starts_with(&format!("GET http://{host}/a?b=c ")));
    }
    let foreign = Sender { address: "10.0.0.9:50000".parse().unwrap(), ..local() };
    let no_proxy = Sender { is_http_proxy: false, ..local() };
    for (uri, sender, status) in [
        ("/fetch/http://h.example/", foreign, 403),
        ("http://h.example/", foreign, 403),
        ("http://h.example/", no_proxy, 421),
        ("/fetch/http://127.0.0.1:3000/proxy?q=x", local(), 508),
        ("/fetch/http://neighbour:3000/proxy?q=x", local(), 508),
        ("http://neighbour:3000/proxy?q=x", local(), 508),
        ("http://127.0.0.1:3000/healthz", local(), 200),
        ("http://127.0.0.1:3001/healthz", local(), 200),
        ("http://me.example:3000/nothing", local(), 404),
        ("ftp://h.example/", local(), 400),
        ("/fetch/", local(), 400),
        ("/mirror/none/", local(), 400),
    ] {
        assert_eq!(ask(uri, sender).status(), status, "{uri}");
    }
}

#[test]
fn tunnel_leads_to_the_address_that_was_checked_although_the_name_moves() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use crate::origin::testing::{ScriptedLookup, resolving};
    use crate::peer::endpoint::Tunnels;
    use crate::server::{Server, ServerConfig};

    // The first address is allowed. The second one has the same port, and is not.
    let allowed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = allowed.local_addr().unwrap().port();
    let forbidden = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let lookup = ScriptedLookup::new(|name, number| {
        assert_eq!(name, "rebinding.example");
        Ok(vec![IpAddr::from([127, 0, 0, number.min(2)])])
    });
    let network = Some(resolving(lookup.clone()));
    let proxy = proxy_for(Offline, "any,deny:127.0.0.2").with_forwarding(Forwarding {
        tunnels: Tunnels { network, ports: vec![port] },
        ..Forwarding::default()
    });
    let server = Server::bind("127.0.0.1:0", ServerConfig::new().http_proxy(true), move |request| {
        proxy.handle(request)
    });
    let server = server.unwrap();
    let connect = || {
        let mut client = TcpStream::connect(server.local_addr()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let target = format!("rebinding.example:{port}");
        write!(client, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        (client, String::from_utf8(head).unwrap())
    };
    let (mut client, head) = connect();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // A ClientHello without extensions, so without a name.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 19, 1, 1, 0]);
    client.write_all(&hello).unwrap();
    let mut received = vec![0; hello.len()];
    allowed.accept().unwrap().0.read_exact(&mut received).unwrap();
    assert_eq!(received, hello);
    let (_, head) = connect();
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(lookup.count(), 2);
    forbidden.set_nonblocking(true).unwrap();
    assert!(forbidden.accept().is_err(), "nothing has connected to the forbidden address");
}
