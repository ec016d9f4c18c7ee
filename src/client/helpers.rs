//! A bounded pool of threads for work that waits for peers, so that the caller's thread does not wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A bounded pool of threads that wait for peers on behalf of callers. Threads start on demand and end after
/// [`IDLE`] without work.
pub(super) struct Helpers {
    shared: Arc<Shared>,
    most: usize,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
}

const IDLE: Duration = Duration::from_secs(10);

impl Helpers {
    /// Creates a pool of at most this many threads.
    pub(super) fn new(most: usize) -> Self {
        Self { shared: Arc::default(), most }
    }

    /// Runs the job on a helper thread. Returns `false`, without running the job, if no thread is free.
    pub(super) fn run(&self, job: Job) -> bool {
        let mut state = self.shared.state.lock();
        if state.idle > state.jobs.len() {
            state.jobs.push_back(job);
            drop(state);
            self.shared.changed.notify_one();
            return true;
        }
        if state.threads == self.most {
            return false;
        }
        state.threads += 1;
        drop(state);
        let helper = Helper { shared: Arc::clone(&self.shared) };
        let name = "forwardcache-client".to_owned();
        thread::Builder::new().name(name).spawn(move || helper.work(job)).is_ok()
    }
}

/// One of the threads. `Drop` keeps the count of threads correct even if a job panics.
struct Helper {
    shared: Arc<Shared>,
}

impl Helper {
    fn work(self, first: Job) {
        let mut job = Some(first);
        while let Some(work) = job {
            work();
            let mut state = self.shared.state.lock();
            state.idle += 1;
            self.shared.changed.wait_while_for(&mut state, |state| state.jobs.is_empty(), IDLE);
            state.idle -= 1;
            job = state.jobs.pop_front();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shared.state.lock().threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn helpers_are_bounded() {
        let helpers = Helpers::new(4);
        let (sender, receiver) = mpsc::channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let wait = || {
            let (gate, sender) = (Arc::clone(&gate), sender.clone());
            Box::new(move || {
                let mut is_open = gate.0.lock();
                gate.1.wait_while(&mut is_open, |is_open| !*is_open);
                sender.send(()).unwrap();
            })
        };
        assert!((0..4).all(|_| helpers.run(wait())));
        assert!(!helpers.run(wait()));
        *gate.0.lock() = true;
        gate.1.notify_all();
        for _ in 0..4 {
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    #[test]
    fn helper_that_panics_frees_its_place() {
        let helpers = Helpers::new(4);
        let helper = Helper { shared: Arc::clone(&helpers.shared) };
        helpers.shared.state.lock().threads += 1;
        let panics = thread::spawn(move || helper.work(Box::new(|| panic!("on purpose"))));
        assert!(panics.join().is_err());
        assert_eq!(helpers.shared.state.lock().threads, 0);
    }
}
