//! Cancellation: when the last client of a fetch disconnects, the request to the origin ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use forwardcache::FrontOptions;

use crate::local::{LocalPeer, escaped, listen};
use crate::processes::PeerProcess;
use crate::support::PATIENCE;
use crate::support::origin::{Gate, Origin, Received, Reply};

/// The documented limit is one second; the rest is tolerance for a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// How a client disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// It shuts down its write side and keeps reading.
    End,
    /// It closes its socket.
    Close,
    /// It resets the connection.
    Reset,
}

const LEAVING: [Leaving; 3] = [Leaving::End, Leaving::Close, Leaving::Reset];

/// The behaviour of an origin after it has received a request.
#[derive(Clone, Copy)]
enum After {
    /// Sends this text, then nothing more.
    Says(&'static str),
    /// Sends a body until the connection fails.
    Streams,
}

/// An origin that reports when it receives a request and when a connection ends.
struct Watched {
    address: SocketAddr,
    asked: Receiver<String>,
    ended: Receiver<Instant>,
}

impl Watched {
    fn start(after: After) -> Self {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let ((asks, asked), (ends, ended)) = (unbounded(), unbounded());
        thread::spawn(move || accept(&listener, after, &asks, &ends));
        Self { address, asked, ended }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn wait_for(&self, path: &str) {
        let line = self.asked.recv_timeout(PATIENCE).expect("the origin receives a request");
        assert_eq!(line, format!("GET {path} HTTP/1.1"));
    }

    fn wait_for_end(&self, since: Instant, what: &str) {
        let ended = self
            .ended
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{what}: the request to the origin does not end"));
        let took = ended.saturating_duration_since(since);
        assert!(took < SOON, "{what}: {took:?}");
    }
}

fn accept(listener: &TcpListener, after: After, asks: &Sender<String>, ends: &Sender<Instant>) {
    for socket in listener.incoming() {
        let (mut socket, asks, ends) = (socket.unwrap(), asks.clone(), ends.clone());
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
            let _ = asks.send(head.lines().next().unwrap().to_owned());
            match after {
                After::Says(text) => {
                    let _ = socket.write_all(text.as_bytes());
                    let _ = socket.read(&mut [0]);
                }
                After::Streams => {
                    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
                    while socket.write_all(&[b'x'; 65536]).is_ok() {}
                }
            }
            let _ = ends.send(Instant::now());
        });
    }
}

/// Sends a request for a URL to a peer.
fn ask(peer: SocketAddr, url: &str) -> TcpStream {
    let mut socket = TcpStream::connect(peer).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET /proxy?q={} HTTP/1.1\r\nHost: {peer}\r\n\r\n", escaped(url)).unwrap();
    socket
}

/// Disconnects. For [`Leaving::End`] it returns the socket, which must be kept open.
fn leave(socket: TcpStream, how: Leaving) -> Option<TcpStream> {
    match how {
        Leaving::End => socket.shutdown(Shutdown::Write).unwrap(),
        Leaving::Close => return None,
        Leaving::Reset => {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
            return None;
        }
    }
    Some(socket)
}

/// Checks each way to disconnect while the origin has sent `after` and the client has read up to `reads`.
fn is_cancelled(peer: SocketAddr, after: After, reads: &str, ways: &[Leaving]) {
    let origin = Watched::start(after);
    for (number, how) in ways.iter().enumerate() {
        let path = format!("/{number}");
        let mut client = ask(peer, &origin.url(&path));
        origin.wait_for(&path);
        let mut came = Vec::new();
        while !came.windows(reads.len().max(1)).any(|part| part == reads.as_bytes()) && !reads.is_empty() {
            let mut block = [0; 4096];
            let count = client.read(&mut block).unwrap_or_else(|error| {
                panic!("{error} with {how:?} after {:?}", String::from_utf8_lossy(&came))
            });
            assert!(count > 0, "the response ends after {:?}", String::from_utf8_lossy(&came));
            came.extend_from_slice(&block[..count]);
        }
        let since = Instant::now();
        let _held = leave(client, *how);
        origin.wait_for_end(since, &format!("{how:?} after {reads:?}"));
    }
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
    9\r\ndata: 1\n\n\r\n";
const PART: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 99999999\r\n\r\npart";
const SHORT: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 99\r\n\r\npart";
const CHUNK: &str =
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";

/// Checks every point at which a client may disconnect.
fn each_point_is_cancelled(peer: SocketAddr) {
    is_cancelled(peer, After::Says(""), "", &LEAVING);
    is_cancelled(peer, After::Says("HTTP/1.1 200 OK\r\nServer: "), "", &LEAVING);
    // After a part of the response has been sent, a shut down write side does not cancel the fetch.
    let gone = &LEAVING[1..];
    is_cancelled(peer, After::Says(EVENTS), "data: 1\n\n", gone);
    is_cancelled(peer, After::Streams, "xxx", gone);
    is_cancelled(peer, After::Says(PART), "part", gone);
    is_cancelled(peer, After::Says(SHORT), "part", gone);
    is_cancelled(peer, After::Says(SHORT), "", gone);
    is_cancelled(peer, After::Says(CHUNK), "part", gone);
}

#[test]
fn fetch_is_cancelled_when_its_client_disconnects() {
    each_point_is_cancelled(LocalPeer::start().address());
}

#[test]
fn process_cancels_a_fetch_when_its_client_disconnects() {
    each_point_is_cancelled(PeerProcess::start().address);
}

#[test]
fn queued_request_of_a_disconnected_client_is_not_fetched() {
    let origin = Watched::start(After::Says(""));
    let peer = LocalPeer::start_on(FrontOptions::new().workers(1), |builder| builder);
    for how in LEAVING {
        let first = ask(peer.address(), &origin.url("/first"));
        origin.wait_for("/first");
        let queued = ask(peer.address(), &origin.url("/queued"));
        let held = leave(queued, how);
        if let Some(mut held) = held {
            assert_eq!(held.read(&mut [0]).unwrap(), 0, "the peer closes the connection of a queued request");
        }
        // The server has one thread, so it has processed all earlier events once it answers this.
        assert_eq!(crate::local::send(peer.address(), "GET", "/healthz", "").status, 200);
        let since = Instant::now();
        drop(first);
        origin.wait_for_end(since, "the first request");
        let last = ask(peer.address(), &origin.url("/last"));
        origin.wait_for("/last");
        drop(last);
        origin.wait_for_end(Instant::now(), "the last request");
    }
}

#[test]
fn fetch_continues_while_another_client_waits() {
    // With one I/O thread, requests are read in the order in which they are sent.
    let peer = LocalPeer::start_on(FrontOptions::new().io_threads(1), |builder| builder);
    for how in LEAVING {
        let gate = Gate::new();
        let origin = {
            let gate = gate.clone();
            Origin::start(move |received: &Received| Reply::target(received).gate_head(&gate))
        };
        let url = origin.url("/shared");
        let first = ask(peer.address(), &url);
        origin.wait_for(1);
        let mut second = peer.asked(&url);
        assert_eq!(crate::local::send(peer.address(), "GET", "/healthz", "").status, 200);
        let _held = leave(first, how);
        assert_eq!(crate::local::send(peer.address(), "GET", "/healthz", "").status, 200);
        gate.open();
        assert_eq!(second.read_response().body, b"/shared");
        assert_eq!(origin.count(), 1, "{how:?}");
    }
}
