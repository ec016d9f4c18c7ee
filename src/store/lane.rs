//! The threads that wait for a tier below memory, so that no other thread blocks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use log::error;
use parking_lot::{Condvar, Mutex};

use super::tier::Work;

/// How many threads there are at most.
const THREADS: usize = 8;

/// How many lookups may wait for a thread.
const QUEUE: usize = 4096;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(30);

/// Threads that are started on demand and end when they are idle.
#[derive(Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl Lane {
    /// Runs work on a thread of the lane. Returns the work if the queue is full. Never blocks.
    pub(super) fn try_submit(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        self.submit(work, QUEUE)
    }

    /// Like [`try_submit`](Self::try_submit), without a limit to the queue. For work whose number is bounded otherwise.
    pub(super) fn submit_always(self: &Arc<Self>, work: Work) {
        drop(self.submit(work, usize::MAX));
    }

    fn submit(self: &Arc<Self>, work: Work, most: usize) -> Result<(), Work> {
        let mut state = self.state.lock();
        if state.is_closed || state.queue.len() >= most {
            return Err(work);
        }
        state.queue.push_back(work);
        if state.idle >= state.queue.len() || state.threads >= THREADS {
            drop(state);
            self.changed.notify_one();
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        let lane = Arc::clone(self);
        let started = thread::Builder::new().name("storage".to_owned()).spawn(move || lane.run());
        if started.is_err() {
            let mut state = self.state.lock();
            state.threads -= 1;
            if state.threads == 0 {
                // No other thread will run it.
                return state.queue.pop_back().map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    error!("an operation of a store panicked");
                }
                state = self.state.lock();
                continue;
            }
            if state.is_closed {
                break;
            }
            state.idle += 1;
            let is_late = self.changed.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            if is_late && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Drops the queue, and waits up to a second for running work.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let dropped = std::mem::take(&mut state.queue);
        drop(state);
        drop(dropped);
        self.changed.notify_all();
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.threads > 0, Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_is_done_by_few_threads_and_dropped_at_the_end() {
        let lane = Arc::new(Lane::default());
        let (done, wait) = mpsc::channel();
        for number in 0..100 {
            let done = done.clone();
            lane.try_submit(Box::new(move || {
                assert!(number != 50, "a panic ends no thread");
                done.send(number).unwrap();
            }))
            .unwrap_or_else(|_| panic!("there is room"));
        }
        drop(done);
        assert_eq!(wait.iter().count(), 99);
        assert!(lane.state.lock().threads <= THREADS);
        lane.close();
        assert!(lane.try_submit(Box::new(|| ())).is_err());
    }
}
