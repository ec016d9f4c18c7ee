//! Answers on their way: who shares them, who waits for them, and who does not.
//!
//! Each peer here has one worker and one thread that reads: whatever occupied it would be seen.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use forwardcache::{Body, FrontOptions, Outcome, PeerBuilder, Result, RoundTripFn};
use http::{Request, Response};

use crate::local::LocalPeer;
use crate::support::origin::{Gate, Origin, Piece, Received, Reply};
use crate::support::raw::Connection;
use crate::support::store::CheckedStore;

const LARGE: usize = 8 << 20;

fn alone(with: impl FnOnce(PeerBuilder) -> PeerBuilder) -> LocalPeer {
    LocalPeer::start_on(FrontOptions::new().workers(1).io_threads(1), with)
}

fn outcome(response: &crate::support::raw::Response) -> Option<Outcome> {
    Outcome::of(&response.headers)
}

/// `/stored` can be kept, `/gated/…` waits at the gate with its head, `/half/…` with its body, `/large` is
/// large.
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
fn hits_are_answered_while_every_worker_waits() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), alone(|builder| builder));
    peer.get(&origin.url("/stored"));
    let mut waiting = peer.asked(&origin.url("/gated/a"));
    origin.wait_for(2);
    // Nor do those take part in it that ask for something else, or the same.
    let mut others: Vec<Connection> = (0..8).map(|_| peer.asked(&origin.url("/gated/a"))).collect();
    let mut queued = peer.asked(&origin.url("/other"));
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
fn who_joins_late_gets_the_beginning_while_the_rest_is_on_its_way() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), alone(|builder| builder));
    let mut first = peer.asked(&origin.url("/half/a"));
    first.wait_for_bytes(&[b'x'; 1000]);
    let mut late = peer.asked(&origin.url("/half/a"));
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
fn a_leader_that_leaves_leaves_the_others_their_answer() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), alone(|builder| builder));
    let mut first = peer.asked(&origin.url("/half/a"));
    first.wait_for_bytes(&[b'x'; 1000]);
    let mut other = peer.asked(&origin.url("/half/a"));
    other.wait_for_bytes(&[b'x'; 1000]);
    drop(first);
    gate.open();
    assert_eq!(other.read_response().body.len(), 200_000);
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_its_one_reader_leaves_is_stored_where_little_is_missing() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), alone(|builder| builder));
    let mut first = peer.asked(&origin.url("/half/a"));
    first.wait_for_bytes(&[b'x'; 1000]);
    drop(first);
    gate.open();
    // The one worker is free when it is stored.
    assert_eq!(peer.get(&origin.url("/other")).status, 200);
    assert_eq!(outcome(&peer.get(&origin.url("/half/a"))), Some(Outcome::Hit));
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_answer_that_may_not_be_shared_releases_everybody() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), alone(|builder| builder));
    let mut asking: Vec<Connection> = (0..6).map(|_| peer.asked(&origin.url("/secret"))).collect();
    origin.wait_for(1);
    gate.open();
    for connection in &mut asking {
        assert_eq!(connection.read_response().body, b"own");
    }
    assert_eq!(origin.count(), 6);
}

#[test]
fn a_leader_that_panics_releases_everybody() {
    let gate = Gate::new();
    let (waits, has_panicked) = (gate.clone(), AtomicBool::new(false));
    let peer = alone(|builder| {
        builder.origin(RoundTripFn(move |_: Request<Body>| -> Result<Response<Body>> {
            waits.wait();
            assert!(has_panicked.swap(true, Ordering::SeqCst), "the first one panics");
            Ok(Response::new(Body::from("fetched")))
        }))
    });
    let mut asking: Vec<Connection> = (0..4).map(|_| peer.asked("http://origin.invalid/")).collect();
    gate.open();
    let mut statuses: Vec<u16> =
        asking.iter_mut().map(|connection| connection.read_response().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 500]);
}

#[test]
fn a_slow_reader_of_what_is_stored_or_shared_holds_no_worker() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), alone(|builder| builder));
    // Nobody reads these: what the sockets do not take waits.
    let _first = peer.asked(&origin.url("/large"));
    let _other = peer.asked(&origin.url("/large"));
    assert_eq!(peer.get(&origin.url("/other")).status, 200);
    // The first of these may still find it on its way.
    assert_eq!(peer.get(&origin.url("/large")).body.len(), LARGE);
    let hit = peer.get(&origin.url("/large"));
    assert_eq!((hit.body.len(), outcome(&hit)), (LARGE, Some(Outcome::Hit)));
    assert_eq!(origin.count_of("/large"), 1);
}

#[test]
fn a_slow_reader_of_what_only_passes_holds_no_worker_either() {
    let origin = Origin::start(|received| {
        let length = if received.target == "/large" { LARGE } else { 1 };
        Reply::ok(vec![b'x'; length]).field("Cache-Control", "no-store")
    });
    let peer = alone(|builder| builder);
    let mut slow = peer.asked(&origin.url("/large"));
    slow.wait_for_bytes(&[b'x'; 1000]);
    for _ in 0..3 {
        assert_eq!(peer.get(&origin.url("/small")).body, b"x");
    }
    // It gets all of it, once it reads.
    assert_eq!(slow.read_response().body.len(), LARGE);
}

#[test]
fn bodies_that_are_on_their_way_do_not_have_all_workers() {
    let origin = Origin::start(|received| Reply::ok(received.body.len().to_string()));
    let peer = LocalPeer::start_on(FrontOptions::new().workers(16), |builder| builder);
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
fn a_hit_that_takes_longer_than_a_connection_may_be_idle_is_whole() {
    let gate = Gate::new();
    let options = FrontOptions::new().io_threads(1).idle_timeout(std::time::Duration::from_millis(100));
    let (origin, peer) = (origin(&gate), LocalPeer::start_on(options, |builder| builder));
    assert_eq!(peer.get(&origin.url("/large")).body.len(), LARGE);
    let mut slow = peer.asked(&origin.url("/large"));
    // That one is idle for its time, and then another.
    for _ in 0..2 {
        assert!(Connection::open(peer.address()).read_to_end().is_empty());
    }
    let response = slow.read_response();
    assert_eq!((response.body.len(), response.cut), (LARGE, None));
    assert!(slow.read_to_end().is_empty());
}

#[test]
fn an_origin_cannot_fail_in_a_peers_name() {
    let origin = Origin::start(|_| {
        Reply::ok("fine").field("Cache-Control", "max-age=60").field("Forwardcache-Error", "timeout")
    });
    let peer = alone(|builder| builder);
    for _ in 0..2 {
        assert_eq!(peer.get(&origin.url("/a")).field("forwardcache-error"), None);
        assert_eq!(peer.client().get(&origin.url("/a")).unwrap().status(), 200);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_store_that_panics_ends_one_connection_at_most() {
    let gate = Gate::new();
    let store = CheckedStore::new(1 << 20, |key| {
        assert!(!key.ends_with("/panic"), "a store of a test panics");
        Ok(())
    });
    let (origin, peer) = (origin(&gate), alone(|builder| builder.store(store)));
    for _ in 0..3 {
        let mut connection = peer.asked(&origin.url("/panic"));
        connection.finish_writing();
        connection.read_to_end();
        assert_eq!(peer.get(&origin.url("/stored")).status, 200);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_is_larger_than_the_store_takes_streams_through_and_is_not_stored() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), alone(|builder| builder.memory(1 << 20)));
    for _ in 0..2 {
        let response = peer.get(&origin.url("/large"));
        assert_eq!((response.body.len(), response.cut), (LARGE, None));
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(peer.peer.caching().store().usage().keys, 0);
}

#[test]
fn a_body_that_breaks_off_is_seen_to_by_everybody() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        Reply::ok(vec![b'x'; 200_000])
            .field("Cache-Control", "max-age=60")
            .gate_body(100_000, &waits)
            .cut_after(150_000)
    });
    let peer = alone(|builder| builder);
    let mut asking = [peer.asked(&origin.url("/a")), peer.asked(&origin.url("/a"))];
    for connection in &mut asking {
        connection.wait_for_bytes(&[b'x'; 1000]);
    }
    gate.open();
    for connection in &mut asking {
        assert!(connection.read_response().cut.is_some());
    }
    assert_eq!(peer.peer.caching().store().usage().keys, 0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_request_body_of_any_size_goes_through() {
    let origin = Origin::start(|received| Reply::ok(received.body.len().to_string()));
    let peer = alone(|builder| builder);
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
fn a_short_body_of_a_slow_origin_streams_through_the_pool_with_one_fetch() {
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
    let mut body = client.get(&url).unwrap().into_body();
    let mut byte = [0];
    for (number, expected) in b"1234".iter().enumerate() {
        body.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], *expected);
        // The origin sends the next byte only now, when this one has gone all the way.
        if let Some(gate) = gates.get(number) {
            gate.open();
        }
    }
    assert_eq!(body.read(&mut byte).unwrap(), 0);
    assert_eq!(client.get(&url).unwrap().into_body().into_text().unwrap(), "1234");
    assert_eq!(origin.count(), 1);
}
