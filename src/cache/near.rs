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

use crate::policy::{ExchangeTimes, Rules, Validity};

/// The rules of a near cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearRules {
    /// How long a response is served without asking the owner, who may have invalidated its copy.
    pub(crate) longest: Duration,
}

impl NearRules {
    /// Limits the freshness of a response to the `ttl` of the owner, and to the longest time without asking the
    /// owner.
    ///
    /// If the owner cannot be asked after that time, the response is served until the owner's `ttl` ends. It would
    /// have been fresh until then under a longer limit.
    pub(super) fn limit(self, validity: &mut Validity, ttl: Duration, times: ExchangeTimes, rules: &Rules) {
        // The `ttl` may be as old as the exchange was long.
        let delay = times.response.since(times.request);
        let fresh = ttl.saturating_sub(delay);
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
            left.saturating_add(validity.stale_if_error.unwrap_or(rules.stale_if_error))
        });
        validity.must_revalidate = false;
    }
}

#[cfg(test)]
mod tests;
