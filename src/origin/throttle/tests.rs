//! Requests to origins, with a manual clock.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use http::{Request, Response};

use super::options::Share;
use super::{OriginLimits, Throttle};
use crate::base::clock::ManualClock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::round_trip::{RoundTrip, RoundTripFn};
use crate::message::url::CanonicalUrl;
use crate::metrics::Stats;

const URL: &str = "http://example.com/a";

/// Longer than any test takes: waiting requests must be woken, because they do not time out.
const LONG: Duration = Duration::from_secs(60);

struct Fixture {
    throttle: Throttle,
    clock: Arc<ManualClock>,
    stats: Arc<Stats>,
    /// The number of peers with weight 1, including this one.
    peers: Arc<AtomicU32>,
}

impl Fixture {
    fn new(origin_limits: OriginLimits, origin: impl RoundTrip + 'static) -> Self {
        let clock = Arc::new(ManualClock::at_unix_seconds(784_111_777));
        let stats = Arc::new(Stats::default());
        let peers = Arc::new(AtomicU32::new(1));
        let counted = Arc::clone(&peers);
        let share = Box::new(move || Share { weight: 1, total: counted.load(Ordering::SeqCst) });
        let throttle =
            Throttle::made_of(Arc::new(origin), origin_limits, clock.clone(), Arc::clone(&stats), share)
                .unwrap();
        Self { throttle, clock, stats, peers }
    }

    fn get(&self, url: &str) -> Result<Response<Body>> {
        self.throttle.round_trip(Request::get(url).body(Body::empty()).unwrap())
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }

    #[track_caller]
    fn assert_refused(&self, url: &str, after: Duration) {
        let error = self.get(url).unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::OriginBusy, Some(after)), "{error}");
    }
}

/// An origin whose bodies are streams.
fn streaming() -> impl RoundTrip {
    RoundTripFn(|_| Ok(Response::new(Body::from_reader(&b"hello"[..], Some(5)))))
}

#[test]
fn rate_limits_the_requests() {
    let fixture = Fixture::new(OriginLimits::new().rate(2.0).burst(3).max_wait(Duration::ZERO), streaming());
    for _ in 0..3 {
        fixture.get(URL).unwrap();
    }
    fixture.assert_refused(URL, Duration::from_millis(500));
    // Each scheme, host and port has a limit of its own.
    for url in ["http://example.org/a", "http://example.com:81/a", "https://example.com/a"] {
        fixture.get(url).unwrap();
    }
    fixture.assert_refused("http://example.com/another?path", Duration::from_millis(500));
    fixture.pass(499);
    fixture.assert_refused(URL, Duration::from_millis(1));
    fixture.pass(1);
    fixture.get(URL).unwrap();
    fixture.assert_refused(URL, Duration::from_millis(500));
    let counts = fixture.stats.counts();
    assert_eq!((counts.throttle_waits, counts.throttle_rejections), (0, 4));
}

#[test]
fn unsafe_methods_count_and_are_not_repeated() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let origin = RoundTripFn(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(Body::empty()))
    });
    let fixture = Fixture::new(OriginLimits::new().rate(1.0).max_wait(Duration::ZERO), origin);
    let post = || fixture.throttle.round_trip(Request::post(URL).body(Body::from("abc")).unwrap());
    post().unwrap();
    assert_eq!(post().unwrap_err().kind(), ErrorKind::OriginBusy);
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[test]
fn permit_is_held_until_the_body_ends() {
    type End = fn(Response<Body>);
    let read_all: End = |response| drop(response.into_body().into_bytes().unwrap());
    let read_what_is_announced: End = |response| {
        let mut body = response.into_body();
        body.read_exact(&mut [0; 5]).unwrap();
        std::mem::forget(body);
    };
    let let_go: End = drop;
    for end in [read_all, read_what_is_announced, let_go] {
        let fixture = Fixture::new(OriginLimits::new().concurrent(1).max_wait(Duration::ZERO), streaming());
        let response = fixture.get(URL).unwrap();
        fixture.assert_refused(URL, Duration::from_secs(1));
        end(response);
        fixture.get(URL).unwrap();
    }
}

#[test]
fn failures_and_panics_return_the_permit() {
    let round = AtomicUsize::new(0);
    let origin = RoundTripFn(move |_| match round.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Error::new(ErrorKind::Timeout, "no answer in time")),
        1 => panic!("a bug"),
        2 => {
            struct Cut;
            impl Read for Cut {
                fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            }
            Ok(Response::new(Body::from_reader(Cut, None)))
        }
        _ => Ok(Response::new(Body::from("in memory"))),
    });
    let fixture = Fixture::new(OriginLimits::new().concurrent(1).max_wait(Duration::ZERO), origin);
    assert_eq!(fixture.get(URL).unwrap_err().kind(), ErrorKind::Timeout);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(fixture.get(URL))));
    assert!(panicked.is_err());
    let mut body = fixture.get(URL).unwrap().into_body();
    body.read(&mut [0; 5]).unwrap_err();
    let whole = fixture.get(URL).unwrap();
    // A body in memory has ended already.
    fixture.get(URL).unwrap();
    assert_eq!(whole.into_body().as_bytes().unwrap(), "in memory");
}

#[test]
fn unproven_end_stays_unproven() {
    let origin = RoundTripFn(|_| Ok(Response::new(Body::until_close(&b"hello"[..]))));
    let fixture = Fixture::new(OriginLimits::new().concurrent(1), origin);
    assert!(!fixture.get(URL).unwrap().body().is_end_proven());
}

/// An origin that reports the order of requests. Each request keeps its permit until the test ends it.
fn in_turn() -> (impl RoundTrip, mpsc::Receiver<(String, mpsc::Sender<()>)>) {
    let (came, coming) = mpsc::channel();
    let came = Mutex::new(came);
    let origin = RoundTripFn(move |request: Request<Body>| {
        let (end, ended) = mpsc::channel::<()>();
        came.lock().unwrap().send((request.uri().path().to_owned(), end)).unwrap();
        let _ = ended.recv();
        Ok(Response::new(Body::empty()))
    });
    (origin, coming)
}

#[test]
fn waiting_requests_are_served_in_order() {
    let (origin, coming) = in_turn();
    let fixture = Fixture::new(OriginLimits::new().concurrent(1).max_wait(LONG), origin);
    thread::scope(|scope| {
        for number in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || fixture.get(&format!("http://example.com/{number}")).unwrap());
            // The next request starts once this one waits.
            while fixture.throttle.waiting() < number {
                thread::yield_now();
            }
            if number == 0 {
                while fixture.throttle.in_flight("http://example.com/") == 0 {
                    thread::yield_now();
                }
            }
        }
        for number in 0..8 {
            let (path, end) = coming.recv_timeout(LONG).unwrap();
            assert_eq!(path, format!("/{number}"));
            assert!(coming.try_recv().is_err());
            drop(end);
        }
    });
    let counts = fixture.stats.counts();
    assert_eq!((counts.throttle_waits, counts.throttle_rejections), (7, 0));
    assert_eq!((fixture.throttle.waiting(), fixture.throttle.in_flight("http://example.com/")), (0, 0));
}

#[test]
fn requests_over_max_waiting_are_refused() {
    let origin_limits = OriginLimits::new().concurrent(1).max_wait(LONG).max_waiting(2);
    for most in [usize::MAX, 1] {
        let allowed = most.min(2);
        let (origin, coming) = in_turn();
        let fixture = Fixture::new(origin_limits.clone(), origin);
        fixture.throttle.set_max_waiting(most);
        thread::scope(|scope| {
            let first = scope.spawn(|| fixture.get(URL).map(drop));
            let (_, end) = coming.recv_timeout(LONG).unwrap();
            let waiting: Vec<_> = (0..allowed).map(|_| scope.spawn(|| fixture.get(URL).map(drop))).collect();
            while fixture.throttle.waiting() < allowed {
                thread::yield_now();
            }
            fixture.assert_refused(URL, Duration::from_secs(1));
            drop(end);
            first.join().unwrap().unwrap();
            // The order of arrival may differ from the order of the threads.
            for _ in 0..allowed {
                drop(coming.recv_timeout(LONG).unwrap());
            }
            for thread in waiting {
                thread.join().unwrap().unwrap();
            }
        });
    }
}

#[test]
fn hopeless_request_is_refused_at_once() {
    let origin_limits = OriginLimits::new().rate(0.1).max_wait(Duration::from_secs(9));
    let fixture = Fixture::new(origin_limits, streaming());
    fixture.get(URL).unwrap();
    fixture.assert_refused(URL, Duration::from_secs(10));
    fixture.pass(10_000);
    fixture.get(URL).unwrap();
    assert_eq!(fixture.stats.counts().throttle_waits, 0);
}

#[test]
fn waiting_request_times_out() {
    let (origin, coming) = in_turn();
    let origin_limits = OriginLimits::new().concurrent(1).max_wait(Duration::from_millis(20));
    let fixture = Fixture::new(origin_limits, origin);
    thread::scope(|scope| {
        let first = scope.spawn(|| fixture.get(URL).map(drop));
        let (_, end) = coming.recv_timeout(LONG).unwrap();
        fixture.assert_refused(URL, Duration::from_secs(1));
        assert_eq!((fixture.throttle.waiting(), fixture.stats.counts().throttle_waits), (0, 1));
        drop(end);
        first.join().unwrap().unwrap();
    });
}

#[test]
fn paused_origin_gets_no_request_until_the_pause_ends() {
    let later = "Sun, 06 Nov 1994 08:50:37 GMT";
    for (status, field, seconds) in [(429, Some("60"), 60), (503, Some(later), 60), (429, None, 1)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let origin = RoundTripFn(move |_| {
            let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            let response = Response::builder().status(if first { status } else { 200 });
            let response = match field {
                Some(value) => response.header("retry-after", value),
                None => response,
            };
            Ok(response.body(Body::empty()).unwrap())
        });
        let fixture = Fixture::new(OriginLimits::new(), origin);
        assert_eq!(fixture.get(URL).unwrap().status(), status);
        // The pause applies to every path of that origin, without a wait.
        fixture.assert_refused("http://example.com/b", Duration::from_secs(seconds));
        assert_eq!(fixture.get("http://example.org/").unwrap().status(), 200);
        fixture.pass(seconds * 1_000 - 1);
        fixture.assert_refused(URL, Duration::from_millis(1));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        fixture.pass(1);
        assert_eq!(fixture.get(URL).unwrap().status(), 200);
        let counts = fixture.stats.counts();
        assert_eq!((counts.throttle_waits, counts.throttle_rejections), (0, 2));
    }
}

#[test]
fn pause_refuses_waiting_requests() {
    let begin = Arc::new(Barrier::new(2));
    let waiting = Arc::clone(&begin);
    let origin = RoundTripFn(move |_| {
        waiting.wait();
        waiting.wait();
        Ok(Response::builder().status(503).header("retry-after", "30").body(Body::empty()).unwrap())
    });
    let fixture = Fixture::new(OriginLimits::new().concurrent(1).max_wait(LONG), origin);
    thread::scope(|scope| {
        let first = scope.spawn(|| fixture.get(URL).map(|response| response.status()));
        begin.wait();
        let second = scope.spawn(|| fixture.assert_refused(URL, Duration::from_secs(30)));
        while fixture.throttle.waiting() < 1 {
            thread::yield_now();
        }
        begin.wait();
        second.join().unwrap();
        assert_eq!(first.join().unwrap().unwrap(), 503);
    });
}

/// An origin that responds with 429 to requests with this credential, and with 200 to all others.
fn limiting(credential: Option<&'static str>) -> impl RoundTrip {
    RoundTripFn(move |request: Request<Body>| {
        let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap());
        let response = Response::builder().status(if shown == credential { 429 } else { 200 });
        Ok(response.header("retry-after", "30").body(Body::empty()).unwrap())
    })
}

#[test]
fn pause_applies_to_one_credential_at_one_origin() {
    for limited in [Some("Bearer a"), None] {
        let fixture = Fixture::new(OriginLimits::new(), limiting(limited));
        let send = |method: &str, url: &str, credential: Option<&str>| {
            let request = Request::builder().method(method).uri(url);
            let request = match credential {
                Some(credential) => request.header("authorization", credential),
                None => request,
            };
            let response = fixture.throttle.round_trip(request.body(Body::empty()).unwrap());
            response.map(|response| response.status().as_u16()).map_err(|error| error.kind())
        };
        assert_eq!(send("GET", URL, limited), Ok(429));
        for method in ["GET", "POST"] {
            assert_eq!(send(method, URL, limited), Err(ErrorKind::OriginBusy));
            assert_eq!(send(method, "http://example.org/", limited), Ok(429));
            for other in [Some("Bearer a"), Some("Bearer b"), None] {
                if other != limited {
                    assert_eq!(send(method, URL, other), Ok(200), "{other:?}");
                }
            }
            fixture.pass(30_000);
            assert_eq!(send(method, URL, limited), Ok(429));
        }
    }
}

#[test]
fn pause_origins_pauses_the_whole_origin() {
    let fixture = Fixture::new(OriginLimits::new().pause_origins(true), limiting(Some("Bearer a")));
    let with = Request::get(URL).header("authorization", "Bearer a").body(Body::empty()).unwrap();
    assert_eq!(fixture.throttle.round_trip(with).unwrap().status(), 429);
    fixture.assert_refused(URL, Duration::from_secs(30));
    let post = fixture.throttle.round_trip(Request::post(URL).body(Body::empty()).unwrap());
    assert_eq!(post.unwrap_err().kind(), ErrorKind::OriginBusy);
    assert_eq!(fixture.get("http://example.org/").unwrap().status(), 200);
}

#[test]
fn pool_change_changes_the_share_at_once() {
    let origin = CanonicalUrl::parse(URL).unwrap().origin();
    let origin_limits = OriginLimits::new().concurrent(4).max_wait(Duration::ZERO);
    let fixture = Fixture::new(origin_limits, streaming());
    let mut with_permit = Vec::new();
    for (peers, share) in [(4, 1), (2, 2), (1, 4), (9, 1)] {
        fixture.peers.store(peers, Ordering::SeqCst);
        assert_eq!(fixture.throttle.concurrency_share(&origin), Some(share));
        while with_permit.len() < share as usize {
            with_permit.push(fixture.get(URL).unwrap());
        }
        fixture.assert_refused(URL, Duration::from_secs(1));
    }
    assert_eq!(Fixture::new(OriginLimits::new(), streaming()).throttle.concurrency_share(&origin), None);
}

#[test]
fn waiting_request_sees_a_larger_share() {
    let (origin, coming) = in_turn();
    let fixture = Fixture::new(OriginLimits::new().concurrent(2).max_wait(LONG), origin);
    fixture.peers.store(2, Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| fixture.get(URL).unwrap());
        let first = coming.recv_timeout(LONG).unwrap();
        scope.spawn(|| fixture.get(URL).unwrap());
        while fixture.throttle.waiting() < 1 {
            thread::yield_now();
        }
        fixture.peers.store(1, Ordering::SeqCst);
        drop(coming.recv_timeout(LONG).unwrap());
        drop(first);
    });
}

#[test]
fn zero_longest_pause_disables_pauses() {
    let origin = RoundTripFn(|_| {
        Ok(Response::builder().status(429).header("retry-after", "30").body(Body::empty()).unwrap())
    });
    let fixture = Fixture::new(OriginLimits::new().max_pause(Duration::ZERO), origin);
    for _ in 0..3 {
        assert_eq!(fixture.get(URL).unwrap().status(), 429);
    }
}

#[test]
fn throttle_rejects_invalid_limits() {
    let error = Throttle::new(streaming(), OriginLimits::new().concurrent(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadOption);
}
