//! The servers of one peer.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::dispatch::Scheduler;
use crate::metrics::ServerStats;

/// The servers of one peer: their schedulers and statistics. All clones are the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    scheduler: Weak<Scheduler>,
    stats: Arc<ServerStats>,
}

impl Servers {
    /// Adds a server of the peer.
    pub(crate) fn add(&self, scheduler: &Arc<Scheduler>, stats: &Arc<ServerStats>) {
        let mut servers = self.0.lock();
        servers.retain(|server| server.scheduler.strong_count() > 0);
        servers.push(Entry { scheduler: Arc::downgrade(scheduler), stats: Arc::clone(stats) });
    }

    /// Returns the schedulers of the servers that have not ended.
    pub(crate) fn schedulers(&self) -> Vec<Arc<Scheduler>> {
        self.0.lock().iter().filter_map(|server| server.scheduler.upgrade()).collect()
    }

    /// Returns the statistics of each server.
    pub(crate) fn stats(&self) -> Vec<Arc<ServerStats>> {
        self.0.lock().iter().map(|server| Arc::clone(&server.stats)).collect()
    }

    /// Returns whether there were servers, and each of them is shutting down or has ended.
    pub(crate) fn are_stopping(&self) -> bool {
        let had_servers = !self.0.lock().is_empty();
        had_servers && !self.schedulers().iter().any(|scheduler| scheduler.is_open())
    }

    /// Returns whether a fetch of any server has waited for more than half of its time limit.
    pub(crate) fn are_behind(&self, now: Instant) -> bool {
        self.schedulers().iter().any(|scheduler| scheduler.is_behind(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory_limit::Ledger;
    use crate::scheduler::PoolOptions;

    #[test]
    fn servers_are_stopping_when_none_is_open() {
        let servers = Servers::default();
        assert!(!servers.are_stopping(), "a server of another kind may call the handler");
        let start = || {
            let scheduler =
                Arc::new(Scheduler::new(&PoolOptions::default(), &Ledger::new(1 << 30), Box::new(|_| None)));
            servers.add(&scheduler, &Arc::default());
            scheduler
        };
        let first = start();
        first.stop();
        assert!(servers.are_stopping());
        let second = start();
        assert!(!servers.are_stopping());
        assert_eq!(servers.schedulers().len(), 2);
        drop((first, second));
        assert!(servers.are_stopping() && servers.schedulers().is_empty());
        let _third = start();
        assert!(!servers.are_stopping());
        assert_eq!(servers.stats().len(), 1);
    }
}
