//! The budget of an origin, as the one keeps it who may give all of it away.

use std::time::{Duration, SystemTime};

use super::bucket::Bucket;
use super::options::Limits;

/// What may be had of an origin at the moment.
#[derive(Debug)]
pub(super) struct Kept {
    concurrent: Option<u32>,
    bucket: Option<Bucket>,
}

impl Kept {
    pub(super) fn new(limits: Limits) -> Self {
        Self { concurrent: limits.concurrent, bucket: limits.rate.map(Bucket::full) }
    }

    /// Lets one request of the keeper's own through, or says for how long there is none to be had, as far as that is
    /// known.
    pub(super) fn admit(&mut self, in_flight: u32, now: SystemTime) -> Result<(), Option<Duration>> {
        if self.concurrent.is_some_and(|places| in_flight >= places) {
            return Err(None);
        }
        let Some(bucket) = &mut self.bucket else { return Ok(()) };
        if bucket.take(now) { Ok(()) } else { Err(Some(bucket.wait(1, now))) }
    }

    /// How long the last of so many who wait waits at least.
    pub(super) fn wait(&self, waiting: u32, now: SystemTime) -> Duration {
        self.bucket.as_ref().map(|bucket| bucket.wait(waiting, now)).unwrap_or_default()
    }

    /// Whether nothing of it has to be remembered.
    pub(super) fn is_whole(&self, now: SystemTime) -> bool {
        self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }
}
