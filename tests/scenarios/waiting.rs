//! What waits: for origins that are slow or silent, for clients that leave, for memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use forwardcache::{Body, Cancellation, EventFront, FrontOptions, Ledger, Result, RoundTripFn, Tokens};
use http::{Request, Response};

use crate::local::{LocalPeer, escaped};
use crate::support::PATIENCE;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::raw::Connection;
use crate::support::store::CheckedStore;

/// What is asked for elsewhere is answered within this; where it is not, nothing comes for seconds.
const SOON: Duration = Duration::from_secs(3);

/// As many threads as the command has.
fn large() -> FrontOptions {
    FrontOptions::new().workers(1024)
}

/// An origin that answers `/quick/…` at once, `/stream/…` with events until the gate opens, and all others then.
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

/// Asks for what has to be fetched, what would happen to it, and that it be removed, each of which is answered.
fn everything_else_is_answered(peer: &LocalPeer, elsewhere: &Origin) {
    let begun = Instant::now();
    let url = elsewhere.url("/quick/a");
    assert_eq!(peer.get(&url).status, 200);
    let why = crate::local::send(peer.address(), "GET", &format!("/proxy/why?q={}", escaped(&url)), "");
    assert_eq!(why.status, 200);
    assert_eq!(peer.send("PURGE", &url, "").status, 200);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn many_misses_at_a_slow_origin_wait_for_it_together() {
    const MISSES: usize = 200;
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), LocalPeer::start_on(large(), |builder| builder));
    let mut asking: Vec<Connection> =
        (0..MISSES).map(|number| peer.asked(&origin.url(&format!("/slow/{number}")))).collect();
    // It answers the first one when it has heard of the last.
    origin.wait_for(MISSES);
    gate.open();
    for (number, connection) in asking.iter_mut().enumerate() {
        assert_eq!(connection.read_response().body, format!("/slow/{number}").as_bytes());
    }
}

#[test]
fn open_streams_hold_up_nothing_else() {
    let gate = Gate::new();
    let (origin, elsewhere) = (origin(&gate), origin(&gate));
    let peer = LocalPeer::start_on(large(), |builder| builder);
    let mut streams: Vec<Connection> =
        (0..100).map(|number| peer.asked(&origin.url(&format!("/stream/{number}")))).collect();
    streams.iter_mut().for_each(|stream| stream.wait_for_bytes(b"8\r\ndata: 1\n\r\n"));
    everything_else_is_answered(&peer, &elsewhere);
    everything_else_is_answered(&peer, &origin);
    gate.open();
}

#[test]
fn a_silent_origin_holds_up_nothing_else() {
    let gate = Gate::new();
    let (silent, elsewhere) = (origin(&gate), origin(&gate));
    let peer = LocalPeer::start_on(large(), |builder| builder);
    let _asking: Vec<Connection> =
        (0..300).map(|number| peer.asked(&silent.url(&format!("/silent/{number}")))).collect();
    silent.wait_for(200);
    everything_else_is_answered(&peer, &elsewhere);
    gate.open();
}

#[test]
fn one_client_that_asks_for_silent_names_leaves_others_their_part() {
    let gate = Gate::new();
    let waits = gate.clone();
    let peer = LocalPeer::start_with(|builder| {
        builder.origin(RoundTripFn(move |request: Request<Body>| -> Result<Response<Body>> {
            if request.uri().host().is_some_and(|host| host.starts_with("silent")) {
                waits.wait();
            }
            Ok(Response::new(Body::from("here")))
        }))
    });
    let _asking: Vec<Connection> = (0..1000)
        .map(|number| peer.asked(&format!("http://silent-{}.example/{number}", number % 20)))
        .collect();
    let begun = Instant::now();
    let mut other = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), peer.address());
    let target = escaped("http://another.example/");
    other.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: {}\r\n\r\n", peer.address()));
    assert_eq!(other.read_response().body, b"here");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    gate.open();
}

/// A front whose handler says what it was asked, and then waits until it is cancelled.
fn waiting(workers: usize) -> (forwardcache::Serving, Receiver<String>, Receiver<()>) {
    let ((says, said), (cancels, cancelled)) = (unbounded(), unbounded());
    let handler = move |request: Request<Body>| {
        says.send(request.uri().path().to_owned()).unwrap();
        let (tell, told) = bounded::<()>(1);
        let token = request.extensions().get::<Cancellation>().expect("a request can be cancelled").clone();
        let hook = token.on_cancel(move || drop(tell));
        if request.uri().path() != "/quick" {
            assert!(told.recv_timeout(PATIENCE).is_err(), "nobody cancels it");
            cancels.send(()).unwrap();
        }
        drop(hook);
        Response::new(Body::from("done"))
    };
    (EventFront::bind("127.0.0.1:0", FrontOptions::new().workers(workers), handler).unwrap(), said, cancelled)
}

fn ask(address: SocketAddr, path: &str) -> Connection {
    let mut connection = Connection::open(address);
    connection.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    connection
}

#[test]
fn what_a_client_waits_for_is_cancelled_when_it_leaves() {
    let (serving, said, cancelled) = waiting(4);
    for leaves_by_end in [true, false] {
        let mut connection = ask(serving.local_addr(), "/a");
        assert_eq!(said.recv_timeout(PATIENCE).unwrap(), "/a");
        if leaves_by_end {
            connection.finish_writing();
        } else {
            drop(connection);
        }
        cancelled.recv_timeout(PATIENCE).expect("the handler is told");
    }
}

#[test]
fn what_is_queued_is_not_begun_when_its_client_has_left() {
    let (serving, said, cancelled) = waiting(1);
    let first = ask(serving.local_addr(), "/first");
    assert_eq!(said.recv_timeout(PATIENCE).unwrap(), "/first");
    let mut queued = ask(serving.local_addr(), "/queued");
    queued.finish_writing();
    // Its end has been seen.
    assert!(queued.read_to_end().is_empty());
    drop(first);
    cancelled.recv_timeout(PATIENCE).expect("the first one is told");
    assert_eq!(ask(serving.local_addr(), "/quick").read_response().status, 200);
    assert_eq!(said.recv_timeout(PATIENCE).unwrap(), "/quick");
}

#[test]
fn one_who_says_that_nothing_follows_still_gets_what_is_there() {
    let gate = Gate::new();
    let (origin, peer) = (origin(&gate), LocalPeer::start());
    let url = origin.url("/quick/a");
    assert_eq!(peer.get(&url).status, 200);
    let mut connection = peer.asked(&url);
    connection.finish_writing();
    assert_eq!(connection.read_response().body, b"/quick/a");
    assert!(connection.read_to_end().is_empty());
}

/// A body that gives what comes through a channel.
struct Fed(Receiver<Vec<u8>>);

impl std::io::Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.0.recv_timeout(PATIENCE).map_err(std::io::Error::other)?;
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[test]
fn a_stream_ends_at_its_source_when_its_client_has_left() {
    let (feed, fed): (Sender<Vec<u8>>, _) = bounded(0);
    let handler = move |_: Request<Body>| Response::new(Body::from_reader(Fed(fed.clone()), None));
    let serving = EventFront::bind("127.0.0.1:0", FrontOptions::new(), handler).unwrap();
    let mut connection = ask(serving.local_addr(), "/stream");
    feed.send(b"first".to_vec()).unwrap();
    connection.wait_for_bytes(b"5\r\nfirst\r\n");
    drop(connection);
    // Nobody takes more of it, once the end has been seen. The handler has a receiver of its own.
    crate::support::wait_until("the stream goes on", || {
        feed.send_timeout(b"more".to_vec(), Duration::from_millis(20)).is_err()
    });
}

#[test]
fn content_is_not_asked_for_before_it_is_known_who_sends_it() {
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

fn accounted(limit: u64) -> (LocalPeer, Arc<Ledger>) {
    let ledger = Ledger::new(limit);
    let store = CheckedStore::with_ledger(64 << 20, &ledger);
    let options = FrontOptions::new().max_head(64 << 20);
    (LocalPeer::start_on(options, |builder| builder.store(store)), ledger)
}

#[test]
fn content_in_chunks_of_a_byte_is_held_within_the_memory_that_there_is() {
    // What has been read and not been looked at counts too.
    let (peer, ledger) = accounted(20 << 10);
    let mut connection = Connection::open(peer.address());
    let target = escaped("http://origin.invalid/");
    let head =
        format!("POST /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.write(head + &"1\r\nx\r\n".repeat(10_000));
    let response = connection.read_response();
    assert_eq!((response.status, response.field("connection")), (503, Some("close")));
    assert!(connection.read_to_end().is_empty());
    crate::support::wait_until("it is still held", || ledger.total() == 0);
}

#[test]
fn the_slowest_reader_is_cut_off_when_the_memory_is_at_its_end() {
    const LARGE: usize = 16 << 20;
    let origin = Origin::start(|received: &Received| {
        let length = if received.target == "/large" { LARGE } else { 10 };
        Reply::ok(vec![b'x'; length]).field("Cache-Control", "max-age=60")
    });
    let (peer, ledger) = accounted(20 << 20);
    for path in ["/large", "/small"] {
        peer.peer.get(&origin.url(path)).unwrap().into_body().into_bytes().unwrap();
    }
    let mut slow = peer.asked(&origin.url("/large"));
    slow.wait_for_bytes(b"x");
    // A head that does not end takes memory that nobody can refuse.
    let mut long = Connection::open(peer.address());
    long.write(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(8 << 20)));
    crate::support::wait_until("it is not held", || ledger.total() > 20 << 20);
    assert_eq!(peer.get(&origin.url("/small")).body.len(), 10);
    crate::support::wait_until("nobody is cut off", || slow.is_reset());
    assert_eq!(peer.get(&origin.url("/small")).status, 200);
}
