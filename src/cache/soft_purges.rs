//! Soft purges: responses that were stored before one are stale. They are kept for validation and for a failing origin.
//!
//! A purge stays listed until the store has marked all responses that it covers and no older fetch is under way. Until
//! then, each response that is looked up or stored is compared with the purge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;

use super::tombstones::{Place, Sequence, Tombstones};
use crate::message::purge::Purge;
use crate::store::{StoredResponse, Variants, url_of};

/// How many purges are listed. Beyond this number, the two oldest become one purge of everything.
const MOST: usize = 64;

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
        let sequence = tombstones.number(now);
        let purge = purge.clone().before(sequence).at(now);
        list.push(SoftPurge { purge: purge.clone(), sequence, is_swept: false });
        if list.len() > MOST {
            list.remove(0);
            let oldest = &mut list[0];
            oldest.purge = Purge::all().soft().before(oldest.sequence).at(now);
            oldest.is_swept = false;
        }
        self.newest.store(sequence, Ordering::SeqCst);
        (purge, sequence)
    }

    /// Notes that the store has marked the responses that this purge covers.
    pub(super) fn sweep(&self, sequence: Sequence, tombstones: &Tombstones) {
        let mut list = self.list.write();
        if let Some(swept) = list.iter_mut().find(|listed| listed.sequence == sequence) {
            swept.is_swept = true;
        }
        retire(&mut list, &self.newest, tombstones);
    }

    /// Returns the response marked as stale if a purge covers it; `None` if it stays as it is.
    pub(super) fn stale(
        &self,
        key: &str,
        response: &StoredResponse,
        tombstones: &Tombstones,
    ) -> Option<Arc<StoredResponse>> {
        if response.sequence() > self.newest.load(Ordering::SeqCst) {
            return None;
        }
        let list = self.list.read();
        let is_meant = |listed: &SoftPurge| listed.purge.is_about(url_of(key), response);
        let stale =
            list.iter().filter(|listed| is_meant(listed)).find_map(|listed| listed.purge.stale(response));
        let may_retire = list.iter().any(|listed| can_go(listed, tombstones));
        drop(list);
        if may_retire {
            retire(&mut self.list.write(), &self.newest, tombstones);
        }
        stale
    }

    /// Marks all responses that a purge covers as stale.
    pub(super) fn marked(&self, key: &str, variants: Variants, tombstones: &Tombstones) -> Variants {
        let newest = self.newest.load(Ordering::SeqCst);
        if variants.iter().all(|response| response.sequence() > newest) {
            return variants;
        }
        let as_taken = |response: &Arc<StoredResponse>| {
            self.stale(key, response, tombstones).unwrap_or_else(|| Arc::clone(response))
        };
        variants.iter().map(as_taken).collect()
    }

    /// Whether a fetch with this key and number began before a purge of its URL.
    pub(super) fn cover_key<'a>(&self, place: impl Into<Place<'a>>, sequence: Sequence) -> bool {
        let Place { key, url } = place.into();
        let url_for = |purge: &Purge| if purge.is_about_keys() { url_of(key) } else { url };
        sequence <= self.newest.load(Ordering::SeqCst)
            && self.list.read().iter().any(|listed| {
                sequence <= listed.sequence
                    && listed.purge.group_name().is_none()
                    && listed.purge.covers(url_for(&listed.purge))
            })
    }
}

fn can_go(listed: &SoftPurge, tombstones: &Tombstones) -> bool {
    listed.is_swept && tombstones.oldest_fetch() > listed.sequence
}

/// Retires purges. Responses that were read from the store before must be read again: the store may have marked them
/// since, and the retired purge no longer covers them.
fn retire(list: &mut Vec<SoftPurge>, newest: &AtomicU64, tombstones: &Tombstones) {
    let before = list.len();
    list.retain(|listed| !can_go(listed, tombstones));
    if list.len() < before {
        tombstones.note_retirement();
        newest.store(list.last().map_or(0, |listed| listed.sequence), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::policy::{LifetimeSource, Validity, Variant};
    use crate::store::Key;

    const URL: &str = "http://h/a";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A response that is fresh for an hour.
    fn stored(sequence: Sequence) -> StoredResponse {
        let validity = Validity {
            response_time: at(0).into(),
            initial_age: Duration::ZERO,
            lifetime: Duration::from_secs(3600),
            lifetime_source: LifetimeSource::MaxAge,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: None,
            no_cache: false,
            must_revalidate: false,
            immutable: false,
        };
        let response = StoredResponse::new(
            StatusCode::OK,
            &HeaderMap::new(),
            bytes::Bytes::new(),
            validity,
            Variant::default(),
        );
        response.with_sequence(sequence)
    }

    #[test]
    fn a_purge_is_compared_until_the_store_has_marked_all_and_no_older_fetch_is_under_way() {
        let (soft, tombstones) = (SoftPurges::default(), Arc::new(Tombstones::default()));
        let fetch = tombstones.begin(&Key::new(URL), at(1));
        let stored = stored(fetch.sequence());
        let is_stale = || soft.stale(URL, &stored, &tombstones).is_some();
        assert!(!is_stale());
        let (purge, sequence) = soft.add(&Purge::prefix("http://h/").unwrap().soft(), &tombstones, at(2));
        assert!(purge.is_soft() && is_stale() && soft.cover_key(URL, fetch.sequence()));
        let later = tombstones.begin(&Key::new(URL), at(3));
        assert!(!soft.cover_key(URL, later.sequence()));
        assert!(!soft.cover_key("http://other/", fetch.sequence()));
        soft.sweep(sequence, &tombstones);
        assert!(is_stale(), "an older fetch is under way");
        drop(fetch);
        let before = tombstones.retirements();
        assert!(is_stale());
        assert!(!is_stale() && soft.list.read().is_empty());
        assert!(tombstones.retirements() > before);
    }

    #[test]
    fn past_the_bound_everything_older_is_stale() {
        let (soft, tombstones) = (SoftPurges::default(), Tombstones::default());
        let old = stored(1);
        for number in 0..=MOST {
            soft.add(&Purge::url(&format!("http://other/{number}")).unwrap().soft(), &tombstones, at(1));
        }
        assert_eq!(soft.list.read().len(), MOST);
        assert!(soft.stale(URL, &old, &tombstones).is_some());
    }
}
