//! Cancellation: when the last client of a fetch disconnects, the request to the origin ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use forwardcache::server::ServerConfig;

use crate::local::{LocalPeer, escaped, listen};
use crate::processes::PeerProcess;
use crate::support::TEST_TIMEOUT;
use crate::support::origin::{Gate, Origin, Received, Reply};

/// The documented limit is one second; the rest is tolerance for a busy machine.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// How a client disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disconnect {
    /// It shuts down its write side and keeps reading.
    HalfClose,
    /// It closes its socket.
    Close,
    /// It resets the connection.
    Reset,
}

const DISCONNECTS: [Disconnect; 3] = [Disconnect::HalfClose, Disconnect::Close, Disconnect::Reset];

/// The behaviour of an origin after it has received a request.
#[derive(Clone, Copy)]
enum After {
    /// Sends this text, then nothing more.
    Sends(&'static str),
    /// Sends a body until the connection fails.
    Streams,
}

/// An origin that reports when it receives a request and when a connection ends.
struct WatchedOrigin {
    address: SocketAddr,
    requests: Receiver<String>,
    end_times: Receiver<Instant>,
}

impl WatchedOrigin {
    fn start(after: After) -> Self {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let ((request_sender, requests), (end_sender, end_times)) = (unbounded(), unbounded());
        thread::spawn(move || accept(&listener, after, &request_sender, &end_sender));
        Self { address, requests, end_times }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn wait_for(&self, path: &str) {
        let line = self.requests.recv_timeout(TEST_TIMEOUT).expect("the origin receives a request");
        assert_eq!(line, format!("GET {path} HTTP/1.1"));
    }

    fn wait_for_end(&self, since: Instant, what: &str) {
        let ended = self
            .end_times
            .recv_timeout(TEST_TIMEOUT)
            .unwrap_or_else(|_| panic!("{what}: the request to the origin does not end"));
        let took = ended.saturating_duration_since(since);
        assert!(took < CANCEL_LIMIT, "{what}: {took:?}");
    }
}

fn accept(
    listener: &TcpListener,
    after: After,
    request_sender: &Sender<String>,
    end_sender: &Sender<Instant>,
) {
    for socket in listener.incoming() {
        let (mut socket, request_sender, end_sender) =
            (socket.unwrap(), request_sender.clone(), end_sender.clone());
        thread::spawn(move || {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if socket.read(&mut byte).unwrap_or(0) == 0 {
                    return;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let _ = request_sender.send(head.lines().next().unwrap().to_owned());
            match after {
                After::Sends(text) => {
                    let _ = socket.write_all(text.as_bytes());
                    let _ = socket.read(&mut [0]);
                }
                After::Streams => {
                    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
                    while socket.write_all(&[b'x'; 65536]).is_ok() {}
                }
            }
            let _ = end_sender.send(Instant::now());
        });
    }
}

/// Sends a request for a URL to a peer.
fn send_request(peer: SocketAddr, url: &str) -> TcpStream {
    let mut socket = TcpStream::connect(peer).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    write!(socket, "GET /proxy?q={} HTTP/1.1\r\nHost: {peer}\r\n\r\n", escaped(url)).unwrap();
    socket
}

/// Disconnects. For [`Disconnect::HalfClose`] it returns the socket, which must be kept open.
fn disconnect(socket: TcpStream, how: Disconnect) -> Option<TcpStream> {
    match how {
        Disconnect::HalfClose => socket.shutdown(Shutdown::Write).unwrap(),
        Disconnect::Close => return None,
        Disconnect::Reset => {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
            return None;
        }
    }
    Some(socket)
}

/// Checks each way to disconnect while the origin has sent `after` and the client has read up to `reads`.
fn assert_cancelled(peer: SocketAddr, after: After, reads: &str, ways: &[Disconnect]) {
    let origin = WatchedOrigin::start(after);
    for (number, how) in ways.iter().enumerate() {
        let path = format!("/{number}");
        let mut client = send_request(peer, &origin.url(&path));
        origin.wait_for(&path);
        let mut received = Vec::new();
        while !received.windows(reads.len().max(1)).any(|part| part == reads.as_bytes()) && !reads.is_empty()
        {
            let mut block = [0; 4096];
            let count = client.read(&mut block).unwrap_or_else(|error| {
                panic!("{error} with {how:?} after {:?}", String::from_utf8_lossy(&received))
            });
            assert!(count > 0, "the response ends after {:?}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&block[..count]);
        }
        let since = Instant::now();
        let _held = disconnect(client, *how);
        origin.wait_for_end(since, &format!("{how:?} after {reads:?}"));
    }
}

const EVENT_STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
    9\r\ndata: 1\n\n\r\n";
const PART: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 99999999\r\n\r\npart";
const SHORT: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 99\r\n\r\npart";
const CHUNK: &str =
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";

/// Checks every point at which a client may disconnect.
fn assert_cancelled_at_every_point(peer: SocketAddr) {
    assert_cancelled(peer, After::Sends(""), "", &DISCONNECTS);
    assert_cancelled(peer, After::Sends("HTTP/1.1 200 OK\r\nServer: "), "", &DISCONNECTS);
    // After a part of the response has been sent, a shut down write side does not cancel the fetch.
    let gone = &DISCONNECTS[1..];
    assert_cancelled(peer, After::Sends(EVENT_STREAM), "data: 1\n\n", gone);
    assert_cancelled(peer, After::Streams, "xxx", gone);
    assert_cancelled(peer, After::Sends(PART), "part", gone);
    assert_cancelled(peer, After::Sends(SHORT), "part", gone);
    assert_cancelled(peer, After::Sends(SHORT), "", gone);
    assert_cancelled(peer, After::Sends(CHUNK), "part", gone);
}

#[test]
fn fetch_is_cancelled_when_its_client_disconnects() {
    assert_cancelled_at_every_point(LocalPeer::start().address());
}

#[test]
fn process_cancels_a_fetch_when_its_client_disconnects() {
    assert_cancelled_at_every_point(PeerProcess::start().address);
}

#[test]
fn queued_request_of_a_disconnected_client_is_not_fetched() {
    let origin = WatchedOrigin::start(After::Sends(""));
    let peer = LocalPeer::start_on(ServerConfig::new().workers(1), |builder| builder);
    for how in DISCONNECTS {
        let first = send_request(peer.address(), &origin.url("/first"));
        origin.wait_for("/first");
        let queued = send_request(peer.address(), &origin.url("/queued"));
        let held = disconnect(queued, how);
        if let Some(mut held) = held {
            assert_eq!(held.read(&mut [0]).unwrap(), 0, "the peer closes the connection of a queued request");
        }
        // The server has one thread, so it has processed all earlier events once it answers this.
        assert_eq!(crate::local::send(peer.address(), "GET", "/healthz", "").status, 200);
        let since = Instant::now();
        drop(first);
        origin.wait_for_end(since, "the first request");
        let last = send_request(peer.address(), &origin.url("/last"));
        origin.wait_for("/last");
        drop(last);
        origin.wait_for_end(Instant::now(), "the last request");
    }
}

#[test]
fn fetch_continues_while_another_client_waits() {
    // With one I/O thread, requests are read in the order in which they are sent.
    let peer = LocalPeer::start_on(ServerConfig::new().io_threads(1), |builder| builder);
    for how in DISCONNECTS {
        let gate = Gate::new();
        let origin = {
            let gate = gate.clone();
            Origin::start(move |received: &Received| Reply::target(received).gate_head(&gate))
        };
        let url = origin.url("/shared");
        let first = send_request(peer.address(), &url);
        origin.wait_for(1);
        let mut second = peer.start_get(&url);
        assert_eq!(crate::local::send(peer.address(), "GET", "/healthz", "").status, 200);
        let _held = disconnect(first, how);
        assert_eq!(crate::local::send(peer.address(), "GET", "/healthz", "").status, 200);
        gate.open();
        assert_eq!(second.read_response().body, b"/shared");
        assert_eq!(origin.count(), 1, "{how:?}");
    }
}
