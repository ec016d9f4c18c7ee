//! The peers and their ring: immutable, swapped in whole.

use std::iter;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::previous_owners::Former;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::url::CanonicalUrl;
use crate::pool::member::Member;
use crate::pool::peer_url::{InvalidPeerUrl, PeerUrl};
use crate::pool::protocol::{Paths, PoolDigest};
use crate::pool::ring::{HashFunction, Placement, Rendezvous, Ring};

/// Which ring a pool has, with what there is to choose of it.
#[derive(Clone, Debug)]
pub(crate) enum RingChoice {
    Compatible { replicas: NonZeroU32, hash: HashFunction },
    Rendezvous,
}

impl RingChoice {
    fn place(&self, members: &[Member]) -> Placement {
        let weighted = members.iter().map(|member| (member.url().as_str(), member.weight()));
        match self {
            Self::Compatible { replicas, hash } => {
                Placement::Compatible(Ring::weighted(weighted, *replicas, hash.clone()))
            }
            Self::Rendezvous => Placement::Rendezvous(Rendezvous::new(weighted)),
        }
    }
}

/// A pool that can be changed while it is used. A request keeps the ring it began with.
#[derive(Debug)]
pub(crate) struct Pool {
    members: RwLock<Arc<Members>>,
    former: Former,
    /// For how long former owners are remembered.
    handover: Duration,
    ring: RingChoice,
}

/// The members at one time.
#[derive(Debug)]
pub(super) struct Members {
    placement: Placement,
    /// In the order of the placement: by their text.
    members: Vec<Member>,
    digest: PoolDigest,
}

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

/// The owners of a URL, in order.
pub(crate) type Owners<'a> = Box<dyn Iterator<Item = PeerUrl> + 'a>;

impl Members {
    /// Of members that are [distinct].
    fn new(members: Vec<Member>, digest: PoolDigest, ring: &RingChoice) -> Self {
        Self { placement: ring.place(&members), members, digest }
    }

    pub(super) fn owner(&self, target: &CanonicalUrl) -> Option<&PeerUrl> {
        Some(self.members[self.placement.owner(target.ring_key())?].url())
    }

    fn has(&self, url: &str) -> bool {
        self.members.binary_search_by(|member| member.url().as_str().cmp(url)).is_ok()
    }
}

/// Each once, sorted by their text.
pub(crate) fn distinct(mut members: Vec<Member>) -> Result<Vec<Member>> {
    members.sort_unstable_by(|one, other| {
        one.url().as_str().cmp(other.url().as_str()).then(one.weight().cmp(&other.weight()))
    });
    members.dedup();
    if let Some(twice) = members.windows(2).find(|two| two[0].url() == two[1].url()) {
        let text =
            format!("a peer is listed with two weights, {} and {}", twice[0].weight(), twice[1].weight());
        return Err(Error::new(ErrorKind::BadPeer, text).with_peer(twice[0].url()));
    }
    Ok(members)
}

/// Of the members, their weights, and how keys are placed on them.
fn digest(ring: &RingChoice, members: &[Member]) -> PoolDigest {
    let mut text = String::new();
    match ring {
        RingChoice::Compatible { replicas, hash } => {
            text.push_str(&format!("compatible {replicas}\n"));
            // A function has no name: what it makes of a text tells it from others.
            for probe in ["", "a", "http://example.com/"] {
                text.push_str(&format!("{}\n", hash.hash(probe.as_bytes())));
            }
        }
        RingChoice::Rendezvous => text.push_str("rendezvous\n"),
    }
    for member in members {
        text.push_str(&format!("{member}\n"));
    }
    PoolDigest::of(&text)
}

/// Reads a list of peers, all or none.
pub(crate) fn parse(peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<Member>> {
    peers
        .into_iter()
        .map(|peer| PeerUrl::parse(peer.as_ref()).map(Member::new).map_err(|bad| named(peer.as_ref(), bad)))
        .collect()
}

/// Which one of the list it was. What cannot be read cannot be relied on to hide its userinfo either.
fn named(peer: &str, bad: InvalidPeerUrl) -> Error {
    let error = Error::from(bad);
    if peer.contains('@') { error } else { error.with_peer(peer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(texts: &[&str]) -> Vec<Member> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn compatible() -> RingChoice {
        RingChoice::Compatible { replicas: NonZeroU32::MIN, hash: HashFunction::default() }
    }

    #[test]
    fn the_owner_is_found_where_the_order_of_urls_is_not_that_of_their_texts() {
        // With a slash behind them, as URLs have it, the order of the first two is the other way round.
        let listed = ["http://h-x", "http://h", "http://h.y", "http://h:1/a", "http://h:1"];
        for ring in [compatible(), RingChoice::Rendezvous] {
            let pool = Pool::new(members(&listed), ring.clone(), Duration::ZERO).unwrap();
            let place = ring.place(&members(&listed));
            let mut sorted = listed;
            sorted.sort_unstable();
            let mut owners = std::collections::BTreeSet::new();
            for number in 0..100 {
                let target = CanonicalUrl::parse(&format!("http://example.com/{number}")).unwrap();
                let owner = pool.owner(&target).unwrap();
                assert_eq!(owner.as_str(), sorted[place.owner(target.ring_key()).unwrap()]);
                owners.insert(owner.to_string());
            }
            assert!(owners.len() > 2, "{owners:?}");
        }
    }

    #[test]
    fn pools_that_place_in_another_way_have_another_digest() {
        let listed = members(&["http://a weight=2", "http://b"]);
        let digest = |ring| Pool::new(listed.clone(), ring, Duration::ZERO).unwrap().digest();
        let replicas = NonZeroU32::new(2).unwrap();
        let other = RingChoice::Compatible { replicas, hash: HashFunction::default() };
        assert_ne!(digest(compatible()), digest(RingChoice::Rendezvous));
        assert_ne!(digest(compatible()), digest(other));
        assert_eq!(digest(RingChoice::Rendezvous), digest(RingChoice::Rendezvous));
    }

    #[test]
    fn a_peer_with_two_weights_changes_nothing() {
        let pool =
            Pool::new(members(&["http://a weight=2", "http://a weight=2"]), compatible(), Duration::ZERO)
                .unwrap();
        let error = pool.set(members(&["http://b", "http://a weight=3", "http://a"])).unwrap_err();
        assert_eq!((error.kind(), error.peer()), (ErrorKind::BadPeer, Some("http://a")));
        assert_eq!(pool.members(), members(&["http://a weight=2"]));
        pool.set(members(&["http://b", "http://a weight=3"])).unwrap();
        assert_eq!(pool.members(), members(&["http://a weight=3", "http://b"]));
    }

    #[test]
    fn owners_are_those_of_the_ring_each_once() {
        let peers: Vec<_> = (1..=20).map(|number| format!("http://p{number}")).collect();
        let pool = Pool::new(parse(&peers).unwrap(), compatible(), Duration::ZERO).unwrap();
        let target = CanonicalUrl::parse("http://h/a").unwrap();
        let owners: Vec<_> = pool.owners(&target).map(|owner| owner.to_string()).collect();
        let ring = Ring::with(peers, NonZeroU32::MIN, HashFunction::default());
        assert_eq!(owners, ring.owners(target.ring_key()).take(MOST_OWNERS).collect::<Vec<_>>());
        assert_eq!(pool.owners(&target).next(), pool.owner(&target));
        pool.set(Vec::new()).unwrap();
        assert_eq!(pool.owners(&target).next(), None);
    }

    #[test]
    fn weights_are_those_of_all_who_are_not_away() {
        let member = |text: &str| text.parse::<Member>().unwrap();
        let members = ["http://a:1 weight=2", "http://b:1", "http://c:1 weight=5"].map(member);
        let url = |text: &str| text.parse::<PeerUrl>().unwrap();
        let pool = Pool::new(members.to_vec(), RingChoice::Rendezvous, Duration::ZERO).unwrap();
        let (a, c, stranger) = (url("http://a:1"), url("http://c:1"), url("http://d:1"));
        assert_eq!(pool.weights(&a, &[]), (2, 8));
        assert_eq!(pool.weights(&a, &[a.clone(), c.clone()]), (2, 3));
        assert_eq!(pool.weights(&stranger, &[c]), (1, 4));
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
