//! What went, and who could not be asked.

use crate::base::error::Error;
use crate::message::purge::Purged;
use crate::pool::peer_url::PeerUrl;

/// What became of a purge at one peer.
#[derive(Debug)]
#[non_exhaustive]
pub struct PeerPurged {
    /// The peer.
    pub peer: PeerUrl,
    /// What went there, or why it could not be asked, or did not do it.
    pub result: Result<Purged, Error>,
    /// Whether it said that it knows another pool than whoever asked it: there may be peers that were not asked. `false`
    /// where it said nothing.
    pub knows_other_pool: bool,
}

impl PeerPurged {
    pub(crate) fn new(peer: PeerUrl, result: Result<Purged, Error>) -> Self {
        Self { peer, result, knows_other_pool: false }
    }
}

/// What became of a purge in a pool: one entry a peer, in the order of their URLs.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PoolPurged {
    /// The peers, each once.
    pub peers: Vec<PeerPurged>,
}

impl PoolPurged {
    pub(crate) fn new(mut peers: Vec<PeerPurged>) -> Self {
        peers.sort_by(|one, other| one.peer.cmp(&other.peer));
        Self { peers }
    }

    /// Whether every peer did it. Where not, what was to go may still be served by those that
    /// [failed](Self::failed).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.peers.iter().all(|peer| peer.result.is_ok())
    }

    /// What went from all of those that did it.
    #[must_use]
    pub fn total(&self) -> Purged {
        self.peers
            .iter()
            .filter_map(|peer| peer.result.as_ref().ok())
            .copied()
            .fold(Purged::default(), Purged::and)
    }

    /// The peers that did not do it, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&PeerUrl, &Error)> {
        self.peers.iter().filter_map(|peer| Some((&peer.peer, peer.result.as_ref().err()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::ErrorKind;

    #[test]
    fn what_was_not_counted_somewhere_is_not_counted_in_all() {
        let counted = Purged::new(1, 10).and(Purged::new(2, 20));
        assert_eq!(counted, Purged::new(3, 30));
        assert_eq!(counted.to_string(), "responses 3 bytes 30");
        let uncounted = counted.and(Purged::uncounted());
        assert!(!uncounted.is_counted);
        assert_eq!(uncounted.to_string(), "responses unknown bytes unknown");
    }

    #[test]
    fn who_failed_is_named_and_not_counted() {
        let peer = |url: &str| PeerUrl::parse(url).unwrap();
        let down = Error::new(ErrorKind::Unreachable, "nobody is there");
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
