//! Responses: framing, connection reuse, failing handlers.

use std::io::{self, Read};
use std::net::TcpStream;

use forwardcache::Body;
use forwardcache::server::ServerConfig;
use http::{Request, Response};

use super::{assert_still_serves, start_server};
use crate::support::origin::Gate;
use crate::support::raw::Connection;

/// A body that yields its pieces from last to first, and then ends or fails.
struct Pieces(Vec<&'static [u8]>, bool);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.pop() {
            Some(piece) => {
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
            None if self.1 => Err(io::Error::other("broken")),
            None => Ok(0),
        }
    }
}

/// A server whose response depends on the path.
fn scripted_server() -> forwardcache::server::ServerHandle {
    start_server(ServerConfig::new(), |request: Request<Body>| {
        let stream = |fails, length| Body::from_reader(Pieces(vec![b"defgh", b"abc"], fails), length);
        match request.uri().path() {
            "/stream" => Response::new(stream(false, None)),
            "/broken" => Response::new(stream(true, None)),
            "/broken-length" => Response::new(stream(true, Some(100_000))),
            "/short" => Response::new(stream(false, Some(100_000))),
            "/broken-small" => Response::new(stream(true, Some(50))),
            "/long" => Response::new(stream(false, Some(2))),
            "/panic" => panic!("panic of a test handler"),
            "/panic-later" => Response::new(Body::from_reader(PanickingBody, None)),
            "/interim" => Response::builder().status(103).body(Body::empty()).unwrap(),
            "/empty" => Response::builder().status(204).body(Body::empty()).unwrap(),
            "/not-modified" => {
                Response::builder().status(304).header("etag", "\"a\"").body(Body::empty()).unwrap()
            }
            "/missing" => Response::builder().status(404).body(Body::from("no")).unwrap(),
            path => Response::new(Body::from(path.to_owned())),
        }
    })
}

struct PanickingBody;

impl Read for PanickingBody {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("panic of a test body");
    }
}

fn send_head(serving: &forwardcache::server::ServerHandle, head: &str) -> Connection {
    let mut connection = Connection::open(serving.local_addr());
    connection.write(head.to_owned() + "\r\n");
    connection
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n")
}

#[test]
fn connection_is_kept_unless_close_is_requested() {
    let serving = scripted_server();
    let mut connection = send_head(&serving, &get("/a"));
    for path in ["/missing", "/empty", "/not-modified", "/stream", "/panic", "/interim"] {
        connection.read_response();
        connection.write(get(path) + "\r\n");
    }
    assert_eq!(connection.read_response().status, 500);
    connection.write(get("/b") + "Connection: close\r\n\r\n");
    let last = connection.read_response();
    assert_eq!((&last.body[..], last.field("connection")), (&b"/b"[..], Some("close")));
    assert!(connection.read_to_end().is_empty());
}

#[test]
fn http_1_0_client_is_served() {
    let serving = scripted_server();
    let mut connection = send_head(&serving, "GET /a HTTP/1.0\r\n");
    let response = connection.read_response();
    assert_eq!((&response.body[..], response.field("connection")), (&b"/a"[..], Some("close")));
    assert!(connection.read_to_end().is_empty());

    let mut connection = send_head(&serving, "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n");
    assert_eq!(connection.read_response().field("connection"), Some("keep-alive"));
    connection.write("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = connection.read_response();
    assert_eq!(response.body, b"abcdefgh");
    assert_eq!((response.field("transfer-encoding"), response.field("connection")), (None, Some("close")));
    assert!(connection.read_to_end().is_empty());
}

#[test]
fn head_response_has_no_body() {
    let serving = scripted_server();
    let mut connection = send_head(&serving, "HEAD /abc HTTP/1.1\r\nHost: a\r\n");
    let response = connection.read_response_to_head();
    assert_eq!(response.field("content-length"), Some("4"));
    connection.write("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.read_response_to_head().status, 200);
    connection.write(get("/b") + "\r\n");
    assert_eq!(connection.read_response().body, b"/b");
}

#[test]
fn failing_body_is_never_complete() {
    let serving = scripted_server();
    for path in ["/broken", "/broken-length", "/short", "/panic-later"] {
        let response = send_head(&serving, &get(path)).read_response();
        assert!(response.cut.is_some(), "{path}: {response:?}");
        assert_still_serves(serving.local_addr());
    }
    let mut old = send_head(&serving, "GET /broken HTTP/1.0\r\n");
    assert_eq!(old.read_response().cut, Some(io::ErrorKind::ConnectionReset));
    // An error status is possible as long as the head has not been sent.
    for path in ["/broken-small", "/long"] {
        let response = send_head(&serving, &get(path)).read_response();
        assert_eq!((response.status, response.cut), (502, None), "{path}");
        assert!(response.field("forwardcache-error").is_some());
    }
}

#[test]
fn panicking_handler_fails_one_request() {
    let serving = scripted_server();
    let mut connection = send_head(&serving, &get("/panic"));
    assert_eq!(connection.read_response().status, 500);
    connection.write(get("/a") + "\r\n");
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let serving = scripted_server();
    let mut connection = Connection::open(serving.local_addr());
    let all: String = (0..50).map(|number| get(&format!("/{number}")) + "\r\n").collect();
    connection.write(all);
    for number in 0..50 {
        assert_eq!(connection.read_response().body, format!("/{number}").as_bytes());
    }
}

#[test]
fn shutdown_finishes_active_requests_and_closes_idle_connections() {
    let (gate, started) = (Gate::new(), Gate::new());
    let (handler_gate, started_signal) = (gate.clone(), started.clone());
    let serving = start_server(ServerConfig::new(), move |request: Request<Body>| {
        if request.uri().path() == "/slow" {
            started_signal.open();
            handler_gate.wait();
        }
        Response::new(Body::from("done"))
    });
    let address = serving.local_addr();
    let mut idle = send_head(&serving, &get("/a"));
    idle.read_response();
    let mut busy = send_head(&serving, &get("/slow"));
    started.wait();
    serving.shutdown();
    assert!(idle.read_to_end().is_empty());
    assert!(TcpStream::connect(address).is_err());
    gate.open();
    let response = busy.read_response();
    assert_eq!((&response.body[..], response.field("connection")), (&b"done"[..], Some("close")));
    assert!(busy.read_to_end().is_empty());
    serving.join();
}

#[test]
fn shutdown_is_limited_by_the_drain_deadline() {
    let quick = start_server(
        ServerConfig::new().drain_deadline(std::time::Duration::from_millis(50)),
        |_: Request<Body>| Response::new(Body::empty()),
    );
    let mut other = Connection::open(quick.local_addr());
    other.write("GET /");
    quick.shutdown();
    quick.join();
    assert!(other.read_to_end().is_empty());
}
