//! Weighted rendezvous hashing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use super::mixing::{fold, hash, mix};

/// The number of peers that a lookup compares without a branch: among the first peers, the minimum changes too often
/// for the CPU to predict the branch.
const BRANCHLESS: usize = 16;

/// A placement of keys on peers in exact proportion to their weights: weighted rendezvous hashing, without a table.
///
/// Each peer has a score for each key: `-ln(u) / weight`, where `u` lies between 0 and 1 and comes from the hashes of
/// both. The peer with the smallest score owns the key. So all programs that know the same peers and weights agree on
/// each owner without communication, regardless of the order of the list. When a peer joins or leaves, only its own
/// share moves. A lookup computes one product for each peer.
///
/// A placement is immutable: when the pool changes, a new one replaces it. It differs from that of a
/// [`Ring`](crate::pool::Ring), so a pool must use one of the two.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use forwardcache::pool::Rendezvous;
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
    /// The reciprocal of the weight.
    scale: f64,
    weight: NonZeroU32,
}

impl Peer {
    fn new(name: &str, weight: NonZeroU32) -> Self {
        Self { seed: mix(!hash(name)), scale: 1.0 / f64::from(weight.get()), weight }
    }

    /// Returns a number from 0 (inclusive) to 1 (exclusive): `1 - u`.
    #[inline]
    fn distance(&self, key: u64) -> f64 {
        (fold(self.seed, key) >> 11).cast_signed() as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Returns a lower bound of the score that is close to the score if that is small. It needs no logarithm.
    #[inline]
    fn bound(&self, key: u64) -> f64 {
        self.distance(key) * self.scale
    }

    fn score(&self, key: u64) -> f64 {
        let distance = self.distance(key);
        // `max` keeps the score from being below the bound because of rounding.
        (-(-distance).ln_1p()).max(distance) * self.scale
    }
}

/// The two smallest bounds. They are kept as bits, because positive floats and their bits have the same order.
struct TwoSmallest {
    first: u64,
    index: usize,
    second: u64,
}

impl TwoSmallest {
    #[inline]
    fn insert(&mut self, index: usize, bound: u64) {
        self.second = self.second.min(self.first.max(bound));
        self.index = if bound < self.first { index } else { self.index };
        self.first = self.first.min(bound);
    }
}

impl Rendezvous {
    /// Creates a placement over these peers with their weights. A peer that is listed twice counts once, with the
    /// greater weight.
    ///
    /// A peer with weight 3 has three times the share of a peer with weight 1.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = (impl Into<String>, NonZeroU32)>) -> Self {
        let mut peers: Vec<(String, NonZeroU32)> =
            peers.into_iter().map(|(peer, weight)| (peer.into(), weight)).collect();
        peers.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        peers.dedup_by(|later, kept| later.0 == kept.0);
        let prepared = peers.iter().map(|(name, weight)| Peer::new(name, *weight)).collect();
        Self { names: peers.into_iter().map(|(name, _)| name).collect(), peers: prepared }
    }

    /// Returns the peer that owns this key, or `None` if there are no peers.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&str> {
        Some(&self.names[self.owner_index(key)?])
    }

    /// Returns all peers, each once, in the order of their scores: the order in which they own this key if all peers
    /// before them are removed.
    ///
    /// The iterator computes little more than the caller consumes.
    pub fn owners<'ring>(&'ring self, key: &str) -> impl Iterator<Item = &'ring str> + use<'ring> {
        self.owner_indices(key).map(|index| self.names[index].as_str())
    }

    /// Returns the peers, sorted, each once.
    #[must_use]
    pub fn peers(&self) -> &[String] {
        &self.names
    }

    /// Returns the part of all keys that each of the [`peers`](Self::peers) owns: its weight divided by the sum of
    /// weights.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let weights = self.peers.iter().map(|peer| f64::from(peer.weight.get()));
        let total: f64 = weights.clone().sum();
        weights.map(|weight| weight / total).collect()
    }

    pub(super) fn owner_index(&self, key: &str) -> Option<usize> {
        let key = hash(key);
        let mut smallest = TwoSmallest { first: u64::MAX, index: 0, second: u64::MAX };
        let (first, rest) = self.peers.split_at(self.peers.len().min(BRANCHLESS));
        for (index, peer) in first.iter().enumerate() {
            smallest.insert(index, peer.bound(key).to_bits());
        }
        for (index, peer) in (BRANCHLESS..).zip(rest) {
            let bound = peer.bound(key).to_bits();
            if bound < smallest.second {
                smallest.insert(index, bound);
            }
        }
        let score = self.peers.get(smallest.index)?.score(key);
        if score.to_bits() < smallest.second {
            return Some(smallest.index);
        }
        // A rare case: only peers whose bound is at most this score can have a smaller or equal score.
        let candidates = self.peers.iter().enumerate().filter(|(_, peer)| peer.bound(key) <= score);
        candidates.map(|(index, peer)| (peer.score(key).to_bits(), index)).min().map(|(_, index)| index)
    }

    pub(super) fn owner_indices<'ring>(&'ring self, key: &str) -> OwnersByScore<'ring> {
        let key = hash(key);
        let bounds = self.peers.iter().enumerate();
        let rank = |(index, peer): (usize, &Peer)| Reverse((peer.bound(key).to_bits(), false, index));
        OwnersByScore { peers: &self.peers, key, ranked: bounds.map(rank).collect() }
    }
}

/// An iterator over all peers in the order of their scores. It computes a score only when the peer's bound is the
/// smallest entry. An entry that is a score and the smallest is smaller than all other scores.
pub(super) struct OwnersByScore<'ring> {
    peers: &'ring [Peer],
    key: u64,
    /// Entries of a bound or a score, whether it is a score, and the index of the peer.
    ranked: BinaryHeap<Reverse<(u64, bool, usize)>>,
}

impl Iterator for OwnersByScore<'_> {
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
