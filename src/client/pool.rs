//! The peers and their ring: immutable, swapped in whole.

use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Error, Result};
use crate::peer_url::{BadPeerUrl, PeerUrl};
use crate::ring::{HashFunction, Ring};
use crate::target::Target;

/// A pool that can be changed while it is used. A request keeps the ring it began with.
#[derive(Debug)]
pub(crate) struct Pool {
    members: RwLock<Arc<Members>>,
    replicas: NonZeroU32,
    hash: HashFunction,
}

#[derive(Debug)]
struct Members {
    ring: Ring,
    /// In the order of the ring's own list, so that one is found by the other.
    peers: Vec<PeerUrl>,
    /// The peers as URLs are written here, which is not always how they stand on the ring.
    #[cfg(feature = "peer")]
    canonical: Vec<String>,
}

impl Pool {
    pub(crate) fn new(peers: Vec<PeerUrl>, replicas: NonZeroU32, hash: HashFunction) -> Self {
        let members = Arc::new(Members::new(peers, replicas, hash.clone()));
        Self { members: RwLock::new(members), replicas, hash }
    }

    /// Puts these peers in place of those before.
    pub(crate) fn set(&self, peers: Vec<PeerUrl>) {
        let members = Arc::new(Members::new(peers, self.replicas, self.hash.clone()));
        let former = std::mem::replace(&mut *self.members.write(), members);
        drop(former);
    }

    /// The peer that owns what is fetched from there; `None` when there is no peer.
    pub(crate) fn owner(&self, target: &Target) -> Option<PeerUrl> {
        let members = Arc::clone(&self.members.read());
        let owner = members.ring.owner(target.ring_key())?;
        members.peer(owner)
    }

    /// How many peers there are.
    pub(crate) fn size(&self) -> usize {
        self.members.read().peers.len()
    }

    /// The peers in the order in which they own it while those before are away, as the pool is now, and no more
    /// than [`MOST_OWNERS`].
    pub(crate) fn owners<'a>(&self, target: &'a Target) -> Owners<'a> {
        Owners { members: Arc::clone(&self.members.read()), target, is_begun: false, rest: None }
    }

    /// Whether this peer is the one that [owns](Self::owner) it, or nobody is.
    #[cfg(feature = "peer")]
    pub(crate) fn is_own(&self, target: &Target, peer: &PeerUrl) -> bool {
        self.members.read().ring.owner(target.ring_key()).is_none_or(|owner| owner == peer.as_str())
    }

    /// Whether this is the URL under which one of the peers answers.
    #[cfg(feature = "peer")]
    pub(crate) fn is_peer(&self, target: &Target, path: &str) -> bool {
        let without_query = target.as_str().split('?').next().unwrap_or_default();
        let Some(base) = without_query.strip_suffix(path) else { return false };
        let members = Arc::clone(&self.members.read());
        members.canonical.iter().any(|peer| peer == base)
    }

    /// The peers, each once, sorted.
    pub(crate) fn peers(&self) -> Vec<PeerUrl> {
        self.members.read().peers.clone()
    }
}

/// In a large pool, a request is not carried to everybody.
const MOST_OWNERS: usize = 16;

/// See [`Pool::owners`]. Most requests need the first alone, which is found without walking the ring.
#[derive(Debug)]
pub(crate) struct Owners<'a> {
    members: Arc<Members>,
    target: &'a Target,
    is_begun: bool,
    /// Those behind the first, the next one last.
    rest: Option<Vec<PeerUrl>>,
}

impl Iterator for Owners<'_> {
    type Item = PeerUrl;

    fn next(&mut self) -> Option<PeerUrl> {
        let key = self.target.ring_key();
        if !std::mem::replace(&mut self.is_begun, true) {
            return self.members.peer(self.members.ring.owner(key)?);
        }
        let members = &self.members;
        let rest = self.rest.get_or_insert_with(|| {
            let rest = members.ring.owners(key).take(MOST_OWNERS).skip(1);
            let mut rest: Vec<_> = rest.filter_map(|owner| members.peer(owner)).collect();
            rest.reverse();
            rest
        });
        rest.pop()
    }
}

impl Members {
    fn new(mut peers: Vec<PeerUrl>, replicas: NonZeroU32, hash: HashFunction) -> Self {
        peers.sort_unstable();
        peers.dedup();
        let ring = Ring::with(peers.iter().map(PeerUrl::as_str), replicas, hash);
        #[cfg(feature = "peer")]
        let canonical = peers
            .iter()
            .filter_map(|peer| Target::parse(peer.as_str()).ok())
            .map(|target| target.as_str().trim_end_matches('/').to_owned())
            .collect();
        Self {
            ring,
            peers,
            #[cfg(feature = "peer")]
            canonical,
        }
    }

    fn peer(&self, name: &str) -> Option<PeerUrl> {
        self.peers.iter().find(|peer| peer.as_str() == name).cloned()
    }
}

/// Reads a list of peers, all or none.
pub(crate) fn parse(peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<PeerUrl>> {
    peers
        .into_iter()
        .map(|peer| PeerUrl::parse(peer.as_ref()).map_err(|bad| named(peer.as_ref(), bad)))
        .collect()
}

/// Which one of the list it was. What cannot be read cannot be relied on to hide its userinfo either.
fn named(peer: &str, bad: BadPeerUrl) -> Error {
    let error = Error::from(bad);
    if peer.contains('@') { error } else { error.with_peer(peer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_those_of_the_ring_each_once() {
        let peers: Vec<_> = (1..=20).map(|number| format!("http://p{number}")).collect();
        let replicas = NonZeroU32::new(50).unwrap();
        let pool = Pool::new(parse(&peers).unwrap(), replicas, HashFunction::default());
        let target = Target::parse("http://h/a").unwrap();
        let owners: Vec<_> = pool.owners(&target).map(|owner| owner.to_string()).collect();
        let ring = Ring::new(peers);
        assert_eq!(owners, ring.owners(target.ring_key()).take(MOST_OWNERS).collect::<Vec<_>>());
        assert_eq!(pool.owners(&target).next(), pool.owner(&target));
        pool.set(Vec::new());
        assert_eq!(pool.owners(&target).next(), None);
    }

    #[test]
    fn the_bad_one_of_a_list_is_named_without_its_secrets() {
        for (peer, named) in [
            ("nonsense", Some("nonsense")),
            ("http://b:3000/?secret", Some("http://b:3000/")),
            ("user:secret@b", None),
            ("http://user:secret@b:3000", None),
        ] {
            let error = parse(["http://a:3000", peer]).unwrap_err();
            assert_eq!(error.peer(), named, "{peer}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
