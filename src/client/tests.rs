//! Tests of a client with scripted peers and a manual clock.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header::{IF_RANGE, RANGE};
use http::{Method, Request, Response};
use parking_lot::{Condvar, Mutex};

use super::peer_circuit_breaker::{Epoch, Evidence};
use super::*;
use crate::base::clock::ManualClock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::round_trip::{RoundTrip, RoundTripFn};
use crate::pool::protocol;

const URL: &str = "http://origin/a";

const MAX_WAIT: Duration = Duration::from_secs(20);

type Script = Box<dyn Fn(&Request<Body>) -> Result<Response<Body>> + Send + Sync>;

/// A transport on which each peer follows its script. A peer without a script responds with its name.
#[derive(Clone, Default)]
struct Scripted {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    scripts: Mutex<HashMap<String, Arc<Script>>>,
    /// The requests in order: `1`, `1 health`, `origin`.
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

    /// Makes every request to this peer fail with this error.
    fn fails(&self, peer: &str, kind: ErrorKind) {
        self.script(peer, move |_| Err(Error::new(kind, "broken")));
    }

    fn answers(&self, peer: &str) {
        self.inner.scripts.lock().remove(peer);
    }

    /// Returns the requests since the last call.
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
        .without_buffering()
        .jitter(Box::new(|| 1.0));
    let client = with(builder).build().unwrap();
    let ring = crate::pool::ring::Ring::new(peers.iter().copied());
    let owners = ring.owners(URL).map(|owner| owner.strip_prefix("http://").unwrap().to_owned()).collect();
    Pool { scripted, clock, client, owners }
}

impl Pool {
    fn get(&self) -> String {
        self.client.get(URL).send().unwrap().into_body().into_text().unwrap()
    }

    fn send(&self, method: Method, body: impl Into<Body>) -> Result<Response<Body>> {
        self.client.request(method, URL).body(body).send()
    }

    /// Records a failure of this owner.
    fn has_failed(&self, owner: usize) {
        let url = format!("http://{}", self.owners[owner]).parse().unwrap();
        let peers = &self.client.inner.peers;
        let error = Error::new(ErrorKind::Unreachable, "broken");
        peers.record_error(&peers.entry(&url), Evidence::Failed, Epoch::default(), &error);
    }

    /// Sends a request with this much time left.
    fn get_within(&self, limit: Duration) -> Result<String> {
        self.client.get(URL).timeout(limit).send()?.into_body().into_text()
    }

    fn state(&self, owner: usize) -> PeerState {
        let url = format!("http://{}", self.owners[owner]);
        self.client.health().into_iter().find(|peer| peer.url.as_str() == url).unwrap().state
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < MAX_WAIT, "it does not come");
        std::thread::yield_now();
    }
}

/// A gate: threads wait until it is opened.
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
        self.inner.1.wait_while_for(&mut self.inner.0.lock(), |is_open| !*is_open, MAX_WAIT);
    }
}

#[test]
fn failed_peer_is_followed_by_the_next() {
    for kind in
        [ErrorKind::Unreachable, ErrorKind::Unresolved, ErrorKind::Tls, ErrorKind::BadResponse, ErrorKind::Io]
    {
        let pool = pool();
        pool.scripted.fails(&pool.owners[0], kind);
        assert_eq!(pool.get(), pool.owners[1], "{kind}");
        assert_eq!(pool.scripted.asked(), pool.owners[..2], "{kind}");
        assert_eq!((pool.state(0), pool.state(1)), (PeerState::Down, PeerState::Up), "{kind}");
        assert_eq!(pool.client.counts().failovers, 1);
    }
}

#[test]
fn errors_of_the_request_are_final() {
    for kind in [ErrorKind::BadRequest, ErrorKind::BadUrl, ErrorKind::Forbidden, ErrorKind::Loop] {
        let pool = pool();
        pool.scripted.fails(&pool.owners[0], kind);
        assert_eq!(pool.client.get(URL).send().unwrap_err().kind(), kind);
        assert_eq!((pool.scripted.asked().len(), pool.state(0)), (1, PeerState::Up), "{kind}");
    }
}

/// Returns an error response of a peer.
fn told(kind: ErrorKind) -> Result<Response<Body>> {
    let mut response = Response::builder().status(502).body(Body::from("broken")).unwrap();
    protocol::mark_failure(response.headers_mut(), kind);
    Ok(response)
}

#[test]
fn failed_origin_is_tried_by_two_peers_only() {
    let pool = pool();
    for owner in &pool.owners {
        pool.scripted.script(owner, |_| told(ErrorKind::Timeout));
    }
    let error = pool.client.get(URL).send().unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.is_reported_by_peer());
    assert_eq!(pool.scripted.asked(), pool.owners[..2]);
    assert_eq!((pool.state(0), pool.state(1)), (PeerState::Up, PeerState::Up));
}

#[test]
fn origin_failure_reported_by_the_only_peer_is_final() {
    let pool = pool();
    pool.client.set_pool(["http://one"]).unwrap();
    pool.scripted.script("one", |_| told(ErrorKind::Unreachable));
    assert!(pool.client.get(URL).send().unwrap_err().is_reported_by_peer());
    assert_eq!(pool.scripted.asked(), ["one"]);
}

#[test]
fn origin_response_is_final_whatever_its_status() {
    for status in [502, 503, 504] {
        let pool = pool();
        pool.scripted.script(&pool.owners[0], move |_| {
            let mut response = Response::builder().status(status).body(Body::empty()).unwrap();
            protocol::mark_peer(response.headers_mut());
            Ok(response)
        });
        let response = pool.client.get(URL).send().unwrap();
        assert!(response.status() == status && response.headers().is_empty());
        assert_eq!((pool.scripted.asked().len(), pool.state(0)), (1, PeerState::Up));
    }
}

#[test]
fn request_that_is_not_idempotent_is_retried_only_if_unsent() {
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
fn request_body_that_was_read_is_not_sent_again() {
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
    // The first peer reads the body and then fails.
    let transport = RoundTripFn(move |mut request: Request<Body>| {
        std::mem::take(request.body_mut()).into_bytes()?;
        inner.round_trip(request)
    });
    let client = Client::builder().pool(["http://one", "http://two"]).transport(transport).build().unwrap();
    assert_eq!(client.round_trip(request).unwrap_err().kind(), ErrorKind::Unreachable);
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
fn without_peers_the_origin_is_asked_or_the_request_fails() {
    for choice in [OnNoPeers::FetchDirectly, OnNoPeers::Fail] {
        let pool = pool_with(|builder| builder.on_no_peers(choice));
        for owner in &pool.owners {
            pool.scripted.fails(owner, ErrorKind::Unreachable);
        }
        let first = pool.client.get(URL).send();
        assert_eq!(pool.scripted.asked()[..3], pool.owners);
        let second = pool.client.get(URL).send();
        let asked = pool.scripted.asked();
        if choice == OnNoPeers::FetchDirectly {
            assert_eq!(first.unwrap().into_body().into_text().unwrap(), "origin");
            assert!(second.is_ok());
            // Requests do not wait for a peer that is known to be down.
            assert_eq!(asked, ["origin"]);
            assert_eq!(pool.client.counts().direct_fetches, 2);
        } else {
            let owner = format!("http://{}", pool.owners[0]);
            let (first, second) = (first.unwrap_err(), second.unwrap_err());
            assert_eq!((first.kind(), first.peer()), (ErrorKind::Unreachable, Some(owner.as_str())));
            assert_eq!((second.kind(), second.peer()), (ErrorKind::NoPeers, Some(owner.as_str())));
            assert!(asked.is_empty());
        }
    }
}

/// A body that breaks off after these bytes, with these header fields.
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

/// The response of a peer to the request for the rest of `0123456789`, with this entity tag.
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
fn broken_body_continues_from_the_next_peer() {
    let pool = pool();
    pool.scripted.script(&pool.owners[0], |_| Ok(broken("0123", &[("etag", "\"a\"")])));
    pool.scripted.script(&pool.owners[1], |request| Ok(rest(request, "\"a\"")));
    assert_eq!(pool.get(), "0123456789");
    assert_eq!(pool.client.counts().resumed_bodies, 1);
    assert_eq!(pool.scripted.asked(), pool.owners[..2]);
}

#[test]
fn body_continues_again_if_the_next_peer_breaks_off() {
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
fn deadline_of_the_reader_is_not_held_against_the_peer() {
    let pool = pool();
    for owner in &pool.owners {
        pool.scripted.script(owner, |_| Ok(broken("0123", &[("etag", "\"a\"")])));
    }
    assert_eq!(pool.get_within(Duration::ZERO).unwrap_err().kind(), ErrorKind::IncompleteBody);
    assert_eq!(pool.scripted.asked(), pool.owners[..1]);
    assert!(pool.client.health().iter().all(|peer| peer.state == PeerState::Up && peer.failures == 0));
}

#[test]
fn body_without_the_same_strong_validator_is_not_continued() {
    for (first, second) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"b\"")] {
        let pool = pool();
        pool.scripted.script(&pool.owners[0], move |_| Ok(broken("0123", &[("etag", first)])));
        pool.scripted.script(&pool.owners[1], move |request| Ok(rest(request, second)));
        let mut body = pool.client.get(URL).send().unwrap().into_body();
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
fn next_owner_explains_if_the_first_is_down() {
    let pool = pool();
    pool.scripted.fails(&pool.owners[0], ErrorKind::Unreachable);
    let request = Request::get(URL).body(()).unwrap();
    assert_eq!(pool.client.explain(&request).unwrap(), pool.owners[1]);
    for owner in &pool.owners {
        pool.scripted.fails(owner, ErrorKind::Unreachable);
    }
    pool.scripted.asked();
    assert!(pool.client.explain(&request).is_err());
    // An origin does not explain requests.
    assert!(!pool.scripted.asked().contains(&"origin".to_owned()));
}

#[test]
fn client_is_send_sync_and_clone() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&pool().client);
}

#[test]
fn busy_peer_is_not_marked_and_one_other_is_asked() {
    let pool = pool();
    let busy = |_: &Request<Body>| {
        let mut response = told(ErrorKind::Unavailable)?;
        response.headers_mut().insert("retry-after", "7".parse().unwrap());
        Ok(response)
    };
    pool.scripted.script(&pool.owners[0], busy);
    // A busy peer has not processed the request, so that any method may be retried.
    let answer = pool.send(Method::POST, " item").unwrap();
    assert_eq!(answer.into_body().into_text().unwrap(), format!("{} item", pool.owners[1]));
    assert_eq!(pool.state(0), PeerState::Up);
    pool.scripted.script(&pool.owners[1], busy);
    pool.scripted.asked();
    let error = pool.client.get(URL).send().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(7))));
    assert_eq!(pool.scripted.asked(), pool.owners[..2]);
    // The budget is spent: one in ten requests is retried.
    pool.scripted.answers(&pool.owners[1]);
    let went_on = (0..40).filter(|_| pool.client.get(URL).send().is_ok()).count();
    assert_eq!(went_on, 12);
    assert!(pool.client.health().iter().all(|peer| peer.state == PeerState::Up && peer.failures == 0));
}

#[test]
fn unmarked_server_error_is_followed_by_the_next_peer() {
    let unmarked = |_: &Request<Body>| Ok(Response::builder().status(502).body(Body::empty()).unwrap());
    let pool = pool();
    pool.scripted.script(&pool.owners[0], unmarked);
    assert_eq!((pool.get(), pool.state(0)), (pool.owners[1].clone(), PeerState::Up));
    let pool = pool_with(|builder| builder.accept_unmarked(true));
    pool.scripted.script(&pool.owners[0], unmarked);
    assert_eq!(pool.client.get(URL).send().unwrap().status(), 502);
}

#[test]
fn misconfigured_peer_is_followed_by_the_next_but_never_bypassed() {
    for kind in [ErrorKind::Unauthorized, ErrorKind::BadPeer] {
        let pool = pool();
        pool.scripted.script(&pool.owners[0], move |_| told(kind));
        let answer = pool.send(Method::POST, "").unwrap();
        assert_eq!(answer.into_body().into_text().unwrap(), pool.owners[1]);
        for owner in &pool.owners {
            pool.scripted.script(owner, move |_| told(kind));
        }
        pool.scripted.asked();
        assert_eq!(pool.client.get(URL).send().unwrap_err().kind(), kind);
        assert_eq!(pool.scripted.asked(), pool.owners);
        assert!(pool.client.health().iter().all(|peer| peer.state == PeerState::Up));
    }
}

#[test]
fn untrusted_peers_are_neither_marked_nor_bypassed() {
    let untrusted = |_: &Request<Body>| {
        Err(Error::new(ErrorKind::Tls, "UnknownIssuer").because(crate::base::error::Cause::Trust).unsent())
    };
    let pool = pool();
    pool.scripted.script(&pool.owners[0], untrusted);
    assert_eq!(pool.get(), pool.owners[1]);
    for owner in &pool.owners {
        pool.scripted.script(owner, untrusted);
    }
    pool.scripted.asked();
    let error = pool.client.get(URL).send().unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Tls, "UnknownIssuer"));
    assert_eq!(pool.scripted.asked(), pool.owners);
    assert!(pool.client.health().iter().all(|peer| peer.state == PeerState::Up));
}

#[test]
fn response_over_the_limits_is_not_the_peers_fault() {
    let pool = pool();
    for owner in &pool.owners {
        pool.scripted.script(owner, |_| {
            Err(Error::new(ErrorKind::BadResponse, "too large").because(crate::base::error::Cause::Limits))
        });
    }
    for _ in 0..5 {
        assert_eq!(pool.client.get(URL).send().unwrap_err().kind(), ErrorKind::BadResponse);
        assert_eq!(pool.scripted.asked(), pool.owners[..1]);
    }
    assert_eq!(pool.state(0), PeerState::Up);
}

#[test]
fn slow_connection_is_overtaken_and_tried_again_last() {
    let pool = pool_with(|builder| builder.connect_timeout(Duration::from_secs(1)));
    let (first, health) = (pool.owners[0].clone(), Gate::default());
    let gate = health.clone();
    pool.scripted.script(&first, move |request| {
        if request.uri().path() == protocol::HEALTH_PATH {
            gate.wait();
            return Ok(Response::new(Body::empty()));
        }
        let limit = request.extensions().get::<protocol::ConnectTimeout>().unwrap().0;
        if limit < Duration::from_secs(1) {
            return Err(Error::new(ErrorKind::Timeout, "no connection in time").unsent());
        }
        Ok(Response::new(Body::from("late")))
    });
    assert_eq!((pool.get(), pool.state(0)), (pool.owners[1].clone(), PeerState::Up));
    for owner in &pool.owners[1..] {
        pool.scripted.fails(owner, ErrorKind::Unreachable);
    }
    assert_eq!((pool.get(), pool.state(0)), ("late".to_owned(), PeerState::Up));
    health.open();
}

/// A peer that sends nothing until the exchange is cancelled, and handles health checks with `health`.
fn silent(
    health: impl Fn() -> Result<Response<Body>> + Send + Sync + 'static,
) -> impl Fn(&Request<Body>) -> Result<Response<Body>> + Send + Sync + 'static {
    move |request| {
        if request.uri().path() == protocol::HEALTH_PATH {
            return health();
        }
        let gate = Gate::default();
        let opened = gate.clone();
        let token = request.extensions().get::<crate::base::cancellation::Cancellation>().unwrap();
        let _hook = token.on_cancel(move || opened.open());
        gate.wait();
        Err(Error::new(ErrorKind::Io, "shut"))
    }
}

#[test]
fn silent_peer_is_given_up_and_marked() {
    let pool = pool();
    let gone = || Err(Error::new(ErrorKind::Timeout, "no answer"));
    pool.scripted.script(&pool.owners[0], silent(gone));
    let begun = Instant::now();
    assert_eq!(pool.get(), pool.owners[1]);
    assert!(begun.elapsed() >= exchange::LATE_AFTER && begun.elapsed() < 3 * exchange::LATE_AFTER);
    wait_until(|| pool.state(0) == PeerState::Down);
    assert_eq!(pool.client.counts().probes, 2);
    // A request that is not idempotent fails once the peer is marked.
    let pool = self::pool();
    pool.scripted.script(&pool.owners[0], silent(gone));
    let error = pool.send(Method::POST, "item").unwrap_err();
    assert_eq!((error.kind(), error.peer().is_some()), (ErrorKind::Timeout, true));
    assert_eq!((pool.client.counts().failovers, pool.state(0)), (0, PeerState::Down));
}

#[test]
fn late_peer_with_a_good_health_check_is_waited_for() {
    let pool = pool();
    let (gate, answered) = (Gate::default(), Gate::default());
    let (head, said) = (gate.clone(), answered.clone());
    pool.scripted.script(&pool.owners[0], move |request| {
        if request.uri().path() == protocol::HEALTH_PATH {
            said.open();
        } else {
            head.wait();
        }
        Ok(Response::new(Body::from("slow")))
    });
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| pool.get());
        answered.wait();
        gate.open();
        assert_eq!(asking.join().unwrap(), "slow");
    });
    assert_eq!((pool.client.counts().failovers, pool.state(0)), (0, PeerState::Up));
    assert!(pool.client.counts().probes >= 1);
}

#[test]
fn failed_peer_is_probed_in_the_background_and_returns() {
    let pool = pool();
    let owner = pool.owners[0].clone();
    pool.scripted.fails(&owner, ErrorKind::Unreachable);
    assert_eq!(pool.get(), pool.owners[1]);
    pool.clock.advance(Duration::from_millis(999));
    pool.scripted.asked();
    assert_eq!((pool.get(), pool.scripted.asked()), (pool.owners[1].clone(), vec![pool.owners[1].clone()]));
    pool.scripted.answers(&owner);
    pool.clock.advance(Duration::from_millis(1));
    // Requests do not wait for the probe.
    assert_eq!(pool.get(), pool.owners[1]);
    wait_until(|| pool.state(0) == PeerState::Returning);
    pool.clock.advance(Duration::from_secs(5));
    assert_eq!((pool.get(), pool.state(0)), (owner, PeerState::Up));
    assert_eq!(pool.client.counts().probes, 1);
}

#[test]
fn peer_due_for_a_probe_is_asked_if_no_other_is_left() {
    let pool = pool_of(&["http://one"], |builder| builder.on_no_peers(OnNoPeers::Fail));
    pool.has_failed(0);
    assert_eq!(pool.client.get(URL).send().unwrap_err().kind(), ErrorKind::NoPeers);
    pool.clock.advance(Duration::from_secs(1));
    assert_eq!(pool.get(), "one");
    let pool = pool_of(&["http://one"], |builder| builder);
    pool.has_failed(0);
    pool.clock.advance(Duration::from_secs(1));
    assert_eq!(pool.get(), "origin");
}

#[test]
fn stopping_peer_gets_no_requests_until_it_is_back() {
    let pool = pool();
    pool.scripted.script(&pool.owners[0], |_| {
        let mut response = Response::new(Body::from("leaving"));
        protocol::announce_leaving(response.headers_mut());
        Ok(response)
    });
    assert_eq!((pool.get(), pool.state(0)), ("leaving".to_owned(), PeerState::Draining));
    for probes in 1..10 {
        assert_eq!(pool.get(), pool.owners[1]);
        pool.clock.advance(Duration::from_secs(1));
        assert_eq!(pool.get(), pool.owners[1]);
        wait_until(|| pool.client.counts().probes == probes);
        wait_until(|| pool.client.health().iter().any(|peer| peer.until.is_some()));
    }
    assert!(pool.client.health().iter().all(|peer| peer.failures == 0));
}

#[test]
fn repeated_broken_bodies_mark_a_peer_if_others_have_them() {
    let urls: Vec<_> = (0..).map(|number| format!("http://origin/{number}")).take(40).collect();
    let pool = pool();
    let first = format!("http://{}", pool.owners[0]);
    let owned = urls.iter().filter(|url| pool.client.owner(url).unwrap().unwrap().as_str() == first);
    pool.scripted.script(&pool.owners[0], |_| Err(Error::new(ErrorKind::IncompleteBody, "cut")));
    let mut broken = 0;
    for url in owned {
        broken += usize::from(pool.state(0) == PeerState::Up);
        pool.client.get(url).send().unwrap();
    }
    assert_eq!((broken, pool.state(0)), (3, PeerState::Down));
    // A body that breaks at every peer is the origin's fault.
    let pool = pool_with(|builder| builder.on_no_peers(OnNoPeers::Fail));
    for owner in &pool.owners {
        pool.scripted.script(owner, |_| Err(Error::new(ErrorKind::IncompleteBody, "cut")));
    }
    for url in &urls {
        assert_eq!(pool.client.get(url).send().unwrap_err().kind(), ErrorKind::IncompleteBody);
    }
    assert!(pool.client.health().iter().all(|peer| peer.state == PeerState::Up));
}
