//! Slow, silent and disconnecting clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use forwardcache::Body;
use forwardcache::server::ServerConfig;
use http::{Request, Response};

use super::{RecordingServer, assert_still_serves, read_rejection, start_server};
use crate::support::TEST_TIMEOUT;
use crate::support::origin::Gate;
use crate::support::raw::Connection;

const TIMEOUT: Duration = Duration::from_millis(200);

/// Sends one byte every 5 ms until the server responds. Returns the response and the number of bytes sent.
fn drip(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut answer = vec![0; 1024];
    let mut sent = 0;
    loop {
        if let Some(byte) = bytes.get(sent) {
            let _ = socket.write_all(&[*byte]);
            sent += 1;
        }
        match socket.read(&mut answer) {
            Ok(count) => {
                answer.truncate(count);
                return (answer, sent);
            }
            Err(_) if sent == bytes.len() => socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap(),
            Err(_) => {}
        }
    }
}

#[test]
fn head_timeout_covers_the_whole_head() {
    let server = RecordingServer::start_with(ServerConfig::new().head_timeout(TIMEOUT));
    let started = Instant::now();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(10_000));
    let (answer, sent) = drip(server.address(), long.as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", answer.escape_ascii().to_string());
    assert!(started.elapsed() >= TIMEOUT && sent > 1 && sent < long.len());
    server.assert_still_serves();
}

#[test]
fn slow_head_within_the_timeout_is_answered() {
    let server = RecordingServer::start();
    let (answer, _) = drip(server.address(), b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn incomplete_head_gets_408() {
    let server = RecordingServer::start_with(ServerConfig::new().head_timeout(TIMEOUT));
    assert_eq!(server.rejected_with("GET / HTTP/1.1\r\nHost: a\r\n"), 408);
    assert_eq!(server.rejected_with("G"), 408);
}

#[test]
fn idle_connection_is_closed_silently() {
    let server = RecordingServer::start_with(ServerConfig::new().idle_timeout(TIMEOUT));
    assert!(server.connect().read_to_end().is_empty());
    let mut used = server.connect();
    used.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(used.read_response().status, 200);
    assert!(used.read_to_end().is_empty());
    server.assert_still_serves();
}

#[test]
fn incomplete_body_gets_408() {
    let server = RecordingServer::start_with(ServerConfig::new().write_timeout(TIMEOUT));
    for message in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ] {
        let mut connection = server.connect();
        connection.write(message);
        assert_eq!(read_rejection(&mut connection), 408, "{message:?}");
        assert!(server.seen().iter().all(|seen| seen.body.is_none()));
        server.assert_still_serves();
    }
}

#[test]
fn body_below_the_minimum_rate_gets_408() {
    let server =
        RecordingServer::start_with(ServerConfig::new().write_timeout(TIMEOUT).min_transfer_rate(1 << 20));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n";
    let (answer, _) = drip(server.address(), (head.to_owned() + &"a".repeat(9_999)).as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", answer.escape_ascii().to_string());
    server.assert_still_serves();
}

#[test]
fn client_that_stops_reading_is_disconnected() {
    const LARGE: usize = 64 << 20;
    let serving = start_server(ServerConfig::new().write_timeout(TIMEOUT), |request: Request<Body>| {
        let length = if request.uri().path() == "/large" { LARGE } else { 1 };
        Response::new(Body::from(vec![b'x'; length]))
    });
    let mut stalled = Connection::open(serving.local_addr());
    stalled.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    // The server gives up only while the client does not read, so wait before reading.
    let mut watching = TcpStream::connect(serving.local_addr()).unwrap();
    watching.set_read_timeout(Some(TIMEOUT * 4)).unwrap();
    let _ = watching.read(&mut [0; 1]);
    assert!(stalled.read_response().cut.is_some());
    assert_still_serves(serving.local_addr());
}

#[test]
fn client_reset_does_not_affect_other_clients() {
    let (gate, started) = (Gate::new(), Gate::new());
    let (handler_gate, started_signal) = (gate.clone(), started.clone());
    let serving = start_server(ServerConfig::new(), move |request: Request<Body>| {
        match request.uri().path() {
            "/wait" => {
                started_signal.open();
                handler_gate.wait();
            }
            "/large" => return Response::new(Body::from(vec![b'x'; 32 << 20])),
            "/stream" => {
                let endless = std::io::repeat(b'x').take(32 << 20);
                return Response::new(Body::from_reader(endless, None));
            }
            _ => {}
        }
        Response::new(request.into_body())
    });
    let reset_after = |bytes: &str, reads: usize| {
        let mut socket = TcpStream::connect(serving.local_addr()).unwrap();
        socket.write_all(bytes.as_bytes()).unwrap();
        socket.read_exact(&mut vec![0; reads]).unwrap();
        if bytes.contains("/wait") {
            started.wait();
        }
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    };
    for (bytes, reads) in [
        ("", 0),
        ("GET / HT", 0),
        ("GET / HTTP/1.1\r\nHost: a\r\n", 0),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", 0),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc", 0),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 0),
        ("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 100_000),
        ("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", 100_000),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 10),
    ] {
        reset_after(bytes, reads);
        assert_still_serves(serving.local_addr());
    }
    gate.open();
    assert_still_serves(serving.local_addr());
}
