//! How many jobs may be begun on further threads, so that quick ones do not each wake a thread. Pure: times are
//! arguments.
//!
//! To wake a thread costs more than a fetch from a near origin. A job therefore waits for a thread that ends another
//! job, while enough jobs were begun within the last [`QUICK`]: either they end soon, or they have become slow and no
//! longer count. While none of them ends, twice as many may be begun each time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A job that takes longer waits for something.
pub(super) const QUICK: Duration = Duration::from_millis(1);

/// How many jobs may be begun at once at most.
const MOST: usize = 1024;

#[derive(Debug)]
pub(super) struct Ramp {
    least: usize,
    allowed: usize,
    /// The jobs that were begun within the last [`QUICK`] and have not ended, the oldest first.
    young: VecDeque<(u64, Instant)>,
    /// Whether a young job has ended since the last look.
    is_quick: bool,
}

impl Ramp {
    /// One that allows so many young jobs at least.
    pub(super) fn new(least: usize) -> Self {
        Self { least, allowed: least, young: VecDeque::new(), is_quick: false }
    }

    /// How many more may be begun on threads that have to be woken.
    pub(super) fn free(&mut self, now: Instant) -> usize {
        self.forget_old(now);
        self.allowed.saturating_sub(self.young.len())
    }

    pub(super) fn began(&mut self, job: u64, now: Instant) {
        self.young.push_back((job, now));
    }

    pub(super) fn ended(&mut self, job: u64, now: Instant) {
        self.forget_old(now);
        if let Some(at) = self.young.iter().position(|(young, _)| *young == job) {
            self.young.remove(at);
            self.is_quick = true;
            self.allowed = self.least;
        }
    }

    /// To be called once in each [`QUICK`] while jobs wait for a thread.
    pub(super) fn look(&mut self) {
        if !std::mem::take(&mut self.is_quick) {
            self.allowed = (self.allowed * 2).min(MOST);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.young.front().is_some_and(|(_, began)| now.saturating_duration_since(*began) >= QUICK) {
            self.young.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_jobs_are_quick_no_more_are_begun() {
        let (mut ramp, now) = (Ramp::new(2), Instant::now());
        ramp.began(1, now);
        assert_eq!(ramp.free(now), 1);
        ramp.began(2, now);
        assert_eq!(ramp.free(now), 0);
        ramp.ended(1, now + QUICK / 2);
        ramp.look();
        assert_eq!(ramp.free(now + QUICK / 2), 1);
    }

    #[test]
    fn slow_jobs_do_not_count_and_more_are_begun_each_time() {
        let (mut ramp, mut now) = (Ramp::new(2), Instant::now());
        let mut job = 0;
        for expected in [2, 4, 8, 16] {
            assert_eq!(ramp.free(now), expected);
            for _ in 0..expected {
                job += 1;
                ramp.began(job, now);
            }
            assert_eq!(ramp.free(now), 0);
            now += QUICK;
            ramp.look();
        }
        // The end of a slow one says nothing.
        ramp.ended(1, now);
        assert_eq!(ramp.free(now), 32);
        ramp.began(100, now);
        ramp.ended(100, now);
        assert_eq!(ramp.free(now), 2);
    }
}
