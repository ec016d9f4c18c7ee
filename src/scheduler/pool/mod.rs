//! Threads that start on demand and end when idle.
//!
//! | file | content |
//! |---|---|
//! | `options` | [`PoolOptions`]: the number of threads, the length of the queue, time limits |
//! | `state` | the queued, ready and running jobs, and how many threads they need |
//! | `workers` | the loop of a thread |
//!
//! [`Pool::submit`] is the entry.

mod options;
mod state;
mod workers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

pub(crate) use self::options::PoolOptions;
use self::state::{Phase, State, Watch};
use self::workers::{Inner, refuse};
use super::client::ClientAddress;
use super::fair_share::{Claim, FairShare, Purpose};
use super::queue::{Entry, Queue};
use super::ramp::Ramp;
use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::Ledger;
use crate::message::nonblocking::{Job, Refused};
use crate::message::url::CanonicalUrl;

/// The least time between two ticks, however often [`Pool::tick`] is called.
const TICK_INTERVAL: Duration = Duration::from_millis(50);

/// A handle of a pool. All clones are the same pool.
#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

/// The present load of a pool.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) running: usize,
    pub(crate) idle: usize,
    pub(crate) queued: usize,
    /// How long the oldest queued job has waited.
    pub(crate) oldest: Duration,
    pub(crate) streams: usize,
    pub(crate) refused: [u64; Refused::ALL.len()],
    /// The origins with the most queued fetches.
    pub(crate) longest: Vec<(CanonicalUrl, usize)>,
}

impl Pool {
    pub(super) fn new(options: PoolOptions, ledger: Arc<Ledger>) -> Self {
        let state = State {
            phase: Phase::Open,
            share: FairShare::new(options.max.max(1)),
            queue: Queue::new(options.queue.max(1)),
            is_settled: true,
            may_drop_abandoned: true,
            last_tick: None,
            ready: VecDeque::new(),
            running: HashMap::new(),
            last_number: 0,
            threads: 0,
            idle: Vec::new(),
            waking: 0,
            ramp: Ramp::new(initial_ramp()),
            watch: Watch::Off,
            refused: Default::default(),
        };
        let inner = Inner { options, ledger, state: Mutex::new(state), ended: Condvar::new() };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.inner.state.lock().phase == Phase::Open
    }

    /// Runs the job on a thread when its turn comes, or refuses it on the present thread. Never blocks.
    pub(super) fn submit(&self, job: Job, purpose: Purpose, client: Option<ClientAddress>) {
        let now = Instant::now();
        let until = match purpose {
            Purpose::Transfer { .. } => None,
            _ => self.inner.options.longest_wait.and_then(|wait| now.checked_add(wait)),
        };
        let entry = Entry { job, claim: Claim { purpose, client }, since: now, until };
        let mut abandoned = Vec::new();
        let mut state = self.inner.state.lock();
        let is_refresh = matches!(entry.claim.purpose, Purpose::Refresh { .. });
        let refused = if state.phase == Phase::Closed || (state.phase == Phase::Stopping && is_refresh) {
            Some((entry, Refused::ShuttingDown))
        } else {
            // Queued jobs cannot start, unless the queue is about to be checked.
            let waiting = state.start(entry, now).and_then(|entry| state.queue.push(entry).err());
            let waiting = waiting.and_then(|entry| {
                if !std::mem::take(&mut state.may_drop_abandoned) {
                    return Some(entry);
                }
                // Jobs whose clients have left make room.
                abandoned = state.queue.extract(|entry| entry.job.cancellation.is_cancelled());
                state.queue.push(entry).err()
            });
            waiting.map(|entry| (entry, Refused::QueueFull))
        };
        if let Some((_, why)) = &refused {
            state.refused[*why as usize] += 1;
        }
        let to_start = state.schedule(now, 0);
        drop(state);
        self.start_threads(to_start);
        drop(abandoned);
        if let Some((entry, why)) = refused {
            refuse(entry.job, why);
        }
    }

    /// Refuses jobs that have waited for too long, and counts jobs that have run for long as streams. The server must
    /// call this regularly. Never blocks.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.inner.state.lock();
        if state.last_tick.is_some_and(|last_tick| now.saturating_duration_since(last_tick) < TICK_INTERVAL) {
            return;
        }
        state.last_tick = Some(now);
        state.may_drop_abandoned = true;
        let State { share, running, is_settled, .. } = &mut *state;
        for running in running.values_mut() {
            *is_settled &= !share.move_to_streams_if_long(&mut running.grant, now);
        }
        let late = if state.queue.len() == 0 {
            Vec::new()
        } else {
            state.queue.extract(|entry| entry.until.is_some_and(|until| until <= now))
        };
        state.refused[Refused::QueuedTooLong as usize] += late.len() as u64;
        let to_start = state.schedule(now, 0);
        drop(state);
        self.start_threads(to_start);
        late.into_iter().for_each(|entry| refuse(entry.job, Refused::QueuedTooLong));
    }

    /// Counts a running job as a stream.
    pub(super) fn mark_stream(&self, job: &Cancellation) {
        let mut state = self.inner.state.lock();
        let State { share, running, is_settled, .. } = &mut *state;
        if let Some(running) = running.values_mut().find(|running| running.cancellation.is_same(job)) {
            *is_settled &= !share.move_to_streams(&mut running.grant);
        }
        let to_start = state.schedule(Instant::now(), 0);
        drop(state);
        self.start_threads(to_start);
    }

    /// Drops queued and future refreshes. All other jobs continue.
    pub(super) fn stop(&self) {
        let mut state = self.inner.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Stopping;
        }
        let dropped = state.queue.extract(|entry| matches!(entry.claim.purpose, Purpose::Refresh { .. }));
        drop(state);
        dropped.into_iter().for_each(|entry| refuse(entry.job, Refused::ShuttingDown));
    }

    /// Waits until no job is left, or until the given time.
    pub(super) fn wait_until_idle(&self, until: Instant) {
        let mut state = self.inner.state.lock();
        while state.queue.len() > 0 || !state.running.is_empty() {
            if self.inner.ended.wait_until(&mut state, until).timed_out() {
                return;
            }
        }
    }

    /// Refuses queued jobs, and cancels running ones.
    pub(super) fn close(&self) {
        let mut state = self.inner.state.lock();
        state.phase = Phase::Closed;
        let mut refused: Vec<Job> =
            state.queue.extract(|_| true).into_iter().map(|entry| entry.job).collect();
        for (number, job) in std::mem::take(&mut state.ready) {
            self.inner.finish(&mut state, number);
            refused.push(job);
        }
        state.refused[Refused::ShuttingDown as usize] += refused.len() as u64;
        let running: Vec<Cancellation> =
            state.running.values().map(|running| running.cancellation.clone()).collect();
        while let Some(wakeup) = state.idle.pop() {
            wakeup.notify_one();
        }
        drop(state);
        refused.into_iter().for_each(|job| refuse(job, Refused::ShuttingDown));
        running.iter().for_each(Cancellation::cancel);
    }

    /// Waits until all threads have ended or the given time has passed. Returns the number of remaining threads.
    pub(super) fn wait_for_threads(&self, until: Instant) -> usize {
        let mut state = self.inner.state.lock();
        while state.threads > 0 && !self.inner.ended.wait_until(&mut state, until).timed_out() {}
        state.threads
    }

    /// Returns whether the oldest queued job has waited for more than half of the time limit.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        let Some(longest) = self.inner.options.longest_wait else { return false };
        let oldest = self.inner.state.lock().queue.oldest();
        oldest.is_some_and(|since| now.saturating_duration_since(since) > longest / 2)
    }

    pub(super) fn load(&self, now: Instant) -> Load {
        let state = self.inner.state.lock();
        Load {
            running: state.share.running(),
            idle: state.idle.len(),
            queued: state.queue.len(),
            oldest: state.queue.oldest().map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            streams: state.share.streams(),
            refused: state.refused,
            longest: state.queue.busiest_origins(20),
        }
    }

    fn start_threads(&self, count: usize) {
        Inner::start_threads(&self.inner, count);
    }
}

/// Returns how many jobs may start at once before the pool knows whether they are quick.
fn initial_ramp() -> usize {
    thread::available_parallelism().map_or(4, |cores| (2 * cores.get()).max(4))
}
