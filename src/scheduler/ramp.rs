//! Decides how many jobs may start on additional threads, so that not each quick job wakes a thread. These are pure
//! functions: times are arguments.
//!
//! Waking a thread costs more than a fetch from a near origin. If enough jobs started within the last [`QUICK`], another
//! job waits for a thread that ends one of them: they will soon end, or turn out to be slow and no longer count. As long
//! as none of them ends, the allowed number doubles in each round.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A job that takes longer is slow: it waits for something.
pub(super) const QUICK: Duration = Duration::from_millis(1);

/// The greatest number of jobs that may start at once.
const MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Ramp {
    min: usize,
    allowed: usize,
    /// The jobs that started within the last [`QUICK`] and have not ended, the oldest first.
    recent: VecDeque<(u64, Instant)>,
    /// Whether a recent job has ended since the last adjustment.
    is_quick: bool,
}

impl Ramp {
    /// Creates a ramp that always allows this number of recent jobs.
    pub(super) fn new(min: usize) -> Self {
        Self { min, allowed: min, recent: VecDeque::new(), is_quick: false }
    }

    /// Returns how many more jobs may start on threads that must be woken.
    pub(super) fn remaining(&mut self, now: Instant) -> usize {
        self.forget_old(now);
        self.allowed.saturating_sub(self.recent.len())
    }

    pub(super) fn job_started(&mut self, job: u64, now: Instant) {
        self.recent.push_back((job, now));
    }

    pub(super) fn job_ended(&mut self, job: u64, now: Instant) {
        self.forget_old(now);
        if let Some(at) = self.recent.iter().position(|(recent, _)| *recent == job) {
            self.recent.remove(at);
            self.is_quick = true;
            self.allowed = self.min;
        }
    }

    /// Adjusts the allowed number. The watcher calls this once in each [`QUICK`] while jobs wait for a thread.
    pub(super) fn adjust(&mut self) {
        if !std::mem::take(&mut self.is_quick) {
            self.allowed = (self.allowed * 2).min(MAX);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|(_, started)| now.saturating_duration_since(*started) >= QUICK)
        {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_jobs_start_while_jobs_are_quick() {
        let (mut ramp, now) = (Ramp::new(2), Instant::now());
        ramp.job_started(1, now);
        assert_eq!(ramp.remaining(now), 1);
        ramp.job_started(2, now);
        assert_eq!(ramp.remaining(now), 0);
        ramp.job_ended(1, now + QUICK / 2);
        ramp.adjust();
        assert_eq!(ramp.remaining(now + QUICK / 2), 1);
    }

    #[test]
    fn slow_jobs_do_not_count_and_the_allowed_number_doubles() {
        let (mut ramp, mut now) = (Ramp::new(2), Instant::now());
        let mut job = 0;
        for expected in [2, 4, 8, 16] {
            assert_eq!(ramp.remaining(now), expected);
            for _ in 0..expected {
                job += 1;
                ramp.job_started(job, now);
            }
            assert_eq!(ramp.remaining(now), 0);
            now += QUICK;
            ramp.adjust();
        }
        // The end of a slow job changes nothing.
        ramp.job_ended(1, now);
        assert_eq!(ramp.remaining(now), 32);
        ramp.job_started(100, now);
        ramp.job_ended(100, now);
        assert_eq!(ramp.remaining(now), 2);
    }
}
