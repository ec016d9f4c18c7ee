//! Tunnels of CONNECT requests (RFC 9110 section 9.3.6).
//!
//! | module | subject |
//! |---|---|
//! | `relaying` | what passes through a tunnel, and its end |
//! | `refusals` | requests and first bytes that are refused |
//! | `many` | thousands of tunnels, limits, memory |

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use forwardcache::Peer;
use forwardcache::peer::PeerBuilder;
use forwardcache::server::{ServerConfig, ServerHandle};
use http::Request;

use crate::support::TEST_TIMEOUT;
use crate::support::tls::Authority;

mod many;
mod refusals;
mod relaying;

/// A peer that is a forward proxy for some ports.
struct Proxy {
    peer: Peer,
    server: ServerHandle,
}

impl Proxy {
    fn start(ports: &[u16]) -> Self {
        Self::start_with(ports, ServerConfig::new(), |builder| builder)
    }

    fn start_with(
        ports: &[u16],
        config: ServerConfig,
        with: impl FnOnce(PeerBuilder) -> PeerBuilder,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let builder = with(Peer::builder(url).connect_ports(ports.iter().copied()));
        let peer = builder.build().expect("the options are valid");
        let server = peer.serve_on(listener, config.http_proxy(true)).expect("a bound socket can be served");
        Self { peer, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Returns the value of a metric.
    fn metric(&self, name: &str) -> u64 {
        let request = Request::get("/metrics")
            .header("Proxy-Authorization", "Bearer correct-horse-battery")
            .body(forwardcache::Body::empty())
            .expect("the request is valid");
        let text = self.peer.admin_handler()(request).into_body().into_text().expect("metrics are text");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("forwardcache_")?.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}: {text}")).parse().expect("a metric is a number")
    }
}

/// Sends a CONNECT request. Returns the connection and the head of the response.
fn request(proxy: SocketAddr, target: &str, fields: &str) -> (TcpStream, String) {
    request_on(TcpStream::connect(proxy).expect("the proxy accepts connections"), target, fields)
}

/// Like [`request`], on a connection to the proxy.
fn request_on(mut socket: TcpStream, target: &str, fields: &str) -> (TcpStream, String) {
    socket.set_read_timeout(Some(TEST_TIMEOUT)).expect("the timeout is not zero");
    write!(socket, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n")
        .expect("the request is sent");
    let head = read_head(&mut socket);
    (socket, head)
}

/// Reads a response head byte by byte, so that nothing after it is lost.
fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).expect("a head is text")
}

/// Opens a tunnel.
fn open(proxy: SocketAddr, target: &str) -> TcpStream {
    let (socket, head) = request(proxy, target, "");
    assert_eq!(head, "HTTP/1.1 200 Connection established\r\n\r\n");
    socket
}

/// Returns the first bytes of a TLS client for this host.
fn hello(name: &'static str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Authority::new().client(name).write_tls(&mut bytes).expect("a vector accepts all bytes");
    bytes
}

/// A server on which `serve` handles each connection, on a thread of its own.
fn start_server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(socket));
        }
    });
    address
}

/// A server that sends everything back, and then closes its sending side.
fn start_echo() -> SocketAddr {
    start_server(|mut socket| {
        let mut reader = socket.try_clone().expect("a socket can be shared");
        let _ = std::io::copy(&mut reader, &mut socket);
        let _ = socket.shutdown(Shutdown::Write);
    })
}
