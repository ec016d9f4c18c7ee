//! Limits for the number of connections, in total and per client.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::counts::Counts;
use crate::metrics::{ConnectionRefusal, ServerStats};
use crate::scheduler::ClientAddress;

/// Counts the open connections of a server.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    max_per_client: usize,
    counts: Mutex<Open>,
    stats: Arc<ServerStats>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_client: Counts<ClientAddress>,
}

/// Permit that a connection holds until it closes.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    admission: Arc<Admission>,
    /// `None` until it is known.
    client: Option<ClientAddress>,
}

impl Admission {
    pub(super) fn new(max: usize, max_per_client: usize, stats: Arc<ServerStats>) -> Arc<Self> {
        Arc::new(Self { max, max_per_client, counts: Mutex::default(), stats })
    }

    /// Admits a connection from this address, if it is known, unless a limit is reached.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<ConnectionPermit> {
        let client = address.map(ClientAddress::of);
        let mut counts = self.counts.lock();
        if counts.all >= self.max {
            self.stats.count_connection_refusal(ConnectionRefusal::TooMany);
            return None;
        }
        if client.is_some_and(|client| !self.count_client(&mut counts, client)) {
            return None;
        }
        counts.all += 1;
        drop(counts);
        self.stats.count_accepted();
        Some(ConnectionPermit { admission: Arc::clone(self), client })
    }

    /// Counts a connection of this client. Returns `false` if its limit is reached.
    fn count_client(&self, counts: &mut Open, client: ClientAddress) -> bool {
        if counts.by_client.of(&client) >= self.max_per_client {
            self.stats.count_connection_refusal(ConnectionRefusal::TooManyOfAddress);
            return false;
        }
        counts.by_client.add(client);
        true
    }
}

impl ConnectionPermit {
    /// Assigns the connection to its client. Returns `false` if the limit of the client is reached.
    pub(super) fn assign(&mut self, address: IpAddr) -> bool {
        let client = ClientAddress::of(address);
        let is_admitted = self.admission.count_client(&mut self.admission.counts.lock(), client);
        if is_admitted && let Some(before) = self.client.replace(client) {
            self.admission.counts.lock().by_client.remove(&before);
        }
        is_admitted
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.admission.stats.count_closed();
        let mut counts = self.admission.counts.lock();
        counts.all -= 1;
        if let Some(client) = self.client {
            counts.by_client.remove(&client);
        }
    }
}

/// Files that a process has open besides connections. At most a quarter of the limit is reserved for them.
const OTHER_FILES: usize = 64;

/// Maximum number of idle connections to origins that are kept.
const IDLE_TO_ORIGINS: usize = 2048;

/// Returns the number of client connections that a limit of open files permits. Each of the `threads` may
/// need a connection to an origin, and idle connections to origins take up to a quarter of all files.
pub(super) fn max_connections(open_files: usize, threads: usize) -> usize {
    let quarter = open_files / 4;
    let to_origins = quarter.min(IDLE_TO_ORIGINS).max(threads);
    open_files.saturating_sub(to_origins).saturating_sub(quarter.min(OTHER_FILES)).max(1)
}

#[cfg(test)]
mod tests;
