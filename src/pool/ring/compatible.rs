//! The consistent hash ring, with the same results as the ring of the Go package.

use std::cmp::Reverse;
use std::fmt::{self, Write as _};
use std::num::NonZeroU32;
use std::sync::Arc;

/// A consistent hash ring over the names of peers.
///
/// Each peer has several points on a circle of 2^32 positions: the hashes of `<i><peer>`, where `i` counts from 0 in
/// decimal. The owner of a key is the peer of the first point at or after the key's hash, wrapping around. So all
/// programs that know the same peers agree on each owner without communication. When a peer joins or leaves, only the
/// keys that it gains or loses move.
///
/// The order in which peers are listed has no effect, and a peer that is listed twice counts once. A ring is immutable:
/// when the pool changes, a new ring replaces it.
///
/// ```
/// use forwardcache::Ring;
///
/// let ring = Ring::new(["http://10.0.1.1:3000", "http://10.0.1.2:3000"]);
/// let owner = ring.owner("http://example.com/").unwrap();
/// assert_eq!(ring.owners("http://example.com/").next(), Some(owner));
/// ```
#[derive(Clone)]
pub struct Ring {
    peers: Box<[String]>,
    // The points, sorted, and the peer of each point, in separate arrays because a search reads only the points.
    points: Box<[u32]>,
    point_peers: Box<[u32]>,
    replicas: NonZeroU32,
    hash: HashFunction,
}

impl Ring {
    /// The default number of points for each peer: 50, as in the Go package.
    pub const DEFAULT_REPLICAS: NonZeroU32 = NonZeroU32::new(50).expect("50 is not zero");

    /// Creates a ring of these peers with [`DEFAULT_REPLICAS`](Self::DEFAULT_REPLICAS) and CRC-32.
    ///
    /// # Panics
    ///
    /// Panics if there are 2^32 peers or more.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::with(peers, Self::DEFAULT_REPLICAS, HashFunction::default())
    }

    /// Creates a ring of these peers with `replicas` points for each peer, and with this hash function.
    ///
    /// More points distribute the keys more evenly and cost 8 bytes each. All members of a pool must use the same number and
    /// the same function.
    ///
    /// # Panics
    ///
    /// Panics if there are 2^32 peers or more.
    #[must_use]
    pub fn with(
        peers: impl IntoIterator<Item = impl Into<String>>,
        replicas: NonZeroU32,
        hash: HashFunction,
    ) -> Self {
        Self::weighted(peers.into_iter().map(|peer| (peer, NonZeroU32::MIN)), replicas, hash)
    }

    /// Like [`with`](Self::with), with `replicas` points multiplied by its weight for each peer. A peer that is listed twice
    /// counts once, with the greater weight.
    ///
    /// If all weights are 1, the ring equals that of [`with`](Self::with).
    ///
    /// ```
    /// use std::num::NonZeroU32;
    ///
    /// use forwardcache::{HashFunction, Ring};
    ///
    /// let pool = [("http://10.0.1.1:3000", NonZeroU32::MIN), ("http://10.0.1.2:3000", NonZeroU32::new(3).unwrap())];
    /// let ring = Ring::weighted(pool, Ring::DEFAULT_REPLICAS, HashFunction::default());
    /// assert!(ring.shares()[1] > 0.6);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if there are 2^32 peers or more.
    #[must_use]
    pub fn weighted(
        peers: impl IntoIterator<Item = (impl Into<String>, NonZeroU32)>,
        replicas: NonZeroU32,
        hash: HashFunction,
    ) -> Self {
        let mut peers: Vec<(String, NonZeroU32)> =
            peers.into_iter().map(|(peer, weight)| (peer.into(), weight)).collect();
        peers.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        peers.dedup_by(|later, kept| later.0 == kept.0);
        assert!(u32::try_from(peers.len()).is_ok(), "a ring has fewer than 2^32 peers");

        let mut circle: Vec<(u32, u32)> = Vec::new();
        let mut point = String::new();
        for (index, (peer, weight)) in (0..=u32::MAX).zip(&peers) {
            for replica in 0..u64::from(replicas.get()) * u64::from(weight.get()) {
                point.clear();
                write!(point, "{replica}{peer}").expect("writing to a String cannot fail");
                circle.push((hash.hash(point.as_bytes()), index));
            }
        }
        // If two peers have the same point, the greater name comes first. The Go package lets the peer added last win,
        // which is the greater name in a sorted list.
        circle.sort_unstable_by_key(|&(point, index)| (point, Reverse(index)));
        let (points, point_peers): (Vec<u32>, Vec<u32>) = circle.into_iter().unzip();
        let peers: Vec<String> = peers.into_iter().map(|(peer, _)| peer).collect();
        Self { peers: peers.into(), points: points.into(), point_peers: point_peers.into(), replicas, hash }
    }

    /// Returns the peer that owns this key, or `None` if there are no peers.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&str> {
        Some(&self.peers[self.owner_index(key)?])
    }

    /// Returns all peers, each once, in the order in which they own this key if all peers before them are removed.
    ///
    /// The iterator walks only as much of the ring as the caller consumes.
    pub fn owners<'ring>(&'ring self, key: &str) -> impl Iterator<Item = &'ring str> + use<'ring> {
        self.owner_indices(key).map(|index| self.peers[index].as_str())
    }

    pub(super) fn owner_index(&self, key: &str) -> Option<usize> {
        let first = self.first_point(key);
        let point_peer = self.point_peers.get(first).or_else(|| self.point_peers.first())?;
        Some(*point_peer as usize)
    }

    pub(super) fn owner_indices<'ring>(&'ring self, key: &str) -> impl Iterator<Item = usize> + use<'ring> {
        let (before, after) = self.point_peers.split_at(self.first_point(key));
        let mut seen = vec![false; self.peers.len()];
        after
            .iter()
            .chain(before)
            .map(|&index| index as usize)
            .filter(move |&index| !std::mem::replace(&mut seen[index], true))
            // Without the limit, the iterator would walk the rest of the circle after the last peer.
            .take(self.peers.len())
    }

    /// Returns the exact part of the circle that each of the [`peers`](Self::peers) owns. The parts add up to 1. With a hash
    /// function that distributes keys evenly, each is also the peer's part of the keys.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let mut owned = vec![0_u64; self.peers.len()];
        // The positions before the first point and after the last point belong to the first point.
        let mut before = self.points.last().map_or(0, |&last| i64::from(last) - (1 << 32));
        for (&point, &peer) in self.points.iter().zip(&self.point_peers) {
            owned[peer as usize] += before.abs_diff(i64::from(point));
            before = i64::from(point);
        }
        owned.into_iter().map(|owned| owned as f64 / (1_u64 << 32) as f64).collect()
    }

    /// Returns the peers, sorted, each once.
    #[must_use]
    pub fn peers(&self) -> &[String] {
        &self.peers
    }

    /// Returns the number of points of a peer with weight 1.
    #[must_use]
    pub fn replicas(&self) -> NonZeroU32 {
        self.replicas
    }

    /// Returns the index of the first point at or after the key, or the number of points if the key is after the last one.
    fn first_point(&self, key: &str) -> usize {
        let hash = self.hash.hash(key.as_bytes());
        self.points.partition_point(|&point| point < hash)
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("peers", &self.peers)
            .field("replicas", &self.replicas)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// A hash function from bytes to the circle of a [`Ring`]. Default: CRC-32 (IEEE).
///
/// All members of a pool must use the same function, in all releases, so it must not have a random seed.
///
/// ```
/// use forwardcache::HashFunction;
///
/// // FNV-1a.
/// let hash = HashFunction::new(|bytes| {
///     bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
/// });
/// assert_eq!(hash.hash(b"a"), 0xe40c_292c);
/// assert_eq!(HashFunction::default().hash(b"123456789"), 0xcbf4_3926);
/// ```
#[derive(Clone)]
pub struct HashFunction {
    function: Arc<Function>,
}

type Function = dyn Fn(&[u8]) -> u32 + Send + Sync;

impl HashFunction {
    /// Wraps a function, which must always return the same hash for the same bytes.
    pub fn new(function: impl Fn(&[u8]) -> u32 + Send + Sync + 'static) -> Self {
        Self { function: Arc::new(function) }
    }

    /// Returns the hash of `bytes`.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u32 {
        (self.function)(bytes)
    }
}

impl Default for HashFunction {
    fn default() -> Self {
        Self::new(crc32fast::hash)
    }
}

impl fmt::Debug for HashFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashFunction").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A hash with so few values that points of different peers often coincide.
    fn narrow() -> HashFunction {
        HashFunction::new(|bytes| crc32fast::hash(bytes) % 64)
    }

    fn keys() -> impl Iterator<Item = String> {
        (0..200).map(|number| format!("http://example.com/{number}"))
    }

    fn some_peers() -> impl Strategy<Value = BTreeSet<String>> {
        prop::collection::btree_set("http://[a-z]{1,3}:[1-9]", 1..8)
    }

    fn either_hash() -> impl Strategy<Value = HashFunction> {
        any::<bool>().prop_map(|wide| if wide { HashFunction::default() } else { narrow() })
    }

    #[test]
    fn a_ring_without_peers_has_no_owner() {
        let ring = Ring::new(Vec::<String>::new());
        assert_eq!(ring.owner("a"), None);
        assert_eq!(ring.owners("a").count(), 0);
        assert!(ring.peers().is_empty());
    }

    #[test]
    fn the_owner_is_the_peer_of_the_first_point_at_or_after_the_key() {
        // Peers and keys hash to themselves; the points of `20` are `020` and `120`.
        let number = HashFunction::new(|bytes| std::str::from_utf8(bytes).unwrap().parse().unwrap());
        let ring = Ring::with(["20", "50"], NonZeroU32::new(2).unwrap(), number);
        for (key, owner) in
            [("0", "20"), ("20", "20"), ("21", "50"), ("50", "50"), ("51", "20"), ("120", "20")]
        {
            assert_eq!(ring.owner(key), Some(owner), "{key}");
        }
        assert_eq!(ring.owner("121"), Some("50"));
        assert_eq!(ring.owner("150"), Some("50"));
        assert_eq!(ring.owner("151"), Some("20"), "past the last point");
    }

    #[test]
    fn the_greater_name_comes_first_at_the_same_point() {
        let ring = Ring::with(["b", "c", "a"], NonZeroU32::MIN, HashFunction::new(|_| 7));
        assert_eq!(ring.owners("key").collect::<Vec<_>>(), ["c", "b", "a"]);
        assert_eq!(ring.owner("key"), Some("c"));
    }

    #[test]
    fn a_weight_multiplies_the_points() {
        let weights = [("a", 1), ("b", 3), ("a", 2)];
        let weighted = weights.map(|(peer, weight)| (peer, NonZeroU32::new(weight).unwrap()));
        let ring = Ring::weighted(weighted, NonZeroU32::new(10).unwrap(), HashFunction::default());
        assert_eq!(ring.peers(), ["a", "b"]);
        let points = |peer| ring.point_peers.iter().filter(|&&owner| owner == peer).count();
        assert_eq!((points(0), points(1)), (20, 30));
        assert_eq!(ring.replicas().get(), 10);
    }

    #[test]
    fn shares_equal_the_counts_of_all_keys() {
        // A circle where each position can be looked up: a number hashes to itself.
        let hash = HashFunction::new(|bytes| match std::str::from_utf8(bytes).unwrap().parse::<u32>() {
            Ok(number) => number << 24,
            Err(_) => crc32fast::hash(bytes) & 0xff00_0000,
        });
        let ring = Ring::with(["a", "b", "c"], NonZeroU32::new(3).unwrap(), hash);
        let mut found = [0.0; 3];
        for number in 0..256 {
            let owner = ring.owner(&number.to_string()).unwrap();
            found[ring.peers().iter().position(|peer| peer == owner).unwrap()] += 1.0 / 256.0;
        }
        assert_eq!(ring.shares(), found);
        assert!(Ring::new([""; 0]).shares().is_empty());
    }

    #[test]
    fn peers_are_sorted_and_counted_once() {
        let ring = Ring::new(["b", "a", "b"]);
        assert_eq!(ring.peers(), ["a", "b"]);
        assert_eq!(ring.points.len(), 100);
    }

    #[test]
    fn an_eleventh_peer_takes_about_an_eleventh_of_the_keys() {
        let peers: Vec<String> = (1..=11).map(|number| format!("http://10.0.1.{number}:3000")).collect();
        let before = Ring::new(&peers[..10]);
        let after = Ring::new(&peers);
        let keys =
            (0..20_000).map(|number| format!("https://cdn.example.com/{number}/app.js?v={}", number % 13));
        let moved = keys.filter(|key| before.owner(key) != after.owner(key)).count();
        let fair = 20_000 / 11;
        assert!((fair / 2..fair * 2).contains(&moved), "{moved} keys moved, expected about {fair}");
    }

    proptest! {
        #[test]
        fn the_order_of_the_list_does_not_matter(
            peers in some_peers().prop_flat_map(|peers| {
                let listed: Vec<String> = peers.into_iter().collect();
                (Just(listed.clone()), Just(listed).prop_shuffle())
            }),
            hash in either_hash(),
        ) {
            let (sorted, shuffled) = peers;
            let twice = shuffled.iter().chain(&shuffled[..1]).cloned();
            let one = Ring::with(sorted.clone(), Ring::DEFAULT_REPLICAS, hash.clone());
            let other = Ring::with(twice, Ring::DEFAULT_REPLICAS, hash);
            for key in keys() {
                prop_assert_eq!(one.owner(&key), other.owner(&key));
            }
        }

        #[test]
        fn a_new_peer_takes_keys_and_other_keys_stay(
            peers in some_peers(),
            new in "http://[0-9]{3}",
            hash in either_hash(),
        ) {
            let before = Ring::with(peers.clone(), Ring::DEFAULT_REPLICAS, hash.clone());
            let after = Ring::with(peers.into_iter().chain([new.clone()]), Ring::DEFAULT_REPLICAS, hash);
            for key in keys() {
                let owner = after.owner(&key).unwrap();
                prop_assert!(owner == new || Some(owner) == before.owner(&key));
            }
        }

        #[test]
        fn the_next_owner_is_the_owner_in_a_ring_without_those_before(
            peers in some_peers(),
            hash in either_hash(),
        ) {
            let ring = Ring::with(peers.clone(), Ring::DEFAULT_REPLICAS, hash.clone());
            for key in keys().take(20) {
                let owners: Vec<&str> = ring.owners(&key).collect();
                prop_assert_eq!(owners.len(), peers.len());
                let mut left = peers.clone();
                for owner in owners {
                    let smaller = Ring::with(left.iter(), Ring::DEFAULT_REPLICAS, hash.clone());
                    prop_assert_eq!(smaller.owner(&key), Some(owner));
                    left.remove(owner);
                }
                prop_assert!(left.is_empty());
            }
        }
    }
}
