//! Selects the owners of a URL that may be asked, in order of preference.

use std::sync::Arc;

use super::circuit_breaker::{Admission, Epoch};
use super::inner::{Fallback, Inner};
use super::peers::PeerEntry;
use super::pool::Owners;
use super::replayable_request::ReplayableRequest;
use crate::message::url::CanonicalUrl;

/// A peer that may be asked, with the epoch in which the request is sent.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) peer: Arc<PeerEntry>,
    pub(super) ticket: Epoch,
}

/// The owners of a URL that have not been asked yet.
pub(super) struct Candidates<'a> {
    owners: Owners<'a>,
    last: &'a Fallback<'a>,
    /// The first skipped peer that responds: used if no other peer is left.
    spare: Option<Candidate>,
    /// The first skipped peer that may be up again: used if the request would fail otherwise.
    trial: Option<Candidate>,
    /// Whether the asking peer itself is the next owner in order. Stays true once set.
    is_own_turn: bool,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(owners: Owners<'a>, last: &'a Fallback<'a>) -> Self {
        Self { owners, last, spare: None, trial: None, is_own_turn: false }
    }
}

impl Inner {
    /// Returns the next owner that may be asked, and counts the peers that are skipped.
    pub(super) fn next_candidate(
        self: &Arc<Self>,
        candidates: &mut Candidates<'_>,
        asked: &ReplayableRequest,
    ) -> Option<Candidate> {
        if candidates.is_own_turn {
            return None;
        }
        for owner in &mut candidates.owners {
            match candidates.last {
                // The peers after it rank lower than the asking peer.
                Fallback::Own(own, _) if **own == owner => {
                    candidates.is_own_turn = true;
                    return None;
                }
                _ if asked.but_not.contains(&owner) => continue,
                _ => {}
            }
            let peer = self.peers.of(&owner);
            let look = self.peers.look(&peer, || share(&asked.target));
            match look {
                Admission::Ask(ticket) if !peer.is_suspected() => return Some(Candidate { peer, ticket }),
                Admission::Skip => {}
                Admission::Ask(ticket) | Admission::Spare(ticket) => {
                    candidates.spare.get_or_insert(Candidate { peer, ticket });
                }
                Admission::Trial(ticket) => {
                    if self.peers.is_due(&peer) {
                        self.check_return(&peer);
                    }
                    candidates.trial.get_or_insert(Candidate { peer, ticket });
                }
            }
            self.counters.passed_over.count();
        }
        let has_other_way = match candidates.last {
            Fallback::Own(..) => true,
            Fallback::Nobody => false,
            Fallback::Chosen => self.direct.is_some(),
        };
        let trial = candidates.trial.take().filter(|_| !has_other_way);
        candidates.spare.take().or(trial)
    }
}

/// Returns the position of this URL among all keys, in thousandths.
fn share(target: &CanonicalUrl) -> u16 {
    let hash = crc32fast::hash(target.ring_key().as_bytes());
    u16::try_from(hash % 1000).unwrap_or(0)
}
