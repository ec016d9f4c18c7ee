//! Responses in transit: shared fetches, slow readers and waiting requests.
//!
//! Each peer here has one worker and one I/O thread, so that a blocked thread is noticed.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use forwardcache::peer::PeerBuilder;
use forwardcache::server::ServerConfig;
use forwardcache::{Body, Outcome, Result, RoundTripFn};
use http::{Request, Response};

use crate::local::LocalPeer;
use crate::support::origin::{Gate, Origin, Piece, Received, Reply};
use crate::support::raw::Connection;
use crate::support::store::CheckedStore;

const LARGE: usize = 8 << 20;

fn single_worker_peer(with: impl FnOnce(PeerBuilder) -> PeerBuilder) -> LocalPeer {
    LocalPeer::start_on(ServerConfig::new().workers(1).io_threads(1), with)
}

fn outcome(response: &crate::support::raw::Response) -> Option<Outcome> {
    Outcome::of(&response.headers)
}

/// `/gated/…` holds its head at the gate, `/half/…` its body, `/secret` may not be stored, `/large` is large, and all
/// other targets can be stored.
fn origin(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |received: &Received| {
        let reply = |body: Vec<u8>| Reply::ok(body).field("Cache-Control", "max-age=60");
        match received.target.split('/').nth(1) {
            Some("gated") => reply(received.target.clone().into()).gate_head(&gate),
            Some("secret") => Reply::ok("own").field("Cache-Control", "no-store").gate_head(&gate),
            Some("half") => reply(vec![b'x'; 200_000]).gate_body(100_000, &gate),
            Some("large") => reply(vec![b'x'; LARGE]),
            _ => reply(received.target.clone().into()),
        }
    })
}

#[test]
fn hits_are_served_while_every_worker_waits() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder));
    peer.get(&origin.url("/stored"));
    let mut waiting = peer.start_get(&origin.url("/gated/a"));
    origin.wait_for(2);
    // Requests for other URLs, and for the same one, do not use a worker either.
    let mut others: Vec<Connection> = (0..8).map(|_| peer.start_get(&origin.url("/gated/a"))).collect();
    let mut queued = peer.start_get(&origin.url("/other"));
    for _ in 0..4 {
        assert_eq!(outcome(&peer.get(&origin.url("/stored"))), Some(Outcome::Hit));
    }
    let part = peer.get_with(&origin.url("/stored"), "Range: bytes=1-3\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &b"sto"[..]));
    let head = peer.send("HEAD", &origin.url("/stored"), "");
    assert_eq!((head.status, outcome(&head)), (200, Some(Outcome::Hit)));
    gate.open();
    for connection in others.iter_mut().chain([&mut waiting]) {
        assert_eq!(connection.read_response().body, b"/gated/a");
    }
    assert_eq!(queued.read_response().body, b"/other");
    assert_eq!(origin.count_of("/gated/a"), 1);
}

#[test]
fn late_follower_gets_the_beginning_while_the_rest_is_fetched() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder));
    let mut first = peer.start_get(&origin.url("/half/a"));
    first.wait_for_bytes(&[b'x'; 1000]);
    let mut late = peer.start_get(&origin.url("/half/a"));
    late.wait_for_bytes(&[b'x'; 1000]);
    gate.open();
    for connection in [&mut first, &mut late] {
        let response = connection.read_response();
        assert_eq!((response.body.len(), response.cut), (200_000, None));
    }
    assert_eq!(outcome(&peer.get(&origin.url("/half/a"))), Some(Outcome::Hit));
    assert_eq!(origin.count(), 1);
}

#[test]
fn follower_gets_its_response_after_the_leader_disconnects() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder));
    let mut first = peer.start_get(&origin.url("/half/a"));
    first.wait_for_bytes(&[b'x'; 1000]);
    let mut other = peer.start_get(&origin.url("/half/a"));
    other.wait_for_bytes(&[b'x'; 1000]);
    drop(first);
    gate.open();
    assert_eq!(other.read_response().body.len(), 200_000);
    assert_eq!(origin.count(), 1);
}

#[test]
fn abandoned_fetch_is_stored_if_little_is_missing() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder));
    let mut first = peer.start_get(&origin.url("/half/a"));
    first.wait_for_bytes(&[b'x'; 1000]);
    drop(first);
    gate.open();
    // The only worker is free, so the body has been stored.
    assert_eq!(peer.get(&origin.url("/other")).status, 200);
    assert_eq!(outcome(&peer.get(&origin.url("/half/a"))), Some(Outcome::Hit));
    assert_eq!(origin.count(), 2);
}

#[test]
fn unshareable_response_releases_the_followers() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder));
    let mut connections: Vec<Connection> = (0..6).map(|_| peer.start_get(&origin.url("/secret"))).collect();
    origin.wait_for(1);
    gate.open();
    for connection in &mut connections {
        assert_eq!(connection.read_response().body, b"own");
    }
    assert_eq!(origin.count(), 6);
}

#[test]
fn panicking_leader_releases_the_followers() {
    let gate = Gate::new();
    let (held_gate, has_panicked) = (gate.clone(), AtomicBool::new(false));
    let peer = single_worker_peer(|builder| {
        builder.origin(RoundTripFn(move |_: Request<Body>| -> Result<Response<Body>> {
            held_gate.wait();
            assert!(has_panicked.swap(true, Ordering::SeqCst), "panic of the first fetch");
            Ok(Response::new(Body::from("fetched")))
        }))
    });
    let mut connections: Vec<Connection> = (0..4).map(|_| peer.start_get("http://origin.invalid/")).collect();
    gate.open();
    let mut statuses: Vec<u16> =
        connections.iter_mut().map(|connection| connection.read_response().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 500]);
}

#[test]
fn slow_reader_of_a_shared_body_occupies_no_worker() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder));
    // The clients do not read, so the peer holds what the sockets do not take.
    let _first = peer.start_get(&origin.url("/large"));
    let _other = peer.start_get(&origin.url("/large"));
    assert_eq!(peer.get(&origin.url("/other")).status, 200);
    // This request may still join the fetch.
    assert_eq!(peer.get(&origin.url("/large")).body.len(), LARGE);
    let hit = peer.get(&origin.url("/large"));
    assert_eq!((hit.body.len(), outcome(&hit)), (LARGE, Some(Outcome::Hit)));
    assert_eq!(origin.count_of("/large"), 1);
}

#[test]
fn slow_reader_of_a_pass_through_body_occupies_no_worker() {
    let origin = Origin::start(|received| {
        let length = if received.target == "/large" { LARGE } else { 1 };
        Reply::ok(vec![b'x'; length]).field("Cache-Control", "no-store")
    });
    let peer = single_worker_peer(|builder| builder);
    let mut slow = peer.start_get(&origin.url("/large"));
    slow.wait_for_bytes(&[b'x'; 1000]);
    for _ in 0..3 {
        assert_eq!(peer.get(&origin.url("/small")).body, b"x");
    }
    // The slow client gets the whole body once it reads.
    assert_eq!(slow.read_response().body.len(), LARGE);
}

#[test]
fn incoming_bodies_do_not_occupy_all_workers() {
    let origin = Origin::start(|received| Reply::ok(received.body.len().to_string()));
    let peer = LocalPeer::start_on(ServerConfig::new().workers(16), |builder| builder);
    let target = format!("/proxy?q={}", crate::local::escaped(&origin.url("/")));
    let begin = || {
        let mut connection = Connection::open(peer.address());
        let fields = "Content-Length: 100000\r\nExpect: 100-continue\r\n";
        connection.write(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        let response = connection.read_response();
        (connection, response)
    };
    let mut slow: Vec<Connection> = (0..2)
        .map(|_| {
            let (connection, response) = begin();
            assert_eq!(response.status, 100);
            connection
        })
        .collect();
    let (_, refused) = begin();
    assert_eq!(refused.status, 503);
    assert_eq!((refused.field("retry-after"), refused.field("connection")), (Some("1"), Some("close")));
    assert_eq!(peer.get(&origin.url("/")).status, 200);
    for connection in &mut slow {
        connection.write([b'x'; 100_000]);
        assert_eq!(connection.read_response().body, b"100000");
    }
}

#[test]
fn slow_hit_is_not_cut_by_the_idle_timeout() {
    let gate = Gate::new();
    let options = ServerConfig::new().io_threads(1).idle_timeout(std::time::Duration::from_millis(100));
    let (origin, peer) = (origin(&gate), LocalPeer::start_on(options, |builder| builder));
    assert_eq!(peer.get(&origin.url("/large")).body.len(), LARGE);
    let mut slow = peer.start_get(&origin.url("/large"));
    // Wait for two idle timeouts of other connections.
    for _ in 0..2 {
        assert!(Connection::open(peer.address()).read_to_end().is_empty());
    }
    let response = slow.read_response();
    assert_eq!((response.body.len(), response.cut), (LARGE, None));
    assert!(slow.read_to_end().is_empty());
}

#[test]
fn origin_cannot_forge_a_peer_error() {
    let origin = Origin::start(|_| {
        Reply::ok("fine").field("Cache-Control", "max-age=60").field("Forwardcache-Error", "timeout")
    });
    let peer = single_worker_peer(|builder| builder);
    for _ in 0..2 {
        assert_eq!(peer.get(&origin.url("/a")).field("forwardcache-error"), None);
        assert_eq!(peer.client().get(&origin.url("/a")).send().unwrap().status(), 200);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn panicking_store_ends_at_most_one_connection() {
    let gate = Gate::new();
    let store = CheckedStore::new(1 << 20, |key| {
        assert!(!key.ends_with("/panic"), "panic of a test store");
        Ok(())
    });
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder.store(store)));
    for _ in 0..3 {
        let mut connection = peer.start_get(&origin.url("/panic"));
        connection.finish_writing();
        connection.read_to_end();
        assert_eq!(peer.get(&origin.url("/stored")).status, 200);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn body_larger_than_the_store_passes_through() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), single_worker_peer(|builder| builder.memory(1 << 20)));
    for _ in 0..2 {
        let response = peer.get(&origin.url("/large"));
        assert_eq!((response.body.len(), response.cut), (LARGE, None));
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(peer.peer.cache().store().usage().keys, 0);
}

#[test]
fn truncated_body_fails_for_every_client() {
    let gate = Gate::new();
    let held_gate = gate.clone();
    let origin = Origin::start(move |_| {
        Reply::ok(vec![b'x'; 200_000])
            .field("Cache-Control", "max-age=60")
            .gate_body(100_000, &held_gate)
            .cut_after(150_000)
    });
    let peer = single_worker_peer(|builder| builder);
    let mut connections = [peer.start_get(&origin.url("/a")), peer.start_get(&origin.url("/a"))];
    for connection in &mut connections {
        connection.wait_for_bytes(&[b'x'; 1000]);
    }
    gate.open();
    for connection in &mut connections {
        assert!(connection.read_response().cut.is_some());
    }
    assert_eq!(peer.peer.cache().store().usage().keys, 0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn request_bodies_of_any_size_are_forwarded() {
    let origin = Origin::start(|received| Reply::ok(received.body.len().to_string()));
    let peer = single_worker_peer(|builder| builder);
    for length in [0, 1, 60_000, 70_000, 3_000_000] {
        let body = vec![b'y'; length];
        for is_chunked in [false, true] {
            let mut connection = Connection::open(peer.address());
            let target = format!("/proxy?q={}", crate::local::escaped(&origin.url("/")));
            let framing = if is_chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {length}")
            };
            connection.write(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"));
            if is_chunked {
                for chunk in body.chunks(50_000) {
                    connection.write(format!("{:x}\r\n", chunk.len()));
                    connection.write(chunk);
                    connection.write("\r\n");
                }
                connection.write("0\r\n\r\n");
            } else {
                connection.write(&body);
            }
            assert_eq!(connection.read_response().body, length.to_string().as_bytes());
        }
    }
}

#[test]
fn short_body_of_a_slow_origin_streams_through_the_pool() {
    let gates: Vec<Gate> = (0..3).map(|_| Gate::new()).collect();
    let held = gates.clone();
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\n1";
        let mut pieces = vec![Piece::from(head)];
        for (gate, byte) in held.iter().zip(["2", "3", "4"]) {
            pieces.extend([Piece::from(gate), Piece::from(byte)]);
        }
        Reply::raw_pieces(pieces)
    });
    let pool = LocalPeer::pool(2);
    let client = forwardcache::Client::builder().pool(LocalPeer::urls(&pool)).build().unwrap();
    let url = origin.url("/slow");
    let mut body = client.get(&url).send().unwrap().into_body();
    let mut byte = [0];
    for (number, expected) in b"1234".iter().enumerate() {
        body.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], *expected);
        // The origin sends the next byte only after this one has reached the client.
        if let Some(gate) = gates.get(number) {
            gate.open();
        }
    }
    assert_eq!(body.read(&mut byte).unwrap(), 0);
    assert_eq!(client.get(&url).send().unwrap().into_body().into_text().unwrap(), "1234");
    assert_eq!(origin.count(), 1);
}
