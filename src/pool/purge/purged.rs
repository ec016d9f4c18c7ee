//! The result of a purge at one peer and in a pool.

use crate::base::error::Error;
use crate::message::purge::Purged;
use crate::pool::peer_url::PeerUrl;

/// The result of a purge at one peer.
#[derive(Debug)]
#[non_exhaustive]
pub struct PeerPurged {
    /// The peer.
    pub peer: PeerUrl,
    /// The number of removed responses, or the error if the peer could not be reached or did not purge.
    pub result: Result<Purged, Error>,
    /// Whether the peer reported that it knows a different pool than the sender of the purge. Then there may be peers that
    /// did not receive the purge. `false` if the peer reported nothing.
    pub knows_other_pool: bool,
}

impl PeerPurged {
    pub(crate) fn new(peer: PeerUrl, result: Result<Purged, Error>) -> Self {
        Self { peer, result, knows_other_pool: false }
    }
}

/// The result of a purge in a pool: one entry for each peer, sorted by URL.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PoolPurged {
    /// The peers, each listed once.
    pub peers: Vec<PeerPurged>,
}

impl PoolPurged {
    pub(crate) fn new(mut peers: Vec<PeerPurged>) -> Self {
        peers.sort_by(|one, other| one.peer.cmp(&other.peer));
        Self { peers }
    }

    /// Returns whether each peer purged. If not, the [failed](Self::failed) peers may still serve the purged responses.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.peers.iter().all(|peer| peer.result.is_ok())
    }

    /// Returns the sum of what all successful peers removed.
    #[must_use]
    pub fn total(&self) -> Purged {
        self.peers
            .iter()
            .filter_map(|peer| peer.result.as_ref().ok())
            .copied()
            .fold(Purged::default(), Purged::and)
    }

    /// Returns the peers that did not purge, each with its error.
    pub fn failed(&self) -> impl Iterator<Item = (&PeerUrl, &Error)> {
        self.peers.iter().filter_map(|peer| Some((&peer.peer, peer.result.as_ref().err()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::ErrorKind;

    #[test]
    fn the_total_is_unknown_if_one_peer_did_not_count() {
        let counted = Purged::new(1, 10).and(Purged::new(2, 20));
        assert_eq!(counted, Purged::new(3, 30));
        assert_eq!(counted.to_string(), "responses 3 bytes 30");
        let uncounted = counted.and(Purged::uncounted());
        assert!(!uncounted.is_counted);
        assert_eq!(uncounted.to_string(), "responses unknown bytes unknown");
    }

    #[test]
    fn a_failed_peer_is_listed_and_not_counted() {
        let peer = |url: &str| PeerUrl::parse(url).unwrap();
        let down = Error::new(ErrorKind::Unreachable, "connection refused");
        let purged = PoolPurged::new(vec![
            PeerPurged::new(peer("http://b:1"), Err(down)),
            PeerPurged::new(peer("http://a:1"), Ok(Purged::new(2, 20))),
        ]);
        assert_eq!((purged.is_complete(), purged.total()), (false, Purged::new(2, 20)));
        let failed: Vec<_> = purged.failed().map(|(peer, error)| (peer.as_str(), error.kind())).collect();
        assert_eq!(failed, [("http://b:1", ErrorKind::Unreachable)]);
        assert!(PoolPurged::default().is_complete());
    }
}
