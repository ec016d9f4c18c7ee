//! A bounded pool of connections to one server or a cluster.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Client, ConnectionLike, RedisError, RedisResult, TlsCertificates};

use super::address::Address;
use crate::store::StoreError;

/// How many connections there are at most. In a cluster, each has one socket for each node.
const MAX_CONNECTIONS: usize = 16;

/// How many redirections to another node of a cluster one operation follows.
const REDIRECTIONS: u32 = 2;

/// The longest wait before a redirection, in milliseconds.
const MAX_REDIRECTION_WAIT: u64 = 5;

pub(super) struct Connections {
    target: Target,
    state: Mutex<State>,
    returned: Condvar,
}

enum Target {
    Server(Client),
    Cluster(Box<ClusterClient>),
}

enum Connection {
    Server(Box<redis::Connection>),
    Cluster(Box<ClusterConnection>),
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// All connections, idle or not.
    count: usize,
}

impl Connections {
    /// Connects to nothing yet.
    pub(super) fn new(
        address: Address,
        root: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        // The cause is dropped because it may quote the password.
        let invalid = |_: RedisError| StoreError::new("the certificates for Redis are not valid PEM");
        let certificates = TlsCertificates { client_tls: None, root_cert: root };
        let Address { mut nodes, is_cluster } = address;
        let target = if is_cluster {
            let client = ClusterClient::builder(nodes)
                .retries(REDIRECTIONS)
                .min_retry_wait(0)
                .max_retry_wait(MAX_REDIRECTION_WAIT)
                .connection_timeout(timeout)
                .response_timeout(timeout);
            let client = if certificates.root_cert.is_some() { client.certs(certificates) } else { client };
            Target::Cluster(Box::new(client.build().map_err(invalid)?))
        } else {
            let node = nodes.remove(0);
            let client = match certificates.root_cert {
                Some(_) => Client::build_with_tls(node, certificates),
                None => Client::open(node),
            };
            Target::Server(client.map_err(invalid)?)
        };
        Ok(Self { target, state: Mutex::default(), returned: Condvar::new() })
    }

    /// Runs an operation on a connection. Each of connecting, waiting for a connection and the operation may take the timeout.
    pub(super) fn run<T>(
        &self,
        timeout: Duration,
        operation: impl Fn(&mut dyn ConnectionLike) -> RedisResult<T>,
    ) -> RedisResult<T> {
        loop {
            let mut place = self.place(Instant::now() + timeout)?;
            let was_idle = place.connection.is_some();
            let connection = match &mut place.connection {
                Some(connection) => connection,
                none => none.insert(self.connect(timeout)?),
            };
            let result = match connection {
                Connection::Server(connection) => operation(&mut **connection),
                Connection::Cluster(connection) => operation(&mut **connection),
            };
            // After an error of the transport it is unknown what the next response belongs to.
            if result.as_ref().is_err_and(|error| error.is_io_error() || error.is_unrecoverable_error()) {
                place.connection = None;
            }
            match result {
                // The server closed the connection while it was idle.
                Err(error) if was_idle && error.is_connection_dropped() && !error.is_timeout() => {
                    drop(place);
                    self.close_idle();
                }
                result => return result,
            }
        }
    }

    /// Closes the connections that are not in use.
    pub(super) fn close_idle(&self) {
        let mut state = self.state.lock();
        let idle = std::mem::take(&mut state.idle);
        state.count -= idle.len();
        drop(state);
        drop(idle);
        self.returned.notify_all();
    }

    /// Takes a connection, or a place for a new one.
    fn place(&self, until: Instant) -> RedisResult<Place<'_>> {
        let mut state = self.state.lock();
        loop {
            if let Some(connection) = state.idle.pop() {
                return Ok(Place { pool: self, connection: Some(connection) });
            }
            if state.count < MAX_CONNECTIONS {
                state.count += 1;
                return Ok(Place { pool: self, connection: None });
            }
            if self.returned.wait_until(&mut state, until).timed_out() {
                return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
            }
        }
    }

    fn connect(&self, timeout: Duration) -> RedisResult<Connection> {
        Ok(match &self.target {
            Target::Server(client) => {
                let connection = client.get_connection_with_timeout(timeout)?;
                connection.set_read_timeout(Some(timeout))?;
                connection.set_write_timeout(Some(timeout))?;
                Connection::Server(Box::new(connection))
            }
            Target::Cluster(client) => {
                let connection = client.get_connection()?;
                connection.set_write_timeout(Some(timeout))?;
                Connection::Cluster(Box::new(connection))
            }
        })
    }
}

/// A connection in use, or the place of one that is not there yet. Dropping it gives both back.
struct Place<'a> {
    pool: &'a Connections,
    connection: Option<Connection>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.count -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
