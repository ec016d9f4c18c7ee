//! Failures and the errors that clients get for them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forwardcache::server::{Server, ServerConfig};
use forwardcache::store::StoreError;
use forwardcache::{Body, Error, ErrorKind, Outcome, RoundTrip};
use http::{Request, Response};

use crate::local::{self, LocalPeer, escaped, listen};
use crate::support::origin::{Origin, Reply};
use crate::support::port::Port;
use crate::support::raw;
use crate::support::store::CheckedStore;

/// Checks that a fetch fails: the peer responds with one line of text and error fields, and its client returns an
/// error of the same kind.
fn assert_fails(peer: &LocalPeer, url: &str, status: u16, kind: ErrorKind) {
    let answer = peer.get(url);
    assert_eq!(answer.status, status, "{url}: {answer:?}");
    assert_one_line(&answer);
    assert_eq!(answer.field("forwardcache-error"), Some(kind.name()), "{url}");
    assert_eq!(answer.field("cache-status"), Some(format!("forwardcache; detail={kind}").as_str()));
    assert_eq!(answer.field("cache-control"), Some("no-store"));

    let error = peer.client().get(url).send().unwrap_err();
    assert_eq!((error.kind(), error.peer()), (kind, Some(peer.url().as_str())), "{error}");
    assert!(url.starts_with(error.url().unwrap()), "{error}");
    assert_eq!(peer.peer.get(url).send().unwrap_err().kind(), kind);
    assert_eq!(peer.peer.cache().store().usage().keys, 0);
}

fn assert_one_line(answer: &raw::Response) -> &str {
    let text = std::str::from_utf8(&answer.body).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1 && text.len() > 1, "{text:?}");
    text
}

fn whole(response: Result<Response<Body>, Error>) -> Result<Vec<u8>, Error> {
    response.and_then(|response| response.into_body().into_bytes()).map(Vec::from)
}

#[test]
fn unknown_path_is_not_found() {
    let peer = LocalPeer::start();
    for target in ["/", "/proxy/", "/prox?q=http%3A%2F%2Fh%2F", "/favicon.ico"] {
        let answer = local::send(peer.address(), "GET", target, "");
        assert_eq!(answer.status, 404, "{target}");
        assert!(assert_one_line(&answer).contains("/proxy?q="));
    }
}

#[test]
fn connect_and_trace_are_not_allowed() {
    let peer = LocalPeer::start();
    for method in ["CONNECT", "TRACE"] {
        let answer = peer.send(method, "http://origin.invalid/", "");
        assert_eq!(answer.status, 405);
        let allowed: Vec<_> = answer.field("allow").unwrap().split(", ").collect();
        assert!(allowed.contains(&"GET") && allowed.contains(&"POST") && !allowed.contains(&method));
        assert_one_line(&answer);
    }
    for (method, target) in [("CONNECT", "origin.invalid:443"), ("TRACE", "/")] {
        assert_eq!(local::send(peer.address(), method, target, "").status, 405);
    }
}

#[test]
fn invalid_url_is_a_bad_request_with_a_reason() {
    let peer = LocalPeer::start();
    for (query, words) in [
        ("", "no q"),
        ("?p=1", "no q"),
        ("?q=", "empty"),
        ("?q", "empty"),
        ("?q=foo", "absolute"),
        ("?q=%2Fa%2Fb", "absolute"),
        ("?q=%2F%2Fhost%2F", "absolute"),
        ("?q=ftp%3A%2F%2Fhost%2F", "http or https"),
        ("?q=http%3A%2F%2Fuser%3Asecret%40host%2F", "user name"),
        ("?q=http%3A%2F%2Fhost%3A0%2F", "port"),
        ("?q=http%3A%2F%2F", "host"),
        ("?q=http%3A%2F%2Fhost%2F%zz", "escape"),
    ] {
        let answer = local::send(peer.address(), "GET", &format!("/proxy{query}"), "");
        assert_eq!(answer.status, 400, "{query:.60}");
        let line = assert_one_line(&answer);
        assert!(line.contains(words) && !line.contains("secret"), "{query:.60}: {line}");
        assert_eq!(answer.field("forwardcache-error"), Some("bad-url"));
    }
    let long = format!("/proxy?q={}", escaped(&format!("http://h/{}", "a".repeat(8 << 10))));
    let answer = local::send(peer.address(), "GET", &long, "");
    assert_eq!((answer.status, answer.field("forwardcache-error")), (414, Some("bad-request")));
    assert_eq!(peer.peer.stats().counts().origin_requests, 0);
}

#[test]
fn unreachable_origin_is_a_bad_gateway() {
    let peer = LocalPeer::start();
    let port = Port::hold();
    assert_fails(&peer, &format!("http://{}/a?b", port.address()), 502, ErrorKind::Unreachable);
    assert_fails(&peer, "http://name.invalid/", 502, ErrorKind::Unresolved);
}

#[test]
fn origin_that_closes_the_connection_is_a_bad_gateway() {
    for reply in [Reply::nothing(), Reply::nothing_by_reset()] {
        let origin = Origin::start(move |_| reply.clone());
        assert_fails(&LocalPeer::start(), &origin.url("/a"), 502, ErrorKind::Unreachable);
    }
}

#[test]
fn silent_origin_is_a_gateway_timeout() {
    let origin = Origin::start(|_| Reply::never());
    let short_timeout =
        forwardcache::Origin::builder().response_timeout(Duration::from_millis(20)).build().unwrap();
    let peer = LocalPeer::start_with(|builder| builder.origin(short_timeout));
    assert_fails(&peer, &origin.url("/a"), 504, ErrorKind::Timeout);
}

#[test]
fn invalid_http_response_is_a_bad_gateway() {
    for bytes in [
        "this is not HTTP\r\n\r\n",
        "HTTP/1.1 2OO OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nNo colon\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nBad name: 1\r\nContent-Length: 2\r\n\r\nok",
        // With two framings, two parsers would see different bodies.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let origin = Origin::start(move |_| Reply::raw(bytes));
        let answer = LocalPeer::start().get(&origin.url("/a"));
        assert_eq!(
            (answer.status, answer.field("forwardcache-error")),
            (502, Some("bad-response")),
            "{bytes}"
        );
        assert_fails(&LocalPeer::start(), &origin.url("/a"), 502, ErrorKind::BadResponse);
    }
}

#[test]
fn endless_response_head_is_abandoned() {
    const BLOCK: usize = 64 << 10;
    const BLOCKS: usize = (300 << 20) / BLOCK;
    let listener = listen();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let peer = LocalPeer::start();
    let flood = thread::spawn(move || flood(&listener, &[b'x'; BLOCK], BLOCKS));
    let answer = peer.get(&url);
    assert_eq!((answer.status, answer.field("forwardcache-error")), (502, Some("bad-response")));
    assert!(flood.join().unwrap() < BLOCKS, "the peer read the whole head");
}

/// Responds to one request with a field of up to `blocks` blocks. Returns the number of blocks sent.
fn flood(listener: &TcpListener, block: &[u8], blocks: usize) -> usize {
    let (mut socket, _) = listener.accept().unwrap();
    let asked = socket.read(&mut [0; 4096]).unwrap();
    assert!(asked > 0);
    socket.write_all(b"HTTP/1.1 200 OK\r\nX-Flood: ").unwrap();
    (0..blocks).take_while(|_| socket.write_all(block).is_ok()).count()
}

#[test]
fn truncated_body_is_detectable_and_not_stored() {
    for length in [1_000, 300_000] {
        let body = "x".repeat(length);
        let reply = || Reply::ok(body.clone()).field("Cache-Control", "max-age=60");
        let cuts = [
            reply().cut_after(length - 1),
            reply().cut_after(0),
            reply().reset_after(length / 2),
            reply().announcing(length as u64 + 1),
            reply().chunked().cut_after(length - 1),
            reply().chunked().cut_after(length),
            reply().chunked().reset_after(length / 2),
        ];
        for (number, cut) in cuts.into_iter().enumerate() {
            let case = format!("cut {number} of {length} bytes");
            let origin = Origin::replies([cut.clone(), cut.clone(), cut, reply()]);
            let peer = LocalPeer::start();
            let url = origin.url("/a");

            let error = whole(peer.client().get(&url).send()).expect_err(&case);
            assert!(
                matches!(error.kind(), ErrorKind::IncompleteBody | ErrorKind::BadResponse),
                "{case}: {error:?}"
            );
            let error = whole(peer.peer.get(&url).send()).expect_err(&case);
            assert_eq!(error.kind(), ErrorKind::IncompleteBody, "{case}: {error:?}");
            assert!(is_visibly_broken(&peer, &url), "{case}");
            assert_eq!(peer.peer.cache().store().usage().keys, 0, "{case}");

            let response = peer.client().get(&url).send().unwrap();
            assert!(matches!(Outcome::of(response.headers()), Some(Outcome::Miss(_))), "{case}");
            assert!(whole(Ok(response)).unwrap() == body.as_bytes(), "{case}");
            assert_eq!(Outcome::of(peer.client().get(&url).send().unwrap().headers()), Some(Outcome::Hit));
            assert_eq!(origin.count(), 4, "{case}");
        }
    }
}

#[test]
fn reset_is_not_the_end_of_an_until_close_body() {
    let origin = Origin::start(|received| {
        let whole = Reply::ok(vec![7; 1000]).until_close();
        if received.target == "/cut" { whole.reset_after(500) } else { whole }
    });
    let fetch = |path: &str| {
        let request = Request::get(origin.url(path)).body(Body::empty()).unwrap();
        whole(forwardcache::Origin::new().round_trip(request))
    };
    assert_eq!(fetch("/cut").unwrap_err().kind(), ErrorKind::IncompleteBody);
    assert_eq!(fetch("/whole").unwrap(), vec![7; 1000]);
}

/// Returns whether a client that follows RFC 9112 detects that the body is incomplete.
fn is_visibly_broken(peer: &LocalPeer, url: &str) -> bool {
    let mut connection = raw::Connection::open(peer.address());
    let target = format!("/proxy?q={}", escaped(url));
    connection.write(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let answer = String::from_utf8(connection.read_to_end()).unwrap().to_ascii_lowercase();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if head.contains("\r\ntransfer-encoding: chunked") {
        return !body.ends_with("\r\n0\r\n\r\n");
    }
    let length = head.split_once("\r\ncontent-length: ").unwrap().1.lines().next().unwrap();
    length.parse::<usize>().unwrap() > body.len() || head.starts_with("http/1.1 502")
}

#[test]
fn url_of_the_peer_itself_is_a_loop() {
    let pool = LocalPeer::pool(2);
    let (peer, other) = (&pool[0], &pool[1]);
    let port = peer.address().port();
    for url in [
        format!("http://127.0.0.1:{port}/proxy?q=http%3A%2F%2Forigin.invalid%2F"),
        format!("http://127.0.0.1:{port}/elsewhere"),
        format!("http://localhost:{port}/proxy?q=x"),
        format!("http://LocalHost:{port}/proxy?q=x"),
        format!("http://0.0.0.0:{port}/proxy?q=x"),
        format!("http://[::ffff:127.0.0.1]:{port}/proxy?q=x"),
        format!("{}/proxy?q=x", other.url()),
    ] {
        assert_loop(peer, &url);
    }
    assert_eq!(peer.peer.stats().counts().origin_requests, 0);
    assert_eq!(other.peer.stats().counts().origin_requests, 0);
}

fn assert_loop(peer: &LocalPeer, url: &str) {
    let answer = peer.get(url);
    assert_eq!((answer.status, answer.field("forwardcache-error")), (508, Some("loop")), "{url}");
    assert_one_line(&answer);
    let error = peer.client().get(url).send().unwrap_err();
    assert_eq!((error.kind(), error.peer()), (ErrorKind::Loop, Some(peer.url().as_str())));
}

#[test]
fn request_returning_through_a_gateway_is_a_loop() {
    let peer = LocalPeer::start();
    // A gateway whose origin is the peer itself, requested with the URL of the gateway.
    let address = peer.address();
    let gateway = Server::bind("127.0.0.1:0", ServerConfig::new(), move |request: Request<Body>| {
        let host = request.headers()["host"].to_str().unwrap();
        let back = format!("http://{address}/proxy?q={}", escaped(&format!("http://{host}/")));
        let mut onwards = Request::get(back).body(Body::empty()).unwrap();
        *onwards.headers_mut() = request.headers().clone();
        forwardcache::Origin::new().round_trip(onwards).unwrap()
    });
    let gateway = gateway.unwrap();
    let answer = peer.get(&format!("http://{}/", gateway.local_addr()));
    assert_eq!(answer.status, 508);
    // The response comes from the gateway, so the peer removes the error field that the inner response had.
    assert_eq!(answer.field("forwardcache-error"), None);
    assert_eq!(peer.peer.stats().counts().origin_requests, 1);
}

#[test]
fn store_failure_causes_a_fetch_and_is_counted() {
    let origin = Origin::start(|_| Reply::ok("hello").field("Cache-Control", "max-age=60"));
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    let store = CheckedStore::new(1 << 20, move |_| {
        if told.load(Ordering::SeqCst) { Err(StoreError::new("told to fail")) } else { Ok(()) }
    });
    let peer = LocalPeer::start_with(|builder| builder.store(store));
    let get = || {
        let answer = peer.get(&origin.url("/a"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
        answer.field("x-from-cache").is_some()
    };
    assert_eq!((get(), get(), origin.count()), (false, true, 1));
    assert_eq!(peer.peer.stats().counts().store_errors, 0);
    fails.store(true, Ordering::SeqCst);
    assert_eq!((get(), get(), origin.count()), (false, false, 3));
    assert!(peer.peer.stats().counts().store_errors >= 2);
    fails.store(false, Ordering::SeqCst);
    assert_eq!((get(), origin.count()), (true, 3));
}
