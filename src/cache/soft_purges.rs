//! Soft purges: responses that were stored before one are stale. They are kept for validation and for a failing
//! origin.
//!
//! A purge stays listed until the store has marked all responses that it covers and no older fetch is under way.
//! Until then, each response that is looked up or stored is compared with the purge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;

use super::tombstones::{Resource, Sequence, Tombstones};
use crate::message::purge::Purge;
use crate::store::{StoredResponse, Variants, url_of};

/// How many purges are listed. Beyond this number, the two oldest become one purge of everything.
const MAX_PURGES: usize = 64;

/// The soft purges of a cache.
#[derive(Default)]
pub(super) struct SoftPurges {
    /// The number of the last purge; zero if none is listed. Responses with a higher number are not compared.
    newest: AtomicU64,
    /// The listed purges, oldest first.
    list: RwLock<Vec<SoftPurge>>,
}

struct SoftPurge {
    purge: Purge,
    sequence: Sequence,
    is_swept: bool,
}

impl SoftPurges {
    /// Lists a purge. Returns the purge with its sequence number and time, for the store.
    pub(super) fn add(&self, purge: &Purge, tombstones: &Tombstones, now: SystemTime) -> (Purge, Sequence) {
        let mut list = self.list.write();
        let sequence = tombstones.next_sequence(now);
        let purge = purge.clone().before(sequence).at(now);
        list.push(SoftPurge { purge: purge.clone(), sequence, is_swept: false });
        if list.len() > MAX_PURGES {
            list.remove(0);
            let oldest = &mut list[0];
            oldest.purge = Purge::all().soft().before(oldest.sequence).at(now);
            oldest.is_swept = false;
        }
        self.newest.store(sequence, Ordering::SeqCst);
        (purge, sequence)
    }

    /// Notes that the store has marked the responses that this purge covers.
    pub(super) fn note_swept(&self, sequence: Sequence, tombstones: &Tombstones) {
        let mut list = self.list.write();
        if let Some(swept) = list.iter_mut().find(|listed| listed.sequence == sequence) {
            swept.is_swept = true;
        }
        retire(&mut list, &self.newest, tombstones);
    }

    /// Returns the response marked as stale if a purge covers it; `None` if it stays as it is.
    pub(super) fn mark(
        &self,
        key: &str,
        response: &StoredResponse,
        tombstones: &Tombstones,
    ) -> Option<Arc<StoredResponse>> {
        if response.sequence() > self.newest.load(Ordering::SeqCst) {
            return None;
        }
        let list = self.list.read();
        let is_covered = |listed: &SoftPurge| listed.purge.is_about(url_of(key), response);
        let stale =
            list.iter().filter(|listed| is_covered(listed)).find_map(|listed| listed.purge.stale(response));
        let may_retire = list.iter().any(|listed| is_retirable(listed, tombstones));
        drop(list);
        if may_retire {
            retire(&mut self.list.write(), &self.newest, tombstones);
        }
        stale
    }

    /// Marks all responses that a purge covers as stale.
    pub(super) fn mark_all(&self, key: &str, variants: Variants, tombstones: &Tombstones) -> Variants {
        let newest = self.newest.load(Ordering::SeqCst);
        if variants.iter().all(|response| response.sequence() > newest) {
            return variants;
        }
        let mark_or_keep = |response: &Arc<StoredResponse>| {
            self.mark(key, response, tombstones).unwrap_or_else(|| Arc::clone(response))
        };
        variants.iter().map(mark_or_keep).collect()
    }

    /// Whether a fetch with this key and number began before a purge of its URL.
    pub(super) fn covers_key<'a>(&self, resource: impl Into<Resource<'a>>, sequence: Sequence) -> bool {
        let Resource { key, url } = resource.into();
        let url_for = |purge: &Purge| if purge.matches_by_key() { url_of(key) } else { url };
        sequence <= self.newest.load(Ordering::SeqCst)
            && self.list.read().iter().any(|listed| {
                sequence <= listed.sequence
                    && listed.purge.group_name().is_none()
                    && listed.purge.covers(url_for(&listed.purge))
            })
    }
}

fn is_retirable(listed: &SoftPurge, tombstones: &Tombstones) -> bool {
    listed.is_swept && tombstones.oldest_fetch() > listed.sequence
}

/// Retires purges. Responses that were read from the store before must be read again: the store may have marked them
/// since, and the retired purge no longer covers them.
fn retire(list: &mut Vec<SoftPurge>, newest: &AtomicU64, tombstones: &Tombstones) {
    let before = list.len();
    list.retain(|listed| !is_retirable(listed, tombstones));
    if list.len() < before {
        tombstones.note_retirement();
        newest.store(list.last().map_or(0, |listed| listed.sequence), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
