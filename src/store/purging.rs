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
        self.is_about(key.url(), response)
    }

    /// The same by the URL in the key.
    pub(super) fn is_about(&self, key_url: &str, response: &StoredResponse) -> bool {
        let url = response.url().filter(|_| !self.is_about_keys()).unwrap_or(key_url);
        if !self.covers(url) || !self.is_about_sequence(response.sequence()) {
            return false;
        }
        let Some(group) = self.group_name() else { return true };
        cache_groups::names(response.values(&CACHE_GROUPS)).iter().any(|name| *name == group.as_bytes())
    }

    /// Whether something that is stored under a key with this URL may have to go.
    pub(super) fn may_be_about(&self, key_url: &str) -> bool {
        !self.is_about_keys() || self.covers(key_url)
    }

    /// The responses under a key that stay, in their order; `None` where all of them do.
    pub(super) fn those_that_stay(
        &self,
        key_url: &str,
        variants: &[Arc<StoredResponse>],
    ) -> Option<Variants> {
        let stays = |response: &&Arc<StoredResponse>| !self.is_about(key_url, response);
        let stay: Variants = variants.iter().filter(stays).cloned().collect();
        (stay.len() < variants.len()).then_some(stay)
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
        let stay = purge.those_that_stay("http://a/1", &[response("c", 3), news, sport]).unwrap();
        assert_eq!(body_numbers(&stay), [3, 2]);
        assert!(purge.those_that_stay("http://a/1", &stay).is_none());
        assert!(Purge::all().those_that_stay("http://a/1", &stay).unwrap().is_empty());
    }
}
