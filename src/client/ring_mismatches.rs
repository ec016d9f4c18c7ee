//! Peers that know another pool.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

use super::pool::Pool;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::PoolDigest;

/// What one peer says is logged once in so long: one that is being changed all the time, or is no peer at all, must
/// not fill the log.
const QUIET: Duration = Duration::from_secs(60);

/// What peers said of the pool that is not what the client knows, counted, and logged when it is new.
#[derive(Debug, Default)]
pub(super) struct Disagreements {
    count: AtomicU64,
    /// Of no more peers than the pool had when the last of them was added.
    said: Mutex<HashMap<PeerUrl, Said>>,
}

/// What was logged last of one peer, and when.
#[derive(Debug)]
struct Said {
    members: PoolDigest,
    logged: Instant,
}

impl Disagreements {
    /// Whoever is no peer of the pool any more is counted alone: that it knows another one is no news.
    pub(super) fn note(&self, peer: &PeerUrl, members: PoolDigest, pool: &Pool, now: Instant) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.is_news(peer, members, pool, now) {
            warn!("{peer} knows another pool ({members}) than this program: their lists of members differ");
        }
    }

    fn is_news(&self, peer: &PeerUrl, members: PoolDigest, pool: &Pool, now: Instant) -> bool {
        if let Some(said) = self.said.lock().get_mut(peer) {
            let is_news = said.members != members && now.saturating_duration_since(said.logged) >= QUIET;
            if is_news {
                *said = Said { members, logged: now };
            }
            return is_news;
        }
        let peers = pool.peers();
        if !peers.contains(peer) {
            return false;
        }
        let mut said = self.said.lock();
        said.retain(|known, _| peers.contains(known));
        // Another may have been here meanwhile.
        said.insert(peer.clone(), Said { members, logged: now }).is_none()
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
