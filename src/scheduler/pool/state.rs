//! The state of a pool: its queued, ready and running jobs, and its threads. Nothing here blocks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Condvar;

use crate::base::cancellation::Cancellation;
use crate::message::nonblocking::{Job, Refused};
use crate::scheduler::client::ClientAddress;
use crate::scheduler::fair_share::{FairShare, Grant};
use crate::scheduler::queue::{Entry, Queue};
use crate::scheduler::ramp::Ramp;

/// The memory of a connection's buffers in bytes: without TLS, and with TLS.
const PLAIN_BUFFERS: u64 = 32 << 10;
const TLS_BUFFERS: u64 = 64 << 10;

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) share: FairShare,
    pub(super) queue: Queue<Job>,
    /// Whether no queued job may start.
    pub(super) is_settled: bool,
    /// Whether the next full queue may be searched for jobs whose clients have left. Set by each tick.
    pub(super) may_drop_abandoned: bool,
    pub(super) last_tick: Option<Instant>,
    /// Jobs that may start and wait for a thread.
    pub(super) ready: VecDeque<(u64, Job)>,
    /// The ready jobs and the jobs that a thread runs.
    pub(super) running: HashMap<u64, Running>,
    pub(super) last_number: u64,
    pub(super) threads: usize,
    /// The idle threads. The last one is woken first: its data are still in the CPU's caches, and the others can reach
    /// the end of their idle time.
    pub(super) idle: Vec<Arc<Condvar>>,
    /// The number of threads that were woken or started for a job and have not taken one yet.
    pub(super) waking: usize,
    pub(super) ramp: Ramp,
    pub(super) watch: Watch,
    pub(super) refused: [u64; Refused::ALL.len()],
}

/// Whether a thread checks once in each [`QUICK`](crate::scheduler::ramp::QUICK) for ready jobs that no thread has
/// taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    Off,
    /// The next thread that wakes becomes the watcher.
    Wanted,
    On,
}

pub(super) struct Running {
    pub(super) grant: Grant,
    pub(super) cancellation: Cancellation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Refreshes are refused.
    Stopping,
    /// All new jobs are refused.
    Closed,
}

impl State {
    /// Starts the job, or returns the entry if it may not start.
    pub(super) fn start(&mut self, entry: Entry<Job>, now: Instant) -> Option<Entry<Job>> {
        match self.share.start(&entry.claim, now) {
            Some(grant) => self.make_ready(entry, grant),
            None => return Some(entry),
        }
        None
    }

    pub(super) fn make_ready(&mut self, entry: Entry<Job>, grant: Grant) {
        self.last_number += 1;
        let cancellation = entry.job.cancellation.clone();
        self.running.insert(self.last_number, Running { grant, cancellation });
        self.ready.push_back((self.last_number, entry.job));
    }

    /// Returns the number of threads that can be woken or started.
    pub(super) fn available_threads(&self) -> usize {
        self.idle.len() + self.share.max().saturating_sub(self.threads)
    }

    /// Wakes as many threads as possible, up to `count`. Returns how many must be started.
    pub(super) fn wake(&mut self, count: usize) -> usize {
        for woken in 0..count {
            let Some(wakeup) = self.idle.pop() else {
                let to_start = (count - woken).min(self.available_threads());
                self.waking += to_start;
                self.threads += to_start;
                return to_start;
            };
            self.waking += 1;
            wakeup.notify_one();
        }
        0
    }

    /// Removes this thread from the idle ones. Returns `false` if it was woken in between.
    pub(super) fn remove_idle(&mut self, wakeup: &Arc<Condvar>) -> bool {
        let at = self.idle.iter().position(|idle| Arc::ptr_eq(idle, wakeup));
        at.map(|at| self.idle.remove(at)).is_some()
    }

    /// Returns the memory of this job's connection to its origin in bytes.
    pub(super) fn buffers_of(&self, number: u64) -> u64 {
        self.running.get(&number).map_or(0, |running| match running.grant.fetches_from() {
            Some(origin) if origin.is_https() => TLS_BUFFERS,
            Some(_) => PLAIN_BUFFERS,
            None => 0,
        })
    }

    /// Returns the client of this job; `None` for a peer of the pool and for the cache itself.
    pub(super) fn client_of(&self, number: u64) -> Option<ClientAddress> {
        self.running.get(&number)?.grant.client()
    }

    /// Makes queued jobs ready that may start. Returns how many threads must be started for them. The calling thread
    /// takes `own` of the ready jobs itself.
    pub(super) fn schedule(&mut self, now: Instant, own: usize) -> usize {
        if self.phase == Phase::Closed {
            return 0;
        }
        while !self.is_settled {
            match self.queue.next(&mut self.share, now) {
                Some((entry, grant)) => self.make_ready(entry, grant),
                None => self.is_settled = true,
            }
        }
        let served = self.waking - usize::from(self.watch == Watch::Wanted);
        let unserved = self.ready.len().saturating_sub(own + served);
        if unserved == 0 {
            return 0;
        }
        // Watching needs two threads: the watcher, and one for the jobs.
        let may_watch = self.watch != Watch::Off || self.available_threads() > 1;
        let woken =
            if may_watch { unserved.min(self.ramp.remaining(now).saturating_sub(served)) } else { unserved };
        let mut to_start = self.wake(woken);
        if woken < unserved && self.watch == Watch::Off && self.available_threads() > 0 {
            self.watch = Watch::Wanted;
            to_start += self.wake(1);
        }
        to_start
    }
}
