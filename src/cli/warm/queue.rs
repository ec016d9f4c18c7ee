//! The URLs that wait for a request: a pure function of a given time.
//!
//! Origins take turns. An origin with as many requests as it may have, or whose next request would come too early, is
//! passed over.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How many requests may run, and how soon after each other they may start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Requests of one origin at the same time.
    pub(super) of_origin: usize,
    /// The time between two requests.
    pub(super) interval: Duration,
    /// The time between two requests of one origin.
    pub(super) origin_interval: Duration,
}

/// The next step of a thread that sends requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// Request this.
    Start(T),
    /// Ask again after this time.
    Wait(Duration),
    /// Ask again when a request ends or is added.
    Nothing,
}

/// Tasks by origin.
#[derive(Debug)]
pub(super) struct Queue<T> {
    limits: Limits,
    origins: HashMap<String, Origin<T>>,
    /// The origins that have tasks, in the order of their turns.
    turns: VecDeque<String>,
    not_before: Option<Instant>,
    waiting: usize,
    running: usize,
}

#[derive(Debug)]
struct Origin<T> {
    tasks: VecDeque<T>,
    running: usize,
    not_before: Option<Instant>,
}

impl<T> Origin<T> {
    /// Returns whether nothing has to be remembered about the origin.
    fn is_idle(&self, now: Instant) -> bool {
        self.tasks.is_empty() && self.running == 0 && remaining(self.not_before, now).is_zero()
    }
}

fn remaining(until: Option<Instant>, now: Instant) -> Duration {
    until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
}

impl<T> Queue<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            origins: HashMap::new(),
            turns: VecDeque::new(),
            not_before: None,
            waiting: 0,
            running: 0,
        }
    }

    /// Returns the number of tasks that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns whether no task waits or runs.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0 && self.running == 0
    }

    pub(super) fn push(&mut self, origin: &str, task: T) {
        let known = self.origins.entry(origin.to_owned());
        let known = known.or_insert(Origin { tasks: VecDeque::new(), running: 0, not_before: None });
        if known.tasks.is_empty() {
            self.turns.push_back(origin.to_owned());
        }
        known.tasks.push_back(task);
        self.waiting += 1;
    }

    /// Returns a task that may start now and counts it as running.
    pub(super) fn next(&mut self, now: Instant) -> Next<T> {
        let pause = remaining(self.not_before, now);
        if !pause.is_zero() && self.waiting > 0 {
            return Next::Wait(pause);
        }
        let mut wait: Option<Duration> = None;
        for _ in 0..self.turns.len() {
            let Some(name) = self.turns.pop_front() else { break };
            let Some(origin) = self.origins.get_mut(&name) else { continue };
            let pause = remaining(origin.not_before, now);
            if origin.running < self.limits.of_origin && pause.is_zero() {
                let Some(task) = origin.tasks.pop_front() else { continue };
                origin.running += 1;
                origin.not_before = Some(now + self.limits.origin_interval);
                if !origin.tasks.is_empty() {
                    self.turns.push_back(name);
                }
                self.not_before = Some(now + self.limits.interval);
                self.waiting -= 1;
                self.running += 1;
                return Next::Start(task);
            }
            // The end of a request calls again if the origin has too many.
            if origin.running < self.limits.of_origin {
                wait = Some(wait.map_or(pause, |known| known.min(pause)));
            }
            self.turns.push_back(name);
        }
        wait.map_or(Next::Nothing, Next::Wait)
    }

    /// Notes the end of a request, after which the origin wants a pause.
    pub(super) fn finish(&mut self, origin: &str, pause: Duration, now: Instant) {
        self.running -= 1;
        let Some(known) = self.origins.get_mut(origin) else { return };
        known.running -= 1;
        known.not_before = known.not_before.max(Some(now + pause));
        // The states of idle origins go once they are most of all, so that each costs a constant time.
        if self.origins.len() > 2 * self.turns.len() + 64 {
            self.origins.retain(|_, origin| !origin.is_idle(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ZERO: Duration = Duration::ZERO;

    fn queue(of_origin: usize, interval: Duration, origin_interval: Duration) -> Queue<&'static str> {
        Queue::new(Limits { of_origin, interval, origin_interval })
    }

    #[test]
    fn rate_spaces_all_requests_evenly() {
        let (mut queue, start) = (queue(9, SECOND / 4, ZERO), Instant::now());
        ["a", "b", "c"].iter().for_each(|origin| queue.push(origin, origin));
        assert_eq!(queue.next(start), Next::Start("a"));
        assert_eq!(queue.next(start), Next::Wait(SECOND / 4));
        assert_eq!(queue.next(start + SECOND / 8), Next::Wait(SECOND / 8));
        assert_eq!(queue.next(start + SECOND / 4), Next::Start("b"));
        // A late start does not allow a burst.
        assert_eq!(queue.next(start + SECOND), Next::Start("c"));
        assert_eq!(queue.next(start + SECOND), Next::Nothing);
        queue.push("a", "later");
        assert_eq!(queue.next(start + SECOND), Next::Wait(SECOND / 4));
    }

    #[test]
    fn requests_of_one_origin_are_limited_and_others_pass_it() {
        let (mut queue, now) = (queue(2, ZERO, ZERO), Instant::now());
        ["a1", "a2", "a3"].iter().for_each(|task| queue.push("a", task));
        queue.push("b", "b1");
        let started: Vec<_> = (0..4).map(|_| queue.next(now)).collect();
        assert_eq!(started, [Next::Start("a1"), Next::Start("b1"), Next::Start("a2"), Next::Nothing]);
        queue.finish("b", ZERO, now);
        assert_eq!(queue.next(now), Next::Nothing);
        queue.finish("a", ZERO, now);
        assert_eq!((queue.next(now), queue.waiting()), (Next::Start("a3"), 0));
        queue.finish("a", ZERO, now);
        assert!(!queue.is_empty());
        queue.finish("a", ZERO, now);
        assert!(queue.is_empty());
    }

    #[test]
    fn rate_and_pause_of_an_origin_delay_only_that_origin() {
        let (mut queue, start) = (queue(2, ZERO, SECOND), Instant::now());
        ["a1", "a2", "a3"].iter().for_each(|task| queue.push("a", task));
        assert_eq!(queue.next(start), Next::Start("a1"));
        assert_eq!(queue.next(start), Next::Wait(SECOND));
        queue.push("b", "b1");
        assert_eq!(queue.next(start), Next::Start("b1"));
        assert_eq!(queue.next(start + SECOND), Next::Start("a2"));
        queue.finish("a", 5 * SECOND, start + SECOND);
        assert_eq!(queue.next(start + 2 * SECOND), Next::Wait(4 * SECOND));
        assert_eq!(queue.next(start + 6 * SECOND), Next::Start("a3"));
    }

    #[test]
    fn state_of_idle_origins_is_dropped() {
        let (mut queue, now) = (queue(1, ZERO, ZERO), Instant::now());
        for number in 0..1000 {
            let origin = format!("http://{number}");
            queue.push(&origin, "task");
            assert_eq!(queue.next(now), Next::Start("task"));
            queue.finish(&origin, ZERO, now);
        }
        assert!(queue.origins.len() < 100, "{}", queue.origins.len());
    }
}
