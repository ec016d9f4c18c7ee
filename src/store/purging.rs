//! Matches stored responses against a [`Purge`].

use std::sync::Arc;

use super::contract::PARTITION;
use super::{Key, StoredResponse, Variants};
use crate::message::header::cache_groups::{self, CACHE_GROUPS};
use crate::message::purge::Purge;

impl Purge {
    /// Whether the purge applies to a response stored under this key.
    #[must_use]
    pub fn matches(&self, key: &Key, response: &StoredResponse) -> bool {
        self.is_about(key.url(), response)
    }

    /// Whether the purge changes a response stored under a key with this URL.
    pub(super) fn changes(&self, key_url: &str, response: &StoredResponse) -> bool {
        self.is_about(key_url, response) && (!self.is_soft() || self.stale(response).is_some())
    }

    /// Returns a copy of the response that is stale since the time of this [soft](Self::soft) purge. `None`
    /// if the response was stale already.
    ///
    /// A custom [`Store`](crate::store::Store) that supports purges replaces the response by this copy. If the
    /// result is `None`, it leaves the response unchanged.
    #[must_use]
    pub fn stale(&self, response: &StoredResponse) -> Option<Arc<StoredResponse>> {
        let at = self.time().filter(|_| self.is_soft())?;
        response.stale_since(at).map(Arc::new)
    }

    /// Whether the purge applies to a response stored under a key with this URL.
    pub(crate) fn is_about(&self, key_url: &str, response: &StoredResponse) -> bool {
        let url = response.url().filter(|_| !self.matches_by_key()).unwrap_or(key_url);
        if !self.covers(url) || !self.covers_sequence(response.sequence()) {
            return false;
        }
        let Some(group) = self.group_name() else { return true };
        cache_groups::names(response.values(&CACHE_GROUPS)).iter().any(|name| *name == group.as_bytes())
    }

    /// Whether the purge may apply to a response stored under a key with this URL.
    pub(in crate::store) fn may_be_about(&self, key_url: &str) -> bool {
        !self.matches_by_key() || self.covers(key_url)
    }

    /// Returns the responses of a key after the purge, in the same order, and the number of affected
    /// responses. `None` if nothing changes.
    pub(super) fn apply(&self, key_url: &str, variants: &[Arc<StoredResponse>]) -> Option<(Variants, usize)> {
        let after = |response: &Arc<StoredResponse>| {
            if self.changes(key_url, response) { self.stale(response) } else { Some(Arc::clone(response)) }
        };
        let changed = variants.iter().filter(|response| self.changes(key_url, response)).count();
        (changed > 0).then(|| (variants.iter().filter_map(after).collect(), changed))
    }
}

/// Returns the URL in the text of a key. The partition begins with a space.
pub(crate) fn url_of(key: &str) -> &str {
    let end = key.len().checked_sub(PARTITION).filter(|end| key.as_bytes()[*end] == b' ');
    end.map_or(key, |end| &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{body_numbers, grouped, response};

    #[test]
    fn url_of_removes_the_partition() {
        for url in
            ["", "http://a/", "http://a/0123456789012345678901234567890123456789", "\u{e9}\u{e9}\u{e9}"]
        {
            assert_eq!(url_of(url), url);
            assert_eq!(url_of(Key::partitioned(url, u128::MAX).as_str()), url);
        }
    }

    #[test]
    fn group_purge_removes_only_its_members() {
        let purge = Purge::group("http://a", "news").unwrap();
        let (news, sport) = (grouped("a", 1, "news"), grouped("b", 2, "sport"));
        assert!(purge.matches(&Key::new("http://a/1"), &news));
        assert!(purge.matches(&Key::partitioned("http://a/1", 7), &news));
        assert!(!purge.matches(&Key::new("http://b/1"), &news));
        assert!(!purge.matches(&Key::new("http://a/1"), &sport));
        let (stay, gone) = purge.apply("http://a/1", &[response("c", 3), news, sport]).unwrap();
        assert_eq!(gone, 1);
        assert_eq!(body_numbers(&stay), [3, 2]);
        assert!(purge.apply("http://a/1", &stay).is_none());
        assert!(Purge::all().apply("http://a/1", &stay).unwrap().0.is_empty());
    }

    #[test]
    fn soft_purge_affects_only_fresh_responses() {
        let fresh = response("a", 1);
        let now = fresh.validity().response_time;
        let purge = Purge::all().soft().at(now.wall());
        let (stale, changed) = purge.apply("http://a/1", &[Arc::clone(&fresh)]).unwrap();
        assert!(fresh.validity().is_fresh(now) && !stale[0].validity().is_fresh(now));
        assert_eq!((changed, body_numbers(&stale)), (1, body_numbers(&[fresh])));
        assert!(purge.apply("http://a/1", &stale).is_none());
    }
}
