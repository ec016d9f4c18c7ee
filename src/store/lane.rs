//! The threads that wait for a tier below memory, so that no other thread blocks.
//!
//! Most work waits: a thread is woken for it at once. *Quick* work waits only if the system does not have what it reads in
//! memory, and takes less time than to wake a thread. So one thread does it all, while another one watches that none of it is
//! left for longer than [`PATIENCE`]: then the first one waits for the disk after all, and the other one helps.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
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
    /// Wakes a thread that is idle.
    wanted: Condvar,
    /// Wakes a thread that watches.
    watch: Condvar,
    ended: Condvar,
}

/// Each thread is counted once.
#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    working: usize,
    starting: usize,
    /// The threads that look at the queue once in [`PATIENCE`].
    watching: Waiting,
    idle: Waiting,
    is_closed: bool,
}

/// Threads that wait for a call, or until they are late.
#[derive(Default)]
struct Waiting {
    count: usize,
    /// The calls that no thread has followed yet.
    calls: usize,
}

impl Waiting {
    fn call(&mut self) {
        self.count -= 1;
        self.calls += 1;
    }

    /// Counts a thread that waits no longer. If it is late, it follows a call to another one, which then counts as late.
    fn end(&mut self) {
        let of = if self.calls > 0 { &mut self.calls } else { &mut self.count };
        *of -= 1;
    }
}

struct Queued {
    work: Work,
    /// Until when it is left to the threads that are at work. `None` if it is not.
    left_until: Option<Instant>,
}

impl State {
    /// The number of threads that will look at the queue next.
    fn waking(&self) -> usize {
        self.starting + self.watching.calls + self.idle.calls
    }

    fn threads(&self) -> usize {
        self.working + self.waking() + self.watching.count + self.idle.count
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
        let is_left = queued.left_until.is_some()
            && (state.waking() > 0 || state.working > 0 && state.watching.count > 0);
        state.queue.push_back(queued);
        if !is_left && !self.wake(&mut state) && state.threads() == 0 {
            // Without a thread it would never run.
            return state.queue.pop_back().map_or(Ok(()), |queued| Err(queued.work));
        }
        Ok(())
    }

    /// Wakes or starts a thread. Returns `false` if all are at work, or none can be started.
    fn wake(self: &Arc<Self>, state: &mut State) -> bool {
        if state.idle.count > 0 {
            state.idle.call();
            self.wanted.notify_one();
        } else if state.threads() < THREADS {
            let lane = Arc::clone(self);
            let started = thread::Builder::new().name("storage".to_owned()).spawn(move || lane.run());
            if started.is_err() {
                return false;
            }
            state.starting += 1;
        } else if state.watching.count > 0 {
            state.watching.call();
            self.watch.notify_one();
        } else {
            return false;
        }
        true
    }

    fn run(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.starting -= 1;
        while !state.is_closed {
            if let Some(work) = state.take(Instant::now()) {
                self.work(&mut state, work);
            } else if state.watching.count == 0 && state.working > 0 {
                state.watching.count += 1;
                self.watch.wait_for(&mut state, PATIENCE);
                state.watching.end();
            } else {
                state.idle.count += 1;
                let is_late = self.wanted.wait_for(&mut state, IDLE).timed_out();
                state.idle.end();
                if is_late && state.queue.is_empty() {
                    break;
                }
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
            if !state.queue.is_empty() && state.waking() + state.watching.count == 0 {
                self.wake(state);
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
        drop(state);
        drop(dropped);
        self.wanted.notify_all();
        self.watch.notify_all();
        let mut state = self.state.lock();
        self.ended.wait_while_for(&mut state, |state| state.threads() > 0, Duration::from_secs(1));
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
            if state.working + state.waking() == 0 && state.queue.is_empty() {
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
        assert!(state.watching.count <= 1 && state.threads() <= THREADS);
    }
}
