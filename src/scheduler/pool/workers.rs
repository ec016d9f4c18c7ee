//! The threads of a pool: they take ready jobs, wake each other, and end when idle.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::options::PoolOptions;
use super::state::{Phase, State, Watch};
use crate::base::cancellation::Cancellation;
use crate::base::charged;
use crate::base::memory_limit::{Hold, Ledger, MemoryUse};
use crate::message::nonblocking::{Job, Refused, RunMode};
use crate::scheduler::client::ClientAddress;
use crate::scheduler::ramp::QUICK;

/// How often a fetch retries to reserve the memory of its buffers, and the delay between two attempts.
const MEMORY_RETRIES: u32 = 20;
const MEMORY_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The number of rounds without ready jobs after which a thread stops watching.
const QUIET_ROUNDS: u32 = 16;

/// The shared part of all handles of a pool, and of its threads.
pub(super) struct Inner {
    pub(super) options: PoolOptions,
    pub(super) ledger: Arc<Ledger>,
    pub(super) state: Mutex<State>,
    /// Notified when a job or a thread has ended.
    pub(super) ended: Condvar,
}

type Guard<'a> = MutexGuard<'a, State>;

impl Inner {
    pub(super) fn start_threads(inner: &Arc<Self>, count: usize) {
        for _ in 0..count {
            let own = Arc::clone(inner);
            let thread =
                thread::Builder::new().name(inner.options.name.to_owned()).stack_size(inner.options.stack);
            let Err(error) = thread.spawn(move || Self::work(&own)) else { continue };
            log::warn!("cannot start a thread: {error}");
            let mut state = inner.state.lock();
            state.waking -= 1;
            state.threads -= 1;
            if state.watch == Watch::Wanted {
                state.watch = Watch::Off;
            }
            if state.threads > 0 {
                // Another thread takes the job when it becomes free.
                continue;
            }
            let refused_fetches = std::mem::take(&mut state.ready);
            for (number, _) in &refused_fetches {
                inner.finish(&mut state, *number);
            }
            state.refused[Refused::NoMemory as usize] += refused_fetches.len() as u64;
            drop(state);
            refused_fetches.into_iter().for_each(|(_, job)| refuse(job, Refused::NoMemory));
        }
    }

    /// Runs the loop of a thread.
    fn work(inner: &Arc<Self>) {
        let wakeup = Arc::new(Condvar::new());
        let mut state = inner.state.lock();
        state.waking -= 1;
        loop {
            if state.watch == Watch::Wanted {
                state = Self::watch(inner, state, &wakeup);
            }
            while let Some((number, job)) = state.ready.pop_front() {
                state.ramp.job_started(number, Instant::now());
                let (buffers, client) = (state.buffers_of(number), state.client_of(number));
                drop(state);
                let charged = charged::charge(client.map(ClientAddress::address));
                inner.run(job, buffers);
                drop(charged);
                state = inner.state.lock();
                let now = Instant::now();
                state.ramp.job_ended(number, now);
                inner.finish(&mut state, number);
                state = Self::schedule_and_start(inner, state, now, 1);
            }
            if state.phase == Phase::Closed {
                break;
            }
            state.idle.push(Arc::clone(&wakeup));
            let is_over = wakeup.wait_for(&mut state, inner.options.idle).timed_out();
            if is_over && state.remove_idle(&wakeup) {
                if state.threads > inner.options.min {
                    break;
                }
            } else if state.phase != Phase::Closed {
                state.waking -= 1;
            }
        }
        state.threads -= 1;
        drop(state);
        inner.ended.notify_all();
    }

    /// Wakes threads for jobs that no thread has taken for [`QUICK`], until there have been none for some rounds.
    fn watch<'a>(inner: &'a Arc<Self>, mut state: Guard<'a>, wakeup: &Condvar) -> Guard<'a> {
        state.watch = Watch::On;
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS && state.phase != Phase::Closed {
            wakeup.wait_for(&mut state, QUICK);
            if state.ready.is_empty() {
                quiet += 1;
                continue;
            }
            quiet = 0;
            state.ramp.adjust();
            state = Self::schedule_and_start(inner, state, Instant::now(), 0);
            if state.available_threads() == 0 && state.waking == 0 {
                // No other thread can take the job.
                break;
            }
        }
        state.watch = Watch::Off;
        state
    }

    /// Schedules queued jobs and starts the threads that they need.
    fn schedule_and_start<'a>(
        inner: &'a Arc<Self>,
        mut state: Guard<'a>,
        now: Instant,
        own: usize,
    ) -> Guard<'a> {
        let to_start = state.schedule(now, own);
        if to_start > 0 {
            drop(state);
            Self::start_threads(inner, to_start);
            state = inner.state.lock();
        }
        state
    }

    /// Runs a job after reserving its buffers. A panic of the job does not end the thread.
    fn run(&self, job: Job, buffers: u64) {
        if job.cancellation.is_cancelled() {
            let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(job)));
            return drop(dropped);
        }
        let Some(held) = self.memory_for(buffers, &job.cancellation) else {
            self.state.lock().refused[Refused::NoMemory as usize] += 1;
            return refuse(job, Refused::NoMemory);
        };
        if panic::catch_unwind(AssertUnwindSafe(|| job.take(RunMode::Worker))).is_err() {
            log::error!("a job panicked");
        }
        drop(held);
    }

    /// Reserves the memory of a fetch's buffers. Without free memory, waits a moment, holding no lock, for slow clients
    /// to be disconnected.
    fn memory_for(&self, buffers: u64, cancellation: &Cancellation) -> Option<Hold> {
        for _ in 0..MEMORY_RETRIES {
            let held = self.ledger.reserve(MemoryUse::Fetches, buffers);
            if held.is_some() || cancellation.is_cancelled() {
                return held;
            }
            thread::sleep(MEMORY_RETRY_DELAY);
        }
        self.ledger.reserve(MemoryUse::Fetches, buffers)
    }

    /// Removes a job from the counts.
    pub(super) fn finish(&self, state: &mut State, number: u64) {
        if let Some(running) = state.running.remove(&number) {
            state.share.finish(&running.grant);
            state.is_settled = false;
        }
        if state.running.is_empty() {
            self.ended.notify_all();
        }
    }
}

/// Lets a job answer without running it.
pub(super) fn refuse(job: Job, why: Refused) {
    if panic::catch_unwind(AssertUnwindSafe(|| job.take(RunMode::Refused(why)))).is_err() {
        log::error!("a job panicked when it was refused");
    }
}
