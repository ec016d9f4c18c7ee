//! Limits for the number of tunnels.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::counts::Counts;
use crate::metrics::ServerStats;
use crate::scheduler::ClientAddress;

/// Counts the tunnels of a server.
#[derive(Debug)]
pub(super) struct TunnelLimits {
    max: usize,
    counts: Mutex<Held>,
    stats: Arc<ServerStats>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_client: Counts<ClientAddress>,
}

/// Permit that a tunnel holds from its request to its end.
#[derive(Debug)]
pub(super) struct TunnelPermit {
    limits: Arc<TunnelLimits>,
    client: ClientAddress,
    is_open: bool,
}

impl TunnelLimits {
    pub(super) fn new(max: usize, stats: Arc<ServerStats>) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default(), stats })
    }

    /// Admits a tunnel, unless the limit is reached or the client has as many tunnels as are free. A single client thus
    /// gets at most half of them.
    pub(super) fn acquire(self: &Arc<Self>, client: ClientAddress) -> Option<TunnelPermit> {
        let mut counts = self.counts.lock();
        let free = self.max.saturating_sub(counts.all);
        if counts.by_client.of(&client) >= free {
            return None;
        }
        counts.by_client.add(client);
        counts.all += 1;
        Some(TunnelPermit { limits: Arc::clone(self), client, is_open: false })
    }
}

impl TunnelPermit {
    /// Counts the tunnel as open.
    pub(super) fn open(&mut self) {
        if !std::mem::replace(&mut self.is_open, true) {
            self.limits.stats.count_tunnel_opened();
        }
    }
}

impl Drop for TunnelPermit {
    fn drop(&mut self) {
        if self.is_open {
            self.limits.stats.count_tunnel_closed();
        }
        let mut counts = self.limits.counts.lock();
        counts.all -= 1;
        counts.by_client.remove(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_gets_at_most_half_and_closed_tunnels_make_room() {
        let stats = Arc::new(ServerStats::default());
        let limits = TunnelLimits::new(8, Arc::clone(&stats));
        let [one, two, three] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| ClientAddress::of(text.parse().unwrap()));
        let acquire = |client| std::iter::from_fn(|| limits.acquire(client)).collect::<Vec<_>>();
        let mut first = acquire(one);
        let second = acquire(two);
        let third = acquire(three);
        assert_eq!((first.len(), second.len(), third.len()), (4, 2, 1));
        first.iter_mut().for_each(TunnelPermit::open);
        assert_eq!(stats.tunnels_open(), 4);
        drop((first, second, third));
        assert!(limits.counts.lock().by_client.is_empty() && limits.counts.lock().all == 0);
        assert_eq!(stats.tunnels_open(), 0);
        assert!(TunnelLimits::new(1, Arc::default()).acquire(one).is_some());
        assert!(TunnelLimits::new(0, Arc::default()).acquire(one).is_none());
    }
}
