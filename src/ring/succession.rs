//! Who follows in a [`BalancedRing`] when an owner is away.

use super::balanced::BalancedRing;
use super::mixing::{hash, mix};

/// So many draws in vain, and the others come as their own hashes say: they have hardly any share.
const PATIENCE: u32 = 4096;

/// All peers, each once: first those that further draws of the key find in the table.
///
/// A draw finds each peer in proportion to its share, whatever the first owner was, so that the keys of a
/// peer that is away are spread over all others.
pub(super) struct Succession<'ring> {
    ring: &'ring BalancedRing,
    key: u64,
    draws: u64,
    seen: Vec<bool>,
    /// The peers not seen, last one first, once drawing has ended.
    others: Option<Vec<usize>>,
}

impl<'ring> Succession<'ring> {
    pub(super) fn new(ring: &'ring BalancedRing, key: u64) -> Self {
        Self { ring, key, draws: 0, seen: vec![false; ring.peers().len()], others: None }
    }

    fn drawn(&mut self) -> Option<usize> {
        for _ in 0..PATIENCE {
            let peer = self.ring.drawn(self.key, self.draws)?;
            self.draws += 1;
            if !std::mem::replace(&mut self.seen[peer], true) {
                return Some(peer);
            }
        }
        None
    }

    fn others(&self) -> Vec<usize> {
        let mut others: Vec<usize> = (0..self.seen.len()).filter(|&peer| !self.seen[peer]).collect();
        others.sort_by_cached_key(|&peer| mix(self.key ^ hash(&self.ring.peers()[peer])));
        others
    }
}

impl Iterator for Succession<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.others.is_none() {
            if let Some(peer) = self.drawn() {
                return Some(peer);
            }
            self.others = Some(self.others());
        }
        self.others.as_mut()?.pop()
    }
}
