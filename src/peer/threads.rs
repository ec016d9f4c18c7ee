//! The threads on which a peer refreshes, and fetches for in-process callers that may leave before the response.

use std::sync::{Arc, OnceLock};

use crate::base::ledger::Ledger;
use crate::message::nonblocking::{Job, Spawn};
use crate::scheduler::{PoolOptions, Scheduler, Servers};

/// Those of a server that serves the peer, or, as long as there is none, some of its own: up to 64, started on demand.
pub(super) struct PeerThreads {
    servers: Servers,
    own: OnceLock<Scheduler>,
    ledger: Arc<Ledger>,
}

impl PeerThreads {
    pub(super) fn new(ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { servers: Servers::default(), own: OnceLock::new(), ledger })
    }

    /// The servers that serve the peer.
    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }
}

impl Spawn for PeerThreads {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        match self.servers.schedulers().iter().find(|server| server.is_open()) {
            Some(server) => server.spawn(job),
            None => {
                let own = || Scheduler::new(&PoolOptions::default(), &self.ledger, Box::new(|_| None));
                self.own.get_or_init(own).spawn(job)
            }
        }
    }
}
