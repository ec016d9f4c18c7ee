//! The fetches that are under way, so that none stores what has been overtaken.
//!
//! Between the moment at which the origin is asked and the moment at which its answer is whole, much may
//! happen: an unsafe request may make the answer doubtful (RFC 9111 section 4.4), and a later fetch may
//! have brought a newer one (section 4). Each fetch has a ticket; the higher one knows better.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::policy::Variant;
use crate::store::Key;

/// What is known of the keys that are being fetched; of others there is nothing to remember.
#[derive(Default)]
pub(crate) struct Fetches {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_ticket: u64,
    by_key: HashMap<Key, UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    fetches: usize,
    /// The last ticket that was out when the key was invalidated.
    invalidated: u64,
    /// Which fetch brought what is stored of a variant.
    stored: Vec<(Variant, u64)>,
}

impl Fetches {
    /// A fetch that begins now.
    pub(crate) fn begin(self: &Arc<Self>, key: &Key) -> Fetch {
        let mut state = self.state.lock();
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        state.by_key.entry(key.clone()).or_default().fetches += 1;
        drop(state);
        Fetch { fetches: Arc::clone(self), key: key.clone(), ticket }
    }

    /// The ticket of the fetch that has begun last.
    pub(crate) fn last_ticket(&self) -> u64 {
        self.state.lock().last_ticket
    }

    /// No fetch that has begun by now may store anything under the key.
    pub(crate) fn invalidate(&self, key: &Key) {
        let mut state = self.state.lock();
        let last_ticket = state.last_ticket;
        if let Some(under_way) = state.by_key.get_mut(key) {
            under_way.invalidated = last_ticket;
        }
    }

    /// The same for every key of which this is true. It is asked under a lock.
    pub(crate) fn invalidate_where(&self, is_invalid: impl Fn(&Key) -> bool) {
        let mut state = self.state.lock();
        let last_ticket = state.last_ticket;
        for (_, under_way) in state.by_key.iter_mut().filter(|(key, _)| is_invalid(key)) {
            under_way.invalidated = last_ticket;
        }
    }
}

/// One fetch, until it is dropped.
pub(crate) struct Fetch {
    fetches: Arc<Fetches>,
    key: Key,
    ticket: u64,
}

impl Fetch {
    /// What is fetched.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Its place in the order in which fetches have begun.
    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Claims the variant for what this fetch brought; `false` when something newer is known.
    pub(crate) fn claim(&self, variant: &Variant) -> bool {
        let mut state = self.fetches.state.lock();
        let Some(under_way) = state.by_key.get_mut(&self.key) else { return false };
        if under_way.is_newer(self.ticket, variant) {
            return false;
        }
        under_way.stored.retain(|(stored, _)| stored != variant);
        under_way.stored.push((variant.clone(), self.ticket));
        true
    }

    /// Whether something newer has become known since it was claimed.
    pub(crate) fn is_overtaken(&self, variant: &Variant) -> bool {
        let state = self.fetches.state.lock();
        state.by_key.get(&self.key).is_none_or(|under_way| under_way.is_newer(self.ticket, variant))
    }
}

impl UnderWay {
    fn is_newer(&self, ticket: u64, variant: &Variant) -> bool {
        self.invalidated >= ticket || self.stored.iter().any(|(stored, by)| stored == variant && *by > ticket)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut state = self.fetches.state.lock();
        let Some(under_way) = state.by_key.get_mut(&self.key) else { return };
        under_way.fetches -= 1;
        let unused = if under_way.fetches == 0 { state.by_key.remove(&self.key) } else { None };
        drop(state);
        drop(unused);
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("key", &self.key).field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new("http://example.com/")
    }

    fn variant(value: &'static str) -> Variant {
        Variant { fields: [(http::header::ACCEPT, Some(value.into()))].into() }
    }

    #[test]
    fn the_later_fetch_of_a_variant_wins_in_either_order() {
        let fetches = Arc::new(Fetches::default());
        let (older, newer) = (fetches.begin(&key()), fetches.begin(&key()));
        assert!(newer.claim(&variant("a")));
        assert!(!older.claim(&variant("a")));
        assert!(older.claim(&variant("b")));
        assert!(newer.claim(&variant("b")));
        assert!(older.is_overtaken(&variant("b")));
        assert!(!newer.is_overtaken(&variant("b")));
    }

    #[test]
    fn nothing_that_was_asked_before_an_invalidation_is_stored_after_it() {
        let fetches = Arc::new(Fetches::default());
        let (before, claimed) = (fetches.begin(&key()), fetches.begin(&key()));
        assert!(claimed.claim(&variant("a")));
        fetches.invalidate(&key());
        assert!(!before.claim(&variant("b")));
        assert!(claimed.is_overtaken(&variant("a")));
        assert!(fetches.begin(&key()).claim(&variant("a")));
    }

    #[test]
    fn several_keys_are_invalidated_at_once_and_others_are_not() {
        let fetches = Arc::new(Fetches::default());
        let of_somebody = Key::partitioned(key().url(), 7);
        let [one, two, other] =
            [key(), of_somebody, Key::new("http://other/")].map(|key| fetches.begin(&key));
        fetches.invalidate_where(|invalid| invalid.url() == key().url());
        assert!(!one.claim(&variant("a")) && !two.claim(&variant("a")));
        assert!(other.claim(&variant("a")));
        assert!(fetches.begin(&key()).claim(&variant("a")));
    }

    #[test]
    fn nothing_is_remembered_of_a_key_that_nobody_fetches() {
        let fetches = Arc::new(Fetches::default());
        drop((fetches.begin(&key()), fetches.begin(&key())));
        fetches.invalidate(&key());
        assert!(fetches.state.lock().by_key.is_empty());
    }
}
