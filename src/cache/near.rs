//! What is different in a near cache: one beside whoever asks, whose origin is the owner of the URL.
//!
//! | what | why |
//! |---|---|
//! | an answer is fresh for as long as the owner says that it is (`ttl` of `Cache-Status`) | the owner knows its mode and its operator's rules; by the fields alone a copy could be fresher than the owner |
//! | where the owner does not say so, the answer is not stored | it is stale, or the owner does not keep it, or it is no peer of this make |
//! | what is used again still has the owner's member of `Cache-Status` | RFC 9211 section 3 shows such a pair of caches |
//! | what the owner answers is handed on without a member of its own, and errors as they are | it answers nothing itself then |
//! | no `Via` | it is a part of whoever asks and no hop; some origins do not compress for requests that have a `Via` |
//! | nothing is served while it is refreshed | the owner does that, and is near enough to be asked |

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::engine::HttpCache;
use super::tombstones::invalidated_groups;
use crate::message::url::CanonicalUrl;
use crate::policy::{Rules, Times, Validity, invalidated};

/// That a cache is a near one, and what it may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearRules {
    /// For how long it serves what it has without asking the owner, who may know of an invalidation by now.
    pub(crate) longest: Duration,
}

impl NearRules {
    /// Limits the freshness of an answer to what the owner told of it, and to the longest time without asking.
    ///
    /// An owner that cannot be asked after that time is no reason to fail: it would not have been asked if the time
    /// were longer, so until the end of the freshness that it told, the copy is as good as before.
    pub(super) fn limit(self, validity: &mut Validity, told: Duration, times: Times, rules: &Rules) {
        // It was told somewhere on the way.
        let delay = times.response.since(times.request);
        let fresh = told.saturating_sub(delay);
        let unasked = fresh.min(self.longest);
        validity.lifetime = validity.initial_age.saturating_add(unasked);
        validity.stale_while_revalidate = Duration::ZERO;
        let left = fresh - unasked;
        if left.is_zero() || validity.no_cache {
            return;
        }
        validity.stale_if_error = Some(if validity.must_revalidate {
            // What is as old as its lifetime is stale.
            left.saturating_sub(Duration::from_nanos(1))
        } else {
            left.saturating_add(validity.stale_if_error.unwrap_or(rules.stale_on_error))
        });
        validity.must_revalidate = false;
    }
}

impl HttpCache {
    /// Forgets what is stored of a URL for those who show no credential, and what is being fetched of it is not
    /// stored.
    pub(crate) fn forget(&self, target: &CanonicalUrl) {
        self.inner.invalidate(&self.inner.keys.public(target));
    }

    /// Forgets what an answer to a request makes doubtful that went past this cache (RFC 9111 section 4.4).
    pub(crate) fn forget_after(
        &self,
        method: &Method,
        target: &CanonicalUrl,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        for doubtful in invalidated(method, target, status, headers) {
            self.forget(&doubtful);
        }
        self.inner.invalidate_groups(target.as_str(), &invalidated_groups(method, headers));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use http::header::{AGE, CACHE_CONTROL};

    use super::*;
    use crate::message::header::cache_control::{RequestDirectives, ResponseDirectives};
    use crate::policy::{Mode, may_serve_on_error, validity};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn limited(control: &str, told: u64, longest: u64) -> Validity {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, control.parse().unwrap());
        headers.insert(AGE, 30.into());
        let (times, rules) = (Times { request: at(99).into(), response: at(100).into() }, rules());
        let directives = ResponseDirectives::of(&headers);
        let mut validity = validity(StatusCode::OK, &headers, &directives, times, &rules);
        NearRules { longest: Duration::from_secs(longest) }.limit(
            &mut validity,
            Duration::from_secs(told),
            times,
            &rules,
        );
        validity
    }

    fn rules() -> Rules {
        Rules { stale_on_error: Duration::ZERO, ..Rules::new(Mode::Shared) }
    }

    /// One row a rule: what the origin said, what the owner told, the longest time without asking; until when it is
    /// fresh, and until when it is served if the owner cannot be asked.
    #[test]
    fn freshness_is_what_the_owner_told() {
        for (control, told, longest, fresh_until, served_until) in [
            // A second was lost on the way.
            ("max-age=600", 20, 60, 119, 119),
            // The owner keeps it for less, or for more, than the fields say.
            ("s-maxage=6000, max-age=600", 20, 60, 119, 118),
            ("max-age=5", 20, 60, 119, 119),
            ("max-age=600", 50, 10, 110, 149),
            ("max-age=600, must-revalidate", 50, 10, 110, 148),
            ("s-maxage=600", 50, 10, 110, 148),
            ("max-age=600, stale-if-error=7", 20, 60, 119, 126),
            ("max-age=600, stale-if-error=7", 50, 10, 110, 156),
            ("max-age=600, stale-while-revalidate=7", 20, 60, 119, 119),
            ("max-age=600", 1, 60, 100, 100),
        ] {
            let validity = limited(control, told, longest);
            let is_fresh = |seconds: u64| validity.is_fresh(at(seconds));
            assert!(is_fresh(fresh_until - 1) || fresh_until == 100, "{control} {told} {longest}");
            assert!(!is_fresh(fresh_until), "{control} {told} {longest}");
            let is_served = |seconds| {
                let (asked, rules) = (RequestDirectives::default(), rules());
                is_fresh(seconds)
                    || may_serve_on_error(StatusCode::OK, &validity, &asked, &rules, at(seconds))
            };
            assert!(is_served(served_until), "{control} {told} {longest}");
            assert!(!is_served(served_until + 1), "{control} {told} {longest}");
            assert!(validity.stale_while_revalidate.is_zero());
            assert_eq!(validity.age(at(100)), Duration::from_secs(31), "the owner's age, and the way");
        }
    }

    #[test]
    fn what_is_not_to_be_used_without_asking_is_not() {
        let validity = limited("max-age=600, no-cache", 50, 10);
        assert!(validity.no_cache);
        let asked = RequestDirectives::default();
        assert!(!may_serve_on_error(StatusCode::OK, &validity, &asked, &rules(), at(105)));
    }
}
