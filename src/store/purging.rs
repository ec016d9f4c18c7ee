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
        self.covers(key.url()) && self.is_about(response)
    }

    /// The same, where it [covers](Self::covers) the URL.
    pub(super) fn is_about(&self, response: &StoredResponse) -> bool {
        if !self.is_about_sequence(response.sequence()) {
            return false;
        }
        let Some(group) = self.group_name() else { return true };
        cache_groups::names(response.values(&CACHE_GROUPS)).iter().any(|name| *name == group.as_bytes())
    }

    /// The responses of a URL that it covers which stay, in their order; `None` where all of them do.
    pub(super) fn those_that_stay(&self, variants: &[Arc<StoredResponse>]) -> Option<Variants> {
        let stay: Variants = variants.iter().filter(|response| !self.is_about(response)).cloned().collect();
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
        let stay = purge.those_that_stay(&[response("c", 3), news, sport]).unwrap();
        assert_eq!(body_numbers(&stay), [3, 2]);
        assert!(purge.those_that_stay(&stay).is_none());
        assert!(Purge::all().those_that_stay(&stay).unwrap().is_empty());
    }
}
