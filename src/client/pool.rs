//! The pool of a client: its members can be replaced while requests run.

use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::members::{Members, RingChoice, digest, distinct};
use super::previous_owners::PreviousOwners;
use crate::base::error::Result;
use crate::message::url::CanonicalUrl;
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{Paths, PoolDigest};

/// A pool whose members can be replaced as a whole. A request keeps the ring that it started with.
#[derive(Debug)]
pub(crate) struct Pool {
    members: RwLock<Arc<Members>>,
    previous_owners: PreviousOwners,
    /// How long previous owners are remembered after a change.
    warm_up: Duration,
    ring: RingChoice,
}

/// The owners of a URL, in order of preference.
pub(crate) type Owners<'a> = Box<dyn Iterator<Item = PeerUrl> + 'a>;

impl Pool {
    /// Creates a pool that remembers previous owners for `warm_up` after each change.
    pub(crate) fn new(members: Vec<Member>, ring: RingChoice, warm_up: Duration) -> Result<Self> {
        let members = distinct(members)?;
        let digest = digest(&ring, &members);
        Ok(Self {
            members: RwLock::new(Arc::new(Members::new(members, digest, &ring))),
            previous_owners: PreviousOwners::default(),
            warm_up,
            ring,
        })
    }

    /// Replaces the members.
    pub(crate) fn set(&self, members: Vec<Member>) -> Result<()> {
        let members = distinct(members)?;
        let digest = digest(&self.ring, &members);
        // An unchanged list must not overwrite the previous owners, and placing a large ring is slow.
        if digest == self.digest() {
            return Ok(());
        }
        let members = Arc::new(Members::new(members, digest, &self.ring));
        let former = std::mem::replace(&mut *self.members.write(), members);
        self.previous_owners.remember(former, self.warm_up, Instant::now());
        Ok(())
    }

    /// Returns the last owner before the members changed, while it is remembered. That peer differs from the
    /// current owner and from `asker`, and is still a member of the pool.
    pub(crate) fn previous_owner(
        &self,
        target: &CanonicalUrl,
        asker: &PeerUrl,
        now: Instant,
    ) -> Option<PeerUrl> {
        let members = self.snapshot();
        let owner = members.owner(target);
        self.previous_owners.owner(target, now, |former| {
            former != asker && owner != Some(former) && members.has(former.as_str())
        })
    }

    /// Returns the owners before recent changes.
    pub(crate) fn former(&self) -> &PreviousOwners {
        &self.previous_owners
    }

    /// Returns the digest that tells this pool from others.
    pub(crate) fn digest(&self) -> PoolDigest {
        self.members.read().digest
    }

    /// Returns the peer that owns this URL; `None` if the pool is empty.
    pub(crate) fn owner(&self, target: &CanonicalUrl) -> Option<PeerUrl> {
        let members = self.snapshot();
        members.owner(target).cloned()
    }

    /// Returns the number of members.
    pub(crate) fn size(&self) -> usize {
        self.members.read().members.len()
    }

    /// Returns the owners of a URL in order of preference, at most [`MAX_OWNERS`]. Later changes of the pool
    /// do not affect the iterator.
    pub(crate) fn owners<'a>(&self, target: &'a CanonicalUrl) -> Owners<'a> {
        let members = self.snapshot();
        let first = members.owner(target).cloned();
        // Computed lazily: the first owner is usually enough.
        let rest = iter::once_with(move || {
            let rest = members.placement.owners(target.ring_key()).take(MAX_OWNERS).skip(1);
            rest.map(|owner| members.members[owner].url().clone()).collect::<Vec<_>>()
        });
        Box::new(first.into_iter().chain(rest.flatten()))
    }

    /// Returns whether this peer [owns](Self::owner) the URL with this [key](CanonicalUrl::ring_key), or the pool is
    /// empty.
    pub(crate) fn is_own(&self, ring_key: &str, peer: &PeerUrl) -> bool {
        self.members.read().owner_of(ring_key).is_none_or(|owner| owner == peer)
    }

    /// Returns whether this is the URL of an endpoint of one of the peers.
    pub(crate) fn is_peer(&self, target: &CanonicalUrl, paths: &Paths) -> bool {
        let without_query = target.as_str().split('?').next().unwrap_or_default();
        paths.bases(without_query).any(|base| self.has(base))
    }

    /// Returns whether one of the peers has exactly this base URL.
    pub(crate) fn has(&self, url: &str) -> bool {
        self.snapshot().has(url)
    }

    /// Returns the weight of this peer, and the total weight of this peer and all other members except those
    /// in `away`. A peer that is not a member counts with weight 1.
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

    /// Returns the base URLs of the members, sorted, each once.
    pub(crate) fn peers(&self) -> Vec<PeerUrl> {
        self.snapshot().members.iter().map(|member| member.url().clone()).collect()
    }

    /// Returns the members, sorted, each once.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.snapshot().members.clone()
    }

    pub(super) fn snapshot(&self) -> Arc<Members> {
        Arc::clone(&self.members.read())
    }
}

/// Maximum number of owners that one request tries in a large pool.
const MAX_OWNERS: usize = 16;

#[cfg(test)]
mod tests;
