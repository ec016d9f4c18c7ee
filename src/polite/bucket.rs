//! How often an origin may be asked: a token bucket, as one moment.
//!
//! It is the generic cell rate algorithm: in place of a level that has to be filled up, what is kept is the moment
//! at which the bucket will be full. So it needs no timer, is exact in integers, and is two additions a request.

use std::time::{Duration, SystemTime};

/// One token every `interval`, and `burst` of them at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

impl Rate {
    /// How long an empty bucket takes to be full.
    fn depth(self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }

    /// The part that one of so many may use who cannot ask each other; at least one at a time.
    pub(super) fn share(self, peers: u32) -> Self {
        let peers = peers.max(1);
        Self { interval: self.interval.saturating_mul(peers), burst: (self.burst / peers).max(1) }
    }
}

/// Tokens that are set aside: so many at once, and then one after `first` and every interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reserved {
    pub(super) at_once: u32,
    pub(super) later: u32,
    pub(super) first: Duration,
}

/// Lets `burst + interval * t` requests through in any time `t`, and no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    full_at: Option<SystemTime>,
}

impl Bucket {
    pub(super) fn full(rate: Rate) -> Self {
        Self { rate, full_at: None }
    }

    /// One that holds so many tokens at this moment.
    pub(super) fn holding(rate: Rate, tokens: u32, now: SystemTime) -> Self {
        let missing = rate.burst.saturating_sub(tokens);
        Self { rate, full_at: now.checked_add(rate.interval.saturating_mul(missing)) }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// How long it is until it is full. A clock that went back makes it no longer than it was when the last token was
    /// taken.
    fn debt(&self, now: SystemTime) -> Duration {
        let debt = self.full_at.and_then(|at| at.duration_since(now).ok()).unwrap_or_default();
        debt.min(self.rate.depth() + HORIZON)
    }

    pub(super) fn is_full(&self, now: SystemTime) -> bool {
        self.debt(now).is_zero()
    }

    /// How long it is until this many tokens are there; they may be more than it ever holds at once.
    pub(super) fn wait(&self, tokens: u32, now: SystemTime) -> Duration {
        let needed = self.debt(now).saturating_add(self.rate.interval.saturating_mul(tokens));
        needed.saturating_sub(self.rate.depth())
    }

    /// Takes one, if it is there.
    pub(super) fn take(&mut self, now: SystemTime) -> bool {
        let is_there = self.wait(1, now).is_zero();
        if is_there {
            self.spend(1, now);
        }
        is_there
    }

    fn spend(&mut self, tokens: u32, now: SystemTime) {
        let debt = self.debt(now).saturating_add(self.rate.interval.saturating_mul(tokens));
        // A date past what the clock can show is as far as one can see.
        self.full_at = now.checked_add(debt).or(self.full_at);
    }

    /// How many are there within this time.
    pub(super) fn within(&self, horizon: Duration, now: SystemTime) -> u32 {
        let room = self.rate.depth().saturating_add(horizon.min(HORIZON)).saturating_sub(self.debt(now));
        let tokens = room.as_nanos() / self.rate.interval.as_nanos().max(1);
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// Sets up to `tokens` aside that are there within [`HORIZON`], so that whoever has them need not ask for each.
    pub(super) fn reserve(&mut self, tokens: u32, now: SystemTime) -> Reserved {
        let at_once = tokens.min(self.within(Duration::ZERO, now));
        let later = tokens.min(self.within(HORIZON, now)) - at_once;
        let first = if later > 0 { self.wait(at_once + 1, now) } else { Duration::ZERO };
        self.spend(at_once + later, now);
        Reserved { at_once, later, first }
    }
}

/// How far ahead tokens are set aside for others.
pub(super) const HORIZON: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// A generator of the shape x' = ax + c, so that a failure can be run again.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    /// The same by its promise: a request is let through if no time that ends with it then holds too many.
    struct Twin {
        rate: Rate,
        taken: Vec<SystemTime>,
    }

    impl Twin {
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
            let mut dice = Dice(seed);
            let interval = Duration::from_nanos(1 + dice.below(2_000_000_000));
            let rate = Rate { interval, burst: 1 + u32::try_from(dice.below(12)).unwrap() };
            let mut twin = Twin { rate, taken: Vec::new() };
            let mut bucket = Bucket::full(rate);
            let mut now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            for step in 0..400 {
                let most = u64::try_from(interval.as_nanos()).unwrap() * if step % 7 == 0 { 9 } else { 2 };
                now += Duration::from_nanos(dice.below(most.max(2)));
                let (wait, is_there) = (bucket.wait(1, now), bucket.within(Duration::ZERO, now) > 0);
                let taken = bucket.take(now);
                assert_eq!(taken, twin.take(now), "seed {seed}, step {step}");
                assert_eq!((wait.is_zero(), is_there), (taken, taken), "seed {seed}, step {step}");
            }
            assert!(twin.taken.len() > 20, "seed {seed}");
        }
    }

    #[test]
    fn what_is_set_aside_is_there_when_it_is_said_to_be() {
        let rate = Rate { interval: Duration::from_millis(100), burst: 3 };
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let mut bucket = Bucket::full(rate);
        let reserved = bucket.reserve(20, now);
        let first = Duration::from_millis(100);
        assert_eq!(reserved, Reserved { at_once: 3, later: 5, first });
        assert_eq!(bucket.reserve(1, now), Reserved::default());
        assert_eq!(bucket.wait(1, now), Duration::from_millis(600));
        // Half a token more is none.
        assert!(
            !bucket.take(now + Duration::from_millis(599)) && bucket.take(now + Duration::from_millis(600))
        );
        let two = bucket.reserve(2, now + Duration::from_millis(650));
        assert_eq!(two, Reserved { at_once: 0, later: 2, first: Duration::from_millis(50) });
    }

    #[test]
    fn a_clock_that_went_back_costs_no_more_than_the_burst() {
        let rate = Rate { interval: Duration::from_secs(1), burst: 2 };
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        let mut bucket = Bucket::full(rate);
        assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
        let before = now - Duration::from_secs(50_000);
        assert!(bucket.wait(1, before) <= Duration::from_secs(2));
    }

    #[test]
    fn shares_come_to_the_whole_at_most() {
        let rate = Rate { interval: Duration::from_millis(10), burst: 7 };
        assert_eq!(rate.share(3), Rate { interval: Duration::from_millis(30), burst: 2 });
        assert_eq!(rate.share(0), rate);
        let bucket = Bucket::holding(rate, 2, UNIX_EPOCH);
        assert_eq!(bucket.within(Duration::ZERO, UNIX_EPOCH), 2);
        assert!(!bucket.is_full(UNIX_EPOCH) && bucket.is_full(UNIX_EPOCH + Duration::from_millis(50)));
    }
}
