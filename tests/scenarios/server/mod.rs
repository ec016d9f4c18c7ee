//! Valid and invalid input on the socket of a server, which must keep serving afterwards.
//!
//! | module | subject |
//! |---|---|
//! | `heads` | rejected heads and their statuses |
//! | `framing` | bodies, their framing and their limits |
//! | `smuggling` | messages that two parsers could split differently |
//! | `responses` | responses: framing, connection reuse, failing handlers |
//! | `deadlines` | slow, silent and disconnecting clients |
//! | `limits` | too many connections, requests or file descriptors |

use std::net::SocketAddr;
use std::sync::Arc;

use forwardcache::Body;
use forwardcache::server::{Server, ServerConfig, ServerHandle};
use http::{Request, Response};
use parking_lot::Mutex;

use crate::support::raw::{self, Connection};

mod deadlines;
mod framing;
mod heads;
mod limits;
mod responses;
mod smuggling;

/// A request as passed to the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReceivedRequest {
    method: String,
    target: String,
    /// The body, or `None` if it was truncated.
    body: Option<Vec<u8>>,
}

impl ReceivedRequest {
    fn of(method: &str, target: &str, body: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), body: Some(body.into()) }
    }
}

/// A server whose handler records each request and responds with `ok`.
struct RecordingServer {
    serving: ServerHandle,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl RecordingServer {
    fn start() -> Self {
        Self::start_with(ServerConfig::new())
    }

    fn start_with(options: ServerConfig) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&seen);
        let handler = move |request: Request<Body>| {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            let body = request.into_body().into_bytes().ok().map(Vec::from);
            recorded.lock().push(ReceivedRequest { method, target, body });
            Response::new(Body::from("ok"))
        };
        Self { serving: start_server(options, handler), seen }
    }

    fn address(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    fn connect(&self) -> Connection {
        Connection::open(self.address())
    }

    /// Returns the requests since the last call.
    fn seen(&self) -> Vec<ReceivedRequest> {
        std::mem::take(&mut self.seen.lock())
    }

    /// Sends these bytes, which must be rejected before the handler is called. Returns the status.
    fn rejected_with(&self, bytes: impl AsRef<[u8]>) -> u16 {
        let mut connection = self.connect();
        connection.write(bytes);
        let status = read_rejection(&mut connection);
        assert_eq!(self.seen(), []);
        self.assert_still_serves();
        status
    }

    fn assert_still_serves(&self) {
        assert_still_serves(self.address());
        self.seen();
    }
}

/// Reads the response to a rejected request and the end of its connection. Returns the status.
fn read_rejection(connection: &mut Connection) -> u16 {
    let response = connection.read_response();
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert!(response.field("forwardcache-error").is_some());
    assert!(connection.read_to_end().is_empty());
    response.status
}

fn assert_still_serves(address: SocketAddr) {
    let response = raw::exchange(address, "GET /still HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(response.starts_with(b"HTTP/1.1 "), "{:?}", response.escape_ascii().to_string());
}

fn start_server(
    options: ServerConfig,
    handler: impl Fn(Request<Body>) -> Response<Body> + Send + Sync + 'static,
) -> ServerHandle {
    Server::bind("127.0.0.1:0", options, handler).expect("a loopback port is free")
}
