//! Threads that send requests while a fault is injected, and their results.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forwardcache::client::ClientBuilder;
use forwardcache::{Body, Client, Deadline, Error, ErrorKind, Outcome, RoundTrip};
use http::{Request, Response};
use parking_lot::{Condvar, Mutex};

use super::versioned_origin::{self, VersionedOrigin};
use crate::support::{SetOnDrop, TEST_TIMEOUT};

/// Requests that take longer than this were delayed by a peer.
const SLOW_REQUEST: Duration = Duration::from_millis(500);

const THREADS: usize = 4;

/// The number of distinct URLs.
const URLS: usize = 60;

/// A client with default settings.
pub(super) fn client(pool: impl IntoIterator<Item = String>) -> ClientBuilder {
    Client::builder().pool(pool)
}

/// Requests a URL, with a deadline shorter than the test's timeout.
pub(super) fn get(transport: &impl RoundTrip, url: &str) -> Result<Response<Body>, Error> {
    let mut request = Request::get(url).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Deadline::within(TEST_TIMEOUT / 2));
    transport.round_trip(request)
}

/// Sends a request for a URL.
pub(super) type Fetch<'a> = dyn Fn(&str) -> Result<Response<Body>, Error> + Sync + 'a;

/// The results of all threads.
#[derive(Debug, Default)]
pub(super) struct LoadResults {
    pub(super) requests: usize,
    pub(super) failures: BTreeMap<&'static str, usize>,
    pub(super) longest: Duration,
    /// The number of requests that were delayed by a peer.
    pub(super) slow: usize,
    pub(super) outcomes: BTreeMap<&'static str, usize>,
    /// Wrong bytes, versions or ages.
    pub(super) wrong: Vec<String>,
}

impl LoadResults {
    pub(super) fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    pub(super) fn outcome(&self, name: &str) -> usize {
        self.outcomes.get(name).copied().unwrap_or(0)
    }

    pub(super) fn failed_as(&self, kind: ErrorKind) -> usize {
        self.failures.get(kind.name()).copied().unwrap_or(0)
    }
}

/// The running threads.
pub(super) struct Load {
    results: Mutex<LoadResults>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Load {
    /// Blocks until `more` further requests have finished, successfully or not.
    pub(super) fn wait_for_more(&self, more: usize) {
        let mut results = self.results.lock();
        let enough = results.requests + more;
        let waiting = |results: &mut LoadResults| results.requests < enough && results.wrong.is_empty();
        let waited = self.changed.wait_while_for(&mut results, waiting, TEST_TIMEOUT);
        assert!(!waited.timed_out(), "no request finishes any more: {results:?}");
    }

    /// Blocks until `condition` returns true, while requests continue.
    pub(super) fn wait_until(&self, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < TEST_TIMEOUT, "the condition did not become true");
            self.wait_for_more(1);
        }
    }

    /// Returns the number of requests so far with this outcome.
    pub(super) fn outcome(&self, name: &str) -> usize {
        self.results.lock().outcome(name)
    }

    pub(super) fn failed(&self) -> usize {
        self.results.lock().failed()
    }

    /// Requests one URL after another until the load ends.
    fn run_requests(&self, origin: &VersionedOrigin, fetch: &Fetch<'_>, first: usize) {
        let mut number = first;
        while !self.is_over.load(Ordering::SeqCst) {
            let target = format!("/{}", number % URLS);
            let (url, oldest) = (origin.url(&target), origin.oldest());
            let started = Instant::now();
            let response = fetch(&url);
            let outcome = response.as_ref().ok().and_then(|response| Outcome::of(response.headers()));
            let age = response.as_ref().ok().and_then(|response| response.headers().get("age").cloned());
            let read = versioned_origin::read(&target, |version| version >= oldest, response);
            let took = started.elapsed();
            let mut results = self.results.lock();
            results.requests += 1;
            results.longest = results.longest.max(took);
            results.slow += usize::from(took > SLOW_REQUEST);
            match read {
                Ok(()) => {
                    let name = outcome.map_or("uncached", Outcome::name);
                    *results.outcomes.entry(name).or_default() += 1;
                }
                Err(Ok(error)) => *results.failures.entry(error.kind().name()).or_default() += 1,
                Err(Err(wrong)) => results.wrong.push(wrong),
            }
            // No response in these scenarios is stored for longer than an hour.
            let is_age = |age: u64| age <= 3600;
            if let Some(age) = age.filter(|age| !age.to_str().is_ok_and(|age| age.parse().is_ok_and(is_age)))
            {
                results.wrong.push(format!("{target}: invalid Age {age:?}"));
            }
            drop(results);
            self.changed.notify_all();
            number += 1;
        }
    }
}

/// Sends requests for URLs of this origin on [`THREADS`] threads while `action` runs.
pub(super) fn under_load(
    origin: &VersionedOrigin,
    fetch: &Fetch<'_>,
    action: impl FnOnce(&Load),
) -> LoadResults {
    under_load_of(THREADS, origin, fetch, action)
}

/// Like [`under_load`], with this number of threads.
pub(super) fn under_load_of(
    threads: usize,
    origin: &VersionedOrigin,
    fetch: &Fetch<'_>,
    action: impl FnOnce(&Load),
) -> LoadResults {
    let load = Load { results: Mutex::default(), changed: Condvar::new(), is_over: AtomicBool::new(false) };
    thread::scope(|scope| {
        for first in 0..threads {
            let load = &load;
            scope.spawn(move || load.run_requests(origin, fetch, first * URLS / threads));
        }
        // Stops the threads even if `action` panics; otherwise they would run forever.
        let over = SetOnDrop(&load.is_over);
        action(&load);
        drop(over);
    });
    load.results.into_inner()
}
