//! Concurrent requests for one URL: the number of requests to its origin, and independence from slow clients.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forwardcache::server::ServerConfig;

use crate::local::LocalPeer;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::raw::Connection;

/// Opens connections and sends the same request on each. Returns when the peer has read all of them.
fn send_requests(
    peer: &LocalPeer,
    url: &str,
    fields: impl Fn(usize) -> String,
    count: usize,
) -> Vec<Connection> {
    let target = crate::local::escaped(url);
    let asked = (0..count).map(|number| {
        let mut connection = Connection::open(peer.address());
        let fields = fields(number);
        connection.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        connection
    });
    let asked = asked.collect();
    assert_eq!(crate::local::send(peer.address(), "GET", "/healthz", "").status, 200);
    asked
}

fn no_fields(_: usize) -> String {
    String::new()
}

#[test]
fn invalid_response_is_not_refetched_for_each_waiting_request() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |_| Reply::raw("garbage\r\n\r\n").gate_head(&gate))
    };
    let peer = LocalPeer::start();
    let mut connections = send_requests(&peer, &origin.url("/"), no_fields, 30);
    origin.wait_for(1);
    let started = Instant::now();
    gate.open();
    for connection in &mut connections {
        assert_eq!(connection.read_response().status, 502);
    }
    assert!(origin.count() <= 3, "{}", origin.count());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn no_cache_requests_validate_concurrently() {
    const AT_ONCE: usize = 20;
    let gate = Gate::new();
    let origin = {
        let (gate, first) = (gate.clone(), AtomicUsize::new(0));
        Origin::start(move |received: &Received| {
            let reply = Reply::ok("checked").field("Cache-Control", "no-cache").field("ETag", "\"a\"");
            match first.fetch_add(1, Ordering::SeqCst) {
                0 => reply,
                _ if received.field("if-none-match") == Some("\"a\"") => Reply::status(304)
                    .field("Cache-Control", "no-cache")
                    .field("ETag", "\"a\"")
                    .gate_head(&gate),
                _ => reply.gate_head(&gate),
            }
        })
    };
    let peer = LocalPeer::start_on(ServerConfig::new().workers(64), |builder| builder);
    assert_eq!(peer.get(&origin.url("/")).body, b"checked");
    let mut connections = send_requests(&peer, &origin.url("/"), no_fields, AT_ONCE);
    // The origin answers none of them before it has received all of them.
    origin.wait_for(1 + AT_ONCE);
    gate.open();
    for connection in &mut connections {
        assert_eq!(connection.read_response().body, b"checked");
    }
    assert_eq!(origin.count(), 1 + AT_ONCE);
}

#[test]
fn concurrent_variants_are_fetched_about_once_each() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received: &Received| {
            let language = received.field("accept-language").unwrap().to_owned();
            Reply::ok(language)
                .field("Cache-Control", "max-age=60")
                .field("Vary", "Accept-Language")
                .gate_head(&gate)
        })
    };
    let peer = LocalPeer::start();
    let language = |number: usize| if number.is_multiple_of(2) { "de" } else { "en" };
    let fields = |number| format!("Accept-Language: {}\r\n", language(number));
    let mut connections = send_requests(&peer, &origin.url("/"), fields, 40);
    origin.wait_for(1);
    gate.open();
    for (number, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.read_response().body, language(number).as_bytes());
    }
    assert!(origin.count() <= 4, "{}", origin.count());
}

#[test]
fn stalled_reader_does_not_slow_another_reader_of_the_same_body() {
    const LENGTH: usize = 40 << 20;
    for chunked in [false, true] {
        let gate = Gate::new();
        let origin = {
            let gate = gate.clone();
            Origin::start(move |_| {
                let reply = Reply::ok(vec![b'x'; LENGTH]).field("Cache-Control", "max-age=60");
                let reply = if chunked { reply.chunked() } else { reply };
                reply.gate_body(100_000, &gate)
            })
        };
        let peer = LocalPeer::start();
        let url = origin.url("/large");
        let _slow = peer.start_get(&url);
        origin.wait_for(1);
        let mut quick = peer.start_get(&url);
        gate.open();
        let whole = quick.read_response();
        assert!(whole.cut.is_none() && whole.body.len() == LENGTH, "{:?} {}", whole.cut, whole.body.len());
        assert_eq!(origin.count(), 1);
    }
}

/// An origin with a body of this length that supports ranges.
fn ranges(length: usize) -> Origin {
    Origin::start(move |received: &Received| {
        let range = received
            .field("range")
            .and_then(|range| range.strip_prefix("bytes="))
            .expect("a request with a range");
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        Reply::status(206)
            .body(vec![b'x'; last + 1 - first])
            .field("Content-Range", format!("bytes {first}-{last}/{length}"))
            .field("Cache-Control", "max-age=600")
            .field("ETag", "\"a\"")
    })
}

#[test]
fn appending_to_a_large_part_is_cheap() {
    const PART: usize = 48 << 20;
    const BYTES: usize = 1000;
    let origin = ranges(PART + BYTES + 10);
    let peer = LocalPeer::start_with(|builder| builder);
    let url = origin.url("/large");
    let part = peer.get_with(&url, &format!("Range: bytes=0-{}\r\n", PART - 1));
    assert_eq!((part.status, part.body.len()), (206, PART));
    let started = Instant::now();
    let target = crate::local::escaped(&url);
    let mut connection = Connection::open(peer.address());
    for at in PART..PART + BYTES {
        let range = format!("Range: bytes={at}-{at}\r\n");
        connection.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\n{range}\r\n"));
        let byte = connection.read_response();
        assert_eq!((byte.status, &*byte.body), (206, &b"x"[..]));
    }
    // Reading the whole stored part for each of these requests would take minutes.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let stored = peer.get_with(&url, &format!("Range: bytes={}-{}\r\n", PART - 1, PART + BYTES - 1));
    assert_eq!((stored.body.len(), origin.count()), (BYTES + 1, 1 + BYTES));
}
