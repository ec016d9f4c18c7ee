//! Refreshes behind the client's back (RFC 5861 section 3).
//!
//! A stale response that may be served while it is refreshed is served at once, and its refresh is queued. Threads that a
//! cache was given for its jobs work the queue off, or whoever calls [`maintain`](super::HttpCache::maintain). A refresh
//! that failed is not tried again for a while, which doubles each time.

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

/// Who refreshes what was served stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// Threads of the cache's own, eight at most, each of which ends when there is nothing to do. A
    /// [`Peer`](crate::Peer) has its pool do it in their place.
    #[default]
    Thread,
    /// Nobody, until [`maintain`](super::HttpCache::maintain) is called: the cache starts no thread.
    CallerRuns,
}

/// How many refreshes may wait or be under way. One more is not done; the next request for it offers it again.
const CAPACITY: usize = 256;

/// How many threads a cache without a pool may have at a time.
const MOST_THREADS: usize = 8;

/// How long a refresh that failed is not tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Of how many keys it is remembered that a refresh failed.
const MOST_PAUSES: usize = 1024;

/// The refreshes that wait.
pub(super) struct Refreshes {
    threads: Option<Arc<dyn Spawn>>,
    state: Mutex<State>,
}

struct State {
    /// Those of a cache without threads.
    waiting: VecDeque<Incoming>,
    /// What waits and what is being refreshed.
    keys: HashSet<Key>,
    /// Until when a key is not refreshed, and for how long that was.
    paused: LruCache<Key, (SystemTime, Duration)>,
    is_closed: bool,
}

impl Refreshes {
    /// With a pool where there is one, and as chosen otherwise.
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

    /// Has a job run by one of the threads.
    pub(super) fn spawn(&self, job: Job) -> Result<(), Job> {
        match &self.threads {
            Some(threads) => threads.spawn(job),
            None => Err(job),
        }
    }

    /// Has a refresh done, unless one of the same key is on its way, failed a moment ago, or too many are.
    pub(super) fn offer(&self, incoming: &Incoming, cache: &Arc<Inner>) {
        let now = cache.clock.now();
        let mut state = self.state.lock();
        // What is left of a pause is no more than the pause, unless the clock was set back.
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
        // Where no thread takes it, the next request for it offers it again.
        drop(self.spawn(job));
    }

    fn next(&self) -> Option<Incoming> {
        self.state.lock().waiting.pop_front()
    }

    fn done(&self, key: &Key) {
        let unused = self.state.lock().keys.take(key);
        drop(unused);
    }

    /// A refresh failed, or did not.
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

    /// What waits is given up.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }
}

/// The request for the whole that a refresh sends: without what this one client wanted of it.
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
        // Whoever caused it has its answer by then.
        deadline: None,
        on_interim: None,
        ..incoming.clone()
    }
}

impl Inner {
    /// Refreshes until nothing waits or the time is up; says how often.
    pub(super) fn maintain(self: &Arc<Self>, budget: Duration) -> usize {
        // Beyond what a clock can tell is without end.
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
        let variants = self.store.all(&incoming.key, variants, self.clock.now());
        let variant =
            variants.first().map(|stored| stored.variant().by_same_fields(&incoming.headers, &self.digest));
        let fetch = self.begin(&incoming.key);
        let flight = Flight { key: incoming.key.clone(), variant };
        let wake: Wake = Arc::new(|| ());
        let is_joinable = |sequence| self.store.is_joinable(&*incoming, sequence);
        // A follower: another request is at it.
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
                    // What is being stored is read to its end, and nothing else.
                    if let Ok((stream, length)) = response.into_body().into_growing() {
                        io::copy(&mut Body::from_growing(stream, length), &mut io::sink())?;
                    }
                    Ok(is_failure)
                });
            drop((waiter, hook));
            if let Err(error) = &read {
                let url = redacted(incoming.target.as_str());
                debug!("a refresh failed: {url} {}", error.message());
            }
            let has_failed = !matches!(read, Ok(false));
            self.refreshes.note(&incoming.key, has_failed, self.clock.now());
        }
    }
}

/// Takes a key off the list, however its refresh ends.
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

/// Threads of a cache that has no pool: one for each job, a few at a time.
#[derive(Default)]
struct Threads {
    running: Arc<AtomicUsize>,
}

/// One of them, until it is dropped.
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
        // Where no thread can be started the job is dropped, and whoever waits for it looks again.
        if let Err(error) = thread::Builder::new().name("fetch".to_owned()).spawn(work) {
            warn!("no thread for a fetch can be started: {error}");
        }
        Ok(())
    }
}

impl fmt::Debug for Refreshes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshes").field("has_threads", &self.threads.is_some()).finish_non_exhaustive()
    }
}
