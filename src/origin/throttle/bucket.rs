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
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// A linear congruential generator, so that a failure can be reproduced.
    struct Rng(u64);

    impl Rng {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    /// A reference implementation: allows a request if no period that ends with it contains too many
    /// requests.
    struct Model {
        rate: Rate,
        taken: Vec<SystemTime>,
    }

    impl Model {
        fn take(&mut self, now: SystemTime) -> bool {
            let fits = (0..self.taken.len()).all(|from| {
                let past = now.duration_since(self.taken[from]).unwrap().as_nanos();
                let allowed = u128::from(self.rate.burst) + past / self.rate.interval.as_nanos();
                ((self.taken.len() - from + 1) as u128) <= allowed
            });
            if fits {
                self.taken.push(now);
            }
            fits
        }
    }

    #[test]
    fn over_long_runs_it_lets_through_what_its_promise_allows_and_nothing_else() {
        for seed in 0..40 {
            let mut rng = Rng(seed);
            let interval = Duration::from_nanos(1 + rng.below(2_000_000_000));
            let rate = Rate { interval, burst: 1 + u32::try_from(rng.below(12)).unwrap() };
            let mut model = Model { rate, taken: Vec::new() };
            let mut bucket = Bucket::new(rate);
            let mut now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            for step in 0..400 {
                let most = u64::try_from(interval.as_nanos()).unwrap() * if step % 7 == 0 { 9 } else { 2 };
                now += Duration::from_nanos(rng.below(most.max(2)));
                let wait = bucket.wait(1, now);
                let taken = bucket.take(now);
                assert_eq!(taken, model.take(now), "seed {seed}, step {step}");
                assert_eq!(wait.is_zero(), taken, "seed {seed}, step {step}");
            }
            assert!(model.taken.len() > 20, "seed {seed}");
        }
    }

    #[test]
    fn a_clock_that_went_back_costs_no_more_than_the_burst() {
        let rate = Rate { interval: Duration::from_secs(1), burst: 2 };
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        let mut bucket = Bucket::new(rate);
        assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
        let before = now - Duration::from_secs(50_000);
        assert!(bucket.wait(1, before) <= Duration::from_secs(2));
    }

    #[test]
    fn a_change_of_the_rate_keeps_the_tokens_up_to_the_new_burst() {
        let (whole, share) = (
            Rate { interval: Duration::from_millis(100), burst: 6 },
            Rate { interval: Duration::from_millis(300), burst: 2 },
        );
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let mut bucket = Bucket::new(whole);
        assert!(bucket.take(now));
        // Five tokens exceed the burst of the share.
        bucket.set_rate(share, now);
        assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
        assert_eq!(bucket.wait(1, now), Duration::from_millis(300));
        // Half a token remains half a token.
        let later = now + Duration::from_millis(150);
        bucket.set_rate(whole, later);
        assert_eq!(bucket.wait(1, later), Duration::from_millis(50));
    }
}
