//! Refreshes in the background (RFC 5861 section 3).
//!
//! A stale response that may be served during its refresh is served immediately, and its refresh is queued. The threads of
//! the cache or the caller of [`maintain`](super::HttpCache::maintain) run the queue. After a failed refresh, the same key is
//! not refreshed for a pause, which doubles with each failure.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http::Method;
use http::header::{CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, PRAGMA, RANGE};
use log::{debug, warn};
use lru::LruCache;
use parking_lot::Mutex;

use super::engine::Inner;
use super::fetching::Exchange;
use super::incoming::Incoming;
use super::step::Flight;
use crate::base::cancellation::Cancellation;
use crate::base::error::redacted;
use crate::cache::singleflight::Role;
use crate::message::body::{Body, Wake};
use crate::message::nonblocking::{Job, Lane, Spawn, Turn};
use crate::message::stats::Outcome;
use crate::store::Key;

/// Which threads refresh stale responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// Threads of the cache, at most eight. Each ends after its refresh. A [`Peer`](crate::Peer) uses its workers instead.
    #[default]
    Thread,
    /// The thread that calls [`maintain`](super::HttpCache::maintain). The cache starts no thread.
    CallerRuns,
}

/// How many refreshes may wait or run. Further refreshes are dropped; the next request for the key queues them again.
const CAPACITY: usize = 256;

/// How many threads a cache without workers may have at a time.
const MOST_THREADS: usize = 8;

/// The first pause after a failed refresh.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after failed refreshes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many keys with a failed refresh are remembered.
const MOST_PAUSES: usize = 1024;

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
    paused: LruCache<Key, (SystemTime, Duration)>,
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
            paused: LruCache::unbounded(),
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

    /// Queues a refresh, unless a refresh of the key waits, runs or failed recently, or the queue is full.
    pub(super) fn offer(&self, incoming: &Incoming, cache: &Arc<Inner>) {
        let now = cache.clock.now();
        let mut state = self.state.lock();
        // If the clock was set back, more than a whole pause would be left: the pause then does not count.
        let is_paused = state.paused.peek(&incoming.key).is_some_and(|(until, pause)| {
            until.duration_since(now).is_ok_and(|left| !left.is_zero() && left <= *pause)
        });
        if state.keys.len() >= CAPACITY || is_paused || !state.keys.insert(incoming.key.clone()) {
            return;
        }
        let incoming = of_the_whole(incoming, cache.rules.early_refresh);
        if self.threads.is_none() {
            return state.waiting.push_back(incoming);
        }
        drop(state);
        let promise = Done { cache: Arc::downgrade(cache), key: incoming.key.clone() };
        let (lane, cancellation) = (Lane::Refresh(incoming.target.origin()), Cancellation::new());
        let (weak, token) = (Arc::downgrade(cache), cancellation.clone());
        let job = Job::new(lane, cancellation, move |turn| {
            if turn == Turn::Pool
                && let Some(cache) = weak.upgrade()
                && !cache.refreshes.is_closed()
            {
                cache.refresh(incoming, &token);
            }
            drop(promise);
        });
        // If no thread takes the job, the next request for the key queues the refresh again.
        drop(self.spawn(job));
    }

    fn next(&self) -> Option<Incoming> {
        self.state.lock().waiting.pop_front()
    }

    fn done(&self, key: &Key) {
        let unused = self.state.lock().keys.take(key);
        drop(unused);
    }

    /// Notes whether a refresh failed.
    fn note(&self, key: &Key, has_failed: bool, now: SystemTime) {
        let mut state = self.state.lock();
        let before = state.paused.pop(key);
        if has_failed {
            let pause = before.map_or(FIRST_PAUSE, |(_, pause)| (2 * pause).min(LONGEST_PAUSE));
            state.paused.put(key.clone(), (now + pause, pause));
            if state.paused.len() > MOST_PAUSES {
                state.paused.pop_lru();
            }
        }
    }

    /// Gives up the refreshes that wait.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }
}

/// Turns a client's request into the refresh: a GET for the whole, without the client's own directives and conditions.
fn of_the_whole(incoming: &Incoming, early_refresh: u8) -> Incoming {
    let mut headers = incoming.headers.clone();
    for name in [CACHE_CONTROL, PRAGMA, RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        headers.remove(name);
    }
    Incoming {
        method: Method::GET,
        headers,
        directives: Default::default(),
        is_refresh: true,
        early_refresh,
        // The client already has its response.
        deadline: None,
        on_interim: None,
        ..incoming.clone()
    }
}

impl Inner {
    /// Runs waiting refreshes until none waits or the budget is spent; returns their number.
    pub(super) fn maintain(self: &Arc<Self>, budget: Duration) -> usize {
        // A budget beyond the range of the clock has no end.
        let deadline = Instant::now().checked_add(budget);
        let mut refreshed = 0;
        while deadline.is_none_or(|deadline| Instant::now() < deadline)
            && let Some(incoming) = self.refreshes.next()
        {
            let promise = Done { cache: Arc::downgrade(self), key: incoming.key.clone() };
            self.refresh(incoming, &Cancellation::new());
            drop(promise);
            refreshed += 1;
        }
        refreshed
    }

    fn refresh(self: &Arc<Self>, incoming: Incoming, token: &Cancellation) {
        let incoming = Arc::new(incoming);
        let variants = self.store.variants(&incoming.key);
        let variant =
            variants.first().map(|stored| stored.variant().by_same_fields(&incoming.headers, &self.digest));
        let fetch = self.begin(&incoming.key);
        let flight = Flight { key: incoming.key.clone(), variant };
        let wake: Wake = Arc::new(|| ());
        let is_joinable = |sequence| self.store.is_joinable(&*incoming, sequence);
        // A follower has nothing to do: another request fetches already.
        if let Role::Lead(leader, waiter) = self.flights.join(flight, fetch.sequence(), is_joinable, &wake) {
            let cancellation = leader.cancellation().clone();
            let flight = cancellation.clone();
            let hook = token.on_cancel(move || flight.cancel());
            let exchange = Exchange { fetch, turn: Turn::Pool, cancellation };
            let read = self
                .fetched(
                    &incoming,
                    &super::lookup::Plan::without_store(crate::message::stats::Forward::Stale),
                    Some(leader),
                    exchange,
                )
                .and_then(|response| {
                    let outcome = Outcome::of(response.headers());
                    let is_failure = response.status().is_server_error()
                        || matches!(outcome, Some(Outcome::StaleOnError(_)));
                    // A body that is being stored is read to its end; any other body is dropped.
                    if let Ok((stream, length)) = response.into_body().into_growing() {
                        io::copy(&mut Body::from_growing(stream, length), &mut io::sink())?;
                    }
                    Ok(is_failure)
                });
            drop((waiter, hook));
            if let Err(error) = &read {
                let url = redacted(incoming.target.as_str());
                debug!("refresh failed: {url} {}", error.message());
            }
            let has_failed = !matches!(read, Ok(false));
            self.refreshes.note(&incoming.key, has_failed, self.clock.now());
        }
    }
}

/// Removes a key from the refreshes when it is dropped, however the refresh ends.
struct Done {
    cache: Weak<Inner>,
    key: Key,
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(cache) = self.cache.upgrade() {
            cache.refreshes.done(&self.key);
        }
    }
}

/// The threads of a cache without workers: one for each job, up to [`MOST_THREADS`].
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
        let more = |running| (running < MOST_THREADS).then_some(running + 1);
        if self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(job);
        }
        let running = Running(Arc::clone(&self.running));
        let work = move || {
            let _running = running;
            job.take(Turn::Pool);
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
