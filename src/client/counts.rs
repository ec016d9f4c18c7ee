//! What a client counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a client and its clones did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCounts {
    /// Requests it was given.
    pub requests: u64,
    /// Times that a request went on to another owner after one had failed.
    pub failovers: u64,
    /// Times that an owner was passed over because of how it did before.
    pub passed_over: u64,
    /// Requests that went to their origins because no peer was left.
    pub direct_fetches: u64,
    /// Times that a body went on from another owner.
    pub resumed_bodies: u64,
    /// Times that a peer was asked whether it is there.
    pub probes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: Counter,
    pub(super) failovers: Counter,
    pub(super) passed_over: Counter,
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
            passed_over: self.passed_over.read(),
            direct_fetches: self.direct_fetches.read(),
            resumed_bodies: self.resumed_bodies.read(),
            probes: self.probes.read(),
        }
    }
}
