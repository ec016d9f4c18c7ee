//! Peers that crash, hang or send invalid HTTP, and clients that recover within their limits.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use forwardcache::client::{ClientBuilder, OnNoPeers, PeerState};
use forwardcache::{Body, Client, Error, ErrorKind, Outcome, Peer};
use http::Response;

use crate::local::{LocalPeer, listen, state};
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::port::Port;
use crate::support::{SetOnDrop, TEST_TIMEOUT, wait_until};

const SECOND: Duration = Duration::from_secs(1);

/// Scheduling delays: the tests run many processes on few processors.
const SLACK: Duration = Duration::from_millis(1500);

/// An origin that responds with the target, fresh for a minute. The `ETag` allows a body to be resumed if a peer is
/// killed while it sends the response.
fn origin() -> Origin {
    Origin::start(|received| {
        let reply = Reply::target(received);
        reply.field("ETag", format!("\"{}\"", received.target))
    })
}

fn pool(size: usize) -> Vec<PeerProcess> {
    (0..size).map(|_| PeerProcess::start()).collect()
}

fn builder(pool: &[PeerProcess]) -> ClientBuilder {
    Client::builder().pool(PeerProcess::urls(pool))
}

fn text(response: Result<Response<Body>, Error>) -> Result<String, Error> {
    response?.into_body().into_text()
}

/// Requests URLs of this origin on four threads while `action` runs. Every request must be answered.
fn under_load(client: &Client, origin: &Origin, action: impl FnOnce(&AtomicUsize)) {
    let (is_over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (is_over, count) = (&is_over, &count);
                scope.spawn(move || {
                    let mut number = thread;
                    while !is_over.load(Ordering::SeqCst) {
                        let path = format!("/{}", number % 60);
                        assert_eq!(text(client.get(&origin.url(&path)).send()).unwrap(), path);
                        count.fetch_add(1, Ordering::SeqCst);
                        number += 1;
                    }
                })
            })
            .collect();
        let started = Instant::now();
        // Stops the threads even if `action` panics; otherwise they would run forever.
        let over = SetOnDrop(&is_over);
        action(&count);
        drop(over);
        for thread in threads {
            thread.join().expect("every request is answered");
        }
        assert!(started.elapsed() < 2 * TEST_TIMEOUT);
    });
}

/// Blocks until `more` further requests have been answered.
fn wait_for_more(count: &AtomicUsize, more: usize) {
    let enough = count.load(Ordering::SeqCst) + more;
    wait_until("too few requests are answered", || count.load(Ordering::SeqCst) >= enough);
}

#[test]
fn requests_succeed_while_one_of_three_peers_restarts() {
    let (origin, mut pool) = (origin(), pool(3));
    let client = builder(&pool).build().unwrap();
    let (victim, address) = (pool[0].url(), pool[0].address);
    under_load(&client, &origin, |count| {
        wait_for_more(count, 200);
        pool[0].process.kill();
        wait_for_more(count, 200);
        assert_ne!(state(&client, &victim), PeerState::Up);
        let returned = PeerProcess::start_on(&address);
        wait_until("the restarted peer is not marked as up", || state(&client, &victim) == PeerState::Up);
        wait_for_more(count, 200);
        pool[0] = returned;
    });
    let counts = client.counts();
    assert!(counts.failovers > 0 && counts.skipped > 0 && counts.direct_fetches == 0, "{counts:?}");
    // The restarted peer serves its keys again, and no peer is skipped.
    for number in 0..60 {
        assert!(text(client.get(&origin.url(&format!("/{number}"))).send()).is_ok());
    }
    assert_eq!(client.counts().skipped, counts.skipped);
    // Each peer, including the restarted one, fetches a URL at most once.
    assert!(origin.count() <= 3 * 60 + 60, "{}", origin.count());
}

#[test]
fn requests_succeed_after_all_peers_are_killed() {
    let (origin, mut pool) = (origin(), pool(3));
    let client = builder(&pool).build().unwrap();
    under_load(&client, &origin, |count| {
        wait_for_more(count, 100);
        pool[0].process.kill();
        pool[1].process.kill();
        wait_for_more(count, 200);
        assert_eq!(client.counts().direct_fetches, 0);
        pool[2].process.kill();
        wait_for_more(count, 200);
    });
    assert!(client.counts().direct_fetches > 0);

    let strict = builder(&pool).on_no_peers(OnNoPeers::Fail).build().unwrap();
    for kind in [ErrorKind::Unreachable, ErrorKind::NoPeers] {
        let started = Instant::now();
        assert_eq!(strict.get(&origin.url("/a")).send().unwrap_err().kind(), kind);
        assert!(started.elapsed() < SECOND + SLACK);
    }
}

#[test]
fn first_slow_request_marks_a_stopped_peer_as_down() {
    let (origin, mut pool) = (origin(), pool(3));
    let client = builder(&pool).build().unwrap();
    let stopped = pool[0].url();
    let urls: Vec<_> = (0..1000)
        .map(|number| origin.url(&format!("/{number}")))
        .filter(|url| client.owner(url).unwrap().unwrap().as_str() == stopped)
        .take(20)
        .collect();
    for url in &urls {
        text(client.get(url).send()).unwrap();
    }
    pool[0].process.signal("STOP");
    let took = |url: &String| {
        let started = Instant::now();
        text(client.get(url).send()).unwrap();
        started.elapsed()
    };
    // The signal takes effect with a delay, so some requests may still be answered. The first one that is not waits
    // until the peer is found to be silent.
    wait_until("the stopped peer still answers", || {
        let first = took(&urls[0]);
        assert!(first < 2 * SECOND + SLACK, "{first:?}");
        first >= SECOND
    });
    wait_until("the stopped peer is not marked as down", || state(&client, &stopped) == PeerState::Down);
    let times: Vec<_> = urls.iter().map(took).collect();
    assert!(times.iter().all(|took| *took < SECOND), "{times:?}");
    let counts = client.counts();
    assert_eq!((counts.failovers, counts.direct_fetches), (1, 0));

    pool[0].process.signal("CONT");
    wait_until("the continued peer is not marked as up", || {
        text(client.get(&urls[0]).send()).unwrap();
        state(&client, &stopped) == PeerState::Up
    });
    let skipped = client.counts().skipped;
    for url in &urls {
        text(client.get(url).send()).unwrap();
    }
    assert_eq!(client.counts().skipped, skipped);
}

/// A pool of a working peer and a scripted one, with a URL that the scripted one owns.
fn with_scripted_peer(
    origin: &Origin,
    answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> (Origin, LocalPeer, Client, String) {
    let scripted =
        Origin::start(
            move |received| {
                if received.target == "/healthz" { Reply::ok("ok") } else { answer(&received.target) }
            },
        );
    let good = LocalPeer::start();
    let url = scripted.url("");
    let client = Client::builder()
        .pool([url.clone(), good.url()])
        .response_timeout(SECOND)
        .connect_timeout(SECOND)
        .idle_timeout(SECOND)
        .on_no_peers(OnNoPeers::Fail)
        .build()
        .unwrap();
    let owned = owned_by(&client, origin, &url);
    (scripted, good, client, owned)
}

fn owned_by(client: &Client, origin: &Origin, peer: &str) -> String {
    let mut urls = (0..10_000).map(|number| origin.url(&format!("/{number}")));
    urls.find(|url| client.owner(url).unwrap().unwrap().as_str() == peer).unwrap()
}

const LENGTH: usize = 100_000;

fn large() -> String {
    (0..LENGTH / 10).map(|number| format!("{number:09}\n")).collect()
}

/// An origin with a large body and this validator.
fn large_origin(tag: &'static str) -> Origin {
    Origin::start(move |_| Reply::ok(large()).field("ETag", tag).field("Cache-Control", "max-age=60"))
}

#[test]
fn interrupted_body_is_resumed_from_the_next_peer() {
    let whole = || Reply::ok(large()).field("ETag", "\"a\"");
    let replies: [&dyn Fn(&Gate) -> Reply; 6] = [
        &|_| whole().reset_after(0),
        &|_| whole().reset_after(1),
        &|_| whole().cut_after(50_000),
        &|_| whole().cut_after(LENGTH - 1),
        &|_| whole().chunked().cut_after(60_000),
        &|gate| whole().gate_body(40_000, gate),
    ];
    for reply in replies {
        let gate = Gate::new();
        let reply = reply(&gate);
        let shown = format!("{:.300}", format!("{reply:?}"));
        let origin = large_origin("\"a\"");
        let (scripted, _good, client, url) = with_scripted_peer(&origin, move |_| reply.clone());
        let body = text(client.get(&url).send()).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert!(body == large(), "{shown}");
        let counts = client.counts();
        // A reset may arrive before the head has been read.
        assert_eq!(counts.resumed_bodies + counts.failovers, 1, "{shown}");
        gate.open();
        drop(scripted);
    }
}

#[test]
fn body_that_cannot_be_resumed_fails_with_the_peer_url() {
    for (first, second) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"b\"")] {
        let origin = large_origin(second).may_be_unused();
        let (scripted, _good, client, url) =
            with_scripted_peer(&origin, move |_| Reply::ok(large()).field("ETag", first).cut_after(50_000));
        let mut body = client.get(&url).send().unwrap().into_body();
        let mut bytes = Vec::new();
        let error = Error::from(body.read_to_end(&mut bytes).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::IncompleteBody);
        assert_eq!((error.peer(), error.url()), (Some(scripted.url("").as_str()), Some(url.as_str())));
        assert!(large().as_bytes().starts_with(&bytes) && bytes.len() == 50_000);
        assert_eq!(client.counts().resumed_bodies, 0);
    }
}

/// A peer that sends the first `from` bytes of its response at once, and the rest at ten bytes per second.
fn trickling(answer: String, from: usize) -> (String, mpsc::Sender<()>) {
    let listener = listen();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = mpsc::channel::<()>();
    thread::spawn(move || trickle(&listener, answer.as_bytes(), from, &stopped));
    (url, stop)
}

fn trickle(listener: &TcpListener, answer: &[u8], from: usize, stopped: &mpsc::Receiver<()>) {
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let read = connection.read(&mut [0; 4096]).unwrap_or(0);
        if read == 0 || connection.write_all(&answer[..from]).is_err() {
            continue;
        }
        for byte in &answer[from..] {
            // Paces the response.
            match stopped.recv_timeout(Duration::from_millis(100)) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                _ => return,
            }
            if connection.write_all(&[*byte]).is_err() {
                break;
            }
        }
    }
}

#[test]
fn trickling_peer_is_abandoned_in_head_and_body() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nCache-Status: forwardcache; hit\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    for from in [0, head.len() + 1000] {
        let origin = large_origin("\"a\"");
        let (slow, _stop) = trickling(format!("{head}{}", large()), from);
        let good = LocalPeer::start();
        let client = Client::builder().pool([slow.clone(), good.url()]).response_timeout(SECOND);
        let client = client.connect_timeout(SECOND).build().unwrap();
        let url = owned_by(&client, &origin, &slow);
        let started = Instant::now();
        let body = text(client.get(&url).send()).unwrap();
        assert!(body == large(), "from {from}");
        assert!(started.elapsed() < TEST_TIMEOUT / 2, "{:?}", started.elapsed());
        let counts = client.counts();
        assert_eq!((counts.failovers, counts.resumed_bodies), if from == 0 { (1, 0) } else { (0, 1) });
    }
}

#[test]
fn post_fails_over_only_if_the_peer_was_not_reached() {
    let origin = Origin::start(|received| Reply::ok(received.body.clone()));
    let good = LocalPeer::start();
    let port = Port::hold();
    let dead = format!("http://{}", port.address());
    let client = || Client::builder().pool([dead.clone(), good.url()]).build().unwrap();
    let url = owned_by(&client(), &origin, &dead);
    let item = || Body::from_reader(&b"an item"[..], Some(7));
    let answer = text(client().post(&url).body(item()).send());
    assert_eq!(answer.unwrap(), "an item");

    let (scripted, _good, client, url) = with_scripted_peer(&origin, |_| Reply::nothing());
    let error = client.post(&url).body("an item").send().unwrap_err();
    assert_eq!((error.kind(), error.peer()), (ErrorKind::Unreachable, Some(scripted.url("").as_str())));
    // An idempotent request is retried with its body.
    let (_bad, _good, client, url) = with_scripted_peer(&origin, |_| Reply::nothing());
    assert_eq!(text(client.put(&url).body("an item").send()).unwrap(), "an item");
    assert_eq!(origin.count(), 2);
}

#[test]
fn origin_failure_does_not_mark_peers() {
    let pool: Vec<_> = (0..3).map(|_| LocalPeer::start()).collect();
    let client = Client::builder().pool(LocalPeer::urls(&pool)).build().unwrap();
    let port = Port::hold();
    let error = client.get(&format!("http://{}/", port.address())).send().unwrap_err();
    assert!(error.kind() == ErrorKind::Unreachable && error.is_reported_by_peer(), "{error}");
    let asked: u64 = pool.iter().map(|member| member.peer.stats().counts().origin_requests).sum();
    assert_eq!(asked, 2);
    assert!(client.health().iter().all(|peer| peer.state == PeerState::Up && peer.failures == 0));
}

#[test]
fn origin_503_is_passed_on() {
    let origin = Origin::start(|_| Reply::status(503).body("closed today"));
    let peer = LocalPeer::start();
    let client = peer.client();
    for count in 1..=2 {
        let response = client.get(&origin.url("/")).send().unwrap();
        assert_eq!((response.status().as_u16(), origin.count()), (503, count));
        assert_eq!(text(Ok(response)).unwrap(), "closed today");
    }
    assert_eq!(state(&client, &peer.url()), PeerState::Up);
}

#[test]
fn peer_fetches_itself_if_the_owner_is_down_within_its_rules() {
    let origin = origin();
    let (port, own) = (Port::hold(), Port::hold());
    let (dead, me) = (format!("http://{}", port.address()), format!("http://{}", own.address()));
    let peer = |rules: &str| {
        let builder = Peer::builder(&me).pool([dead.clone(), me.clone()]).origins(rules.parse().unwrap());
        builder.build().unwrap()
    };
    let open = peer("any");
    let url = owned_by(open.client(), &origin, &dead);
    for outcome in [None, Some(Outcome::Hit)] {
        let response = open.get(&url).send().unwrap();
        assert!(outcome.is_none() || Outcome::of(response.headers()) == outcome, "{response:?}");
        text(Ok(response)).unwrap();
    }
    assert_eq!(origin.count(), 1);
    let closed = peer("public");
    assert_eq!(closed.get(&url).send().unwrap_err().kind(), ErrorKind::Forbidden);
    // The client of the peer does not fetch directly either.
    assert!(closed.client().get(&url).send().is_err());
    assert_eq!(origin.count(), 1);
}
