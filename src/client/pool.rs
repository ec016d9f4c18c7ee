//! The peers and their ring: immutable, swapped in whole.

use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::members::{Members, RingChoice, digest, distinct};
use super::previous_owners::Former;
use crate::base::error::Result;
use crate::message::url::CanonicalUrl;
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{Paths, PoolDigest};

/// A pool that can be changed while it is used. A request keeps the ring it began with.
#[derive(Debug)]
pub(crate) struct Pool {
    members: RwLock<Arc<Members>>,
    former: Former,
    /// For how long former owners are remembered.
    handover: Duration,
    ring: RingChoice,
}

/// The owners of a URL, in order.
pub(crate) type Owners<'a> = Box<dyn Iterator<Item = PeerUrl> + 'a>;

impl Pool {
    /// One that remembers for so long who owned what before it was changed.
    pub(crate) fn new(members: Vec<Member>, ring: RingChoice, handover: Duration) -> Result<Self> {
        let members = distinct(members)?;
        let digest = digest(&ring, &members);
        Ok(Self {
            members: RwLock::new(Arc::new(Members::new(members, digest, &ring))),
            former: Former::default(),
            handover,
            ring,
        })
    }

    /// Puts these peers in place of those before.
    pub(crate) fn set(&self, members: Vec<Member>) -> Result<()> {
        let members = distinct(members)?;
        let digest = digest(&self.ring, &members);
        // Nothing changes, least of all who owned what before, and a large ring takes a while to be placed.
        if digest == self.digest() {
            return Ok(());
        }
        let members = Arc::new(Members::new(members, digest, &self.ring));
        let former = std::mem::replace(&mut *self.members.write(), members);
        self.former.remember(former, self.handover, Instant::now());
        Ok(())
    }

    /// Who owned it last before the peers were changed: somebody else than the owner and the one who asks, who is still in
    /// the pool. For a while.
    pub(crate) fn former_owner(
        &self,
        target: &CanonicalUrl,
        asker: &PeerUrl,
        now: Instant,
    ) -> Option<PeerUrl> {
        let members = self.snapshot();
        let owner = members.owner(target);
        self.former.owner(target, now, |former| {
            former != asker && owner != Some(former) && members.has(former.as_str())
        })
    }

    pub(crate) fn former(&self) -> &Former {
        &self.former
    }

    /// What tells it from a pool of others.
    pub(crate) fn digest(&self) -> PoolDigest {
        self.members.read().digest
    }

    /// The peer that owns what is fetched from there; `None` when there is no peer.
    pub(crate) fn owner(&self, target: &CanonicalUrl) -> Option<PeerUrl> {
        let members = self.snapshot();
        members.owner(target).cloned()
    }

    /// How many peers there are.
    pub(crate) fn size(&self) -> usize {
        self.members.read().members.len()
    }

    /// The peers in the order in which they own it while those before are away, as the pool is now, and no more
    /// than [`MOST_OWNERS`].
    pub(crate) fn owners<'a>(&self, target: &'a CanonicalUrl) -> Owners<'a> {
        let members = self.snapshot();
        let first = members.owner(target).cloned();
        // The rest is looked for when the first one is not enough.
        let rest = iter::once_with(move || {
            let rest = members.placement.owners(target.ring_key()).take(MOST_OWNERS).skip(1);
            rest.map(|owner| members.members[owner].url().clone()).collect::<Vec<_>>()
        });
        Box::new(first.into_iter().chain(rest.flatten()))
    }

    /// Whether this peer is the one that [owns](Self::owner) it, or nobody is.
    pub(crate) fn is_own(&self, target: &CanonicalUrl, peer: &PeerUrl) -> bool {
        self.members.read().owner(target).is_none_or(|owner| owner == peer)
    }

    /// Whether this is the URL under which one of the peers answers.
    pub(crate) fn is_peer(&self, target: &CanonicalUrl, paths: &Paths) -> bool {
        let without_query = target.as_str().split('?').next().unwrap_or_default();
        paths.bases(without_query).any(|base| self.has(base))
    }

    /// Whether one of the peers has this base URL, as it is written here.
    pub(crate) fn has(&self, url: &str) -> bool {
        self.snapshot().has(url)
    }

    /// The weight of this peer, and that of it and all others but those that are away. A peer that is no member counts
    /// as one of weight 1.
    pub(crate) fn weights(&self, own: &PeerUrl, away: &[PeerUrl]) -> (u32, u32) {
        let (mut weight, mut others) = (1, 0_u32);
        for member in &self.snapshot().members {
            if member.url() == own {
                weight = member.weight().get();
            } else if !away.contains(member.url()) {
                others = others.saturating_add(member.weight().get());
            }
        }
        (weight, others.saturating_add(weight))
    }

    /// The peers, each once, sorted.
    pub(crate) fn peers(&self) -> Vec<PeerUrl> {
        self.snapshot().members.iter().map(|member| member.url().clone()).collect()
    }

    /// The peers with their weights, each once, sorted.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.snapshot().members.clone()
    }

    pub(super) fn snapshot(&self) -> Arc<Members> {
        Arc::clone(&self.members.read())
    }
}

/// In a large pool, a request is not carried to everybody.
const MOST_OWNERS: usize = 16;

#[cfg(test)]
mod tests;
