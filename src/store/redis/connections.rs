//! A bounded pool of connections to one server, or to the nodes of a cluster.
//!
//! A node of a cluster names the right one if it is asked for a key of another (`MOVED`), so each shard learns its node from the
//! first answer. After a failure all that was learnt is forgotten, because another node may have taken over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustls::{ClientConfig, RootCertStore};

use super::address::{Address, Node};
use super::connection::Connection;
use super::failure::Failure;
use crate::base::clock::SystemClock;
use crate::base::resolver::{Resolver, SystemLookup};
use crate::base::tls::{Pem, add_roots, provider};
use crate::store::StoreError;

/// How many parts the keys are divided into. Each has a list of purges of its own, in one slot of a cluster.
pub(super) const SHARDS: usize = 64;

/// How many connections there are at most.
const MAX_CONNECTIONS: usize = 64;

/// How many nodes one operation asks at most, because they redirect to each other.
const MAX_ATTEMPTS: usize = 5;

/// How long the addresses of a node are used before its name is looked up again.
const NAME_LIFETIME: Duration = Duration::from_secs(10);

pub(super) struct Connections {
    /// The nodes, of which a single server is the only one, and the credentials.
    address: Address,
    /// Counts the failures: another node is asked first, at another of its addresses.
    first: AtomicUsize,
    tls: Option<Arc<ClientConfig>>,
    resolver: Arc<Resolver>,
    timeout: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    /// Connections that are not in use, the last used at the end.
    idle: Vec<(Node, Connection)>,
    /// All connections, idle or not.
    count: usize,
    /// The nodes of the shards, as far as they are known.
    nodes: [Option<Node>; SHARDS],
}

impl Connections {
    /// Connects to nothing yet.
    pub(super) fn new(
        address: Address,
        root: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let state = State { idle: Vec::new(), count: 0, nodes: [const { None }; SHARDS] };
        let (state, returned, first) = (Mutex::new(state), Condvar::new(), AtomicUsize::new(0));
        let roots = root.map(roots).transpose()?;
        let tls = address.is_tls.then(|| tls(roots)).transpose()?;
        let resolver = Resolver::new(SystemLookup, Arc::new(SystemClock), NAME_LIFETIME);
        Ok(Self { address, first, tls, resolver, timeout, state, returned })
    }

    /// Runs an operation on the node of a shard. Waiting for a connection, connecting, and each command of the operation may
    /// take the timeout.
    pub(super) fn run<T>(
        &self,
        shard: usize,
        operation: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut node, mut is_asking) = (self.node(shard), false);
        for _ in 0..MAX_ATTEMPTS {
            let result = self.run_at(&node, |connection| {
                if is_asking {
                    connection.command(&[b"ASKING"])?;
                }
                operation(connection)
            });
            match result {
                Err(error) if self.address.is_cluster && error.redirection().is_some() => {
                    is_asking = error.code() == Some("ASK");
                    node = redirected(&node, &error).ok_or(error)?;
                    if !is_asking {
                        self.state.lock().nodes[shard] = Some(node.clone());
                    }
                }
                Err(error) if error.redirection().is_some() => {
                    let text = "the server is a node of a cluster: use redis+cluster://HOST:PORT";
                    return Err(io::Error::other(text).into());
                }
                result => return result,
            }
        }
        Err(io::Error::other("the nodes of the cluster redirect to each other").into())
    }

    fn run_at<T>(
        &self,
        node: &Node,
        operation: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let mut place = self.place(node)?;
            let was_idle = place.connection.is_some();
            let connection = match &mut place.connection {
                Some(connection) => connection,
                none => none.insert(self.connect(node)?),
            };
            let result = operation(connection);
            if !connection.is_usable() {
                place.connection = None;
            }
            match result {
                // The server closed the connection while it was idle.
                Err(error) if was_idle && error.is_closed_connection() => {
                    drop(place);
                    self.close_idle();
                }
                result => return result,
            }
        }
    }

    /// Closes the connections that are not in use.
    fn close_idle(&self) {
        let mut state = self.state.lock();
        let idle = std::mem::take(&mut state.idle);
        state.count -= idle.len();
        drop(state);
        drop(idle);
        self.returned.notify_all();
    }

    /// Closes the connections that are not in use, and forgets which node has which shard. The next seed is asked first.
    pub(super) fn begin_anew(&self) {
        self.state.lock().nodes = [const { None }; SHARDS];
        self.first.fetch_add(1, Ordering::Relaxed);
        self.close_idle();
    }

    /// The node of a shard, or the one that knows it.
    fn node(&self, shard: usize) -> Node {
        let known = self.state.lock().nodes[shard].clone();
        let seeds = &self.address.nodes;
        known.unwrap_or_else(|| seeds[self.first.load(Ordering::Relaxed) % seeds.len()].clone())
    }

    /// Takes a connection to a node, or a place for a new one.
    fn place(&self, node: &Node) -> Result<Place<'_>, Failure> {
        let until = Instant::now() + self.timeout;
        let place = |connection| Place { pool: self, node: node.clone(), connection };
        let mut state = self.state.lock();
        loop {
            if let Some(at) = state.idle.iter().rposition(|(own, _)| own == node) {
                let (_, connection) = state.idle.remove(at);
                return Ok(place(Some(connection)));
            }
            if state.count < MAX_CONNECTIONS {
                state.count += 1;
                return Ok(place(None));
            }
            if !state.idle.is_empty() {
                // The place of the one that was not used for the longest time.
                let unused = state.idle.remove(0);
                drop(state);
                drop(unused);
                return Ok(place(None));
            }
            if self.returned.wait_until(&mut state, until).timed_out() {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
        }
    }

    fn connect(&self, node: &Node) -> Result<Connection, Failure> {
        let credentials = &self.address.credentials;
        let first_address = self.first.load(Ordering::Relaxed) / self.address.nodes.len();
        Connection::open(node, &self.resolver, first_address, credentials, self.tls.as_ref(), self.timeout)
    }
}

/// Reads root certificates.
fn roots(pem: Vec<u8>) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, &Pem::Given(pem)).map_err(|error| {
        StoreError::new("the root certificates for Redis are not valid PEM").with_source(error)
    })?;
    Ok(roots)
}

/// The options of TLS. Without root certificates, those of the system are trusted.
fn tls(roots: Option<RootCertStore>) -> Result<Arc<ClientConfig>, StoreError> {
    let of_system = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::new("TLS for Redis cannot be used").with_source(error))?;
    let config = config.with_root_certificates(roots.unwrap_or_else(of_system)).with_no_client_auth();
    Ok(Arc::new(config))
}

/// The node that an error names. A node that does not know its own name gives none.
fn redirected(asked: &Node, error: &Failure) -> Option<Node> {
    let (name, port) = error.redirection()?;
    let host = if name.is_empty() || name == "?" { &asked.host } else { name };
    Some(Node { host: host.to_owned(), port: port.parse().ok()? })
}

/// A connection in use, or the place of one that is not there yet. Dropping it gives both back.
struct Place<'a> {
    pool: &'a Connections,
    node: Node,
    connection: Option<Connection>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        match self.connection.take() {
            Some(connection) => state.idle.push((self.node.clone(), connection)),
            None => state.count -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
