//! Options of a forward proxy, and of a server behind proxies.

use std::net::IpAddr;
use std::time::Duration;

use super::ServerConfig;
use crate::server::proxy_protocol::TrustedProxies;

impl ServerConfig {
    /// Sets whether a [`Peer`](crate::Peer) on this server is a forward proxy: whether it accepts the absolute form
    /// (RFC 9112 section 3.2.2) of a target on another server, as `http_proxy` makes programs send it. If not, such
    /// a request gets 421. `TinyHttpServer` does not support this option. Default: no.
    ///
    /// Only programs on this machine may use the proxy, unless the peer has [tokens](crate::peer::PeerBuilder::tokens) or the
    /// server requires [client certificates](crate::server::ServerTls::client_certificates_from).
    ///
    /// ```
    /// use forwardcache::server::ServerConfig;
    /// use forwardcache::Peer;
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").build()?;
    /// let proxy = peer.serve_with("127.0.0.1:0", ServerConfig::new().http_proxy(true))?;
    /// println!("export http_proxy=http://{}", proxy.local_addr());
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    #[must_use]
    pub fn http_proxy(mut self, is_proxy: bool) -> Self {
        self.http_proxy = is_proxy;
        self
    }

    /// Sets the maximum number of open tunnels of a [forward proxy](Self::http_proxy) (CONNECT). Further requests get
    /// 503. One client gets at most half of the tunnels, and less while others have many. The limit is lower if the
    /// process may open fewer than four times as many files. Zero disables CONNECT. Default: 4,096.
    #[must_use]
    pub fn max_tunnels(mut self, tunnels: usize) -> Self {
        self.max_tunnels = tunnels;
        self
    }

    /// Sets how long a tunnel may transfer nothing before the server closes it. Default: 10 minutes.
    #[must_use]
    pub fn tunnel_idle_timeout(mut self, timeout: Duration) -> Self {
        self.tunnel_idle_timeout = timeout;
        self
    }

    /// Requires the PROXY protocol (version 1 or 2) of these proxies, in addition to those of earlier calls. Limits
    /// and logs then apply to the client that the header names. A connection from any other address must not
    /// begin with such a header. The header must arrive within [`handshake_timeout`](Self::handshake_timeout) and
    /// have at most 2 KiB. Default: no proxies.
    ///
    /// The proxies decide who the client is, so list only their own addresses. No client then counts as a program of this
    /// machine because of a loopback address.
    #[must_use]
    pub fn proxy_protocol_from(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies.push(proxies);
        self
    }

    /// Returns whether proxies send headers of the PROXY protocol, and so clients of other machines may be behind
    /// any socket.
    pub(crate) fn has_trusted_proxies(&self) -> bool {
        !self.trusted_proxies.is_empty()
    }

    /// Returns whether a connection from this address begins with a header of the PROXY protocol. `None` stands
    /// for a Unix socket.
    pub(in crate::server) fn has_proxy_header(&self, source: Option<IpAddr>) -> bool {
        self.trusted_proxies.iter().any(|proxies| proxies.contain(source))
    }
}
