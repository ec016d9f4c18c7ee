//! Peers that run in this process.

use std::net::{SocketAddr, TcpListener};

use forwardcache::client::PeerState;
use forwardcache::peer::PeerBuilder;
use forwardcache::server::{ServerConfig, ServerHandle};
use forwardcache::{Client, Peer};

use crate::support::raw::{Connection, Response};

/// A peer on a loopback port, shut down when dropped.
pub(crate) struct LocalPeer {
    pub(crate) peer: Peer,
    serving: ServerHandle,
}

impl LocalPeer {
    /// A pool of one peer with default options.
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// A pool of one peer, configured by `with`.
    pub(crate) fn start_with(with: impl FnOnce(PeerBuilder) -> PeerBuilder) -> Self {
        Self::start_on(ServerConfig::new(), with)
    }

    /// A pool of one peer, whose server has these options.
    pub(crate) fn start_on(options: ServerConfig, with: impl FnOnce(PeerBuilder) -> PeerBuilder) -> Self {
        let listener = listen();
        let builder = Peer::builder(url_of(&listener));
        Self::serve(listener, options, with(builder))
    }

    /// A pool of `size` peers with identical peer lists.
    pub(crate) fn pool(size: usize) -> Vec<Self> {
        Self::pool_with(size, |builder| builder)
    }

    /// Like [`pool`](Self::pool), each peer configured by `with`.
    pub(crate) fn pool_with(size: usize, with: impl Fn(PeerBuilder) -> PeerBuilder) -> Vec<Self> {
        let listeners: Vec<_> = (0..size).map(|_| listen()).collect();
        let urls: Vec<_> = listeners.iter().map(url_of).collect();
        let peers = listeners.into_iter().map(|listener| {
            let builder = Peer::builder(url_of(&listener)).pool(urls.clone());
            Self::serve(listener, ServerConfig::new(), with(builder))
        });
        peers.collect()
    }

    fn serve(listener: TcpListener, options: ServerConfig, builder: PeerBuilder) -> Self {
        let peer = builder.build().expect("the options of the peer are valid");
        let serving = peer.serve_on(listener, options).expect("a bound socket can be served");
        Self { peer, serving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    /// Returns the base URL of the peer.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn urls(pool: &[Self]) -> Vec<String> {
        pool.iter().map(Self::url).collect()
    }

    /// A client whose pool is only this peer.
    pub(crate) fn client(&self) -> Client {
        Client::builder().pool([self.url()]).build().expect("the URL of the peer is valid")
    }

    /// Opens a connection and sends a GET for this URL; the response is not read.
    pub(crate) fn start_get(&self, url: &str) -> Connection {
        start_get(self.address(), url)
    }

    /// Requests this URL over a socket.
    pub(crate) fn get(&self, url: &str) -> Response {
        self.get_with(url, "")
    }

    /// Like [`get`](Self::get), with header lines that each end with `\r\n`.
    pub(crate) fn get_with(&self, url: &str, fields: &str) -> Response {
        self.send("GET", url, fields)
    }

    /// Sends a request for this URL with these header lines and no body.
    pub(crate) fn send(&self, method: &str, url: &str, fields: &str) -> Response {
        send(self.address(), method, &format!("/proxy?q={}", escaped(url)), fields)
    }
}

/// Opens a connection to a peer and sends a GET for this URL; the response is not read.
pub(crate) fn start_get(peer: SocketAddr, url: &str) -> Connection {
    let mut connection = Connection::open(peer);
    connection.write(format!("GET /proxy?q={} HTTP/1.1\r\nHost: {peer}\r\n\r\n", escaped(url)));
    connection
}

/// Returns the state of a peer as seen by this client.
pub(crate) fn state(client: &Client, url: &str) -> PeerState {
    client.health().into_iter().find(|peer| peer.url.as_str() == url).unwrap().state
}

/// Sends a request for this literal target with these header lines and no body.
pub(crate) fn send(peer: SocketAddr, method: &str, target: &str, fields: &str) -> Response {
    let mut connection = Connection::open(peer);
    connection.write(format!("{method} {target} HTTP/1.1\r\nHost: {peer}\r\n{fields}\r\n"));
    if method == "HEAD" { connection.read_response_to_head() } else { connection.read_response() }
}

/// Percent-encodes a text as the value of a query parameter.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// A listener on a free loopback port.
pub(crate) fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a loopback port is free")
}

fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("a bound socket has an address"))
}
