//! Counts and logs peers whose list of members differs from this client's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

use super::pool::Pool;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::PoolDigest;

/// At most one log line per peer in this time: a peer whose list changes constantly, or a program that is not
/// a peer, must not fill the log.
const QUIET: Duration = Duration::from_secs(60);

/// Mismatches between this client's pool and the pools that peers report: each is counted, and logged if it is
/// new.
#[derive(Debug, Default)]
pub(super) struct Disagreements {
    count: AtomicU64,
    /// The last mismatch logged for each peer; at most as many entries as the pool had members when the last
    /// was added.
    said: Mutex<HashMap<PeerUrl, Said>>,
}

/// The last mismatch logged for one peer.
#[derive(Debug)]
struct Said {
    members: PoolDigest,
    logged: Instant,
}

impl Disagreements {
    /// Counts a mismatch, and logs it if it is new. A peer that has left the pool is counted but never logged.
    pub(super) fn note(&self, peer: &PeerUrl, members: PoolDigest, pool: &Pool, now: Instant) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.is_news(peer, members, pool, now) {
            warn!(
                "{peer} has another list of members (digest {members}) than this program: give both the same list"
            );
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
        // Another thread may have inserted an entry since the lock was released.
        said.insert(peer.clone(), Said { members, logged: now }).is_none()
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
