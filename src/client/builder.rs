//! What a [`Client`] is made of.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::asking::Client;
use super::pool::{self, Pool};
use crate::error::{Error, ErrorKind, Result};
use crate::origin::{Origin, OriginBuilder};
use crate::protocol;
use crate::ring::HashFunction;
use crate::round_trip::RoundTrip;

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

    /// The client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] for a peer that is no base URL; [`ErrorKind::BadOption`] for a path that
    /// is none, for no replicas, for a limit of zero, and for certificates that cannot be used.
    pub fn build(self) -> Result<Client> {
        if !protocol::is_path(&self.path) {
            let text =
                format!("{:?} is no path that a peer can answer under: it must begin with /", self.path);
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let replicas = NonZeroU32::new(self.replicas)
            .ok_or_else(|| Error::new(ErrorKind::BadOption, "a ring needs at least one replica a peer"))?;
        let transport = match self.transport {
            Some(transport) => transport,
            None => Arc::new(self.network.build()?),
        };
        let pool = Pool::new(pool::parse(&self.peers)?, replicas, self.hash);
        Ok(Client::new(pool, self.path, transport, self.empty_pool))
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
            .finish_non_exhaustive()
    }
}
