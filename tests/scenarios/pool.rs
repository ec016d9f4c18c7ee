//! A pool in this process: requests, ownership, failures.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use forwardcache::client::OnNoPeers;
use forwardcache::metrics::Forward;
use forwardcache::pool::PeerUrl;
use forwardcache::{Body, Client, Error, ErrorKind, Outcome, Peer, RoundTrip};
use http::{Request, Response};

use crate::local::LocalPeer;
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::port::Port;

/// An origin that responds with the target, fresh for a minute.
fn origin() -> Origin {
    Origin::start(Reply::target)
}

fn client_of(pool: &[LocalPeer]) -> Client {
    Client::builder().pool(LocalPeer::urls(pool)).build().unwrap()
}

fn text(response: Result<Response<Body>, Error>) -> String {
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().into_text().unwrap()
}

#[test]
fn every_url_is_fetched_once_from_any_peer_or_client() {
    let (origin, pool) = (origin(), LocalPeer::pool(3));
    let client = client_of(&pool);
    let paths: Vec<_> = (0..30).map(|number| format!("/page?number={number}")).collect();
    for round in 0..2 {
        for (number, path) in paths.iter().enumerate() {
            let url = origin.url(path);
            assert_eq!(text(pool[(number + round) % 3].peer.get(&url).send()), *path);
            assert_eq!(text(client.get(&url).send()), *path);
        }
    }
    for path in &paths {
        assert_eq!(origin.count_of(path), 1, "{path}");
    }
    // Each peer stores only the URLs that it owns.
    for member in &pool {
        let owned = paths
            .iter()
            .filter(|path| client.owner(&origin.url(path)).unwrap().as_ref() == Some(member.peer.self_url()));
        assert_eq!(member.peer.cache().store().usage().keys, owned.count() as u64);
    }
}

#[test]
fn peers_that_disagree_on_the_pool_answer_every_request() {
    let (origin, pool) = (origin(), LocalPeer::pool(3));
    let urls = LocalPeer::urls(&pool);
    // No peer lists itself, so requests would loop if peers forwarded them.
    for (number, member) in pool.iter().enumerate() {
        member.peer.set_pool([&urls[(number + 1) % 3]]).unwrap();
    }
    for number in 0..12 {
        let path = format!("/{number}");
        for member in &pool {
            assert_eq!(text(member.peer.get(&origin.url(&path)).send()), path);
            assert_eq!(text(member.client().get(&origin.url(&path)).send()), path);
        }
        // Each cache fetches a URL at most once.
        assert!((1..=3).contains(&origin.count_of(&path)));
    }
}

#[test]
fn pool_can_be_changed_while_in_use() {
    let (origin, pool) = (origin(), LocalPeer::pool(2));
    let client = Client::builder().pool([pool[0].url()]).build().unwrap();
    assert_eq!(text(client.get(&origin.url("/a")).send()), "/a");
    assert_eq!(pool[0].peer.stats().counts().origin_requests, 1);

    let error = client.set_pool([pool[1].url().as_str(), "not a URL"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadPeer);
    assert_eq!(client.pool(), [PeerUrl::parse(&pool[0].url()).unwrap()]);
    assert_eq!(Outcome::of(client.get(&origin.url("/a")).send().unwrap().headers()), Some(Outcome::Hit));

    client.set_pool([pool[1].url()]).unwrap();
    assert_eq!(text(client.get(&origin.url("/a")).send()), "/a");
    assert_eq!(pool[1].peer.stats().counts().origin_requests, 1);
    assert_eq!(origin.count(), 2);
}

#[test]
fn duplicates_and_order_do_not_matter() {
    let pool = LocalPeer::pool(3);
    let urls = LocalPeer::urls(&pool);
    let reversed = urls.iter().rev().chain(&urls).map(|url| format!("{url}/"));
    let (one, other) = (client_of(&pool), Client::builder().pool(reversed).build().unwrap());
    assert_eq!(one.pool(), other.pool());
    for number in 0..50 {
        let url = format!("http://example.com/{number}");
        assert_eq!(one.owner(&url).unwrap(), other.owner(&url).unwrap());
    }
}

#[test]
fn an_empty_pool_fetches_directly_or_fails() {
    let origin = origin();
    let client = Client::builder().on_no_peers(OnNoPeers::Fail).build().unwrap();
    assert_eq!(client.get(&origin.url("/a")).send().unwrap_err().kind(), ErrorKind::NoPeers);
    assert_eq!(origin.count(), 0);

    let client = Client::builder().build().unwrap();
    for count in 1..=2 {
        let response = client.get(&origin.url("/a")).send().unwrap();
        assert_eq!(Outcome::of(response.headers()), None);
        assert_eq!(text(Ok(response)), "/a");
        assert_eq!(origin.count(), count);
    }
    let only_cached = Request::get(origin.url("/a")).header("cache-control", "only-if-cached");
    let error = client.round_trip(only_cached.body(Body::empty()).unwrap());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NoPeers);
    assert_eq!(origin.count(), 2);
}

#[test]
fn error_names_the_unreachable_peer() {
    let port = Port::hold();
    let down = format!("http://{}", port.address());
    let client = Client::builder().pool([&down]).on_no_peers(OnNoPeers::Fail).build().unwrap();
    // The second request knows that the peer is down.
    for kind in [ErrorKind::Unreachable, ErrorKind::NoPeers] {
        let error = client.get("http://origin.invalid/a?b").send().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.peer(), Some(down.as_str()));
        assert_eq!(error.url(), Some("http://origin.invalid/a"));
    }
}

#[test]
fn peer_that_closes_connections_is_unreachable() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::builder().pool([&silent]).on_no_peers(OnNoPeers::Fail).build().unwrap();
    thread::scope(|scope| {
        // A GET is retried once, because the first connection could have been a stale pooled one.
        scope.spawn(|| (0..2).for_each(|_| drop(listener.accept().unwrap())));
        let error = client.get("http://origin.invalid/").send().unwrap_err();
        assert_eq!((error.kind(), error.peer()), (ErrorKind::Unreachable, Some(silent.as_str())));
    });
}

#[test]
fn concurrent_requests_share_one_fetch() {
    const THREADS: usize = 32;
    let gate = Gate::new();
    let (origin, pool) = (gated(&gate), LocalPeer::pool(3));
    let client = client_of(&pool);
    let begin = Barrier::new(THREADS);
    let fetch = || {
        begin.wait();
        text(client.get(&origin.url("/a")).send()).len()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(fetch)).collect();
        origin.wait_for(1);
        gate.open();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 200_000);
        }
    });
    assert_eq!(origin.count(), 1);
}

#[test]
fn late_request_joins_a_body_in_transit() {
    const THREADS: usize = 32;
    let gate = Gate::new();
    let origin = gated(&gate);
    let peer = Peer::builder("http://127.0.0.1:9").build().unwrap();
    // The body continues only after every request has its head, so none of them is a hit.
    let heads = AtomicUsize::new(0);
    let fetch = || {
        let response = peer.get(&origin.url("/a")).send().unwrap();
        if heads.fetch_add(1, Ordering::SeqCst) + 1 == THREADS {
            gate.open();
        }
        text(Ok(response)).len()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(fetch)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 200_000);
        }
    });
    assert_eq!(origin.count(), 1);
    let collapsed = peer.stats().counts().of(Outcome::Collapsed(Forward::UriMiss));
    assert_eq!(collapsed, THREADS as u64 - 1);
}

/// An origin whose body waits at the gate and is fresh for a minute.
fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |_| {
        Reply::ok("x".repeat(200_000)).field("Cache-Control", "max-age=60").gate_body(1_000, &gate)
    })
}

#[test]
fn ureq_agent_works_over_a_client_and_over_a_peer() {
    let (origin, pool) = (origin(), LocalPeer::pool(3));
    let agents = [forwardcache::agent(client_of(&pool)), forwardcache::agent(pool[0].peer.clone())];
    for round in 0..3 {
        for agent in &agents {
            for number in 0..6 {
                let path = format!("/{number}");
                let mut response = agent.get(origin.url(&path)).header("X-Round", round).call().unwrap();
                assert_eq!(response.body_mut().read_to_string().unwrap(), path);
            }
        }
    }
    assert_eq!(origin.count(), 6);
}

#[test]
fn other_methods_are_forwarded_with_their_body() {
    let origin = Origin::start(|received| {
        let message = format!("{} {}", received.method, String::from_utf8_lossy(&received.body));
        Reply::status(201).field("X-Said", message).body(received.body.clone())
    });
    let pool = LocalPeer::pool(2);
    let client = client_of(&pool);
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.request(method.clone(), &origin.url("/items")).body("an item");
        let response = request.send().unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["x-said"], format!("{method} an item"));
        assert_eq!(response.into_body().into_text().unwrap(), "an item");
    }
    assert_eq!(origin.count(), 5);
}

#[test]
fn post_invalidates_the_stored_response() {
    let origin = origin();
    let pool = LocalPeer::pool(3);
    let client = client_of(&pool);
    let url = origin.url("/page");
    client.get(&url).send().unwrap().into_body().into_bytes().unwrap();
    assert_eq!(Outcome::of(client.get(&url).send().unwrap().headers()), Some(Outcome::Hit));
    assert_eq!(client.post(&url).body("change it").send().unwrap().status(), 200);
    assert!(matches!(Outcome::of(client.get(&url).send().unwrap().headers()), Some(Outcome::Miss(_))));
    assert_eq!(origin.count(), 3);
}

#[test]
fn peer_answers_its_own_requests_without_a_socket() {
    let origin = origin();
    // The peer is not served, so it must answer every request in process.
    let port = Port::hold();
    let peer = Peer::builder(format!("http://{}", port.address())).build().unwrap();
    assert_eq!(text(peer.get(&origin.url("/a")).send()), "/a");
    assert_eq!(Outcome::of(peer.get(&origin.url("/a")).send().unwrap().headers()), Some(Outcome::Hit));
    assert_eq!(origin.count(), 1);
    assert_eq!(peer.client().get(&origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Unreachable);
}
