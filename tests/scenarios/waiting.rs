//! Requests that wait: for slow or silent origins, for clients that disconnect, for memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use forwardcache::pool::Tokens;
use forwardcache::server::{Server, ServerConfig};
use forwardcache::store::Ledger;
use forwardcache::{Body, Cancellation, Result, RoundTripFn};
use http::{Request, Response};

use crate::local::{LocalPeer, escaped};
use crate::support::TEST_TIMEOUT;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::raw::Connection;
use crate::support::store::CheckedStore;

/// Other requests must be answered within this time. A blocked request takes many seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// As many worker threads as the command starts.
fn many_workers() -> ServerConfig {
    ServerConfig::new().workers(1024)
}

/// An origin that answers `/quick/…` at once, `/stream/…` with an event stream until the gate opens, and all other
/// requests when the gate opens.
fn origin(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |received: &Received| match received.target.split('/').nth(1) {
        Some("quick") => Reply::target(received),
        Some("stream") => {
            Reply::ok("data: 1\n\n").field("Content-Type", "text/event-stream").chunked().gate_body(8, &gate)
        }
        _ => Reply::target(received).gate_head(&gate),
    })
}

/// Checks that a fetch, an explanation and a purge are answered in time.
fn assert_other_requests_are_answered(peer: &LocalPeer, elsewhere: &Origin) {
    let started = Instant::now();
    let url = elsewhere.url("/quick/a");
    assert_eq!(peer.get(&url).status, 200);
    let why = crate::local::send(peer.address(), "GET", &format!("/proxy/why?q={}", escaped(&url)), "");
    assert_eq!(why.status, 200);
    assert_eq!(peer.send("PURGE", &url, "").status, 200);
    assert!(started.elapsed() < ANSWER_LIMIT, "{:?}", started.elapsed());
}

#[test]
fn misses_wait_for_a_slow_origin_concurrently() {
    const MISSES: usize = 200;
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), LocalPeer::start_on(many_workers(), |builder| builder));
    let mut connections: Vec<Connection> =
        (0..MISSES).map(|number| peer.start_get(&origin.url(&format!("/slow/{number}")))).collect();
    // The origin answers the first request only after it has received the last one.
    origin.wait_for(MISSES);
    gate.open();
    for (number, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.read_response().body, format!("/slow/{number}").as_bytes());
    }
}

#[test]
fn open_streams_do_not_block_other_requests() {
    let gate = Gate::new();
    let (origin, elsewhere) = (origin(&gate), origin(&gate));
    let peer = LocalPeer::start_on(many_workers(), |builder| builder);
    let mut streams: Vec<Connection> =
        (0..100).map(|number| peer.start_get(&origin.url(&format!("/stream/{number}")))).collect();
    streams.iter_mut().for_each(|stream| stream.wait_for_bytes(b"8\r\ndata: 1\n\r\n"));
    assert_other_requests_are_answered(&peer, &elsewhere);
    assert_other_requests_are_answered(&peer, &origin);
    gate.open();
}

#[test]
fn silent_origin_does_not_block_other_requests() {
    let gate = Gate::new();
    let (silent, elsewhere) = (origin(&gate), origin(&gate));
    let peer = LocalPeer::start_on(many_workers(), |builder| builder);
    let _connections: Vec<Connection> =
        (0..300).map(|number| peer.start_get(&silent.url(&format!("/silent/{number}")))).collect();
    silent.wait_for(200);
    assert_other_requests_are_answered(&peer, &elsewhere);
    gate.open();
}

#[test]
fn client_with_many_silent_origins_does_not_block_other_clients() {
    let gate = Gate::new();
    let held_gate = gate.clone();
    let peer = LocalPeer::start_with(|builder| {
        builder.origin(RoundTripFn(move |request: Request<Body>| -> Result<Response<Body>> {
            if request.uri().host().is_some_and(|host| host.starts_with("silent")) {
                held_gate.wait();
            }
            Ok(Response::new(Body::from("here")))
        }))
    });
    let _connections: Vec<Connection> = (0..1000)
        .map(|number| peer.start_get(&format!("http://silent-{}.example/{number}", number % 20)))
        .collect();
    let started = Instant::now();
    let mut other = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), peer.address());
    let target = escaped("http://another.example/");
    other.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: {}\r\n\r\n", peer.address()));
    assert_eq!(other.read_response().body, b"here");
    assert!(started.elapsed() < ANSWER_LIMIT, "{:?}", started.elapsed());
    gate.open();
}

/// A server whose handler reports the path and then waits until it is cancelled.
fn cancellable_server(
    workers: usize,
) -> (forwardcache::server::ServerHandle, Receiver<String>, Receiver<()>) {
    let ((path_sender, paths), (cancel_sender, cancellations)) = (unbounded(), unbounded());
    let handler = move |request: Request<Body>| {
        path_sender.send(request.uri().path().to_owned()).unwrap();
        let (cancel_signal, cancelled) = bounded::<()>(1);
        let token =
            request.extensions().get::<Cancellation>().expect("the request has a cancellation").clone();
        let hook = token.on_cancel(move || drop(cancel_signal));
        if request.uri().path() != "/quick" {
            assert!(cancelled.recv_timeout(TEST_TIMEOUT).is_err(), "the request is not cancelled");
            cancel_sender.send(()).unwrap();
        }
        drop(hook);
        Response::new(Body::from("done"))
    };
    (
        Server::bind("127.0.0.1:0", ServerConfig::new().workers(workers), handler).unwrap(),
        paths,
        cancellations,
    )
}

fn send_get(address: SocketAddr, path: &str) -> Connection {
    let mut connection = Connection::open(address);
    connection.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    connection
}

#[test]
fn handler_is_cancelled_when_the_client_disconnects() {
    let (serving, paths, cancellations) = cancellable_server(4);
    for half_close in [true, false] {
        let mut connection = send_get(serving.local_addr(), "/a");
        assert_eq!(paths.recv_timeout(TEST_TIMEOUT).unwrap(), "/a");
        if half_close {
            connection.finish_writing();
        } else {
            drop(connection);
        }
        cancellations.recv_timeout(TEST_TIMEOUT).expect("the handler is cancelled");
    }
}

#[test]
fn queued_request_is_dropped_when_the_client_disconnects() {
    let (serving, paths, cancellations) = cancellable_server(1);
    let first = send_get(serving.local_addr(), "/first");
    assert_eq!(paths.recv_timeout(TEST_TIMEOUT).unwrap(), "/first");
    let mut queued = send_get(serving.local_addr(), "/queued");
    queued.finish_writing();
    // The server has noticed the disconnect.
    assert!(queued.read_to_end().is_empty());
    drop(first);
    cancellations.recv_timeout(TEST_TIMEOUT).expect("the first request is cancelled");
    assert_eq!(send_get(serving.local_addr(), "/quick").read_response().status, 200);
    assert_eq!(paths.recv_timeout(TEST_TIMEOUT).unwrap(), "/quick");
}

#[test]
fn hit_is_sent_after_a_half_close() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), LocalPeer::start());
    let url = origin.url("/quick/a");
    assert_eq!(peer.get(&url).status, 200);
    let mut connection = peer.start_get(&url);
    connection.finish_writing();
    assert_eq!(connection.read_response().body, b"/quick/a");
    assert!(connection.read_to_end().is_empty());
}

/// A body that yields the pieces received from a channel.
struct ChannelBody(Receiver<Vec<u8>>);

impl std::io::Read for ChannelBody {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.0.recv_timeout(TEST_TIMEOUT).map_err(std::io::Error::other)?;
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[test]
fn stream_source_is_dropped_when_the_client_disconnects() {
    let (piece_sender, pieces): (Sender<Vec<u8>>, _) = bounded(0);
    let handler = move |_: Request<Body>| Response::new(Body::from_reader(ChannelBody(pieces.clone()), None));
    let serving = Server::bind("127.0.0.1:0", ServerConfig::new(), handler).unwrap();
    let mut connection = send_get(serving.local_addr(), "/stream");
    piece_sender.send(b"first".to_vec()).unwrap();
    connection.wait_for_bytes(b"5\r\nfirst\r\n");
    drop(connection);
    // Once the server has noticed the disconnect, it reads no more. The handler keeps its own receiver.
    crate::support::wait_until("the stream is still read", || {
        piece_sender.send_timeout(b"more".to_vec(), Duration::from_millis(20)).is_err()
    });
}

#[test]
fn body_is_not_requested_before_authorization() {
    let tokens = Tokens::new(["a-token-of-the-pool"]).unwrap();
    let peer = LocalPeer::start_with(|builder| builder.tokens(tokens));
    let target = format!("/proxy?q={}", escaped("http://origin.invalid/"));
    for (method, target, length, status) in [
        ("POST", &*target, 10, 407),
        ("PUT", &*target, 100_000, 407),
        ("PURGE", "/proxy?all", 10, 407),
        ("POST", "/elsewhere", 10, 404),
    ] {
        let mut connection = Connection::open(peer.address());
        let fields = format!("Host: localhost\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n");
        connection.write(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n"));
        let response = connection.read_response();
        assert_eq!(
            (response.status, response.field("connection")),
            (status, Some("close")),
            "{method} {target}"
        );
        assert!(connection.read_to_end().is_empty());
    }
}

fn peer_with_ledger(limit: u64) -> (LocalPeer, Arc<Ledger>) {
    let ledger = Ledger::new(limit);
    let store = CheckedStore::with_ledger(64 << 20, &ledger);
    let options = ServerConfig::new().max_head(64 << 20);
    (LocalPeer::start_on(options, |builder| builder.store(store)), ledger)
}

#[test]
fn one_byte_chunks_are_limited_by_the_ledger() {
    // Bytes that have been read but not parsed count too.
    let (peer, ledger) = peer_with_ledger(20 << 10);
    let mut connection = Connection::open(peer.address());
    let target = escaped("http://origin.invalid/");
    let head =
        format!("POST /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.write(head + &"1\r\nx\r\n".repeat(10_000));
    let response = connection.read_response();
    assert_eq!((response.status, response.field("connection")), (503, Some("close")));
    assert!(connection.read_to_end().is_empty());
    crate::support::wait_until("the memory is not released", || ledger.total() == 0);
}

#[test]
fn slowest_reader_is_cut_off_when_memory_is_exhausted() {
    const LARGE: usize = 16 << 20;
    let origin = Origin::start(|received: &Received| {
        let length = if received.target == "/large" { LARGE } else { 10 };
        Reply::ok(vec![b'x'; length]).field("Cache-Control", "max-age=60")
    });
    let (peer, ledger) = peer_with_ledger(20 << 20);
    for path in ["/large", "/small"] {
        peer.peer.get(&origin.url(path)).send().unwrap().into_body().into_bytes().unwrap();
    }
    let mut slow = peer.start_get(&origin.url("/large"));
    slow.wait_for_bytes(b"x");
    // A head that never ends takes memory that cannot be refused.
    let mut long = Connection::open(peer.address());
    long.write(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(8 << 20)));
    crate::support::wait_until("the memory of the head is not counted", || ledger.total() > 20 << 20);
    assert_eq!(peer.get(&origin.url("/small")).body.len(), 10);
    crate::support::wait_until("the slow reader is not cut off", || slow.is_reset());
    assert_eq!(peer.get(&origin.url("/small")).status, 200);
}
