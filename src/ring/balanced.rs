//! A placement that gives each peer its fair share.

use std::fmt;
use std::num::NonZeroU32;

use super::assignment::{assign, slot};
use super::mixing::{draw, hash};
use super::succession::Succession;

/// A placement of keys that is even: the busiest of 1,000 peers has at most 1.05 times its fair share, of 10,000
/// 1.06.
///
/// A key falls into one of 2^20 slots by its hash, and each slot belongs to a peer. All who know the same
/// peers and weights agree on every owner without talking, in whichever order they list them. When a peer
/// joins or leaves, its own share moves and little beyond it: at most twice as much in all, with up to
/// 10,000 peers. A look-up is one hash and one read, whatever the number of peers.
///
/// It takes 4 MiB, and some tens of milliseconds to make. Beyond 10,000 peers a slot becomes too large a part
/// of a share.
///
/// It never changes: where peers come and go, a new one takes its place. It agrees with no
/// [`Ring`](crate::Ring), so a pool has to choose one of the two.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use forwardcache::BalancedRing;
///
/// let large = NonZeroU32::new(3).unwrap();
/// let ring = BalancedRing::new([("http://10.0.1.1:3000", NonZeroU32::MIN), ("http://10.0.1.2:3000", large)]);
/// let owner = ring.owner("http://example.com/").unwrap();
/// assert_eq!(ring.owners("http://example.com/").next(), Some(owner));
/// assert!((ring.shares()[1] - 0.75).abs() < 0.01);
/// ```
#[derive(Clone)]
pub struct BalancedRing {
    peers: Box<[String]>,
    weights: Box<[NonZeroU32]>,
    /// Whose each slot is; none where there is nothing to choose.
    slots: Box<[u32]>,
}

impl BalancedRing {
    /// 2^20 slots. With half as many, a change among 10,000 peers would move more than it may.
    const BITS: u32 = 20;

    /// The placement over these peers, with their weights. One listed twice counts once, with the greater.
    ///
    /// A peer of weight 3 has three times the share of one of weight 1. Weights are exact enough up to a
    /// million; what counts is that shares stay far above one slot in 2^20.
    ///
    /// # Panics
    ///
    /// If there are 2^32 - 1 peers or more.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = (impl Into<String>, NonZeroU32)>) -> Self {
        Self::with_slots(peers, Self::BITS)
    }

    /// With 2^`bits` slots.
    fn with_slots(peers: impl IntoIterator<Item = (impl Into<String>, NonZeroU32)>, bits: u32) -> Self {
        let mut peers: Vec<(String, NonZeroU32)> =
            peers.into_iter().map(|(peer, weight)| (peer.into(), weight)).collect();
        peers.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        peers.dedup_by(|later, kept| later.0 == kept.0);
        assert!(
            u32::try_from(peers.len()).is_ok_and(|count| count < u32::MAX),
            "a ring holds fewer than 2^32 - 1 peers"
        );
        let hashed: Vec<(u64, NonZeroU32)> =
            peers.iter().map(|(peer, weight)| (hash(peer), *weight)).collect();
        let slots = if peers.len() < 2 { Box::default() } else { assign(&hashed, bits) };
        let (peers, weights): (Vec<String>, Vec<NonZeroU32>) = peers.into_iter().unzip();
        Self { peers: peers.into(), weights: weights.into(), slots }
    }

    /// The peer that owns this key; none if there are no peers.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&str> {
        Some(&self.peers[self.owner_index(key)?])
    }

    /// All peers, each once, in the order in which they own this key while those before are away.
    ///
    /// Whoever the owner is, the others follow in proportion to their weights: the keys of a peer that is
    /// away are spread over all of them. Who owns a key once its owner has left the list is not said by that
    /// order, but by a new ring.
    pub fn owners<'ring>(&'ring self, key: &str) -> impl Iterator<Item = &'ring str> + use<'ring> {
        self.succession(key).map(|index| self.peers[index].as_str())
    }

    /// The peers, sorted and each once.
    #[must_use]
    pub fn peers(&self) -> &[String] {
        &self.peers
    }

    /// The weight of each of the [`peers`](Self::peers).
    #[must_use]
    pub fn weights(&self) -> &[NonZeroU32] {
        &self.weights
    }

    /// The part of all keys that each of the [`peers`](Self::peers) owns, exactly: together 1.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        if self.slots.is_empty() {
            return vec![1.0; self.peers.len()];
        }
        let mut counts = vec![0_u32; self.peers.len()];
        self.slots.iter().for_each(|&peer| counts[peer as usize] += 1);
        counts.into_iter().map(|count| f64::from(count) / self.slots.len() as f64).collect()
    }

    pub(super) fn owner_index(&self, key: &str) -> Option<usize> {
        self.drawn(hash(key), 0)
    }

    pub(super) fn succession(&self, key: &str) -> Succession<'_> {
        Succession::new(self, hash(key))
    }

    /// What the `number`-th draw of a key finds; the first finds its owner.
    pub(super) fn drawn(&self, key: u64, number: u64) -> Option<usize> {
        if self.slots.is_empty() {
            return if self.peers.is_empty() { None } else { Some(0) };
        }
        let hash = if number == 0 { key } else { draw(key, number) };
        Some(self.slots[slot(hash, self.slots.len().ilog2())] as usize)
    }
}

impl fmt::Debug for BalancedRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedRing")
            .field("peers", &self.peers)
            .field("weights", &self.weights)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
