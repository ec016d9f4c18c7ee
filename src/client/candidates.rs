//! Which of the owners of a URL may be asked, one after another.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use log::debug;

use super::asked::Asked;
use super::health::{Look, Ticket};
use super::in_flight;
use super::peers::Known;
use super::pool::Owners;
use super::sending::{Inner, Last};
use crate::body::Body;
use crate::peer_url::PeerUrl;
use crate::protocol::{self, Within};
use crate::target::Target;

/// How long a peer may take to say that it is there, where an answer may take as long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A peer that may be asked.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) peer: Arc<Known>,
    pub(super) ticket: Ticket,
}

/// The owners of a URL that were not asked yet.
pub(super) struct Candidates<'a> {
    owners: Owners<'a>,
    last: &'a Last<'a>,
    /// The first that has more to do than its share: asked where all others are away.
    full: Option<Candidate>,
    /// The first that was passed over and is not known to be dead: asked where there is nobody else at all.
    spare: Option<Candidate>,
    /// The one that was given back: it is the next once more.
    returned: Option<Candidate>,
    /// Whether those who have more of a right to the URL than the peer that asks are behind: it stays so, however
    /// often the next is asked for.
    is_own_turn: bool,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(owners: Owners<'a>, last: &'a Last<'a>) -> Self {
        Self { owners, last, full: None, spare: None, returned: None, is_own_turn: false }
    }

    /// Takes one back that was not asked after all.
    pub(super) fn give_back(&mut self, candidate: Candidate) {
        self.returned = Some(candidate);
    }
}

impl Inner {
    /// The next owner that may be asked; those that are passed over on the way are counted.
    pub(super) fn next_candidate(
        self: &Arc<Self>,
        candidates: &mut Candidates<'_>,
        asked: &Asked,
    ) -> Option<Candidate> {
        if let Some(returned) = candidates.returned.take() {
            return Some(returned);
        }
        if candidates.is_own_turn {
            return None;
        }
        for owner in &mut candidates.owners {
            match candidates.last {
                // Those behind it have less of a right to the URL.
                Last::Own(own, _) if **own == owner => {
                    candidates.is_own_turn = true;
                    return None;
                }
                _ if asked.but_not.contains(&owner) => continue,
                _ => {}
            }
            let peer = self.peers.of(&owner);
            let ticket = match self.look(&peer, asked) {
                Look::Ask(ticket) => Some(ticket),
                Look::Probe => self.peers.probe(&peer, || self.is_there(&owner)),
                Look::Spare(ticket) => {
                    let peer = Arc::clone(&peer);
                    candidates.spare.get_or_insert(Candidate { peer, ticket });
                    None
                }
                Look::Skip => None,
            };
            match ticket {
                Some(ticket) if self.has_room(&peer) => return Some(Candidate { peer, ticket }),
                Some(ticket) => {
                    candidates.full.get_or_insert(Candidate { peer, ticket });
                }
                None => {}
            }
            self.counters.passed_over.count();
        }
        // Those that have room are down.
        candidates.full.take().or_else(|| candidates.spare.take())
    }

    /// What to do about this peer. One who has less time than a probe may take does not wait for it; but the peer
    /// must not stay down because all who ask are in a hurry.
    fn look(self: &Arc<Self>, peer: &Arc<Known>, asked: &Asked) -> Look {
        let key = || share(&asked.target);
        let may_probe = || asked.has_left(self.probe_timeout());
        let look = self.peers.look(peer, key, may_probe);
        if matches!(look, Look::Skip | Look::Spare(_)) && self.peers.is_due(peer) {
            let (inner, peer, key) = (Arc::clone(self), Arc::clone(peer), key());
            // Where no helper is free, the next who asks finds the same.
            self.helpers.run(Box::new(move || {
                if inner.peers.look(&peer, || key, || true) == Look::Probe {
                    inner.peers.probe(&peer, || inner.is_there(&peer.url));
                }
            }));
        }
        look
    }

    fn has_room(&self, peer: &Known) -> bool {
        self.bounded_load.is_none_or(|epsilon| {
            in_flight::has_room(peer.in_flight.count(), self.peers.load(), self.pool.size(), epsilon)
        })
    }

    fn probe_timeout(&self) -> Duration {
        PROBE_TIMEOUT.min(self.head_timeout)
    }

    /// Whether the peer is there and takes requests.
    fn is_there(&self, peer: &PeerUrl) -> bool {
        self.counters.probes.count();
        let Some(url) = peer.url_below(protocol::HEALTH_PATH) else { return false };
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url;
        request.extensions_mut().insert(Within(self.probe_timeout()));
        let answer = self.transport.round_trip(request);
        let is_there = answer.is_ok_and(|answer| answer.status() != StatusCode::SERVICE_UNAVAILABLE);
        debug!("{peer} is {}there", if is_there { "" } else { "not " });
        is_there
    }
}

/// Where among all keys this one is, in thousandths.
fn share(target: &Target) -> u16 {
    let hash = crc32fast::hash(target.ring_key().as_bytes());
    u16::try_from(hash % 1000).unwrap_or(0)
}
