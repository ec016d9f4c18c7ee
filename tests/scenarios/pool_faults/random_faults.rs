//! Random faults for a limited time, and the invariants that must hold.
//!
//! The faults and the requests depend only on the seed; their timing depends on the machine.
//! `FORWARDCACHE_SEED` replays a run, and `FORWARDCACHE_FAULT_SECONDS` sets its duration (default 5).

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use forwardcache::{Body, Client, Deadline, Error, ErrorKind, NoPeerLeft, Outcome, PeerState, Purge};
use http::{Request, Response};
use parking_lot::{Condvar, Mutex};

use super::changing_origin::{Changing, Health};
use super::load;
use super::versioned_origin::{body, version_of};
use crate::processes::PeerProcess;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::random::Random;
use crate::support::relay::{Harm, Relay};

const SECONDS: u64 = 5;

const THREADS: u64 = 4;
/// The longest time between two steps while requests finish.
const STEP: Duration = Duration::from_secs(1);

/// The deadline of most requests, and the tolerance for scheduling delays.
const LONG: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_millis(1500);

/// Bodies up to this length are buffered before the response is returned.
const COLLECTED: usize = 64 << 10;

const HARMS: [Harm; 9] = [
    Harm::Away,
    Harm::Silent,
    Harm::ResetAfterHead,
    Harm::ResetInBody,
    Harm::CutInBody,
    Harm::Garbage,
    Harm::TrickledHead,
    Harm::TrickledBody,
    Harm::Altered,
];

fn number(variable: &str) -> Option<u64> {
    env::var(variable)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// The results so far.
#[derive(Default)]
struct Seen {
    requests: usize,
    longest: Duration,
    excused: BTreeMap<String, usize>,
    outcomes: BTreeMap<&'static str, usize>,
    broken: Vec<String>,
}

struct Run {
    world: Changing,
    client: Client,
    seen: Mutex<Seen>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[test]
fn random_faults_cause_no_wrong_stale_or_needlessly_failed_response() {
    let time = Duration::from_secs(number("FORWARDCACHE_FAULT_SECONDS").unwrap_or(SECONDS));
    let moment = u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    let seed = number("FORWARDCACHE_SEED").unwrap_or(moment);
    let mut pool: Vec<_> = (0..3).map(|_| PeerProcess::start()).collect();
    let relays: Vec<_> = pool.iter().map(|peer| Relay::to(peer.address)).collect();
    let client = load::client(relays.iter().map(Relay::url)).no_peer_left(NoPeerLeft::FetchDirectly);
    let run = Run {
        world: Changing::start(),
        client: client.build().unwrap(),
        seen: Mutex::default(),
        changed: Condvar::new(),
        is_over: AtomicBool::new(false),
    };
    let mut steps = Vec::new();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let run = &run;
            scope.spawn(move || run.ask(&mut Random::new(seed ^ (number + 1) << 40)));
        }
        let _over = Over(&run.is_over);
        let (begun, mut random) = (Instant::now(), Random::new(seed));
        while begun.elapsed() < time && run.seen.lock().broken.is_empty() {
            steps.push(format!("{:?}: {}", begun.elapsed(), run.step(&mut random, &mut pool, &relays)));
            run.wait_for_more(1 + random.below(60));
        }
        run.mend(&mut pool, &relays);
    });
    let seen = run.seen.into_inner();
    println!(
        "{} requests during {} steps of FORWARDCACHE_SEED={seed}; longest {:?}; outcomes {:?}; allowed failures {:?}",
        seen.requests,
        steps.len(),
        seen.longest,
        seen.outcomes,
        seen.excused
    );
    let mut said = String::new();
    for step in &steps[steps.len().saturating_sub(25)..] {
        let _ = writeln!(said, "{step}");
    }
    let broken = &seen.broken;
    assert!(broken.is_empty(), "{broken:#?}\nafter\n{said}to replay, set FORWARDCACHE_SEED={seed}");
}

impl Run {
    /// Blocks until `more` further requests have finished, or at most [`STEP`] after the first of them: when every
    /// peer is
    /// slow and the origin is down, each request uses up its deadline.
    fn wait_for_more(&self, more: usize) {
        let mut seen = self.seen.lock();
        let requests = seen.requests;
        let is_short_of =
            |seen: &Seen, number: usize| seen.requests < requests + number && seen.broken.is_empty();
        if self.changed.wait_while_for(&mut seen, |seen| is_short_of(seen, 1), PATIENCE).timed_out() {
            seen.broken.push("no request finishes any more".to_owned());
        }
        self.changed.wait_while_for(&mut seen, |seen| is_short_of(seen, more), STEP);
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
                let harm = *random.one_of(&HARMS);
                relays[at].set(Some(harm));
                format!("peer {at}: {harm:?}")
            }
            7 => {
                relays[at].set(None);
                format!("peer {at} is no longer faulty")
            }
            8 => {
                let health = *random.one_of(&[Health::Up, Health::Up, Health::Slow, Health::Down]);
                self.world.set(health);
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
                let (asked, is_all) = (Instant::now(), self.client.pool().len() == 3);
                let purged = self.client.purge(&Purge::all()).unwrap();
                let is_complete = is_all && purged.is_complete();
                if is_complete {
                    self.world.is_purged(asked);
                }
                format!("purge of everything, complete: {is_complete}")
            }
            _ => {
                self.world.next_version();
                "the origin has a new version".to_owned()
            }
        }
    }

    /// Repairs everything and waits until every peer is used again.
    fn mend(&self, pool: &mut [PeerProcess], relays: &[Relay]) {
        self.world.set(Health::Up);
        for (peer, relay) in pool.iter_mut().zip(relays) {
            relay.set(None);
            peer.restart();
        }
        self.client.set_pool(relays.iter().map(Relay::url)).unwrap();
        let begun = Instant::now();
        let is_up = || self.client.health().iter().all(|peer| peer.state != PeerState::Down);
        while !is_up() && self.seen.lock().broken.is_empty() {
            self.wait_for_more(1);
            if begun.elapsed() > 2 * PATIENCE {
                self.seen.lock().broken.push("a restarted peer is not used again".to_owned());
            }
        }
    }

    fn ask(&self, random: &mut Random) {
        while !self.is_over.load(Ordering::SeqCst) {
            let asked = Asked::new(random);
            let (begun, purged) = (Instant::now(), self.world.oldest_after_purge());
            let limit = if asked.is_hasty { Duration::from_millis(20 + random.next() % 300) } else { LONG };
            let mut request = asked.request(&self.world.origin.url(&asked.target));
            request.extensions_mut().insert(Deadline::within(limit));
            let answer = self.client.request(request);
            let outcome = answer.as_ref().ok().and_then(|answer| Outcome::of(answer.headers()));
            let version = answer.as_ref().ok().and_then(version_of);
            let is_handed_out = answer.is_ok();
            let read = asked.read(answer);
            let took = begun.elapsed();
            let is_stale = matches!(outcome, Some(Outcome::StaleOnError(_) | Outcome::StaleAccepted));
            let wrong = match &read {
                Ok(()) if asked.method == "POST" => None,
                Ok(()) => {
                    let version = version.unwrap_or(0);
                    self.world.judge(&asked.target, version, begun, purged, is_stale, asked.is_hasty).err()
                }
                Err(Err(wrong)) => Some(wrong.clone()),
                Err(Ok(error))
                    if self.is_excused(&asked, error, begun, took >= limit, outcome, is_handed_out) =>
                {
                    None
                }
                Err(Ok(error)) => Some(format!("unexpected failure: {error:?}")),
            };
            let late = (took > limit + SLACK).then(|| format!("took {took:?}, limit {limit:?}"));
            let mut seen = self.seen.lock();
            seen.requests += 1;
            seen.longest = seen.longest.max(took);
            match &read {
                Ok(()) => *seen.outcomes.entry(outcome.map_or("uncached", Outcome::name)).or_default() += 1,
                Err(Ok(error)) => {
                    let hasty = if asked.is_hasty { " with a short deadline" } else { "" };
                    let what = format!("{}: {}{hasty}", asked.method, error.kind());
                    *seen.excused.entry(what).or_default() += 1;
                }
                Err(Err(_)) => {}
            }
            for wrong in wrong.into_iter().chain(late) {
                seen.broken.push(format!("{asked:?}: {wrong} ({outcome:?}, after {took:?} of {limit:?})"));
            }
            drop(seen);
            self.changed.notify_all();
        }
    }

    /// Returns whether this failure is allowed.
    fn is_excused(
        &self,
        asked: &Asked,
        error: &Error,
        begun: Instant,
        is_over: bool,
        outcome: Option<Outcome>,
        is_handed_out: bool,
    ) -> bool {
        match error.kind() {
            // The deadline passed. A returned body may have been resumed from one slow peer after another; the error
            // is that of
            // the last peer if no time is left for the next one.
            ErrorKind::Timeout if is_over && asked.is_hasty => true,
            ErrorKind::Timeout | ErrorKind::IncompleteBody if is_over && is_handed_out => true,
            // A slow origin delays any response that is not from the store.
            ErrorKind::Timeout if is_over && outcome.is_some_and(|outcome| !outcome.is_from_store()) => true,
            // A POST must not be retried, since the origin may have processed it.
            _ if asked.method == "POST" => true,
            _ if !self.world.was_up_since(begun) => true,
            // A body that has been returned can only be resumed with the same bytes. A short body is returned early
            // as well if it
            // arrives slowly.
            ErrorKind::DigestMismatch => is_handed_out,
            ErrorKind::IncompleteBody | ErrorKind::Timeout | ErrorKind::Unreachable | ErrorKind::Io
                if is_handed_out =>
            {
                !self.world.was_one_version(&asked.target, begun)
            }
            _ => false,
        }
    }
}

/// A request and its expected response.
#[derive(Debug)]
struct Asked {
    method: &'static str,
    target: String,
    range: Option<(usize, usize)>,
    content: Vec<u8>,
    is_hasty: bool,
}

impl Asked {
    fn new(random: &mut Random) -> Self {
        let class = random.one_of(&["fixed", "short", "strict"]);
        let target = format!("/{class}/{}", random.below(16));
        let size = body(&target, 1).len();
        let (mut method, mut range, mut content) = ("GET", None, Vec::new());
        match random.below(20) {
            0 | 1 => method = "HEAD",
            2 => (method, content) = ("POST", random.next().to_string().into_bytes()),
            3..6 if size <= COLLECTED => {
                let start = random.below(size);
                range = Some((start, start + random.below(size - start)));
            }
            _ => {}
        }
        Self { method, target, range, content, is_hasty: random.below(10) == 0 }
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
    fn read(&self, answer: Result<Response<Body>, Error>) -> Result<(), Result<Error, String>> {
        let response = answer.map_err(Ok)?;
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
