//! Threads that start on demand and end when idle.

use std::collections::{HashMap, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::client::Client;
use super::fair_share::{Claim, FairShare, Grant, Purpose};
use super::queue::{Entry, Queue};
use super::ramp::{QUICK, Ramp};
use crate::base::cancellation::Cancellation;
use crate::base::ledger::{Hold, Ledger, Use};
use crate::message::nonblocking::{Job, Refused, Turn};
use crate::message::url::CanonicalUrl;

/// The memory of a connection's buffers in bytes: without TLS, and with TLS.
const PLAIN_BUFFERS: u64 = 32 << 10;
const TLS_BUFFERS: u64 = 64 << 10;

/// The least time between two ticks, however often [`Pool::tick`] is called.
const TICK_INTERVAL: Duration = Duration::from_millis(50);

/// How often a fetch retries to reserve the memory of its buffers, and the delay between two attempts.
const MEMORY_RETRIES: u32 = 20;
const MEMORY_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The number of rounds without ready jobs after which a thread stops watching.
const QUIET_ROUNDS: u32 = 16;

/// The options of a pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolOptions {
    /// The name of the threads.
    pub(crate) name: &'static str,
    /// The greatest number of threads; at least one.
    pub(crate) max: usize,
    /// The number of idle threads that do not end.
    pub(crate) min: usize,
    /// The greatest number of queued jobs; at most half of them for one origin, a quarter for one origin and client.
    pub(crate) queue: usize,
    /// How long a job may wait in the queue; `None` means without limit.
    pub(crate) longest_wait: Option<Duration>,
    /// How long a thread stays idle before it ends.
    pub(crate) idle: Duration,
    /// The size of a thread's stack in bytes.
    pub(crate) stack: usize,
}

impl Default for PoolOptions {
    /// Returns the options of an embedded peer.
    fn default() -> Self {
        Self {
            name: "worker",
            max: 64,
            min: 0,
            queue: 1024,
            longest_wait: Some(Duration::from_secs(10)),
            idle: Duration::from_secs(60),
            stack: 1 << 20,
        }
    }
}

/// A handle of a pool. All clones are the same pool.
#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    options: PoolOptions,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    /// Notified when a job or a thread has ended.
    ended: Condvar,
}

type Guard<'a> = MutexGuard<'a, State>;

struct State {
    phase: Phase,
    share: FairShare,
    queue: Queue<Job>,
    /// Whether no queued job may start.
    is_settled: bool,
    /// Whether the next full queue may be searched for jobs whose clients have left. Set by each tick.
    may_drop_abandoned: bool,
    last_tick: Option<Instant>,
    /// Jobs that may start and wait for a thread.
    ready: VecDeque<(u64, Job)>,
    /// The ready jobs and the jobs that a thread runs.
    running: HashMap<u64, Running>,
    last_number: u64,
    threads: usize,
    /// The idle threads. The last one is woken first: its data are still in the CPU's caches, and the others can reach
    /// the end of their idle time.
    idle: Vec<Arc<Condvar>>,
    /// The number of threads that were woken or started for a job and have not taken one yet.
    waking: usize,
    ramp: Ramp,
    watch: Watch,
    refused: [u64; Refused::ALL.len()],
}

/// Whether a thread checks once in each [`QUICK`] for ready jobs that no thread has taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Off,
    /// The next thread that wakes becomes the watcher.
    Wanted,
    On,
}

struct Running {
    grant: Grant,
    cancellation: Cancellation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Refreshes are refused.
    Stopping,
    /// All new jobs are refused.
    Closed,
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
    pub(super) fn submit(&self, job: Job, purpose: Purpose, client: Option<Client>) {
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
        let to_start = self.inner.schedule(&mut state, now, 0);
        drop(state);
        self.start_threads(to_start);
        drop(abandoned);
        if let Some((entry, why)) = refused {
            refuse(entry.job, why);
        }
    }

    /// Refuses jobs that have waited for too long, and counts jobs that have run for long as streams. The server must call
    /// this regularly. Never blocks.
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
        let to_start = self.inner.schedule(&mut state, now, 0);
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
        let to_start = self.inner.schedule(&mut state, Instant::now(), 0);
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

impl State {
    /// Starts the job, or returns the entry if it may not start.
    fn start(&mut self, entry: Entry<Job>, now: Instant) -> Option<Entry<Job>> {
        match self.share.start(&entry.claim, now) {
            Some(grant) => self.make_ready(entry, grant),
            None => return Some(entry),
        }
        None
    }

    fn make_ready(&mut self, entry: Entry<Job>, grant: Grant) {
        self.last_number += 1;
        let cancellation = entry.job.cancellation.clone();
        self.running.insert(self.last_number, Running { grant, cancellation });
        self.ready.push_back((self.last_number, entry.job));
    }

    /// Returns the number of threads that can be woken or started.
    fn available_threads(&self) -> usize {
        self.idle.len() + self.share.max().saturating_sub(self.threads)
    }

    /// Wakes as many threads as possible, up to `count`. Returns how many must be started.
    fn wake(&mut self, count: usize) -> usize {
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
    fn remove_idle(&mut self, wakeup: &Arc<Condvar>) -> bool {
        let at = self.idle.iter().position(|idle| Arc::ptr_eq(idle, wakeup));
        at.map(|at| self.idle.remove(at)).is_some()
    }

    /// Returns the memory of this job's connection to its origin in bytes.
    fn buffers_of(&self, number: u64) -> u64 {
        self.running.get(&number).map_or(0, |running| match running.grant.fetches_from() {
            Some(origin) if origin.is_https() => TLS_BUFFERS,
            Some(_) => PLAIN_BUFFERS,
            None => 0,
        })
    }
}

impl Inner {
    /// Makes queued jobs ready that may start. Returns how many threads must be started for them. The calling thread takes
    /// `own` of the ready jobs itself.
    fn schedule(&self, state: &mut State, now: Instant, own: usize) -> usize {
        if state.phase == Phase::Closed {
            return 0;
        }
        while !state.is_settled {
            match state.queue.next(&mut state.share, now) {
                Some((entry, grant)) => state.make_ready(entry, grant),
                None => state.is_settled = true,
            }
        }
        let served = state.waking - usize::from(state.watch == Watch::Wanted);
        let unserved = state.ready.len().saturating_sub(own + served);
        if unserved == 0 {
            return 0;
        }
        // Watching needs two threads: the watcher, and one for the jobs.
        let may_watch = state.watch != Watch::Off || state.available_threads() > 1;
        let woken =
            if may_watch { unserved.min(state.ramp.remaining(now).saturating_sub(served)) } else { unserved };
        let mut to_start = state.wake(woken);
        if woken < unserved && state.watch == Watch::Off && state.available_threads() > 0 {
            state.watch = Watch::Wanted;
            to_start += state.wake(1);
        }
        to_start
    }

    fn start_threads(inner: &Arc<Self>, count: usize) {
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
            let unstarted = std::mem::take(&mut state.ready);
            for (number, _) in &unstarted {
                inner.finish(&mut state, *number);
            }
            state.refused[Refused::NoMemory as usize] += unstarted.len() as u64;
            drop(state);
            unstarted.into_iter().for_each(|(_, job)| refuse(job, Refused::NoMemory));
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
                let buffers = state.buffers_of(number);
                drop(state);
                inner.run(job, buffers);
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
        let to_start = inner.schedule(&mut state, now, own);
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
        if panic::catch_unwind(AssertUnwindSafe(|| job.take(Turn::Pool))).is_err() {
            log::error!("a job panicked");
        }
        drop(held);
    }

    /// Reserves the memory of a fetch's buffers. Without free memory, waits a moment, holding no lock, for slow clients to be
    /// disconnected.
    fn memory_for(&self, buffers: u64, cancellation: &Cancellation) -> Option<Hold> {
        for _ in 0..MEMORY_RETRIES {
            let held = self.ledger.reserve(Use::Fetches, buffers);
            if held.is_some() || cancellation.is_cancelled() {
                return held;
            }
            thread::sleep(MEMORY_RETRY_DELAY);
        }
        self.ledger.reserve(Use::Fetches, buffers)
    }

    /// Removes a job from the counts.
    fn finish(&self, state: &mut State, number: u64) {
        if let Some(running) = state.running.remove(&number) {
            state.share.finish(&running.grant);
            state.is_settled = false;
        }
        if state.running.is_empty() {
            self.ended.notify_all();
        }
    }
}

/// Returns how many jobs may start at once before the pool knows whether they are quick.
fn initial_ramp() -> usize {
    thread::available_parallelism().map_or(4, |cores| (2 * cores.get()).max(4))
}

/// Lets a job answer without running it.
fn refuse(job: Job, why: Refused) {
    if panic::catch_unwind(AssertUnwindSafe(|| job.take(Turn::Refused(why)))).is_err() {
        log::error!("a job panicked when it was refused");
    }
}
