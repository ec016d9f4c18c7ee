//! A caching resolver. Requests for the same name share one lookup, and a bounded number of threads runs lookups, of which
//! one client gets at most half.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::base::charged;
use crate::base::clock::{Clock, SystemClock};
use crate::base::counts::Counts;

/// How long expired addresses may still be used while a lookup does not finish.
const STALE_LIFETIME: Duration = Duration::from_secs(600);

/// The maximum number of concurrent lookups. A lookup that hangs blocks its thread until the system's resolver returns.
const MAX_THREADS: usize = 32;

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
    /// The number of threads that run lookups of each client.
    running: Counts<Client>,
}

/// The client to which a lookup is charged. `None` stands for the peers of the pool and for this program.
type Client = Option<IpAddr>;

#[derive(Debug)]
struct CachedAnswer {
    answer: Answer,
    since: SystemTime,
}

#[derive(Debug)]
struct Pending {
    waiting: usize,
    /// The clients that wait for a queued lookup. The first one with a free thread starts it.
    clients: Vec<Client>,
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
        let answer = self.join_or_start(&mut state, name, charged::client());
        // If lookups queue behind hanging ones, expired addresses are served at once.
        let is_busy = state.queue.iter().any(|queued| queued == name);
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
        client: Client,
    ) -> Arc<OnceLock<Answer>> {
        let pending = state.pending.entry(name.to_owned()).or_insert_with(|| {
            state.queue.push_back(name.to_owned());
            Pending { waiting: 0, clients: Vec::new(), answer: Arc::default() }
        });
        pending.waiting += 1;
        if !pending.clients.contains(&client) {
            pending.clients.push(client);
        }
        let answer = Arc::clone(&pending.answer);
        self.start_threads(state);
        answer
    }

    /// Starts a thread for each queued lookup that may have one.
    fn start_threads(self: &Arc<Self>, state: &mut State) {
        while let Some((name, client)) = state.next() {
            let (names, own_name) = (Arc::clone(self), name.clone());
            let thread = thread::Builder::new().name("forwardcache-names".to_owned());
            if let Err(error) = thread.spawn(move || names.look_up_all(own_name, client)) {
                state.end(client);
                self.finish(state, name, Err((error.kind(), error.to_string().into())));
            }
        }
    }

    /// Runs on a resolver thread: looks up `first`, then queued names.
    fn look_up_all(self: Arc<Self>, first: String, client: Client) {
        let mut next = Some((first, client));
        while let Some((name, client)) = next {
            // A panic must not leave the waiting callers without an answer.
            let answer = catch_unwind(AssertUnwindSafe(|| self.lookup.look_up(&name)))
                .unwrap_or_else(|_| Err(io::Error::other("the lookup panicked")))
                .map(|mut addresses| {
                    addresses.truncate(self.max_addresses);
                    Arc::from(addresses)
                })
                .map_err(|error| (error.kind(), error.to_string().into()));
            let mut state = self.state.lock();
            state.end(client);
            self.finish(&mut state, name, answer);
            next = state.next();
            // The end of one lookup may let several clients start another.
            self.start_threads(&mut state);
        }
    }

    /// Gives the answer to the callers that wait for it, and remembers it.
    fn finish(&self, state: &mut State, name: String, answer: Answer) {
        if let Some(pending) = state.pending.remove(&name) {
            // A cell is set only here.
            let _ = pending.answer.set(answer.clone());
        }
        self.remember(state, name, answer);
        self.finished.notify_all();
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
    /// Takes the first queued lookup that may run, with the client to which it is charged. A client may have as many threads as
    /// are free, so that one client gets at most half of them.
    fn next(&mut self) -> Option<(String, Client)> {
        let free = MAX_THREADS - self.threads;
        let mut queued = self.queue.iter().enumerate();
        let (at, client) = queued.find_map(|(at, name)| {
            let clients = &self.pending.get(name)?.clients;
            Some((at, *clients.iter().find(|client| self.running.of(client) < free)?))
        })?;
        self.threads += 1;
        self.running.add(client);
        Some((self.queue.remove(at)?, client))
    }

    /// Counts a lookup of this client as ended.
    fn end(&mut self, client: Client) {
        self.threads -= 1;
        self.running.remove(&client);
    }

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
