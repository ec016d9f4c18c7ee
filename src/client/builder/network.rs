//! Time limits, connections and certificates of the network between a client and its peers.

use std::path::PathBuf;
use std::time::Duration;

use super::ClientBuilder;

impl ClientBuilder {
    /// How long connecting to a peer may take, the TLS handshake included: one that takes longer has failed. The next
    /// owner is tried after 300 milliseconds already. Default: 2 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.connect_timeout(timeout);
        self.options.hop = timeout;
        self
    }

    /// How long a peer may take to answer, connecting included: it may have to ask the origin first. Default: 70 seconds,
    /// somewhat more than a peer gives an origin.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.response_timeout(timeout);
        self.options.head_timeout = timeout;
        self
    }

    /// How long a transfer may stand still in either direction. Default: 30 seconds.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.read_timeout(timeout).write_timeout(timeout);
        self
    }

    /// How many idle connections are kept in all, for 20 seconds each. Default: 1600, 16 for each of 100 peers.
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

    /// How many idle connections are kept to each peer: as many requests at a time find one. Default: 64.
    pub fn idle_connections_per_peer(mut self, most: usize) -> Self {
        self.network = self.network.idle_connections_per_origin(most);
        self
    }

    /// Certificates in PEM to trust beside those of the web, for peers that speak HTTPS.
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.network = self.network.root_certificates_file(path);
        self
    }

    /// Shows this certificate to peers that ask for one: two PEM files, the certificate first and then those
    /// that lead to a root, and its key, not encrypted. They are read once, by [`build`](Self::build).
    /// Default: none.
    ///
    /// Peers alone are shown it: what is [fetched directly](OnNoPeers::FetchDirectly) goes out without.
    ///
    /// The last call counts, of this and of [`client_certificate_pem`](Self::client_certificate_pem).
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

    /// As [`client_certificate_files`](Self::client_certificate_files), with the PEM itself.
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
