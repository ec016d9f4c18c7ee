//! Answers a request on the thread of a caller that may block.

use std::sync::Arc;
use std::time::Instant;

use http::Response;
use parking_lot::{Condvar, Mutex};

use super::engine::Inner;
use super::incoming::Incoming;
use super::step::MAX_WAITS;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::{Body, Wake};
use crate::message::nonblocking::{Job, Refused, RunMode, Step, Waiting};

impl Inner {
    /// Answers a request on the caller's thread, which may block.
    pub(super) fn answer(self: &Arc<Self>, incoming: &Arc<Incoming>) -> Result<Response<Body>> {
        let parker = Parker::default();
        let mut step = self.step(Arc::clone(incoming), MAX_WAITS, &|| parker.wake());
        loop {
            match step {
                Step::Serve(answer) => return answer,
                Step::Lost => {
                    let error = Error::new(ErrorKind::Io, "the fetch of this URL panicked on another thread");
                    return Err(error.with_url(&incoming.target));
                }
                Step::Wait(waiting) => {
                    parker.park(waiting.until);
                    step = (waiting.again)();
                }
                Step::Fetch(job, waiting) => {
                    self.run(job, &waiting, incoming);
                    step = (waiting.again)();
                }
            }
        }
    }

    /// Runs a job on this thread. If this thread may leave before the job is done, another thread runs it.
    fn run<R>(self: &Arc<Self>, job: Job, waiting: &Waiting<R>, incoming: &Incoming) {
        if !waiting.is_soft {
            return job.take(RunMode::Caller);
        }
        if let Err(job) = self.refreshes.spawn(job) {
            job.take(RunMode::Refused(Refused::QueueFull));
            // The next call of `maintain` fetches it.
            self.offer_refresh(incoming);
        }
    }
}

/// Blocks the thread of a caller until it is woken.
#[derive(Default)]
struct Parker {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Parker {
    fn wake(&self) -> Wake {
        let state = Arc::clone(&self.state);
        Arc::new(move || {
            *state.0.lock() = true;
            state.1.notify_one();
        })
    }

    fn park(&self, until: Option<Instant>) {
        let (is_woken, changed) = &*self.state;
        let mut is_woken = is_woken.lock();
        let is_asleep = |is_woken: &mut bool| !*is_woken;
        match until {
            Some(until) => drop(changed.wait_while_until(&mut is_woken, is_asleep, until)),
            None => changed.wait_while(&mut is_woken, is_asleep),
        }
        *is_woken = false;
    }
}
