//! A caching resolver. Requests for the same name share one lookup, and a bounded number of threads runs lookups.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::base::clock::{Clock, SystemClock};

/// How long expired addresses may still be used while a lookup does not finish.
const STALE_LIFETIME: Duration = Duration::from_secs(600);

/// The maximum number of concurrent lookups. A lookup that hangs blocks its thread until the system's resolver returns.
const MAX_THREADS: usize = 8;

/// The maximum number of cached names.
const MAX_NAMES: usize = 1024;

/// The maximum number of cached addresses for each name. Access rules are applied to them later.
const MAX_ADDRESSES: usize = 64;

/// How long a failed lookup or an empty result is cached.
const NEGATIVE_LIFETIME: Duration = Duration::from_secs(2);

/// Looks up the addresses of a name. May block without limit.
pub(crate) trait Lookup: fmt::Debug + Send + Sync {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug)]
pub(crate) struct SystemLookup;

impl Lookup for SystemLookup {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// The addresses, or a failure in a form that can be cloned.
type Answer = Result<Arc<[IpAddr]>, (io::ErrorKind, Arc<str>)>;

/// The reason why no addresses are returned.
#[derive(Debug)]
pub(crate) enum LookupError {
    /// The lookup did not finish before the deadline.
    Timeout,
    /// The lookup failed.
    Failed(io::Error),
}

/// The resolver: cached names, their addresses, and pending lookups.
#[derive(Debug)]
pub(crate) struct Resolver {
    lookup: Box<dyn Lookup>,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    max_addresses: usize,
    state: Mutex<State>,
    /// Notified whenever a lookup finishes.
    finished: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cached: HashMap<String, CachedAnswer>,
    /// Lookups that are running or wait for a thread.
    pending: HashMap<String, Pending>,
    /// Pending names that wait for a thread. At least one caller waits for each.
    queue: VecDeque<String>,
    threads: usize,
}

#[derive(Debug)]
struct CachedAnswer {
    answer: Answer,
    since: SystemTime,
}

#[derive(Debug)]
struct Pending {
    waiting: usize,
    /// Waiting callers share it with the lookup, because the cache may evict the answer before they wake up.
    answer: Arc<OnceLock<Answer>>,
}

impl Resolver {
    /// Creates a resolver that caches answers for `lifetime`. Zero disables the cache.
    pub(crate) fn new(lookup: impl Lookup + 'static, clock: Arc<dyn Clock>, lifetime: Duration) -> Arc<Self> {
        Self::with(Box::new(lookup), clock, lifetime, MAX_ADDRESSES)
    }

    /// Creates a resolver that caches nothing and returns all addresses of a name.
    pub(crate) fn uncached(lookup: impl Lookup + 'static) -> Arc<Self> {
        Self::with(Box::new(lookup), Arc::new(SystemClock), Duration::ZERO, usize::MAX)
    }

    fn with(
        lookup: Box<dyn Lookup>,
        clock: Arc<dyn Clock>,
        lifetime: Duration,
        max_addresses: usize,
    ) -> Arc<Self> {
        let (state, finished) = (Mutex::default(), Condvar::new());
        Arc::new(Self { lookup, clock, lifetime, max_addresses, state, finished })
    }

    /// Returns the addresses of `name`, possibly none. Waits until `deadline`, or without limit if there is none.
    pub(crate) fn addresses(
        self: &Arc<Self>,
        name: &str,
        deadline: Option<Instant>,
    ) -> Result<Arc<[IpAddr]>, LookupError> {
        let mut state = self.state.lock();
        if let Some(entry) = state.cached.get(name).filter(|entry| self.is_fresh(entry)) {
            return to_result(&entry.answer);
        }
        let stale = state.cached.get(name).filter(|entry| self.is_usable_stale(entry));
        let stale = stale.map(|entry| entry.answer.clone());
        // If lookups queue behind hanging ones, expired addresses are served at once.
        let is_busy = state.threads >= MAX_THREADS;
        let answer = self.join_or_start(&mut state, name)?;
        if let Some(stale) = stale.as_ref().filter(|_| is_busy) {
            return to_result(stale);
        }
        loop {
            if let Some(answer) = answer.get() {
                return to_result(answer);
            }
            match deadline {
                None => self.finished.wait(&mut state),
                Some(deadline) => {
                    let is_late = self.finished.wait_until(&mut state, deadline).timed_out();
                    if is_late && answer.get().is_none() {
                        state.stop_waiting(name);
                        return stale.as_ref().map_or(Err(LookupError::Timeout), to_result);
                    }
                }
            }
        }
    }

    /// Returns the addresses of `name` if they are cached. Never blocks, and starts no lookup.
    #[cfg(feature = "peer")]
    pub(crate) fn known_addresses(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let state = self.state.lock();
        let entry = state.cached.get(name).filter(|entry| self.is_fresh(entry))?;
        entry.answer.as_ref().ok().cloned()
    }

    /// Removes `name` from the cache, for use after connecting to all of its addresses failed.
    pub(crate) fn forget(&self, name: &str) {
        self.state.lock().cached.remove(name);
    }

    /// Joins the pending lookup of `name` or starts one, and returns the cell that will hold its answer.
    fn join_or_start(
        self: &Arc<Self>,
        state: &mut State,
        name: &str,
    ) -> Result<Arc<OnceLock<Answer>>, LookupError> {
        if let Some(pending) = state.pending.get_mut(name) {
            pending.waiting += 1;
            return Ok(Arc::clone(&pending.answer));
        }
        if state.threads < MAX_THREADS {
            let (names, own_name) = (Arc::clone(self), name.to_owned());
            thread::Builder::new()
                .name("forwardcache-names".to_owned())
                .spawn(move || names.look_up_all(own_name))
                .map_err(LookupError::Failed)?;
            state.threads += 1;
        } else {
            state.queue.push_back(name.to_owned());
        }
        let answer = Arc::new(OnceLock::new());
        let pending = Pending { waiting: 1, answer: Arc::clone(&answer) };
        state.pending.insert(name.to_owned(), pending);
        Ok(answer)
    }

    /// Runs on a resolver thread: looks up `first`, then the queued names.
    fn look_up_all(&self, first: String) {
        let mut next = Some(first);
        while let Some(name) = next {
            // A panic must not leave the waiting callers without an answer.
            let answer = catch_unwind(AssertUnwindSafe(|| self.lookup.look_up(&name)))
                .unwrap_or_else(|_| Err(io::Error::other("the lookup panicked")))
                .map(|mut addresses| {
                    addresses.truncate(self.max_addresses);
                    Arc::from(addresses)
                })
                .map_err(|error| (error.kind(), error.to_string().into()));
            let mut state = self.state.lock();
            if let Some(pending) = state.pending.remove(&name) {
                // This thread is the only one that sets the cell.
                let _ = pending.answer.set(answer.clone());
            }
            self.remember(&mut state, name, answer);
            self.finished.notify_all();
            next = state.queue.pop_front();
            if next.is_none() {
                state.threads -= 1;
            }
        }
    }

    fn remember(&self, state: &mut State, name: String, answer: Answer) {
        if self.lifetime.is_zero() {
            return;
        }
        if state.cached.len() >= MAX_NAMES {
            state.cached.retain(|_, entry| self.is_fresh(entry));
        }
        if state.cached.len() >= MAX_NAMES {
            let oldest = state.cached.iter().min_by_key(|(_, entry)| entry.since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                state.cached.remove(&oldest);
            }
        }
        state.cached.insert(name, CachedAnswer { answer, since: self.clock.now() });
    }

    /// Returns whether an expired entry has addresses and is recent enough to be used if the lookup does not finish.
    fn is_usable_stale(&self, entry: &CachedAnswer) -> bool {
        let age = self.clock.now().duration_since(entry.since).unwrap_or_default();
        let has_addresses = entry.answer.as_ref().is_ok_and(|addresses| !addresses.is_empty());
        has_addresses && age < self.lifetime.saturating_add(STALE_LIFETIME)
    }

    fn is_fresh(&self, entry: &CachedAnswer) -> bool {
        let lifetime = match &entry.answer {
            Ok(addresses) if !addresses.is_empty() => self.lifetime,
            _ => self.lifetime.min(NEGATIVE_LIFETIME),
        };
        // If the clock went backwards, the age is unknown and the entry counts as expired.
        self.clock.now().duration_since(entry.since).is_ok_and(|age| age < lifetime)
    }
}

impl State {
    /// Notes that one caller stopped waiting for `name`, and drops a queued lookup that nothing waits for.
    fn stop_waiting(&mut self, name: &str) {
        let Some(pending) = self.pending.get_mut(name) else { return };
        pending.waiting -= 1;
        if pending.waiting > 0 {
            return;
        }
        if let Some(at) = self.queue.iter().position(|queued| queued == name) {
            self.queue.remove(at);
            self.pending.remove(name);
        }
    }
}

fn to_result(answer: &Answer) -> Result<Arc<[IpAddr]>, LookupError> {
    match answer {
        Ok(addresses) => Ok(Arc::clone(addresses)),
        Err((kind, text)) => Err(LookupError::Failed(io::Error::new(*kind, text.to_string()))),
    }
}

#[cfg(test)]
mod tests;
