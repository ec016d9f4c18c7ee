//! The counters of a client.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of the counters that a client and its clones share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCounts {
    /// Requests to the client.
    pub requests: u64,
    /// Retries at another owner after an owner failed.
    pub failovers: u64,
    /// Owners skipped because of earlier failures.
    pub skipped: u64,
    /// Requests sent directly to the origin because no peer was left.
    pub direct_fetches: u64,
    /// Bodies continued from another owner.
    pub resumed_bodies: u64,
    /// Health probes.
    pub probes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: Counter,
    pub(super) failovers: Counter,
    pub(super) skipped: Counter,
    pub(super) direct_fetches: Counter,
    pub(super) resumed_bodies: Counter,
    pub(super) probes: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn read(&self) -> ClientCounts {
        ClientCounts {
            requests: self.requests.read(),
            failovers: self.failovers.read(),
            skipped: self.skipped.read(),
            direct_fetches: self.direct_fetches.read(),
            resumed_bodies: self.resumed_bodies.read(),
            probes: self.probes.read(),
        }
    }
}
