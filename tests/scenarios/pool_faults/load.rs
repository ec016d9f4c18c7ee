//! Threads that ask while something is done, and what they saw.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forwardcache::{Body, Client, ClientBuilder, Deadline, Error, ErrorKind, Outcome, RoundTrip};
use http::{Request, Response};
use parking_lot::{Condvar, Mutex};

use super::world::{self, World};
use crate::support::{Over, PATIENCE};

/// A request that took longer was held up by a peer.
const HELD_UP: Duration = Duration::from_millis(500);

const THREADS: usize = 4;

/// How many URLs are asked for.
const URLS: usize = 60;

/// A client with default settings.
pub(super) fn client(pool: impl IntoIterator<Item = String>) -> ClientBuilder {
    Client::builder().pool(pool)
}

/// Asks for a URL, and waits for no longer than a test may.
pub(super) fn get(whom: &impl RoundTrip, url: &str) -> Result<Response<Body>, Error> {
    let mut request = Request::get(url).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Deadline::within(PATIENCE / 2));
    whom.round_trip(request)
}

/// Who is asked for a URL.
pub(super) type Asking<'a> = dyn Fn(&str) -> Result<Response<Body>, Error> + Sync + 'a;

/// What all threads saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: usize,
    pub(super) failures: BTreeMap<&'static str, usize>,
    pub(super) longest: Duration,
    /// Those that a peer held up.
    pub(super) slow: usize,
    pub(super) outcomes: BTreeMap<&'static str, usize>,
    /// What was wrong: bytes, versions, ages.
    pub(super) wrong: Vec<String>,
}

impl Seen {
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

/// The threads, for what is done meanwhile.
pub(super) struct Load {
    seen: Mutex<Seen>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Load {
    /// Blocks until so many more requests were answered, or failed.
    pub(super) fn wait_for_more(&self, more: usize) {
        let mut seen = self.seen.lock();
        let enough = seen.requests + more;
        let waiting = |seen: &mut Seen| seen.requests < enough && seen.wrong.is_empty();
        let waited = self.changed.wait_while_for(&mut seen, waiting, PATIENCE);
        assert!(!waited.timed_out(), "no request is answered any more: {seen:?}");
    }

    /// Blocks until it is so, which what is asked brings about.
    pub(super) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "it does not come");
            self.wait_for_more(1);
        }
    }

    /// So many of all that were asked so far came this way.
    pub(super) fn outcome(&self, name: &str) -> usize {
        self.seen.lock().outcome(name)
    }

    pub(super) fn failed(&self) -> usize {
        self.seen.lock().failed()
    }

    /// Asks for one URL after another. No answer may be of a version that is too old.
    fn ask(&self, world: &World, asking: &Asking<'_>, first: usize) {
        let mut number = first;
        while !self.is_over.load(Ordering::SeqCst) {
            let target = format!("/{}", number % URLS);
            let (url, oldest) = (world.url(&target), world.oldest());
            let begun = Instant::now();
            let answer = asking(&url);
            let outcome = answer.as_ref().ok().and_then(|answer| Outcome::of(answer.headers()));
            let age = answer.as_ref().ok().and_then(|answer| answer.headers().get("age").cloned());
            let read = world::read(&target, |version| version >= oldest, answer);
            let took = begun.elapsed();
            let mut seen = self.seen.lock();
            seen.requests += 1;
            seen.longest = seen.longest.max(took);
            seen.slow += usize::from(took > HELD_UP);
            match read {
                Ok(()) => {
                    let name = outcome.map_or("uncached", Outcome::name);
                    *seen.outcomes.entry(name).or_default() += 1;
                }
                Err(Ok(error)) => *seen.failures.entry(error.kind().name()).or_default() += 1,
                Err(Err(wrong)) => seen.wrong.push(wrong),
            }
            // Nothing here is kept for longer than an hour.
            let is_age = |age: u64| age <= 3600;
            if let Some(age) = age.filter(|age| !age.to_str().is_ok_and(|age| age.parse().is_ok_and(is_age)))
            {
                seen.wrong.push(format!("{target}: an age of {age:?}"));
            }
            drop(seen);
            self.changed.notify_all();
            number += 1;
        }
    }
}

/// Asks for the URLs of this origin on some threads while something is done, and for as long.
pub(super) fn under_load(world: &World, asking: &Asking<'_>, done: impl FnOnce(&Load)) -> Seen {
    under_load_of(THREADS, world, asking, done)
}

/// The same on so many threads.
pub(super) fn under_load_of(
    threads: usize,
    world: &World,
    asking: &Asking<'_>,
    done: impl FnOnce(&Load),
) -> Seen {
    let load = Load { seen: Mutex::default(), changed: Condvar::new(), is_over: AtomicBool::new(false) };
    thread::scope(|scope| {
        for first in 0..threads {
            let load = &load;
            scope.spawn(move || load.ask(world, asking, first * URLS / threads));
        }
        // Also when what is done panics, or the threads would go on for ever.
        let over = Over(&load.is_over);
        done(&load);
        drop(over);
    });
    load.seen.into_inner()
}
