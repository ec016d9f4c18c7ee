//! Hard and soft deadlines, from the caller to the origin.

use std::time::Duration;

use forwardcache::clock::ManualClock;
use forwardcache::{Body, Deadline, Error, ErrorKind, Outcome, RoundTrip};
use http::Request;

use crate::local::LocalPeer;
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Received, Reply};

const SHORT: Duration = Duration::from_millis(100);

fn request_with(url: &str, deadline: Deadline) -> Request<Body> {
    let mut request = Request::get(url).body(Body::empty()).unwrap();
    request.extensions_mut().insert(deadline);
    request
}

#[test]
fn caller_deadline_is_honoured() {
    let origin = Origin::start(|_| Reply::never());
    let peer = LocalPeer::start();
    let request = || request_with(&origin.url("/a"), Deadline::within(SHORT));
    let of_peer = peer.peer.round_trip(request()).unwrap_err();
    assert_eq!(of_peer.kind(), ErrorKind::Timeout, "{of_peer}");
    let of_client = peer.client().round_trip(request()).unwrap_err();
    assert_eq!(of_client.kind(), ErrorKind::Timeout, "{of_client}");
    let post = peer.peer.post(&origin.url("/a")).body("content").timeout(SHORT);
    assert_eq!(post.send().unwrap_err().kind(), ErrorKind::Timeout);
    let nothing_left = request_with(&origin.url("/b"), Deadline::within(Duration::ZERO));
    assert_eq!(peer.client().round_trip(nothing_left).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(origin.count_of("/b"), 0);
}

#[test]
fn peer_honours_the_remaining_deadline() {
    let origin = Origin::start(|_| Reply::never());
    let peer = LocalPeer::start();
    let answer = peer.get_with(&origin.url("/a"), "Forwardcache: deadline=100\r\n");
    assert_eq!((answer.status, answer.field("forwardcache-error")), (504, Some("timeout")));
    assert!(origin.seen().iter().all(|received| received.field("forwardcache").is_none()));
}

#[test]
fn follower_is_not_bound_by_the_deadline_of_the_leader() {
    let gate = Gate::new();
    let held_gate = gate.clone();
    let origin = Origin::start(move |_| {
        Reply::ok("x".repeat(200_000)).field("Cache-Control", "max-age=60").gate_body(100, &held_gate)
    });
    let peer = LocalPeer::start();
    let url = origin.url("/a");
    let limited = peer.client().round_trip(request_with(&url, Deadline::within(SHORT))).unwrap();
    let unlimited = peer.client().get(&url).send().unwrap();
    let error: Error = limited.into_body().into_bytes().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    gate.open();
    assert_eq!(unlimited.into_body().into_bytes().unwrap().len(), 200_000);
    assert_eq!(origin.count(), 1);
}

/// An origin whose responses wait for a gate, except the first one.
fn slow_origin(gate: &Gate, cache_control: &'static str) -> Origin {
    let (gate, first) = (gate.clone(), std::sync::atomic::AtomicBool::new(true));
    Origin::start(move |_: &Received| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Reply::ok("old").field("Cache-Control", cache_control);
        }
        Reply::ok("new").field("Cache-Control", cache_control).gate_head(&gate)
    })
}

#[test]
fn stale_is_served_at_the_soft_deadline_and_the_fetch_continues() {
    let (gate, clock) = (Gate::new(), std::sync::Arc::new(ManualClock::at_unix_seconds(1_900_000_000)));
    let origin = slow_origin(&gate, "max-age=60");
    let peer = LocalPeer::start_with(|builder| builder.clock(std::sync::Arc::clone(&clock)));
    let url = origin.url("/a");
    assert_eq!(peer.client().get(&url).send().unwrap().into_body().into_text().unwrap(), "old");
    clock.advance(Duration::from_secs(61));
    for _ in 0..2 {
        let soft = Deadline::none().softly_within(SHORT);
        let answer = peer.client().round_trip(request_with(&url, soft)).unwrap();
        assert!(matches!(Outcome::of(answer.headers()), Some(Outcome::StaleOnDeadline(_))), "{answer:?}");
        assert_eq!(answer.into_body().into_text().unwrap(), "old");
    }
    // Both requests share one fetch, which continues after the soft deadline.
    origin.wait_for(2);
    gate.open();
    let answer = peer.client().get(&url).send().unwrap();
    assert_eq!(answer.into_body().into_text().unwrap(), "new");
    let hit =
        peer.client().round_trip(request_with(&url, Deadline::none().softly_within(Duration::ZERO))).unwrap();
    assert_eq!(Outcome::of(hit.headers()), Some(Outcome::Hit));
    assert_eq!(origin.count(), 2);
}

#[test]
fn stale_is_not_served_at_the_soft_deadline_if_forbidden() {
    for forbidden in ["max-age=60, must-revalidate", "no-cache, max-age=60"] {
        let (gate, clock) = (Gate::new(), std::sync::Arc::new(ManualClock::at_unix_seconds(1_900_000_000)));
        let origin = slow_origin(&gate, forbidden);
        let peer = LocalPeer::start_with(|builder| builder.clock(std::sync::Arc::clone(&clock)));
        let url = origin.url("/a");
        peer.client().get(&url).send().unwrap().into_body().into_text().unwrap();
        clock.advance(Duration::from_secs(61));
        let both = Deadline::within(2 * SHORT).softly_within(SHORT);
        let error = peer.client().round_trip(request_with(&url, both)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{forbidden}: {error}");
        gate.open();
    }
}

#[test]
fn concurrent_requests_are_all_served_at_the_soft_deadline() {
    const MANY: usize = 24;
    let (gate, clock) = (Gate::new(), std::sync::Arc::new(ManualClock::at_unix_seconds(1_900_000_000)));
    let (held_gate, asked) = (gate.clone(), std::sync::atomic::AtomicUsize::new(0));
    let origin = Origin::start(move |_| {
        let reply = Reply::ok("old").field("Cache-Control", "max-age=60");
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if number < MANY { reply } else { reply.gate_head(&held_gate) }
    });
    let peer = LocalPeer::start_with(|builder| builder.clock(std::sync::Arc::clone(&clock)));
    let urls: Vec<String> = (0..MANY).map(|number| origin.url(&format!("/{number}"))).collect();
    for url in &urls {
        peer.peer.get(url).send().unwrap().into_body().into_bytes().unwrap();
    }
    clock.advance(Duration::from_secs(61));
    // The gate stays closed until all of them have been answered.
    std::thread::scope(|scope| {
        for url in &urls {
            let peer = &peer.peer;
            scope.spawn(move || {
                let answer =
                    peer.round_trip(request_with(url, Deadline::none().softly_within(SHORT))).unwrap();
                assert!(matches!(Outcome::of(answer.headers()), Some(Outcome::StaleOnDeadline(_))));
            });
        }
    });
    gate.open();
}

#[test]
fn fetch_restarts_for_followers_when_the_leader_times_out() {
    let (gate, first) = (Gate::new(), std::sync::atomic::AtomicBool::new(true));
    let held_gate = gate.clone();
    let origin = Origin::start(move |_| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Reply::never();
        }
        Reply::ok("hello").field("Cache-Control", "max-age=60").gate_head(&held_gate)
    });
    let peer = LocalPeer::start();
    let url = origin.url("/a");
    std::thread::scope(|scope| {
        let limited = scope
            .spawn(|| peer.peer.round_trip(request_with(&url, Deadline::within(5 * SHORT))).unwrap_err());
        origin.wait_for(1);
        let unlimited: Vec<_> = (0..8).map(|_| scope.spawn(|| peer.peer.get(&url).send().unwrap())).collect();
        assert_eq!(limited.join().unwrap().kind(), ErrorKind::Timeout);
        origin.wait_for(2);
        gate.open();
        for response in unlimited {
            assert_eq!(response.join().unwrap().into_body().into_text().unwrap(), "hello");
        }
    });
    assert_eq!(origin.count(), 2);
}

#[test]
fn client_and_command_have_a_total_timeout() {
    let origin = Origin::start(|_| Reply::never());
    let peer = LocalPeer::start();
    let client = forwardcache::Client::builder().pool([peer.url()]).deadline(SHORT).build().unwrap();
    assert_eq!(client.get(&origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Timeout);
    let (url, peer_url) = (origin.url("/b"), peer.url());
    for way in [&["--peer", &peer_url][..], &[]] {
        let typed = [&["get", "--max-time", "0.1"][..], way, &[&url]].concat();
        let output = crate::support::process::run(typed);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    let refused = crate::support::process::run(["get", "--max-time", "0", &origin.url("/c")]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn body_is_bound_by_the_deadline_of_its_request() {
    const LENGTH: usize = 8 << 20;
    let gate = Gate::new();
    let held_gate = gate.clone();
    let origin = Origin::start(move |_| Reply::ok("x".repeat(LENGTH)).gate_body(LENGTH / 2, &held_gate));
    let peer = LocalPeer::start();
    let directly = {
        let network = forwardcache::Origin::new();
        let answer = network.get(&origin.url("/a")).timeout(10 * SHORT).send().unwrap();
        answer.into_body().into_bytes().unwrap_err()
    };
    assert_eq!(directly.kind(), ErrorKind::Timeout, "{directly}");
    let answer =
        peer.client().round_trip(request_with(&origin.url("/b"), Deadline::within(10 * SHORT))).unwrap();
    assert_eq!(answer.into_body().into_bytes().unwrap_err().kind(), ErrorKind::Timeout);
    let typed = ["get", "--max-time", "1", "--peer", &peer.url(), "--output", "/dev/null", &origin.url("/c")];
    let started = std::time::Instant::now();
    let output = crate::support::process::run(typed);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(4));
    gate.open();
}

#[test]
fn origin_response_timeout_is_configurable() {
    let origin = Origin::start(|_| Reply::never());
    let limits = forwardcache::Origin::builder().response_timeout(SHORT);
    let peer = LocalPeer::start_with(|builder| builder.network(limits));
    let answer = peer.get_with(&origin.url("/a"), "");
    assert_eq!((answer.status, answer.field("forwardcache-error")), (504, Some("timeout")));
}

#[test]
fn command_accepts_origin_timeouts_and_limits() {
    let fields = |reply: Reply| (0..20).fold(reply, |reply, number| reply.field(&format!("X-{number}"), "1"));
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/silent" => Reply::never(),
        _ => fields(Reply::ok("x")),
    });
    let limits =
        ["--origin-head-timeout", "0.2", "--origin-connect-timeout", "5", "--origin-max-fields", "15"];
    let others = ["--origin-read-timeout", "5", "--origin-stream-timeout", "5", "--origin-max-time", "9"];
    let peer = PeerProcess::start_as("127.0.0.1:0", &[&limits[..], &others].concat());
    for (path, expected) in [("/silent", ErrorKind::Timeout), ("/large", ErrorKind::BadResponse)] {
        let error = forwardcache::Client::builder()
            .pool([peer.url()])
            .on_no_peers(forwardcache::client::OnNoPeers::Fail)
            .build()
            .unwrap()
            .get(&origin.url(path))
            .send()
            .unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
    }
}

#[test]
fn purge_of_a_silent_peer_times_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let purge = forwardcache::Purge::all();
    let client = forwardcache::Client::builder().pool([&url]).purge_timeout(SHORT).build().unwrap();
    let purged = client.purge(&purge).unwrap();
    assert_eq!(purged.failed().next().unwrap().1.kind(), ErrorKind::Timeout);
    let output = crate::support::process::run(["purge", "--max-time", "0.1", "--peer", &url, "--all"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
