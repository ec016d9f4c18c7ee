//! The threads on which a peer refreshes, and fetches for in-process callers that may leave before the response.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use crate::at_once::{Job, Spawn};
use crate::ledger::Ledger;
use crate::scheduler::{PoolOptions, Scheduler};

/// Those of a server that serves the peer, or, as long as there is none, some of its own: up to 64, started on demand.
pub(super) struct PeerThreads {
    servers: Mutex<Vec<Weak<Scheduler>>>,
    own: OnceLock<Scheduler>,
    ledger: Arc<Ledger>,
}

impl PeerThreads {
    pub(super) fn new(ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { servers: Mutex::default(), own: OnceLock::new(), ledger })
    }

    /// A server has begun to serve the peer.
    pub(super) fn add(&self, server: &Arc<Scheduler>) {
        let mut servers = self.servers.lock();
        servers.retain(|server| server.strong_count() > 0);
        servers.push(Arc::downgrade(server));
    }

    /// The threads of the servers that serve the peer.
    pub(super) fn servers(&self) -> Vec<Arc<Scheduler>> {
        self.servers.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Spawn for PeerThreads {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        match self.servers().iter().find(|server| server.is_open()) {
            Some(server) => server.spawn(job),
            None => {
                let own = || Scheduler::new(&PoolOptions::default(), &self.ledger, Box::new(|_| None));
                self.own.get_or_init(own).spawn(job)
            }
        }
    }
}
