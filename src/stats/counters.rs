//! How often what happened.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::outcome::Outcome;
use crate::purge::Purged;

/// Counters of one cache. Counting is one relaxed addition; reading them is not a consistent cut.
#[derive(Debug, Default)]
pub struct Stats {
    outcomes: [AtomicU64; Outcome::NAMES.len()],
    origin_requests: AtomicU64,
    refreshes: AtomicU64,
    stored: AtomicU64,
    store_errors: AtomicU64,
    disk_answers: AtomicU64,
    digest_mismatches: AtomicU64,
    disagreements: AtomicU64,
    purges: AtomicU64,
    purged: AtomicU64,
    origin_waits: AtomicU64,
    origin_refusals: AtomicU64,
    unauthorized: AtomicU64,
}

impl Stats {
    /// How often what has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut outcomes = [0; Outcome::NAMES.len()];
        for (count, counter) in outcomes.iter_mut().zip(&self.outcomes) {
            *count = read(counter);
        }
        Counts {
            outcomes,
            origin_requests: read(&self.origin_requests),
            refreshes: read(&self.refreshes),
            stored: read(&self.stored),
            store_errors: read(&self.store_errors),
            disk_answers: read(&self.disk_answers),
            digest_mismatches: read(&self.digest_mismatches),
            disagreements: read(&self.disagreements),
            purges: read(&self.purges),
            purged: read(&self.purged),
            origin_waits: read(&self.origin_waits),
            origin_refusals: read(&self.origin_refusals),
            unauthorized: read(&self.unauthorized),
        }
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_origin_request(&self) {
        self.origin_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refresh(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_digest_mismatch(&self) {
        self.digest_mismatches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_disagreement(&self) {
        self.disagreements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_origin_wait(&self) {
        self.origin_waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_origin_refusal(&self) {
        self.origin_refusals.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unauthorized(&self) {
        self.unauthorized.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_store_error(&self) {
        self.store_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_disk_answer(&self) {
        self.disk_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_purge(&self, purged: Purged) {
        self.purges.fetch_add(1, Ordering::Relaxed);
        self.purged.fetch_add(purged.responses, Ordering::Relaxed);
    }
}

/// What [`Stats`] had counted at one moment. Its `Display` is one `name count` a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    outcomes: [u64; Outcome::NAMES.len()],
    /// Requests sent to origins, validations among them.
    pub origin_requests: u64,
    /// Responses refreshed after they were served stale; they are no outcome of a request.
    pub refreshes: u64,
    /// Responses given to the store and taken by it.
    pub stored: u64,
    /// Times that the store failed; the requests went on to the origin.
    pub store_errors: u64,
    /// Responses that were read from the disk.
    pub disk_answers: u64,
    /// Bodies that were not what their origin said that they are; their transfer was broken off.
    pub digest_mismatches: u64,
    /// Requests of those who know another pool than the peer that was asked.
    pub disagreements: u64,
    /// Purges that this cache was asked for.
    pub purges: u64,
    /// Responses that went by them, as far as they were counted.
    pub purged: u64,
    /// Requests that waited because the limit of their origin was reached.
    pub origin_waits: u64,
    /// Requests that were not sent because the limit of their origin was reached, or it asked to be left alone.
    pub origin_refusals: u64,
    /// Requests that were answered with 407: without a token, or with a wrong one.
    pub unauthorized: u64,
}

impl Counts {
    /// How many requests had this outcome, whatever they were forwarded for.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }

    /// All counters with their names: the outcomes in the order of [`Outcome::NAMES`], then the others.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let others = [
            ("origin-requests", self.origin_requests),
            ("refreshes", self.refreshes),
            ("stored", self.stored),
            ("store-errors", self.store_errors),
            ("disk-answers", self.disk_answers),
            ("digest-mismatches", self.digest_mismatches),
            ("disagreements", self.disagreements),
            ("purges", self.purges),
            ("purged", self.purged),
            ("origin-waits", self.origin_waits),
            ("origin-refusals", self.origin_refusals),
            ("unauthorized", self.unauthorized),
        ];
        Outcome::NAMES.into_iter().zip(self.outcomes).chain(others)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.iter() {
            writeln!(f, "{name} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Forward;

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
        let text = counts.to_string();
        assert!(text.contains("hit 1\n") && text.contains("miss 2\n") && text.contains("store-errors 1\n"));
    }
}
