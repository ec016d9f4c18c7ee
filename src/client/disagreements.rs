//! Peers that know another pool.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;
use parking_lot::Mutex;

use crate::peer_url::PeerUrl;
use crate::protocol::PoolDigest;

/// What peers said of the pool that is not what the client knows, counted, and logged when it is new.
#[derive(Debug, Default)]
pub(super) struct Disagreements {
    count: AtomicU64,
    /// What each said last: as many as there were peers.
    said: Mutex<HashMap<PeerUrl, PoolDigest>>,
}

impl Disagreements {
    pub(super) fn note(&self, peer: &PeerUrl, members: PoolDigest) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let before = self.said.lock().insert(peer.clone(), members);
        if before != Some(members) {
            warn!("{peer} knows another pool ({members}) than this program: their lists of members differ");
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
