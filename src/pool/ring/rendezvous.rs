//! Weighted rendezvous hashing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use super::mixing::{fold, hash, mix};

/// So many peers are compared without a branch: the first ones change the minimum too often to be predicted.
const FIRST: usize = 16;

/// A placement of keys on peers in exact proportion to their weights: weighted rendezvous hashing, without a table.
///
/// Each peer has a score for each key, `-ln(u) / weight` with a `u` between 0 and 1 from the hashes of both, and the
/// peer of the smallest score owns the key. So all who know the same peers and weights agree on every owner without
/// talking, in whichever order they list them. When a peer joins or leaves, its own share moves and nothing else. A
/// look-up computes one product for each peer.
///
/// It never changes: where peers come and go, a new one takes its place. It agrees with no
/// [`Ring`](crate::Ring), so a pool has to choose one of the two.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use forwardcache::Rendezvous;
///
/// let large = NonZeroU32::new(3).unwrap();
/// let peers = Rendezvous::new([("http://10.0.1.1:3000", NonZeroU32::MIN), ("http://10.0.1.2:3000", large)]);
/// let owner = peers.owner("http://example.com/").unwrap();
/// assert_eq!(peers.owners("http://example.com/").next(), Some(owner));
/// assert_eq!(peers.shares(), [0.25, 0.75]);
/// ```
#[derive(Clone, Debug)]
pub struct Rendezvous {
    names: Box<[String]>,
    peers: Box<[Peer]>,
}

#[derive(Clone, Debug)]
struct Peer {
    seed: u64,
    /// One by its weight.
    scale: f64,
    weight: NonZeroU32,
}

impl Peer {
    fn new(name: &str, weight: NonZeroU32) -> Self {
        Self { seed: mix(!hash(name)), scale: 1.0 / f64::from(weight.get()), weight }
    }

    /// A number from 0 to 1, without the 1: it is 1 - u.
    #[inline]
    fn distance(&self, key: u64) -> f64 {
        (fold(self.seed, key) >> 11).cast_signed() as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// At most the score, and near it where it is small. It takes no logarithm.
    #[inline]
    fn bound(&self, key: u64) -> f64 {
        self.distance(key) * self.scale
    }

    fn score(&self, key: u64) -> f64 {
        let distance = self.distance(key);
        // Whatever the logarithm is rounded to, it is not below the bound.
        (-(-distance).ln_1p()).max(distance) * self.scale
    }
}

/// The two least bounds. As bits, positive numbers have the same order.
struct Least {
    first: u64,
    index: usize,
    second: u64,
}

impl Least {
    #[inline]
    fn insert(&mut self, index: usize, bound: u64) {
        self.second = self.second.min(self.first.max(bound));
        self.index = if bound < self.first { index } else { self.index };
        self.first = self.first.min(bound);
    }
}

impl Rendezvous {
    /// The placement over these peers, with their weights. One listed twice counts once, with the greater.
    ///
    /// A peer of weight 3 has three times the share of one of weight 1.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = (impl Into<String>, NonZeroU32)>) -> Self {
        let mut peers: Vec<(String, NonZeroU32)> =
            peers.into_iter().map(|(peer, weight)| (peer.into(), weight)).collect();
        peers.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        peers.dedup_by(|later, kept| later.0 == kept.0);
        let prepared = peers.iter().map(|(name, weight)| Peer::new(name, *weight)).collect();
        Self { names: peers.into_iter().map(|(name, _)| name).collect(), peers: prepared }
    }

    /// The peer that owns this key; none if there are no peers.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&str> {
        Some(&self.names[self.owner_index(key)?])
    }

    /// All peers, each once, in the order in which they own this key while those before are away: that of their
    /// scores, and so what a placement without those before would say.
    ///
    /// Little more is computed than is asked for.
    pub fn owners<'ring>(&'ring self, key: &str) -> impl Iterator<Item = &'ring str> + use<'ring> {
        self.owner_indices(key).map(|index| self.names[index].as_str())
    }

    /// The peers, sorted and each once.
    #[must_use]
    pub fn peers(&self) -> &[String] {
        &self.names
    }

    /// The part of all keys that each of the [`peers`](Self::peers) owns: its part of the sum of all weights.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let weights = self.peers.iter().map(|peer| f64::from(peer.weight.get()));
        let total: f64 = weights.clone().sum();
        weights.map(|weight| weight / total).collect()
    }

    pub(super) fn owner_index(&self, key: &str) -> Option<usize> {
        let key = hash(key);
        let mut least = Least { first: u64::MAX, index: 0, second: u64::MAX };
        let (first, rest) = self.peers.split_at(self.peers.len().min(FIRST));
        for (index, peer) in first.iter().enumerate() {
            least.insert(index, peer.bound(key).to_bits());
        }
        for (index, peer) in (FIRST..).zip(rest) {
            let bound = peer.bound(key).to_bits();
            if bound < least.second {
                least.insert(index, bound);
            }
        }
        let score = self.peers.get(least.index)?.score(key);
        if score.to_bits() < least.second {
            return Some(least.index);
        }
        // Seldom: those alone can have a smaller score, or the same, whose bound allows it.
        let near = self.peers.iter().enumerate().filter(|(_, peer)| peer.bound(key) <= score);
        near.map(|(index, peer)| (peer.score(key).to_bits(), index)).min().map(|(_, index)| index)
    }

    pub(super) fn owner_indices<'ring>(&'ring self, key: &str) -> Succession<'ring> {
        let key = hash(key);
        let bounds = self.peers.iter().enumerate();
        let rank = |(index, peer): (usize, &Peer)| Reverse((peer.bound(key).to_bits(), false, index));
        Succession { peers: &self.peers, key, ranked: bounds.map(rank).collect() }
    }
}

/// All peers by their scores. A score is computed when its bound is the least: what comes first with its score is
/// before all others.
pub(super) struct Succession<'ring> {
    peers: &'ring [Peer],
    key: u64,
    /// A bound or a score, whether it is a score, and whose.
    ranked: BinaryHeap<Reverse<(u64, bool, usize)>>,
}

impl Iterator for Succession<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let Reverse((_, is_score, index)) = self.ranked.pop()?;
            if is_score {
                return Some(index);
            }
            self.ranked.push(Reverse((self.peers[index].score(self.key).to_bits(), true, index)));
        }
    }
}

#[cfg(test)]
mod tests;
