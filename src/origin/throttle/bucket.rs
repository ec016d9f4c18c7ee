//! A token bucket that limits the rate of requests to an origin.
//!
//! It implements the generic cell rate algorithm: instead of the number of tokens, it keeps the time at which
//! the bucket will be full. It therefore needs no timer, is exact in integers, and costs two additions for
//! each request.

use std::time::{Duration, SystemTime};

/// A rate of one token every `interval`, with at most `burst` tokens at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

impl Rate {
    /// Returns the time in which an empty bucket fills.
    fn depth(self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }
}

/// A bucket that allows at most `burst + t / interval` requests in any period `t`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    full_at: Option<SystemTime>,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full_at: None }
    }

    /// Changes the rate. The number of tokens stays the same, up to the new burst.
    pub(super) fn set_rate(&mut self, rate: Rate, now: SystemTime) {
        if rate == self.rate {
            return;
        }
        let debt = self.debt(now);
        if !debt.is_zero() {
            let nanos = self.rate.depth().saturating_sub(debt).as_nanos();
            let scaled =
                nanos.saturating_mul(rate.interval.as_nanos()) / self.rate.interval.as_nanos().max(1);
            let content = Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX));
            self.full_at = now.checked_add(rate.depth().saturating_sub(content));
        }
        self.rate = rate;
    }

    /// Returns the time until the bucket is full. It is never longer than an empty bucket takes, even if the
    /// clock went back.
    fn debt(&self, now: SystemTime) -> Duration {
        let debt = self.full_at.and_then(|at| at.duration_since(now).ok()).unwrap_or_default();
        debt.min(self.rate.depth())
    }

    pub(super) fn is_full(&self, now: SystemTime) -> bool {
        self.debt(now).is_zero()
    }

    /// Returns the time until `tokens` tokens are available. `tokens` may exceed the burst.
    pub(super) fn wait(&self, tokens: u32, now: SystemTime) -> Duration {
        let needed = self.debt(now).saturating_add(self.rate.interval.saturating_mul(tokens));
        needed.saturating_sub(self.rate.depth())
    }

    /// Takes a token if one is available. Returns whether it did.
    pub(super) fn take(&mut self, now: SystemTime) -> bool {
        let is_available = self.wait(1, now).is_zero();
        if is_available {
            let debt = self.debt(now).saturating_add(self.rate.interval);
            // Beyond the last date that the clock can represent, the bucket stays as it is.
            self.full_at = now.checked_add(debt).or(self.full_at);
        }
        is_available
    }
}

#[cfg(test)]
mod tests;
