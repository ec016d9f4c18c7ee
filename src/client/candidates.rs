//! Selects the owners of a URL that may be asked, in order of preference.

use std::sync::Arc;

use super::inner::{Fallback, Inner};
use super::peer_circuit_breaker::{Admission, Epoch};
use super::peers::PeerEntry;
use super::pool::Owners;
use super::replayable_request::ReplayableRequest;
use crate::message::url::CanonicalUrl;

/// A peer that may be asked, with the epoch in which the request is sent.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) peer: Arc<PeerEntry>,
    pub(super) epoch: Epoch,
}

/// The owners of a URL that have not been asked yet.
pub(super) struct Candidates<'a> {
    owners: Owners<'a>,
    fallback: &'a Fallback<'a>,
    /// The first skipped peer that responds: used if no other peer is left.
    last_resort: Option<Candidate>,
    /// The first skipped peer that may be up again: used if the request would fail otherwise.
    trial: Option<Candidate>,
    /// Whether the asking peer itself is the next owner in order. Stays true once set.
    has_reached_self: bool,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(owners: Owners<'a>, fallback: &'a Fallback<'a>) -> Self {
        Self { owners, fallback, last_resort: None, trial: None, has_reached_self: false }
    }
}

impl Inner {
    /// Returns the next owner that may be asked, and counts the peers that are skipped.
    pub(super) fn next_candidate(
        self: &Arc<Self>,
        candidates: &mut Candidates<'_>,
        replayable: &ReplayableRequest,
    ) -> Option<Candidate> {
        if candidates.has_reached_self {
            return None;
        }
        for owner in &mut candidates.owners {
            match candidates.fallback {
                // The peers after it rank lower than the asking peer.
                Fallback::OwnCache(own, _) if **own == owner => {
                    candidates.has_reached_self = true;
                    return None;
                }
                _ if replayable.excluded.contains(&owner) => continue,
                _ => {}
            }
            let peer = self.peers.entry(&owner);
            let admission = self.peers.admit(&peer, || key_position(&replayable.target));
            match admission {
                Admission::Ask(epoch) if !peer.is_suspected() => return Some(Candidate { peer, epoch }),
                Admission::Skip => {}
                Admission::Ask(epoch) | Admission::LastResort(epoch) => {
                    candidates.last_resort.get_or_insert(Candidate { peer, epoch });
                }
                Admission::Trial(epoch) => {
                    if self.peers.is_due(&peer) {
                        self.probe_return(&peer);
                    }
                    candidates.trial.get_or_insert(Candidate { peer, epoch });
                }
            }
            self.counters.skipped.count();
        }
        let has_other_way = match candidates.fallback {
            Fallback::OwnCache(..) => true,
            Fallback::Fail => false,
            Fallback::Configured => self.direct.is_some(),
        };
        let trial = candidates.trial.take().filter(|_| !has_other_way);
        candidates.last_resort.take().or(trial)
    }
}

/// Returns the position of this URL among all keys, in thousandths.
fn key_position(target: &CanonicalUrl) -> u16 {
    let hash = crc32fast::hash(target.ring_key().as_bytes());
    u16::try_from(hash % 1000).unwrap_or(0)
}
