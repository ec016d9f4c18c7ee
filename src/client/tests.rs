//! A pool of scripted peers, and time that is moved by hand.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use http::header::{IF_RANGE, RANGE};
use http::{Method, Request, Response};
use parking_lot::{Condvar, Mutex};

use super::asked::Asked;
use super::health::{Sign, Ticket};
use super::hedge::MOST_HELPERS;
use super::sending::Last;
use super::*;
use crate::body::Body;
use crate::clock::ManualClock;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{self, Within};
use crate::round_trip::{RoundTrip, RoundTripFn};
use crate::target::Target;

const URL: &str = "http://origin/a";

const PATIENCE: Duration = Duration::from_secs(20);

type Script = Box<dyn Fn(&Request<Body>) -> Result<Response<Body>> + Send + Sync>;

/// A transport on which each peer does what its script says. Whoever has none answers.
#[derive(Clone, Default)]
struct Scripted {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    scripts: Mutex<HashMap<String, Arc<Script>>>,
    /// Who was asked, in order: `1`, `1 health`, `origin`.
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    fn script(
        &self,
        peer: &str,
        script: impl Fn(&Request<Body>) -> Result<Response<Body>> + Send + Sync + 'static,
    ) {
        self.inner.scripts.lock().insert(peer.to_owned(), Arc::new(Box::new(script)));
    }

    /// This peer does nothing but fail in this way.
    fn fails(&self, peer: &str, kind: ErrorKind) {
        self.script(peer, move |_| Err(Error::new(kind, "broken")));
    }

    fn answers(&self, peer: &str) {
        self.inner.scripts.lock().remove(peer);
    }

    /// Who was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.asked.lock())
    }
}

impl RoundTrip for Scripted {
    fn round_trip(&self, mut request: Request<Body>) -> Result<Response<Body>> {
        let host = request.uri().host().unwrap().to_owned();
        let is_health = request.uri().path() == protocol::HEALTH_PATH;
        let shown = if is_health { format!("{host} health") } else { host.clone() };
        self.inner.asked.lock().push(shown);
        let script = self.inner.scripts.lock().get(&host).cloned();
        match script {
            Some(script) => script(&request),
            None => {
                let body = std::mem::take(request.body_mut()).into_text()?;
                Ok(Response::new(Body::from(format!("{host}{body}"))))
            }
        }
    }
}

struct Pool {
    scripted: Scripted,
    clock: Arc<ManualClock>,
    client: Client,
    /// The peers in the order in which they own [`URL`].
    owners: Vec<String>,
}

fn pool() -> Pool {
    pool_with(|builder| builder)
}

fn pool_with(with: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Pool {
    pool_of(&["http://one", "http://two", "http://three"], with)
}

fn pool_of(peers: &[&str], with: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Pool {
    let (scripted, clock) = (Scripted::default(), Arc::new(ManualClock::at_unix_seconds(1_000_000)));
    let builder = Client::builder()
        .pool(peers.iter().copied())
        .transport(scripted.clone())
        .clock(Arc::clone(&clock))
        .without_collecting()
        .jitter(Box::new(|| 1.0));
    let client = with(builder).build().unwrap();
    let ring = crate::ring::Ring::new(peers.iter().copied());
    let owners = ring.owners(URL).map(|owner| owner.strip_prefix("http://").unwrap().to_owned()).collect();
    Pool { scripted, clock, client, owners }
}

impl Pool {
    fn get(&self) -> String {
        self.client.get(URL).unwrap().into_body().into_text().unwrap()
    }

    fn send(&self, method: Method, body: impl Into<Body>) -> Result<Response<Body>> {
        self.client.request(Request::builder().method(method).uri(URL).body(body.into()).unwrap())
    }

    /// As if this owner had answered a while.
    fn has_taken(&self, owner: usize, took: Duration) {
        let url = format!("http://{}", self.owners[owner]).parse().unwrap();
        let peer = self.client.inner.peers.of(&url);
        (0..40).for_each(|_| peer.latency.record(took));
    }

    /// As if this owner had failed.
    fn has_failed(&self, owner: usize) {
        let url = format!("http://{}", self.owners[owner]).parse().unwrap();
        let peers = &self.client.inner.peers;
        let error = Error::new(ErrorKind::Unreachable, "broken");
        peers.told(&peers.of(&url), Sign::Failed, Ticket::default(), &error);
    }

    /// This owner answers nothing before another was passed over, and then fails.
    fn fails_after_another_was_passed_over(&self, owner: usize) {
        let inner = Arc::downgrade(&self.client.inner);
        self.scripted.script(&self.owners[owner], move |_| {
            let is_passed_over = || inner.upgrade().is_none_or(|inner| inner.counters.passed_over.read() > 0);
            wait_until(is_passed_over);
            Err(Error::new(ErrorKind::Unreachable, "broken"))
        });
    }

    /// Asks with so much time left.
    fn get_within(&self, limit: Duration) -> Result<String> {
        let mut request = Request::get(URL).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Deadline::within(limit));
        self.client.request(request)?.into_body().into_text()
    }

    fn state(&self, owner: usize) -> PeerState {
        let url = format!("http://{}", self.owners[owner]);
        self.client.health().into_iter().find(|peer| peer.url.as_str() == url).unwrap().state
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::yield_now();
    }
}

/// What waits until it is opened.
#[derive(Clone, Default)]
struct Gate {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn open(&self) {
        *self.inner.0.lock() = true;
        self.inner.1.notify_all();
    }

    fn wait(&self) {
        self.inner.1.wait_while_for(&mut self.inner.0.lock(), |is_open| !*is_open, PATIENCE);
    }
}

#[test]
fn a_peer_that_cannot_be_asked_is_followed_by_the_next() {
    for kind in [
        ErrorKind::Unreachable,
        ErrorKind::Unresolved,
        ErrorKind::Tls,
        ErrorKind::Timeout,
        ErrorKind::BadResponse,
        ErrorKind::Io,
    ] {
        let pool = pool();
        pool.scripted.fails(&pool.owners[0], kind);
        assert_eq!(pool.get(), pool.owners[1], "{kind}");
        assert_eq!(pool.scripted.asked(), pool.owners[..2], "{kind}");
        assert_eq!((pool.state(0), pool.state(1)), (PeerState::Down, PeerState::Up), "{kind}");
        assert_eq!(pool.client.counts().failovers, 1);
    }
}

#[test]
fn what_is_the_requests_fault_is_final() {
    for kind in [ErrorKind::BadRequest, ErrorKind::BadUrl, ErrorKind::Forbidden, ErrorKind::Loop] {
        let pool = pool();
        pool.scripted.fails(&pool.owners[0], kind);
        assert_eq!(pool.client.get(URL).unwrap_err().kind(), kind);
        assert_eq!((pool.scripted.asked().len(), pool.state(0)), (1, PeerState::Up), "{kind}");
    }
}

/// As a peer says it in its own name.
fn told(kind: ErrorKind) -> Result<Response<Body>> {
    let mut response = Response::builder().status(502).body(Body::from("broken")).unwrap();
    protocol::mark_failure(response.headers_mut(), kind);
    Ok(response)
}

#[test]
fn an_origin_that_fails_two_peers_is_not_tried_by_a_third_nor_directly() {
    let pool = pool();
    for owner in &pool.owners {
        pool.scripted.script(owner, |_| told(ErrorKind::Timeout));
    }
    let error = pool.client.get(URL).unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.is_told_by_peer());
    assert_eq!(pool.scripted.asked(), pool.owners[..2]);
    assert_eq!((pool.state(0), pool.state(1)), (PeerState::Up, PeerState::Up));
}

#[test]
fn a_peer_alone_that_says_its_origin_fails_is_believed() {
    let pool = pool();
    pool.client.set_pool(["http://one"]).unwrap();
    pool.scripted.script("one", |_| told(ErrorKind::Unreachable));
    assert!(pool.client.get(URL).unwrap_err().is_told_by_peer());
    assert_eq!(pool.scripted.asked(), ["one"]);
}

#[test]
fn a_peer_that_is_busy_is_passed_over_for_a_while() {
    let pool = pool();
    pool.scripted.script(&pool.owners[0], |_| told(ErrorKind::Unavailable));
    // It has begun with nothing, so that anything may go on.
    let answer = pool.send(Method::POST, " item").unwrap();
    assert_eq!(answer.into_body().into_text().unwrap(), format!("{} item", pool.owners[1]));
    assert_eq!((pool.get(), pool.state(0)), (pool.owners[1].clone(), PeerState::Down));
}

#[test]
fn an_answer_of_the_origin_is_one_whatever_its_status() {
    for status in [502, 503, 504] {
        let pool = pool();
        pool.scripted.script(&pool.owners[0], move |_| {
            Ok(Response::builder().status(status).body(Body::empty()).unwrap())
        });
        assert_eq!(pool.client.get(URL).unwrap().status(), status);
        assert_eq!((pool.scripted.asked().len(), pool.state(0)), (1, PeerState::Up));
    }
}

#[test]
fn what_may_not_be_repeated_goes_on_only_when_nothing_was_sent() {
    let pool = pool();
    pool.scripted.fails(&pool.owners[0], ErrorKind::Unreachable);
    let error = pool.send(Method::POST, "item").unwrap_err();
    assert_eq!((error.kind(), pool.scripted.asked().len()), (ErrorKind::Unreachable, 1));
    assert!(error.peer().is_some());

    let pool = self::pool();
    pool.scripted.script(&pool.owners[0], |_| Err(Error::new(ErrorKind::Unreachable, "refused").unsent()));
    let stream = Body::from_reader(&b" item"[..], Some(5));
    let answer = pool.send(Method::POST, stream).unwrap();
    assert_eq!(answer.into_body().into_text().unwrap(), format!("{} item", pool.owners[1]));
}

#[test]
fn a_body_that_was_read_is_not_sent_again() {
    let pool = pool();
    let was_read = Arc::new(AtomicBool::new(false));
    let reads = Arc::clone(&was_read);
    let stream = Body::from_reader(
        Reading(Box::new(move |_| {
            reads.store(true, Ordering::SeqCst);
            Ok(0)
        })),
        None,
    );
    for owner in &pool.owners {
        pool.scripted.fails(owner, ErrorKind::Unreachable);
    }
    let inner = pool.scripted.clone();
    let request = Request::builder().method(Method::PUT).uri(URL).body(stream).unwrap();
    // The first of them reads, and then fails.
    let transport = RoundTripFn(move |mut request: Request<Body>| {
        std::mem::take(request.body_mut()).into_bytes()?;
        inner.round_trip(request)
    });
    let client = Client::builder().pool(["http://one", "http://two"]).transport(transport).build().unwrap();
    assert_eq!(client.request(request).unwrap_err().kind(), ErrorKind::Unreachable);
    assert!(was_read.load(Ordering::SeqCst));
    assert_eq!(pool.scripted.asked().len(), 1);
}

struct Reading(Box<ReadFn>);

type ReadFn = dyn FnMut(&mut [u8]) -> io::Result<usize> + Send;

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.0)(buffer)
    }
}

#[test]
fn when_no_peer_is_left_the_origin_is_asked_or_nobody() {
    for choice in [NoPeerLeft::FetchDirectly, NoPeerLeft::Fail] {
        let pool = pool_with(|builder| builder.no_peer_left(choice));
        for owner in &pool.owners {
            pool.scripted.fails(owner, ErrorKind::Unreachable);
        }
        let first = pool.client.get(URL);
        assert_eq!(pool.scripted.asked()[..3], pool.owners);
        let second = pool.client.get(URL);
        let asked = pool.scripted.asked();
        if choice == NoPeerLeft::FetchDirectly {
            assert_eq!(first.unwrap().into_body().into_text().unwrap(), "origin");
            assert!(second.is_ok());
            // Nobody pays for a peer that is known to be down.
            assert_eq!(asked, ["origin"]);
            assert_eq!(pool.client.counts().direct_fetches, 2);
        } else {
            let owner = format!("http://{}", pool.owners[0]);
            let (first, second) = (first.unwrap_err(), second.unwrap_err());
            assert_eq!((first.kind(), first.peer()), (ErrorKind::Unreachable, Some(owner.as_str())));
            assert_eq!((second.kind(), second.peer()), (ErrorKind::NoPeerLeft, Some(owner.as_str())));
            assert!(asked.is_empty());
        }
    }
}

#[test]
fn one_request_probes_a_peer_whose_time_is_up_and_it_gets_its_keys_back() {
    let pool = pool();
    let owner = pool.owners[0].clone();
    pool.scripted.fails(&owner, ErrorKind::Unreachable);
    assert_eq!(pool.get(), pool.owners[1]);
    pool.clock.advance(Duration::from_millis(999));
    pool.scripted.asked();
    assert_eq!((pool.get(), pool.scripted.asked()), (pool.owners[1].clone(), vec![pool.owners[1].clone()]));
    pool.clock.advance(Duration::from_millis(1));
    assert_eq!(pool.get(), pool.owners[1]);
    let health = format!("{owner} health");
    assert_eq!(pool.scripted.asked(), [health.as_str(), &pool.owners[1]]);
    // Twice as long now.
    pool.clock.advance(Duration::from_millis(1999));
    assert_eq!((pool.get(), pool.scripted.asked().len()), (pool.owners[1].clone(), 1));
    pool.scripted.answers(&owner);
    pool.clock.advance(Duration::from_millis(1));
    assert_eq!((pool.get(), pool.scripted.asked()), (owner.clone(), vec![health, owner.clone()]));
    // The others come back with time.
    assert_eq!((pool.get(), pool.state(0)), (pool.owners[1].clone(), PeerState::Returning));
    pool.clock.advance(Duration::from_secs(5));
    assert_eq!((pool.get(), pool.state(0)), (owner, PeerState::Up));
}

#[test]
fn while_one_probes_the_others_pass_over() {
    let pool = Arc::new(pool());
    let owner = pool.owners[0].clone();
    pool.scripted.fails(&owner, ErrorKind::Unreachable);
    pool.get();
    pool.clock.advance(Duration::from_secs(1));
    let (begun, has_begun) = mpsc::channel();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&gate);
    pool.scripted.script(&owner, move |request| {
        if request.uri().path() == protocol::HEALTH_PATH {
            assert!(request.extensions().get::<Within>().is_some());
            begun.send(()).unwrap();
            waits.1.wait_while(&mut waits.0.lock(), |is_open| !*is_open);
        }
        Ok(Response::new(Body::from("back")))
    });
    let probing = {
        let pool = Arc::clone(&pool);
        std::thread::spawn(move || pool.get())
    };
    has_begun.recv_timeout(Duration::from_secs(20)).unwrap();
    for _ in 0..10 {
        assert_eq!((pool.get(), pool.state(0)), (pool.owners[1].clone(), PeerState::Probing));
    }
    *gate.0.lock() = true;
    gate.1.notify_all();
    assert_eq!(probing.join().unwrap(), "back");
    assert_eq!(pool.client.counts().probes, 1);
}

#[test]
fn a_peer_that_returns_is_asked_where_there_is_no_other() {
    for peers in [&["http://one"][..], &["http://one", "http://two", "http://three"]] {
        let pool = pool_of(peers, |builder| builder.no_peer_left(NoPeerLeft::Fail));
        for owner in &pool.owners {
            pool.scripted.fails(owner, ErrorKind::Unreachable);
        }
        assert!(pool.client.get(URL).is_err());
        for owner in &pool.owners {
            pool.scripted.answers(owner);
        }
        pool.clock.advance(Duration::from_secs(1));
        // The first of them probe.
        for number in 0..100 {
            pool.client.get(&format!("http://origin/{number}")).unwrap();
            pool.clock.advance(Duration::from_millis(40));
        }
        assert_eq!(pool.state(0), PeerState::Returning);
        assert_eq!(pool.client.counts().probes, peers.len() as u64);
    }
}

#[test]
fn a_peer_that_may_be_well_is_asked_while_it_is_probed_where_there_is_no_other() {
    let pool = Arc::new(pool_of(&["http://one"], |builder| builder.no_peer_left(NoPeerLeft::Fail)));
    pool.scripted.fails("one", ErrorKind::Timeout);
    assert_eq!(pool.client.get(URL).unwrap_err().kind(), ErrorKind::Timeout);
    let (begun, has_begun) = mpsc::channel();
    let gate = Gate::default();
    let probe = gate.clone();
    pool.scripted.script("one", move |request| {
        if request.uri().path() == protocol::HEALTH_PATH {
            begun.send(()).unwrap();
            probe.wait();
        }
        Ok(Response::new(Body::from("one")))
    });
    let probing = {
        let pool = Arc::clone(&pool);
        std::thread::spawn(move || pool.get())
    };
    has_begun.recv_timeout(PATIENCE).unwrap();
    assert_eq!((pool.state(0), pool.get()), (PeerState::Probing, "one".to_owned()));
    gate.open();
    assert_eq!(probing.join().unwrap(), "one");
    assert_eq!(pool.state(0), PeerState::Up);
}

#[test]
fn a_peer_that_is_known_to_be_dead_is_not_asked_while_it_is_probed() {
    let pool = Arc::new(pool_of(&["http://one"], |builder| builder));
    pool.has_failed(0);
    pool.clock.advance(Duration::from_secs(1));
    let (begun, has_begun) = mpsc::channel();
    let gate = Gate::default();
    let probe = gate.clone();
    pool.scripted.script("one", move |_| {
        begun.send(()).unwrap();
        probe.wait();
        Err(Error::new(ErrorKind::Unreachable, "broken"))
    });
    let probing = {
        let pool = Arc::clone(&pool);
        std::thread::spawn(move || pool.get())
    };
    has_begun.recv_timeout(PATIENCE).unwrap();
    assert_eq!((pool.state(0), pool.get()), (PeerState::Probing, "origin".to_owned()));
    gate.open();
    assert_eq!(probing.join().unwrap(), "origin");
    assert_eq!(pool.scripted.asked(), ["one health", "origin", "origin"]);
}

#[test]
fn one_in_a_hurry_does_not_wait_for_a_probe_which_is_made_all_the_same() {
    let pool = pool();
    pool.has_failed(0);
    pool.clock.advance(Duration::from_secs(1));
    let (begun, has_begun) = mpsc::channel();
    let gate = Gate::default();
    let probe = gate.clone();
    pool.scripted.script(&pool.owners[0], move |_| {
        begun.send(()).unwrap();
        probe.wait();
        Ok(Response::new(Body::from("back")))
    });
    let hurry = Duration::from_millis(900);
    assert_eq!(pool.get_within(hurry).unwrap(), pool.owners[1]);
    has_begun.recv_timeout(PATIENCE).unwrap();
    assert_eq!(pool.get_within(hurry).unwrap(), pool.owners[1]);
    assert_eq!(pool.state(0), PeerState::Probing);
    gate.open();
    wait_until(|| pool.state(0) == PeerState::Returning);
    pool.clock.advance(Duration::from_secs(5));
    assert_eq!(pool.get_within(hurry).unwrap(), "back");
    assert_eq!(pool.client.counts().probes, 1);
}

#[test]
fn one_url_that_fails_takes_no_peer_out_of_the_pool() {
    let pool = pool();
    let bad = |request: &Request<Body>| {
        if request.uri().query().is_some_and(|query| query.contains("poison")) {
            return Err(Error::new(ErrorKind::BadResponse, "the head is too large"));
        }
        Ok(Response::new(Body::from("fine")))
    };
    for owner in &pool.owners {
        pool.scripted.script(owner, bad);
    }
    for _ in 0..5 {
        assert!(pool.client.get("http://origin/poison").is_ok());
        assert_eq!(pool.get(), "fine");
    }
}

/// A body of which so much comes before it breaks off, and what its head says.
fn broken(bytes: &'static str, fields: &[(&str, &str)]) -> Response<Body> {
    let mut left = bytes.as_bytes();
    let reader = Reading(Box::new(move |buffer| match left.read(buffer)? {
        0 => Err(Error::new(ErrorKind::IncompleteBody, "cut").into()),
        count => Ok(count),
    }));
    let mut response = Response::builder();
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(Body::from_reader(reader, Some(10))).unwrap()
}

/// The rest of `0123456789`, as whoever has it under this tag gives it.
fn rest(request: &Request<Body>, tag: &str) -> Response<Body> {
    let range = request.headers().get(RANGE).unwrap().to_str().unwrap();
    let first: usize = range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
    let response = Response::builder().header("etag", tag);
    if request.headers()[IF_RANGE] != tag {
        return response.body(Body::from("another")).unwrap();
    }
    let response = response.status(206).header("content-range", format!("bytes {first}-9/10"));
    response.body(Body::from(&"0123456789"[first..])).unwrap()
}

#[test]
fn a_body_that_breaks_off_goes_on_from_the_next() {
    let pool = pool();
    pool.scripted.script(&pool.owners[0], |_| Ok(broken("0123", &[("etag", "\"a\"")])));
    pool.scripted.script(&pool.owners[1], |request| Ok(rest(request, "\"a\"")));
    assert_eq!(pool.get(), "0123456789");
    assert_eq!(pool.client.counts().resumed_bodies, 1);
    assert_eq!(pool.scripted.asked(), pool.owners[..2]);
}

#[test]
fn a_body_goes_on_again_when_the_next_breaks_off_too() {
    let pool = pool();
    pool.scripted.script(&pool.owners[0], |_| Ok(broken("01", &[("etag", "\"a\"")])));
    pool.scripted.script(&pool.owners[1], |_| {
        let mut part = broken("23", &[("etag", "\"a\""), ("content-range", "bytes 2-9/10")]);
        *part.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        Ok(part)
    });
    pool.scripted.script(&pool.owners[2], |request| Ok(rest(request, "\"a\"")));
    pool.scripted.script("origin", |request| Ok(rest(request, "\"a\"")));
    assert_eq!(pool.get(), "0123456789");
    assert_eq!(pool.client.counts().resumed_bodies, 2);
}

#[test]
fn a_body_that_its_reader_has_no_time_for_says_nothing_of_the_peer() {
    let pool = pool();
    for owner in &pool.owners {
        pool.scripted.script(owner, |_| Ok(broken("0123", &[("etag", "\"a\"")])));
    }
    assert_eq!(pool.get_within(Duration::ZERO).unwrap_err().kind(), ErrorKind::IncompleteBody);
    assert_eq!(pool.scripted.asked(), pool.owners[..1]);
    assert!(pool.client.health().iter().all(|peer| peer.state == PeerState::Up && peer.failures == 0));
}

#[test]
fn what_may_be_another_body_is_not_appended() {
    for (first, second) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"b\"")] {
        let pool = pool();
        pool.scripted.script(&pool.owners[0], move |_| Ok(broken("0123", &[("etag", first)])));
        pool.scripted.script(&pool.owners[1], move |request| Ok(rest(request, second)));
        let mut body = pool.client.get(URL).unwrap().into_body();
        let mut bytes = Vec::new();
        let error = Error::from(body.read_to_end(&mut bytes).unwrap_err());
        assert_eq!((bytes.as_slice(), error.kind()), (&b"0123"[..], ErrorKind::IncompleteBody));
        let owner = format!("http://{}", pool.owners[0]);
        assert_eq!((error.peer(), error.url()), (Some(owner.as_str()), Some(URL)));
        assert!(body.read(&mut [0]).is_err());
        assert_eq!(pool.client.counts().resumed_bodies, 0);
    }
}

#[test]
fn a_body_in_flight_counts_up_to_its_end() {
    let pool = pool();
    let streamed = |_: &Request<Body>| Ok(Response::new(Body::from_reader(&b"abc"[..], Some(3))));
    for owner in &pool.owners {
        pool.scripted.script(owner, streamed);
    }
    let in_flight = || pool.client.health().iter().map(|peer| peer.in_flight).sum::<u32>();
    let mut one = pool.client.get(URL).unwrap().into_body();
    let other = pool.client.get(URL).unwrap();
    assert_eq!(in_flight(), 2);
    drop(other);
    io::copy(&mut one, &mut io::sink()).unwrap();
    assert_eq!(in_flight(), 0);
}

#[test]
fn a_peer_with_too_much_to_do_hands_keys_on() {
    let pool = pool_with(|builder| builder.bounded_load(0.25));
    for owner in &pool.owners {
        let name = owner.clone();
        pool.scripted.script(owner, move |_| {
            Ok(Response::new(Body::from_reader(io::Cursor::new(name.clone()), None)))
        });
    }
    let held: Vec<_> = (0..30).map(|_| pool.client.get(URL).unwrap()).collect();
    let loads: Vec<_> = pool.client.health().iter().map(|peer| peer.in_flight).collect();
    // ceil(1.25 * 30 / 3) = 13.
    assert!(loads.iter().all(|load| (4..=13).contains(load)), "{loads:?}");
    assert_eq!(
        pool.client.health().iter().find(|peer| peer.url.authority() == pool.owners[0]).unwrap().in_flight,
        13
    );
    drop(held);
    assert_eq!(pool.get(), pool.owners[0]);
    // The others are down: it takes all.
    for owner in &pool.owners[1..] {
        pool.scripted.fails(owner, ErrorKind::Unreachable);
    }
    let held: Vec<_> = (0..9).map(|_| pool.client.get(URL).unwrap()).collect();
    assert_eq!(held.len(), 9);
    assert_eq!(pool.client.counts().direct_fetches, 0);
}

#[test]
fn a_slow_head_is_asked_of_the_next_as_well_and_the_first_answer_counts() {
    let pool = pool_with(|builder| builder.slow_peers(SlowPeers::Hedge { quantile: 0.9 }));
    pool.has_taken(0, Duration::from_millis(50));
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&gate);
    let (done, is_done) = mpsc::channel();
    pool.scripted.script(&pool.owners[0], move |_| {
        waits.1.wait_while(&mut waits.0.lock(), |is_open| !*is_open);
        done.send(()).unwrap();
        Ok(Response::new(Body::from("late")))
    });
    assert_eq!(pool.get(), pool.owners[1]);
    let counts = pool.client.counts();
    assert_eq!((counts.hedges, counts.hedges_won, counts.failovers), (1, 1, 0));
    for _ in 0..2 {
        assert_eq!(pool.get(), pool.owners[1]);
    }
    // The budget is spent: now it is waited for.
    let pool = Arc::new(pool);
    let waiting = Arc::clone(&pool);
    let waiting = std::thread::spawn(move || waiting.get());
    *gate.0.lock() = true;
    gate.1.notify_all();
    assert_eq!(waiting.join().unwrap(), "late");
    for _ in 0..4 {
        is_done.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert_eq!(pool.client.counts().hedges, 3);
}

#[test]
fn a_hedge_that_fails_leaves_the_first_to_answer() {
    let pool = pool_with(|builder| builder.slow_peers(SlowPeers::Hedge { quantile: 0.9 }));
    pool.has_taken(0, Duration::from_millis(50));
    let (asked, was_asked) = mpsc::channel();
    let was_asked = Mutex::new(was_asked);
    pool.scripted.script(&pool.owners[1], move |_| {
        asked.send(()).unwrap();
        Err(Error::new(ErrorKind::Unreachable, "broken"))
    });
    pool.scripted.script(&pool.owners[0], move |_| {
        was_asked.lock().recv_timeout(Duration::from_secs(20)).unwrap();
        Ok(Response::new(Body::from("late")))
    });
    assert_eq!(pool.get(), "late");
    let counts = pool.client.counts();
    assert_eq!((counts.hedges, counts.hedges_won), (1, 0));
}

#[test]
fn whom_no_helper_was_left_to_ask_is_asked_after_a_failure() {
    let pool = pool_with(|builder| {
        builder.slow_peers(SlowPeers::Hedge { quantile: 0.9 }).no_peer_left(NoPeerLeft::Fail)
    });
    pool.has_taken(0, Duration::from_millis(1));
    pool.has_failed(1);
    pool.fails_after_another_was_passed_over(0);
    // One is left, for the first owner.
    let gate = Gate::default();
    for _ in 1..MOST_HELPERS {
        let gate = gate.clone();
        assert!(pool.client.inner.helpers.run(Box::new(move || gate.wait())));
    }
    let answer = pool.client.get(URL);
    gate.open();
    assert_eq!(answer.unwrap().into_body().into_text().unwrap(), pool.owners[2]);
}

#[test]
fn a_hedge_does_not_use_up_the_turn_of_the_peer_that_asks() {
    let peers = ["http://one", "http://two", "http://three", "http://four"];
    let pool = pool_of(&peers, |builder| builder.slow_peers(SlowPeers::Hedge { quantile: 0.9 }));
    pool.has_taken(0, Duration::from_millis(1));
    pool.has_failed(1);
    pool.fails_after_another_was_passed_over(0);
    let own = RoundTripFn(|_: Request<Body>| Ok(Response::new(Body::from("own"))));
    let url = format!("http://{}", pool.owners[2]).parse().unwrap();
    let asked = Asked::new(Target::parse(URL).unwrap(), Request::new(Body::empty()));
    let answer = pool.client.inner.round_trip(asked, &Last::Own(&url, &own)).unwrap();
    assert_eq!(answer.into_body().into_text().unwrap(), "own");
    assert_eq!(pool.scripted.asked(), pool.owners[..1]);
}

#[test]
fn a_transport_that_panics_in_a_helper_is_an_error() {
    let pool = pool_with(|builder| {
        builder.slow_peers(SlowPeers::Hedge { quantile: 0.9 }).no_peer_left(NoPeerLeft::Fail)
    });
    pool.has_taken(0, Duration::from_millis(50));
    pool.scripted.script(&pool.owners[0], |_| panic!("on purpose"));
    assert_eq!(pool.get(), pool.owners[1]);
    let flying: u32 = pool.client.health().iter().map(|peer| peer.in_flight).sum();
    assert_eq!(flying, 0);
}

#[test]
fn a_peer_that_is_much_slower_than_the_others_is_passed_over_for_a_while() {
    let pool = pool_with(|builder| builder.slow_peers(SlowPeers::Skip { factor: 5.0 }));
    pool.has_taken(1, Duration::from_millis(10));
    pool.has_taken(2, Duration::from_millis(10));
    pool.has_taken(0, Duration::from_millis(100));
    // It is not looked at after each answer.
    while pool.state(0) == PeerState::Up {
        assert_eq!(pool.get(), pool.owners[0]);
    }
    assert_eq!(pool.get(), pool.owners[1]);
    assert_eq!(pool.client.health().iter().map(|peer| peer.failures).sum::<u32>(), 0);
    pool.clock.advance(Duration::from_secs(10));
    assert_eq!(pool.get(), pool.owners[0]);
}

#[test]
fn a_slow_peer_is_better_than_none() {
    let pool = pool_with(|builder| builder.slow_peers(SlowPeers::Skip { factor: 5.0 }));
    pool.has_taken(1, Duration::from_millis(10));
    pool.has_taken(2, Duration::from_millis(10));
    pool.has_taken(0, Duration::from_millis(100));
    while pool.state(0) == PeerState::Up {
        pool.get();
    }
    pool.scripted.fails(&pool.owners[1], ErrorKind::Unreachable);
    pool.scripted.fails(&pool.owners[2], ErrorKind::Unreachable);
    assert_eq!((pool.get(), pool.state(0)), (pool.owners[0].clone(), PeerState::Down));
    assert_eq!(pool.client.counts().direct_fetches, 0);
}

#[test]
fn no_peer_is_so_slow_that_it_cannot_be_told_how_slow() {
    let pool = pool_with(|builder| builder.slow_peers(SlowPeers::Skip { factor: f64::MAX }));
    (0..3).for_each(|owner| pool.has_taken(owner, Duration::from_millis(100)));
    for _ in 0..64 {
        assert_eq!(pool.get(), pool.owners[0]);
    }
}

#[test]
fn what_one_client_learnt_another_is_told() {
    let pool = pool();
    pool.scripted.fails(&pool.owners[0], ErrorKind::Unreachable);
    pool.get();
    let marks = pool.client.marks().to_string();
    assert_eq!(marks, format!("http://{} 1000001000 1\n", pool.owners[0]));
    let next = pool_with(|builder| builder.marks(Marks::parse(&marks)));
    assert_eq!(next.get(), pool.owners[1]);
    assert_eq!(next.scripted.asked(), [pool.owners[1].as_str()]);
    next.clock.advance(Duration::from_secs(1));
    assert_eq!(next.get(), pool.owners[0]);
    assert!(next.client.marks().is_empty());
}

#[test]
fn an_explanation_is_asked_of_who_stands_in() {
    let pool = pool();
    pool.scripted.fails(&pool.owners[0], ErrorKind::Unreachable);
    let request = Request::get(URL).body(()).unwrap();
    assert_eq!(pool.client.explain(&request).unwrap(), pool.owners[1]);
    for owner in &pool.owners {
        pool.scripted.fails(owner, ErrorKind::Unreachable);
    }
    pool.scripted.asked();
    assert!(pool.client.explain(&request).is_err());
    // An origin explains nothing.
    assert!(!pool.scripted.asked().contains(&"origin".to_owned()));
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for builder in [
        Client::builder().bounded_load(-0.1),
        Client::builder().bounded_load(f64::NAN),
        Client::builder().slow_peers(SlowPeers::Skip { factor: 0.5 }),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::BadOption);
    }
}
