//! The threads that wait for a tier below memory, so that no other thread blocks.
//!
//! Most work waits: a thread is woken for it at once. *Quick* work waits only if the system does not have what it reads in
//! memory, and takes less time than to wake a thread. So one thread does it all, while another one watches that none of it is
//! left for longer than [`PATIENCE`]: then the first one waits for the disk after all, and the other one helps.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use log::error;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::tier::Work;

/// How many threads there are at most.
const THREADS: usize = 8;

/// How many lookups may wait for a thread.
const QUEUE: usize = 4096;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(30);

/// How long quick work is left to the threads that are at work.
const PATIENCE: Duration = Duration::from_millis(1);

/// Threads that are started on demand and end when they are idle.
#[derive(Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    ended: Condvar,
}

/// Each thread is counted once.
#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    working: usize,
    /// How many threads are started or called, and will look at the queue next.
    waking: usize,
    /// The threads that look at the queue once in [`PATIENCE`] without being called.
    watching: Vec<Thread>,
    /// The other threads. The last is called first, so that those that are not needed end.
    idle: Vec<Thread>,
    /// Whether there was quick work so far. Other work needs no thread that watches.
    has_quick: bool,
    is_closed: bool,
}

struct Queued {
    work: Work,
    /// Until when it is left to the threads that are at work. `None` if it is not.
    left_until: Option<Instant>,
}

impl State {
    fn threads(&self) -> usize {
        self.working + self.waking + self.watching.len() + self.idle.len()
    }

    /// Takes work for a thread that is not at work.
    fn take(&mut self, now: Instant) -> Option<Work> {
        let is_due = |queued: &Queued| queued.left_until.is_none_or(|until| until <= now);
        let at = if self.working == 0 { Some(0) } else { self.queue.iter().position(is_due) };
        at.and_then(|at| self.queue.remove(at)).map(|queued| queued.work)
    }
}

impl Lane {
    /// Runs work on a thread of the lane. Returns the work if the queue is full. Never blocks.
    pub(super) fn try_submit(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        self.submit(Queued { work, left_until: None }, QUEUE)
    }

    /// Like [`try_submit`](Self::try_submit), for quick work.
    #[cfg_attr(not(feature = "disk"), allow(dead_code, reason = "only the disk has quick work"))]
    pub(super) fn try_submit_quick(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        self.submit(Queued { work, left_until: Some(Instant::now() + PATIENCE) }, QUEUE)
    }

    /// Like [`try_submit`](Self::try_submit), without a limit to the queue. For work whose number is bounded otherwise.
    pub(super) fn submit_always(self: &Arc<Self>, work: Work) {
        drop(self.submit(Queued { work, left_until: None }, usize::MAX));
    }

    fn submit(self: &Arc<Self>, queued: Queued, most: usize) -> Result<(), Work> {
        let mut state = self.state.lock();
        if state.is_closed || state.queue.len() >= most {
            return Err(queued.work);
        }
        let is_quick = queued.left_until.is_some();
        state.has_quick |= is_quick;
        let is_left = is_quick && (state.waking > 0 || state.working > 0 && !state.watching.is_empty());
        state.queue.push_back(queued);
        if !is_left && !self.wake(&mut state, is_quick) && state.threads() == 0 {
            // Without a thread it would never run.
            return state.queue.pop_back().map_or(Ok(()), |queued| Err(queued.work));
        }
        Ok(())
    }

    /// Calls or starts a thread. Returns `false` if all are at work, or none can be started.
    fn wake(self: &Arc<Self>, state: &mut State, is_quick: bool) -> bool {
        let may_start = state.threads() < THREADS;
        let called = match state.idle.pop() {
            None if is_quick || !may_start => state.watching.pop(),
            idle => idle,
        };
        if let Some(thread) = called {
            thread.unpark();
        } else {
            let lane = Arc::clone(self);
            let start = || thread::Builder::new().name("storage".to_owned()).spawn(move || lane.run());
            if !may_start || start().is_err() {
                return false;
            }
        }
        state.waking += 1;
        true
    }

    fn run(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.waking -= 1;
        while !state.is_closed {
            if let Some(work) = state.take(Instant::now()) {
                self.work(&mut state, work);
            } else if state.has_quick && state.watching.is_empty() && state.working > 0 {
                wait(&mut state, |state| &mut state.watching, PATIENCE);
            } else if !wait(&mut state, |state| &mut state.idle, IDLE) && state.queue.is_empty() {
                break;
            }
        }
        drop(state);
        self.ended.notify_all();
    }

    /// Does this, and then all that is in the queue.
    fn work(self: &Arc<Self>, state: &mut MutexGuard<'_, State>, first: Work) {
        state.working += 1;
        let mut next = Some(first);
        while let Some(work) = next {
            if !state.queue.is_empty() && state.waking + state.watching.len() == 0 {
                self.wake(state, true);
            }
            MutexGuard::unlocked(state, || {
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    error!("an operation of a store panicked");
                }
            });
            next = state.queue.pop_front().map(|queued| queued.work);
        }
        state.working -= 1;
    }

    /// Drops the queue, and waits up to a second for running work.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let dropped = std::mem::take(&mut state.queue);
        state.idle.iter().chain(&state.watching).for_each(Thread::unpark);
        drop(state);
        drop(dropped);
        let mut state = self.state.lock();
        self.ended.wait_while_for(&mut state, |state| state.threads() > 0, Duration::from_secs(1));
    }
}

/// Waits as one of a list of threads until another thread takes this one from it, the lane is closed, or it is late. Returns
/// whether this thread was called.
fn wait(state: &mut MutexGuard<'_, State>, list: fn(&mut State) -> &mut Vec<Thread>, most: Duration) -> bool {
    let (me, until) = (thread::current(), Instant::now() + most);
    list(state).push(me.clone());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() && !state.is_closed {
            MutexGuard::unlocked(state, || thread::park_timeout(left));
        }
        let Some(at) = list(state).iter().position(|thread| thread.id() == me.id()) else {
            state.waking -= 1;
            return true;
        };
        if left.is_zero() || state.is_closed {
            list(state).remove(at);
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn submit(lane: &Arc<Lane>, is_quick: bool, work: impl FnOnce() + Send + 'static) {
        let submit = if is_quick { Lane::try_submit_quick } else { Lane::try_submit };
        submit(lane, Box::new(work)).unwrap_or_else(|_| panic!("there is room"));
    }

    /// Waits until no thread is at work or being woken.
    fn settle(lane: &Lane) -> MutexGuard<'_, State> {
        loop {
            let state = lane.state.lock();
            if state.working + state.waking == 0 && state.queue.is_empty() {
                return state;
            }
            drop(state);
            thread::yield_now();
        }
    }

    #[test]
    fn work_is_done_by_few_threads_and_dropped_at_the_end() {
        for is_quick in [false, true] {
            let lane = Arc::new(Lane::default());
            let (done, wait) = mpsc::channel();
            for number in 0..100 {
                let done = done.clone();
                submit(&lane, is_quick, move || {
                    assert!(number != 50, "a panic ends no thread");
                    done.send(number).unwrap();
                });
            }
            drop(done);
            assert_eq!(wait.iter().count(), 99);
            assert!(settle(&lane).threads() <= THREADS);
            lane.close();
            assert_eq!(lane.state.lock().threads(), 0);
            assert!(lane.try_submit(Box::new(|| ())).is_err());
        }
    }

    #[test]
    fn work_that_waits_does_not_delay_other_work() {
        for is_quick in [false, true] {
            let lane = Arc::new(Lane::default());
            let (done, wait) = mpsc::channel();
            let blocked: Vec<_> = (1..THREADS)
                .map(|_| {
                    let (release, blocked) = mpsc::channel::<()>();
                    submit(&lane, is_quick, move || _ = blocked.recv());
                    release
                })
                .collect();
            for number in 0..10 {
                let done = done.clone();
                submit(&lane, number % 2 == 0, move || done.send(number).unwrap());
            }
            drop(done);
            assert_eq!(wait.iter().count(), 10);
            drop(blocked);
            assert!(settle(&lane).threads() <= THREADS);
        }
    }

    #[test]
    fn quick_work_is_left_to_the_thread_at_work_for_a_while() {
        let now = Instant::now();
        let mut state = State { working: 1, ..State::default() };
        let quick = || Queued { work: Box::new(|| ()), left_until: Some(now + PATIENCE) };
        state.queue.extend([quick(), quick()]);
        assert!(state.take(now).is_none());
        assert!(state.take(now + PATIENCE).is_some());
        state.queue.push_back(Queued { work: Box::new(|| ()), left_until: None });
        assert!(state.take(now).is_some());
        assert!(state.take(now).is_none());
        state.working = 0;
        assert!(state.take(now).is_some() && state.queue.is_empty());
    }

    #[test]
    fn no_call_is_lost_when_threads_become_idle() {
        let lane = Arc::new(Lane::default());
        let (done, wait) = mpsc::channel();
        for burst in 0..5000 {
            let count = burst % 7 + 1;
            for number in 0..count {
                let done = done.clone();
                submit(&lane, number != burst % 11, move || done.send(()).unwrap());
            }
            wait.iter().take(count).for_each(drop);
        }
        let state = settle(&lane);
        assert!(state.watching.len() <= 1 && state.threads() <= THREADS);
    }
}
