//! Protection of a peer without a token against foreign web pages and requests meant for other servers.

use std::net::SocketAddr;

use forwardcache::Outcome;
use forwardcache::server::ServerConfig;

use crate::local::{LocalPeer, escaped, listen};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::raw::{self, Connection, Response};

fn origin() -> Origin {
    Origin::start(|received| {
        Reply::ok("hello").field("Cache-Control", "max-age=60").field("X-Was", &received.target)
    })
}

/// Sends a head and the empty line after it.
fn send_head(peer: SocketAddr, head: &str) -> Response {
    let mut connection = Connection::open(peer);
    connection.write(format!("{head}\r\n"));
    connection.read_response()
}

fn is_sandboxed(response: &Response) -> bool {
    let mut policies = response.headers.get_all("content-security-policy").into_iter();
    policies.any(|policy: &http::HeaderValue| policy.to_str().unwrap().starts_with("sandbox"))
        && response.field("x-content-type-options") == Some("nosniff")
}

#[test]
fn peer_without_token_accepts_only_local_hosts_and_its_own() {
    let (origin, peer) = (origin(), LocalPeer::start());
    let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
    assert_eq!(peer.get(&origin.url("/a")).status, 200);
    let port = peer.address().port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        ("127.0.0.1".to_owned(), 200),
        ("LOCALHOST:1".to_owned(), 200),
        ("[::1]".to_owned(), 200),
        ("[::ffff:127.0.0.1]".to_owned(), 200),
        ("0.0.0.0".to_owned(), 421),
        (format!("0.0.0.0:{port}"), 421),
        ("[::]".to_owned(), 421),
        ("[::ffff:0.0.0.0]".to_owned(), 421),
        ("10.0.0.1".to_owned(), 421),
        ("[::ffff:10.0.0.1]".to_owned(), 421),
        ("evil".to_owned(), 421),
        ("evil.example".to_owned(), 421),
        ("localhost.".to_owned(), 421),
        ("localhost.evil.example".to_owned(), 421),
        (String::new(), 421),
        ("localhost@evil.example".to_owned(), 400),
    ] {
        // With `max-stale`, the request is not answered by the event loop.
        for more in ["", "Cache-Control: max-stale=1\r\n"] {
            let response =
                send_head(peer.address(), &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}"));
            assert_eq!(response.status, status, "{host} {more}");
            assert!(is_sandboxed(&response), "{host} {more}");
        }
        for path in ["/healthz", "/readyz"] {
            let response = send_head(peer.address(), &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"));
            assert_eq!(response.status, if status == 400 { 400 } else { 200 }, "{host} {path}");
            assert!(is_sandboxed(&response));
        }
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn own_host_includes_the_port_of_the_own_url() {
    let listener = listen();
    let port = listener.local_addr().unwrap().port();
    let peer = forwardcache::Peer::builder("http://cache.example:3000").build().unwrap();
    let serving = peer.serve_on(listener, ServerConfig::new()).unwrap();
    for (host, status) in [
        ("cache.example:3000".to_owned(), 400),
        ("CACHE.example:3000".to_owned(), 400),
        (format!("cache.example:{port}"), 400),
        ("cache.example".to_owned(), 421),
        ("cache.example:3001".to_owned(), 421),
        ("cache.example.:3000".to_owned(), 421),
        ("user@cache.example:3000".to_owned(), 400),
    ] {
        let response = send_head(serving.local_addr(), &format!("GET /proxy HTTP/1.1\r\nHost: {host}\r\n"));
        assert_eq!(response.status, status, "{host}");
    }
}

#[test]
fn absolute_form_must_name_the_peer() {
    let (origin, peer) = (origin(), LocalPeer::start());
    let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
    for (authority, host, status) in [
        (format!("http://{}", peer.address()), "evil.example", 200),
        ("http://localhost".to_owned(), "localhost", 200),
        ("http://evil.example".to_owned(), "localhost", 421),
        ("http://0.0.0.0".to_owned(), "localhost", 421),
        ("http://user@localhost".to_owned(), "localhost", 400),
    ] {
        let response =
            send_head(peer.address(), &format!("GET {authority}{target} HTTP/1.1\r\nHost: {host}\r\n"));
        assert_eq!(response.status, status, "{authority}");
        let response =
            send_head(peer.address(), &format!("GET {authority}/healthz HTTP/1.1\r\nHost: {host}\r\n"));
        assert_eq!(response.status, status, "{authority}");
    }
}

#[test]
fn every_response_is_sandboxed() {
    let (origin, peer) =
        (origin(), LocalPeer::start_on(ServerConfig::new().max_connections_per_address(64), |b| b));
    let admin = peer.peer.serve_admin_on(listen(), ServerConfig::new().io_threads(1)).unwrap();
    let (address, host) = (peer.address(), "Host: localhost\r\n");
    let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
    let down = format!("/proxy?q={}", escaped("http://127.0.0.1:1/"));
    for (peer, head, status) in [
        (address, format!("GET {target} HTTP/1.1\r\n{host}"), 200),
        (address, format!("GET {target} HTTP/1.1\r\n{host}"), 200),
        (address, format!("GET {target} HTTP/1.1\r\n{host}Range: bytes=0-0\r\n"), 206),
        (address, format!("GET {target} HTTP/1.1\r\n{host}Cache-Control: no-store\r\n"), 200),
        (address, format!("POST {target} HTTP/1.1\r\n{host}"), 200),
        (address, format!("GET {down} HTTP/1.1\r\n{host}"), 502),
        (address, format!("GET /proxy HTTP/1.1\r\n{host}"), 400),
        (address, format!("GET {} HTTP/1.1\r\n{host}", target.replacen("proxy", "proxy/why", 1)), 200),
        (address, format!("PURGE {target} HTTP/1.1\r\n{host}"), 200),
        (address, format!("POST /proxy/leaving?q=x HTTP/1.1\r\n{host}"), 400),
        (address, format!("GET / HTTP/1.1\r\n{host}"), 404),
        (address, format!("TRACE / HTTP/1.1\r\n{host}"), 405),
        (address, format!("GET {target} HTTP/1.1\r\n{host}Sec-Fetch-Site: cross-site\r\n"), 403),
        (address, "GET / HTTP/1.1\r\n".to_owned(), 400),
        (address, format!("GET / HTTP/3.0\r\n{host}"), 505),
        (admin.local_addr(), format!("GET /metrics HTTP/1.1\r\n{host}"), 200),
        (admin.local_addr(), format!("GET /status HTTP/1.1\r\n{host}"), 200),
        (admin.local_addr(), format!("GET /healthz HTTP/1.1\r\n{host}"), 200),
        (admin.local_addr(), format!("PURGE /purge?all HTTP/1.1\r\n{host}"), 200),
        (admin.local_addr(), format!("PUT /purge?all HTTP/1.1\r\n{host}Content-Length: 0\r\n"), 405),
        (admin.local_addr(), format!("GET / HTTP/1.1\r\n{host}"), 404),
        (admin.local_addr(), "GET /status HTTP/1.1\r\nHost: 0.0.0.0\r\n".to_owned(), 421),
    ] {
        let response = send_head(peer, &format!("{head}Connection: close\r\n"));
        assert_eq!(response.status, status, "{head}");
        assert!(is_sandboxed(&response), "{head}: {:?}", response.headers);
    }
    crate::support::wait_until("the connections are not closed", || {
        let numbers = String::from_utf8(
            send_head(admin.local_addr(), &format!("GET /metrics HTTP/1.1\r\n{host}")).body,
        );
        numbers.unwrap().contains("forwardcache_connections_open 0\n")
    });
    let _held: Vec<_> = (0..64).map(|_| Connection::open(address)).collect();
    crate::support::wait_until("the connections are not counted", || {
        let numbers = String::from_utf8(
            send_head(admin.local_addr(), &format!("GET /metrics HTTP/1.1\r\n{host}")).body,
        );
        numbers.unwrap().contains("forwardcache_connections_open 64\n")
    });
    let response = Connection::open(address).read_response();
    assert!(response.status == 503 && is_sandboxed(&response));
}

#[test]
fn client_does_not_see_sandbox_fields() {
    let (origin, peer) = (origin(), LocalPeer::start());
    for _ in 0..2 {
        let response = peer.client().get(&origin.url("/a")).send().unwrap();
        assert!(response.headers().get("content-security-policy").is_none());
        assert!(response.headers().get("x-content-type-options").is_none());
    }
}

/// Requests that a page can send from a browser that does not support `Sec-Fetch-Site`.
#[test]
fn cross_origin_page_is_refused() {
    let (origin, peer) = (origin().may_be_unused(), LocalPeer::start());
    let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
    let host = format!("Host: {}\r\nOrigin: http://evil.example\r\n", peer.address());
    for head in [
        // A simple GET, a simple POST, a preflight and the request after it, a simple POST to an endpoint, a WebSocket
        // and an explanation.
        format!("GET {target} HTTP/1.1\r\n{host}"),
        format!("POST {target} HTTP/1.1\r\n{host}Content-Type: text/plain\r\nContent-Length: 0\r\n"),
        format!("OPTIONS {target} HTTP/1.1\r\n{host}Access-Control-Request-Method: PURGE\r\n"),
        format!("PURGE {target} HTTP/1.1\r\n{host}"),
        format!("POST /proxy/leaving?q=x HTTP/1.1\r\n{host}Content-Length: 0\r\n"),
        format!("GET {target} HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        format!("GET {} HTTP/1.1\r\n{host}", target.replacen("proxy", "proxy/why", 1)),
    ] {
        let response = send_head(peer.address(), &head);
        assert_eq!(response.status, 403, "{head}");
        assert!(response.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{head}");
    }
    assert_eq!(origin.count(), 0);
    // The response does not reveal whether the URL is stored.
    assert_eq!(peer.get(&origin.url("/a")).status, 200);
    let stored = send_head(peer.address(), &format!("GET {target} HTTP/1.1\r\n{host}"));
    let other = send_head(peer.address(), &format!("GET {target}b HTTP/1.1\r\n{host}"));
    assert_eq!((stored.status, stored.body), (other.status, other.body));
    assert_eq!((stored.status, Outcome::of(&stored.headers)), (403, None));
}

#[test]
fn peer_does_not_fetch_from_its_own_sockets() {
    let mut peer = PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]);
    let line = peer.process.wait_for_line("metrics on http://");
    let admin: SocketAddr = line.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    for port in [peer.address.port(), admin.port()] {
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let target = format!("/proxy?q={}", escaped(&format!("http://{host}:{port}/status")));
            let response = send_head(peer.address, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n"));
            assert_eq!(response.status, 508, "{host}:{port}");
        }
    }
    peer.process.terminate();
    assert!(peer.process.wait().success());
}

#[test]
fn underscore_variants_of_connection_fields_are_not_forwarded() {
    let (origin, peer) = (Origin::start(|_| Reply::ok("hello")), LocalPeer::start());
    let fields = "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nProxy_Authorization: x\r\nKeep_Alive: 1\r\n\
        Proxy_Connection: close\r\nX_Other: 1\r\n";
    for method in ["GET", "DELETE"] {
        assert_eq!(peer.send(method, &origin.url("/a"), fields).status, 200);
    }
    for received in origin.seen() {
        let names: Vec<_> =
            received.headers.keys().map(http::HeaderName::as_str).filter(|name| name.contains('_')).collect();
        assert_eq!(names, ["x_other"]);
    }
}

#[test]
fn invalid_head_is_rejected_before_its_end() {
    let peer =
        LocalPeer::start_on(ServerConfig::new().head_timeout(std::time::Duration::from_secs(3600)), |b| b);
    for (bytes, status) in [
        ("GET /\r\n", 400),
        ("GET / \r\n", 400),
        ("GET\r\n", 400),
        ("HELO evil.example\r\n", 400),
        ("GET / HTTP/2.0\r\n", 505),
        ("G\\T", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n", 400),
    ] {
        let mut connection = Connection::open(peer.address());
        connection.write(bytes);
        assert_eq!(connection.read_response().status, status, "{bytes:?}");
        assert!(connection.read_to_end().is_empty());
    }
    assert!(
        raw::exchange(peer.address(), "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .starts_with(b"HTTP/1.1 200")
    );
}
