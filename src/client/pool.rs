//! The peers and their ring: immutable, swapped in whole.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Result};
use crate::peer_url::{BadPeerUrl, PeerUrl};
use crate::protocol::PoolDigest;
use crate::ring::{HashFunction, Ring};
use crate::target::Target;

/// A pool that can be changed while it is used. A request keeps the ring it began with.
#[derive(Debug)]
pub(crate) struct Pool {
    members: RwLock<Arc<Members>>,
    former: Former,
    /// For how long former owners are remembered.
    handover: Duration,
    replicas: NonZeroU32,
    hash: HashFunction,
}

/// The members before the last change.
#[derive(Debug, Default)]
pub(crate) struct Former {
    is_any: AtomicBool,
    state: Mutex<Option<Remembered>>,
}

#[cfg_attr(not(feature = "peer"), allow(dead_code, reason = "a client alone is asked for nothing"))]
#[derive(Debug)]
struct Remembered {
    members: Arc<Members>,
    until: Instant,
    /// Those who did not answer when they were asked.
    gone: Vec<PeerUrl>,
}

impl Former {
    fn remember(&self, members: Arc<Members>, until: Instant) {
        let before = self.state.lock().replace(Remembered { members, until, gone: Vec::new() });
        self.is_any.store(true, Ordering::Relaxed);
        drop(before);
    }
}

#[cfg(feature = "peer")]
impl Former {
    /// Whether it is worth asking for one.
    pub(crate) fn are_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    fn owner(&self, target: &Target, now: Instant) -> Option<PeerUrl> {
        let mut state = self.state.lock();
        let overdue = state.take_if(|remembered| remembered.until <= now);
        if state.is_none() {
            self.is_any.store(false, Ordering::Relaxed);
        }
        let owner = state.as_ref().and_then(|remembered| {
            let owner = remembered.members.owner(target)?;
            (!remembered.gone.contains(owner)).then(|| owner.clone())
        });
        drop(state);
        drop(overdue);
        owner
    }

    /// It did not answer.
    pub(crate) fn is_gone(&self, peer: &PeerUrl) {
        if let Some(remembered) = &mut *self.state.lock()
            && !remembered.gone.contains(peer)
        {
            remembered.gone.push(peer.clone());
        }
    }
}

#[derive(Debug)]
struct Members {
    ring: Ring,
    /// In the order of the ring's own list, so that one is found by the other.
    peers: Vec<PeerUrl>,
    digest: PoolDigest,
    /// The peers as URLs are written here, which is not always how they stand on the ring.
    #[cfg(feature = "peer")]
    canonical: Vec<String>,
}

impl Pool {
    pub(crate) fn new(
        peers: Vec<PeerUrl>,
        replicas: NonZeroU32,
        hash: HashFunction,
        handover: Duration,
    ) -> Self {
        let members = Arc::new(Members::new(peers, replicas, hash.clone()));
        Self { members: RwLock::new(members), former: Former::default(), handover, replicas, hash }
    }

    /// Puts these peers in place of those before.
    pub(crate) fn set(&self, peers: Vec<PeerUrl>) {
        let members = Arc::new(Members::new(peers, self.replicas, self.hash.clone()));
        let former = std::mem::replace(&mut *self.members.write(), members);
        self.former.remember(former, Instant::now() + self.handover);
    }

    /// Who owned it before the peers were changed, where that was somebody else, for a while.
    #[cfg(feature = "peer")]
    pub(crate) fn former_owner(&self, target: &Target, now: Instant) -> Option<PeerUrl> {
        let former = self.former.owner(target, now)?;
        (self.owner(target).as_ref() != Some(&former)).then_some(former)
    }

    #[cfg(feature = "peer")]
    pub(crate) fn former(&self) -> &Former {
        &self.former
    }

    /// The peer that owns what is fetched from there; `None` when there is no peer.
    pub(crate) fn owner(&self, target: &Target) -> Option<PeerUrl> {
        let members = Arc::clone(&self.members.read());
        members.owner(target).cloned()
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

    /// What tells it from a pool of others.
    pub(crate) fn digest(&self) -> PoolDigest {
        self.members.read().digest
    }

    /// The peers, each once, sorted.
    pub(crate) fn peers(&self) -> Vec<PeerUrl> {
        self.members.read().peers.clone()
    }
}

impl Members {
    fn owner(&self, target: &Target) -> Option<&PeerUrl> {
        let owner = self.ring.owner(target.ring_key())?;
        self.peers.iter().find(|peer| peer.as_str() == owner)
    }

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
        let digest = digest(&ring, &peers);
        Self {
            ring,
            peers,
            digest,
            #[cfg(feature = "peer")]
            canonical,
        }
    }
}

fn digest(ring: &Ring, peers: &[PeerUrl]) -> PoolDigest {
    let mut text = format!("{}\n", ring.replicas());
    // A function has no name: what it makes of a text tells it from others.
    for probe in ["", "a", "http://example.com/"] {
        text.push_str(&format!("{}\n", ring.hash_function().hash(probe.as_bytes())));
    }
    for peer in peers {
        text.push_str(&format!("{peer}\n"));
    }
    PoolDigest::of(&text)
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
