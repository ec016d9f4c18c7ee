//! Time limits, connections and certificates of the network between a client and its peers.

use std::path::PathBuf;
use std::time::Duration;

use super::ClientBuilder;

impl ClientBuilder {
    /// Limits how long connecting to a peer may take, including the TLS handshake. After 300 milliseconds
    /// without a connection, the client also tries the next owner. Default: 2 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.connect_timeout(timeout);
        self.options.connect_timeout = timeout;
        self
    }

    /// Limits how long a peer may take to send the response head, including the connection and the peer's own
    /// fetch from the origin. Default: 70 seconds, slightly more than a peer allows an origin.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.response_timeout(timeout);
        self.options.head_timeout = timeout;
        self
    }

    /// Follows up to this many redirects of a response (RFC 9110 section 15.4). Each hop is a request of its own, to the
    /// owner of its URL. Credentials (`Authorization`, `Cookie`, and fields such as `X-Api-Key` whose name contains `auth`, `cookie`,
    /// `token`, `key`, `secret`, `session`, `signature` or `password`) do not go to another origin. A POST becomes a GET after
    /// 301, 302 and 303; a 307 or 308 of a request whose content is a stream is returned. More redirects are an error
    /// ([`ErrorKind::BadResponse`](crate::ErrorKind::BadResponse)). Default: 0, redirects are returned.
    ///
    /// ```
    /// use forwardcache::Client;
    ///
    /// let client = Client::builder().pool(["http://10.0.0.1:3000"]).follow_redirects(10).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn follow_redirects(mut self, most: u32) -> Self {
        self.options.redirects = most;
        self
    }

    /// Limits how long a transfer may make no progress in either direction. Default: 30 seconds.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.read_timeout(timeout).write_timeout(timeout);
        self
    }

    /// Sets how many idle connections the client keeps in total, each for 20 seconds. Default: 1600, 16 for
    /// each of 100 peers.
    ///
    /// ```
    /// use forwardcache::Client;
    ///
    /// let client = Client::builder().idle_connections(400).idle_connections_per_peer(100).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn idle_connections(mut self, most: usize) -> Self {
        self.network = self.network.idle_connections(most);
        self
    }

    /// Sets how many idle connections the client keeps to each peer. Default: 64.
    pub fn idle_connections_per_peer(mut self, most: usize) -> Self {
        self.network = self.network.idle_connections_per_origin(most);
        self
    }

    /// Trusts the PEM certificates in this file, in addition to the public roots, for peers that use HTTPS.
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.network = self.network.root_certificates_file(path);
        self
    }

    /// Presents this client certificate to peers that request one. Both files are PEM: the certificate first,
    /// then its chain towards a root; and its unencrypted key. [`build`](Self::build) reads them once.
    /// Default: none.
    ///
    /// Only peers receive the certificate; [direct fetches](crate::client::OnNoPeers::FetchDirectly) do not present
    /// it.
    ///
    /// The last call of this method or [`client_certificate_pem`](Self::client_certificate_pem) takes effect.
    ///
    /// ```no_run
    /// use forwardcache::Client;
    ///
    /// let pool = ["https://10.0.0.1:3000", "https://10.0.0.2:3000"];
    /// let client = Client::builder().pool(pool).client_certificate_files("me.pem", "me.key").build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn client_certificate_files(
        mut self,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.network = self.network.client_certificate_files(certificates, key);
        self
    }

    /// Like [`client_certificate_files`](Self::client_certificate_files), with the PEM text itself.
    ///
    /// ```
    /// use forwardcache::{Client, ErrorKind};
    ///
    /// let refused = Client::builder().client_certificate_pem("no certificate", "no key").build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::BadOption);
    /// ```
    pub fn client_certificate_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.network = self.network.client_certificate_pem(certificates, key);
        self
    }
}
