//! Checks that the server sends the same responses however the bytes of a connection are split.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};

use super::mutate::Random;
use crate::base::memory_limit::Ledger;
use crate::message::body::Body;
use crate::message::nonblocking::{Lane, PlainRequest, Step, Wakes};
use crate::server::{Handler, Responder, Scratch, Sender, Server, ServerConfig, ServerHandle, handled};
use crate::store::StoredResponse;

/// Time after which a missing response counts as a hang.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Byte sequences that may follow a head.
const CONTENTS: &[&[u8]] = &[
    b"",
    b"",
    b"abc",
    b"0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"1;x=\"y\"\r\na\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
    b"3\r\nab",
    b"ffffffffffffffff\r\n",
    b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\n",
];

/// Starts a server that describes each request in its response.
pub(super) fn start_server() -> ServerHandle {
    Server::bind_responder("127.0.0.1:0", &ServerConfig::new(), &(Arc::new(Echo) as Arc<dyn Responder>))
        .expect("a loopback port is free")
}

/// Describes the request in the response. It responds at once to a complete request, because the server drops
/// unfinished requests of a client that has closed its sending side.
struct Echo;

impl Handler for Echo {
    fn handle(&self, request: Request<Body>) -> Response<Body> {
        let (method, target) = (request.method().clone(), request.uri().clone());
        let fields = request.headers().len();
        let body = request.into_body().into_bytes();
        let body = body.as_ref().map_or("incomplete".to_owned(), |body| body.escape_ascii().to_string());
        Response::new(Body::from(format!("{method} {target} {fields} {body}")))
    }
}

impl Responder for Echo {
    fn hit(&self, _: &PlainRequest<'_>, _: &Sender, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
        None
    }

    fn step(self: Arc<Self>, request: Request<Body>, wakes: Wakes<'_>) -> Step<Response<Body>> {
        if request.body().as_bytes().is_some() {
            return Step::Serve(self.handle(request));
        }
        handled(Lane::Handler, Ledger::new(u64::MAX), request, wakes, move |request| self.handle(request))
    }
}

/// Concatenates heads with a random byte sequence after each.
pub(super) fn message(heads: impl Iterator<Item = Vec<u8>>, random: &mut Random) -> Vec<u8> {
    let mut message = Vec::new();
    for head in heads {
        message.extend_from_slice(&head);
        message.extend_from_slice(CONTENTS[random.below(CONTENTS.len())]);
    }
    message
}

pub(super) fn check(address: SocketAddr, message: &[u8], random: &mut Random) {
    let whole = answers(address, [message].into_iter());
    let mut pieces = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let (piece, others) = rest.split_at(1 + random.below(rest.len().min(1 + message.len() / 4)));
        pieces.push(piece);
        rest = others;
    }
    let split = answers(address, pieces.into_iter());
    assert_eq!(split, whole, "{}", message.escape_ascii());
}

/// Returns all responses, without their dates.
fn answers<'a>(address: SocketAddr, pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut socket = TcpStream::connect(address).expect("the server accepts connections");
    socket.set_nodelay(true).expect("TCP_NODELAY can be set");
    socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
    for piece in pieces {
        // The server may have closed the connection.
        if socket.write_all(piece).is_err() {
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Write);
    let mut bytes = Vec::new();
    if let Err(error) = socket.read_to_end(&mut bytes) {
        let is_reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(is_reset, "{error} after {}", bytes.escape_ascii());
    }
    let text = bytes.escape_ascii().to_string();
    let lines = text.split("\\r\\n").filter(|line| !line.starts_with("date: "));
    lines.collect::<Vec<_>>().join("\n")
}
