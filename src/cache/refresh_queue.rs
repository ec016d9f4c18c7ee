//! The queue of background refreshes, and the threads that run it.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use log::warn;
use parking_lot::Mutex;

use super::incoming::Incoming;
use super::key_table::KeyTable;
use crate::message::nonblocking::{Job, RunMode, Spawn};
use crate::store::Key;

/// Which threads refresh stale responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// Threads of the cache, at most eight. Each ends after its refresh. A [`Peer`](crate::Peer) uses its workers
    /// instead.
    #[default]
    Thread,
    /// The thread that calls [`maintain`](super::HttpCache::maintain). The cache starts no thread.
    CallerRuns,
}

/// How many refreshes may wait or run. Further refreshes are dropped; the next request for the key queues them again.
const CAPACITY: usize = 256;

/// How many threads a cache without workers may have at a time.
const MAX_THREADS: usize = 8;

/// The first pause after a failed refresh.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after failed refreshes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many keys with a failed refresh are remembered.
const MAX_PAUSES: usize = 1024;

/// The refreshes that wait or run.
pub(super) struct Refreshes {
    threads: Option<Arc<dyn Spawn>>,
    state: Mutex<State>,
}

struct State {
    /// The refreshes that wait for `maintain`, in a cache without threads.
    waiting: VecDeque<Incoming>,
    /// The keys whose refresh waits or runs.
    keys: HashSet<Key>,
    /// The keys with a failed refresh: the end and the length of the pause.
    paused: KeyTable<(SystemTime, Duration)>,
    is_closed: bool,
}

impl Refreshes {
    /// Uses the given workers, or the cache's own threads, unless the caller runs refreshes.
    pub(super) fn new(background: Background, pool: Option<Arc<dyn Spawn>>) -> Self {
        let own = || -> Option<Arc<dyn Spawn>> {
            (background == Background::Thread).then(|| Arc::new(Threads::default()) as Arc<dyn Spawn>)
        };
        let state = State {
            waiting: VecDeque::new(),
            keys: HashSet::new(),
            paused: KeyTable::new(MAX_PAUSES),
            is_closed: false,
        };
        let threads = if background == Background::CallerRuns { None } else { pool.or_else(own) };
        Self { threads, state: Mutex::new(state) }
    }

    /// Gives a job to the threads. Returns the job if every thread is busy.
    pub(super) fn spawn(&self, job: Job) -> Result<(), Job> {
        match &self.threads {
            Some(threads) => threads.spawn(job),
            None => Err(job),
        }
    }

    /// Claims a key for a refresh, unless a refresh of the key waits, runs or failed recently, or the queue is full.
    /// Returns whether the key was claimed.
    pub(super) fn claim(&self, key: &Key, now: SystemTime) -> bool {
        let mut state = self.state.lock();
        // If the clock was set back, more than a whole pause would be left: the pause then does not count.
        let is_paused = state.paused.peek(key.as_str()).is_some_and(|(until, pause)| {
            until.duration_since(now).is_ok_and(|left| !left.is_zero() && left <= *pause)
        });
        state.keys.len() < CAPACITY && !is_paused && state.keys.insert(key.clone())
    }

    /// Whether threads run the refreshes, and not the caller of `maintain`.
    pub(super) fn has_threads(&self) -> bool {
        self.threads.is_some()
    }

    /// Queues a refresh for the caller of `maintain`.
    pub(super) fn push(&self, refresh: Incoming) {
        self.state.lock().waiting.push_back(refresh);
    }

    /// Takes the next refresh from the queue.
    pub(super) fn next(&self) -> Option<Incoming> {
        self.state.lock().waiting.pop_front()
    }

    /// Releases a key whose refresh has ended.
    pub(super) fn release(&self, key: &Key) {
        let unused = self.state.lock().keys.take(key);
        drop(unused);
    }

    /// Notes whether a refresh failed.
    pub(super) fn note_result(&self, key: &Key, has_failed: bool, now: SystemTime) {
        let mut state = self.state.lock();
        let before = state.paused.remove(key.as_str());
        if has_failed {
            let pause = before.map_or(FIRST_PAUSE, |(_, pause)| (2 * pause).min(LONGEST_PAUSE));
            state.paused.put(key.as_str(), (now + pause, pause));
        }
    }

    /// Gives up the refreshes that wait.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }
}

/// The threads of a cache without workers: one for each job, up to [`MAX_THREADS`].
#[derive(Default)]
struct Threads {
    running: Arc<AtomicUsize>,
}

/// Counts one running thread until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Spawn for Threads {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        let more = |running| (running < MAX_THREADS).then_some(running + 1);
        if self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(job);
        }
        let running = Running(Arc::clone(&self.running));
        let work = move || {
            let _running = running;
            job.take(RunMode::Worker);
        };
        // If no thread starts, the job is dropped, and a request that waits for it looks up again.
        if let Err(error) = thread::Builder::new().name("fetch".to_owned()).spawn(work) {
            warn!("cannot start a thread for a fetch: {error}");
        }
        Ok(())
    }
}

impl fmt::Debug for Refreshes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshes").field("has_threads", &self.threads.is_some()).finish_non_exhaustive()
    }
}
