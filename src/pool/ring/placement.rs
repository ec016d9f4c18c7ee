//! One of the two placements, as chosen.

use super::compatible::Ring;
use super::rendezvous::Rendezvous;

/// How keys are placed on peers. All members of a pool must have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RingKind {
    /// [`Ring`]: that of the Go package, so that its peers and clients may be in the pool. The
    /// busiest of 20 peers owns some 1.35 times the mean.
    #[default]
    Compatible,
    /// [`Rendezvous`]: shares are exactly in proportion to the weights, and a change moves no more than it must. A
    /// look-up takes longer the more peers there are: some 50 ns with 10, 1.5 us with 1,000.
    Rendezvous,
}

/// A placement of keys on peers. It never changes.
#[derive(Clone, Debug)]
pub(crate) enum Placement {
    Compatible(Ring),
    Rendezvous(Rendezvous),
}

impl Placement {
    /// Which one of the peers, sorted by name and each once, owns this key; none if there are no peers.
    pub(crate) fn owner(&self, key: &str) -> Option<usize> {
        match self {
            Self::Compatible(ring) => ring.owner_index(key),
            Self::Rendezvous(ring) => ring.owner_index(key),
        }
    }

    /// All of them, each once, in the order in which they own this key while those before are away. No more
    /// is looked for than is asked for.
    pub(crate) fn owners(&self, key: &str) -> impl Iterator<Item = usize> {
        let (one, other) = match self {
            Self::Compatible(ring) => (Some(ring.owner_indices(key)), None),
            Self::Rendezvous(ring) => (None, Some(ring.owner_indices(key))),
        };
        one.into_iter().flatten().chain(other.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::compatible::HashFunction;
    use super::*;

    #[test]
    fn either_says_what_its_ring_says() {
        let peers = [("http://a", NonZeroU32::new(2).unwrap()), ("http://b", NonZeroU32::MIN)];
        let names = ["http://a", "http://b"];
        let ring = Ring::weighted(peers, Ring::DEFAULT_REPLICAS, HashFunction::default());
        let rendezvous = Rendezvous::new(peers);
        let one = Placement::Compatible(ring.clone());
        let other = Placement::Rendezvous(rendezvous.clone());
        for key in (0..100).map(|number| number.to_string()) {
            assert_eq!(one.owner(&key).map(|index| names[index]), ring.owner(&key));
            assert_eq!(other.owner(&key).map(|index| names[index]), rendezvous.owner(&key));
            assert!(one.owners(&key).map(|index| names[index]).eq(ring.owners(&key)));
            assert!(other.owners(&key).map(|index| names[index]).eq(rendezvous.owners(&key)));
        }
    }
}
