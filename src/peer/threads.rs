//! Threads for background refreshes, and for fetches whose caller may stop waiting before the response arrives.

use std::sync::{Arc, OnceLock};

use crate::base::memory_limit::Ledger;
use crate::message::nonblocking::{Job, Spawn};
use crate::scheduler::{PoolOptions, Scheduler, Servers};

/// The workers of a server that serves the peer. Without a server, the peer starts up to 64 threads of its own on demand.
pub(super) struct PeerThreads {
    servers: Servers,
    own: OnceLock<Scheduler>,
    ledger: Arc<Ledger>,
}

impl PeerThreads {
    pub(super) fn new(ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { servers: Servers::default(), own: OnceLock::new(), ledger })
    }

    /// Returns the servers that serve the peer.
    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }
}

impl Spawn for PeerThreads {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        match self.servers.schedulers().iter().find(|server| server.is_open()) {
            Some(server) => server.spawn(job),
            None => {
                let start = || Scheduler::new(&PoolOptions::default(), &self.ledger, Box::new(|_| None));
                self.own.get_or_init(start).spawn(job)
            }
        }
    }
}
