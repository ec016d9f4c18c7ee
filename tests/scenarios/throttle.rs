//! Limits on the requests of a pool to one origin, and pauses requested by origins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use forwardcache::clock::ManualClock;
use forwardcache::metrics::Forward;
use forwardcache::origin::OriginLimits;
use forwardcache::{Body, Client, ErrorKind, Outcome, RoundTrip};
use http::Request;
use parking_lot::{Condvar, Mutex};

use crate::local::{LocalPeer, escaped, send};
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::process::Process;
use crate::support::raw::Connection;
use crate::support::{TEST_TIMEOUT, wait_until};

/// Records the requests at an origin: how many are present, the maximum so far, and when each arrived.
#[derive(Clone, Default)]
struct ConcurrencyProbe(Arc<(Mutex<ProbeState>, Condvar)>);

#[derive(Default)]
struct ProbeState {
    present: usize,
    peak: usize,
    arrivals: Vec<Instant>,
}

impl ConcurrencyProbe {
    /// An origin that holds each request until others have arrived or 15 ms have passed, so that requests overlap
    /// whenever the limits allow it.
    fn origin(&self) -> Origin {
        let probe = self.clone();
        Origin::start(move |received| {
            let (state, changed) = &*probe.0;
            let mut state = state.lock();
            state.arrivals.push(Instant::now());
            state.present += 1;
            state.peak = state.peak.max(state.present);
            changed.notify_all();
            let arrivals = state.arrivals.len();
            let should_wait = |state: &mut ProbeState| state.arrivals.len() < arrivals + 3;
            changed.wait_while_for(&mut state, should_wait, Duration::from_millis(15));
            state.present -= 1;
            drop(state);
            Reply::ok(received.target.clone()).field("Cache-Control", "no-store")
        })
    }

    fn peak(&self) -> usize {
        self.0.0.lock().peak
    }

    /// Returns whether every interval between two requests, extended by `slack`, contains at most `burst` requests
    /// plus `rate` per second.
    fn is_within(&self, burst: usize, rate: f64, slack: Duration) -> bool {
        let arrivals = &self.0.0.lock().arrivals;
        (0..arrivals.len()).all(|from| {
            (from..arrivals.len()).all(|to| {
                let span = arrivals[to].duration_since(arrivals[from]) + slack;
                ((to - from + 1) as f64) <= burst as f64 + rate * span.as_secs_f64() + 1.0
            })
        })
    }
}

/// A pool of `size` peers in this process with these limits.
fn pool(size: usize, origin_limits: &OriginLimits) -> Vec<LocalPeer> {
    LocalPeer::pool_with(size, |builder| builder.origin_limits(origin_limits.clone()))
}

/// Fetches a URL in the process of a peer.
fn fetch(member: &LocalPeer, url: &str) -> String {
    let request = Request::get(url).body(Body::empty()).unwrap();
    member.peer.cache().round_trip(request).unwrap().into_body().into_text().unwrap()
}

/// Requests distinct URLs from each peer on several threads. Returns the number of successful and of rejected
/// requests.
fn send_many(pool: &[LocalPeer], origin: &Origin, threads: usize, requests: usize) -> (usize, usize) {
    let (sent, refused) = (Mutex::new(0), Mutex::new(0));
    thread::scope(|scope| {
        for (number, member) in pool.iter().enumerate() {
            for thread in 0..threads {
                let (sent, refused) = (&sent, &refused);
                scope.spawn(move || {
                    for request in 0..requests {
                        // A peer fetches every URL that it is asked for over the wire, including those that it does
                        // not own.
                        let response = member.get(&origin.url(&format!("/{number}/{thread}/{request}")));
                        match response.status {
                            200 => *sent.lock() += 1,
                            503 => {
                                assert_eq!(response.field("forwardcache-error"), Some("origin-busy"));
                                assert!(response.field("retry-after").is_some());
                                *refused.lock() += 1;
                            }
                            status => panic!("{status}"),
                        }
                    }
                });
            }
        }
    });
    (sent.into_inner(), refused.into_inner())
}

#[test]
fn concurrency_limit_applies_to_the_whole_pool() {
    let probe = ConcurrencyProbe::default();
    let origin = probe.origin();
    let pool = pool(3, &OriginLimits::new().concurrent(6).max_wait(TEST_TIMEOUT));
    let (sent, refused) = send_many(&pool, &origin, 4, 12);
    assert!(probe.peak() <= 6 && probe.peak() > 2, "{} of 6 at a time", probe.peak());
    assert_eq!(sent + refused, 3 * 4 * 12);
    assert_eq!(sent, origin.count());
}

#[test]
fn rate_limit_applies_to_the_whole_pool() {
    let probe = ConcurrencyProbe::default();
    let origin = probe.origin();
    let pool = pool(3, &OriginLimits::new().rate(60.0).burst(6).max_wait(TEST_TIMEOUT));
    let (sent, _) = send_many(&pool, &origin, 2, 10);
    assert!(sent >= 30, "{sent}");
    assert!(probe.is_within(6, 60.0, Duration::from_millis(200)));
}

#[test]
fn limit_shares_follow_membership_changes() {
    let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
    let origin_limits = OriginLimits::new().concurrent(4).max_wait(TEST_TIMEOUT);
    let mut pool = LocalPeer::pool_with(3, |builder| {
        builder.origin_limits(origin_limits.clone()).client(Client::builder().clock(Arc::clone(&clock)))
    });
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| Reply::ok("at last").gate_head(&gate)
    });
    let third = pool.pop().unwrap();
    let waits = |number: usize| pool[number].peer.stats().counts().throttle_waits;
    thread::scope(|scope| {
        let _open_on_drop = OpenOnDrop(&gate);
        for (number, member) in pool.iter().enumerate() {
            for request in 0..3 {
                let url = origin.url(&format!("/{number}/{request}"));
                scope.spawn(move || assert_eq!(fetch(member, &url), "at last"));
            }
        }
        // Each of the three peers has a third of the limit.
        origin.wait_for(2);
        wait_until("too few requests are waiting for the origin", || waits(0) + waits(1) == 4);
        assert_eq!(origin.count(), 2);
        // After the third peer is removed, the others have half of the limit each.
        for member in &pool {
            member.peer.set_pool(LocalPeer::urls(&pool)).unwrap();
        }
        origin.wait_for(4);
        // After the second peer leaves, the first has the whole limit.
        let leaving = format!("/proxy/leaving?q={}", escaped(&pool[1].url()));
        assert_eq!(send(pool[0].address(), "POST", &leaving, "").status, 204);
        origin.wait_for(5);
        assert_eq!(origin.count(), 5);
    });
    drop(third);
}

/// Opens a gate when dropped, so that a failing test ends.
struct OpenOnDrop<'a>(&'a Gate);

impl Drop for OpenOnDrop<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[test]
fn server_answers_other_origins_while_requests_wait_for_one() {
    let gate = Gate::new();
    let slow = Origin::start({
        let gate = gate.clone();
        move |_| Reply::ok("at last").gate_head(&gate)
    });
    let other = Origin::start(|_| Reply::ok("at once"));
    let options = forwardcache::server::ServerConfig::new().workers(4);
    let peer = LocalPeer::start_on(options, |builder| {
        builder.origin_limits(OriginLimits::new().concurrent(1).max_wait(TEST_TIMEOUT))
    });
    let mut first = peer.start_get(&slow.url("/0"));
    slow.wait_for(1);
    // At most two of the four workers may wait for one origin; the remaining requests are queued.
    let mut waiting: Vec<Connection> =
        (1..=8).map(|number| peer.start_get(&slow.url(&format!("/{number}")))).collect();
    assert_eq!(peer.get(&other.url("/")).status, 200);
    gate.open();
    assert_eq!(first.read_response().status, 200);
    for connection in &mut waiting {
        assert_eq!(connection.read_response().status, 200);
    }
    assert_eq!(slow.count(), 9);
}

#[test]
fn retry_after_pauses_the_origin_and_stale_is_served() {
    let later = "Sun, 09 Sep 2001 01:50:00 GMT";
    for (status, field, seconds) in
        [(429, "100", 100), (429, later, 100), (503, "100", 100), (503, later, 100)]
    {
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let origin = Origin::replies([
            Reply::ok("one").field("Cache-Control", "max-age=60, stale-if-error=3600"),
            Reply::status(status).field("Retry-After", field).body("busy"),
            Reply::ok("two").field("Cache-Control", "max-age=60"),
        ]);
        let peer = LocalPeer::start_with(|builder| builder.clock(Arc::clone(&clock)));
        assert_eq!(peer.get(&origin.url("/a")).body, b"one");
        // The clock is now at 01:48:20.
        clock.advance(Duration::from_secs(100));
        let first = peer.get(&origin.url("/a"));
        if status == 503 {
            assert_eq!((first.status, &first.body[..]), (200, &b"one"[..]));
        } else {
            assert_eq!((first.status, first.field("retry-after")), (429, Some(field)));
        }
        let stale = peer.get(&origin.url("/a"));
        assert_eq!((stale.status, &stale.body[..]), (200, &b"one"[..]));
        assert_eq!(Outcome::of(&stale.headers), Some(Outcome::StaleIfError(Forward::Stale)));
        // This URL has no stored response.
        let (left, spent) = ((seconds - 30).to_string(), Duration::from_secs(30));
        clock.advance(spent);
        let refused = peer.get(&origin.url("/b"));
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some(left.as_str())), "{field}");
        let error = peer.client().get(&origin.url("/b")).send().unwrap_err();
        assert_eq!((error.kind(), error.is_reported_by_peer()), (ErrorKind::OriginBusy, true));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds - 30)));
        assert_eq!(origin.count(), 2);
        clock.advance(Duration::from_secs(seconds - 30));
        assert_eq!(peer.get(&origin.url("/a")).body, b"two");
        assert_eq!(peer.peer.stats().counts().throttle_rejections, 3);
    }
}

/// An origin that limits the rate of one user.
fn limiting() -> Origin {
    Origin::start(|received| match received.field("authorization") {
        Some("Bearer a") => Reply::status(429).field("Retry-After", "100"),
        _ => Reply::ok("hello").field("Cache-Control", "no-store"),
    })
}

#[test]
fn a_429_pauses_only_requests_with_the_same_credential() {
    let origin = limiting();
    let peer = LocalPeer::start();
    let send = |method, path: &str, fields| peer.send(method, &origin.url(path), fields);
    let (a, b) = ("Authorization: Bearer a\r\n", "Authorization: Bearer b\r\n");
    assert_eq!(send("GET", "/a", a).status, 429);
    let refused = send("GET", "/b", a);
    assert_eq!((refused.status, refused.field("forwardcache-error")), (503, Some("origin-busy")));
    for (method, fields) in [("GET", b), ("GET", ""), ("DELETE", b), ("DELETE", "")] {
        assert_eq!(send(method, "/b", fields).status, 200, "{method} {fields}");
    }
    assert_eq!(origin.count(), 5);
}

#[test]
fn pause_origins_option_pauses_all_credentials() {
    let origin = limiting();
    let process = Process::spawn(["serve", "--listen", "127.0.0.1:0", "--pause-origins"]);
    let address = address_of(&process);
    let ask =
        |method, fields| send(address, method, &format!("/proxy?q={}", escaped(&origin.url("/"))), fields);
    assert_eq!(ask("GET", "Authorization: Bearer a\r\n").status, 429);
    assert_eq!(ask("GET", "").status, 503);
    assert_eq!(ask("DELETE", "").status, 503);
    assert_eq!(origin.count(), 1);
}

/// Returns the address that the command prints at its start.
fn address_of(process: &Process) -> SocketAddr {
    let line = process.wait_for_line("serving on http://");
    line.split(' ').nth(2).and_then(|url| url.strip_prefix("http://")).unwrap().parse().unwrap()
}

#[test]
fn command_accepts_origin_limits() {
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| Reply::ok("hello").gate_head(&gate)
    });
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--origin-concurrency", "1"];
    let refused = Process::spawn(["serve", "--listen", "127.0.0.1:0", "--origin-rate", "0"]);
    refused.wait_for_line("a rate must be");
    let process = Process::spawn(arguments.into_iter().chain(["--origin-rate", "0.5", "--io-threads", "1"]));
    let address = address_of(&process);
    let ask = |path: &str| send(address, "GET", &format!("/proxy?q={}", escaped(&origin.url(path))), "");
    gate.open();
    assert_eq!(ask("/a").status, 200);
    let refused = ask("/b");
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("2")));
}
