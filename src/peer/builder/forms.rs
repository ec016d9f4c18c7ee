//! Options of the forms for programs that do not know the pool.

use super::PeerBuilder;
use crate::peer::mirror::Mirror;

impl PeerBuilder {
    /// Serves an origin below a path of this peer, in addition to earlier mirrors. The first mirror with a name counts.
    /// Default: none.
    ///
    /// ```
    /// use forwardcache::Peer;
    /// use forwardcache::peer::Mirror;
    ///
    /// let mirror = Mirror::new("crates", "https://index.crates.io/")?.rewrite(["static.crates.io"])?;
    /// let peer = Peer::builder("http://127.0.0.1:3000").mirror(mirror).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn mirror(mut self, mirror: Mirror) -> Self {
        self.mirrors.push(mirror);
        self
    }

    /// Sets the ports to which tunnels may lead, if the server is a
    /// [forward proxy](crate::server::ServerConfig::http_proxy). Default: 443.
    ///
    /// The first bytes in a tunnel must begin TLS for the host that the client named. The peer refuses tunnels to itself,
    /// to other peers, and to addresses that the [rules](Self::origins) forbid.
    pub fn connect_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.connect_ports = ports.into_iter().collect();
        self
    }

    /// Sets whether browsers may run pages that they receive below `/fetch/` or a mirror. For a browser, all of them have
    /// the same origin, so the page of one site can read what the user receives of the others. Default: no; responses
    /// carry `Content-Security-Policy: sandbox allow-downloads`, so that only links that the user clicks work.
    pub fn allow_pages(mut self, allow: bool) -> Self {
        self.allow_pages = allow;
        self
    }

    /// Sets whether the peer is only a gateway: a local helper that sends the requests of other programs to the pool, and
    /// that owns no URLs. The [pool](Self::pool) then consists of the other peers only. A gateway refuses the requests of
    /// peers and clients of the pool with 508, because they would lead back to it. Default: no.
    ///
    /// ```
    /// use forwardcache::Peer;
    /// use forwardcache::server::ServerConfig;
    ///
    /// let builder = Peer::builder("http://127.0.0.1:3128").pool(["http://10.0.0.1:3000", "http://10.0.0.2:3000"]);
    /// let gateway = builder.gateway(true).build()?;
    /// let server = gateway.serve_with("127.0.0.1:0", ServerConfig::new().http_proxy(true))?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn gateway(mut self, is_gateway: bool) -> Self {
        self.is_gateway = is_gateway;
        self
    }
}
