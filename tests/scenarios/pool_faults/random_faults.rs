//! Random faults for a limited time, and the invariants that must hold.
//!
//! The faults and the requests depend only on the seed; their timing depends on the machine. `FORWARDCACHE_SEED`
//! replays a run, and `FORWARDCACHE_FAULT_SECONDS` sets its duration (default 5).

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use forwardcache::client::{OnNoPeers, PeerState};
use forwardcache::{Body, Client, Deadline, Error, ErrorKind, Outcome, Purge, RoundTrip};
use http::{Request, Response};
use parking_lot::{Condvar, Mutex};

use super::changing_origin::{ChangingOrigin, Health};
use super::load;
use super::versioned_origin::{body, version_of};
use crate::processes::PeerProcess;
use crate::support::SetOnDrop;
use crate::support::TEST_TIMEOUT;
use crate::support::random::Random;
use crate::support::relay::{Fault, Relay};

const SECONDS: u64 = 5;

const THREADS: u64 = 4;
/// The longest time between two steps while requests finish.
const STEP: Duration = Duration::from_secs(1);

/// The deadline of most requests, and the tolerance for scheduling delays.
const LONG_DEADLINE: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_millis(1500);

/// Bodies up to this length are buffered before the response is returned.
const BUFFER_LIMIT: usize = 64 << 10;

fn number(variable: &str) -> Option<u64> {
    env::var(variable)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// The results so far.
#[derive(Default)]
struct Results {
    requests: usize,
    longest: Duration,
    allowed_failures: BTreeMap<String, usize>,
    outcomes: BTreeMap<&'static str, usize>,
    violations: Vec<String>,
}

struct Run {
    origin: ChangingOrigin,
    client: Client,
    results: Mutex<Results>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[test]
fn random_faults_cause_no_wrong_stale_or_needlessly_failed_response() {
    let time = Duration::from_secs(number("FORWARDCACHE_FAULT_SECONDS").unwrap_or(SECONDS));
    let nanoseconds = u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    let seed = number("FORWARDCACHE_SEED").unwrap_or(nanoseconds);
    let mut pool: Vec<_> = (0..3).map(|_| PeerProcess::start()).collect();
    let relays: Vec<_> = pool.iter().map(|peer| Relay::to(peer.address)).collect();
    let client = load::client(relays.iter().map(Relay::url)).on_no_peers(OnNoPeers::FetchDirectly);
    let run = Run {
        origin: ChangingOrigin::start(),
        client: client.build().unwrap(),
        results: Mutex::default(),
        changed: Condvar::new(),
        is_over: AtomicBool::new(false),
    };
    let mut steps = Vec::new();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let run = &run;
            scope.spawn(move || run.run_requests(&mut Random::new(seed ^ (number + 1) << 40)));
        }
        let _over = SetOnDrop(&run.is_over);
        let (started, mut random) = (Instant::now(), Random::new(seed));
        while started.elapsed() < time && run.results.lock().violations.is_empty() {
            steps.push(format!("{:?}: {}", started.elapsed(), run.step(&mut random, &mut pool, &relays)));
            run.wait_for_more(1 + random.below(60));
        }
        run.repair_all(&mut pool, &relays);
    });
    let results = run.results.into_inner();
    println!(
        "{} requests during {} steps of FORWARDCACHE_SEED={seed}; longest {:?}; outcomes {:?}; allowed failures {:?}",
        results.requests,
        steps.len(),
        results.longest,
        results.outcomes,
        results.allowed_failures
    );
    let mut recent_steps = String::new();
    for step in &steps[steps.len().saturating_sub(25)..] {
        let _ = writeln!(recent_steps, "{step}");
    }
    let violations = &results.violations;
    assert!(
        violations.is_empty(),
        "{violations:#?}\nafter\n{recent_steps}to replay, set FORWARDCACHE_SEED={seed}"
    );
}

impl Run {
    /// Blocks until `more` further requests have finished, or at most [`STEP`] after the first of them: when every
    /// peer is slow and the origin is down, each request uses up its deadline.
    fn wait_for_more(&self, more: usize) {
        let mut results = self.results.lock();
        let requests = results.requests;
        let is_short_of = |results: &Results, number: usize| {
            results.requests < requests + number && results.violations.is_empty()
        };
        if self
            .changed
            .wait_while_for(&mut results, |results| is_short_of(results, 1), TEST_TIMEOUT)
            .timed_out()
        {
            results.violations.push("no request finishes any more".to_owned());
        }
        self.changed.wait_while_for(&mut results, |results| is_short_of(results, more), STEP);
    }

    /// Injects or repairs one fault. Returns its description.
    fn step(&self, random: &mut Random, pool: &mut [PeerProcess], relays: &[Relay]) -> String {
        let at = random.below(3);
        match random.below(13) {
            0 => {
                pool[at].process.kill();
                format!("peer {at} is killed")
            }
            1 | 2 => {
                pool[at].restart();
                format!("peer {at} is restarted")
            }
            3 if pool[at].process.is_running() => {
                pool[at].process.signal("STOP");
                format!("peer {at} is stopped")
            }
            4 if pool[at].process.is_running() => {
                pool[at].process.signal("CONT");
                format!("peer {at} is continued")
            }
            5 | 6 => {
                let fault = *random.one_of(&Fault::ALL);
                relays[at].set(Some(fault));
                format!("peer {at}: {fault:?}")
            }
            7 => {
                relays[at].set(None);
                format!("peer {at} is no longer faulty")
            }
            8 => {
                let health = *random.one_of(&[Health::Up, Health::Up, Health::Slow, Health::Down]);
                self.origin.set(health);
                format!("the origin is {health:?}")
            }
            9 => {
                let set = 1 + random.below(7);
                let chosen = (0..3).filter(|at| set & (1 << at) > 0).map(|at| relays[at].url());
                self.client.set_pool(chosen).unwrap();
                format!("the pool has the peers {set:03b}")
            }
            10 => {
                self.client.set_pool(relays.iter().map(Relay::url)).unwrap();
                "the pool has all peers".to_owned()
            }
            11 => {
                let (requested_at, is_all) = (Instant::now(), self.client.pool().len() == 3);
                let purged = self.client.purge(&Purge::all()).unwrap();
                let is_complete = is_all && purged.is_complete();
                if is_complete {
                    self.origin.note_purge(requested_at);
                }
                format!("purge of everything, complete: {is_complete}")
            }
            _ => {
                self.origin.next_version();
                "the origin has a new version".to_owned()
            }
        }
    }

    /// Repairs everything and waits until every peer is used again.
    fn repair_all(&self, pool: &mut [PeerProcess], relays: &[Relay]) {
        self.origin.set(Health::Up);
        for (peer, relay) in pool.iter_mut().zip(relays) {
            relay.set(None);
            peer.restart();
        }
        self.client.set_pool(relays.iter().map(Relay::url)).unwrap();
        let started = Instant::now();
        let is_up = || self.client.health().iter().all(|peer| peer.state != PeerState::Down);
        while !is_up() && self.results.lock().violations.is_empty() {
            self.wait_for_more(1);
            if started.elapsed() > 2 * TEST_TIMEOUT {
                self.results.lock().violations.push("a restarted peer is not used again".to_owned());
            }
        }
    }

    fn run_requests(&self, random: &mut Random) {
        while !self.is_over.load(Ordering::SeqCst) {
            let test = TestRequest::new(random);
            let (started, purged) = (Instant::now(), self.origin.oldest_after_purge());
            let limit = if test.has_short_deadline {
                Duration::from_millis(20 + random.next() % 300)
            } else {
                LONG_DEADLINE
            };
            let mut request = test.request(&self.origin.server.url(&test.target));
            request.extensions_mut().insert(Deadline::within(limit));
            let result = self.client.round_trip(request);
            let outcome = result.as_ref().ok().and_then(|result| Outcome::of(result.headers()));
            let version = result.as_ref().ok().and_then(version_of);
            let is_returned = result.is_ok();
            let read = test.read(result);
            let took = started.elapsed();
            let is_stale = matches!(outcome, Some(Outcome::StaleIfError(_) | Outcome::StaleAccepted));
            let wrong = match &read {
                Ok(()) if test.method == "POST" => None,
                Ok(()) => {
                    let version = version.unwrap_or(0);
                    self.origin
                        .check_version(
                            &test.target,
                            version,
                            started,
                            purged,
                            is_stale,
                            test.has_short_deadline,
                        )
                        .err()
                }
                Err(Err(wrong)) => Some(wrong.clone()),
                Err(Ok(error))
                    if self.is_allowed_failure(
                        &test,
                        error,
                        started,
                        took >= limit,
                        outcome,
                        is_returned,
                    ) =>
                {
                    None
                }
                Err(Ok(error)) => Some(format!("unexpected failure: {error:?}")),
            };
            let late = (took > limit + SLACK).then(|| format!("took {took:?}, limit {limit:?}"));
            let mut results = self.results.lock();
            results.requests += 1;
            results.longest = results.longest.max(took);
            match &read {
                Ok(()) => {
                    *results.outcomes.entry(outcome.map_or("uncached", Outcome::name)).or_default() += 1;
                }
                Err(Ok(error)) => {
                    let suffix = if test.has_short_deadline { " with a short deadline" } else { "" };
                    let what = format!("{}: {}{suffix}", test.method, error.kind());
                    *results.allowed_failures.entry(what).or_default() += 1;
                }
                Err(Err(_)) => {}
            }
            for wrong in wrong.into_iter().chain(late) {
                results
                    .violations
                    .push(format!("{test:?}: {wrong} ({outcome:?}, after {took:?} of {limit:?})"));
            }
            drop(results);
            self.changed.notify_all();
        }
    }

    /// Returns whether this failure is allowed.
    fn is_allowed_failure(
        &self,
        request: &TestRequest,
        error: &Error,
        started: Instant,
        is_over: bool,
        outcome: Option<Outcome>,
        is_returned: bool,
    ) -> bool {
        match error.kind() {
            // The deadline passed. A returned body may have been resumed from one slow peer after another; the error
            // is that of the last peer if no time is left for the next one.
            ErrorKind::Timeout if is_over && request.has_short_deadline => true,
            ErrorKind::Timeout | ErrorKind::IncompleteBody if is_over && is_returned => true,
            // A slow origin delays any response that is not from the store.
            ErrorKind::Timeout if is_over && outcome.is_some_and(|outcome| !outcome.is_from_store()) => true,
            // A POST must not be retried, since the origin may have processed it.
            _ if request.method == "POST" => true,
            _ if !self.origin.was_up_since(started) => true,
            // A body that has been returned can only be resumed with the same bytes. A short body is returned early
            // as well if it arrives slowly.
            ErrorKind::DigestMismatch => is_returned,
            ErrorKind::IncompleteBody | ErrorKind::Timeout | ErrorKind::Unreachable | ErrorKind::Io
                if is_returned =>
            {
                !self.origin.was_one_version(&request.target, started)
            }
            _ => false,
        }
    }
}

/// A request and its expected response.
#[derive(Debug)]
struct TestRequest {
    method: &'static str,
    target: String,
    range: Option<(usize, usize)>,
    content: Vec<u8>,
    has_short_deadline: bool,
}

impl TestRequest {
    fn new(random: &mut Random) -> Self {
        let class = random.one_of(&["fixed", "short", "strict"]);
        let target = format!("/{class}/{}", random.below(16));
        let size = body(&target, 1).len();
        let (mut method, mut range, mut content) = ("GET", None, Vec::new());
        match random.below(20) {
            0 | 1 => method = "HEAD",
            2 => (method, content) = ("POST", random.next().to_string().into_bytes()),
            3..6 if size <= BUFFER_LIMIT => {
                let start = random.below(size);
                range = Some((start, start + random.below(size - start)));
            }
            _ => {}
        }
        Self { method, target, range, content, has_short_deadline: random.below(10) == 0 }
    }

    fn request(&self, url: &str) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(url);
        if let Some((first, last)) = self.range {
            request = request.header("Range", format!("bytes={first}-{last}"));
        }
        let content = if self.method == "POST" { Body::from(self.content.clone()) } else { Body::empty() };
        request.body(content).unwrap()
    }

    /// Returns `Err(Ok(error))` if the request failed, and `Err(Err(message))` if the response is wrong.
    fn read(&self, result: Result<Response<Body>, Error>) -> Result<(), Result<Error, String>> {
        let response = result.map_err(Ok)?;
        let (status, version) = (response.status().as_u16(), version_of(&response));
        let bytes = response.into_body().into_bytes().map_err(Ok)?;
        let whole = || body(&self.target, version.unwrap_or(0));
        let expected = match (status, self.method, self.range) {
            (200, "POST", _) => self.content.clone(),
            (200 | 206, "HEAD", _) => Vec::new(),
            (200, _, _) => whole(),
            (206, _, Some((first, last))) => whole()[first..=last].to_vec(),
            _ => return Err(Err(format!("unexpected status {status}"))),
        };
        if bytes == expected {
            Ok(())
        } else {
            Err(Err(format!("{} bytes that differ from version {version:?}", bytes.len())))
        }
    }
}
