//! What was purged from a store that cannot list what it holds, and when.
//!
//! As with the groups that were invalidated, it is the purge that is remembered: what is stored and older
//! counts as not stored. Of a store that lists what it holds, nothing has to be remembered.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::invalidations::{Invalidation, Invalidations};
use crate::purge::Purge;

/// How many purges of a URL are remembered one by one.
const MOST_URLS: usize = 10_000;

/// How many purges by prefix: a URL is compared with each of them.
const MOST_PREFIXES: usize = 100;

/// The purges that are remembered, and how many there were.
pub(crate) struct Purges {
    count: AtomicU64,
    is_any: AtomicBool,
    state: Mutex<State>,
    most_urls: usize,
    most_prefixes: usize,
    digest: RandomState,
}

#[derive(Default)]
struct State {
    urls: Invalidations,
    /// The oldest first.
    prefixes: Vec<(Box<str>, Invalidation)>,
}

impl Default for Purges {
    fn default() -> Self {
        Self::with_most(MOST_URLS, MOST_PREFIXES)
    }
}

impl Purges {
    fn with_most(most_urls: usize, most_prefixes: usize) -> Self {
        let (count, is_any, state) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        Self { count, is_any, state, most_urls, most_prefixes, digest: RandomState::new() }
    }

    /// How many purges have begun. What was looked up before the last of them may have been purged since.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// One more begins.
    pub(super) fn begin(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Remembers a purge. That of a group is remembered elsewhere.
    pub(super) fn remember(&self, purge: &Purge, time: SystemTime) {
        // No fetch that had begun stores anything in any case: only the time is looked at.
        let invalidation = Invalidation { time, ticket: 0 };
        let mut state = self.state.lock();
        if let Some(url) = purge.single_url() {
            state.urls.remember(self.digest.hash_one(url), invalidation, self.most_urls);
        } else if let Some(prefix) = purge.common_prefix() {
            // What is longer is covered from now on, and, where the clock went back, up to the later time.
            let longer = state.prefixes.extract_if(.., |(known, _)| known.starts_with(prefix));
            let latest = longer.map(|(_, known)| known).fold(invalidation, Invalidation::later);
            state.prefixes.push((prefix.into(), latest));
            if state.prefixes.len() > self.most_prefixes {
                let (_, oldest) = state.prefixes.remove(0);
                state.urls.remember_all(oldest);
            }
        } else if purge.group_name().is_none() {
            state.urls.remember_all(invalidation);
        }
        drop(state);
        self.is_any.store(true, Ordering::SeqCst);
    }

    /// Up to when what is stored under a key of this URL was purged.
    pub(super) fn last_of(&self, url: &str) -> Option<SystemTime> {
        if !self.is_any.load(Ordering::SeqCst) {
            return None;
        }
        let digest = self.digest.hash_one(url);
        let state = self.state.lock();
        let by_prefix = state.prefixes.iter().filter(|(prefix, _)| url.starts_with(&**prefix));
        let all =
            by_prefix.map(|(_, purged)| *purged).chain(state.urls.of(digest)).chain(state.urls.of_all());
        all.map(|purged| purged.time).max()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_latest_purge_that_is_about_a_url_counts() {
        let purges = Purges::default();
        assert_eq!(purges.last_of("http://h/a/b"), None);
        purges.remember(&Purge::url("http://h/a/b").unwrap(), at(1));
        purges.remember(&Purge::group("http://h", "news").unwrap(), at(9));
        assert_eq!(purges.last_of("http://h/a/b"), Some(at(1)));
        assert_eq!(purges.last_of("http://h/a/"), None);
        purges.remember(&Purge::prefix("http://h/a/").unwrap(), at(2));
        assert_eq!(purges.last_of("http://h/a/b"), Some(at(2)));
        assert_eq!(purges.last_of("http://h/a/"), Some(at(2)));
        assert_eq!(purges.last_of("http://h/a"), None);
        // A longer prefix is no purge of the shorter one; a shorter one is a purge of the longer.
        purges.remember(&Purge::prefix("http://h/a/c").unwrap(), at(3));
        assert_eq!(purges.last_of("http://h/a/"), Some(at(2)));
        purges.remember(&Purge::prefix("http://h/").unwrap(), at(4));
        assert_eq!(purges.last_of("http://h/a/c"), Some(at(4)));
        assert_eq!(purges.state.lock().prefixes.len(), 1);
        assert_eq!(purges.last_of("http://i/"), None);
        // The clock went back.
        purges.remember(&Purge::prefix("http://h/").unwrap(), at(1));
        assert_eq!(purges.last_of("http://h/a/c"), Some(at(4)));
        purges.remember(&Purge::all(), at(5));
        assert_eq!(purges.last_of("http://i/"), Some(at(5)));
    }

    #[test]
    fn what_is_not_remembered_one_by_one_is_that_of_everything() {
        let purges = Purges::with_most(2, 2);
        for number in 1..=3 {
            purges.remember(&Purge::url(&format!("http://h/{number}")).unwrap(), at(number));
        }
        assert_eq!(purges.last_of("http://other/"), Some(at(1)));
        assert_eq!(purges.last_of("http://h/3"), Some(at(3)));
        for number in 11..=13 {
            purges.remember(&Purge::prefix(&format!("http://h/{number}/")).unwrap(), at(number));
        }
        assert_eq!(purges.last_of("http://other/"), Some(at(11)));
        assert_eq!(purges.last_of("http://h/13/"), Some(at(13)));
        assert_eq!(purges.state.lock().prefixes.len(), 2);
    }
}
