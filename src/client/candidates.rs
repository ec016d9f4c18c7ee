//! Which of the owners of a URL may be asked, one after another.

use std::sync::Arc;

use super::asked::Asked;
use super::health::{Look, Ticket};
use super::peers::Known;
use super::pool::Owners;
use super::sending::{Inner, Last};
use crate::message::url::Target;

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
    /// The first that was passed over and answers: asked where there is nobody else in the pool.
    spare: Option<Candidate>,
    /// The first that was passed over and may be back: asked where there is nobody else at all.
    trial: Option<Candidate>,
    /// Whether those who have more of a right to the URL than the peer that asks are behind: it stays so, however
    /// often the next is asked for.
    is_own_turn: bool,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(owners: Owners<'a>, last: &'a Last<'a>) -> Self {
        Self { owners, last, spare: None, trial: None, is_own_turn: false }
    }
}

impl Inner {
    /// The next owner that may be asked; those that are passed over on the way are counted.
    pub(super) fn next_candidate(
        self: &Arc<Self>,
        candidates: &mut Candidates<'_>,
        asked: &Asked,
    ) -> Option<Candidate> {
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
            let look = self.peers.look(&peer, || share(&asked.target));
            match look {
                Look::Ask(ticket) if !peer.is_suspected() => return Some(Candidate { peer, ticket }),
                Look::Skip => {}
                Look::Ask(ticket) | Look::Spare(ticket) => {
                    candidates.spare.get_or_insert(Candidate { peer, ticket });
                }
                Look::Trial(ticket) => {
                    if self.peers.is_due(&peer) {
                        self.check_return(&peer);
                    }
                    candidates.trial.get_or_insert(Candidate { peer, ticket });
                }
            }
            self.counters.passed_over.count();
        }
        let has_other_way = match candidates.last {
            Last::Own(..) => true,
            Last::Nobody => false,
            Last::Chosen => self.direct.is_some(),
        };
        let trial = candidates.trial.take().filter(|_| !has_other_way);
        candidates.spare.take().or(trial)
    }
}

/// Where among all keys this one is, in thousandths.
fn share(target: &Target) -> u16 {
    let hash = crc32fast::hash(target.ring_key().as_bytes());
    u16::try_from(hash % 1000).unwrap_or(0)
}
