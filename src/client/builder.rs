//! What a [`Client`] is made of.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::asking::Client;
use super::pool::{self, Pool};
use crate::access::OriginRules;
#[cfg(feature = "peer")]
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "peer")]
use crate::near::{Near, NearCache, NearParts};
use crate::origin::{Origin, OriginBuilder};
#[cfg(feature = "peer")]
use crate::peer_url::PeerUrl;
#[cfg(feature = "peer")]
use crate::policy::Rules;
use crate::protocol;
use crate::ring::HashFunction;
use crate::round_trip::RoundTrip;
use crate::token::Tokens;

/// What a client does when its pool has no peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyPool {
    /// Every request fails as [`ErrorKind::EmptyPool`].
    #[default]
    Fail,
    /// Requests go to their origins, uncached.
    FetchDirectly,
}

/// Puts a [`Client`] together. Every part has a default.
#[must_use]
pub struct ClientBuilder {
    peers: Vec<String>,
    path: String,
    replicas: u32,
    hash: HashFunction,
    network: OriginBuilder,
    transport: Option<Arc<dyn RoundTrip>>,
    empty_pool: EmptyPool,
    tokens: Option<Tokens>,
    #[cfg(feature = "peer")]
    near: NearOptions,
}

/// What a client is told of its near cache, and a peer of that of its client.
#[cfg(feature = "peer")]
#[derive(Default)]
struct NearOptions {
    cache: NearCache,
    clock: Option<Arc<dyn Clock>>,
    own: Option<PeerUrl>,
    rules: Option<Rules>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            path: protocol::DEFAULT_PATH.to_owned(),
            replicas: 50,
            hash: HashFunction::default(),
            network: Origin::builder().response_timeout(Duration::from_secs(60)),
            transport: None,
            empty_pool: EmptyPool::default(),
            tokens: None,
            #[cfg(feature = "peer")]
            near: NearOptions::default(),
        }
    }
}

impl ClientBuilder {
    /// The peers, as base URLs such as `http://10.0.0.1:3000`. The order does not matter; each counts
    /// once. Default: none.
    pub fn pool(mut self, peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.peers = peers.into_iter().map(Into::into).collect();
        self
    }

    /// Shows the first of these tokens to the peers, and to nobody else. Default: none.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// The path under which the peers answer. Default: `/proxy`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// How many points each peer has on the ring. Default: 50. All members of a pool must agree.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// What places peers and URLs on the ring. Default: CRC-32 (IEEE). All members of a pool must agree.
    pub fn hash(mut self, hash: HashFunction) -> Self {
        self.hash = hash;
        self
    }

    /// How long connecting to a peer may take, the TLS handshake included. Default: 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.connect_timeout(timeout);
        self
    }

    /// How long a peer may take to answer once it has the request: it may have to ask the origin first.
    /// Default: 60 seconds.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.response_timeout(timeout);
        self
    }

    /// How long a transfer may stand still in either direction. Default: 30 seconds.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.network = self.network.read_timeout(timeout).write_timeout(timeout);
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
    /// Peers alone are shown it: what is [fetched directly](EmptyPool::FetchDirectly) goes out without.
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

    /// What carries requests to the peers, in place of the network; the time limits and certificates
    /// above are its own business then. Default: [`Origin`] with those limits.
    pub fn transport(mut self, transport: impl RoundTrip + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// What to do when the pool has no peer. Default: [`EmptyPool::Fail`].
    pub fn empty_pool(mut self, choice: EmptyPool) -> Self {
        self.empty_pool = choice;
        self
    }

    /// What it keeps a copy of itself, of what it asks the peers for often: nothing unless this gives it
    /// [memory](NearCache::memory). Default: nothing.
    ///
    /// Of an answer that came through it see [`NearCache`].
    #[cfg(feature = "peer")]
    pub fn near_cache(mut self, near: NearCache) -> Self {
        self.near.cache = near;
        self
    }

    /// Stands beside this peer, which has a share of its own, rules that all of the pool have, and maybe a clock.
    #[cfg(feature = "peer")]
    pub(crate) fn beside(mut self, own: PeerUrl, rules: Rules, clock: Option<Arc<dyn Clock>>) -> Self {
        self.near = NearOptions { own: Some(own), rules: Some(rules), clock, ..self.near };
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] for a peer that is no base URL; [`ErrorKind::BadOption`] for a path that
    /// is none, for no replicas, for a limit of zero, for a near cache that cannot be, and for certificates or a key that cannot be used.
    pub fn build(self) -> Result<Client> {
        if !protocol::is_path(&self.path) {
            let text =
                format!("{:?} is no path that a peer can answer under: it must begin with /", self.path);
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let replicas = NonZeroU32::new(self.replicas)
            .ok_or_else(|| Error::new(ErrorKind::BadOption, "a ring needs at least one replica a peer"))?;
        let fetches_directly = self.empty_pool == EmptyPool::FetchDirectly;
        let (transport, direct): (_, Option<Arc<dyn RoundTrip>>) = match self.transport {
            Some(transport) => (Arc::clone(&transport), fetches_directly.then_some(transport)),
            None => {
                // The peers are those that this program was told, wherever they are.
                let to_peers = self.network.clone().rules(OriginRules::trusting());
                let transport = Arc::new(to_peers.build()?);
                // Origins are anybody: who asks is for peers to know.
                let network = self.network.without_client_certificate();
                (transport, if fetches_directly { Some(Arc::new(network.build()?)) } else { None })
            }
        };
        let pool = Pool::new(pool::parse(&self.peers)?, replicas, self.hash);
        let client = Client::new(pool, self.path, transport, direct, self.tokens);
        #[cfg(feature = "peer")]
        let client = {
            let NearOptions { cache, clock, own, rules } = self.near;
            let (owner, clock) = (Arc::new(client.clone()), clock.unwrap_or_else(|| Arc::new(SystemClock)));
            match Near::new(NearParts { options: cache, owner, clock, own, rules })? {
                Some(near) => client.with_near(near),
                None => client,
            }
        };
        Ok(client)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("peers", &self.peers)
            .field("path", &self.path)
            .field("replicas", &self.replicas)
            .field("hash", &self.hash)
            .field("network", &self.network)
            .field("empty_pool", &self.empty_pool)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::tls::testing::{Authority, server_config};

    /// Whether a server that asks for a certificate, and does not insist, is shown one by this client.
    fn is_shown_it(authority: &Authority, client: impl FnOnce(String) -> Client) -> bool {
        let config = Arc::new(server_config(authority, Some((authority, false))));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let server = thread::spawn(move || {
            let connection = rustls::ServerConnection::new(config).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, listener.accept().unwrap().0);
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            stream.conn.peer_certificates().is_some()
        });
        client(url.clone()).get(&url).unwrap();
        server.join().unwrap()
    }

    #[test]
    fn its_certificate_is_for_peers_and_not_for_origins() {
        let authority = Authority::new();
        let made = authority.sign("a client");
        let roots = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(roots.path(), &authority.certificate).unwrap();
        let builder = || {
            Client::builder()
                .root_certificates_file(roots.path())
                .client_certificate_pem(made.certificate.clone(), made.key.clone())
                .empty_pool(EmptyPool::FetchDirectly)
        };
        assert!(is_shown_it(&authority, |url| builder().pool([url]).build().unwrap()));
        assert!(!is_shown_it(&authority, |_| builder().build().unwrap()));
    }
}
