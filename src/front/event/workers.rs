//! The fixed pool of threads that may wait, behind a bounded queue.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use crate::at_once::{Job, Turn};
use crate::front::serving::Lifetime;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// Where jobs are left.
#[derive(Clone)]
pub(super) struct Jobs {
    queue: Sender<Job>,
}

impl Jobs {
    /// The job back, where too many wait.
    pub(super) fn offer(&self, job: Job) -> Option<Job> {
        match self.queue.try_send(job) {
            Ok(()) => None,
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Some(job),
        }
    }
}

/// Starts the workers. They end when all [`Jobs`] are gone and the queue is empty.
pub(super) fn start(workers: usize, queue_length: usize, lifetime: &Arc<Lifetime>) -> io::Result<Jobs> {
    let (queue, jobs) = bounded(queue_length);
    for number in 0..workers {
        let jobs: Receiver<Job> = jobs.clone();
        let (finishing, lifetime) = (lifetime.enter(), Arc::clone(lifetime));
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            for job in jobs {
                // Past the drain deadline nobody is there for what still waits.
                if !lifetime.is_over() {
                    do_job(job);
                }
            }
            drop(finishing);
        })?;
    }
    Ok(Jobs { queue })
}

fn do_job(job: Job) {
    if job.cancellation.is_cancelled() {
        return;
    }
    if panic::catch_unwind(AssertUnwindSafe(|| job.take(Turn::Pool))).is_err() {
        log::error!("a job panicked; its request is answered with 500");
    }
}
