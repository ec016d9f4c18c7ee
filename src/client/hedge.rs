//! A second peer is asked when the first is slow to answer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::asked::Asked;
use super::candidates::{Candidate, Candidates};
use super::choices::SlowPeers;
use super::sending::{Answer, Inner};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::Endpoint;

/// No peer is called slow before this.
const FLOOR: Duration = Duration::from_millis(2);

/// One request in so many may be sent twice.
const ONE_IN: u64 = 20;

/// So many may be sent twice before there were that many requests.
const AT_FIRST: u64 = 2;

impl Inner {
    /// As [`ask`](Self::ask); where the head does not come in time, the next of the candidates is asked as well.
    /// The loser is left to a helper, which drops what comes.
    pub(super) fn ask_hedged(
        self: &Arc<Self>,
        first: &Candidate,
        asked: &Arc<Asked>,
        endpoint: Endpoint,
        limit: Option<Duration>,
        candidates: &mut Candidates<'_>,
    ) -> Result<Answer> {
        let SlowPeers::Hedge { quantile } = self.slow_peers else {
            return self.ask(first, asked, endpoint, limit);
        };
        let Some(patience) = first.peer.latency.quantile(quantile) else {
            return self.ask(first, asked, endpoint, limit);
        };
        let (sender, receiver) = mpsc::channel();
        let send = |candidate: Candidate, is_second: bool| {
            let (inner, asked) = (Arc::clone(self), Arc::clone(asked));
            let sender = sender.clone();
            self.helpers.run(Box::new(move || {
                let answer = inner.ask(&candidate, &asked, endpoint, limit);
                // Nobody waits for the loser: it is dropped here.
                let _ = sender.send((answer, is_second));
            }))
        };
        if !send(first.clone(), false) {
            return self.ask(first, asked, endpoint, limit);
        }
        let ended = || Error::new(ErrorKind::Io, "asking the peer was given up").with_peer(&first.peer.url);
        match receiver.recv_timeout(patience.max(FLOOR)) {
            Ok((answer, _)) => return answer,
            Err(RecvTimeoutError::Disconnected) => return Err(ended()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let may_hedge =
            self.counters.hedges.read() * ONE_IN < self.counters.requests.read() + AT_FIRST * ONE_IN;
        let has_second = may_hedge && self.ask_second(candidates, asked, |second| send(second, true));
        // So that the end of all who send is seen.
        drop(sender);
        match receiver.recv() {
            Ok((Ok(answer), is_second)) => {
                if is_second {
                    self.counters.hedges_won.count();
                }
                Ok(answer)
            }
            // The other may still answer.
            Ok((Err(error), _)) if has_second => match receiver.recv() {
                Ok((answer, is_second)) => {
                    if answer.is_ok() && is_second {
                        self.counters.hedges_won.count();
                    }
                    answer.map_err(|_| error)
                }
                Err(_) => Err(error),
            },
            Ok((Err(error), _)) => Err(error),
            Err(_) => Err(ended()),
        }
    }

    /// Sends to the next of the candidates, where there is one, and says whether it was sent. One that it could not
    /// be sent to is left for whoever goes on after a failure.
    fn ask_second(
        self: &Arc<Self>,
        candidates: &mut Candidates<'_>,
        asked: &Asked,
        send: impl FnOnce(Candidate) -> bool,
    ) -> bool {
        let Some(second) = self.next_candidate(candidates, asked) else { return false };
        let is_sent = send(second.clone());
        if is_sent {
            self.counters.hedges.count();
        } else {
            candidates.give_back(second);
        }
        is_sent
    }
}

/// Threads that wait for peers, so that somebody else need not. They are started when they are needed, and end
/// when nothing was to do for a while.
pub(super) struct Helpers {
    shared: Arc<Shared>,
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

pub(super) const MOST_HELPERS: usize = 64;

const IDLE: Duration = Duration::from_secs(10);

impl Helpers {
    pub(super) fn new() -> Self {
        Self { shared: Arc::default() }
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
        if state.threads == MOST_HELPERS {
            return false;
        }
        state.threads += 1;
        drop(state);
        let helper = Helper { shared: Arc::clone(&self.shared) };
        let name = "forwardcache-hedge".to_owned();
        thread::Builder::new().name(name).spawn(move || helper.work(job)).is_ok()
    }
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("Helpers").field("threads", &state.threads).field("idle", &state.idle).finish()
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
    use super::*;

    #[test]
    fn a_helper_is_used_again_and_there_are_only_so_many() {
        let helpers = Helpers::new();
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
        assert!((0..MOST_HELPERS).all(|_| helpers.run(wait())));
        assert!(!helpers.run(wait()));
        *gate.0.lock() = true;
        gate.1.notify_all();
        for _ in 0..MOST_HELPERS {
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    #[test]
    fn a_helper_that_panics_leaves_room_for_another() {
        let helpers = Helpers::new();
        let helper = Helper { shared: Arc::clone(&helpers.shared) };
        helpers.shared.state.lock().threads += 1;
        let panics = thread::spawn(move || helper.work(Box::new(|| panic!("on purpose"))));
        assert!(panics.join().is_err());
        assert_eq!(helpers.shared.state.lock().threads, 0);
    }
}
