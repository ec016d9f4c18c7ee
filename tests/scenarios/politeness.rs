//! Politeness to origins: limits that hold for a whole pool, and origins that ask for time.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use forwardcache::{
    Body, Clock, ErrorKind, Forward, ManualClock, Outcome, Peer, PeerBuilder, Politeness, RoundTrip, Target,
};
use http::Request;
use parking_lot::{Condvar, Mutex};

use crate::local::{LocalPeer, escaped, listen, send};
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::process::Process;
use crate::support::raw::Connection;
use crate::support::{PATIENCE, wait_until};

/// How many requests are with the origin, how many were at most, and when they came.
#[derive(Clone, Default)]
struct Crowd(Arc<(Mutex<Counted>, Condvar)>);

#[derive(Default)]
struct Counted {
    present: usize,
    most: usize,
    came: Vec<Instant>,
}

impl Crowd {
    /// An origin that keeps each request with it until another is there too, or a moment has passed: where more than
    /// one may be there, more than one will be.
    fn origin(&self) -> Origin {
        let crowd = self.clone();
        Origin::start(move |received| {
            let (counted, changed) = &*crowd.0;
            let mut counted = counted.lock();
            counted.came.push(Instant::now());
            counted.present += 1;
            counted.most = counted.most.max(counted.present);
            changed.notify_all();
            let came = counted.came.len();
            let alone = |counted: &mut Counted| counted.came.len() < came + 3;
            changed.wait_while_for(&mut counted, alone, Duration::from_millis(15));
            counted.present -= 1;
            drop(counted);
            Reply::ok(received.target.clone()).field("Cache-Control", "no-store")
        })
    }

    fn most(&self) -> usize {
        self.0.0.lock().most
    }

    /// Begins to count anew.
    fn forget(&self) {
        let mut counted = self.0.0.lock();
        (counted.most, counted.came) = (counted.present, Vec::new());
    }

    /// Whether no time between two requests holds more than `burst`, and `rate` a second for it and for so long.
    fn is_within(&self, burst: usize, rate: f64, slack: Duration) -> bool {
        let came = &self.0.0.lock().came;
        (0..came.len()).all(|from| {
            (from..came.len()).all(|to| {
                let span = came[to].duration_since(came[from]) + slack;
                ((to - from + 1) as f64) <= burst as f64 + rate * span.as_secs_f64() + 1.0
            })
        })
    }
}

/// A clock that goes, and can be put forward.
#[derive(Debug, Default)]
struct Ahead(Mutex<Duration>);

impl Ahead {
    /// By longer than anything lasts that peers have agreed on, and than they leave one another alone.
    fn skip(&self) {
        *self.0.lock() += Duration::from_secs(4);
    }
}

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + *self.0.lock()
    }
}

/// A pool of this many in this process, all with these limits, which has been there for a while.
fn pool(size: usize, politeness: &Politeness) -> (Vec<LocalPeer>, Arc<Ahead>) {
    let clock = Arc::new(Ahead::default());
    let with = |builder: PeerBuilder| builder.politeness(politeness.clone()).clock(Arc::clone(&clock));
    let pool = LocalPeer::pool_with(size, with);
    clock.skip();
    (pool, clock)
}

/// Asks each peer for URLs of its own from several threads; how many were answered by the origin, and how many were
/// turned away.
fn hammer(pool: &[LocalPeer], origin: &Origin, threads: usize, requests: usize) -> (usize, usize) {
    let (sent, refused) = (Mutex::new(0), Mutex::new(0));
    thread::scope(|scope| {
        for (number, member) in pool.iter().enumerate() {
            for thread in 0..threads {
                let (sent, refused) = (&sent, &refused);
                scope.spawn(move || {
                    for request in 0..requests {
                        // Its share of the URLs or not, who is asked over the wire fetches it.
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

/// The place in the pool of the peer that keeps the budget of this origin.
fn keeper(pool: &[LocalPeer], origin: &Origin) -> usize {
    let owner = pool[0].peer.client().owner(&origin.url("/")).unwrap().unwrap();
    pool.iter().position(|member| *member.peer.self_url() == owner).unwrap()
}

#[test]
fn a_limit_of_fetches_holds_for_the_pool_also_when_its_keeper_is_gone() {
    let crowd = Crowd::default();
    let origin = crowd.origin();
    let (mut pool, clock) = pool(3, &Politeness::new().concurrent(6).patience(PATIENCE));
    let (sent, refused) = hammer(&pool, &origin, 4, 12);
    assert!(crowd.most() <= 6 && crowd.most() > 2, "{} of 6 at a time", crowd.most());
    assert_eq!(sent + refused, 3 * 4 * 12);
    assert_eq!(sent, origin.count());
    let waits: u64 = pool.iter().map(|member| member.peer.stats().counts().origin_waits).sum();
    assert!(waits > 0);

    // Two are left, with a third of the limit each when what was lent has run out.
    pool.remove(keeper(&pool, &origin));
    clock.skip();
    crowd.forget();
    let (sent, _) = hammer(&pool, &origin, 4, 12);
    assert!(sent > 12, "{sent}");
    assert!(crowd.most() <= 4, "{} of 4 at a time", crowd.most());
}

#[test]
fn a_rate_holds_for_the_pool_also_when_its_keeper_is_gone() {
    let crowd = Crowd::default();
    let origin = crowd.origin();
    let politeness = Politeness::new().rate(60.0).burst(6).patience(PATIENCE);
    let (mut pool, clock) = pool(3, &politeness);
    let (sent, _) = hammer(&pool, &origin, 2, 10);
    assert!(sent >= 30, "{sent}");
    // What is lent may be used up to a second later.
    assert!(crowd.is_within(6, 60.0, Duration::from_secs(1)));

    pool.remove(keeper(&pool, &origin));
    clock.skip();
    crowd.forget();
    let (sent, _) = hammer(&pool, &origin, 2, 10);
    assert!(sent >= 20, "{sent}");
    // Two thirds of it, at once what their shares have.
    assert!(crowd.is_within(4, 40.0, Duration::from_millis(200)));
}

#[test]
fn one_peer_of_a_pool_may_have_all_of_it() {
    let (pool, _clock) = pool(3, &Politeness::new().concurrent(4).patience(PATIENCE));
    let gate = Gate::new();
    let held = Origin::start({
        let gate = gate.clone();
        move |_| Reply::ok("at last").gate_head(&gate)
    });
    // One that borrows, of an origin that another keeps.
    let borrower = (keeper(&pool, &held) + 1) % 3;
    let peer = &pool[borrower].peer;
    let fetch = |number| {
        let request = Request::get(held.url(&format!("/{number}"))).body(Body::empty()).unwrap();
        peer.caching().round_trip(request).unwrap().into_body().into_text().unwrap()
    };
    thread::scope(|scope| {
        let fetch = &fetch;
        let asking: Vec<_> = (0..4).map(|number| scope.spawn(move || fetch(number))).collect();
        held.wait_for(4);
        gate.open();
        for thread in asking {
            assert_eq!(thread.join().unwrap(), "at last");
        }
    });
    assert_eq!(peer.stats().counts().origin_waits, 0);
}

#[test]
fn a_front_goes_on_while_requests_wait_for_an_origin() {
    let gate = Gate::new();
    let slow = Origin::start({
        let gate = gate.clone();
        move |_| Reply::ok("at last").gate_head(&gate)
    });
    let other = Origin::start(|_| Reply::ok("at once"));
    let options = forwardcache::FrontOptions::new().workers(4);
    let peer = LocalPeer::start_on(options, |builder| {
        builder.politeness(Politeness::new().concurrent(1).patience(PATIENCE))
    });
    let mut first = peer.asked(&slow.url("/0"));
    slow.wait_for(1);
    // Two of four workers may wait for one origin; the others wait for their turn.
    let mut waiting: Vec<Connection> =
        (1..=8).map(|number| peer.asked(&slow.url(&format!("/{number}")))).collect();
    assert_eq!(peer.get(&other.url("/")).status, 200);
    gate.open();
    assert_eq!(first.read_response().status, 200);
    for connection in &mut waiting {
        assert_eq!(connection.read_response().status, 200);
    }
    assert_eq!(slow.count(), 9);
}

#[test]
fn an_origin_that_asks_for_time_is_given_it_and_what_is_stale_is_served_meanwhile() {
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
        // It is 01:48:20 then.
        clock.advance(Duration::from_secs(100));
        let first = peer.get(&origin.url("/a"));
        if status == 503 {
            assert_eq!((first.status, &first.body[..]), (200, &b"one"[..]));
        } else {
            assert_eq!((first.status, first.field("retry-after")), (429, Some(field)));
        }
        let stale = peer.get(&origin.url("/a"));
        assert_eq!((stale.status, &stale.body[..]), (200, &b"one"[..]));
        assert_eq!(Outcome::of(&stale.headers), Some(Outcome::StaleOnError(Forward::Stale)));
        // Nothing is stored of this one.
        let (left, spent) = ((seconds - 30).to_string(), Duration::from_secs(30));
        clock.advance(spent);
        let refused = peer.get(&origin.url("/b"));
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some(left.as_str())), "{field}");
        let error = peer.client().get(&origin.url("/b")).unwrap_err();
        assert_eq!((error.kind(), error.is_told_by_peer()), (ErrorKind::OriginBusy, true));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds - 30)));
        assert_eq!(origin.count(), 2);
        clock.advance(Duration::from_secs(seconds - 30));
        assert_eq!(peer.get(&origin.url("/a")).body, b"two");
        assert_eq!(peer.peer.stats().counts().origin_refusals, 3);
    }
}

#[test]
fn what_one_peer_is_told_the_pool_knows() {
    let origin = Origin::replies([Reply::status(429).field("Retry-After", "100")]);
    let (pool, _clock) = pool(3, &Politeness::new().concurrent(6).patience(PATIENCE));
    let keeper = keeper(&pool, &origin);
    assert_eq!(pool[(keeper + 1) % 3].get(&origin.url("/a")).status, 429);
    // It tells the keeper at once, which it may take a moment to hear.
    let lease = format!("/proxy/lease?q={}", escaped(&origin.url("/")));
    let from = pool[(keeper + 2) % 3].url();
    let asked = format!("from {from}\nbusy 0\nwaiting 0\nplaces 0\nrequests 0\npause 0\n");
    wait_until("the keeper was not told", || {
        post(&pool[keeper], &lease, &asked).1.lines().any(|line| line.starts_with("pause 9"))
    });
    for member in &pool {
        let refused = member.get(&origin.url("/b"));
        assert_eq!(refused.status, 503);
        let left: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((90..=100).contains(&left), "{left}");
    }
    assert_eq!(origin.count(), 1);
}

fn post(peer: &LocalPeer, target: &str, body: &str) -> (u16, String) {
    let mut connection = Connection::open(peer.address());
    let length = body.len();
    connection.write(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"));
    let response = connection.read_response();
    (response.status, String::from_utf8(response.body).unwrap())
}

#[test]
fn a_lease_is_for_peers_of_the_pool_and_from_the_one_that_keeps_the_budget() {
    let origin = Target::parse("http://origin.example/").unwrap();
    let (pool, _clock) = pool(3, &Politeness::new().concurrent(3));
    let owner = pool[0].peer.client().owner(origin.as_str()).unwrap().unwrap();
    let keeper = pool.iter().position(|member| *member.peer.self_url() == owner).unwrap();
    let (kept, other) = (&pool[keeper], &pool[(keeper + 1) % 3]);
    let path = format!("/proxy/lease?q={}", escaped(origin.as_str()));
    let asked = |from: &str| format!("from {from}\nbusy 0\nwaiting 1\nplaces 1\nrequests 1\npause 0\n");
    let (status, text) = post(kept, &path, &asked(&other.url()));
    assert!(status == 200 && text.starts_with("places 1\n"), "{text}");
    for (peer, body, expected) in [
        (kept, asked("http://stranger.example"), 404),
        (kept, asked(&kept.url()), 404),
        (kept, "what is this".to_owned(), 400),
        (kept, "x".repeat(20_000), 413),
        (other, asked(&kept.url()), 404),
    ] {
        let (status, text) = post(peer, &path, &body);
        assert_eq!((status, text.lines().count()), (expected, 1), "{text}");
    }
    assert_eq!(send(kept.address(), "GET", &path, "").status, 405);
    // Without limits there is nothing to lend.
    let alone = LocalPeer::start();
    assert_eq!(post(&alone, &path, &asked(&other.url())).0, 404);
}

#[test]
fn a_keeper_of_another_make_or_without_an_answer_costs_its_part_alone() {
    let origin = Origin::start(|_| Reply::ok("hello"));
    let strange = Origin::start(|_| Reply::status(404).body("404 page not found\n")).may_be_unused();
    let silent = listen();
    for other in [strange.url(""), format!("http://{}", silent.local_addr().unwrap())] {
        let listener = listen();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let builder = Peer::builder(own.clone()).pool([own, other.clone()]);
        let peer = builder.politeness(Politeness::new().concurrent(2).rate(1_000.0).patience(PATIENCE));
        let peer = peer.build().unwrap();
        // Whoever keeps it, these are answered.
        for number in 0..20 {
            let request = Request::get(origin.url(&format!("/{number}"))).body(Body::empty()).unwrap();
            let response = peer.caching().round_trip(request).unwrap();
            assert_eq!(response.into_body().into_text().unwrap(), "hello");
        }
    }
}

#[test]
fn the_command_takes_the_limits() {
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| Reply::ok("hello").gate_head(&gate)
    });
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--origin-concurrency", "1"];
    let refused = Process::spawn(["serve", "--listen", "127.0.0.1:0", "--origin-rate", "0"]);
    refused.wait_for_line("a rate must be");
    let process = Process::spawn(arguments.into_iter().chain(["--origin-rate", "0.5", "--io-threads", "1"]));
    let line = process.wait_for_line("serving on http://");
    let address = line.split(' ').nth(2).and_then(|url| url.strip_prefix("http://")).unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    let ask = |path: &str| send(address, "GET", &format!("/proxy?q={}", escaped(&origin.url(path))), "");
    gate.open();
    assert_eq!(ask("/a").status, 200);
    let refused = ask("/b");
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("2")));
}
