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
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Mismatches between this client's pool and the pools that peers report: each is counted, and logged if it is
/// new.
#[derive(Debug, Default)]
pub(super) struct RingMismatches {
    count: AtomicU64,
    /// The last mismatch logged for each peer; at most as many entries as the pool had members when the last
    /// was added.
    logged_mismatches: Mutex<HashMap<PeerUrl, LoggedMismatch>>,
}

/// The last mismatch logged for one peer.
#[derive(Debug)]
struct LoggedMismatch {
    members: PoolDigest,
    at: Instant,
}

impl RingMismatches {
    /// Counts a mismatch, and logs it if it is new. A peer that has left the pool is counted but never logged.
    pub(super) fn note(&self, peer: &PeerUrl, members: PoolDigest, pool: &Pool, now: Instant) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.remember(peer, members, pool, now) {
            warn!(
                "{peer} has another list of members (digest {members}) than this program: give both the same list"
            );
        }
    }

    /// Remembers a mismatch; returns whether it is new and has to be logged.
    fn remember(&self, peer: &PeerUrl, members: PoolDigest, pool: &Pool, now: Instant) -> bool {
        if let Some(last) = self.logged_mismatches.lock().get_mut(peer) {
            let is_new = last.members != members && now.saturating_duration_since(last.at) >= LOG_INTERVAL;
            if is_new {
                *last = LoggedMismatch { members, at: now };
            }
            return is_new;
        }
        let peers = pool.peers();
        if !peers.contains(peer) {
            return false;
        }
        let mut logged_mismatches = self.logged_mismatches.lock();
        logged_mismatches.retain(|known, _| peers.contains(known));
        // Another thread may have inserted an entry since the lock was released.
        logged_mismatches.insert(peer.clone(), LoggedMismatch { members, at: now }).is_none()
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
