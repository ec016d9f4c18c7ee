//! Peers that are served in this process.

use std::net::{SocketAddr, TcpListener};

use forwardcache::{Client, FrontOptions, Peer, PeerBuilder, PeerState, Serving};

use crate::support::raw::{Connection, Response};

/// A peer on a loopback port, shut down when dropped.
pub(crate) struct LocalPeer {
    pub(crate) peer: Peer,
    serving: Serving,
}

impl LocalPeer {
    /// A pool of one with defaults.
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// A pool of one, built as `with` says.
    pub(crate) fn start_with(with: impl FnOnce(PeerBuilder) -> PeerBuilder) -> Self {
        Self::start_on(FrontOptions::new(), with)
    }

    /// A pool of one, whose front has these options.
    pub(crate) fn start_on(options: FrontOptions, with: impl FnOnce(PeerBuilder) -> PeerBuilder) -> Self {
        let listener = listen();
        let builder = Peer::builder(url_of(&listener));
        Self::serve(listener, options, with(builder))
    }

    /// A pool of this many, each of which knows all of them.
    pub(crate) fn pool(size: usize) -> Vec<Self> {
        Self::pool_with(size, |builder| builder)
    }

    /// The same, each built as `with` says.
    pub(crate) fn pool_with(size: usize, with: impl Fn(PeerBuilder) -> PeerBuilder) -> Vec<Self> {
        let listeners: Vec<_> = (0..size).map(|_| listen()).collect();
        let urls: Vec<_> = listeners.iter().map(url_of).collect();
        let peers = listeners.into_iter().map(|listener| {
            let builder = Peer::builder(url_of(&listener)).pool(urls.clone());
            Self::serve(listener, FrontOptions::new(), with(builder))
        });
        peers.collect()
    }

    fn serve(listener: TcpListener, options: FrontOptions, builder: PeerBuilder) -> Self {
        let peer = builder.build().expect("the options of a peer here are good");
        let serving = peer.serve_on(listener, options).expect("a bound socket can be served");
        Self { peer, serving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn urls(pool: &[Self]) -> Vec<String> {
        pool.iter().map(Self::url).collect()
    }

    /// A client whose pool is this peer alone.
    pub(crate) fn client(&self) -> Client {
        Client::builder().pool([self.url()]).build().expect("the URL of a peer is good")
    }

    /// A connection on which it has been asked for a URL.
    pub(crate) fn asked(&self, url: &str) -> Connection {
        asked(self.address(), url)
    }

    /// Asks it for a URL, over a socket.
    pub(crate) fn get(&self, url: &str) -> Response {
        self.get_with(url, "")
    }

    /// As [`get`](Self::get), with lines of fields, each ended by `\r\n`.
    pub(crate) fn get_with(&self, url: &str, fields: &str) -> Response {
        self.send("GET", url, fields)
    }

    /// Sends a request about a URL, with lines of fields and nothing behind them.
    pub(crate) fn send(&self, method: &str, url: &str, fields: &str) -> Response {
        send(self.address(), method, &format!("/proxy?q={}", escaped(url)), fields)
    }
}

/// A connection on which a peer has been asked for a URL.
pub(crate) fn asked(peer: SocketAddr, url: &str) -> Connection {
    let mut connection = Connection::open(peer);
    connection.write(format!("GET /proxy?q={} HTTP/1.1\r\nHost: {peer}\r\n\r\n", escaped(url)));
    connection
}

/// What this client holds of a peer of its pool.
pub(crate) fn state(client: &Client, url: &str) -> PeerState {
    client.health().into_iter().find(|peer| peer.url.as_str() == url).unwrap().state
}

/// Sends a request for a target as it is, with lines of fields, and nothing behind them.
pub(crate) fn send(peer: SocketAddr, method: &str, target: &str, fields: &str) -> Response {
    let mut connection = Connection::open(peer);
    connection.write(format!("{method} {target} HTTP/1.1\r\nHost: {peer}\r\n{fields}\r\n"));
    if method == "HEAD" { connection.read_response_to_head() } else { connection.read_response() }
}

/// A text as the value of a query: every byte that may mean something is escaped.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// A listener on a loopback port that the system chose.
pub(crate) fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a loopback port is free")
}

fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("a bound socket has an address"))
}
