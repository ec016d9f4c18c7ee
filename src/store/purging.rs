//! Which stored responses a purge is about.

use std::sync::Arc;

use super::contract::PARTITION;
use super::{Key, StoredResponse, Variants};
use crate::header::cache_groups::{self, CACHE_GROUPS};
use crate::purge::Purge;

impl Purge {
    /// Whether a response that is stored under this key is to go.
    #[must_use]
    pub fn matches(&self, key: &Key, response: &StoredResponse) -> bool {
        self.covers_response(key.url(), response)
    }

    /// The same, by the URL in the key.
    pub(crate) fn covers_response(&self, url: &str, response: &StoredResponse) -> bool {
        self.covers(url) && self.is_about(response)
    }

    /// Whether it changes what is stored of a URL that it [covers](Self::covers).
    pub(super) fn changes(&self, response: &StoredResponse) -> bool {
        self.is_about(response) && (!self.is_soft() || self.stale(response).is_some())
    }

    /// The same response, which is stale since the time of this [soft](Self::soft) purge; `None` where it was before.
    ///
    /// A [`Store`](crate::Store) of your own that purges puts it in the place of the response; where there is none, the
    /// response stays as it is.
    #[must_use]
    pub fn stale(&self, response: &StoredResponse) -> Option<Arc<StoredResponse>> {
        let at = self.time().filter(|_| self.is_soft())?;
        response.stale_since(at).map(Arc::new)
    }

    /// The same, where it [covers](Self::covers) the URL.
    fn is_about(&self, response: &StoredResponse) -> bool {
        if !self.is_about_sequence(response.sequence()) {
            return false;
        }
        let Some(group) = self.group_name() else { return true };
        cache_groups::names(response.values(&CACHE_GROUPS)).iter().any(|name| *name == group.as_bytes())
    }

    /// The responses of a URL that it covers as they are after it, in their order, and how many it was about; `None`
    /// where it changes nothing.
    pub(super) fn those_that_stay(&self, variants: &[Arc<StoredResponse>]) -> Option<(Variants, usize)> {
        let after = |response: &Arc<StoredResponse>| {
            if self.changes(response) { self.stale(response) } else { Some(Arc::clone(response)) }
        };
        let changed = variants.iter().filter(|response| self.changes(response)).count();
        (changed > 0).then(|| (variants.iter().filter_map(after).collect(), changed))
    }
}

/// The URL in the text of a key, which ends where a space begins its partition.
pub(crate) fn url_of(key: &str) -> &str {
    let end = key.len().checked_sub(PARTITION).filter(|end| key.as_bytes()[*end] == b' ');
    end.map_or(key, |end| &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{body_numbers, grouped, response};

    #[test]
    fn a_partition_is_told_from_the_url_before_it() {
        for url in
            ["", "http://a/", "http://a/0123456789012345678901234567890123456789", "\u{e9}\u{e9}\u{e9}"]
        {
            assert_eq!(url_of(url), url);
            assert_eq!(url_of(Key::partitioned(url, u128::MAX).as_str()), url);
        }
    }

    #[test]
    fn of_a_group_those_alone_that_are_in_it() {
        let purge = Purge::group("http://a", "news").unwrap();
        let (news, sport) = (grouped("a", 1, "news"), grouped("b", 2, "sport"));
        assert!(purge.matches(&Key::new("http://a/1"), &news));
        assert!(purge.matches(&Key::partitioned("http://a/1", 7), &news));
        assert!(!purge.matches(&Key::new("http://b/1"), &news));
        assert!(!purge.matches(&Key::new("http://a/1"), &sport));
        let (stay, gone) = purge.those_that_stay(&[response("c", 3), news, sport]).unwrap();
        assert_eq!(gone, 1);
        assert_eq!(body_numbers(&stay), [3, 2]);
        assert!(purge.those_that_stay(&stay).is_none());
        assert!(Purge::all().those_that_stay(&stay).unwrap().0.is_empty());
    }

    #[test]
    fn a_soft_purge_makes_stale_what_was_fresh_and_nothing_older() {
        let fresh = response("a", 1);
        let now = fresh.validity().response_time;
        let purge = Purge::all().soft().at(now);
        let (stale, changed) = purge.those_that_stay(&[Arc::clone(&fresh)]).unwrap();
        assert!(fresh.validity().is_fresh(now) && !stale[0].validity().is_fresh(now));
        assert_eq!((changed, body_numbers(&stale)), (1, body_numbers(&[fresh])));
        assert!(purge.those_that_stay(&stale).is_none());
    }
}
