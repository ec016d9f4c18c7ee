//! Threads that are started on demand and end when they are idle.

use std::collections::{HashMap, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::client::Client;
use super::fair_share::{Claim, FairShare, Granted, Purpose};
use super::queue::{Entry, Queue};
use super::ramp::{QUICK, Ramp};
use crate::base::cancellation::Cancellation;
use crate::base::ledger::{Hold, Ledger, Use};
use crate::message::nonblocking::{Job, Refused, Turn};
use crate::message::url::CanonicalUrl;

/// What the buffers of a connection to an origin take, in bytes: without TLS, and with it.
const PLAIN_BUFFERS: u64 = 32 << 10;
const TLS_BUFFERS: u64 = 64 << 10;

/// How often what waits and what runs is looked through, however many ask for it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// How often, and in what time, a fetch looks again for the memory of its buffers.
const MEMORY_LOOKS: u32 = 20;
const MEMORY_LOOK: Duration = Duration::from_millis(50);

/// In how many looks nothing may wait before a thread no longer watches.
const QUIET_LOOKS: u32 = 16;

/// How a pool is made.
#[derive(Clone, Debug)]
pub(crate) struct PoolOptions {
    pub(crate) name: &'static str,
    /// How many threads there are at most; at least one.
    pub(crate) max: usize,
    /// How many stay when they are idle.
    pub(crate) min: usize,
    /// How many jobs may wait; half of them for one origin, and a quarter for one origin and one client.
    pub(crate) queue: usize,
    /// How long a job may wait; `None` is without end.
    pub(crate) longest_wait: Option<Duration>,
    /// How long a thread waits for the next job before it ends.
    pub(crate) idle: Duration,
    /// The stack of a thread, in bytes.
    pub(crate) stack: usize,
}

impl Default for PoolOptions {
    /// What an embedded peer has.
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

/// A handle of a pool. All handles are the same pool.
#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    options: PoolOptions,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    /// Something has ended.
    ended: Condvar,
}

type Guard<'a> = MutexGuard<'a, State>;

struct State {
    phase: Phase,
    share: FairShare,
    queue: Queue<Job>,
    /// Whether nothing that waits may start.
    is_settled: bool,
    /// Whether those may be looked for once more that wait and whose clients have left.
    may_look_for_left: bool,
    looked: Option<Instant>,
    /// Those that may start and wait for a thread to come.
    ready: VecDeque<(u64, Job)>,
    /// Those and the ones that are being run.
    running: HashMap<u64, Running>,
    last: u64,
    threads: usize,
    /// The threads that wait to be called. The last one is called first: what it needs is still in the caches of a
    /// processor, and those that are not needed come to the end of their time.
    idle: Vec<Arc<Condvar>>,
    /// Those that were called or started for a job and have not come yet.
    coming: usize,
    ramp: Ramp,
    watch: Watch,
    refused: [u64; Refused::ALL.len()],
}

/// Whether a thread looks in each [`QUICK`] for jobs that no thread has taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Off,
    /// The next thread that comes does so.
    Wanted,
    On,
}

struct Running {
    granted: Granted,
    cancellation: Cancellation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing is refreshed any more.
    Stopping,
    /// Nothing is begun any more.
    Closed,
}

/// What a pool is doing.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) running: usize,
    pub(crate) idle: usize,
    pub(crate) queued: usize,
    /// How long the oldest of those has waited.
    pub(crate) oldest: Duration,
    pub(crate) streams: usize,
    pub(crate) refused: [u64; Refused::ALL.len()],
    /// The origins for which most wait.
    pub(crate) longest: Vec<(CanonicalUrl, usize)>,
}

impl Pool {
    pub(super) fn new(options: PoolOptions, ledger: Arc<Ledger>) -> Self {
        let state = State {
            phase: Phase::Open,
            share: FairShare::new(options.max.max(1)),
            queue: Queue::new(options.queue.max(1)),
            is_settled: true,
            may_look_for_left: true,
            looked: None,
            ready: VecDeque::new(),
            running: HashMap::new(),
            last: 0,
            threads: 0,
            idle: Vec::new(),
            coming: 0,
            ramp: Ramp::new(at_once()),
            watch: Watch::Off,
            refused: Default::default(),
        };
        let inner = Inner { options, ledger, state: Mutex::new(state), ended: Condvar::new() };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.inner.state.lock().phase == Phase::Open
    }

    /// Has a thread run the job when it is its turn, or refuses it on this one. Never waits.
    pub(super) fn submit(&self, job: Job, purpose: Purpose, client: Option<Client>) {
        let now = Instant::now();
        let until = match purpose {
            Purpose::Transfer { .. } => None,
            _ => self.inner.options.longest_wait.and_then(|wait| now.checked_add(wait)),
        };
        let entry = Entry { job, claim: Claim { purpose, client }, since: now, until };
        let mut left = Vec::new();
        let mut state = self.inner.state.lock();
        let is_refresh = matches!(entry.claim.purpose, Purpose::Refresh { .. });
        let refused = if state.phase == Phase::Closed || (state.phase == Phase::Stopping && is_refresh) {
            Some((entry, Refused::ShuttingDown))
        } else {
            // What waits already may not start, unless that is about to be found.
            let waiting = state.start(entry, now).and_then(|entry| state.queue.push(entry).err());
            let waiting = waiting.and_then(|entry| {
                if !std::mem::take(&mut state.may_look_for_left) {
                    return Some(entry);
                }
                // Those whose clients have left make room.
                left = state.queue.take(|entry| entry.job.cancellation.is_cancelled());
                state.queue.push(entry).err()
            });
            waiting.map(|entry| (entry, Refused::QueueFull))
        };
        if let Some((_, why)) = &refused {
            state.refused[*why as usize] += 1;
        }
        let wanted = self.inner.arrange(&mut state, now, 0);
        drop(state);
        self.start_threads(wanted);
        drop(left);
        if let Some((entry, why)) = refused {
            refuse(entry.job, why);
        }
    }

    /// Refuses what has waited for too long, and counts what has run for long as a stream. To be called now and then;
    /// never waits.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.inner.state.lock();
        if state.looked.is_some_and(|looked| now.saturating_duration_since(looked) < BETWEEN_LOOKS) {
            return;
        }
        state.looked = Some(now);
        state.may_look_for_left = true;
        let State { share, running, is_settled, .. } = &mut *state;
        for running in running.values_mut() {
            *is_settled &= !share.move_to_streams_if_long(&mut running.granted, now);
        }
        let late = if state.queue.len() == 0 {
            Vec::new()
        } else {
            state.queue.take(|entry| entry.until.is_some_and(|until| until <= now))
        };
        state.refused[Refused::QueuedTooLong as usize] += late.len() as u64;
        let wanted = self.inner.arrange(&mut state, now, 0);
        drop(state);
        self.start_threads(wanted);
        late.into_iter().for_each(|entry| refuse(entry.job, Refused::QueuedTooLong));
    }

    /// Counts a running job among the streams.
    pub(super) fn is_stream(&self, job: &Cancellation) {
        let mut state = self.inner.state.lock();
        let State { share, running, is_settled, .. } = &mut *state;
        if let Some(running) = running.values_mut().find(|running| running.cancellation.is_same(job)) {
            *is_settled &= !share.move_to_streams(&mut running.granted);
        }
        let wanted = self.inner.arrange(&mut state, Instant::now(), 0);
        drop(state);
        self.start_threads(wanted);
    }

    /// Drops refreshes from now on; everything else goes on.
    pub(super) fn stop(&self) {
        let mut state = self.inner.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Stopping;
        }
        let dropped = state.queue.take(|entry| matches!(entry.claim.purpose, Purpose::Refresh { .. }));
        drop(state);
        dropped.into_iter().for_each(|entry| refuse(entry.job, Refused::ShuttingDown));
    }

    /// Waits until nothing is left to do, or until then.
    pub(super) fn wait_until_idle(&self, until: Instant) {
        let mut state = self.inner.state.lock();
        while state.queue.len() > 0 || !state.running.is_empty() {
            if self.inner.ended.wait_until(&mut state, until).timed_out() {
                return;
            }
        }
    }

    /// Refuses what waits, and cancels what runs.
    pub(super) fn close(&self) {
        let mut state = self.inner.state.lock();
        state.phase = Phase::Closed;
        let mut refused: Vec<Job> = state.queue.take(|_| true).into_iter().map(|entry| entry.job).collect();
        for (number, job) in std::mem::take(&mut state.ready) {
            self.inner.finish(&mut state, number);
            refused.push(job);
        }
        state.refused[Refused::ShuttingDown as usize] += refused.len() as u64;
        let running: Vec<Cancellation> =
            state.running.values().map(|running| running.cancellation.clone()).collect();
        while let Some(seat) = state.idle.pop() {
            seat.notify_one();
        }
        drop(state);
        refused.into_iter().for_each(|job| refuse(job, Refused::ShuttingDown));
        running.iter().for_each(Cancellation::cancel);
    }

    /// Waits until all threads have ended, or until then; says how many have not.
    pub(super) fn wait_for_threads(&self, until: Instant) -> usize {
        let mut state = self.inner.state.lock();
        while state.threads > 0 && !self.inner.ended.wait_until(&mut state, until).timed_out() {}
        state.threads
    }

    /// Whether the oldest job that waits has waited for more than half as long as it may.
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
            longest: state.queue.longest(20),
        }
    }

    fn start_threads(&self, count: usize) {
        Inner::start_threads(&self.inner, count);
    }
}

impl State {
    /// The entry back, where it may not start.
    fn start(&mut self, entry: Entry<Job>, now: Instant) -> Option<Entry<Job>> {
        match self.share.start(&entry.claim, now) {
            Some(granted) => self.ready(entry, granted),
            None => return Some(entry),
        }
        None
    }

    fn ready(&mut self, entry: Entry<Job>, granted: Granted) {
        self.last += 1;
        let cancellation = entry.job.cancellation.clone();
        self.running.insert(self.last, Running { granted, cancellation });
        self.ready.push_back((self.last, entry.job));
    }

    /// How many threads wait to be called, and how many may be started.
    fn spare(&self) -> usize {
        self.idle.len() + self.share.max().saturating_sub(self.threads)
    }

    /// Calls so many threads, as far as there are some; says how many have to be started.
    fn call(&mut self, count: usize) -> usize {
        for called in 0..count {
            let Some(seat) = self.idle.pop() else {
                let wanted = (count - called).min(self.spare());
                self.coming += wanted;
                self.threads += wanted;
                return wanted;
            };
            self.coming += 1;
            seat.notify_one();
        }
        0
    }

    /// Takes this seat off those that are called; says whether it was there, and not called meanwhile.
    fn is_no_longer_idle(&mut self, seat: &Arc<Condvar>) -> bool {
        let at = self.idle.iter().position(|idle| Arc::ptr_eq(idle, seat));
        at.map(|at| self.idle.remove(at)).is_some()
    }

    /// What the connection of this job to its origin takes, in bytes.
    fn buffers_of(&self, number: u64) -> u64 {
        self.running.get(&number).map_or(0, |running| match running.granted.fetches_from() {
            Some(origin) if origin.is_https() => TLS_BUFFERS,
            Some(_) => PLAIN_BUFFERS,
            None => 0,
        })
    }
}

impl Inner {
    /// Makes those ready that may start; says how many threads have to be started for them. The caller takes so many
    /// of them itself.
    fn arrange(&self, state: &mut State, now: Instant, own: usize) -> usize {
        if state.phase == Phase::Closed {
            return 0;
        }
        while !state.is_settled {
            match state.queue.next(&mut state.share, now) {
                Some((entry, granted)) => state.ready(entry, granted),
                None => state.is_settled = true,
            }
        }
        let covered = state.coming - usize::from(state.watch == Watch::Wanted);
        let uncovered = state.ready.len().saturating_sub(own + covered);
        if uncovered == 0 {
            return 0;
        }
        // One thread that watches, and one for the jobs.
        let may_watch = state.watch != Watch::Off || state.spare() > 1;
        let called =
            if may_watch { uncovered.min(state.ramp.free(now).saturating_sub(covered)) } else { uncovered };
        let mut wanted = state.call(called);
        if called < uncovered && state.watch == Watch::Off && state.spare() > 0 {
            state.watch = Watch::Wanted;
            wanted += state.call(1);
        }
        wanted
    }

    fn start_threads(inner: &Arc<Self>, count: usize) {
        for _ in 0..count {
            let own = Arc::clone(inner);
            let thread =
                thread::Builder::new().name(inner.options.name.to_owned()).stack_size(inner.options.stack);
            let Err(error) = thread.spawn(move || Self::work(&own)) else { continue };
            log::warn!("no thread can be started: {error}");
            let mut state = inner.state.lock();
            state.coming -= 1;
            state.threads -= 1;
            if state.watch == Watch::Wanted {
                state.watch = Watch::Off;
            }
            if state.threads > 0 {
                // Whoever gets free takes it.
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

    /// What a thread does.
    fn work(inner: &Arc<Self>) {
        let seat = Arc::new(Condvar::new());
        let mut state = inner.state.lock();
        state.coming -= 1;
        loop {
            if state.watch == Watch::Wanted {
                state = Self::watch(inner, state, &seat);
            }
            while let Some((number, job)) = state.ready.pop_front() {
                state.ramp.began(number, Instant::now());
                let buffers = state.buffers_of(number);
                drop(state);
                inner.run(job, buffers);
                state = inner.state.lock();
                let now = Instant::now();
                state.ramp.ended(number, now);
                inner.finish(&mut state, number);
                state = Self::arranged(inner, state, now, 1);
            }
            if state.phase == Phase::Closed {
                break;
            }
            state.idle.push(Arc::clone(&seat));
            let is_over = seat.wait_for(&mut state, inner.options.idle).timed_out();
            if is_over && state.is_no_longer_idle(&seat) {
                if state.threads > inner.options.min {
                    break;
                }
            } else if state.phase != Phase::Closed {
                state.coming -= 1;
            }
        }
        state.threads -= 1;
        drop(state);
        inner.ended.notify_all();
    }

    /// Has threads begin what no thread has taken for [`QUICK`], until for some time there is nothing of the kind.
    fn watch<'a>(inner: &'a Arc<Self>, mut state: Guard<'a>, seat: &Condvar) -> Guard<'a> {
        state.watch = Watch::On;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS && state.phase != Phase::Closed {
            seat.wait_for(&mut state, QUICK);
            if state.ready.is_empty() {
                quiet += 1;
                continue;
            }
            quiet = 0;
            state.ramp.look();
            state = Self::arranged(inner, state, Instant::now(), 0);
            if state.spare() == 0 && state.coming == 0 {
                // Nobody else can take it.
                break;
            }
        }
        state.watch = Watch::Off;
        state
    }

    /// Arranges what waits, and starts the threads that it needs.
    fn arranged<'a>(inner: &'a Arc<Self>, mut state: Guard<'a>, now: Instant, own: usize) -> Guard<'a> {
        let wanted = inner.arrange(&mut state, now, own);
        if wanted > 0 {
            drop(state);
            Self::start_threads(inner, wanted);
            state = inner.state.lock();
        }
        state
    }

    /// Runs a job that needs so many bytes of buffers, whatever it does.
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

    /// Reserves the buffers of a fetch. Waits a moment for clients that do not read to be cut off, holding nothing.
    fn memory_for(&self, buffers: u64, cancellation: &Cancellation) -> Option<Hold> {
        for _ in 0..MEMORY_LOOKS {
            let held = self.ledger.reserve(Use::Fetches, buffers);
            if held.is_some() || cancellation.is_cancelled() {
                return held;
            }
            thread::sleep(MEMORY_LOOK);
        }
        self.ledger.reserve(Use::Fetches, buffers)
    }

    /// Takes a job off the counts.
    fn finish(&self, state: &mut State, number: u64) {
        if let Some(running) = state.running.remove(&number) {
            state.share.finish(&running.granted);
            state.is_settled = false;
        }
        if state.running.is_empty() {
            self.ended.notify_all();
        }
    }
}

/// How many jobs are begun at once before it is known whether they are quick.
fn at_once() -> usize {
    thread::available_parallelism().map_or(4, |cores| (2 * cores.get()).max(4))
}

/// Has a job answer without being run.
fn refuse(job: Job, why: Refused) {
    if panic::catch_unwind(AssertUnwindSafe(|| job.take(Turn::Refused(why)))).is_err() {
        log::error!("a job panicked when it was refused");
    }
}
