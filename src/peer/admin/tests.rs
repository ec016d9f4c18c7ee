use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
        assert_eq!(ask(&peer, "GET", path, None).0, 401);
        assert_eq!(ask(&peer, "GET", path, Some("another-token-of-it")).0, 401);
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
    assert_eq!(peer.cache().store().usage().keys, 0);
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

/// Sends a request with these header fields to the admin address. Returns the response.
fn send(
    peer: &Peer,
    request: http::request::Builder,
    fields: &[(&str, &str)],
    content: &str,
) -> Response<Body> {
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    peer.admin_handler()(request.body(Body::from(content.to_owned())).unwrap())
}

#[test]
fn token_is_accepted_in_authorization_as_bearer_and_as_password() {
    let peer = peer(Some("a-token-of-the-pool"));
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("operator:{password}")));
    for (value, status) in [
        ("Bearer a-token-of-the-pool".to_owned(), 200),
        ("Bearer another-token-of-it".to_owned(), 401),
        (basic("a-token-of-the-pool"), 200),
        (basic("another-token-of-it"), 401),
    ] {
        let response = send(&peer, Request::get("/metrics"), &[("authorization", &value)], "");
        assert_eq!(response.status(), status, "{value}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{value}");
    }
}

#[test]
fn status_is_a_page_for_browsers_and_json_for_programs() {
    let peer = peer(None);
    peer.get("http://a.example/").send().unwrap();
    let response = send(&peer, Request::get("/status"), &[("accept", "text/html,*/*")], "");
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        !policy.contains("unsafe") && !policy.contains("sandbox") && policy.contains("default-src 'none'")
    );
    let page = response.into_body().into_text().unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("0.0 %") && !page.contains("<script"),
        "{page}"
    );
    let (status, json) = ask(&peer, "GET", "/status.json", None);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["counts"]["miss"], &json["hit_ratio"]), (200, &1.into(), &0.0.into()));
    assert_eq!(json["peers"][0]["state"], "self");
    assert_eq!(ask(&peer, "GET", "/status.css", None).0, 200);
}

#[test]
fn form_purges_only_from_the_page_itself() {
    let peer = peer(None);
    peer.get("http://a.example/").send().unwrap();
    let form = "kind=q&url=http%3A%2F%2Fa.example%2F";
    let purge = |fields: &[(&str, &str)], form: &str| {
        let response = send(&peer, Request::post("/purge"), fields, form);
        (response.status().as_u16(), response.into_body().into_text().unwrap())
    };
    for foreign in [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example"), ("origin", "null")] {
        assert_eq!(purge(&[foreign, ("host", "127.0.0.1:3001")], form).0, 403, "{foreign:?}");
    }
    assert_eq!(peer.cache().store().usage().keys, 1);
    for bad in ["", "kind=q", "kind=all&url=x", "kind=q&url=ftp%3A%2F%2Fx%2F", "kind=prefix&url=%zz"] {
        assert_eq!(purge(&[], bad).0, 400, "{bad}");
    }
    let (status, page) = purge(&[("sec-fetch-site", "same-origin"), ("origin", "null")], form);
    assert!(status == 200 && page.contains("responses 1 "), "{page}");
    assert_eq!(peer.cache().store().usage().keys, 0);
}

#[test]
fn form_needs_a_credential_and_the_same_origin_with_a_token() {
    let peer = peer(Some("a-token-of-the-pool"));
    let token = ("authorization", "Bearer a-token-of-the-pool");
    let status = |fields: &[(&str, &str)]| {
        send(&peer, Request::post("/purge"), fields, "kind=q&url=http%3A%2F%2Fa.example%2F").status().as_u16()
    };
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&[token, ("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(status(&[token, ("sec-fetch-site", "same-origin")]), 200);
}

#[test]
fn why_form_explains_on_a_page() {
    let peer = peer(None);
    let (status, page) = ask(&peer, "GET", "/why?q=http%3A%2F%2Fa.example%2F%3Cb%3E", None);
    assert!(status == 200 && page.contains("uri-miss") && !page.contains("<b>"), "{page}");
    assert_eq!((ask(&peer, "GET", "/why", None).0, ask(&peer, "GET", "/why?q=nonsense", None).0), (400, 400));
}

#[test]
fn why_form_names_the_owner_of_a_url_of_another_peer() {
    let pool = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    let peer = Peer::builder(pool[0]).pool(pool).build().unwrap();
    let owned_by = |owner: &str| {
        let mut urls = (0..).map(|number| format!("http://a.example/{number}"));
        urls.find(|url| peer.client().owner(url).unwrap().unwrap().to_string() == owner).unwrap()
    };
    for (owner, is_named) in [(pool[0], false), (pool[1], true)] {
        let target = format!("/why?q={}", owned_by(owner).replace(':', "%3A").replace('/', "%2F"));
        let (status, page) = ask(&peer, "GET", &target, None);
        assert!(status == 200 && page.contains("owns this URL") == is_named, "{page}");
        assert_eq!(page.contains(owner), is_named, "{page}");
    }
}
