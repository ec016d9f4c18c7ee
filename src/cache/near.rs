//! The rules of a near cache: a cache beside the client, whose origin is the owner of the URL.
//!
//! | difference to other caches | reason |
//! |---|---|
//! | a response is fresh for as long as the owner reports in the `ttl` of `Cache-Status` | the owner knows its mode and its operator's rules; by its fields only, a copy could stay fresh longer than the owner's |
//! | a response without `ttl` is not stored | it is stale, the owner does not store it, or the owner is not a forwardcache peer |
//! | a stored response keeps the owner's member of `Cache-Status` | RFC 9211 section 3 shows such a pair of caches |
//! | a response or error of the owner is returned without a member of the near cache | the near cache did not answer |
//! | no `Via` | the near cache is a part of the client and not a hop; some origins do not compress for requests with `Via` |
//! | no stale response is served during a refresh | the owner does that, and a request to the owner is fast |

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::engine::HttpCache;
use super::tombstones::invalidated_groups;
use crate::message::url::CanonicalUrl;
use crate::policy::{Rules, Times, Validity, invalidated};

/// The rules of a near cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearRules {
    /// How long a response is served without asking the owner, who may have invalidated its copy.
    pub(crate) longest: Duration,
}

impl NearRules {
    /// Limits the freshness of a response to the `ttl` of the owner, and to the longest time without asking the owner.
    ///
    /// If the owner cannot be asked after that time, the response is served until the owner's `ttl` ends. It would have
    /// been fresh until then under a longer limit.
    pub(super) fn limit(self, validity: &mut Validity, told: Duration, times: Times, rules: &Rules) {
        // The `ttl` may be as old as the exchange was long.
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
            // A response is stale at exactly its lifetime.
            left.saturating_sub(Duration::from_nanos(1))
        } else {
            left.saturating_add(validity.stale_if_error.unwrap_or(rules.stale_on_error))
        });
        validity.must_revalidate = false;
    }
}

impl HttpCache {
    /// Invalidates the responses of a URL to requests without credentials. A fetch that is under way is not stored.
    pub(crate) fn forget(&self, target: &CanonicalUrl) {
        self.inner.invalidate(&self.inner.keys.public(target));
    }

    /// Invalidates what the response to a forwarded request affects (RFC 9111 section 4.4).
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

    /// Each row: the origin's Cache-Control, the owner's `ttl`, and the longest time without asking; then until when the
    /// response is fresh, and until when it is served if the owner cannot be asked.
    #[test]
    fn freshness_is_what_the_owner_told() {
        for (control, told, longest, fresh_until, served_until) in [
            // The exchange took a second.
            ("max-age=600", 20, 60, 119, 119),
            // The owner stores the response for less, or for more, time than the fields specify.
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
