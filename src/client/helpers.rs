//! Threads that wait for peers, so that a caller need not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Threads that wait for peers, so that somebody else need not. They are started when they are needed, and end
/// when nothing was to do for a while.
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
    /// So many threads at most.
    pub(super) fn new(most: usize) -> Self {
        Self { shared: Arc::default(), most }
    }

    /// Has it done by a helper; says whether there is one.
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

/// One of the threads, counted until it ends, however that is.
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
    fn a_helper_is_used_again_and_there_are_only_so_many() {
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
    fn a_helper_that_panics_leaves_room_for_another() {
        let helpers = Helpers::new(4);
        let helper = Helper { shared: Arc::clone(&helpers.shared) };
        helpers.shared.state.lock().threads += 1;
        let panics = thread::spawn(move || helper.work(Box::new(|| panic!("on purpose"))));
        assert!(panics.join().is_err());
        assert_eq!(helpers.shared.state.lock().threads, 0);
    }
}
