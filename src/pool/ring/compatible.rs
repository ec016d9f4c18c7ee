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
/// use forwardcache::pool::Ring;
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
    /// More points distribute the keys more evenly and cost 8 bytes each. All members of a pool must use the same
    /// number and the same function.
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

    /// Like [`with`](Self::with), with `replicas` points multiplied by its weight for each peer. A peer that is listed
    /// twice counts once, with the greater weight.
    ///
    /// If all weights are 1, the ring equals that of [`with`](Self::with).
    ///
    /// ```
    /// use std::num::NonZeroU32;
    ///
    /// use forwardcache::pool::{HashFunction, Ring};
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

    /// Returns the exact part of the circle that each of the [`peers`](Self::peers) owns. The parts add up to 1. With a
    /// hash function that distributes keys evenly, each is also the peer's part of the keys.
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

    /// Returns the index of the first point at or after the key, or the number of points if the key is after the last
    /// one.
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
/// use forwardcache::pool::HashFunction;
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
mod tests;
