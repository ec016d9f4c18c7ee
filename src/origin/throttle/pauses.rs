//! The current pauses, by origin and credential.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::pause::Pause;
use crate::message::url::CanonicalUrl;

/// The largest number of pauses.
const MAX_PAUSES: usize = 4096;

/// The requests to which a pause applies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// The URL `scheme://authority/`.
    pub(super) origin: CanonicalUrl,
    /// A keyed digest of `Authorization`; `None` for requests without it, and for all requests if whole
    /// origins are paused.
    pub(super) credential: Option<u64>,
}

/// The current pauses, by scope.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    by_scope: HashMap<Scope, Pause>,
}

impl Pauses {
    /// Returns the rest of the pause for these requests.
    pub(super) fn remaining(&self, scope: &Scope, now: SystemTime) -> Option<Duration> {
        self.by_scope.get(scope)?.remaining(now)
    }

    /// Updates the pauses after a response. Returns the length of the pause if this response started or
    /// extended it.
    pub(super) fn note_response(
        &mut self,
        scope: &Scope,
        status: StatusCode,
        headers: &HeaderMap,
        longest: Duration,
        now: SystemTime,
    ) -> Option<Duration> {
        let known = self.by_scope.get(scope);
        let mut pause = known.copied().unwrap_or_default();
        let is_longer = pause.note_response(status, headers, longest, now);
        if pause.is_over(now) {
            if known.is_some() {
                self.by_scope.remove(scope);
            }
            return None;
        }
        if known.is_none() && self.by_scope.len() >= MAX_PAUSES {
            self.make_room(longest, now);
        }
        self.by_scope.insert(scope.clone(), pause);
        pause.remaining(now).filter(|_| is_longer)
    }

    /// Removes the pauses that ended long ago, or else the pause that ends first.
    fn make_room(&mut self, longest: Duration, now: SystemTime) {
        self.by_scope.retain(|_, pause| !pause.is_expired(longest, now));
        if self.by_scope.len() >= MAX_PAUSES {
            let first = self.by_scope.iter().min_by_key(|(_, pause)| pause.remaining(now));
            if let Some(scope) = first.map(|(scope, _)| scope.clone()) {
                self.by_scope.remove(&scope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn number_of_pauses_is_bounded() {
        let (longest, now) = (Duration::from_secs(10_000), UNIX_EPOCH + Duration::from_secs(1_000_000));
        let origin = CanonicalUrl::parse("http://example.com/").unwrap();
        let mut pauses = Pauses::default();
        let scope = |number: u64| Scope { origin: origin.clone(), credential: Some(number) };
        let fields = |seconds: u64| {
            HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(&seconds.to_string()).unwrap())])
        };
        let most = u64::try_from(MAX_PAUSES).unwrap();
        let status = StatusCode::TOO_MANY_REQUESTS;
        for number in 0..=most {
            let began = pauses.note_response(&scope(number), status, &fields(number + 100), longest, now);
            assert_eq!(began, Some(Duration::from_secs(number + 100)));
        }
        assert_eq!(pauses.by_scope.len(), MAX_PAUSES);
        assert_eq!(pauses.remaining(&scope(0), now), None);
        assert_eq!(pauses.remaining(&scope(1), now), Some(Duration::from_secs(101)));
        // The next response in the same scope removes a pause that is over.
        let later = now + Duration::from_secs(101);
        pauses.note_response(&scope(1), StatusCode::OK, &HeaderMap::new(), longest, later);
        assert_eq!(pauses.by_scope.len(), MAX_PAUSES - 1);
    }
}
