use super::*;
use crate::base::token::Tokens;
use crate::message::round_trip::RoundTripFn;

fn peer(tokens: Option<&str>) -> Peer {
    let builder = Peer::builder("http://10.0.0.1:3000").origin(RoundTripFn(|_: Request<Body>| {
        Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
    }));
    match tokens {
        Some(token) => builder.tokens(Tokens::new([token]).unwrap()).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

fn ask(peer: &Peer, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("proxy-authorization", format!("Bearer {token}"));
    }
    let response = peer.admin_handler()(request.body(Body::empty()).unwrap());
    assert_eq!(response.headers()["cache-control"], "no-store", "{method} {path}");
    (response.status().as_u16(), response.into_body().into_text().unwrap())
}

#[test]
fn metrics_and_status_contain_counters_and_no_urls() {
    let peer = peer(None);
    for _ in 0..3 {
        peer.get("http://secret.example/a?token=secret").send().unwrap();
    }
    let (status, metrics) = ask(&peer, "GET", "/metrics", None);
    assert_eq!(status, 200);
    for line in [
        "forwardcache_requests_total{outcome=\"hit\"} 2\n",
        "forwardcache_requests_total{outcome=\"miss\"} 1\n",
        "forwardcache_origin_requests_total 1\n",
        "forwardcache_cache_keys{tier=\"memory\"} 1\n",
        "forwardcache_pool_peers 1\n",
        "# TYPE forwardcache_requests_total counter\n",
        "forwardcache_worker_threads{state=\"fetching\"} 0\n",
        "forwardcache_fetches_rejected_total{reason=\"queue_full\"} 0\n",
        "forwardcache_connections_open 0\n",
        "forwardcache_connections_rejected_total{reason=\"too_many\"} 0\n",
        "forwardcache_requests_rejected_total{reason=\"no_memory\"} 0\n",
        "# TYPE forwardcache_tls_handshakes_total counter\n",
        "forwardcache_tls_handshakes_total{result=\"resumed\"} 0\n",
        "forwardcache_unauthorized_requests_total 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let (status, text) = ask(&peer, "GET", "/status", None);
    assert!(
        status == 200 && text.contains("self http://10.0.0.1:3000\n") && text.contains("hit 2\n"),
        "{text}"
    );
    assert!(!(metrics + &text).contains("secret"));
}

#[test]
fn near_cache_has_separate_metrics() {
    let pool = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
    let peer = Peer::builder(pool[0]).pool(pool).memory(1 << 20).build().unwrap();
    let (metrics, status) = (ask(&peer, "GET", "/metrics", None).1, ask(&peer, "GET", "/status", None).1);
    for line in [
        "forwardcache_near_cache_requests_total{outcome=\"hit\"} 0\n",
        "forwardcache_cache_capacity_bytes{tier=\"near\"} 65536\n",
        "forwardcache_cache_capacity_bytes{tier=\"memory\"} 983040\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert!(status.contains("near hits 0\nnear bytes ") && status.contains(" of 65536\n"), "{status}");
    assert!(!ask(&self::peer(None), "GET", "/metrics", None).1.contains("near"));
}

#[test]
fn only_health_checks_need_no_token() {
    let peer = peer(Some("a-token-of-the-pool"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&peer, "GET", path, None), (200, "ok\n".to_owned()));
    }
    for path in ["/metrics", "/status"] {
        assert_eq!(ask(&peer, "GET", path, None).0, 407);
        assert_eq!(ask(&peer, "GET", path, Some("another-token-of-it")).0, 407);
        assert_eq!(ask(&peer, "GET", path, Some("a-token-of-the-pool")).0, 200);
    }
    let metrics = ask(&peer, "GET", "/metrics", Some("a-token-of-the-pool")).1;
    assert!(metrics.contains("forwardcache_unauthorized_requests_total 4\n"), "{metrics}");
}

#[test]
fn purge_removes_stored_responses() {
    let peer = peer(None);
    peer.get("http://a.example/").send().unwrap();
    assert_eq!(ask(&peer, "GET", "/purge?all", None).0, 405);
    assert_eq!(ask(&peer, "PURGE", "/purge", None).0, 400);
    let (status, text) = ask(&peer, "PURGE", "/purge?q=http%3A%2F%2Fa.example%2F", None);
    assert!(status == 200 && text.contains("responses 1 "), "{text}");
    assert_eq!(peer.caching().store().usage().keys, 0);
}

#[test]
fn admin_address_refuses_web_pages() {
    let peer = peer(None);
    for (name, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "none", 200),
        ("host", "evil.example:3001", 421),
        ("host", "0.0.0.0:3001", 421),
        ("origin", "http://evil.example", 403),
        ("host", "127.0.0.1:3001", 200),
    ] {
        let request = Request::get("/status").header(name, value).body(Body::empty()).unwrap();
        assert_eq!(peer.admin_handler()(request).status(), status, "{name}: {value}");
    }
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let peer = peer(None);
    assert_eq!(ask(&peer, "GET", "/", None).0, 404);
    assert_eq!(ask(&peer, "GET", "/proxy?q=http%3A%2F%2Fa%2F", None).0, 404);
    assert_eq!(ask(&peer, "POST", "/metrics", None).0, 405);
    assert_eq!(ask(&peer, "HEAD", "/healthz", None).0, 200);
    assert_eq!((ask(&peer, "HEAD", "/readyz", None).0, ask(&peer, "POST", "/readyz", None).0), (200, 405));
}
