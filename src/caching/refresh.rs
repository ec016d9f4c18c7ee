//! Refreshes behind the client's back (RFC 5861 section 3).
//!
//! A stale response that may be served while it is refreshed is served at once, and the refresh waits in a
//! bounded queue. A thread that lives only while there is something to do works it off, or whoever calls
//! [`maintain`](super::Caching::maintain).

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use http::header::{CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, PRAGMA, RANGE};
use log::{debug, warn};
use parking_lot::{Condvar, Mutex};

use super::engine::{Inner, Landed, Lead};
use super::incoming::Incoming;
use super::lookup::Lookup;
use crate::error::redacted;
use crate::store::Key;

/// Who refreshes what was served stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// A thread of the cache's own, which ends when there was nothing to do for ten seconds.
    #[default]
    Thread,
    /// Nobody, until [`maintain`](super::Caching::maintain) is called: the cache starts no thread.
    CallerRuns,
}

/// How many refreshes may wait. One more is not queued; the next request for it will be.
const CAPACITY: usize = 256;

/// How long the thread waits for more to do.
const IDLE: Duration = Duration::from_secs(10);

/// The refreshes that wait.
pub(super) struct Refreshes {
    background: Background,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Incoming>,
    /// What waits and what is being refreshed.
    keys: HashSet<Key>,
    has_thread: bool,
    is_closed: bool,
    /// Flights that are worked on behind the back of whoever began them, each by a thread.
    flights: usize,
}

/// How many of those there may be.
const MOST_FLIGHTS: usize = 8;

impl Refreshes {
    pub(super) fn new(background: Background) -> Self {
        Self { background, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Queues a refresh, unless one of the same key waits already or too many do.
    pub(super) fn offer(self: &Arc<Self>, incoming: &Incoming, cache: &Weak<Inner>) {
        let mut state = self.state.lock();
        if state.waiting.len() >= CAPACITY || !state.keys.insert(incoming.key.clone()) {
            return;
        }
        state.waiting.push_back(of_the_whole(incoming));
        let needs_thread = self.background == Background::Thread && !state.has_thread;
        state.has_thread |= needs_thread;
        drop(state);
        self.changed.notify_one();
        if needs_thread {
            let (queue, cache) = (Arc::clone(self), Weak::clone(cache));
            let thread = thread::Builder::new().name("refresh".to_owned());
            if let Err(error) = thread.spawn(move || queue.work(&cache)) {
                self.state.lock().has_thread = false;
                warn!("no thread for refreshes can be started: {error}");
            }
        }
    }

    /// Works on a flight, so that whoever began it need not wait for its end. It comes back where nobody can.
    pub(super) fn fly(
        self: &Arc<Self>,
        incoming: &Incoming,
        leader: Lead,
        cache: &Weak<Inner>,
    ) -> Result<(), Lead> {
        let mut state = self.state.lock();
        if self.background != Background::Thread || state.is_closed || state.flights >= MOST_FLIGHTS {
            return Err(leader);
        }
        state.flights += 1;
        drop(state);
        let promise = Flown(Arc::clone(self));
        let (incoming, cache) = (of_the_whole(incoming), Weak::clone(cache));
        let work = move || {
            let _promise = promise;
            if let Some(cache) = cache.upgrade() {
                cache.refresh_as(&incoming, leader);
            }
        };
        // Where there is no thread, the leader is dropped, and who follows it looks again.
        if let Err(error) = thread::Builder::new().name("fetch".to_owned()).spawn(work) {
            warn!("no thread for a fetch can be started: {error}");
        }
        Ok(())
    }

    /// What the thread does.
    fn work(&self, cache: &Weak<Inner>) {
        while let Some(incoming) = self.wait() {
            // Nobody needs a refresh of a cache that is gone.
            let Some(cache) = cache.upgrade() else { return };
            cache.refresh(&incoming);
        }
    }

    fn wait(&self) -> Option<Incoming> {
        let mut state = self.state.lock();
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        self.changed.wait_while_for(&mut state, nothing, IDLE);
        let next = state.waiting.pop_front().filter(|_| !state.is_closed);
        state.has_thread = next.is_some();
        next
    }

    fn next(&self) -> Option<Incoming> {
        self.state.lock().waiting.pop_front()
    }

    fn done(&self, key: &Key) {
        let unused = self.state.lock().keys.take(key);
        drop(unused);
    }

    /// Lets the thread end.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }
}

/// The request for the whole that a refresh sends: without what this one client wanted of it.
fn of_the_whole(incoming: &Incoming) -> Incoming {
    let mut headers = incoming.headers.clone();
    for name in [CACHE_CONTROL, PRAGMA, RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        headers.remove(name);
    }
    Incoming {
        method: Method::GET,
        headers,
        directives: Default::default(),
        is_refresh: true,
        // Whoever caused it has its answer by then.
        deadline: None,
        ..incoming.clone()
    }
}

impl Inner {
    /// Refreshes until nothing waits or the time is up; says how often.
    pub(super) fn maintain(&self, budget: Duration) -> usize {
        // Beyond what a clock can tell is without end.
        let deadline = Instant::now().checked_add(budget);
        let mut refreshed = 0;
        while deadline.is_none_or(|deadline| Instant::now() < deadline)
            && let Some(incoming) = self.refreshes.next()
        {
            self.refresh(&incoming);
            refreshed += 1;
        }
        refreshed
    }

    fn refresh(&self, incoming: &Incoming) {
        let refreshes = Arc::clone(&self.refreshes);
        let promise = Done { refreshes: &refreshes, key: &incoming.key };
        // Somebody may be at it.
        if let Some(leader) = self.flights.lead(&incoming.key) {
            self.refresh_as(incoming, leader);
        }
        drop(promise);
    }

    fn refresh_as(&self, incoming: &Incoming, leader: Lead) {
        // Somebody may have done it.
        let Lookup::Forward(plan) = self.look_up(incoming) else { return leader.land(Landed::Stored) };
        let url = redacted(incoming.target.as_str());
        let read = self
            .forward(incoming, &plan, Some(leader))
            .and_then(|response| Ok(io::copy(&mut response.into_body(), &mut io::sink())?));
        if let Err(error) = read {
            debug!("a refresh failed: {url} {}", error.message());
        }
    }
}

/// Takes a flight off the count, however it ends.
struct Flown(Arc<Refreshes>);

impl Drop for Flown {
    fn drop(&mut self) {
        self.0.state.lock().flights -= 1;
    }
}

/// Takes a key off the list, by a panic of the origin too.
struct Done<'a> {
    refreshes: &'a Refreshes,
    key: &'a Key,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.refreshes.done(self.key);
    }
}

impl fmt::Debug for Refreshes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshes").field("background", &self.background).finish_non_exhaustive()
    }
}
