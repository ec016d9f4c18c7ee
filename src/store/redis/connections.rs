//! A bounded pool of connections to one server, or to the nodes of a cluster.
//!
//! A node of a cluster names the right one if it is asked for a key of another (`MOVED`), so each shard learns its node from the
//! first answer. After a failure all that was learnt is forgotten, because another node may have taken over.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ConnectionLike, ErrorKind, RedisError, RedisResult,
    TlsCertificates, cmd,
};

use super::address::Address;
use crate::store::StoreError;

/// How many parts the keys are divided into. Each has a list of purges of its own, in one slot of a cluster.
pub(super) const SHARDS: usize = 64;

/// How many connections there are at most.
const MAX_CONNECTIONS: usize = 64;

/// How many nodes one operation asks at most, because they redirect to each other.
const MAX_ATTEMPTS: usize = 5;

pub(super) struct Connections {
    /// The nodes of the address. A single server is the only one.
    seeds: Vec<ConnectionInfo>,
    is_cluster: bool,
    /// The first node that is asked.
    first: AtomicUsize,
    root: Option<Vec<u8>>,
    timeout: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    /// Connections that are not in use, the last used at the end.
    idle: Vec<(ConnectionAddr, Connection)>,
    /// All connections, idle or not.
    count: usize,
    /// The nodes of the shards, as far as they are known.
    nodes: [Option<ConnectionAddr>; SHARDS],
}

impl Connections {
    /// Connects to nothing yet.
    pub(super) fn new(
        address: Address,
        root: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let Address { nodes: seeds, is_cluster } = address;
        let state = State { idle: Vec::new(), count: 0, nodes: [const { None }; SHARDS] };
        let (state, returned, first) = (Mutex::new(state), Condvar::new(), AtomicUsize::new(0));
        let connections = Self { seeds, is_cluster, first, root, timeout, state, returned };
        // The cause is dropped because it may quote the password.
        let checked = connections.client(&connections.seeds[0].addr);
        checked.map_err(|_| StoreError::new("the root certificates for Redis are not valid PEM"))?;
        Ok(connections)
    }

    /// Runs an operation on the node of a shard. Waiting for a connection, connecting, and the operation may each take the
    /// timeout.
    pub(super) fn run<T>(
        &self,
        shard: usize,
        operation: impl Fn(&mut dyn ConnectionLike) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let (mut node, mut is_asking) = (self.node(shard), false);
        for _ in 0..MAX_ATTEMPTS {
            let result = self.run_at(&node, |connection| {
                if is_asking {
                    cmd("ASKING").exec(connection)?;
                }
                operation(connection)
            });
            match result {
                Err(error) if self.is_cluster && error.redirect_node().is_some() => {
                    is_asking = error.kind() == ErrorKind::Ask;
                    node = redirected(&node, &error).ok_or(error)?;
                    if !is_asking {
                        self.state.lock().nodes[shard] = Some(node.clone());
                    }
                }
                result => return result,
            }
        }
        Err(io::Error::other("the nodes of the cluster redirect to each other").into())
    }

    fn run_at<T>(
        &self,
        node: &ConnectionAddr,
        operation: impl Fn(&mut dyn ConnectionLike) -> RedisResult<T>,
    ) -> RedisResult<T> {
        loop {
            let mut place = self.place(node)?;
            let was_idle = place.connection.is_some();
            let connection = match &mut place.connection {
                Some(connection) => connection,
                none => none.insert(self.connect(node)?),
            };
            let result = operation(connection);
            // After an error of the transport it is unknown what the next response belongs to.
            if result.as_ref().is_err_and(|error| error.is_io_error() || error.is_unrecoverable_error()) {
                place.connection = None;
            }
            match result {
                // The server closed the connection while it was idle.
                Err(error) if was_idle && error.is_connection_dropped() => {
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
    fn node(&self, shard: usize) -> ConnectionAddr {
        let known = self.state.lock().nodes[shard].clone();
        known
            .unwrap_or_else(|| self.seeds[self.first.load(Ordering::Relaxed) % self.seeds.len()].addr.clone())
    }

    /// Takes a connection to a node, or a place for a new one.
    fn place(&self, node: &ConnectionAddr) -> RedisResult<Place<'_>> {
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

    fn connect(&self, node: &ConnectionAddr) -> RedisResult<Connection> {
        let connection = self.client(node)?.get_connection_with_timeout(self.timeout)?;
        connection.set_read_timeout(Some(self.timeout))?;
        connection.set_write_timeout(Some(self.timeout))?;
        Ok(connection)
    }

    fn client(&self, node: &ConnectionAddr) -> RedisResult<Client> {
        let info = ConnectionInfo { addr: node.clone(), redis: self.seeds[0].redis.clone() };
        match (&self.root, node) {
            (Some(root), ConnectionAddr::TcpTls { .. }) => {
                let root_cert = Some(root.clone());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
            _ => Client::open(info),
        }
    }
}

/// The node that an error names. A node that does not know its own name gives none.
fn redirected(asked: &ConnectionAddr, error: &RedisError) -> Option<ConnectionAddr> {
    let (name, _) = error.redirect_node()?;
    let (name, number) = name.rsplit_once(':')?;
    let number = number.parse().ok()?;
    let name_of = |own: &String| if name.is_empty() || name == "?" { own.clone() } else { name.to_owned() };
    match asked {
        ConnectionAddr::Tcp(host, _) => Some(ConnectionAddr::Tcp(name_of(host), number)),
        ConnectionAddr::TcpTls { host, insecure, tls_params, .. } => Some(ConnectionAddr::TcpTls {
            host: name_of(host),
            port: number,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        }),
        ConnectionAddr::Unix(_) => None,
    }
}

/// A connection in use, or the place of one that is not there yet. Dropping it gives both back.
struct Place<'a> {
    pool: &'a Connections,
    node: ConnectionAddr,
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
