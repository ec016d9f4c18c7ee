//! Counters of a cache.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::purge::Purged;
use crate::message::stats::Outcome;

/// Declares the counters beside those of outcomes: field, name, and the method that increments the counter.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident = $name:literal $(by $count:ident)?,)+) => {
        /// Counters of one cache. Counting is one relaxed addition, so the counters that are read together need not
        /// be from exactly the same moment.
        #[derive(Debug, Default)]
        pub struct Stats {
            outcomes: [AtomicU64; Outcome::NAMES.len()],
            $($field: AtomicU64,)+
        }

        impl Stats {
            /// Returns the current values.
            #[must_use]
            pub fn counts(&self) -> Counts {
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                Counts { outcomes: self.outcomes.each_ref().map(read), $($field: read(&self.$field),)+ }
            }

            $($(pub(crate) fn $count(&self) {
                self.$field.fetch_add(1, Ordering::Relaxed);
            })?)+
        }

        /// The values of [`Stats`] at one moment. `Display` prints one `name count` on each line.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            outcomes: [u64; Outcome::NAMES.len()],
            $($(#[$doc])* pub $field: u64,)+
        }

        impl Counts {
            /// Iterates over all counters: the outcomes in the order of [`Outcome::NAMES`], then the others.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                Outcome::NAMES.into_iter().zip(self.outcomes).chain([$(($name, self.$field),)+])
            }
        }
    };
}

counters! {
    /// Requests sent to origins, including validation requests.
    origin_requests = "origin-requests" by count_origin_request,
    /// Background refreshes of responses that were served stale. They are not outcomes of requests.
    refreshes = "refreshes" by count_refresh,
    /// Responses that the store accepted.
    stored = "stored" by count_stored,
    /// Failures of the store. The affected requests were sent to the origin.
    store_errors = "store-errors" by count_store_error,
    /// Responses that were read from the disk.
    disk_hits = "disk-hits" by count_disk_hit,
    /// Responses that were read from Redis.
    redis_hits = "redis-hits" by count_redis_hit,
    /// Bodies that did not match the digest that their origin announced. Their transfer was aborted.
    digest_mismatches = "digest-mismatches" by count_digest_mismatch,
    /// Requests from clients whose view of the pool differs from that of the peer.
    ring_mismatches = "ring-mismatches" by count_ring_mismatch,
    /// Purges requested from this cache.
    purges = "purges",
    /// Responses that purges removed, as far as they could be counted.
    purged = "purged",
    /// Requests that waited because the limit of their origin was reached.
    throttle_waits = "throttle-waits" by count_throttle_wait,
    /// Requests that were not sent because the limit of their origin was reached or the origin requested a pause.
    throttle_rejections = "throttle-rejections" by count_throttle_rejection,
    /// Requests that were answered with 407 because their token was missing or wrong.
    unauthorized = "unauthorized" by count_unauthorized,
}

impl Stats {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a response that was read from the tier with this name.
    pub(crate) fn count_hit_of(&self, tier: &str) {
        if tier == "redis" { self.count_redis_hit() } else { self.count_disk_hit() }
    }

    pub(crate) fn count_purge(&self, purged: Purged) {
        self.purges.fetch_add(1, Ordering::Relaxed);
        self.purged.fetch_add(purged.responses, Ordering::Relaxed);
    }
}

impl Counts {
    /// Returns the number of requests with this outcome, for all values of `Forward`.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }

    /// Returns the share of hits among hits and misses; `None` before the first request.
    pub(crate) fn hit_ratio(&self) -> Option<f64> {
        let sum = |is_hit| -> u64 {
            let outcomes = self.outcomes.iter().zip(Outcome::IS_HIT);
            outcomes.filter(|(_, one)| *one == Some(is_hit)).map(|(count, _)| count).sum()
        };
        let (hits, misses) = (sum(true), sum(false));
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64)
    }

    /// Returns the number of responses that were read from the tier with this name.
    pub(crate) fn hits_of(&self, tier: &str) -> u64 {
        if tier == "redis" { self.redis_hits } else { self.disk_hits }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(name, count)| writeln!(f, "{name} {count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::stats::Forward;

    #[test]
    fn each_outcome_is_counted_under_its_name() {
        let stats = Stats::default();
        stats.count(Outcome::Hit);
        stats.count(Outcome::Miss(Forward::UriMiss));
        stats.count(Outcome::Miss(Forward::VaryMiss));
        stats.count_store_error();
        let counts = stats.counts();
        assert_eq!(counts.of(Outcome::Hit), 1);
        assert_eq!(counts.of(Outcome::Miss(Forward::Stale)), 2);
        assert_eq!(counts.of(Outcome::OnlyIfCached), 0);
        assert_eq!((counts.hit_ratio(), Stats::default().counts().hit_ratio()), (Some(1.0 / 3.0), None));
        let text = counts.to_string();
        assert!(text.contains("hit 1\n") && text.contains("miss 2\n") && text.contains("store-errors 1\n"));
    }
}
