//! The members of a pool at one time, and where the ring places them.

use std::num::NonZeroU32;

use crate::base::error::{Error, ErrorKind, Result};
use crate::message::url::CanonicalUrl;
use crate::pool::member::Member;
use crate::pool::peer_url::{InvalidPeerUrl, PeerUrl};
use crate::pool::protocol::PoolDigest;
use crate::pool::ring::{HashFunction, Placement, Rendezvous, Ring};

/// The kind of ring and its parameters.
#[derive(Clone, Debug)]
pub(crate) enum RingChoice {
    Compatible { replicas: NonZeroU32, hash: HashFunction },
    Rendezvous,
}

impl RingChoice {
    pub(super) fn place(&self, members: &[Member]) -> Placement {
        let weighted = members.iter().map(|member| (member.url().as_str(), member.weight()));
        match self {
            Self::Compatible { replicas, hash } => {
                Placement::Compatible(Ring::weighted(weighted, *replicas, hash.clone()))
            }
            Self::Rendezvous => Placement::Rendezvous(Rendezvous::new(weighted)),
        }
    }
}

/// The members at one time, with their ring. Immutable.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) placement: Placement,
    /// Sorted by URL text, as the ring numbers them.
    pub(super) members: Vec<Member>,
    pub(super) digest: PoolDigest,
}

impl Members {
    /// Places members that are already [`distinct`].
    pub(super) fn new(members: Vec<Member>, digest: PoolDigest, ring: &RingChoice) -> Self {
        Self { placement: ring.place(&members), members, digest }
    }

    pub(super) fn owner(&self, target: &CanonicalUrl) -> Option<&PeerUrl> {
        self.owner_of(target.ring_key())
    }

    pub(super) fn owner_of(&self, ring_key: &str) -> Option<&PeerUrl> {
        Some(self.members[self.placement.owner(ring_key)?].url())
    }

    pub(super) fn has(&self, url: &str) -> bool {
        self.members.binary_search_by(|member| member.url().as_str().cmp(url)).is_ok()
    }
}

/// Sorts members by URL text and removes duplicates.
pub(crate) fn distinct(mut members: Vec<Member>) -> Result<Vec<Member>> {
    members.sort_unstable_by(|one, other| {
        one.url().as_str().cmp(other.url().as_str()).then(one.weight().cmp(&other.weight()))
    });
    members.dedup();
    if let Some(twice) = members.windows(2).find(|two| two[0].url() == two[1].url()) {
        let text = format!(
            "a peer is listed with two weights, {} and {}: list it once",
            twice[0].weight(),
            twice[1].weight()
        );
        return Err(Error::new(ErrorKind::BadPeer, text).with_peer(twice[0].url()));
    }
    Ok(members)
}

/// Computes a digest of the members, their weights, and the ring parameters.
pub(super) fn digest(ring: &RingChoice, members: &[Member]) -> PoolDigest {
    let mut text = String::new();
    match ring {
        RingChoice::Compatible { replicas, hash } => {
            text.push_str(&format!("compatible {replicas}\n"));
            // A hash function has no name, so that a few of its results identify it.
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

/// Parses a list of base URLs; fails if one of them is not valid.
pub(crate) fn parse(peers: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<Member>> {
    peers
        .into_iter()
        .map(|peer| {
            PeerUrl::parse(peer.as_ref()).map(Member::new).map_err(|bad| with_peer_text(peer.as_ref(), bad))
        })
        .collect()
}

/// Adds the peer's text to the error, unless the text may contain userinfo: an invalid URL cannot be redacted
/// reliably.
fn with_peer_text(peer: &str, bad: InvalidPeerUrl) -> Error {
    let error = Error::from(bad);
    if peer.contains('@') { error } else { error.with_peer(peer) }
}
